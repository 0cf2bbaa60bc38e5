"""Exit codes of the command line, and which error ends in which."""

from enum import IntEnum

from modelworks.core import errors


class Exit(IntEnum):
    """What a script may rely on; `modelworks --help` and the documentation list them."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    INVALID = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    MISSING_EXTRA = 7
    CORRUPT = 8
    GATE = 9
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class Terminated(BaseException):
    """SIGTERM came: like `KeyboardInterrupt`, so that what was begun is ended on the way out."""


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILURE: "unexpected failure (MODELWORKS_DEBUG=1 shows where)",
    Exit.USAGE: "the command line is wrong",
    Exit.NOT_FOUND: "no such model, version, alias or file",
    Exit.INVALID: "invalid input, or refused (unsafe file, failed check, unsupported, API key)",
    Exit.CONFLICT: "contradicts the present state (exists already, alias in the way)",
    Exit.UNAVAILABLE: "not now: starting, draining, full, or nothing listens; retry may work",
    Exit.MISSING_EXTRA: "a library is not installed; the message names the pip command",
    Exit.CORRUPT: "stored bytes are not what was stored",
    Exit.GATE: "all was done, and a gate that was asked for is not passed (bar, check, test)",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
    Exit.BROKEN_PIPE: "the reader of our output left",
    Exit.TERMINATED: "terminated (SIGTERM); serve and up drain and end with 0",
}

# The most specific first: the tree of `core.errors` has children listed before their parents.
_BY_ERROR: tuple[tuple[type[errors.ModelworksError], Exit, str], ...] = (
    (errors.RefusedError, Exit.INVALID, "refused"),
    (errors.InvalidError, Exit.INVALID, "invalid"),
    (errors.UnauthenticatedError, Exit.INVALID, "unauthenticated"),
    (errors.ForbiddenError, Exit.INVALID, "forbidden"),
    (errors.UnsupportedError, Exit.INVALID, "unsupported"),
    (errors.NotFoundError, Exit.NOT_FOUND, "not_found"),
    (errors.ConflictError, Exit.CONFLICT, "conflict"),
    (errors.DeadlineError, Exit.UNAVAILABLE, "deadline"),
    (errors.UnavailableError, Exit.UNAVAILABLE, "unavailable"),
    (errors.MissingExtraError, Exit.MISSING_EXTRA, "missing_extra"),
    (errors.CorruptError, Exit.CORRUPT, "corrupt"),
    (errors.CrashedError, Exit.FAILURE, "crashed"),
)


def of_error(error: errors.ModelworksError) -> tuple[Exit, str]:
    """The exit code of an error and the word for it in `--json`."""
    for kind, code, word in _BY_ERROR:
        if isinstance(error, kind):
            return code, word
    return Exit.FAILURE, "failure"
