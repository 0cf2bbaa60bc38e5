"""Messages go out: several at once, each within its time, and what came of each is said."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from modelworks.core.alerts import Notification
from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.core.seams import Notifier
from modelworks.monitor.alerts.told import Group, Message, failed
from modelworks.plugins.load import load
from modelworks.protocol.manifest.alerts.routing import Receiver

AT_ONCE: Final = 8
_log = logging.getLogger(__name__)

Send = Callable[[str, Notification, Mapping[str, str]], None]
"""Type of the notifier, what is said, its settings."""


def by_plugin(kind: str, told: Notification, settings: Mapping[str, str]) -> None:
    """Tell by an installed notifier.

    Raises:
        ModelworksError: those of `Notifier.send`, and `NotFoundError` where there is none.
    """
    notifier: Notifier = load("notifiers", kind)()
    notifier.send(told, settings)


def deliver(
    messages: Sequence[Message], receivers: Sequence[Receiver], now: int, send: Send
) -> list[Group]:
    """Tell all of them; the groups as they are then, in the same order.

    What a receiver refuses counts as told: it would refuse it again. What nobody took is told
    again later.
    """
    known = {one.name: one for one in receivers}

    def tell(message: Message) -> Group:
        return _tell(message, known[message.group.receiver], now, send)

    if len(messages) < 2:
        return [tell(message) for message in messages]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tell") as pool:
        return list(pool.map(tell, messages))


def _tell(message: Message, receiver: Receiver, now: int, send: Send) -> Group:
    if not receiver.notifiers:
        return message.after
    notifier = receiver.notifiers[message.notifier]
    where = f"receiver '{receiver.name}', {notifier.type}"
    try:
        send(notifier.type, message.content, notifier.settings)
    except UnavailableError as error:
        _log.warning("%s: not told, again later: %s", where, error.message)
        return failed(message.group, error.message, now, error.retry_after)
    except ModelworksError as error:
        _log.error("%s: refused, not told: %s", where, error.message)
        return replace(message.after, message=error.message)
    except Exception as error:  # noqa: BLE001 - a plug-in's fault is not to end the tick
        words = f"{type(error).__name__} in the notifier"
        _log.error("%s: %s", where, words)
        return replace(message.after, message=words)
    return message.after
