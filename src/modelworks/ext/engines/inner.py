"""Opens a form that lies within an artifact of several, by the engine that the artifact names."""

from pathlib import Path
from typing import Protocol

from modelworks.core.errors import InvalidError
from modelworks.core.seams import Engine, EngineOptions, Session
from modelworks.core.tensor import Signature
from modelworks.plugins.load import load


class Inner(Protocol):
    """What an artifact says of one of its forms."""

    @property
    def format(self) -> str:
        """Of it."""
        ...

    @property
    def engine(self) -> str:
        """That runs it."""
        ...

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """The engine's own settings."""
        ...


def opened(
    path: Path, form: Inner, name: str, options: EngineOptions, signature: Signature | None
) -> Session:
    """Load a form.

    Args:
        path: of it.
        form: what the artifact says of it.
        name: how errors call it.
        options: of the whole.
        signature: that it has to have; None = its own.

    Raises:
        InvalidError: it does not load; its name stands before the reason.
    """
    engine: Engine = load("engines", form.engine)()
    if form.format not in engine.formats:
        raise InvalidError(
            f"{name}: the engine {form.engine} does not run {form.format[:40]}", field="format"
        )
    given = EngineOptions(
        threads=options.threads,
        signature=signature,
        extra=form.options,
        trusted=options.trusted,
        interpreter=options.interpreter,
    )
    try:
        return engine.load(path, given)
    except InvalidError as error:
        raise InvalidError(f"{name}: {error.message}", field=error.field) from error
