"""An image: a configuration and its layers; made of another one by what is added and changed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from modelworks.core.digest import of_file
from modelworks.core.errors import CorruptError, InvalidError, NotFoundError
from modelworks.packaging.oci.descriptor import (
    CONFIG,
    MANIFEST,
    Descriptor,
    Platform,
    canonical,
    stamp,
)
from modelworks.packaging.oci.layer import Layer
from modelworks.packaging.oci.layout import Layout

_SCHEMA: Final = 2
_NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Image:
    """What a manifest and its configuration say.

    Attributes:
        descriptor: of the manifest.
        configuration: of the configuration.
        config: its JSON (image-spec, config.md).
        layers: lowest first.
    """

    descriptor: Descriptor
    configuration: Descriptor
    config: dict[str, Any]
    layers: tuple[Descriptor, ...]

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(self.config["os"], self.config["architecture"])


@dataclass(frozen=True, slots=True)
class Change:
    """What an image says beside the one below it; what is unset stays.

    Attributes:
        entrypoint: the program and its first arguments.
        command: further arguments, which a user may replace.
        environment: variables, added or replaced.
        user: `10001:10001`.
        folder: working directory.
        ports: TCP ports that it listens on.
        labels: added or replaced; the manifest has them as annotations too.
        health: a command that ends with 0 while the container is well (an extension of Docker's:
            other engines ignore it).
        health_s: seconds between two of them, before the first failure counts, and for one.
        stop_signal: how it is asked to end.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    folder: str = ""
    ports: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    health: tuple[str, ...] = ()
    health_s: tuple[int, int, int] = (5, 120, 2)
    stop_signal: str = "SIGTERM"


def read_image(layout: Layout, name: str = "", platform: Platform | None = None) -> Image:
    """The image of a name; see `Layout.manifest`.

    Raises:
        NotFoundError: no such name, or nothing for that platform.
        InvalidError: no manifest of an image.
        CorruptError: bytes are not what the descriptor says.
    """
    descriptor = layout.manifest(name, platform)
    where = f"manifest {descriptor.hex[:12]}"
    manifest = _json(layout.read(descriptor), where)
    found = Descriptor.read(manifest.get("config"), where)
    layers = tuple(Descriptor.read(one, where) for one in manifest.get("layers") or ())
    config = _json(layout.read(found), f"configuration {found.hex[:12]}")
    diff_ids = (config.get("rootfs") or {}).get("diff_ids")
    if not isinstance(diff_ids, list) or len(diff_ids) != len(layers):
        raise InvalidError(f"{where}: {len(layers)} layers, and the configuration lists others")
    for key in ("os", "architecture"):
        if not isinstance(config.get(key), str):
            raise InvalidError(f"{where}: the configuration has no {key}")
    return Image(descriptor, found, config, layers)


def verify(layout: Layout, image: Image) -> None:
    """Read every layer of an image.

    Raises:
        NotFoundError: one is not here.
        CorruptError: the bytes of one are others.
    """
    for layer in image.layers:
        try:
            digest = of_file(layout.path(layer))
        except FileNotFoundError:
            raise NotFoundError(f"{layout.folder} holds no layer {layer.digest}") from None
        if digest != layer.digest:
            raise CorruptError(f"{layout.path(layer)} does not match its digest")


def extend(
    layout: Layout,
    base: Image | None,
    layers: Sequence[Layer],
    change: Change,
    *,
    platform: Platform | None = None,
    time: int = 0,
) -> Image:
    """Put layers on an image and write what comes of it into `layout`, which holds the base.

    Args:
        layout: where all of it lies.
        base: below the layers; None = nothing is (scratch).
        layers: lowest first; in `layout`.
        change: what is said anew.
        platform: of an image from nothing.
        time: seconds since 1970: when it says it was made.
    """
    created = stamp(time)
    own = platform or Platform()
    config: dict[str, Any] = (
        json.loads(json.dumps(base.config))
        if base
        else {"os": own.os, "architecture": own.architecture, "rootfs": {"type": "layers"}}
    )
    config["created"] = created
    config["rootfs"]["diff_ids"] = [
        *config["rootfs"].get("diff_ids", ()),
        *(layer.diff_id for layer in layers),
    ]
    history = [{"created": created, "created_by": "modelworks"} for _ in layers]
    config["history"] = [*config.get("history", ()), *history]
    _say(config.setdefault("config", {}), change)
    written = layout.add(canonical(config), CONFIG)
    every = [*(base.layers if base else ()), *(layer.descriptor for layer in layers)]
    manifest = {
        "schemaVersion": _SCHEMA,
        "mediaType": MANIFEST,
        "config": written.document(),
        "layers": [layer.document() for layer in every],
    }
    if change.labels:
        manifest["annotations"] = dict(sorted(change.labels.items()))
    descriptor = layout.add(canonical(manifest), MANIFEST)
    return Image(descriptor, written, config, tuple(every))


def _say(config: dict[str, Any], change: Change) -> None:
    if change.entrypoint:
        config["Entrypoint"] = list(change.entrypoint)
        config.pop("Cmd", None)  # arguments of another program
    if change.command:
        config["Cmd"] = list(change.command)
    if change.environment:
        before = dict(line.split("=", 1) for line in config.get("Env") or () if "=" in line)
        config["Env"] = [f"{k}={v}" for k, v in {**before, **change.environment}.items()]
    said = {"User": change.user, "WorkingDir": change.folder, "StopSignal": change.stop_signal}
    config.update({key: value for key, value in said.items() if value})
    if change.ports:
        config["ExposedPorts"] = {f"{port}/tcp": {} for port in sorted(change.ports)}
    if change.labels:
        config["Labels"] = {**(config.get("Labels") or {}), **change.labels}
    if change.health:
        period, start, one = change.health_s
        config["Healthcheck"] = {
            "Test": ["CMD", *change.health],
            "Interval": period * _NANO,
            "StartPeriod": start * _NANO,
            "Timeout": one * _NANO,
            "Retries": 3,
        }


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise InvalidError(f"{where} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidError(f"{where} is no JSON object")
    return found
