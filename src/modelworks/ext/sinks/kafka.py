"""Records into a Kafka topic, each acknowledged by all replicas in sync."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.records import Record
from modelworks.ext.settings import files
from modelworks.ext.sinks import events

_SECONDS: Final = 30.0
_LOOK_S: Final = 0.1
_REFUSALS: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


class KafkaSink:
    """See `core.seams.RecordSink`."""

    name: ClassVar[str] = "kafka"
    extra: ClassVar[str] = "kafka"
    experimental: ClassVar[bool] = True
    settings: ClassVar[Mapping[str, str]] = {
        "brokers": "to begin with, HOST:PORT; several with commas",
        "topic": "that records go to",
        "user": "of SASL/PLAIN over TLS",
        "password_file": "a file with its password",
        "ca": "authorities (PEM); brokers then speak TLS",
        "timeout": "seconds for one handing over, all tries together",
    }

    def open(self, settings: Mapping[str, str]) -> "OpenKafka":
        """See `RecordSink.open`."""
        events.checked(settings, self.settings, ("brokers", "topic"))
        return OpenKafka(settings)


class OpenKafka:
    """See `core.seams.OpenSink`."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._topic = settings["topic"]
        self._brokers = settings["brokers"]
        self._seconds = events.seconds_of(settings, "timeout", _SECONDS)
        self._producer = Producer(
            {
                "bootstrap.servers": self._brokers,
                "client.id": "modelworks",
                "acks": "all",
                "enable.idempotence": True,
                "delivery.timeout.ms": round(self._seconds * 1000),
                "linger.ms": 5,
                **_security(settings),
            },
            logger=None,
        )
        try:
            self._producer.list_topics(timeout=self._seconds)
        except KafkaException as error:
            raise UnavailableError(f"{self._brokers}: {error.args[0].str()}") from error

    def send(self, records: Sequence[Record]) -> None:
        """See `OpenSink.send`.

        Raises:
            InvalidError: the brokers refuse them: too large, no such topic, no right.
            UnavailableError: as in `OpenSink.send`.
        """
        deadline = time.monotonic() + self._seconds
        failed: list[Any] = []

        def told(error: Any, _message: Any) -> None:
            if error is not None:
                failed.append(error)

        for record in records:
            self._produce(record, told, deadline)
        left = self._producer.flush(max(0.0, deadline - time.monotonic()))
        if failed:
            kind = InvalidError if failed[0].code() in _REFUSALS else UnavailableError
            raise kind(f"{self._brokers} did not take the records: {failed[0].str()}")
        if left:
            self._producer.purge()
            self._producer.flush(_LOOK_S)
            raise UnavailableError(f"{self._brokers} did not take {left} records in time")

    def close(self) -> None:
        """See `OpenSink.close`."""
        self._producer.flush(_LOOK_S)

    def _produce(self, record: Record, told: Any, deadline: float) -> None:
        """Put it into the client's queue, which may be full."""
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    events.structured(record),
                    key=(record.key or record.id).encode(),
                    headers=[("content-type", b"application/cloudevents+json")],
                    on_delivery=told,
                )
            except BufferError as error:
                if time.monotonic() >= deadline:
                    raise UnavailableError(
                        f"{self._brokers} did not take the records in time"
                    ) from error
                self._producer.poll(_LOOK_S)
            except KafkaException as error:
                raise InvalidError(f"{self._brokers}: {error.args[0].str()}") from error
            else:
                return


def _security(settings: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    files(settings, "ca")
    if settings.get("ca"):
        found |= {"security.protocol": "SSL", "ssl.ca.location": settings["ca"]}
    if settings.get("user"):
        try:
            password = Path(settings.get("password_file", "")).read_text().strip()
        except OSError as error:
            raise InvalidError(
                "password_file: a file that can be read is wanted with user", field="password_file"
            ) from error
        found |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": settings["user"],
            "sasl.password": password,
        }
    return found
