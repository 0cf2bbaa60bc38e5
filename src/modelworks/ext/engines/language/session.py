"""One language model: generations in, pieces out, whatever becomes of its process."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import (
    UNLOADED,
    CrashedError,
    DeadlineError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.core.tensor import Tensors
from modelworks.ext.engines.language.lines import LONGEST_TEXT
from modelworks.ext.engines.language.process import Plan, Process
from modelworks.ext.engines.language.texts import Here, Texts, There, fitting, texts_of
from modelworks.ext.engines.language.writing import Writing
from modelworks.ext.formats.language import SIGNATURE

_log = logging.getLogger("modelworks.language")
_WAITS: Final = (0.0, 0.1, 0.5, 2.0, 8.0, 30.0)
_HEALTHY_S: Final = 10.0  # a process that lived so long starts again at once
_JOIN_S: Final = 10.0
_STEP_S: Final = 300.0  # that the process may compute before it hears what is asked
_NONE: Final = -1
_AGAIN: Final = "the model's process ended; it is started again"
Tell = Callable[[Piece], None]


class _Answer:
    """One that is under way."""

    __slots__ = ("cached", "prompt", "tell", "tokens", "writing")

    def __init__(self, prompt: int, tell: Tell, writing: Writing) -> None:
        self.prompt = prompt
        self.tell = tell
        self.writing = writing
        self.cached = 0
        self.tokens = 0  # that came and have given no text yet


class LanguageSession:
    """A model in a process of its own; see `core.seams.Conversing`, `Watchable`, `Elsewhere`.

    Args:
        plan: of its process.
        begin: token that a text begins with; None = the process reads texts.
        outstanding: tokens of prompts and answers that may be under way; 0 = four times the slots'
            contexts.
        most: generations that may be under way, those that wait for a turn included.
        row_tokens: new tokens of one row of `infer`, at most.
        row_s: seconds of one call of `infer`, at most.
        hottest: temperature that the engine takes at most.

    Raises:
        ModelworksError: it does not load.
    """

    apart = True

    def __init__(
        self,
        plan: Plan,
        begin: int | None,
        *,
        outstanding: int,
        most: int,
        row_tokens: int,
        row_s: float,
        hottest: float,
    ) -> None:
        self.signature = SIGNATURE
        self._plan = plan
        self._most = most
        self._row_tokens = row_tokens
        self._row_s = row_s
        self._hottest = hottest
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._answers: dict[int, _Answer] = {}
        self._asked: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._why = ""  # why it takes nothing now; empty = it does
        self._changed: Callable[[str], None] = _nobody
        self._stop = threading.Event()
        self._fallen = threading.Event()
        process = Process(plan, self._hear, self._end)
        ready = process.ready
        self.context = ready.context
        self.adapters = ready.adapters
        self.outstanding = outstanding or 4 * plan.wish.slots * ready.context
        try:
            self._texts: Texts = (
                There(self._tokens, ready.widest, ready.context)
                if begin is None
                else Here(plan.wish.folder, begin, ready.context)
            )
        except BaseException:
            process.close()
            raise
        self.distant = self._texts.distant
        self._process: Process | None = process
        self._keeper = threading.Thread(target=self._keep, name="language-keeper", daemon=True)
        self._keeper.start()

    # -- what is asked of it

    def count(self, text: str) -> int:
        """See `core.seams.Generating.count`."""
        return len(self._texts.read(text))

    def generate(self, prompt: Prompt, sampling: Sampling, tell: Tell) -> Callable[[], None]:
        """See `core.seams.Generating.generate`."""
        if prompt.adapter and prompt.adapter not in self.adapters:
            known = ", ".join(self.adapters) or "none"
            raise InvalidError(
                f"no adapter '{prompt.adapter[:60]}'; there are: {known}", field="adapter"
            )
        if sampling.temperature > self._hottest:
            raise InvalidError(
                f"temperature: {sampling.temperature:g} is more than {self._hottest:g}, which is "
                "all that this model's engine takes",
                field="temperature",
            )
        tokens = self._texts.read(prompt.text)
        fitting(tokens, self.context)
        answer = _Answer(len(tokens), tell, Writing(self._texts.spelling(), sampling.stop))
        with self._lock:
            process = self._process
            if self._why or process is None:
                raise UnavailableError(self._why or UNLOADED)
            if len(self._answers) >= self._most:
                raise UnavailableError(
                    f"the model has {self._most} generations under way and waiting, which is all "
                    "it takes (options slots, queue)"
                )
            number = next(self._numbers)
            self._answers[number] = answer
            process.say(
                {
                    "begin": number,
                    "prompt": tokens,
                    "adapter": prompt.adapter,
                    "sampling": codec.encode(sampling),
                }
            )
        return partial(self._leave, number)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """See `core.seams.Conversing.chat`."""
        size = sum(len(text) for each in messages for text in each.values())
        if size > LONGEST_TEXT:
            raise InvalidError(
                f"the conversation has {size} characters, and at most {LONGEST_TEXT} are taken",
                field="messages",
            )
        asked = {"messages": [dict(each) for each in messages]}
        return str(self._ask(asked, "messages", "to write a conversation"))

    def _tokens(self, text: str) -> list[int]:
        return [int(token) for token in self._ask({"text": text}, "prompt", "to read a prompt")]

    def _ask(self, asked: dict[str, Any], field: str, what: str) -> Any:
        """Something of the process, between two steps of it."""
        answer: SimpleQueue[dict[str, Any]] = SimpleQueue()
        with self._lock:
            process = self._process
            if self._why or process is None:
                raise UnavailableError(self._why or UNLOADED)
            number = next(self._numbers)
            self._asked[number] = answer
            process.say({"ask": number, **asked})
        found: dict[str, Any] = {}
        try:
            found = answer.get(timeout=_STEP_S)  # what it computes now is to end before
            if "began" in found:
                found = answer.get(timeout=self._row_s)
        except Empty:
            if not found:
                raise DeadlineError(
                    f"the model's process did not come {what} within {_STEP_S:g} s: it is busy"
                ) from None
            process.end(f"took longer than {self._row_s:g} s {what}")
            raise DeadlineError(
                f"the model's process took longer than {self._row_s:g} s {what}"
            ) from None
        finally:
            with self._lock:
                self._asked.pop(number, None)
        if "found" in found:
            return found["found"]
        if "refused" in found:
            raise InvalidError(str(found["refused"])[:400], field=field)
        raise UnavailableError(str(found.get("gone", UNLOADED)))

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Continue every row, the likeliest token each time; see `core.seams.Session.infer`."""
        texts = texts_of(inputs)
        sampling = Sampling(max_tokens=self._row_tokens, temperature=0.0)
        found = np.empty(len(texts), dtype=object)
        for place, text in enumerate(texts):
            found[place] = self._whole(text, sampling).encode()
        return [found]

    def _whole(self, text: str, sampling: Sampling) -> str:
        pieces: SimpleQueue[Piece] = SimpleQueue()
        leave = self.generate(Prompt(text), sampling, pieces.put)
        parts = []
        while True:
            try:
                piece = pieces.get(timeout=self._row_s)
            except Empty:
                leave()
                raise DeadlineError(
                    f"the model gave no token for {self._row_s:g} s (option row_s)"
                ) from None
            parts.append(piece.text)
            if piece.finish is Finish.ERROR:
                raise CrashedError(f"the model failed: {piece.error}")
            if piece.finish is Finish.CANCELLED:
                raise UnavailableError(UNLOADED)
            if piece.finish is not None:
                return "".join(parts)

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `core.seams.Watchable.watch`."""
        with self._lock:
            self._changed = changed
            why = self._why
        if why:
            changed(why)

    def processes(self) -> tuple[int, ...]:
        """See `core.seams.Elsewhere.processes`."""
        process = self._process
        return (process.pid,) if process is not None else ()

    def close(self) -> None:
        """End the process; what is under way is told. Twice is quiet."""
        with self._lock:
            self._why = UNLOADED
            process, self._process = self._process, None
        self._stop.set()
        self._fallen.set()
        if process is not None:
            process.close()
        if threading.current_thread() is not self._keeper:
            self._keeper.join(_JOIN_S)
        self._drop(Finish.CANCELLED, UNLOADED)
        self._changed = _nobody

    # -- what the process says, on its reader's thread

    def _hear(self, message: Any) -> None:
        if isinstance(message, dict):
            with self._lock:
                asked = self._asked.get(message["ask"])
            if asked is not None:
                asked.put(message)
            return
        for number, token, finish, cached, why in message:
            answer = self._answers.get(number)
            if answer is None:
                continue
            answer.cached = int(cached)
            self._took(number, answer, token, str(finish), str(why))

    def _took(self, number: int, answer: _Answer, token: Any, finish: str, why: str) -> None:
        text = ""
        if token != _NONE:
            answer.tokens += 1
            text = answer.writing.add(token)
        if answer.writing.stopped:
            self._last(number, answer, Piece(text, answer.tokens, Finish.STOP))
            with self._lock:
                if self._process is not None:
                    self._process.say({"stop": number})
        elif finish:
            text += answer.writing.rest()
            self._last(number, answer, Piece(text, answer.tokens, Finish(finish), why))
        elif text:
            tokens, answer.tokens = answer.tokens, 0
            answer.tell(Piece(text, tokens))

    def _last(self, number: int, answer: _Answer, piece: Piece) -> None:
        with self._lock:
            if self._answers.pop(number, None) is None:
                return
        answer.tell(
            Piece(
                *(piece.text, piece.tokens, piece.finish, piece.error),
                prompt_tokens=answer.prompt,
                cached_tokens=answer.cached,
            )
        )

    def _leave(self, number: int) -> None:
        """Nobody wants it any more."""
        with self._lock:
            answer = self._answers.get(number)
            if answer is not None and self._process is not None:
                self._process.say({"stop": number})

    # -- the end of the process, and its next life

    def _end(self, reason: str) -> None:
        """It ended unasked."""
        why = f"the model's process {reason}; it is started again"
        with self._lock:
            if self._stop.is_set():
                return
            self._why = why
            changed = self._changed
            self._fallen.set()
        self._drop(Finish.ERROR, why)
        changed(why)

    def _drop(self, finish: Finish, why: str) -> None:
        with self._lock:
            answers, self._answers = dict(self._answers), {}
            asked = list(self._asked.values())
        for each in answers.values():
            piece = Piece("", 0, finish, why if finish is Finish.ERROR else "", each.prompt)
            each.tell(piece)
        for answer in asked:
            answer.put({"gone": why})

    def _keep(self) -> None:
        failed = 0  # starts in a row that failed, or were followed by an early end
        while True:
            self._fallen.wait()
            if self._stop.is_set():
                return
            self._fallen.clear()
            with self._lock:
                old, self._process = self._process, None
            if old is not None:
                failed = 0 if old.age_s > _HEALTHY_S else failed
                old.close()
            # One that ended as soon as it was ready was told of before it was ours: who was let in
            # since is told now.
            self._drop(Finish.ERROR, _AGAIN)
            while not self._stop.wait(_WAITS[min(failed, len(_WAITS) - 1)]):
                failed += 1
                if self._again():
                    break

    def _again(self) -> bool:
        """Start it; whether it stands."""
        try:
            process = Process(self._plan, self._hear, self._end)
        except ModelworksError as error:
            _log.warning("a language model's process does not start again: %s", error.message)
            return False
        with self._lock:
            stopped = self._stop.is_set()
            fell = not stopped and self._fallen.is_set()  # it ended as soon as it was ready
            if fell:
                self._fallen.clear()
            elif not stopped:
                self._process, self._why = process, ""
            changed = self._changed
        if stopped or fell:
            process.close()
            return stopped
        _log.warning("a language model's process stands again, as %d", process.pid)
        changed("")
        return True


def _nobody(_why: str) -> None:
    """Told instead of whoever holds us too."""
