"""A version as a container image: made once, written to a file or folder, pushed to a registry."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from modelworks.core import codec, digest
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home
from modelworks.core.model import ModelVersion
from modelworks.core.served import ServedModel
from modelworks.packaging.dockerfile import write_context
from modelworks.packaging.images import Images, Made, Order, disk
from modelworks.packaging.oci import Reference, Registry, archive, parse
from modelworks.packaging.oci.artifact import artifact
from modelworks.packaging.oci.copies import copy

Progress = Callable[[str], None]
SLIM: Final = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim-bookworm"
"""What a Dockerfile builds on where nothing else is said: the Python that runs here."""
_OCI: Final = "org.opencontainers.image"
_ARCHIVES: Final = {".tar"}


@dataclass(frozen=True, slots=True)
class Packaging:
    """What is asked of a version.

    Attributes:
        base: an OCI layout's folder, an archive, or a registry's reference; of a build context
            what FROM says, empty = `SLIM`.
        output: an OCI layout's folder or a `.tar`; None = none is written.
        push: `registry.example.com/models/fraud[:TAG]`, where the image goes; empty = nowhere. Its
            tag is the version where none is said.
        dockerfile: the folder of a build context; None = none is written.
        artifact: where the model goes as an artifact of its own; empty = nowhere.
        wheels: a folder to take the libraries from; None = they are fetched.
        login: the file that `docker login` writes.
    """

    base: str = ""
    output: Path | None = None
    push: str = ""
    dockerfile: Path | None = None
    artifact: str = ""
    wheels: Path | None = None
    login: Path | None = None


@dataclass(frozen=True, slots=True)
class Packaged:
    """What was made of a version.

    Attributes:
        ref: of the version.
        name: of the image, with its tag.
        digest: of the image's manifest; empty = none was made.
        size: bytes of its layers beyond the base, compressed.
        known: an image of the same inputs was there already.
        output: where it was written.
        image: by digest, where it was pushed to.
        dockerfile: folder of the build context.
        artifact: by digest, where the model was pushed to.
    """

    ref: str
    name: str = ""
    digest: str = ""
    size: int = 0
    known: bool = False
    output: str = ""
    image: str = ""
    dockerfile: str = ""
    artifact: str = ""


def archive_for(
    home: Home, version: ModelVersion, model: ServedModel, asked: Packaging, say: Progress
) -> tuple[Path, str]:
    """The image of a version as a file for an engine's `load`, and its name there.

    Args:
        home: whose images; the file lies in its cache, and may be removed once it was loaded.
        version: of the registry of models.
        model: the same, laid out on this machine.
        asked: base, wheels and login of it.
        say: told each step.

    Returns:
        The file; `modelworks/fraud:1.4.0-0123456789ab`, of which the tag says the content.

    Raises:
        ModelworksError: as `package`.
    """
    images = Images(home.cache / "images", asked.login)
    made = images.make(_order(version, model, asked), say)
    content = made.image.descriptor.hex[:12]
    tag = f"{_tag(version, model)}-{content}"
    name = f"modelworks/{version.name}:{tag}"
    path = home.cache / "images" / f"{content}.tar"
    if not path.exists():
        say(f"writing {name}")
        try:
            archive(made.layout, made.image, name, path)
        except OSError as error:
            raise disk(error, path) from error
    return path, name


def package(
    home: Home, version: ModelVersion, model: ServedModel, asked: Packaging, say: Progress
) -> Packaged:
    """Do what is asked of a version.

    Raises:
        UnsupportedError: a native model, or a base that no wheel fits.
        InvalidError: nothing is asked for, no base, a wheel is missing, a registry refuses.
        NotFoundError: there is no such base.
        CorruptError: bytes are not what they should be.
        UnavailableError: no network, a full disk, a registry that does not answer.
    """
    pushed = _tagged(asked.push, version, model) if asked.push else None
    apart = _tagged(asked.artifact, version, model) if asked.artifact else None
    made_of = asked.output is not None or pushed is not None
    if not made_of and asked.dockerfile is None and apart is None:
        raise InvalidError(
            "say what is wanted: --output FILE or DIR, --push REPOSITORY, --dockerfile DIR or "
            "--model-artifact REPOSITORY"
        )
    if made_of and not asked.base:
        raise InvalidError(
            "say what the image stands on: --base with an OCI layout's folder, a file of `docker "
            f"save`, or a reference that names its registry, registry.example.com/{SLIM}",
            field="base",
        )
    images = Images(home.cache / "images", asked.login)
    name = str(pushed) if pushed else f"{version.name}:{_tag(version, model)}"
    order = _order(version, model, asked)
    done = Packaged(_named(version, model), name if made_of else "")
    if made_of:
        made = images.make(order, say)
        done = replace(done, digest=made.image.descriptor.digest, size=made.own, known=made.known)
        done = _delivered(done, made, asked, pushed, say)
    if asked.dockerfile is not None:
        say("writing the build context")
        order = replace(order, base=_from(asked.base))
        wheels, about = images.libraries(order, say)
        try:
            write_context(asked.dockerfile, order.base, order.models, wheels, about)
        except OSError as error:
            raise disk(error, asked.dockerfile) from error
        done = replace(done, dockerfile=str(asked.dockerfile))
    if apart is not None:
        done = replace(done, artifact=_artifact(images, version, model, apart, asked.login, say))
    return done


def _delivered(
    done: Packaged, made: Made, asked: Packaging, pushed: Reference | None, say: Progress
) -> Packaged:
    """The image where it is wanted."""
    output = asked.output
    if output is not None:
        say(f"writing {output}")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            if output.suffix in _ARCHIVES:
                archive(made.layout, made.image, done.name, output)
            else:
                copy(made.layout, made.image, done.name, output)
        except OSError as error:
            raise disk(error, output) from error
        done = replace(done, output=str(output))
    if pushed is not None:
        say(f"pushing {pushed}")
        found = Registry(pushed, asked.login).push(made.layout, made.image)
        done = replace(done, image=_by_digest(pushed, found))
    return done


def _artifact(
    images: Images,
    version: ModelVersion,
    model: ServedModel,
    where: Reference,
    login: Path | None,
    say: Progress,
) -> str:
    say(f"pushing the model to {where}")
    root = Path(model.path)
    files = {name: root / name if root.is_dir() else root for name, _ in digest.tree(root)}
    told = {"ref": _named(version, model), **codec.encode(version)}
    with images.layout(say) as layout:
        made = artifact(layout, files, told, _annotations(version, model))
    return _by_digest(where, Registry(where, login).push(layout, made))


def _order(version: ModelVersion, model: ServedModel, asked: Packaging) -> Order:
    """The image of one version; what moves without it, such as its aliases, is no part of it."""
    alone = replace(model, default=True, aliases=(), autoload=True)
    return Order(
        (alone,),
        asked.base,
        _named(version, model),
        _annotations(version, model),
        version.created_ns // 1_000_000_000,
        asked.wheels,
    )


def _annotations(version: ModelVersion, model: ServedModel) -> Mapping[str, str]:
    created = datetime.fromtimestamp(version.created_ns // 1_000_000_000, UTC)
    told = {
        f"{_OCI}.title": version.name,
        f"{_OCI}.version": str(version.version),
        f"{_OCI}.created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        f"{_OCI}.revision": version.lineage.git_commit,
        "modelworks.artifact": model.digest,
        "modelworks.format": model.format,
        "modelworks.variant": model.variant,
    }
    return {key: value for key, value in told.items() if value}


def _named(version: ModelVersion, model: ServedModel) -> str:
    """`fraud:1.4.0`, `fraud:1.4.0#int8`."""
    return f"{version.ref}#{model.variant}" if model.variant else version.ref


def _tag(version: ModelVersion, model: ServedModel) -> str:
    """`1.4.0`, `1.4.0-int8`; a version's `+` is no part of a tag."""
    number = str(version.version).replace("+", "_")
    return f"{number}-{model.variant}" if model.variant else number


def _tagged(text: str, version: ModelVersion, model: ServedModel) -> Reference:
    """Where something goes."""
    found = parse(text)
    if found.digest:
        raise InvalidError(f"'{text}': what is pushed gets its digest; leave @... out")
    return replace(found, tag=found.tag or _tag(version, model))


def _by_digest(where: Reference, found: str) -> str:
    return str(replace(where, tag="", digest=found))


def _from(base: str) -> str:
    """What FROM says; a base on this machine has no name there."""
    if base and Path(base).exists():
        raise InvalidError(
            f"a Dockerfile cannot build on the file {base}: give --base a name that your engine "
            f"knows, such as {SLIM}",
            field="base",
        )
    return base or SLIM
