"""One HTTP exchange with a deadline, and a server's error turned back into the error it was."""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import urllib3
from urllib3 import exceptions

from modelworks.client.tls import ClientTls
from modelworks.client.unix import UnixPool
from modelworks.core import errors
from modelworks.core.keys import bearer

CONNECT_SECONDS = 5.0
_PIECE = 1 << 20
_NO_TLS = ClientTls()

# The words that a control plane puts into `kind` of its problem+json answers.
_KINDS: dict[str, type[errors.ModelworksError]] = {
    "InvalidError": errors.InvalidError,
    "RefusedError": errors.RefusedError,
    "UnauthenticatedError": errors.UnauthenticatedError,
    "ForbiddenError": errors.ForbiddenError,
    "NotFoundError": errors.NotFoundError,
    "ConflictError": errors.ConflictError,
    "UnsupportedError": errors.UnsupportedError,
    "UnavailableError": errors.UnavailableError,
    "DeadlineError": errors.DeadlineError,
    "LimitedError": errors.LimitedError,
    "CorruptError": errors.CorruptError,
    "CrashedError": errors.CrashedError,
}
_STATUSES: dict[int, type[errors.ModelworksError]] = {
    401: errors.UnauthenticatedError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    429: errors.LimitedError,
    501: errors.UnsupportedError,
    503: errors.UnavailableError,
    504: errors.DeadlineError,
}


class Wire:
    """Requests to one base URL over kept-alive connections.

    Args:
        url: `http://host:port`, with or without a path; `unix:///path/of.sock`, or the same as
            `http+unix://%2Fpath%2Fof.sock`.
        what: how messages call the other side (`control plane`).
        cure: what a user does when nothing listens there.
        tls: for https.
        key: an API key that every request brings; empty = none.

    Raises:
        InvalidError: the URL or the key cannot be one, or a file of TLS cannot be used.
    """

    def __init__(
        self, url: str, what: str, cure: str, tls: ClientTls = _NO_TLS, key: str = ""
    ) -> None:
        self._brought = {"Authorization": bearer(key)} if key else {}
        self._what = what
        self._cure = cure
        parts = urlsplit(url if "://" in url else f"http://{url}")
        self._pool: urllib3.PoolManager | UnixPool
        if parts.scheme in {"unix", "http+unix"} and (path := _unix_path(parts)):
            self.url, self._base = f"unix://{path}", ""
            self._pool = UnixPool(path, maxsize=8)
            return
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise errors.InvalidError(
                f"'{url}' is no URL of a {what}: write it as http://127.0.0.1:8000", field="url"
            )
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self._base = self.url
        context = tls.context() if parts.scheme == "https" else None
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, ssl_context=context)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        seconds: float = 30.0,
    ) -> tuple[bytes, Mapping[str, str]]:
        """The body and headers of a 2xx answer.

        Args:
            method: `GET`, ...
            path: begins with a slash, already percent-encoded.
            body: the request's.
            headers: the request's.
            query: parameters; empty values are left out.
            seconds: deadline for each read of the answer.

        Raises:
            UnavailableError: nothing listens there.
            DeadlineError: no answer in time.
            ModelworksError: what the other side answered.
        """
        fields = {key: value for key, value in (query or {}).items() if value}
        suffix = f"?{urlencode(fields)}" if fields else ""
        with self._errors(seconds):
            answer = self._pool.request(
                method,
                f"{self._base}{path}{suffix}",
                body=body,
                headers={**self._brought, **(headers or {})},
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
                redirect=False,
            )
        if 200 <= answer.status < 300:
            return answer.data, answer.headers
        raise problem(answer.status, answer.data, answer.headers, self._what)

    def download(self, path: str, into: BinaryIO, *, seconds: float = 60.0) -> None:
        """Write the body of a GET to a file, piece by piece.

        Args:
            path: begins with a slash, already percent-encoded.
            into: open for writing.
            seconds: deadline for each read of the answer.

        Raises:
            UnavailableError: nothing listens there, or the connection broke half-way.
            DeadlineError: no answer in time.
            ModelworksError: what the other side answered.
        """
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds)
        with (
            self._errors(seconds),
            self._pool.request(
                "GET",
                f"{self._base}{path}",
                headers=self._brought,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            ) as answer,
        ):
            if answer.status != 200:
                raise problem(answer.status, answer.read(), answer.headers, self._what)
            into.writelines(answer.stream(_PIECE))

    def pieces(
        self, method: str, path: str, *, body: bytes, seconds: float
    ) -> Generator[bytes, None, None]:
        """The body of a 2xx answer as it comes, each piece that was sent by itself.

        Args:
            method: `POST`, ...
            path: begins with a slash, already percent-encoded.
            body: of the request, JSON.
            seconds: deadline for each piece.

        Raises:
            UnavailableError: nothing listens there, or the connection broke half-way.
            DeadlineError: no further piece in time.
            ModelworksError: what the other side answered.
        """
        with self._errors(seconds):
            answer = self._pool.request(
                method,
                f"{self._base}{path}",
                body=body,
                headers={**self._brought, "Content-Type": "application/json"},
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
                redirect=False,
                preload_content=False,
            )
            if not 200 <= answer.status < 300:
                raise problem(answer.status, answer.read(), answer.headers, self._what)
            try:
                yield from answer.stream(_PIECE)
            except BaseException:
                answer.close()  # whoever stops reading has left: the server is to see it
                raise
            answer.release_conn()

    def json(self, method: str, path: str, **kwargs: Any) -> Any:
        """The JSON of a 2xx answer; `data=` is sent as JSON. Other arguments as `send`."""
        if "data" in kwargs:
            kwargs["body"] = json.dumps(kwargs.pop("data")).encode()
            kwargs["headers"] = {"Content-Type": "application/json", **kwargs.get("headers", {})}
        body, _ = self.send(method, path, **kwargs)
        try:
            return json.loads(body) if body else None
        except ValueError as error:
            raise errors.CrashedError(
                f"the {self._what} at {self.url} answered no JSON: is it a Modelworks?"
            ) from error

    def close(self) -> None:
        """Close the kept connections."""
        if isinstance(self._pool, UnixPool):
            self._pool.close()
        else:
            self._pool.clear()

    @contextmanager
    def _errors(self, seconds: float) -> Iterator[None]:
        try:
            yield
        except exceptions.NewConnectionError as error:
            raise errors.UnavailableError(
                f"no {self._what} answers at {self.url}: {self._cure}"
            ) from error
        except exceptions.SSLError as error:
            raise errors.UnavailableError(_not_trusted(self._what, self.url, error)) from error
        except exceptions.TimeoutError as error:
            raise errors.DeadlineError(
                f"the {self._what} at {self.url} did not answer within {seconds:g} s"
            ) from error
        except exceptions.HTTPError as error:
            raise errors.UnavailableError(
                f"the connection to the {self._what} at {self.url} broke: {error}"
            ) from error


def _unix_path(parts: SplitResult) -> str:
    """The path of `unix:///path` and `http+unix://%2Fpath`; empty where there is none."""
    path = parts.path if parts.scheme == "unix" and not parts.netloc else unquote(parts.netloc)
    return path if path.startswith("/") else ""


def _not_trusted(what: str, url: str, error: Exception) -> str:
    """Why TLS failed, with the cure where there is one."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"the certificate of the {what} at {url} is not trusted: name its authority by --ca "
            f"FILE or MODELWORKS_CA ({text.rpartition('certificate verify failed: ')[2][:120]})"
        )
    if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text:
        return (
            f"the {what} at {url} asks for a client certificate: name it by --client-cert and "
            "--client-key, or MODELWORKS_CLIENT_CERT and MODELWORKS_CLIENT_KEY"
        )
    if "WRONG_VERSION_NUMBER" in text:
        return f"the {what} at {url} speaks no TLS: write http:// in the URL"
    return f"TLS to the {what} at {url} failed: {text}"


def problem(
    status: int, body: bytes, headers: Mapping[str, str], what: str
) -> errors.ModelworksError:
    """The error behind an answer: problem+json of the control plane, `{"error"}` of the server."""
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    data = data if isinstance(data, dict) else {}
    detail = data.get("detail") or data.get("error") or data.get("title")
    message = detail if isinstance(detail, str) else f"the {what} answered {status}"
    field = data.get("field") if isinstance(data.get("field"), str) else None
    if data.get("kind") == "MissingExtraError":
        return _missing_extra(message, data)
    default = errors.InvalidError if 400 <= status < 500 else errors.CrashedError
    kind = _KINDS.get(str(data.get("kind")), _STATUSES.get(status, default))
    if issubclass(kind, errors.UnavailableError):
        after = headers.get("Retry-After", "1")
        return kind(message, field=field, retry_after=int(after) if after.isdecimal() else 1)
    return kind(message, field=field)


def _missing_extra(message: str, data: Mapping[str, Any]) -> errors.MissingExtraError:
    """The library is missing on the other side: its own sentence is kept."""
    error = errors.MissingExtraError(
        "the control plane", str(data.get("extra", "platform")), str(data.get("missing", ""))
    )
    error.message = message
    error.args = (message,)
    return error
