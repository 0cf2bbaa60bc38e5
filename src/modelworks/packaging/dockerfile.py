"""A Dockerfile and its build context: the same image, for those who build with an engine.

The build needs no network: every wheel lies in the context, with its digest in the lock file.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.core.served import ServedModel
from modelworks.packaging import bundle
from modelworks.packaging.image import About, bill, change
from modelworks.packaging.oci import Change, Entry
from modelworks.packaging.wheels import Wheel

FILE: Final = "Dockerfile"
_IGNORED: Final = ".dockerignore"
_LOCK: Final = "requirements.txt"
_WHEELS: Final = "wheels"
_MODELS: Final = "models"
_OURS: Final = frozenset({FILE, _IGNORED, _LOCK, _WHEELS, _MODELS, "served.json", bundle.BILL.name})


def write_context(
    folder: Path, base: str, models: Sequence[ServedModel], wheels: Sequence[Wheel], about: About
) -> None:
    """Write a build context; one of ours that is there already is replaced as a whole.

    Args:
        folder: made where it is not there.
        base: what FROM says; its Python has pip.
        models: inside.
        wheels: ours and all that it needs.
        about: what the image says of itself.

    Raises:
        InvalidError: something else lies there, or `base` is no name of an image.
        OSError: the disk is full; nothing is changed.
    """
    if not base or any(not one.isprintable() or one.isspace() for one in base):
        raise InvalidError(f"'{base}' is no name of an image", field="base")
    if folder.exists() and (not folder.is_dir() or {one.name for one in folder.iterdir()} - _OURS):
        raise InvalidError(
            f"{folder} holds something else than a build context of ours: choose another folder",
            field="dockerfile",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        aside = Path(name) / "new"
        aside.mkdir(mode=0o755)
        _fill(aside, base, models, wheels, about)
        if folder.exists():
            folder.replace(Path(name) / "old")
        aside.replace(folder)


def _fill(
    folder: Path, base: str, models: Sequence[ServedModel], wheels: Sequence[Wheel], about: About
) -> None:
    (folder / _WHEELS).mkdir()
    for wheel in wheels:
        shutil.copyfile(wheel.path, folder / _WHEELS / wheel.path.name)
    lines = sorted(wheel.requirement() for wheel in wheels)
    (folder / _LOCK).write_text("".join(f"{line}\n" for line in lines))
    _lay((entry for model in models for entry in bundle.model_entries(model)), folder)
    _lay([bundle.list_entry(models)], folder)
    (folder / bundle.BILL.name).write_bytes(bill(models, wheels, about))
    (folder / _IGNORED).write_text(
        "*\n" + "".join(f"!{name}\n" for name in sorted(_OURS - {FILE, _IGNORED}))
    )
    (folder / FILE).write_text(text(base, change(about.annotations)))
    for path in folder.rglob("*"):  # an engine copies the rights too, whatever our umask made
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _lay(entries: Iterable[Entry], folder: Path) -> None:
    for entry in entries:
        path = folder / PurePosixPath(entry.path).relative_to(bundle.ROOT)
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.source is not None:
            shutil.copyfile(entry.source, path)
            path.chmod(entry.mode)
        elif entry.data is not None:
            path.write_bytes(entry.data)
        elif entry.link:
            path.symlink_to(entry.link)
        else:
            path.mkdir(exist_ok=True)


def text(base: str, said: Change) -> str:
    """A Dockerfile, that an image of ours and this one say the same of themselves."""
    period, start, one = said.health_s
    health = f"--interval={period}s --start-period={start}s --timeout={one}s --retries=3"
    port = " ".join(map(str, said.ports))
    return f"""\
FROM {base} AS libraries
COPY {_LOCK} /build/
COPY {_WHEELS} /build/{_WHEELS}
RUN python3 -m pip install --no-cache-dir --root-user-action=ignore \\
        --no-index --find-links /build/{_WHEELS} --require-hashes \\
        --target {bundle.SITE} -r /build/{_LOCK} \\
    && rm -rf {bundle.SITE}/bin

FROM {base}
{_pairs("LABEL", said.labels)}{_pairs("ENV", said.environment)}\
COPY --from=libraries {bundle.SITE} {bundle.SITE}
COPY {_MODELS} {bundle.ROOT / _MODELS}
COPY {bundle.SERVED.name} {bundle.BILL.name} {bundle.ROOT}/
WORKDIR {said.folder}
USER {said.user}
EXPOSE {port}
STOPSIGNAL {said.stop_signal}
HEALTHCHECK {health} CMD {json.dumps(list(said.health))}
ENTRYPOINT {json.dumps(list(said.entrypoint))}
CMD []
"""


def _pairs(word: str, pairs: Mapping[str, str]) -> str:
    if not pairs:
        return ""
    told = [f"{key}={_quoted(value)}" for key, value in pairs.items()]
    return f"{word} " + " \\\n    ".join(told) + "\n"


def _quoted(value: str) -> str:
    """As a Dockerfile has it: no variable is put in, no line ends early."""
    plain = " ".join(value.split())
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'
