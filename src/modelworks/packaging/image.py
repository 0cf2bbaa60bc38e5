"""Versions as a container image, made without a container engine: layers on a base.

Libraries lie lowest, for they change least; then each model; then the list and the bill of
materials. The program is the model server, as a user without a name or a right, on a root that it
never writes to.
"""

import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.core.served import ServedModel
from modelworks.packaging import bundle, bytecode, sbom
from modelworks.packaging.oci import Change, Entry, Image, Layer, Layout, extend
from modelworks.packaging.oci.descriptor import canonical
from modelworks.packaging.wheels import Wheel, unpacked

PORT: Final = 8080
"""Of the server in an image, unless its environment says otherwise."""
USER: Final = 10001
"""Whom the server runs as; the group has the same number."""
_SERVER: Final = "MODELWORKS_SERVER_"
_OWN: Final = "modelworks"
FORM: Final = f"1 zlib {zlib.ZLIB_RUNTIME_VERSION}"
"""What the bytes of a layer depend on beside what is in it; the number rises with this code."""


@dataclass(frozen=True, slots=True)
class About:
    """What an image says of itself.

    Attributes:
        name: for the bill: `fraud:1.4.0`.
        annotations: the OCI's (`org.opencontainers.image.version`) and others; labels too.
        time: seconds since 1970: when it says it was made.
        base: what is below, for the bill; None = nobody knows.
    """

    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    time: int = 0
    base: sbom.BasePart | None = None


def build(
    layout: Layout,
    base: Image,
    models: Sequence[ServedModel],
    wheels: Sequence[Wheel],
    about: About,
    python: tuple[int, int] | None = None,
) -> Image:
    """Write an image into `layout`, which holds `base`; the same inputs make the same image.

    Args:
        layout: of images.
        base: with a Python that the wheels fit, as `python3`.
        models: at least one; paths are those of this machine.
        wheels: ours and all that it needs.
        about: what it says of itself.
        python: of the base; where it is ours, modules are compiled beforehand.

    Raises:
        InvalidError: no models, no wheel of ours, or what no image can hold.
        UnsupportedError: a model that needs more than an image brings.
        CorruptError: a wheel is not what it says.
    """
    bundle.check(models)
    if not any(wheel.normalized == _OWN for wheel in wheels):
        raise InvalidError("no wheel of modelworks is among the wheels", field="wheels")
    layers = [libraries(layout, wheels, python), *(_model(layout, model) for model in models)]
    told = [
        bundle.list_entry(models),
        Entry(str(bundle.BILL), data=bill(models, wheels, about)),
    ]
    layers.append(layout.add_layer(told))
    return extend(layout, base, layers, change(about.annotations), time=about.time)


def bill(models: Sequence[ServedModel], wheels: Sequence[Wheel], about: About) -> bytes:
    """The bill of materials that lies in an image."""
    return canonical(sbom.bill(about.name, bundle.parts(models), wheels, about.time, about.base))


def libraries(
    layout: Layout, wheels: Sequence[Wheel], python: tuple[int, int] | None = None
) -> Layer:
    """The layer of these wheels; made once a layout."""
    site = str(bundle.SITE)
    key = " ".join((FORM, site, made_with(python), *(wheel.digest for wheel in wheels)))

    @contextmanager
    def entries() -> Iterator[list[Entry]]:
        with ExitStack() as stack:
            every = stack.enter_context(unpacked(wheels, site))
            if made_with(python):
                every = every + stack.enter_context(bytecode.compiled(wheels, site, layout.folder))
            yield every

    return layout.layer_once(key, entries)


def made_with(python: tuple[int, int] | None) -> str:
    """The Python that compiles for that one; empty = nothing is compiled."""
    return sys.version if bytecode.fits(python) else ""


def _model(layout: Layout, model: ServedModel) -> Layer:
    key = f"{FORM} {bundle.place(model)} {model.digest}"
    return layout.layer_once(key, lambda: nullcontext(bundle.model_entries(model)))


def change(annotations: Mapping[str, str]) -> Change:
    """What an image of ours says beside its base."""
    return Change(
        entrypoint=("python3", "-m", "modelworks.apps.server"),
        environment={
            "PYTHONPATH": str(bundle.SITE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "ORT_DISABLE_TELEMETRY": "1",  # it would write a file
            f"{_SERVER}SERVED": str(bundle.SERVED),
            f"{_SERVER}HOST": "0.0.0.0",  # noqa: S104 - the container's own network
            f"{_SERVER}PORT": str(PORT),
        },
        user=f"{USER}:{USER}",
        folder="/",
        ports=(PORT,),
        labels=dict(annotations),
        health=("python3", "-m", "modelworks.apps.health"),
    )
