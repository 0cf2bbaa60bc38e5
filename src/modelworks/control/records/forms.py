"""How a value may stand in what was written: as it is, hashed, or as a token."""

import hashlib
import hmac
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from modelworks.core.errors import UnavailableError
from modelworks.protocol.records.fields import hash_key
from modelworks.protocol.records.vault import VAULT, Vault

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TOKEN: Final = "tok_"  # noqa: S105 - how tokens begin


class Forms:
    """The forms of values in one folder of records.

    Args:
        folder: with the key of hashes and the vault of tokens.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, value: str) -> list[str]:
        """Every form of a value that policies write and that tells it from others."""
        with self._vault() as vault:
            token = vault.find(value) if vault is not None else ""
        return [form for form in (value, self.hashed(value), token) if form]

    def hashed(self, value: str) -> str:
        """The hash of a value; a business key of feedback is kept so alone.

        Raises:
            UnavailableError: the key of hashes cannot be read.
        """
        return hmac.new(self._key, value.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()

    def alike(self, written: list[str]) -> dict[str, str]:
        """Of what policies wrote of business keys, the form that feedback has."""
        with self._vault() as vault:
            made = {}
            for text in written:
                value = text
                if text.startswith(_TOKEN) and vault is not None:
                    value = vault.value(text) or text
                made[text] = value if _HASH.fullmatch(value) else self.hashed(value)
            return made

    def forget(self, value: str) -> int:
        """Take a value out of the vault; how many entries went."""
        with self._vault() as vault:
            token = vault.find(value) if vault is not None else ""
            return vault.forget([token]) if vault is not None and token else 0

    @cached_property
    def _key(self) -> bytes:
        try:
            return hash_key(self._folder)
        except OSError as error:
            raise UnavailableError(
                f"{self._folder}: the key of hashes cannot be read: {error.strerror or error}"
            ) from error

    @contextmanager
    def _vault(self) -> Iterator[Vault | None]:
        if not (self._folder / VAULT).exists():
            yield None
            return
        vault = Vault(self._folder)
        try:
            yield vault
        finally:
            vault.close()
