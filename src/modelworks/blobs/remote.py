"""Opens the object store behind a URL, and says in one line what went wrong there."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, ObjectStore, from_url

from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.home import Access

SCHEMES = ("s3", "gs", "az", "abfss")
"""Kinds of bucket that are known; `file` and paths are local folders."""

_KNOWN = "a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix"
_RETRIES = 5
_QUERY = re.compile(r"(?<=://)(\S+?)\?\S+")
_BODY = re.compile(r": *[<{].*")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
_NO_KEYS = ("169.254.169.254", "metadata.google.internal", "token request")
_NO_LISTENER = ("error sending request", "connection refused", "dns error")


def folder_of(where: Path | str) -> Path | None:
    """The local folder that an address means; None = a bucket.

    Raises:
        InvalidError: a kind of URL that is not known.
    """
    if isinstance(where, Path):
        return where
    scheme, separator, rest = where.partition("://")
    if not separator:
        return Path(where)
    if scheme == "file":
        if not rest.startswith("/"):
            raise InvalidError("a local folder is written file:///folder, with three strokes")
        return Path(unquote(rest))
    if scheme == "memory":  # for tests: gone with the process
        return None
    parts = urlsplit(where)
    if scheme not in SCHEMES:
        raise InvalidError(f"artifacts at '{scheme[:20]}://' are not known here: {_KNOWN}")
    if not parts.netloc or parts.query or parts.fragment:
        raise InvalidError(f"the artifacts' URL is not of the form {scheme}://bucket/prefix")
    return None


def shown(where: Path | str) -> str:
    """The address for messages, without what may be secret."""
    text = str(where)
    if "://" not in text:
        return text
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def open_store(where: Path | str, access: Access) -> ObjectStore:
    """The store at an address. A bucket is not asked for anything yet.

    Raises:
        InvalidError: no such kind of URL, or settings that do not fit it.
        UnavailableError: the folder cannot be made.
    """
    folder = folder_of(where)
    try:
        if folder is not None:
            return LocalStore(folder, mkdir=True)
        if str(where).startswith("memory:"):
            return from_url(str(where))
        return _bucket(str(where), access)
    except (BaseError, OSError, ValueError) as error:
        line = _line(error)
        if folder is None:
            raise InvalidError(f"artifacts at {shown(where)}: {line}") from error
        raise UnavailableError(
            f"blob store {where}: {line}; check that it can be written"
        ) from error


def explain(error: BaseException, where: str) -> ModelworksError:
    """The error to show for what the library raised.

    Args:
        error: of the library; no `FileNotFoundError` for a single missing object.
        where: the store, for messages.
    """
    text, line = str(error), _line(error)
    if missing_bucket(error) or "404 Not Found" in text:
        cure = "there is no such bucket: create it, or name another"
    elif any(word in text for word in _NO_KEYS):
        cure = "no credentials: set the cloud's variables (AWS_ACCESS_KEY_ID, ...)"
    elif isinstance(error, PermissionDeniedError | UnauthenticatedError):
        cure = f"access is refused: check the credentials and what they may do ({line})"
    elif "builder error" in text:
        cure = "its endpoint is plain http: use https, or MODELWORKS_ARTIFACTS_HTTP=1"
    elif any(word in text for word in _NO_LISTENER):
        cure = f"nothing answers there ({line}): check the endpoint and the network, then retry"
    else:
        cure = f"{line}; nothing was changed: cure it, then retry"
    return UnavailableError(f"blob store {where}: {cure}")


def missing_bucket(error: BaseException) -> bool:
    """Whether it is the bucket that is not there, rather than an object in it."""
    return any(word in str(error) for word in _NO_BUCKET)


def _bucket(url: str, access: Access) -> ObjectStore:
    seconds = timedelta(seconds=access.seconds)
    client: dict[str, Any] = {
        "allow_http": access.http,
        "connect_timeout": timedelta(seconds=min(5.0, access.seconds)),
        # From the request's first byte to the answer's head, and from one piece to the next; a
        # large file may take as long as it takes.
        "read_timeout": seconds,
        "timeout": timedelta(hours=6),
    }
    retry: dict[str, Any] = {
        "max_retries": _RETRIES,
        "retry_timeout": seconds,
        "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": seconds / 10},
    }
    options: Any = {"config": dict(access.config), "client_options": client, "retry_config": retry}
    store: ObjectStore = from_url(url, **options)
    return store


def _line(error: BaseException) -> str:
    """The first line, without the queries of URLs, which may be signed, and the answer's body."""
    line = _QUERY.sub(r"\1", str(error).split("\n", 1)[0])
    return _BODY.sub("", line)[:300].rstrip(": ")
