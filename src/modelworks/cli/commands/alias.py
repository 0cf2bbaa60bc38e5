"""`alias set`, `alias remove`, `history`: names that move, and where they have been."""

import click

from modelworks.cli import human
from modelworks.cli.context import control, json_option
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns, parse_time
from modelworks.core.model import AliasChange
from modelworks.core.reference import parse_ref


@click.group()
def alias() -> None:
    """Point a name such as champion at a version.

    Example: modelworks alias set fraud@champion 1.4.0
    """


@alias.command("set")
@click.argument("target", metavar="NAME@ALIAS")
@click.argument("version")
@click.option("--reason", default="", help="Kept in the alias's history.")
@json_option
def set_alias(target: str, version: str, reason: str, as_json: bool) -> None:
    """Point NAME@ALIAS at VERSION (`1.4.0`, `fraud:1.4.0` or another alias, `fraud@challenger`).

    Example: modelworks alias set fraud@champion 1.4.0 --reason "0.3 points better"
    """
    out = Output(as_json=as_json)
    name, wanted = _target(target)
    with control() as transport:
        if "@" in version or ":" in version:
            found = transport.show(version)
            if found.name != name:
                raise InvalidError(
                    f"'{version}' is a version of {found.name}, not of {name}", field="version"
                )
            version = str(found.version)
        moved = transport.set_alias(name, wanted, version, reason)
    if as_json:
        return out.document(moved)
    return out.line(f"{name}@{moved.name} -> {name}:{moved.version}")


@alias.command("remove")
@click.argument("target", metavar="NAME@ALIAS")
@click.option("--reason", default="", help="Kept in the alias's history.")
@json_option
def remove_alias(target: str, reason: str, as_json: bool) -> None:
    """Remove NAME@ALIAS; its history stays.

    Example: modelworks alias remove fraud@challenger --reason "trial is over"
    """
    out = Output(as_json=as_json)
    name, wanted = _target(target)
    with control() as transport:
        transport.remove_alias(name, wanted, reason)
    if as_json:
        return out.document({"removed": f"{name}@{wanted}"})
    return out.line(f"removed {name}@{wanted}")


@click.command()
@click.argument("target", metavar="NAME[@ALIAS]")
@click.option("--at", default="", help="What was in force then: 2026-10-03T14:00 (UTC).")
@json_option
def history(target: str, at: str, as_json: bool) -> None:
    """Show where aliases pointed, oldest first.

    Example: modelworks history fraud@champion --at 2026-10-03T14:00
    """
    out = Output(as_json=as_json)
    ref = parse_ref(target)
    if ref.version is not None:
        raise InvalidError(f"'{target}' names a version: NAME or NAME@ALIAS is wanted", field="ref")
    with control() as transport:
        if not at:
            changes = transport.history(ref.name, ref.alias)
        elif ref.alias:
            changes = [transport.alias_at(ref.name, ref.alias, parse_time(at))]
        else:
            raise InvalidError("--at needs an alias: write NAME@ALIAS", field="at")
    if as_json:
        return out.document(changes[0] if at else changes)
    if at:
        return out.line(f"{ref.name}:{changes[0].version}")
    empty = f"no alias of {ref.name} was ever set"
    return out.table(["time", "alias", "from", "to", "by", "reason"], _rows(changes), empty)


def _rows(changes: list[AliasChange]) -> list[list[str]]:
    now = now_ns()
    return [
        [
            human.when(change.at_ns, now),
            f"{change.model}@{change.alias}",
            str(change.previous or "-"),
            str(change.version or "removed"),
            change.actor,
            change.reason,
        ]
        for change in changes
    ]


def _target(text: str) -> tuple[str, str]:
    ref = parse_ref(text)
    if ref.alias is None:
        raise InvalidError(f"'{text}' names no alias: write it as {ref.name}@champion", field="ref")
    return ref.name, ref.alias
