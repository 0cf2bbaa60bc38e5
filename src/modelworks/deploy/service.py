"""What is asked for, kept: deployments and their revisions, events, and who did what."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from modelworks.core.deployment import SCALING, Revision
from modelworks.core.desired import Audited, Desired, Event, Kept, State
from modelworks.core.errors import ConflictError, NotFoundError
from modelworks.core.ids import now_ns
from modelworks.core.served import ServedModel
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.deploy import locks, store


@dataclass(frozen=True, slots=True)
class Asked:
    """A deployment as a manifest asks for it, its model found.

    Attributes:
        document: `metadata` and `spec`, defaults written out, JSON.
        model: the version, laid out here.
        image: by digest; "" where the target runs none.
    """

    document: Mapping[str, Any]
    model: ServedModel
    image: str = ""

    @property
    def name(self) -> str:
        """Of the deployment."""
        return str(self.document["metadata"]["name"])

    def revision(self, number: int) -> Revision:
        """What would run."""
        return Revision(self.name, number, self.document["spec"], self.model, self.image)


class Deployments:
    """One tenant's deployments; nothing is run here.

    Args:
        scope: the tenant's rows.
        actor: who acts, as recorded.
        clock: UTC nanoseconds.
        machine: where we are, see `Desired.machine`.
    """

    def __init__(
        self,
        scope: TenantScope,
        actor: str = "",
        clock: Callable[[], int] = now_ns,
        machine: str = "",
    ) -> None:
        self._scope = scope
        self._actor = actor
        self._clock = clock
        self.machine = machine

    # -- look ----------------------------------------------------------------------------------

    def every(self) -> list[Desired]:
        """All, by name."""
        with self._scope.read() as session:
            return store.every(session)

    def find(self, name: str) -> Desired | None:
        """One; None = nobody asked for it."""
        with self._scope.read() as session:
            return store.get(session, name)

    def get(self, name: str) -> Desired:
        """One.

        Raises:
            NotFoundError: nobody asked for it.
        """
        with self._scope.read() as session:
            return _get(session, name)

    def revisions(self, name: str) -> list[Kept]:
        """Those that are kept, newest first.

        Raises:
            NotFoundError: no such deployment.
        """
        with self._scope.read() as session:
            _get(session, name)
            return store.revisions(session, name)

    def known(self, name: str) -> dict[int, Revision]:
        """The same by number; empty where there is no such deployment."""
        with self._scope.read() as session:
            return {kept.revision.number: kept.revision for kept in store.revisions(session, name)}

    def same(self, asked: Asked) -> int:
        """The newest revision that runs the same; 0 = none that is kept does."""
        with self._scope.read() as session:
            kept = store.same(session, asked.name, asked.revision(0).digest)
        return kept.revision.number if kept is not None else 0

    def events(self, name: str, limit: int = store.EVENTS_KEPT) -> list[Event]:
        """What happened, newest first."""
        with self._scope.read() as session:
            return store.events(session, name, limit)

    def note_act(self, act: str, subject: str, detail: Mapping[str, Any]) -> None:
        """Note what was done to something that is no deployment."""
        with self._scope.write() as session:
            store.audit(session, Audited(self._clock(), self._actor, act, subject, detail))

    def audited(self, subject: str = "", limit: int = 1000) -> list[Audited]:
        """Who did what, newest first."""
        with self._scope.read() as session:
            return store.audited(session, subject, limit)

    def using(self, model: str) -> list[tuple[str, str, str]]:
        """Deployment, version and variant of every kept revision of a model."""
        with self._scope.read() as session:
            return store.using(session, model)

    # -- ask -----------------------------------------------------------------------------------

    @contextmanager
    def locked(self, name: str, wait_s: float = 0.0) -> Iterator[locks.Lock]:
        """Be the only one who changes a deployment: see `locks.held`."""
        with locks.held(self._scope, name, self._clock, wait_s) as lock:
            yield lock

    def ask(self, asked: Asked, target: str, settings: Mapping[str, str]) -> Desired:
        """Note what is wanted; a revision that runs the same is taken again.

        Where nothing changed and nothing failed, nothing is written.

        Raises:
            ConflictError: it runs on another target, or is being deleted.
        """
        with self._scope.write() as session:
            before = store.get(session, asked.name)
            if before is not None:
                _movable(before, target, settings)
            number = self._number(session, asked)
            if before is not None and _unchanged(before, asked, number):
                return before
            act = "apply"
            return self._put(session, before, asked.document, number, act, target, settings)

    def ask_again(self, name: str, number: int) -> Desired:
        """Ask for an earlier revision; how many run, and how they change, stays as it is.

        Raises:
            NotFoundError: no such deployment, or the revision is not kept.
            ConflictError: it is being deleted.
        """
        with self._scope.write() as session:
            before = _get(session, name)
            _movable(before, before.target, before.settings)
            kept = store.revision(session, name, number)
            if kept is None:
                known = [str(one.revision.number) for one in store.revisions(session, name)]
                raise NotFoundError(
                    f"deployment '{name}' has no revision {number}; kept are {', '.join(known)}",
                    field="revision",
                )
            scaling = {key: before.spec[key] for key in SCALING if key in before.spec}
            document = {**before.document, "spec": {**kept.revision.spec, **scaling}}
            return self._put(
                session, before, document, number, "roll-back", before.target, before.settings
            )

    def delete(self, name: str) -> Desired:
        """Note that a deployment is to end.

        Raises:
            NotFoundError: no such deployment.
        """
        with self._scope.write() as session:
            before = _get(session, name)
            if before.state is State.DELETING:
                return before
            after = replace(
                before,
                state=State.DELETING,
                message="",
                generation=before.generation + 1,
                updated_ns=self._clock(),
            )
            store.put(session, after)
            self._audit(session, "delete", name, {})
            return after

    # -- what became of it ---------------------------------------------------------------------

    def note(self, desired: Desired, state: State, message: str = "", serving: int = 0) -> bool:
        """Say what became of what was asked for; whether it is still asked for.

        Args:
            desired: as it was when the work began.
            state: now.
            message: for people.
            serving: the revision that is ready; 0 = as before.
        """
        with self._scope.write() as session:
            now = store.get(session, desired.name)
            if now is None or now.generation != desired.generation:
                return False
            after = replace(now, state=state, message=message, serving=serving or now.serving)
            if after != now:
                store.put(session, replace(after, updated_ns=self._clock()))
                if state is not now.state or message != now.message:
                    self._tell(session, desired.name, f"{state}: {message}".rstrip(": "))
            if state is State.READY:
                _prune(session, after)
            return True

    def tell(self, name: str, message: str) -> None:
        """Note something that happened."""
        with self._scope.write() as session:
            self._tell(session, name, message)

    def gone(self, name: str, act: str = "deleted") -> None:
        """A deployment was ended, or nobody reaches it any more: forget it."""
        with self._scope.write() as session:
            store.remove(session, name)
            self._audit(session, act, name, {})

    def _put(
        self,
        session: TenantSession,
        before: Desired | None,
        document: Mapping[str, Any],
        number: int,
        act: str,
        target: str,
        settings: Mapping[str, str],
    ) -> Desired:
        now = self._clock()
        name = str(document["metadata"]["name"])
        after = Desired(
            name=name,
            target=target,
            settings=settings,
            document=document,
            generation=before.generation + 1 if before else 1,
            wanted=number,
            serving=before.serving if before else 0,
            since_ns=now,
            created_ns=before.created_ns if before else now,
            updated_ns=now,
            machine=self.machine,
        )
        store.put(session, after)
        said = {"revision": number, "replicas": after.replicas, "generation": after.generation}
        self._audit(session, act, name, said)
        self._tell(session, name, f"{act}: revision {number}, {after.replicas} replicas")
        return after

    def _number(self, session: TenantSession, asked: Asked) -> int:
        kept = store.same(session, asked.name, asked.revision(0).digest)
        if kept is not None:
            return kept.revision.number
        number = store.highest(session, asked.name) + 1
        if store.get(session, asked.name) is None:  # rows of revisions refer to it
            store.put(session, _blank(asked, self._clock()))
        store.add_revision(session, Kept(asked.revision(number), self._clock(), self._actor))
        return number

    def _tell(self, session: TenantSession, name: str, message: str) -> None:
        store.add_event(session, Event(name, self._clock(), message))

    def _audit(
        self, session: TenantSession, act: str, name: str, detail: Mapping[str, Any]
    ) -> None:
        subject = f"deployment/{name}"
        store.audit(session, Audited(self._clock(), self._actor, act, subject, detail))


def _get(session: TenantSession, name: str) -> Desired:
    found = store.get(session, name)
    if found is None:
        known = ", ".join(one.name for one in store.every(session)[:8]) or "none"
        raise NotFoundError(f"no deployment '{name}'; there are: {known}", field="name")
    return found


def _blank(asked: Asked, now: int) -> Desired:
    return Desired(asked.name, "", {}, asked.document, created_ns=now, updated_ns=now)


def _movable(before: Desired, target: str, settings: Mapping[str, str]) -> None:
    if before.state is State.DELETING:
        raise ConflictError(
            f"deployment '{before.name}' is being deleted: wait until it is gone", field="name"
        )
    if (before.target, dict(before.settings)) != (target, dict(settings)):
        raise ConflictError(
            f"deployment '{before.name}' runs on '{before.target}': delete it first, or give the "
            "one on another target another name",
            field="spec.target",
        )


def _unchanged(before: Desired, asked: Asked, number: int) -> bool:
    return (
        before.document == asked.document
        and before.wanted == number
        and before.state is not State.FAILED
    )


def _prune(session: TenantSession, desired: Desired) -> None:
    """Forget revisions beyond those that are to be kept."""
    count = int(desired.spec["strategy"]["keep_revisions"])
    numbers = [kept.revision.number for kept in store.revisions(session, desired.name)]
    needed = {desired.wanted, desired.serving}
    old = [number for number in numbers[count:] if number not in needed]
    if old:
        store.forget(session, desired.name, old)
