"""What `apply` would do, and what becomes of every field; nothing is changed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from modelworks.control.deploying.asking import (
    Models,
    document_of,
    image_if_known,
    model_of,
)
from modelworks.control.deploying.recording import check
from modelworks.control.deploying.routing import Router
from modelworks.control.deploying.targets import elsewhere, kind_of, opened, place_of
from modelworks.control.forms import Place
from modelworks.core.deployment import Observed, Revision, Support
from modelworks.core.desired import Desired, State
from modelworks.core.errors import (
    CorruptError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.optimizing.variants import SOURCE
from modelworks.core.optimizing.wanted import GOALS
from modelworks.core.plans import Act, Answer, Change, Plan, Planned
from modelworks.core.seams import Target
from modelworks.core.served import ServedModel
from modelworks.deploy import answers
from modelworks.deploy.differences import differences
from modelworks.deploy.differences import native as diff
from modelworks.deploy.reconcile import goal_of, wanted
from modelworks.deploy.rolling import next_step
from modelworks.deploy.service import Asked, Deployments
from modelworks.protocol.manifest import Manifest
from modelworks.protocol.manifest.deployment import Deployment
from modelworks.protocol.manifest.load import Loaded
from modelworks.protocol.manifest.route import Route

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class Planner:
    """Compares a manifest with what was asked for and with what runs.

    Args:
        deployments: as they were asked for.
        router: plans routes.
        models: versions.
        folder: of all targets on this machine.
    """

    def __init__(
        self, deployments: Deployments, router: Router, models: Models, folder: Path
    ) -> None:
        self._router = router
        self._deployments = deployments
        self._models = models
        self._folder = folder

    def plan(self, manifest: Manifest, *, ask: bool = True) -> Plan:
        """Every document.

        Args:
            manifest: of them.
            ask: the targets what runs there; otherwise nobody has to answer there.

        Raises:
            NotFoundError: no such target, model or version.
            MissingExtraError: a target's libraries are not there.
        """
        beside = manifest.of(Deployment)
        found = []
        for loaded in manifest.documents:
            if isinstance(loaded.document, Deployment):
                found.append(self._deployment(loaded, loaded.document, ask=ask))
            elif isinstance(loaded.document, Route):
                planned = self._router.plan(loaded.document, beside, ask=ask)
                said = tuple(_placed(loaded, planned.answers))
                found.append(replace(planned, answers=said))
        return Plan(tuple(found), manifest.environment)

    def _deployment(self, loaded: Loaded, deployment: Deployment, *, ask: bool) -> Planned:
        kind = kind_of(deployment.spec.target.type)
        said = tuple(_placed(loaded, _answers(kind, deployment)))
        before = self._deployments.find(deployment.metadata.name)
        known = self._deployments.known(deployment.metadata.name)
        place = place_of(kind, deployment.spec.target.settings)
        asked = Asked(document_of(deployment), _model(self._models, loaded, deployment, place))
        check(loaded, deployment.spec.monitoring.records, asked.model)
        asked = image_if_known(kind, asked, known.get(before.wanted) if before else None)
        number = self._deployments.same(asked)
        changes = tuple(_changes(before, asked, known))
        notes = list(_notes(before, deployment, kind))
        notes += _of_form(asked.model, deployment.spec.variant, place)
        outside: tuple[str, ...] = ()
        native, act = "", _act(before, number, changes)
        away = elsewhere(kind, before, self._deployments.machine) if before else ""
        notes += [away] if away else []
        if any(one.support is Support.REFUSED for one in said):
            act = Act.REFUSED
        elif ask and not away:
            coming = number or max(known, default=0) + 1
            try:
                with opened(kind, deployment.spec.target.settings, self._folder) as target:
                    native = diff(
                        target.render(goal_of(before, known))
                        if before and before.wanted in known
                        else (),
                        target.render(wanted(asked.document, asked.revision(coming))),
                    )
                    seen = target.observe(asked.name)
                    outside, act = _held_against(act, before, known, seen, rolls=kind.rolls)
            except UnavailableError as error:
                notes.append(f"the target does not answer: {error.message}")
        return Planned(
            kind="Deployment",
            name=asked.name,
            target=kind.name,
            act=act,
            model=asked.model.ref,
            revision=number,
            serving=before.serving if before else 0,
            answers=said,
            changes=changes,
            outside=outside,
            notes=tuple(notes),
            native=native,
        )


def _model(models: Models, loaded: Loaded, deployment: Deployment, place: Place) -> Any:
    spec = deployment.spec
    try:
        return model_of(models, spec.model, spec.variant, place)
    except (CorruptError, InvalidError, NotFoundError, UnsupportedError) as error:
        named = error.field == "variant" and ("spec", "variant") in loaded.source.marks
        leaf = "variant" if named else "model"
        mark = loaded.source.mark(("spec", leaf))
        field = f"spec.{leaf}"
        raise type(error)(f"{mark}: {field}: {error.message}", field=field) from error


def _of_form(model: ServedModel, want: str, place: Place) -> Iterator[str]:
    """What a goal came to, and what is not known of the hardware."""
    if want in GOALS:
        form = f"variant '{model.variant}'" if model.variant else "the version as it was imported"
        yield f"{want} is {form}, by what was measured"
    if model.variant and place.hardware is None:
        yield "what it was measured on may differ from the machines of the target"


def _answers(kind: Target, deployment: Deployment) -> Iterator[Answer]:
    metadata = deployment.metadata.model_dump(mode="json")
    for name, value in metadata.items():
        yield answers.of_head(f"metadata.{name}", value, value in ({}, ""))
    yield from answers.of_deployment(kind, deployment.spec)


def _placed(loaded: Loaded, said: Any) -> Iterator[Answer]:
    for one in said:
        path = tuple(int(number) if number else word for word, number in _STEP.findall(one.path))
        mark = loaded.source.marks.get(path)
        place = str(mark) if mark is not None else ""
        yield Answer(one.path, one.value, one.support, one.how, one.plain, place)


def _act(before: Desired | None, number: int, changes: tuple[Change, ...]) -> Act:
    if before is None:
        return Act.CREATE
    if number == 0 or number != before.wanted:
        return Act.UPDATE
    if changes:
        return Act.SCALE
    return Act.UNCHANGED if before.state is State.READY else Act.RETRY


def _held_against(
    act: Act,
    before: Desired | None,
    known: Mapping[int, Revision],
    seen: Observed | None,
    *,
    rolls: bool,
) -> tuple[tuple[str, ...], Act]:
    """What was changed outside, and whether what runs is as it was asked for."""
    outside = seen.changed if seen else ()
    if act is not Act.UNCHANGED or before is None or before.wanted not in known:
        return outside, act
    step = next_step(goal_of(before, known), seen, known, rolls=rolls)
    return outside, act if step.done else Act.RETRY


def _changes(
    before: Desired | None, asked: Asked, known: Mapping[int, Revision]
) -> Iterator[Change]:
    if before is None:
        return
    yield from differences("", before.document, asked.document)
    revision = known.get(before.wanted)
    if revision is not None and revision.model.version != asked.model.version:
        yield Change("version", revision.model.version, asked.model.version)
    if revision is not None and revision.model.variant != asked.model.variant:
        yield Change("form", revision.model.variant or SOURCE, asked.model.variant or SOURCE)


def _notes(before: Desired | None, deployment: Deployment, kind: Target) -> Iterator[str]:
    if kind.experimental:
        yield f"the target '{kind.name}' is experimental"
    if kind.images and not deployment.spec.image.digest:
        yield "its image is made by `apply`: another base or other libraries make a new revision"
    if before is not None and before.state is State.DELETING:
        yield "it is being deleted: `apply` waits for nothing and is refused meanwhile"
    target = deployment.spec.target
    if before is not None and (before.target, dict(before.settings)) != (
        target.type,
        dict(target.settings),
    ):
        yield f"it runs on '{before.target}' and would have to be deleted there first"
