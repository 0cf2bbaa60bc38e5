"""What every command needs: the settings, the control plane, the `--json` switch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelworks.apps.embed import Settings, connect, local
from modelworks.client.transport import Transport
from modelworks.core.errors import MissingExtraError, UnsupportedError

if TYPE_CHECKING:
    from modelworks.cli.rollouts_elsewhere import Verbs
    from modelworks.control.deploying.service import Deploying
    from modelworks.control.records.service import Records
    from modelworks.control.service import Factory
    from modelworks.control.watching.service import Watching

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """`--json`, the same words everywhere."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
    )(function)


def settings() -> Settings:
    """What the environment says."""
    return Settings.read()


@contextmanager
def control() -> Iterator[Transport]:
    """The control plane, closed afterwards."""
    transport = connect(settings())
    try:
        yield transport
    finally:
        close = getattr(transport, "close", None)
        if close is not None:
            close()


@contextmanager
def here(why: str, instead: str = "") -> Iterator["Factory"]:
    """The verbs that only work where the registry is, closed afterwards.

    Args:
        why: they do, for the message.
        instead: what else can be done; follows the message's last words.

    Raises:
        UnsupportedError: `MODELWORKS_URL` names a control plane elsewhere.
        MissingExtraError: the registry's libraries are not installed.
    """
    found = settings()
    if found.url:
        raise UnsupportedError(
            f"{why}: run this command on the machine of {found.url}, without "
            f"MODELWORKS_URL{instead}"
        )
    factory = local(found.home, found.stores, found.limits)
    try:
        yield factory
    finally:
        factory.close()


@contextmanager
def deploying() -> Iterator["Deploying"]:
    """The verbs of deployments, on this machine; raises as `here`."""
    with here("deployments are planned and applied where the registry is") as factory:
        with platform("a manifest"):
            verbs = factory.deploying
        yield verbs


@contextmanager
def recorded() -> Iterator["Records"]:
    """The verbs of records and feedback, on this machine; raises as `here`."""
    with here("records are read where they lie") as factory:
        yield factory.records


@contextmanager
def rollouts() -> Iterator["Verbs"]:
    """The verbs of roll-outs: at `MODELWORKS_URL`, else on this machine; closed afterwards.

    Raises:
        MissingExtraError: the registry's libraries are not installed.
    """
    found = settings()
    with ExitStack() as stack:
        if found.url:
            with platform("roll-outs"):
                from modelworks.cli.rollouts_elsewhere import Elsewhere
            elsewhere = Elsewhere(found)
            stack.callback(elsewhere.close)
            yield elsewhere
            return
        factory = local(found.home, found.stores, found.limits)
        stack.callback(factory.close)
        with platform("roll-outs"):
            verbs = factory.rollouts
        yield verbs


@contextmanager
def watching() -> Iterator["Watching"]:
    """The verbs of the watch, on this machine; raises as `here`."""
    why = "what was watched lies where the registry is"
    with here(why, ", or open its console") as factory:
        with platform("the watch"):
            verbs = factory.watching
        yield verbs


def interactive() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def platform(what: str) -> Iterator[None]:
    """Around the imports of a command that needs the platform's libraries.

    Args:
        what: needs them, for the message: `a manifest`.

    Raises:
        MissingExtraError: one is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("modelworks"):
            raise
        raise MissingExtraError(what, "platform", error.name) from error
