"""Messages of Kafka topics: a consumer group, whose offsets move when answers are acknowledged."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

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
_PIECE_S: Final = 0.1
_SESSION_MS: Final = 10_000  # of one that was killed the messages go to others after it
_OF_MESSAGES: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG})
_REFUSALS: Final = _OF_MESSAGES | frozenset(
    {
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


class KafkaEvents:
    """See `core.seams.EventBus`."""

    name: ClassVar[str] = "kafka"
    extra: ClassVar[str] = "kafka"
    experimental: ClassVar[bool] = True
    settings: ClassVar[Mapping[str, str]] = {
        "brokers": "to begin with, HOST:PORT; several with commas",
        "subject": "topic that asks",
        "answers": "topic of answers, where a message names none itself",
        "dead": "topic of what is refused (answers + .dead)",
        "group": "of consumers (modelworks)",
        "user": "of SASL/PLAIN over TLS",
        "password_file": "a file with its password",
        "ca": "authorities (PEM); brokers then speak TLS",
        "timeout": "seconds for one handing over (30)",
    }

    def open(self, settings: Mapping[str, str], most: int) -> "OpenKafkaEvents":
        """See `EventBus.open`."""
        checked(settings, self.settings, ("brokers", "subject", "answers"))
        return OpenKafkaEvents(settings, most)


class _Part:
    """How far one partition is: offsets are committed in order, messages end in any."""

    def __init__(self) -> None:
        self.waiting: dict[int, bool] = {}  # offset -> ended; in order of arrival

    def ended(self, offset: int) -> int | None:
        """Note an end; the offset that may be committed now, None = none."""
        if offset not in self.waiting:
            return None
        self.waiting[offset] = True
        last = None
        for first, done in list(self.waiting.items()):
            if not done:
                break
            del self.waiting[first]
            last = first + 1
        return last


class OpenKafkaEvents:
    """See `core.seams.OpenEvents`."""

    def __init__(self, settings: Mapping[str, str], most: int) -> None:
        self._answers = settings["answers"]
        self._dead = settings.get("dead") or f"{self._answers}.dead"
        self._seconds = seconds_of(settings, "timeout", _SECONDS)
        self._shown = settings["brokers"]
        self._most = most
        self._parts: dict[tuple[str, int], _Part] = {}
        self._lock = threading.Lock()
        self._closed = False
        shared = {"bootstrap.servers": self._shown, "client.id": "modelworks"}
        shared |= _security(settings)
        self._producer: Any = Producer(
            {
                **shared,
                "acks": "all",
                "enable.idempotence": True,
                "delivery.timeout.ms": round(self._seconds * 1000),
                "linger.ms": 0,
            },
            logger=None,
        )
        try:
            self._producer.list_topics(timeout=self._seconds)
        except KafkaException as error:
            raise UnavailableError(f"{self._shown}: {error.args[0].str()}") from error
        self._consumer = Consumer(
            {
                **shared,
                "group.id": settings.get("group") or "modelworks",
                "enable.auto.commit": False,
                "session.timeout.ms": _SESSION_MS,
                "auto.offset.reset": "earliest",
                "queued.min.messages": max(1, most),
            },
            logger=None,
        )
        self._consumer.subscribe([settings["subject"]], on_revoke=self._revoked)

    def take(self, most: int, seconds: float) -> Sequence[Event]:
        """See `OpenEvents.take`."""
        found: list[Event] = []
        until = time.monotonic() + seconds
        while len(found) < most and not self._closed:
            left = until - time.monotonic()
            message = self._consumer.poll(max(0.0, left) if not found else 0.0)
            if message is None:
                break
            error = message.error()
            if error is not None:
                if found:
                    break
                raise UnavailableError(f"{self._shown}: {error.str()}")
            found.append(self._event(message))
        return found

    def answer(self, event: Event, data: bytes, headers: Mapping[str, str]) -> None:
        """See `OpenEvents.answer`."""
        told = {**headers, CORRELATION: event.id}
        self._publish(event, event.reply or self._answers, data, told)

    def refuse(self, event: Event, reason: str) -> None:
        """See `OpenEvents.refuse`."""
        told = {**event.headers, CORRELATION: event.id, REASON: reason_of(reason)}
        self._publish(event, self._dead, event.data, told)

    def keep(self, event: Event) -> None:
        """See `OpenEvents.keep`: a group keeps who goes on polling, which `take` does."""

    def close(self) -> None:
        """See `OpenEvents.close`."""
        if self._closed:
            return
        self._closed = True
        self._producer.flush(_PIECE_S)
        self._producer = None  # its threads end with it
        with suppress(KafkaException, RuntimeError):
            self._consumer.close()

    def _publish(self, event: Event, topic: str, data: bytes, headers: Mapping[str, str]) -> None:
        over = threading.Event()
        failed: list[Any] = []

        def told(error: Any, _message: Any) -> None:
            if error is not None:
                failed.append(error)
            over.set()

        key, topic_of, part, offset = event.token
        try:
            self._producer.produce(
                topic,
                data,
                key=key,
                headers=[(name, value.encode()) for name, value in headers.items()],
                on_delivery=told,
            )
        except BufferError as error:
            raise UnavailableError(f"{self._shown} did not take an answer: {error}") from error
        except KafkaException as error:
            raise self._not_taken(error.args[0], topic) from error
        until = time.monotonic() + self._seconds + 1
        while not over.is_set() and time.monotonic() < until:
            self._producer.poll(_PIECE_S)
        if failed:
            raise self._not_taken(failed[0], topic)
        if not over.is_set():
            why = "no acknowledgement in time"
            raise UnavailableError(f"{self._shown} did not take an answer: {why}")
        self._ended(topic_of, part, offset)

    def _not_taken(self, error: Any, topic: str) -> ModelworksError:
        """Why an answer is not there; without a field it is its message's fault alone."""
        why = f"{self._shown} did not take an answer: {error.str()}"
        code = error.code()
        if code not in _REFUSALS:
            return UnavailableError(why)
        settings = code not in _OF_MESSAGES and topic in {self._answers, self._dead}
        return InvalidError(why, field="answers" if settings else None)

    def _ended(self, topic: str, part: int, offset: int) -> None:
        with self._lock:
            found = self._parts.get((topic, part))
            upto = found.ended(offset) if found is not None else None
            if upto is None or self._closed:
                return
            try:
                self._consumer.commit(
                    offsets=[TopicPartition(topic, part, upto)], asynchronous=False
                )
            except KafkaException as error:
                raise UnavailableError(
                    f"{self._shown} did not note how far we are: {error.args[0].str()}"
                ) from error

    def _revoked(self, _consumer: Any, parts: list[Any]) -> None:
        """Others have these partitions now: what we have of them is theirs again."""
        with self._lock:
            for part in parts:
                self._parts.pop((part.topic, part.partition), None)

    def _event(self, message: Any) -> Event:
        headers = {
            str(name).lower(): (value or b"").decode("utf-8", "replace")
            for name, value in message.headers() or ()
        }
        topic, part, offset = message.topic(), message.partition(), message.offset()
        with self._lock:
            self._parts.setdefault((topic, part), _Part()).waiting[offset] = False
        return Event(
            id=headers.get(CORRELATION) or f"{topic}-{part}-{offset}",
            data=message.value() or b"",
            headers=headers,
            subject=topic,
            reply=headers.get(REPLY, ""),
            token=(message.key(), topic, part, offset),
        )


def _security(settings: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if settings.get("ca"):
        found |= {"security.protocol": "SSL", "ssl.ca.location": settings["ca"]}
    if settings.get("user"):
        found |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": settings["user"],
            "sasl.password": password_of(settings),
        }
    return found
