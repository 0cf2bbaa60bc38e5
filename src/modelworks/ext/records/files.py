"""Files below one place, each whole or not there: a folder of this machine, or a bucket."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import obstore
import pyarrow as pa
from obstore.exceptions import BaseError

from modelworks.blobs import remote
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.home import Access

_MAKING: Final = ".making"


class Files(Protocol):
    """Files by path (`tenant=a/...`). A file is never changed: another one takes its place."""

    where: str

    def list(self, prefix: str) -> list[str]:
        """Paths of all files below a folder; a folder that is not there has none."""
        ...

    def open(self, path: str) -> Any:
        """A file for pyarrow.

        Raises:
            FileNotFoundError: it is gone.
        """
        ...

    def put(self, path: str, data: Any) -> None:
        """Write a file: whole or not at all, and to stay when this returns."""
        ...

    def delete(self, path: str) -> None:
        """Delete a file; twice is quiet."""
        ...

    def sweep(self, top: str) -> None:
        """Delete what killed writers left half-made below the folder `top`."""
        ...


class LocalFiles:
    """Files in a folder.

    Args:
        where: the folder; made with the first file.
    """

    def __init__(self, where: str | Path, access: Access | None = None) -> None:
        del access  # of buckets
        folder = remote.folder_of(where)
        if folder is None:
            raise InvalidError(f"{remote.shown(where)} is no folder", field="records")
        self._root = folder
        self.where = str(folder)

    def list(self, prefix: str) -> list[str]:
        """Paths of all files below a folder."""
        found = []
        with self._told():
            for folder, names, files in os.walk(self._root / prefix):
                names[:] = [name for name in names if not name.startswith(".")]
                inner = Path(folder).relative_to(self._root)
                found += [str(inner / name) for name in files if not name.startswith(".")]
        return sorted(found)

    def open(self, path: str) -> Any:
        """A file for pyarrow."""
        with self._told():
            return pa.OSFile(str(self._root / path))

    def put(self, path: str, data: Any) -> None:
        """Write beside, to the disk, then rename."""
        final = self._root / path
        making = self._making(path.partition("/")[0]) / uuid.uuid4().hex
        with self._told():
            try:
                for folder in (making.parent, final.parent):
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                handle = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                making.rename(final)
                _settle(final.parent)
            finally:
                making.unlink(missing_ok=True)

    def delete(self, path: str) -> None:
        """Delete a file, and the folders that it leaves empty."""
        final = self._root / path
        with self._told():
            final.unlink(missing_ok=True)
            for folder in final.relative_to(self._root).parents:
                if folder == Path():
                    return
                try:
                    (self._root / folder).rmdir()
                except OSError:
                    return  # it holds more

    def sweep(self, top: str) -> None:
        """Delete what killed writers left."""
        shutil.rmtree(self._making(top), ignore_errors=True)

    def _making(self, top: str) -> Path:
        return self._root / top / _MAKING

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UnavailableError(
                f"records at {self.where}: {error.strerror or error}; nothing was changed: make "
                "room or cure it, it is tried again"
            ) from error


class BucketFiles:
    """Files in a bucket.

    Args:
        where: `s3://bucket/prefix`, `gs://`, `az://`, `abfss://`.
        access: how it is reached.
    """

    def __init__(self, where: str | Path, access: Access | None = None) -> None:
        self.where = remote.shown(where)
        self._store = remote.open_store(where, access or Access())

    def list(self, prefix: str) -> list[str]:
        """Paths of all files below a folder."""
        with self._told():
            chunks = obstore.list(self._store, prefix=prefix or None)
            return sorted(meta["path"] for chunk in chunks for meta in chunk)

    def open(self, path: str) -> Any:
        """A file for pyarrow, whole: a file of the store is small, a round trip is not."""
        with self._told():
            return pa.BufferReader(pa.py_buffer(obstore.get(self._store, path).bytes()))

    def put(self, path: str, data: Any) -> None:
        """Write an object."""
        with self._told():
            obstore.put(self._store, path, bytes(data))

    def delete(self, path: str) -> None:
        """Delete an object."""
        with self._told(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    def sweep(self, top: str) -> None:
        """An object that was not written to its end is none."""

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if remote.missing_bucket(error):
                raise remote.explain(error, self.where) from error
            raise
        except (BaseError, OSError) as error:
            raise remote.explain(error, self.where) from error


def _settle(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
