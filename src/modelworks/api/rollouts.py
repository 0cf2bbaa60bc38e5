"""Roll-outs under `/api/v1`: what they found, and the verbs of people."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from modelworks.api.key_guard import CALLER
from modelworks.api.wire import answers, known_query, read_body, read_json, reply, takes
from modelworks.control.rollouts.gathering.named import problems
from modelworks.control.rollouts.kept import Asked, Event, Kept
from modelworks.control.rollouts.report.told import Told, report_of
from modelworks.control.rollouts.service import Rollouts
from modelworks.control.service import Factory
from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns
from modelworks.core.rollouts import Phase, Plan
from modelworks.protocol.manifest.rollout import Rollout
from modelworks.protocol.manifest.rollout_plan import load_rollouts, planned
from modelworks.rollout.why_not import Answer, why_not

MOST: Final = 200
"""Of a page."""
_WORDS: Final = 1000
Name = Annotated[str, Path(description="Of the roll-out.", examples=["fraud-4"], max_length=64)]
Ref = Annotated[str, Path(description="`name`, `name@alias` or `name:1.4.0`.", max_length=256)]
Limit = Annotated[int, Query(description="At most so many.", ge=1, le=MOST)]
Body = Annotated[bytes, Depends(read_body)]


@dataclass(frozen=True, slots=True)
class RolloutPage:
    """Roll-outs by name.

    Attributes:
        rollouts: of this page.
        after: what the next page is asked with; empty = this is the last.
    """

    rollouts: list[Kept]
    after: str


@dataclass(frozen=True, slots=True)
class EventPage:
    """What happened to a roll-out, oldest first.

    Attributes:
        events: of this page.
        after: what the next page is asked with; 0 = this is the last.
    """

    events: list[Event]
    after: int


@dataclass(frozen=True, slots=True)
class Start:
    """What is to begin.

    Attributes:
        manifest: documents of the kind Rollout and their overlays, YAML or JSON.
        environment: whose overlays are put on.
        name: of several roll-outs the one.
        asked: how its route parts callers.
    """

    manifest: str
    environment: str = ""
    name: str = ""
    asked: Asked = field(default_factory=Asked)


@dataclass(frozen=True, slots=True)
class Because:
    """Why somebody acts; kept with his name."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Promotion:
    """Who gets all.

    Attributes:
        reason: why; kept.
        arm: of several candidates the one.
    """

    reason: str = ""
    arm: str = ""


class RolloutRoutes:
    """The routes over one factory.

    Args:
        factory: does the work.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(prefix="/api/v1", dependencies=[Depends(known_query)])
        one = "/rollouts/{name}"
        table: tuple[tuple[str, str, Any, Any, Any], ...] = (
            ("GET", "/rollouts", self.rollouts, RolloutPage, None),
            ("POST", "/rollouts", self.start_rollout, Kept, Start),
            ("GET", one, self.rollout, Kept, None),
            ("GET", one + "/history", self.rollout_history, EventPage, None),
            ("GET", one + "/report", self.rollout_report, Told, None),
            ("POST", one + "/pause", self.pause_rollout, Kept, Because),
            ("POST", one + "/resume", self.resume_rollout, Kept, None),
            ("POST", one + "/promote", self.promote_rollout, Kept, Promotion),
            ("POST", one + "/abort", self.abort_rollout, Kept, Because),
            ("GET", "/why-not/{ref}", self.why_not, Answer, None),
        )
        for method, path, endpoint, kind, body in table:
            status = 201 if endpoint.__name__ == "start_rollout" else 200
            router.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                response_class=Response,
                responses=answers(kind, status),
                openapi_extra=takes(body) if body else None,
                operation_id=endpoint.__name__,
            )
        return router

    # -- looking

    def rollouts(
        self,
        route: Annotated[str, Query(description="Of this one; empty = all.", max_length=128)] = "",
        phase: Annotated[Phase | None, Query(description="In this one.")] = None,
        after: Annotated[str, Query(description="Names after it.", max_length=64)] = "",
        limit: Limit = 50,
    ) -> Response:
        """Roll-outs by name, a page at a time."""
        found = self._verbs.page(after, limit + 1, route, str(phase or ""))
        more = found[limit - 1].rollout.plan.name if len(found) > limit else ""
        return reply(RolloutPage(found[:limit], more))

    def rollout(self, name: Name) -> Response:
        """One as it stands, with the findings of its last look."""
        return reply(self._verbs.get(name))

    def rollout_history(
        self,
        name: Name,
        after: Annotated[int, Query(description="Numbers after it.", ge=0, lt=2**31)] = 0,
        limit: Limit = MOST,
    ) -> Response:
        """What happened to one: when, who, why, on what findings."""
        found = [event for event in self._verbs.history(name) if event.number > after]
        more = found[limit - 1].number if len(found) > limit else 0
        return reply(EventPage(found[:limit], more))

    def rollout_report(self, name: Name) -> Response:
        """All that is known of one: the plan in words, looks, risk, what was not measured."""
        return reply(report_of(self._verbs, name, now_ns()))

    def why_not(self, ref: Ref) -> Response:
        """Which gates keep a version out of production, with the evidence and the cure."""
        return reply(why_not(*self._verbs.gates(ref)))

    # -- acting

    def start_rollout(self, request: Request, body: Body) -> Response:
        """Begin one; its candidate gets no request before it is loaded and warm."""
        wanted = read_json(Start, body)
        return reply(self._as(request).start(_plan(wanted), wanted.asked), 201)

    def pause_rollout(self, request: Request, name: Name, body: Body) -> Response:
        """Let everything stand; nothing is judged until it is resumed, not even harm."""
        return reply(self._as(request).pause(name, _reason(read_json(Because, body).reason)))

    def resume_rollout(self, request: Request, name: Name) -> Response:
        """Go on after a pause; what was earned before and meanwhile counts."""
        return reply(self._as(request).resume(name))

    def promote_rollout(self, request: Request, name: Name, body: Body) -> Response:
        """Give all traffic to a candidate, whatever is proved."""
        wanted = read_json(Promotion, body)
        return reply(self._as(request).promote(name, _reason(wanted.reason), wanted.arm))

    def abort_rollout(self, request: Request, name: Name, body: Body) -> Response:
        """Give all traffic back to the stable arm, in one change."""
        return reply(self._as(request).abort(name, _reason(read_json(Because, body).reason)))

    @property
    def _verbs(self) -> Rollouts:
        return self._factory.rollouts

    def _as(self, request: Request) -> Rollouts:
        """The verbs, done by who holds the key that was shown; without keys by this process."""
        caller = getattr(request.state, CALLER, "")
        return self._factory.rollouts_by(caller) if caller else self._factory.rollouts


def _plan(wanted: Start) -> Plan:
    """The one plan of a manifest.

    Raises:
        ManifestError: all that is wrong with it.
        InvalidError: it has none, or several.
    """
    manifest = load_rollouts([("manifest", wanted.manifest.encode())], wanted.environment, problems)
    found = [planned(one).plan for one in manifest.of(Rollout)]
    plans = [one for one in found if one is not None and wanted.name in {"", one.name}]
    if len(plans) != 1:
        named = f" of the name '{wanted.name[:80]}'" if wanted.name else "; name says which"
        words = f"one roll-out is wanted, and {len(plans)} stand in the manifest{named}"
        raise InvalidError(words, field="name" if wanted.name else "manifest")
    return plans[0]


def _reason(text: str) -> str:
    if len(text) > _WORDS:
        words = f"reason: {len(text)} characters; {_WORDS} at most are kept"
        raise InvalidError(words, field="reason")
    return text
