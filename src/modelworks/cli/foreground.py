"""A child process in the foreground: until it ends, or a signal says that it shall drain."""

from collections.abc import Callable

from modelworks.apps.children import Announced, Child
from modelworks.apps.signals import on_signals
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output
from modelworks.core.errors import CrashedError, ModelworksError


def foreground(
    out: Output, child: Child, what: str, ready: Callable[[Announced], Callable[[], object] | None]
) -> int:
    """Wait for a child that serves; the exit code.

    Args:
        out: where the last word goes.
        child: started.
        what: how messages call it, `the gateway`.
        ready: called with where it listens; what it returns is called when the child has ended.

    Raises:
        ModelworksError: it does not become ready.
        CrashedError: it ended by itself.
    """
    after: Callable[[], object] | None = None
    with on_signals(child.drain):
        try:
            after = ready(child.wait_ready())
            code = child.process.wait()
            if code and not child.drained:
                raise CrashedError(f"{what} ended by itself (exit code {code})")
        except ModelworksError:
            if child.drained:
                return Exit.OK  # the signal came before it was ready
            raise
        finally:
            child.stop()
            if after is not None:
                after()
    out.note("drained; bye")
    return Exit.OK
