"""Which reference a version's inputs and outputs are compared with."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelworks.control.watching import store
from modelworks.control.watching.store import KeptReference
from modelworks.core.digest import of_bytes
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.ids import now_ns
from modelworks.core.model import ModelVersion
from modelworks.core.semver import Semver
from modelworks.db.engine import TenantScope

if TYPE_CHECKING:
    from modelworks.monitor.drift.reference import Reference

LARGEST: Final = 64 << 20
"""Bytes of a file: it lies in the database."""


class References:
    """References by version.

    Args:
        scope: the tenant's rows.
        show: finds a version by its reference (`fraud@champion`).
        actor: who acts.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        scope: TenantScope,
        show: Callable[[str], ModelVersion],
        actor: str = "",
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._scope = scope
        self._show = show
        self._actor = actor
        self._clock = clock
        self._opened: dict[str, Reference] = {}

    def every(self) -> list[KeptReference]:
        """Those that are set, by model and version."""
        with self._scope.read() as session:
            return store.references(session)

    def put(self, ref: str, file: Path) -> KeptReference:
        """Give a version a reference, in place of another.

        Args:
            ref: `fraud:1.4.0`, `fraud@champion`.
            file: as `modelworks reference build` writes it.

        Raises:
            NotFoundError: no such version or file.
            CorruptError: the file is no reference.
            InvalidError: it is too large.
        """
        from modelworks.monitor.drift import archive  # noqa: PLC0415 - numpy, scipy

        try:
            body = file.read_bytes()
        except OSError as error:
            raise NotFoundError(f"{file}: {error.strerror or error}", field="file") from error
        if len(body) > LARGEST:
            raise InvalidError(
                f"{file} has {len(body)} bytes, a reference at most {LARGEST}: build it from fewer "
                "rows",
                field="file",
            )
        archive.from_bytes(body, str(file))
        version = self._show(ref)
        number, now = str(version.version), self._clock()
        digest = of_bytes(body)
        kept = KeptReference(version.name, number, digest, len(body), now, self._actor)
        with self._scope.write() as session:
            store.put_reference(session, kept, body)
        return kept

    def remove(self, ref: str) -> None:
        """Take a version's reference away.

        Raises:
            NotFoundError: it has none.
        """
        version = self._show(ref)
        with self._scope.write() as session:
            if not store.remove_reference(session, version.name, version.version):
                raise NotFoundError(f"{version.ref} has no reference", field="ref")

    def find(self, model: str, version: str) -> "Reference | None":
        """The reference of a version; None = it has none, or there is no such version.

        Raises:
            CorruptError: it cannot be read.
        """
        from modelworks.monitor.drift import archive  # noqa: PLC0415 - numpy, scipy

        known = {(one.model, one.version): one.digest for one in self.every()}
        digest = known.get((model, version))
        if digest is None:
            return None
        if digest not in self._opened:
            with self._scope.read() as session:
                body = store.reference(session, model, Semver.parse(version))
            if body is None:
                return None
            opened = archive.from_bytes(body, f"the reference of {model}:{version}")
            self._opened = {k: v for k, v in self._opened.items() if k in known.values()}
            self._opened[digest] = opened
        return self._opened[digest]
