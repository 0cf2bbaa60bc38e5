"""Messages of NATS JetStream: a durable consumer; a message is acknowledged after its answer."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar

from nats.errors import BadSubjectError, MaxPayloadError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.seams import Event
from modelworks.ext.events.given import CORRELATION, REASON, REPLY, checked, reason_of, seconds_of
from modelworks.ext.nats_line import CLOSE_S, NatsLine

R = TypeVar("R")
_SECONDS: Final = 30.0
_ACK_S: Final = 60.0
_ID: Final = "nats-msg-id"


class NatsEvents:
    """See `core.seams.EventBus`."""

    name: ClassVar[str] = "nats"
    extra: ClassVar[str] = "nats"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url": "of the server, nats://HOST:PORT; several with commas",
        "subject": "that asks; a stream listens to it",
        "answers": "subject of answers; a stream listens to it, too",
        "dead": "subject of what is refused (answers + .dead); a stream listens to it, too",
        "durable": "name under which the stream remembers how far we are (modelworks)",
        "credentials": "a .creds file",
        "ca": "authorities (PEM) of a tls:// server",
        "timeout": "seconds for one handing over (30)",
        "ack_wait": "seconds after which a message that nobody works on goes to somebody else (60)",
    }

    def open(self, settings: Mapping[str, str], most: int) -> "OpenNatsEvents":
        """See `EventBus.open`."""
        checked(settings, self.settings, ("url", "subject", "answers"))
        return OpenNatsEvents(settings, most)


class OpenNatsEvents:
    """See `core.seams.OpenEvents`: a connection that lives on a thread of its own."""

    def __init__(self, settings: Mapping[str, str], most: int) -> None:
        self._subject = settings["subject"]
        self._answers = settings["answers"]
        self._dead = settings.get("dead") or f"{self._answers}.dead"
        self._durable = settings.get("durable") or "modelworks"
        self._seconds = seconds_of(settings, "timeout", _SECONDS)
        self._ack_s = seconds_of(settings, "ack_wait", _ACK_S)
        self._most = most
        files = (settings.get("credentials") or None, settings.get("ca") or None)
        self._line = NatsLine(settings["url"], *files, self._seconds)
        self._shown = self._line.shown
        self._client: Any = None
        try:
            self._pulled = self._wait(self._connect(), self._seconds + 1)
        except BaseException:
            self.close()
            raise

    def take(self, most: int, seconds: float) -> Sequence[Event]:
        """See `OpenEvents.take`."""
        return self._wait(self._take(most, seconds), seconds + self._seconds)

    def answer(self, event: Event, data: bytes, headers: Mapping[str, str]) -> None:
        """See `OpenEvents.answer`."""
        told = {**headers, CORRELATION: event.id}
        self._wait(self._publish(event, event.reply, data, told, "answer"), self._seconds + 1)

    def refuse(self, event: Event, reason: str) -> None:
        """See `OpenEvents.refuse`."""
        told = {**event.headers, CORRELATION: event.id, REASON: reason_of(reason)}
        self._wait(self._publish(event, "", event.data, told, "dead"), self._seconds + 1)

    def keep(self, event: Event) -> None:
        """See `OpenEvents.keep`."""
        with suppress(UnavailableError, InvalidError):
            self._wait(event.token.in_progress(), 1.0)

    def close(self) -> None:
        """See `OpenEvents.close`."""
        if self._line.open:
            if self._client is not None:
                with suppress(UnavailableError):
                    self._wait(self._client.close(), CLOSE_S)
            self._line.stop()

    async def _connect(self) -> Any:
        self._client = await self._line.connect()
        return await self._subscribe()

    async def _subscribe(self) -> Any:
        wanted = ConsumerConfig(
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._ack_s,
            max_ack_pending=self._most,
            filter_subject=self._subject,
        )
        stream = self._client.jetstream(timeout=self._seconds)
        found = await stream.pull_subscribe(self._subject, durable=self._durable, config=wanted)
        known = (await found.consumer_info()).config  # one that is there already is taken as it is
        takes = {known.filter_subject, *(getattr(known, "filter_subjects", None) or ())}
        if others := sorted(filter(None, takes - {self._subject})):
            raise InvalidError(
                f"durable: '{self._durable}' takes '{others[0]}' of this stream already, not "
                f"'{self._subject}': name another one (--set durable=NAME)",
                field="durable",
            )
        return found

    async def _take(self, most: int, seconds: float) -> list[Event]:
        try:
            found = await self._pulled.fetch(most, timeout=seconds)
        except (NatsTimeoutError, TimeoutError):
            return []
        return [_event(message) for message in found]

    async def _publish(
        self, event: Event, reply: str, data: bytes, headers: Mapping[str, str], what: str
    ) -> None:
        """Publish, and acknowledge what it is about when the server has it."""
        told = dict(headers)
        async with asyncio.timeout(self._seconds):
            if reply:
                await self._client.publish(reply, data, headers=told)
                await self._client.flush(round(self._seconds))
            else:
                # A stream drops what comes twice: after a kill an answer may. Not that of another
                # durable: each has an answer of its own.
                told["Nats-Msg-Id"] = f"{what}-{self._durable}-{_place(event.token)}"
                stream = self._client.jetstream(timeout=self._seconds)
                subject = self._answers if what == "answer" else self._dead
                await stream.publish(subject, data, headers=told)
            await event.token.ack_sync(timeout=self._seconds)

    def _wait(self, work: Coroutine[Any, Any, R], seconds: float) -> R:
        """The result of `work` on the connection's thread."""
        try:
            return self._line.run(work, seconds)
        except NoStreamResponseError as error:
            raise InvalidError(
                f"no stream of {self._shown} listens to '{self._answers}' or '{self._dead}': make "
                "one with the nats command, or name other subjects",
                field="answers",
            ) from error
        except NotFoundError as error:
            raise InvalidError(
                f"no stream of {self._shown} listens to '{self._subject}': make one with the nats "
                "command, or name another subject",
                field="subject",
            ) from error
        except APIError as error:
            if error.code is not None and 400 <= error.code < 500:
                raise InvalidError(f"{self._shown} refuses: {error}") from error
            raise UnavailableError(f"{self._shown} did not answer: {error}") from error
        except (MaxPayloadError, BadSubjectError) as error:
            raise InvalidError(f"{self._shown} does not take it: {error}") from error
        except (NatsError, OSError, TimeoutError, FutureTimeoutError) as error:
            why = str(error) or type(error).__name__
            raise UnavailableError(f"{self._shown} did not answer: {why}") from error


def _place(message: Any) -> str:
    """A message's place in its stream: the same whenever it comes."""
    known = message.metadata
    return f"{known.stream}-{known.sequence.stream}"


def _event(message: Any) -> Event:
    headers = {name.lower(): value for name, value in (message.headers or {}).items()}
    named = headers.get(CORRELATION) or headers.get(_ID) or _place(message)
    return Event(
        id=named,
        data=message.data,
        headers=headers,
        subject=message.subject,
        reply=headers.get(REPLY, ""),
        tries=max(0, int(message.metadata.num_delivered or 1) - 1),
        token=message,
    )
