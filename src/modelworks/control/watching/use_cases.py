"""Use cases that alerts may call by name: `actions: [{name: undo, use_case: NAME}]`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from modelworks.control.watching.parts import Parts
from modelworks.control.watching.rollback import ROLLBACK, rollback

if TYPE_CHECKING:
    from modelworks.monitor.alerts.acting import UseCase

Maker = Callable[[Parts], "UseCase"]
"""Makes one of what a worker has. Whatever it imports is imported when it is called: who checks
rules asks for names only."""

USE_CASES: Final[dict[str, Maker]] = {ROLLBACK: rollback}
"""Every use case, by name. A rule file that names another is refused when it is read; the worker
calls one once for each time that an alert fires, again with the same id while it says
`UnavailableError`."""
