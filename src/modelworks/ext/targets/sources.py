"""What secrets are, read where the reconciler runs."""

import os
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.protocol.manifest.deployment import SecretSource

_LARGEST: Final = 1 << 20


def content(name: str, source: SecretSource) -> bytes:
    """A secret.

    Args:
        name: of it, for messages.
        source: a file of this machine, or a variable of this process.

    Raises:
        InvalidError: it is not there, or no secret.
    """
    if source.variable:
        value = os.environ.get(source.variable)
        if value is None:
            raise InvalidError(
                f"secret {name}: the reconciler's environment has no {source.variable}",
                field="secrets",
            )
        return value.encode()
    try:
        with Path(source.file).open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise InvalidError(
            f"secret {name}: {source.file} cannot be read: {error.strerror}", field="secrets"
        ) from None
    if len(data) > _LARGEST:
        raise InvalidError(
            f"secret {name}: {source.file} has more than {_LARGEST} bytes", field="secrets"
        )
    return data
