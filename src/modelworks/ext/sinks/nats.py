"""Records into NATS JetStream, each acknowledged; a stream knows repetitions by their id."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar

from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.records import Record
from modelworks.ext.nats_line import CLOSE_S, NatsLine
from modelworks.ext.settings import files
from modelworks.ext.sinks import events

R = TypeVar("R")
_SECONDS: Final = 30.0
_AT_ONCE: Final = 256  # messages under way


class NatsSink:
    """See `core.seams.RecordSink`."""

    name: ClassVar[str] = "nats"
    extra: ClassVar[str] = "nats"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url": "of the server, nats://HOST:PORT; several with commas",
        "subject": "that a stream listens to; {model} and {tenant} are put in",
        "credentials": "a .creds file",
        "ca": "authorities (PEM) of a tls:// server",
        "timeout": "seconds for one handing over, all tries together",
    }

    def open(self, settings: Mapping[str, str]) -> "OpenNats":
        """See `RecordSink.open`."""
        events.checked(settings, self.settings, ("url", "subject"))
        return OpenNats(settings)


class OpenNats:
    """See `core.seams.OpenSink`: a connection that lives on a thread of its own."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._subject = settings["subject"]
        self._seconds = events.seconds_of(settings, "timeout", _SECONDS)
        files(settings, "credentials", "ca")
        credentials, ca = (settings.get(name) or None for name in ("credentials", "ca"))
        self._line = NatsLine(settings["url"], credentials, ca, self._seconds)
        self._shown = self._line.shown
        try:
            self._client = self._wait(self._line.connect(), self._seconds + 1)
        except BaseException:
            self._line.stop()
            raise

    def send(self, records: Sequence[Record]) -> None:
        """See `OpenSink.send`.

        Raises:
            InvalidError: no stream listens to the subject, or it refuses them.
            UnavailableError: as in `OpenSink.send`.
        """
        self._wait(self._publish(records), self._seconds + 1)

    def close(self) -> None:
        """See `OpenSink.close`."""
        if self._line.open:
            with suppress(UnavailableError):
                self._wait(self._client.close(), CLOSE_S)
            self._line.stop()

    async def _publish(self, records: Sequence[Record]) -> None:
        stream = self._client.jetstream(timeout=self._seconds)
        async with asyncio.timeout(self._seconds):
            for at in range(0, len(records), _AT_ONCE):
                sent = [
                    stream.publish(
                        self._subject.format(model=_token(record.model), tenant=record.tenant),
                        events.structured(record),
                        headers={
                            "Nats-Msg-Id": events.identity(record),
                            "Content-Type": "application/cloudevents+json",
                        },
                    )
                    for record in records[at : at + _AT_ONCE]
                ]
                await asyncio.gather(*sent)

    def _wait(self, work: Coroutine[Any, Any, R], seconds: float) -> R:
        """The result of `work` on the connection's thread."""
        try:
            return self._line.run(work, seconds)
        except NoStreamResponseError as error:
            raise InvalidError(
                f"no stream of {self._shown} listens to '{self._subject}': make one with the nats "
                "command, or name another subject",
                field="subject",
            ) from error
        except APIError as error:
            if error.code is not None and 400 <= error.code < 500:
                raise InvalidError(f"{self._shown} refuses the records: {error}") from error
            raise UnavailableError(f"{self._shown} did not take the records: {error}") from error
        except (NatsError, OSError, TimeoutError, FutureTimeoutError) as error:
            why = str(error) or type(error).__name__
            raise UnavailableError(f"{self._shown} did not take the records: {why}") from error


def _token(name: str) -> str:
    """A name as one part of a subject."""
    return name.translate(str.maketrans(". *>\t", "_____"))
