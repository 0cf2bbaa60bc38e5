"""Messages of an MQTT 5 broker: acknowledged by hand, after their answer was."""

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.seams import Event
from modelworks.ext.events.given import (
    CORRELATION,
    REASON,
    REPLY,
    checked,
    password_of,
    reason_of,
    seconds_of,
)

_SECONDS: Final = 30.0
_LEAST_ONCE: Final = 1
_SESSION_S: Final = 7 * 86400
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_PIECE_S: Final = 0.1
_OF_MESSAGES: Final = frozenset({0x99})  # its form
_REFUSALS: Final = _OF_MESSAGES | {0x87, 0x90}  # not ours to write, no topic
_NUMBERS: Final = 65_535
"""Of messages that are not acknowledged: the protocol has no more. Mosquitto 2.0.11 sent 40 where
`ReceiveMaximum` was 8, and what found no place was lost until the next connection."""


class MqttEvents:
    """See `core.seams.EventBus`."""

    name: ClassVar[str] = "mqtt"
    extra: ClassVar[str] = "mqtt"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url": "of the broker, mqtt://HOST:PORT, or mqtts://",
        "subject": "topic that asks; # and + stand for many; $share/NAME/TOPIC is shared",
        "answers": "topic of answers, where a message names none itself",
        "dead": "topic of what is refused (answers + /dead)",
        "client": "name under which the broker remembers what we have not answered (modelworks)",
        "user": "of the broker",
        "password_file": "a file with its password",
        "ca": "authorities (PEM) of an mqtts:// broker",
        "timeout": "seconds for one handing over (30)",
    }

    def open(self, settings: Mapping[str, str], most: int) -> "OpenMqttEvents":
        """See `EventBus.open`."""
        checked(settings, self.settings, ("url", "subject", "answers"))
        return OpenMqttEvents(settings, most)


class OpenMqttEvents:
    """See `core.seams.OpenEvents`: the library's thread reads, ours publish and acknowledge.

    The broker keeps the session for a week: what comes while nobody listens waits there. It is
    asked to hand over no more than `most` messages that are not acknowledged.
    """

    def __init__(self, settings: Mapping[str, str], most: int) -> None:
        place = urlsplit(settings["url"])
        if place.scheme not in _PORTS or not place.hostname:
            raise InvalidError(
                f"url: '{settings['url'][:120]}' is none of mqtt://HOST:PORT or mqtts://HOST:PORT",
                field="url",
            )
        self._topic = settings["subject"]
        self._answers = settings["answers"]
        self._dead = settings.get("dead") or f"{self._answers}/dead"
        for name, topic in (("answers", self._answers), ("dead", self._dead)):
            if set(topic) & set("#+"):
                raise InvalidError(f"{name}: one topic is wanted, not '{topic}'", field=name)
        self._shown = f"{place.hostname}:{place.port or _PORTS[place.scheme]}"
        self._seconds = seconds_of(settings, "timeout", _SECONDS)
        self._came: queue.Queue[tuple[int, MQTTMessage]] = queue.Queue(maxsize=_NUMBERS)
        self._session = 0  # a message is acknowledged on the connection that it came by, or again
        self._up = threading.Event()
        self._problem = ""
        self._untaken: dict[int, ReasonCode] = {}  # number of what was published -> why not
        self._closed = False
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.get("client") or "modelworks",
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        if settings.get("user"):
            client.username_pw_set(settings["user"], password_of(settings))
        if place.scheme == "mqtts":
            client.tls_set(ca_certs=settings.get("ca") or None)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.on_connect = self._connected
        client.on_disconnect = self._lost
        client.on_subscribe = self._subscribed
        client.on_message = self._heard
        client.on_publish = self._published
        wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wanted.SessionExpiryInterval = _SESSION_S
        wanted.ReceiveMaximum = most
        try:
            client.connect(
                place.hostname,
                place.port or _PORTS[place.scheme],
                clean_start=False,
                properties=wanted,
            )
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{self._shown} does not answer: {error}") from error
        client.loop_start()
        if not self._up.wait(self._seconds):
            self.close()
            why = self._problem or f"no answer within {self._seconds:g} s"
            raise UnavailableError(f"{self._shown}: {why}")

    def take(self, most: int, seconds: float) -> Sequence[Event]:
        """See `OpenEvents.take`."""
        found: list[Event] = []
        until = time.monotonic() + seconds
        while len(found) < most:
            left = until - time.monotonic()
            try:
                session, message = self._came.get(timeout=max(0.0, left) if not found else 0.0)
            except queue.Empty:
                break
            if session == self._session:  # else it comes again, by the new connection
                found.append(_event(session, message))
        if not found and not self._up.is_set():
            raise UnavailableError(f"{self._shown}: {self._problem or 'the connection broke'}")
        return found

    def answer(self, event: Event, data: bytes, headers: Mapping[str, str]) -> None:
        """See `OpenEvents.answer`."""
        topic = event.reply or self._answers
        self._publish(event, topic, data, {**headers, CORRELATION: event.id})

    def refuse(self, event: Event, reason: str) -> None:
        """See `OpenEvents.refuse`."""
        told = {**event.headers, CORRELATION: event.id, REASON: reason_of(reason)}
        self._publish(event, self._dead, event.data, told)

    def keep(self, event: Event) -> None:
        """See `OpenEvents.keep`: a broker waits as long as the connection stands."""

    def close(self) -> None:
        """See `OpenEvents.close`."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError, ValueError):
            self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, event: Event, topic: str, data: bytes, headers: Mapping[str, str]) -> None:
        told = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        told.CorrelationData = event.id.encode()
        told.UserProperty = list(headers.items())
        try:
            sent = self._client.publish(topic, data, qos=_LEAST_ONCE, properties=told)
        except ValueError as error:
            raise InvalidError(f"{self._shown} does not take it: {error}") from error
        self._delivered(sent)
        if (code := self._untaken.pop(sent.mid, None)) is not None:
            raise self._not_taken(code, topic)
        session, mid = event.token
        if mid and session == self._session:  # QoS 0 has no number: a broker hangs up at 0
            self._client.ack(mid, _LEAST_ONCE)

    def _delivered(self, sent: MQTTMessageInfo) -> None:
        """Wait until the broker has acknowledged it."""
        until = time.monotonic() + self._seconds
        try:
            while not sent.is_published():
                if time.monotonic() >= until:
                    raise UnavailableError(
                        f"{self._shown} did not take an answer within {self._seconds:g} s"
                    )
                sent.wait_for_publish(_PIECE_S)
        except (RuntimeError, ValueError) as error:
            raise UnavailableError(f"{self._shown} did not take an answer: {error}") from error

    def _not_taken(self, code: ReasonCode, topic: str) -> ModelworksError:
        """Why an answer is not there; without a field it is its message's fault alone."""
        why = f"{self._shown} did not take an answer: {code}"
        if code.value not in _REFUSALS:
            return UnavailableError(why)
        settings = code.value not in _OF_MESSAGES and topic in {self._answers, self._dead}
        return InvalidError(why, field="answers" if settings else None)

    # -- on the library's thread

    def _connected(self, client: Client, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._problem = f"it refuses the connection: {code}"
            return
        self._session += 1
        with suppress(queue.Empty):  # what came by the old connection comes again by this one
            while True:
                self._came.get_nowait()
        client.subscribe(self._topic, options=SubscribeOptions(qos=_LEAST_ONCE))

    def _subscribed(
        self, _client: Client, _data: Any, _mid: int, codes: list[Any], _more: Any
    ) -> None:
        if any(code.is_failure for code in codes):
            self._problem = f"it refuses the subscription to '{self._topic}': {codes[0]}"
            return
        self._problem = ""
        self._up.set()

    def _lost(self, _client: Client, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        self._problem = f"the connection broke: {code}"
        self._up.clear()

    def _published(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _: Any) -> None:
        # Whoever waits hears of the end after this; numbers are used again.
        self._untaken.pop(mid, None)
        if code.is_failure:
            self._untaken[mid] = code

    def _heard(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        # Full it can only be of an older session's messages, which come again.
        with suppress(queue.Full):
            self._came.put_nowait((self._session, message))


def _event(session: int, message: MQTTMessage) -> Event:
    told = message.properties
    headers = {str(k).lower(): str(v) for k, v in getattr(told, "UserProperty", None) or ()}
    data = getattr(told, "CorrelationData", None)
    named = data.decode("utf-8", "replace") if data else headers.get(CORRELATION, "")
    if kind := getattr(told, "ContentType", None):
        headers.setdefault("content-type", str(kind))
    return Event(
        id=named or f"{message.topic}-{message.mid}",
        data=bytes(message.payload),
        headers=headers,
        subject=message.topic,
        reply=str(getattr(told, "ResponseTopic", None) or headers.get(REPLY, "")),
        tries=1 if message.dup else 0,
        token=(session, message.mid),
    )
