"""The images of this machine: bases, layers and what was made of them, each made once.

They lie in a folder that may be deleted at any time. One process works in it, others wait; what a
killed one left half is removed.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelworks.core.digest import of_bytes
from modelworks.core.errors import ModelworksError, NotFoundError, UnavailableError
from modelworks.core.served import ServedModel
from modelworks.packaging import base, bundle, wheelhouse
from modelworks.packaging.bytecode import WORK
from modelworks.packaging.image import FORM, About, build, made_with
from modelworks.packaging.oci import Image, Layout, Platform, read_image
from modelworks.packaging.oci.descriptor import canonical
from modelworks.packaging.oci.temporary import clear
from modelworks.packaging.sbom import BasePart
from modelworks.packaging.system import GLIBC, Package, System, look
from modelworks.packaging.wheels import Wheel

Progress = Callable[[str], None]
_WAIT_S: Final = 1800.0
_POLL_S: Final = 0.1
_BASE_NAME: Final = "org.opencontainers.image.base.name"
_BASE_DIGEST: Final = "org.opencontainers.image.base.digest"


@dataclass(frozen=True, slots=True)
class Order:
    """An image that is wanted.

    Attributes:
        models: inside; paths are those of this machine.
        base: see `base.bring`.
        name: for the bill: `fraud:1.4.0`.
        annotations: of the image, labels too; what its base is called is added.
        time: seconds since 1970: when it says it was made.
        wheels: a folder to take the libraries from; None = they are fetched.
    """

    models: tuple[ServedModel, ...]
    base: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    time: int = 0
    wheels: Path | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """An image that is there.

    Attributes:
        layout: that holds it.
        image: which.
        own: bytes of the layers that are not the base's, compressed.
        known: it was there already.
    """

    layout: Layout
    image: Image
    own: int
    known: bool


class Images:
    """The images of one data folder.

    Args:
        folder: of them; made where it is not there.
        names: the file that `docker login` writes; None = registries are told no name.
    """

    def __init__(self, folder: Path, names: Path | None = None) -> None:
        self._folder = folder
        self._names = names

    def make(self, order: Order, say: Progress) -> Made:
        """The image of an order; one that was made of the same before is not made again.

        Raises:
            UnsupportedError: a model that no image can serve yet, a base that no wheel fits.
            InvalidError: no base, a wheel is missing, or no model.
            NotFoundError: there is no such base.
            CorruptError: bytes are not what they should be.
            UnavailableError: no network, a full disk, or another process is at it for too long.
        """
        bundle.check(order.models)
        with self._alone(say) as layout:
            below = base.bring(order.base, layout, self._names, say)
            found = look(layout, below)
            wheels = self._gathered(order, found, below.platform.architecture, say)
            about = _about(order, below, found.packages)
            key = _key(order.models, below, wheels, about, made_with(found.python))
            if (known := _known(layout, key)) is not None:
                return Made(layout, known, _own(known, below), known=True)
            say("writing the layers")
            image = build(layout, below, order.models, wheels, about, found.python)
            layout.name(image.descriptor, key, image.platform)
            return Made(layout, image, _own(image, below), known=False)

    def libraries(self, order: Order, say: Progress) -> tuple[tuple[Wheel, ...], About]:
        """The wheels for an order that somebody else builds, and what its image is to say.

        The base is not fetched: it is taken to have the Python that runs here, and any glibc of
        the last years.

        Raises:
            ModelworksError: as `make`.
        """
        bundle.check(order.models)
        with self._alone(say):
            system = System(sys.version_info[:2], GLIBC, "", ())
            wheels = self._gathered(order, system, Platform().architecture, say)
        told = {**order.annotations, _BASE_NAME: order.base}
        return wheels, About(order.name, told, order.time, BasePart(order.base, ""))

    @contextmanager
    def layout(self, say: Progress) -> Iterator[Layout]:
        """The layout, for one who writes into it, alone."""
        with self._alone(say) as layout:
            yield layout

    def _gathered(
        self, order: Order, system: System, architecture: str, say: Progress
    ) -> tuple[Wheel, ...]:
        root = self._folder / "wheels"
        root.mkdir(exist_ok=True)
        wanted = wheelhouse.wanted(order.models, system, architecture)
        return wheelhouse.gather(wanted, root, order.wheels, say)

    @contextmanager
    def _alone(self, say: Progress) -> Iterator[Layout]:
        """The layout, while no other process writes into it.

        Raises:
            UnavailableError: one does for too long, or the disk is full.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(self._folder / "lock", say):
                layout = Layout.create(self._folder / "oci")
                clear(layout.blobs, 0.0)
                for left in self._folder.glob(f"*/{WORK}*"):
                    shutil.rmtree(left, ignore_errors=True)
                yield layout
        except OSError as error:
            raise disk(error, self._folder) from error


def disk(error: OSError, where: Path) -> ModelworksError:
    """What a disk said, as one line."""
    return UnavailableError(
        f"{error.filename or where}: {error.strerror or error}; nothing half is left: free some "
        "space, or choose another folder (MODELWORKS_HOME)"
    )


@contextmanager
def _locked(path: Path, say: Progress) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end, said = time.monotonic() + _WAIT_S, False
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise UnavailableError(
                        "another process makes an image and is not done; try again", retry_after=60
                    ) from None
                if not said:
                    say("waiting for another process that makes an image")
                    said = True
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)


def _about(order: Order, below: Image, packages: tuple[Package, ...]) -> About:
    digest = below.descriptor.digest
    name = base.called(order.base)
    told = {**order.annotations, _BASE_DIGEST: digest, **({_BASE_NAME: name} if name else {})}
    return About(order.name, told, order.time, BasePart(name or "base", digest, packages))


def _key(
    models: tuple[ServedModel, ...],
    below: Image,
    wheels: tuple[Wheel, ...],
    about: About,
    compiler: str,
) -> str:
    """Says all that an image depends on."""
    whole = {
        "form": FORM,
        "compiler": compiler,
        "list": of_bytes(bundle.list_entry(models).data or b""),
        "base": below.descriptor.digest,
        "wheels": [wheel.digest for wheel in wheels],
        "name": about.name,
        "annotations": dict(about.annotations),
        "time": about.time,
    }
    return "made-" + of_bytes(canonical(whole)).removeprefix("sha256:")


def _known(layout: Layout, key: str) -> Image | None:
    if key not in layout.names():
        return None
    try:
        image = read_image(layout, key)
    except NotFoundError:
        return None
    return image if all(map(layout.holds, image.layers)) else None


def _own(image: Image, below: Image) -> int:
    return sum(layer.size for layer in image.layers[len(below.layers) :])
