"""Finds what a reference points at, and moves aliases: what several verbs share."""

from collections.abc import Callable
from dataclasses import dataclass

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.model import Alias, AliasChange, ModelVersion
from modelworks.core.reference import ModelRef
from modelworks.core.semver import Semver
from modelworks.db.session import TenantSession
from modelworks.registry import store

MAX_REASON = 1024


@dataclass(frozen=True, slots=True)
class Hand:
    """Who acts, and by which clock.

    Attributes:
        actor: as recorded.
        clock: UTC nanoseconds.
    """

    actor: str
    clock: Callable[[], int]


def find(session: TenantSession, ref: ModelRef, field: str) -> ModelVersion:
    """The version that a reference points at; a bare name is the latest.

    Raises:
        NotFoundError: no such model, alias or version; `field` names the reference.
    """
    number = ref.version
    if ref.alias is not None:
        alias = store.get_alias(session, ref.name, ref.alias)
        number = None if alias is None else alias.version
    elif number is None:
        number = store.latest(session, ref.name)
    found = None if number is None else store.get_version(session, ref.name, number)
    if found is not None:
        return found
    if not store.has_model(session, ref.name):
        raise no_model(ref.name, field)
    if ref.alias is not None:
        raise NotFoundError(f"{ref.name} has no alias '{ref.alias}'", field=field)
    raise NotFoundError(f"{ref.name} has no version {ref.version}", field=field)


def no_model(name: str, field: str = "name") -> NotFoundError:
    """The error for a model that nobody registered."""
    return NotFoundError(f"no model '{name}' is registered: see `modelworks models`", field=field)


def point(
    session: TenantSession, hand: Hand, version: ModelVersion, alias: str, reason: str
) -> Alias:
    """Point an alias at an existing version; where it points there already, nothing happens."""
    now = store.get_alias(session, version.name, alias)
    if now is not None and now.version == version.version:
        return now
    move = (None if now is None else now.version, version.version)
    kept = store.move_alias(session, change(hand, version.name, alias, move, reason))
    return Alias(alias, version.version, kept.at_ns)


def change(
    hand: Hand, name: str, alias: str, move: tuple[Semver | None, Semver | None], reason: str
) -> AliasChange:
    """An alias's move, from and to (None: nowhere), as it will be kept.

    Raises:
        InvalidError: too long a reason, or more than a line.
    """
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidError(
            f"a reason is one line of at most {MAX_REASON} printable characters", field="reason"
        )
    return AliasChange(name, alias, move[1], move[0], hand.clock(), hand.actor, reason)
