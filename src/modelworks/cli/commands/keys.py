"""`keys`: the file of API keys that servers and the control plane ask for."""

from pathlib import Path

import click

from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Key, Role, key_name

_file = click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Of the keys (default: keys in the data folder).",
)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    The file holds names, roles and hashes, never a key. Give it to `serve --keys` and `up --keys`;
    both follow it: what is added or revoked counts within a second, without a restart.

    \b
    modelworks keys add shop
    modelworks keys add ana --role admin
    modelworks serve fraud --keys ~/.modelworks/keys
    MODELWORKS_KEY=mw_... modelworks predict fraud --rows '[...]'
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.PREDICT.value,
    show_default=True,
    help="predict: ask models; read: look at everything too; admin: change everything too.",
)
@_file
@json_option
def add(name: str, role: str, file: Path | None, as_json: bool) -> None:
    """Make a key and print it, once: only its hash is kept.

    Example: modelworks keys add shop --role predict
    """
    out, path = Output(as_json=as_json), _path(file)
    key = KeyFile(path).add(key_name(name), Role(role))
    if as_json:
        return out.document({"name": name, "role": role, "key": key, "file": str(path)})
    out.line(key)
    out.note(f"{name} may {_MEANING[Role(role)]}; {path} has its hash. The key is not shown again")
    return None


@keys.command("list")
@_file
@json_option
def listing(file: Path | None, as_json: bool) -> None:
    """List the keys' names and roles.

    Example: modelworks keys list
    """
    out = Output(as_json=as_json)
    found = KeyFile(_path(file)).keys().entries
    if as_json:
        return out.document([_shown(one) for one in found])
    rows = [[one.name, one.role, one.digest[:12]] for one in found]
    return out.table(("name", "role", "hash"), rows, "no key: nobody is let in")


@keys.command()
@click.argument("name")
@_file
@json_option
def revoke(name: str, file: Path | None, as_json: bool) -> None:
    """Take a key out; who follows the file refuses it within a second.

    Example: modelworks keys revoke shop
    """
    out = Output(as_json=as_json)
    found = KeyFile(_path(file)).revoke(name)
    if as_json:
        return out.document(_shown(found))
    out.note(f"revoked {found.name}")
    return None


_MEANING = {
    Role.PREDICT: "ask models",
    Role.READ: "ask models and look at everything",
    Role.ADMIN: "do everything",
}


def _shown(key: Key) -> dict[str, str]:
    return {"name": key.name, "role": key.role.value, "sha256": key.digest}


def _path(file: Path | None) -> Path:
    return file if file is not None else settings().home.keys
