"""What the commands of alerts share: files, the service, matchers, times."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelworks.cli.context import here, platform
from modelworks.cli.manifests import contents
from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns

if TYPE_CHECKING:
    from modelworks.monitor.alerts.service import Alerts, Listed
    from modelworks.monitor.alerts.step import Held
    from modelworks.protocol.manifest import Manifest


@contextmanager
def alerting() -> Iterator["Alerts"]:
    """The verbs of alerts, on this machine; raises as `here`."""
    with here("alerts are looked after where the registry is") as factory:
        with platform("alerts"):
            verbs = factory.alerting
        yield verbs


def read(files: tuple[str, ...], environment: str = "") -> "Manifest":
    """Files of alerts, checked, the settings of their notifiers and what actions call too.

    Raises:
        ManifestError: all that is wrong.
        NotFoundError: no such file.
    """
    with platform("rules of alerts"):
        from modelworks.control.watching.use_cases import USE_CASES
        from modelworks.monitor.alerts.checks import checked
        from modelworks.protocol.manifest.alerts import load_alerts
    return checked(load_alerts(contents(files), environment), USE_CASES)


def matchers(said: tuple[str, ...]) -> dict[str, str]:
    """`LABEL=VALUE`, each.

    Raises:
        InvalidError: something else.
    """
    found = {}
    for one in said:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise InvalidError(
                f"'{one}': LABEL=VALUE is wanted, such as model=fraud", field="match"
            )
        found[name] = value
    return found


def until(span: str) -> int:
    """From now on, in UTC nanoseconds.

    Raises:
        InvalidError: no duration.
    """
    with platform("alerts"):
        from modelworks.protocol.manifest.alerts.fields import seconds_of
    try:
        return now_ns() + int(seconds_of(span)) * 10**9
    except ValueError as error:
        raise InvalidError(f"--for: {error}", field="for") from None


def document(one: "Listed | Held") -> dict[str, Any]:
    """An alert as JSON, which knows no infinity."""
    found: dict[str, Any] = codec.encode(one)
    alert = found["held"]["alert"] if "held" in found else found["alert"]
    if not math.isfinite(alert["value"]):
        alert["value"] = None
    return found
