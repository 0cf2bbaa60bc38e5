"""The queue in front of one session: who waits, who goes together, and when."""

from modelworks.serving.batcher.ahead import Ahead
from modelworks.serving.batcher.batcher import Batcher
from modelworks.serving.batcher.lanes import Lanes
from modelworks.serving.batcher.member import Call, Member, answer_each, deliver, refuse

__all__ = ["Ahead", "Batcher", "Call", "Lanes", "Member", "answer_each", "deliver", "refuse"]
