"""`/v2/models/{m}/explain` and `/v1/models/{m}:explain`: beside the predictions, never before them.

One explanation at a time a worker, on a thread of its own; it asks the model in short calls when
nobody else does.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    ModelworksError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.seams import Explanation
from modelworks.edge.exchange import Exchange
from modelworks.edge.patience import TIMEOUT, timeout_ms
from modelworks.plugins.explaining import AUTO, explain_by
from modelworks.protocol.features import Features, answer_of, answers
from modelworks.protocol.kserve_v1 import decode_instances
from modelworks.protocol.oip import parse_header_length
from modelworks.protocol.rows import PlainRows, decode_rows
from modelworks.serving.infer import JSON, readable, refuse
from modelworks.serving.live import Live
from modelworks.serving.question import Asking

_log = logging.getLogger("modelworks.serving")
MOST_ROWS: Final = 64
_SECONDS: Final = 30.0
_SAMPLES: Final = 1024
_BACKGROUND: Final = 50
_SWITCH_S: Final = 0.0002  # how long the loop waits for the interpreter while one is under way
_NICE: Final = 19
_LENGTH: Final = b"inference-header-content-length"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A decoded request.

    Attributes:
        inputs: of the model.
        rows: how many.
        id: echoed; empty = none.
        seconds: it may take.
        write: the answer.
    """

    inputs: Mapping[str, Any]
    rows: int
    id: str
    seconds: float
    write: "Callable[[Live, Wanted, Explanation, str], bytes]"


def of_v2(live: Live, exchange: Exchange) -> Wanted:
    """As an inference request of the Open Inference Protocol."""
    given = exchange.headers.get(_LENGTH)
    length = None if given is None else parse_header_length(given)
    request = live.reader.read(exchange.body, length)
    seconds = request.timeout_us / 1e6 if request.timeout_us else _SECONDS
    return Wanted(request.inputs, request.rows, request.id, min(seconds, _SECONDS), _v2)


def of_v1(live: Live, exchange: Exchange) -> Wanted:
    """As KServe's v1 protocol: `{"instances": [...]}`."""
    found = decode_instances(exchange.body, live.signature, MOST_ROWS)
    if live.checks is not None:
        live.checks.check(found.inputs)
    return Wanted(found.inputs, found.rows, "", _SECONDS, _v1)


class Desk:
    """Explains for one worker."""

    def __init__(self) -> None:
        self._busy = False
        self._backgrounds: dict[str, PlainRows] = {}

    def take(
        self, read: Callable[[Live, Exchange], Wanted], live: Live, exchange: Exchange
    ) -> None:
        """Answer later, from a thread; refuse at once what cannot be."""
        try:
            self._take(read, live, exchange)
        except (ModelworksError, RecursionError) as error:
            refuse(exchange, readable(error), live.recorder)

    def _take(
        self, read: Callable[[Live, Exchange], Wanted], live: Live, exchange: Exchange
    ) -> None:
        if not live.served.background:
            raise UnsupportedError(
                f"model '{live.name}' is served without a background to explain against: "
                "modelworks serve NAME --background rows.csv"
            )
        wanted = read(live, exchange)
        if wanted.rows > MOST_ROWS:
            raise InvalidError(
                f"{wanted.rows} rows: at most {MOST_ROWS} are explained in one request",
                field="inputs",
            )
        if self._busy:
            raise UnavailableError("this server explains another request now; try again later")
        loop = asyncio.get_running_loop()
        given = exchange.headers.get(TIMEOUT)
        limit = timeout_ms(given) / 1000 if given is not None else 0.0
        asking = Asking(live, loop, min(wanted.seconds, limit or wanted.seconds))
        exchange.on_gone = asking.leave
        self._busy = True

        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)

        def settle(body: bytes | None, error: Exception | None) -> None:
            self._busy = False
            sys.setswitchinterval(interval)
            if body is not None:
                exchange.reply(200, body, JSON)
            elif error is not None:
                refuse(exchange, error, live.recorder)

        def work() -> None:
            body, problem = None, None
            _step_back()
            try:
                body = self._explain(live, wanted, asking)
            except ModelworksError as error:
                problem = error
            except Exception:  # noqa: BLE001 - the client must get an answer
                _log.exception("an explanation failed")
                problem = CrashedError("it failed: see the server's log")
            with suppress(RuntimeError):  # the loop closed: nobody waits any more
                loop.call_soon_threadsafe(settle, body, problem)

        threading.Thread(target=work, name=f"explain-{live.name}", daemon=True).start()

    def _explain(self, live: Live, wanted: Wanted, asking: Asking) -> bytes:
        signature = live.signature
        background = self._background(live)
        features = Features.of(signature, (wanted.inputs, background.inputs))
        answer_of(signature)

        def predict(table: Any) -> Any:
            return answers(signature, asking.ask(features.tensors(table), len(table)))

        tables = features.table(wanted.inputs), features.table(background.inputs)[:_BACKGROUND]
        options: dict[str, Any] = {"samples": _SAMPLES, "features": features.names}
        if live.served.format == "onnx" and not signature.steps:
            options["artifact"] = Path(live.served.path)
        made, by, _ = explain_by(AUTO, predict, tables, options)
        return wanted.write(live, wanted, made, by)

    def _background(self, live: Live) -> PlainRows:
        """Read once; a file that is replaced is read with the next load."""
        key = f"{live.served.background} {live.name} {live.version}"
        found = self._backgrounds.get(key)
        if found is None:
            try:
                body = Path(live.served.background).read_bytes()
            except OSError as error:
                raise UnavailableError(
                    f"the background of model '{live.name}' cannot be read: {error.strerror}"
                ) from error
            found = decode_rows(body, live.signature)
            if len(self._backgrounds) >= 64:
                self._backgrounds.clear()
            self._backgrounds[key] = found
        return found


def _step_back() -> None:
    """This thread goes behind the others of the process, where the system knows threads."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _v2(live: Live, wanted: Wanted, made: Explanation, by: str) -> bytes:
    """Tensors `values`, `base`, `errors`, `features`, `classes`."""
    classes = [str(name) for name in answer_of(live.signature).names]
    outputs = [_tensor("values", made.values), _tensor("base", np.atleast_1d(made.base))]
    if made.error is not None:
        outputs.append(_tensor("errors", made.error))
    for name, texts in (("features", list(made.features)), ("classes", classes)):
        outputs.append({"name": name, "datatype": "BYTES", "shape": [len(texts)], "data": texts})
    told: dict[str, Any] = {"model_name": live.name, "model_version": live.version}
    if wanted.id:
        told["id"] = wanted.id
    return orjson.dumps({**told, "parameters": _parameters(made, by), "outputs": outputs})


def _v1(live: Live, wanted: Wanted, made: Explanation, by: str) -> bytes:  # noqa: ARG001 - as `_v2`
    """One object a row: `{"base", "values": {feature: value}, "errors"}`; a list a class."""
    rows = []
    for place, values in enumerate(made.values):
        row = {
            "base": np.asarray(made.base).tolist(),
            "values": dict(zip(made.features, np.asarray(values).tolist(), strict=True)),
        }
        if made.error is not None:
            errors = np.asarray(made.error[place]).tolist()
            row["errors"] = dict(zip(made.features, errors, strict=True))
        rows.append(row)
    told = {"explanations": rows, **_parameters(made, by)}
    classes = answer_of(live.signature).classes
    return orjson.dumps({**told, "classes": list(classes)} if classes else told)


def _parameters(made: Explanation, by: str) -> dict[str, Any]:
    return {"explainer": by, "link": made.link, "additive": made.additive, "calls": made.calls}


def _tensor(name: str, array: Any) -> dict[str, Any]:
    array = np.asarray(array, np.float64)
    return {
        "name": name,
        "datatype": "FP64",
        "shape": list(array.shape),
        "data": array.ravel().tolist(),
    }
