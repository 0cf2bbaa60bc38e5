"""Versions as a container image, made without a container engine: three layers on a base.

Libraries lie lowest, for they change least; then the models; then the list and the bill of
materials. The program is the model server, as a user without a name or a right, on a root that it
never writes to.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.core.served import ServedModel
from modelworks.packaging import bundle, sbom
from modelworks.packaging.oci import Change, Entry, Image, Layout, extend
from modelworks.packaging.oci.descriptor import canonical
from modelworks.packaging.wheels import Wheel, entries

PORT: Final = 8080
"""Of the server in an image, unless its environment says otherwise."""
USER: Final = 10001
"""Whom the server runs as; the group has the same number."""
_SERVER: Final = "MODELWORKS_SERVER_"
_OWN: Final = "modelworks"


def build(
    layout: Layout,
    base: Image,
    models: Sequence[ServedModel],
    wheels: Sequence[Wheel],
    *,
    name: str,
    annotations: Mapping[str, str] | None = None,
    time: int = 0,
) -> Image:
    """Write an image into `layout`, which holds `base`; the same inputs make the same image.

    Args:
        layout: of images.
        base: with a Python that the wheels fit, as `python3`.
        models: at least one; paths are those of this machine.
        wheels: ours and all that it needs.
        name: for the bill: `fraud:1.4.0`.
        annotations: the OCI's (`org.opencontainers.image.version`) and others; labels too.
        time: seconds since 1970: when it says it was made.

    Raises:
        InvalidError: no models, no wheel of ours, or what no image can hold.
        UnsupportedError: a model that needs more than an image brings.
        CorruptError: a wheel is not what it says.
    """
    if not models:
        raise InvalidError("an image serves one model at least", field="model")
    if not any(wheel.normalized == _OWN for wheel in wheels):
        raise InvalidError("no wheel of modelworks is among the wheels", field="wheels")
    inside = sbom.bill(name, bundle.parts(models), wheels, time)
    layers = [
        layout.add_layer(entries(wheels, str(bundle.SITE)), time),
        layout.add_layer(bundle.model_entries(models), time),
        layout.add_layer(
            [bundle.list_entry(models), Entry(str(bundle.BILL), data=canonical(inside))], time
        ),
    ]
    return extend(layout, base, layers, _change(annotations or {}), time=time)


def _change(annotations: Mapping[str, str]) -> Change:
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
