"""What the registry decides, without touching anything."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import ConflictError, InvalidError
from modelworks.core.model import Comparison, Difference, Evidence, Lineage, ModelVersion
from modelworks.core.semver import Bump, Semver
from modelworks.core.tensor import Signature

OF_A_KIND: Final = 10
"""Evidence of one kind that was found after a version came in, at most."""

FIRST = Semver(1, 0, 0)
MAX_TAGS = 64
MAX_WORD = 255
MAX_DIFFERENCES = 500
_ABSENT = object()


def next_version(
    latest: tuple[Semver, Signature] | None,
    signature: Signature,
    explicit: Semver | None,
    bump: Bump | None,
) -> Semver:
    """The number of a version that is about to be published.

    Args:
        latest: the highest number ever given in this line, deleted ones too, with its signature.
        signature: of the new version.
        explicit: the number asked for; it may be lower than the latest (a fix of an old line).
        bump: which part to raise. None = minor where callers of the latest are still served,
            else major.

    Raises:
        InvalidError: both `explicit` and `bump`.
    """
    if explicit is not None:
        if bump is not None:
            raise InvalidError("give either a version or a bump, not both", field="version")
        return explicit
    if latest is None:
        return FIRST
    number, before = latest
    if bump is None:
        bump = Bump.MINOR if signature.accepts(before) else Bump.MAJOR
    return number.bump(bump)


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags in order, each once.

    Raises:
        InvalidError: empty, too long or too many.
    """
    kept = tuple(dict.fromkeys(tags))
    for tag in kept:
        _word(tag, "tag", "tags")
    _few(kept, "tags")
    return kept


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels, checked.

    Raises:
        InvalidError: an empty or too long key, a too long value, too many.
    """
    for key, value in labels.items():
        _word(key, "label key", "labels")
        if value:
            _word(value, f"value of label '{key[:40]}'", f"labels.{key}")
    _few(labels, "labels")
    return dict(labels)


def check_lineage(lineage: Lineage) -> Lineage:
    """Lineage, with what users typed checked and what machines said made storable.

    Raises:
        InvalidError: a run, data digest or commit that is too long or not printable.
    """
    for field in ("run", "data_digest", "git_commit"):
        text = getattr(lineage, field)
        if text:
            _word(text, field.replace("_", " "), field)
    names = {
        field: getattr(lineage, field).encode(errors="replace").decode()[:MAX_WORD]
        for field in ("source_name", "git_branch", "actor")
    }
    return replace(lineage, **names)


def finite(value: Any) -> Any:
    """JSON values with `nan` and `inf` as words: no JSON has such numbers."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def with_evidence(kept: tuple[Evidence, ...], found: Evidence) -> tuple[Evidence, ...]:
    """Evidence with one more; of its kind the newest `OF_A_KIND` stay."""
    same = [place for place, one in enumerate(kept) if one.kind == found.kind]
    gone = set(same[: max(0, len(same) + 1 - OF_A_KIND)])
    return (*(one for place, one in enumerate(kept) if place not in gone), found)


def guard_deletion(
    doomed: Iterable[Semver], aliases: Mapping[str, Semver], children: Mapping[str, str], name: str
) -> None:
    """Refuse a deletion that would leave something pointing at nothing.

    Args:
        doomed: the versions to delete.
        aliases: of the model: alias -> version.
        children: `name:version` of each version that is to stay -> its parent, a doomed one.
        name: of the model.

    Raises:
        ConflictError: an alias or a child is in the way; the message says how to move it.
    """
    gone = set(doomed)
    for alias, version in sorted(aliases.items()):
        if version in gone:
            raise ConflictError(
                f"alias '{name}@{alias}' points at {name}:{version}: move it first with "
                f"`modelworks alias set {name}@{alias} VERSION`, or remove it with "
                f"`modelworks alias remove {name}@{alias}`",
                field="ref",
            )
    for child, parent in sorted(children.items()):
        raise ConflictError(
            f"{child} names {parent} as its parent: delete it first with "
            f"`modelworks delete {child}`",
            field="ref",
        )


def compare(left: ModelVersion, right: ModelVersion) -> Comparison:
    """The fields in which two versions differ, by path (`signature.inputs[0].shape`)."""
    a, b = _facts(left), _facts(right)
    differences = [
        Difference(path, None if x is _ABSENT else x, None if y is _ABSENT else y)
        for path in sorted(a.keys() | b.keys())
        for x, y in [(a.get(path, _ABSENT), b.get(path, _ABSENT))]
        if x != y
    ]
    return Comparison(
        left.ref,
        right.ref,
        tuple(differences[:MAX_DIFFERENCES]),
        compatible=right.signature.accepts(left.signature),
    )


def _facts(version: ModelVersion) -> dict[str, Any]:
    """A version as path -> plain value."""
    facts: dict[str, Any] = {
        "artifact.digest": version.artifact.digest,
        "artifact.format": version.artifact.format,
        "artifact.size": version.artifact.size,
        "artifact.files": sorted(path for path, _ in version.artifact.files),
        "tags": sorted(version.tags),
    }
    _flatten("signature", codec.encode(version.signature), facts)
    _flatten("lineage", codec.encode(version.lineage), facts)
    _flatten("labels", dict(version.labels), facts)
    for item in version.evidence:
        _flatten(f"evidence.{item.kind}", codec.encode(item), facts)
    return facts


def _flatten(path: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(f"{path}.{key}", item, into)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            _flatten(f"{path}[{index}]", item, into)
    else:
        into[path] = value


def _word(text: str, what: str, field: str) -> None:
    if not text or len(text) > MAX_WORD or not text.isprintable():
        raise InvalidError(
            f"{what} {text[:40]!r}: 1 to {MAX_WORD} printable characters are wanted", field=field
        )


def _few(items: Any, what: str) -> None:
    if len(items) > MAX_TAGS:
        raise InvalidError(f"{len(items)} {what}; at most {MAX_TAGS} are kept", field=what)
