"""How the quality of each model is watched: what people asked for, beside what signatures say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelworks.control.watching import store
from modelworks.control.watching.store import KeptPlan
from modelworks.core.desired import Audited
from modelworks.core.errors import NotFoundError
from modelworks.core.ids import now_ns
from modelworks.core.model import ModelVersion
from modelworks.core.reference import model_name
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.deploy.store import audit
from modelworks.monitor.quality.asked import Asked, checked, document, planned, restored
from modelworks.monitor.quality.plan import Plan


@dataclass(frozen=True, slots=True)
class Watched:
    """How one version's quality is watched.

    Attributes:
        model: name.
        version: of it.
        asked: by people; None = nothing is.
        plan: what is done; None = its outputs say nothing that labels could be held to.
    """

    model: str
    version: str
    asked: KeptPlan | None
    plan: Plan | None


class Qualities:
    """What is asked, model by model; every change is audited.

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

    def every(self) -> list[KeptPlan]:
        """What is asked, by model."""
        with self._scope.read() as session:
            return store.plans(session)

    def find(self, model: str) -> Asked:
        """What is asked of a model; nothing where nobody asked."""
        with self._scope.read() as session:
            kept = store.plan(session, model)
        return Asked() if kept is None else restored(kept.document)

    def show(self, ref: str) -> Watched:
        """How a version is watched.

        Raises:
            NotFoundError: no such version.
            InvalidError: what is asked does not fit it; `field` says what.
        """
        version = self._show(ref)
        with self._scope.read() as session:
            kept = store.plan(session, version.name)
        asked = Asked() if kept is None else restored(kept.document)
        plan = planned(version.signature, asked)
        return Watched(version.name, str(version.version), kept, plan)

    def put(self, model: str, asked: Asked) -> Watched:
        """Ask for something, in place of what was asked before; it holds for every version.

        Args:
            model: its name.
            asked: what.

        Raises:
            NotFoundError: no such model.
            InvalidError: it does not fit the model's default version; `field` says what.
        """
        version = self._show(model_name(model))
        plan = planned(version.signature, checked(asked))
        kept = KeptPlan(version.name, document(asked), self._clock(), self._actor)
        with self._scope.write() as session:
            before = store.plan(session, version.name)
            store.put_plan(session, kept)
            detail = {"asked": kept.document, "before": before.document if before else None}
            self._note(session, "set", kept.model, detail)
        return Watched(version.name, str(version.version), kept, plan)

    def remove(self, model: str) -> None:
        """Ask for nothing any more: what the signature says is watched.

        Raises:
            NotFoundError: nothing was asked.
        """
        with self._scope.write() as session:
            before = store.plan(session, model)
            if before is None or not store.remove_plan(session, model):
                raise NotFoundError(f"nothing is asked of the quality of '{model}'", field="model")
            self._note(session, "remove", model, {"before": before.document})

    def _note(self, session: TenantSession, act: str, model: str, detail: dict[str, Any]) -> None:
        audit(session, Audited(self._clock(), self._actor, act, f"quality/{model}", detail))
