"""Makes deployments what a manifest says: asks, rolls, notes what became of it."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from modelworks.control.deploying.asking import Images, Models, Progress, document_of, model_of
from modelworks.control.deploying.targets import elsewhere, kind_of, opened, place_of
from modelworks.control.forms import ANYWHERE
from modelworks.core.deployment import Observed, Revision
from modelworks.core.desired import Desired, State
from modelworks.core.errors import ConflictError, ModelworksError, NotFoundError
from modelworks.core.optimizing.variants import SOURCE
from modelworks.core.plans import Applied
from modelworks.core.seams import OpenTarget, Target
from modelworks.deploy.locks import Lock
from modelworks.deploy.reconcile import Outcome, Roll, goal_of, look
from modelworks.deploy.service import Asked, Deployments
from modelworks.protocol.manifest.deployment import Deployment

_log = logging.getLogger(__name__)
WAIT_S: Final = 10.0
"""For another process that changes the same deployment."""


class Applier:
    """Acts on deployments, one at a time.

    Args:
        deployments: as they are asked for.
        models: versions.
        images: made where a target runs them.
        folder: of all targets on this machine.
    """

    def __init__(
        self, deployments: Deployments, models: Models, images: Images, folder: Path
    ) -> None:
        self._deployments = deployments
        self._models = models
        self._images = images
        self._folder = folder

    def apply(self, deployment: Deployment, say: Progress) -> Applied:
        """Ask for it, and do it.

        Raises:
            ConflictError: another process changes it, or it runs on another target.
            ModelworksError: its model or image cannot be had.
        """
        name, spec = deployment.metadata.name, deployment.spec
        kind = kind_of(spec.target.type)
        with self._deployments.locked(name, WAIT_S) as lock:
            before = self._deployments.find(name)
            if before is not None and before.target == kind.name:
                self._here(kind, before)
            place = place_of(kind, spec.target.settings)
            model = model_of(self._models, spec.model, spec.variant, place)
            asked = Asked(document_of(deployment), model)
            with opened(kind, spec.target.settings, self._folder) as target:
                if kind.images:
                    say(f"{name}: the image of {asked.model.ref}")
                    image = self._images(asked.model, spec, target, say)
                    asked = replace(asked, image=image)
                lock.keep()
                desired = self._deployments.ask(asked, kind.name, spec.target.settings)
                return self._roll(desired, kind, target, lock, say)

    def roll_back(self, name: str, number: int, say: Progress) -> Applied:
        """Ask for an earlier revision again, and do it.

        Args:
            name: of the deployment.
            number: of the revision; 0 = the one that was ready before the one that is asked for.
            say: gets what is waited for.

        Raises:
            NotFoundError: no such deployment or revision.
            ConflictError: another process changes it.
        """
        with self._deployments.locked(name, WAIT_S) as lock:
            before = self._deployments.get(name)
            number = number or _before(before, self._deployments.known(name))
            kind = kind_of(before.target)
            self._here(kind, before)
            with opened(kind, before.settings, self._folder) as target:
                desired = self._deployments.ask_again(name, number)
                return self._roll(desired, kind, target, lock, say)

    def delete(self, name: str, say: Progress) -> Applied:
        """End it and leave nothing; what was begun before goes on to its end.

        Raises:
            NotFoundError: no such deployment.
            ConflictError: another process changes it.
            UnavailableError: the target does not answer: it stays `deleting`, and is tried again.
        """
        with self._deployments.locked(name, WAIT_S):
            before = self._deployments.get(name)
            kind = kind_of(before.target)
            self._here(kind, before)
            desired = self._deployments.delete(name)
            say(f"{name}: ending it")
            with opened(kind, desired.settings, self._folder) as target:
                target.delete(name)
            self._deployments.gone(name)
        return Applied("Deployment", name, State.DELETING, message="deleted")

    def forget(self, name: str) -> Applied:
        """Forget a deployment whose target is gone for ever; what may still run there goes on.

        Raises:
            NotFoundError: no such deployment.
            ConflictError: another process changes it.
        """
        with self._deployments.locked(name, WAIT_S):
            self._deployments.get(name)
            self._deployments.gone(name, "forgotten")
        return Applied("Deployment", name, State.DELETING, message="forgotten")

    def tend(self, name: str) -> None:
        """Go on with what was begun, or put right what is not as it was asked for.

        For the reconciler: quiet where another process is at it (`ConflictError` passes).
        """
        with self._deployments.locked(name) as lock:
            desired = self._deployments.find(name)
            if desired is None or elsewhere(
                kind_of(desired.target), desired, self._deployments.machine
            ):
                return
            if desired.state is State.DELETING:
                with opened(kind_of(desired.target), desired.settings, self._folder) as target:
                    target.delete(name)
                self._deployments.gone(name)
                return
            kind = kind_of(desired.target)
            with opened(kind, desired.settings, self._folder) as target:
                if desired.state in {State.PENDING, State.ROLLING}:
                    self._roll(desired, kind, target, lock, _quiet)
                elif desired.state is State.READY or desired.serving:
                    known = self._known(desired)
                    goal = goal_of(desired, known)
                    if wrong := look(target, goal, known, rolls=kind.rolls):
                        self._deployments.tell(name, wrong)

    def _here(self, kind: Target, desired: Desired) -> None:
        """Refuse what runs on another machine.

        Raises:
            ConflictError: it does.
        """
        if why := elsewhere(kind, desired, self._deployments.machine):
            raise ConflictError(why, field="name")

    def _roll(
        self, desired: Desired, kind: Target, target: OpenTarget, lock: Lock, say: Progress
    ) -> Applied:
        name = desired.name
        known = self._known(desired)
        if desired.state is not State.READY:
            self._deployments.note(desired, State.ROLLING)
        # A revision that failed is asked for anew: `goal_of` would go on with the one before.
        goal = goal_of(replace(desired, state=State.ROLLING), known)

        def going() -> bool:
            lock.keep()
            now = self._deployments.find(name)
            return now is not None and now.generation == desired.generation

        said = _changed_only(lambda text: say(f"{name}: {text}"))
        roll = Roll(target, goal, known, rolls=kind.rolls, going=going, say=said)
        outcome = roll.run()
        if outcome.superseded:
            return self._applied(desired, State.PENDING, target, "something else is asked for")
        if not outcome.reason:
            self._deployments.note(desired, State.READY, "", desired.wanted)
            return self._applied(replace(desired, serving=desired.wanted), State.READY, target)
        message = outcome.reason
        if desired.serving not in {0, desired.wanted} and desired.serving in known:
            say(f"{name}: revision {desired.wanted} failed; back to {desired.serving}")
            message = _went_back(message, desired, roll.back_to(known[desired.serving]))
        self._deployments.note(desired, State.FAILED, message)
        return self._applied(desired, State.FAILED, target, message)

    def _applied(
        self, desired: Desired, state: State, target: OpenTarget, message: str = ""
    ) -> Applied:
        seen: Observed | None = None
        try:
            seen = target.observe(desired.name)
        except ModelworksError as error:
            message = message or error.message
        return Applied(
            "Deployment",
            desired.name,
            state,
            desired.wanted,
            desired.serving,
            seen.url if seen else "",
            message,
        )

    def _known(self, desired: Desired) -> dict[int, Revision]:
        """Revisions whose files lie on this machine; what was cleared away is laid out again."""
        found = {}
        for number, revision in self._deployments.known(desired.name).items():
            if Path(revision.model.path).exists():
                found[number] = revision
                continue
            ref = revision.model.ref
            try:
                model = model_of(self._models, ref, SOURCE, ANYWHERE)
            except ModelworksError as error:
                _log.warning("%s: revision %d: %s", desired.name, number, error.message)
                continue
            laid = replace(revision.model, path=model.path, interpreter=model.interpreter)
            found[number] = replace(revision, model=laid)
        return found


def _before(desired: Desired, known: dict[int, Revision]) -> int:
    """The revision to go back to."""
    if desired.serving and desired.serving != desired.wanted:
        return desired.serving  # what is asked for was never ready
    older = [number for number in known if number < desired.wanted]
    if not older:
        raise NotFoundError(
            f"deployment '{desired.name}' has no revision before {desired.wanted}",
            field="revision",
        )
    return max(older)


def _went_back(message: str, desired: Desired, outcome: Outcome) -> str:
    if outcome.reason:
        return (
            f"revision {desired.wanted}: {message}; "
            f"and revision {desired.serving} did not come back: {outcome.reason}"
        )
    return f"revision {desired.wanted}: {message}; revision {desired.serving} goes on"


def _changed_only(say: Progress) -> Callable[[str], None]:
    last = ""

    def told(text: str) -> None:
        nonlocal last
        if text and text != last:
            last = text
            say(text)

    return told


def _quiet(_text: str) -> None:
    return None
