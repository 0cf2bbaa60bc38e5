"""Images from one layout into another, whole or not at all."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from modelworks.core.errors import CorruptError, NotFoundError
from modelworks.packaging.oci.image import Image
from modelworks.packaging.oci.layout import Layout


def copy(layout: Layout, image: Image, name: str, into: Path) -> None:
    """Put an image into the layout at a folder, which is made where it is not there.

    Args:
        layout: that holds it.
        image: which.
        name: what it is called there.
        into: the folder; on an error it is as it was.

    Raises:
        InvalidError: something else lies there.
        CorruptError: a blob is not what its digest says.
        NotFoundError: a blob is gone.
        OSError: the disk is full.
    """
    new = not into.exists()
    added: list[Path] = []
    try:
        there = Layout.create(into)
        with _alone(into):
            for blob in (*image.layers, image.configuration, image.descriptor):
                if not there.holds(blob):
                    added.append(there.path(blob))
                    with _opened(layout, layout.path(blob)) as file:
                        there.add_file(file, blob.media_type, blob.digest)
            there.name(image.descriptor, name, image.platform)
    except BaseException:
        if new:
            shutil.rmtree(into, ignore_errors=True)
        for path in added:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def _opened(layout: Layout, path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise NotFoundError(f"{layout.folder} holds no blob {path.name}") from None
    except CorruptError as error:
        path.unlink(missing_ok=True)  # made again by whoever asks next
        raise CorruptError(f"{path}: {error.message}; it is removed: try again") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two writers of one index would lose each other's names."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
