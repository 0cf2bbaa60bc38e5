"""For how long records are kept, as deployments ask for it. Pure."""

from collections.abc import Iterable, Mapping

from modelworks.control.records.retention import fewest
from modelworks.core.desired import Desired
from modelworks.core.reference import parse_ref


def days_of(deployments: Iterable[Desired], others: Mapping[str, int]) -> dict[str, int]:
    """Days by model; 0 = for ever. Of several deployments of a model the fewest count.

    Records lie by model and hour, whoever wrote them.

    Args:
        deployments: as they are asked for.
        others: days by model, of whoever else records.
    """
    found = dict(others)
    for one in deployments:
        records = one.spec.get("monitoring", {}).get("records")
        if records is not None:
            name = parse_ref(one.spec["model"], variants=True).name
            found = fewest(found, {name: int(records["retention_days"])})
    return found
