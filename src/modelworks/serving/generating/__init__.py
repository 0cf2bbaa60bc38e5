"""Answers that come in pieces: from a session that generates to whoever reads them on the loop."""

from modelworks.serving.generating.generation import Admit, Generation, Reader, Times
from modelworks.serving.generating.launch import launch
from modelworks.serving.generating.numbers import End
from modelworks.serving.generating.open import Generations
from modelworks.serving.generating.sending import Sending

__all__ = ["Admit", "End", "Generation", "Generations", "Reader", "Sending", "Times", "launch"]
