"""Deletes records and feedback that are older than their model's policy keeps them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from modelworks.core.files import replace_text
from modelworks.core.seams import FeedbackStore, RecordStore

DAY_NS: Final = 86_400_000_000_000


def fewest(some: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    """Days by model of both; where both name one the fewer, for who asked for them was promised it.

    0 is for ever, and so the most.
    """
    found = dict(some)
    for model, days in others.items():
        known = found.get(model, 0)
        found[model] = min(known, days) if known and days else known or days
    return found


def remembered(path: Path, days: Mapping[str, int]) -> dict[str, int]:
    """Days by model: those of now, and of models that are gone the last that were known.

    Args:
        path: where they are kept.
        days: of the models that are served now; 0 = for ever.
    """
    try:
        known = json.loads(path.read_text())
        known = {str(model): int(count) for model, count in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        known = {}
    whole = {**known, **days}
    if whole != known:
        replace_text(path, json.dumps(whole, sort_keys=True), mode=0o700)
    return whole


def expire(
    records: RecordStore,
    feedback: FeedbackStore,
    tenant: str,
    days: Mapping[str, int],
    now_ns: int,
) -> dict[str, int]:
    """Delete what is too old; how many records went, by model.

    Feedback goes as many days after it came: it may be late.
    """
    gone = {}
    for model, count in days.items():
        if count > 0:
            before = now_ns - count * DAY_NS
            feedback.expire(tenant, model, before)
            if went := records.expire(tenant, model, before):
                gone[model] = went
    return gone
