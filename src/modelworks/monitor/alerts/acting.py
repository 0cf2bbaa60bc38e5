"""Actions that alerts call: a webhook, or a use case of Modelworks' own."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from modelworks.core.alerts import Alert, Notification
from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.monitor.alerts.kept import Call, CallState, call_of
from modelworks.monitor.alerts.match import fingerprint
from modelworks.monitor.alerts.sending import Send
from modelworks.monitor.alerts.step import SECOND, Event, Happened
from modelworks.protocol.manifest.alerts.routing import Action
from modelworks.protocol.manifest.alerts.rules import Rule

_FIRST_RETRY: Final = 10
_LATEST_RETRY: Final = 300
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a use case is told.

    Attributes:
        id: of the call; the same whenever it is tried again.
        alert: as it fired.
        arguments: as the action has them.
    """

    id: str
    alert: Alert
    arguments: Mapping[str, str]


UseCase = Callable[[Asked], str]
"""Does something, once for an id, within its own time; what it did, in a sentence. A
`ModelworksError` says why not: `UnavailableError` = later."""


def calls_for(
    events: Sequence[Event], rules: Mapping[str, Rule], quiet: Mapping[str, str], now: int
) -> list[Call]:
    """The calls of alerts that fire from now on; of those nobody is to be told of, none is made.

    Args:
        events: of one evaluation.
        rules: by name.
        quiet: fingerprint -> why nobody is told.
        now: UTC nanoseconds.
    """
    return [
        call_of(event.alert, action, now, quiet.get(fingerprint(event.alert), ""))
        for event in events
        if event.what is Happened.FIRING and event.alert.rule in rules
        for action in rules[event.alert.rule].actions
    ]


def act(
    call: Call,
    actions: Mapping[str, Action],
    use_cases: Mapping[str, UseCase],
    send: Send,
    now: int,
) -> Call:
    """Try a call; as it is then.

    Args:
        call: that is due, this attempt counted.
        actions: by name.
        use_cases: by name.
        send: tells a webhook.
        now: UTC nanoseconds.
    """
    action = actions.get(call.action)
    if action is None:
        return _over(call, CallState.FAILED, f"there is no action '{call.action}' any more")
    try:
        said = _done(call, action, use_cases, send)
    except UnavailableError as error:
        if call.attempts >= action.attempts:
            words = f"nobody answered {call.attempts} times: {error.message}"
            return _over(call, CallState.FAILED, words)
        wait = min(_FIRST_RETRY * 2 ** (call.attempts - 1), _LATEST_RETRY)
        return replace(call, next_ns=now + wait * SECOND, message=error.message)
    except ModelworksError as error:
        return _over(call, CallState.FAILED, error.message)
    except Exception as error:  # noqa: BLE001 - a use case's fault is not to end the tick
        _log.exception("action '%s'", call.action)
        return _over(call, CallState.FAILED, f"{type(error).__name__} in '{call.action}'")
    return _over(call, CallState.DONE, said)


def _over(call: Call, state: CallState, message: str) -> Call:
    return replace(call, state=state, message=message)


def _done(call: Call, action: Action, use_cases: Mapping[str, UseCase], send: Send) -> str:
    if action.webhook is not None:
        content = Notification(key=call.id, group=call.alert.labels, alerts=(call.alert,))
        send("webhook", content, action.webhook)
        return "told"
    use_case = use_cases.get(action.use_case or "")
    if use_case is None:
        known = ", ".join(sorted(use_cases)) or "none"
        words = f"there is no use case '{action.use_case}' here (registered: {known})"
        raise ModelworksError(words)
    return use_case(Asked(call.id, call.alert, action.arguments))
