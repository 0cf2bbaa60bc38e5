"""`routes`: look at a file of routes, move shares, give and revoke keys."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelworks.cli.context import json_option
from modelworks.cli.output import Output
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError
from modelworks.core.files import replace_text
from modelworks.core.keys import digest_of, key_name, new_key

if TYPE_CHECKING:
    from modelworks.core.routes import Span

_DAY_NS = 86_400 * 10**9
_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def routes() -> None:
    """Check a file of routes, move shares, give and revoke keys.

    Servers and gateways that follow the file go by the change within a second.

    \b
    modelworks serve fraud:1.0.0 fraud:2.0.0 --routes routes.json
    modelworks routes share routes.json fraud fraud/1=0.9 fraud/2=0.1
    modelworks routes key routes.json shop --model 'fraud*' --rate 100 --burst 20
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@routes.command()
@_file
@json_option
def check(file: Path, as_json: bool) -> None:
    """Say whether a file can be gone by, and what it says.

    Example: modelworks routes check routes.json
    """
    from modelworks.core.routes import BUCKETS
    from modelworks.protocol.routes.reading import read_snapshot

    out = Output(as_json=as_json)
    snapshot = read_snapshot(_bytes(file))
    rows = []
    for route in snapshot.routes:
        buckets = {arm.name: 0 for arm in route.arms}
        for span in route.spans:
            buckets[span.arm] += span.end - span.first
        copies = {shadow.arm: shadow.share for shadow in route.shadows}
        rows += [
            (route.name, route.model, name, count / BUCKETS, copies.get(name, 0.0))
            for name, count in buckets.items()
        ]
    names = sorted(entry.name for entry in snapshot.keys.values())
    if as_json:
        fields = ("route", "model", "arm", "share", "copies")
        arms = [dict(zip(fields, row, strict=True)) for row in rows]
        return out.document({"generation": snapshot.generation, "arms": arms, "keys": names})
    told = [(*row[:3], f"{row[3]:.2%}", f"{row[4]:.2%}" if row[4] else "") for row in rows]
    out.table(("route", "model", "arm", "share", "copies"), told, "there are no routes")
    out.note(f"generation {snapshot.generation}; keys: {', '.join(names) or 'nobody is asked'}")
    return None


@routes.command()
@_file
@click.argument("route")
@click.argument("shares", nargs=-1, required=True, metavar="ARM=SHARE...")
@json_option
def share(file: Path, route: str, shares: tuple[str, ...], as_json: bool) -> None:
    """Give a route's arms new shares, 0 to 1; as few callers as can be change theirs.

    Example: modelworks routes share routes.json fraud fraud/1=0.9 fraud/2=0.1
    """
    from modelworks.core.codec import decode, encode
    from modelworks.core.routes import Span
    from modelworks.protocol.routes import spans

    out, data = Output(as_json=as_json), _read(file)
    found = next((one for one in data.get("routes", ()) if one.get("name") == route), None)
    if found is None:
        raise NotFoundError(f"{file} has no route '{route}'", field="route")
    before = decode(tuple[Span, ...], found["spans"], "spans")
    after = spans(before, _shares(shares))
    found["spans"] = encode(after)
    _write(file, data)
    moved = _moved(before, after)
    if as_json:
        return out.document({"route": route, "moved": moved, "generation": data["generation"]})
    out.line(f"{route}: {moved:.2%} of the callers change their arm")
    return None


@routes.command()
@_file
@click.argument("name")
@click.option("--tenant", default="default", show_default=True, help="Whose routes it opens.")
@click.option("--model", "models", multiple=True, help="Pattern of models; again for more. [all]")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="How long it is good.")
@click.option("--rate", type=click.FloatRange(min=0), default=0.0, help="Requests a second. [any]")
@click.option("--burst", type=click.IntRange(min=1), default=1, help="At once, with --rate. [1]")
@click.option("--quota", type=click.IntRange(min=0), default=0, help="Requests a day. [any]")
@click.option("--tokens", type=click.IntRange(min=0), default=0, help="Of language models, a day.")
@json_option
def key(  # noqa: PLR0913, PLR0917 - click's parameters
    file: Path,
    name: str,
    tenant: str,
    models: tuple[str, ...],
    days: float | None,
    rate: float,
    burst: int,
    quota: int,
    tokens: int,
    as_json: bool,
) -> None:
    """Make a key and print it, once: only its hash is kept. The first one closes the routes.

    Example: modelworks routes key routes.json shop --model fraud --rate 100 --burst 20
    """
    out, data = Output(as_json=as_json), _read(file)
    keys = data.setdefault("keys", {})
    if any(entry.get("name") == key_name(name) for entry in keys.values()):
        raise ConflictError(f"{file} has a key of the name {name}: revoke it first", field="name")
    made = new_key()
    entry: dict[str, Any] = {"name": name, "tenant": tenant, "models": list(models)}
    if days is not None:
        entry["until_ns"] = time.time_ns() + round(days * _DAY_NS)
    if rate or quota:
        entry["limit"] = {"rate": rate, "burst": burst, "quota": quota}
    if tokens:
        entry["tokens"] = tokens
    keys[digest_of(made.encode())] = entry
    _write(file, data)
    if as_json:
        return out.document({"name": name, "key": made, "file": str(file)})
    out.line(made)
    out.note(f"{file} has its hash. The key is not shown again")
    return None


@routes.command()
@_file
@click.argument("name")
@json_option
def revoke(file: Path, name: str, as_json: bool) -> None:
    """Take a key out; the last one leaves the routes open to all.

    Example: modelworks routes revoke routes.json shop
    """
    out, data = Output(as_json=as_json), _read(file)
    keys = data.get("keys", {})
    found = [digest for digest, entry in keys.items() if entry.get("name") == name]
    if not found:
        raise NotFoundError(f"{file} has no key of the name {name}", field="name")
    for digest in found:
        del keys[digest]
    if not keys and not data.get("tokens"):
        raise ConflictError(
            f"{name} is the last key: without one everybody may ask. Make another one first, or "
            "take the keys out of the file by hand",
            field="name",
        )
    _write(file, data)
    if as_json:
        return out.document({"name": name, "file": str(file)})
    out.line(f"{name} is let in no more")
    return None


def _shares(texts: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        arm, equals, share = text.rpartition("=")
        try:
            found[arm] = float(share)
        except ValueError:
            equals = ""
        if not (equals and arm):
            raise InvalidError(f"'{text}': ARM=SHARE is wanted, fraud/2=0.1", field="shares")
    return found


def _moved(before: "Sequence[Span]", after: "Sequence[Span]") -> float:
    """The share of buckets that change hands."""
    from modelworks.core.routes import BUCKETS

    same = sum(
        max(0, min(one.end, other.end) - max(one.first, other.first))
        for one in before
        for other in after
        if one.arm == other.arm
    )
    return 1 - same / BUCKETS


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror}", field="file") from error


def _read(file: Path) -> dict[str, Any]:
    """The file's own words: what it leaves out stays left out."""
    from modelworks.protocol.routes.reading import read_snapshot

    text = _bytes(file)
    read_snapshot(text)
    data: dict[str, Any] = json.loads(text)
    return data


def _write(file: Path, data: dict[str, Any]) -> None:
    """The next generation, in the place of the file."""
    from modelworks.protocol.routes.reading import read_snapshot

    data["generation"] += 1
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    read_snapshot(text.encode())
    try:
        replace_text(file.resolve(), text)
    except OSError as error:
        raise InvalidError(f"{file} cannot be written: {error.strerror}", field="file") from error
