"""Where a file of records lies, and what its name says of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

HOUR_NS: Final = 3_600_000_000_000

_NAME: Final = re.compile(r"(\d+)-(\d+)-(\d+)-([0-9a-f]{16})(r?)\.parquet")
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]")
_CODED: Final = re.compile(r"\+([0-9a-f]{2})")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """An hour of a model.

    Attributes:
        hour_ns: UTC, its beginning.
        model: name.
        tenant: whose.
    """

    hour_ns: int
    model: str
    tenant: str

    @property
    def folder(self) -> str:
        """`tenant=a/model=m/date=2026-11-22/hour=19`, as Hive and DuckDB know it."""
        at = datetime.fromtimestamp(self.hour_ns // 1_000_000_000, UTC)
        model = f"{model_folder(self.tenant, self.model)}"
        return f"{model}/date={at:%Y-%m-%d}/hour={at:%H}"


@dataclass(frozen=True, slots=True)
class Piece:
    """One file.

    Attributes:
        path: of it.
        place: its hour.
        first_ns: time of its first line.
        last_ns: of its last.
        count: of records.
        replaces: it stands for others, which its foot names.
    """

    path: str
    place: Place
    first_ns: int
    last_ns: int
    count: int
    replaces: bool


def tenant_folder(tenant: str) -> str:
    """`tenant=a`."""
    return f"tenant={_coded(tenant)}"


def model_folder(tenant: str, model: str) -> str:
    """`tenant=a/model=m`."""
    return f"{tenant_folder(tenant)}/model={_coded(model)}"


def place_of(tenant: str, model: str, at_ns: int) -> Place:
    """The hour of a moment."""
    return Place(at_ns // HOUR_NS * HOUR_NS, model, tenant)


def path_of(place: Place, keys: Sequence[tuple[str, int]], replaced: Sequence[str]) -> str:
    """The path of a file with these records: the same ones have the same name.

    Args:
        place: its hour.
        keys: id and time of every record, in the order of time.
        replaced: paths of files that it stands for.
    """
    digest = blake2b(digest_size=8)
    for part in (*(f"{at} {key}\n" for key, at in keys), *replaced):
        digest.update(part.encode(errors="surrogatepass"))
    mark = "r" if replaced else ""
    name = f"{keys[0][1]}-{keys[-1][1]}-{len(keys)}-{digest.hexdigest()}{mark}.parquet"
    return f"{place.folder}/{name}"


def piece_of(path: str) -> Piece | None:
    """What a path says; None = it is no file of ours."""
    parts = path.split("/")
    found = _NAME.fullmatch(parts[-1])
    heads = [part.partition("=") for part in parts[:-1]]
    if found is None or [head for head, _, _ in heads] != ["tenant", "model", "date", "hour"]:
        return None
    tenant, model, date, hour = (value for _, _, value in heads)
    try:
        at = datetime.fromisoformat(f"{date}T{hour}:00+00:00")
    except ValueError:
        return None
    place = Place(int(at.timestamp()) * 1_000_000_000, _decoded(model), _decoded(tenant))
    first, last, count = (int(found[group]) for group in (1, 2, 3))
    return Piece(path, place, first, last, count, bool(found[5]))


def _coded(name: str) -> str:
    """A name as part of a path, in folders and in buckets."""
    return _PLAIN.sub(lambda c: "".join(f"+{byte:02x}" for byte in c[0].encode()), name)


def _decoded(text: str) -> str:
    plain = _CODED.sub(lambda c: chr(int(c[1], 16)), text)  # a byte a character
    return plain.encode("latin-1").decode(errors="replace")
