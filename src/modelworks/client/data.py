"""Predictions from a model server: plain rows for people, tensors for programs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from modelworks.client.jobs import Jobs, Submitting
from modelworks.client.texts import Texts
from modelworks.client.tls import ClientTls
from modelworks.client.wire import Wire
from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnsupportedError,
)
from modelworks.core.jobs import Job
from modelworks.core.reference import ModelRef, parse_ref
from modelworks.core.tensor import TensorSpec

PREDICT_SECONDS = 60.0
_NO_TLS = ClientTls()
_PLAIN = Submitting()


class DataPlane:
    """One model server.

    Args:
        url: `http://127.0.0.1:8000`, `https://...` or `unix:///run/models.sock`.
        tls: for https.
        key: an API key; empty = none.

    Attributes:
        jobs: requests that run later.
    """

    def __init__(self, url: str, tls: ClientTls = _NO_TLS, key: str = "") -> None:
        self._wire = Wire(url, "model server", "start one with: modelworks serve NAME", tls, key)
        self._inputs: dict[str, dict[str, TensorSpec]] = {}
        self.jobs = Jobs(self._wire)
        self._texts = Texts(self._wire)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._wire.url

    def predict(self, model: str, rows: Sequence[Any] | Any) -> dict[str, Any]:
        """The server's answer to plain rows.

        Args:
            model: `fraud`, `fraud@champion` or `fraud:1.4.0`.
            rows: a list of rows, each a mapping of feature to value or a list of values; a pandas
                data frame and a numpy array are taken too.

        Raises:
            InvalidError: a row that the model does not take; `field` names it.
            NotFoundError: the server has no such model or version.
            UnavailableError: nothing listens, or the server is full.
        """
        answer = self._wire.json(
            "POST",
            f"/predict/{quote(str(parse_ref(model)), safe='@:')}",
            data={"rows": plain_rows(rows)},
            seconds=PREDICT_SECONDS,
        )
        return dict(answer)

    def infer(self, model: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors in, tensors out, as raw bytes on the wire.

        Args:
            model: `fraud`, `fraud@champion` or `fraud:1.4.0`.
            inputs: input name -> numpy array, or what numpy makes one of.

        Returns:
            Output name -> numpy array; text as an object array of bytes, BF16 as uint16 bits.

        Raises:
            InvalidError: a missing or unknown input, or values that it does not take.
            NotFoundError: the server has no such model or version.
            UnavailableError: nothing listens, or the server is full.
            CrashedError: what answers is no inference server.
        """
        path, body, brought = self._request(model, inputs)
        try:
            data, headers = self._wire.send(
                "POST",
                f"/v2/models/{path}/infer",
                body=body,
                headers=brought,
                seconds=PREDICT_SECONDS,
            )
        except ModelworksError:
            self._inputs.pop(model, None)  # an alias may have moved to another signature
            raise
        return self._outputs(data, headers)

    def generate(self, model: str, text: str, **parameters: Any) -> dict[str, Any]:
        """What a model that generates makes of a text, when it is complete.

        Args:
            model: `story`, `story@champion` or `story:1.4.0`.
            text: to continue.
            parameters: `max_tokens`, `temperature`, `top_p`, `top_k`, `repetition_penalty`, `seed`,
                `stop`, `adapter`.

        Returns:
            `text_output`, `finish_reason` (`stop`, `length`), `num_input_tokens`,
            `num_output_tokens`, `model_name`, `model_version`.

        Raises:
            InvalidError: a parameter that the server does not take; `field` names it.
            NotFoundError: the server has no such model or version.
            UnsupportedError: the model does not generate.
            UnavailableError: nothing listens, or the model has as many as it takes.
        """
        return self._texts.whole(model_path(parse_ref(model)), text, parameters)

    def generate_stream(self, model: str, text: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """`generate`, piece by piece: each has its `text_output`, the last one the rest too.

        Whoever stops reading closes the iterator, and so stops the server's work.

        Raises:
            ModelworksError: as `generate`; behind the first piece too.
        """
        return self._texts.events(model_path(parse_ref(model)), text, parameters)

    def submit(self, model: str, inputs: Mapping[str, Any], told: Submitting = _PLAIN) -> Job:
        """`infer` that runs later: when this returns, the job is on the server's disk.

        Args:
            model: as there.
            inputs: as there; nothing where `told.inputs_url` says where they are.
            told: callback, key of idempotency, deadline.

        Raises:
            ModelworksError: as there; LimitedError: too many jobs wait; UnsupportedError: the
                server keeps none.
        """
        if told.inputs_url:
            return self.jobs.submit(model_path(parse_ref(model)), b"", {}, told)
        path, body, brought = self._request(model, inputs)
        try:
            return self.jobs.submit(path, body, brought, told)
        except ModelworksError:
            self._inputs.pop(model, None)
            raise

    def outputs(self, job: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for a job, and what it gave, as `infer` gives it.

        Raises:
            DeadlineError: it did not end within `seconds`.
            ConflictError: it was cancelled, or its own time was over.
            ModelworksError: what `infer` would have raised.
        """
        found = self.jobs.wait_for(job, seconds)
        return self._outputs(found.body, found.headers)

    def _request(
        self, model: str, inputs: Mapping[str, Any]
    ) -> tuple[str, bytes, Mapping[str, str]]:
        """Path of the model, body and headers of a request."""
        # numpy, for those who need it
        from modelworks.client.tensors import cast, specs  # noqa: PLC0415 - as above
        from modelworks.protocol.oip.caller import build_request  # noqa: PLC0415 - as above

        path = model_path(parse_ref(model))
        wanted = self._inputs.get(model)
        if wanted is None:
            wanted = self._inputs[model] = specs(self.metadata(model)["inputs"])
        datatypes = {name: spec.datatype for name, spec in wanted.items()}
        body, kind, further = build_request(cast(inputs, wanted), datatypes=datatypes)
        named = {name.decode(): value.decode() for name, value in further}
        return path, body, {"Content-Type": kind.decode(), **named}

    def _outputs(self, data: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """The tensors of an answer."""
        from modelworks.protocol.oip.caller import read_response  # noqa: PLC0415 - numpy, as above

        length = headers.get("Inference-Header-Content-Length")
        try:
            return read_response(data, None if length is None else int(length)).outputs
        except (InvalidError, ValueError) as error:  # the server's fault, not the caller's
            raise CrashedError(f"{self.url} gave no inference answer: {error}") from error

    def metadata(self, model: str) -> dict[str, Any]:
        """The model's inputs and outputs, as the Open Inference Protocol says them."""
        return dict(self._wire.json("GET", f"/v2/models/{model_path(parse_ref(model))}"))

    def ready(self, model: str = "") -> bool:
        """Whether the server, or one of its models, answers predictions now."""
        path = f"models/{model_path(parse_ref(model))}/ready" if model else "health/ready"
        try:
            self._wire.send("GET", f"/v2/{path}", seconds=5.0)
        except ModelworksError:
            return False
        return True

    def statistics(self) -> list[dict[str, Any]]:
        """Counts and durations of every model, in nanoseconds, since the server began."""
        answer = self._wire.json("GET", "/v2/models/stats", seconds=5.0)
        return list(answer["model_stats"])

    def latency(self, model: str) -> dict[str, Any]:
        """Where the time of a model's requests goes, since the server began.

        Raises:
            NotFoundError: the server has no such model or version.
            UnsupportedError: what answers is no Modelworks server, or one of an older version.
        """
        path = f"/v2/models/{model_path(parse_ref(model))}"
        try:
            return dict(self._wire.json("GET", f"{path}/latency", seconds=10.0))
        except NotFoundError as error:
            self._wire.json("GET", path, seconds=10.0)  # no such model: its own message
            raise self._strange() from error

    def _strange(self) -> UnsupportedError:
        """Why a server that has the model does not explain it."""
        try:
            told = dict(self._wire.json("GET", "/v2", seconds=10.0))
        except (ModelworksError, TypeError, ValueError):
            told = {}
        name, version = told.get("name", "unknown"), told.get("version", "unknown")
        if name == "modelworks":
            cure = "it is older than this command: update it"
        else:
            cure = "only Modelworks' own server tells this; measure from outside: modelworks bench"
        return UnsupportedError(
            f"{self.url} ({name} {version}) does not say where its time goes; {cure}", field="url"
        )

    def metrics(self) -> str:
        """The Prometheus exposition."""
        body, _ = self._wire.send("GET", "/metrics", seconds=5.0)
        return body.decode()

    def close(self) -> None:
        """Close the kept connections."""
        self._wire.close()


def model_path(ref: ModelRef) -> str:
    """A reference as the Open Inference Protocol's paths spell it."""
    if ref.version is not None:
        return f"{quote(ref.name)}/versions/{ref.version}"
    return quote(str(ref), safe="@")


def plain_rows(rows: Any) -> list[Any]:
    """Rows as JSON values; a data frame becomes one mapping a row, an array one list a row.

    Raises:
        InvalidError: not rows.
    """
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        columns = [str(column) for column in rows.columns]
        return [
            dict(zip(columns, map(plain_value, row), strict=True))
            for row in rows.itertuples(index=False, name=None)
        ]
    if hasattr(rows, "tolist"):
        rows = rows.tolist()
    if isinstance(rows, Mapping):
        rows = [rows]
    if not isinstance(rows, list | tuple):
        raise InvalidError(
            f"rows: a list of rows is wanted, got {type(rows).__name__}", field="rows"
        )
    return [plain_value(row) for row in rows]


def plain_value(value: Any) -> Any:
    """A cell as JSON: numpy scalars become Python's, NaN and missing become null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN is what differs from itself
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return None if str(value) in {"<NA>", "NaT"} else str(value)
