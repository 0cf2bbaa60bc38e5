"""For how long records are kept, as deployments ask for it. Pure."""

from collections.abc import Iterable, Mapping

from modelworks.core.desired import Desired
from modelworks.core.reference import parse_ref


def days_of(deployments: Iterable[Desired], others: Mapping[str, int]) -> dict[str, int]:
    """Days by model; 0 = for ever.

    Records do not say which deployment of a model wrote them: the fewest days count, for who asked
    for them was promised that nothing is older.

    Args:
        deployments: as they are asked for.
        others: days by model, of whoever else records.
    """
    found = dict(others)
    for one in deployments:
        records = one.spec.get("monitoring", {}).get("records")
        if records is None:
            continue
        name, days = parse_ref(one.spec["model"]).name, int(records["retention_days"])
        known = found.get(name, 0)
        found[name] = min(known, days) if known and days else known or days
    return found
