"""The console's routes: each gathers what the public API says and renders one template."""

from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from modelworks.console import charts, plots, rollouts, show, watch
from modelworks.console.login import Login
from modelworks.control.access import Access
from modelworks.control.endpoints import KEPT, Watch
from modelworks.control.rollouts.report.page import html
from modelworks.control.rollouts.report.told import report_of
from modelworks.core.errors import InvalidError, ModelworksError, NotFoundError
from modelworks.core.ids import now_ns

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none, a form says of no origin that it is ours
    "Cache-Control": "no-store",
}
_STATIC = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "act.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def install(
    app: FastAPI,
    transport: rollouts.Rolled,
    live: Watch,
    watched: watch.Watched,
    access: Access | None = None,
) -> None:
    """Add the console to the control plane's app.

    Args:
        app: the control plane.
        transport: its verbs.
        live: behind the live figures; the caller starts it and closes it.
        watched: what the watch has found.
        access: who may look, by signing in; None = everybody.
    """
    console = Console(transport, live, watched, guarded=access is not None)
    app.include_router(console.router())
    if access is not None:
        app.include_router(Login(access, console.login).router())


class Console:
    """The pages over one control plane."""

    def __init__(
        self,
        transport: rollouts.Rolled,
        live: Watch,
        watched: watch.Watched,
        *,
        guarded: bool = False,
    ) -> None:
        self._transport = transport
        self._live = live
        self._watched = watched
        self._boards = watch.Boards(watched)
        self._templates = Environment(
            loader=PackageLoader("modelworks.console"), autoescape=True, undefined=StrictUndefined
        )
        self._templates.filters.update(
            when=lambda at_ns: show.when(at_ns, now_ns()),
            utc=show.utc,
            size=show.size,
            seconds=show.seconds,
            rate=show.rate,
            shape=show.shape,
            figures=show.figures,
            figure=plots.figure,
            maybe=show.maybe,
            ms=show.ms,
        )
        self._templates.globals.update(
            sparkline=lambda recent: charts.sparkline([p.rate for p in recent], KEPT - 1),
            box=(charts.WIDTH, charts.HEIGHT),
            canvas=(plots.WIDTH, plots.HEIGHT, plots.LEFT, plots.WIDTH - plots.RIGHT),
            guarded=guarded,
        )

    def router(self) -> APIRouter:
        """The routes; none of them is part of the API's description."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/", self.home, response_class=HTMLResponse)
        router.add_api_route("/console/live", self.live, response_class=HTMLResponse)
        router.add_api_route("/console/models/{name}", self.model, response_class=HTMLResponse)
        router.add_api_route(
            "/console/models/{name}/live", self.model_live, response_class=HTMLResponse
        )
        router.add_api_route("/console/watch", self.watch, response_class=HTMLResponse)
        router.add_api_route("/console/watch-live", self.watch_live, response_class=HTMLResponse)
        router.add_api_route("/console/watch/{name}", self.series, response_class=HTMLResponse)
        router.add_api_route(
            "/console/watch/{name}/live", self.series_live, response_class=HTMLResponse
        )
        rolled = "/console/rollouts"
        router.add_api_route(rolled, self.rollouts, response_class=HTMLResponse)
        router.add_api_route(f"{rolled}-live", self.rollouts_live, response_class=HTMLResponse)
        rolled += "/{name}"
        router.add_api_route(rolled, self.rollout, response_class=HTMLResponse)
        router.add_api_route(f"{rolled}/live", self.rollout_live, response_class=HTMLResponse)
        router.add_api_route(f"{rolled}/report", self.rollout_report, response_class=HTMLResponse)
        router.add_api_route("/console/static/{name}", static)
        return router

    def home(self) -> Response:
        """Models and endpoints."""
        return self._page("home.html", self._overview())

    def login(self, message: str, status: int) -> Response:
        """The form that asks for a key."""
        return self._page("login.html", {"message": message}, status)

    def live(self) -> Response:
        """The changing part of the first page."""
        return self._page("overview.html", self._overview())

    def model(self, name: str) -> Response:
        """One model: versions, evidence, alias history."""
        return self._model_page("model.html", name)

    def model_live(self, name: str) -> Response:
        """The changing part of a model's page."""
        return self._model_page("line.html", name)

    def watch(self, since: str = "1h") -> Response:
        """Every model over a span of time: traffic, drift, quality, alerts."""
        return self._watch_page("watch.html", "", since)

    def watch_live(self, since: str = "1h") -> Response:
        """The changing part of it."""
        return self._watch_page("glance.html", "", since)

    def series(self, name: str, since: str = "1h") -> Response:
        """One model over a span of time: curves, what moved, alerts."""
        return self._watch_page("watch_model.html", name, since)

    def series_live(self, name: str, since: str = "1h") -> Response:
        """The changing part of it."""
        return self._watch_page("series.html", name, since)

    def rollouts(self) -> Response:
        """All roll-outs."""
        return self._page("rollouts.html", rollouts.overview(self._transport.rollouts))

    def rollouts_live(self) -> Response:
        """The changing part of it."""
        return self._page("rollouts_list.html", rollouts.overview(self._transport.rollouts))

    def rollout(self, name: str) -> Response:
        """One roll-out: findings, pictures, buttons."""
        return self._rollout_page("rollout.html", name)

    def rollout_live(self, name: str) -> Response:
        """The changing part of it."""
        return self._rollout_page("rollout_live.html", name)

    def rollout_report(self, name: str) -> Response:
        """Its report, to be kept: a file that needs nothing else."""
        try:
            told = report_of(self._transport.rollouts, name, now_ns())
        except NotFoundError as error:
            return self._page("missing.html", {"message": error.message}, status=404)
        headers = {**SECURITY, "Content-Disposition": "attachment"}
        return HTMLResponse(html(told), headers=headers)

    def _rollout_page(self, template: str, name: str) -> Response:
        try:
            data = rollouts.one(self._transport.rollouts, name)
        except NotFoundError as error:
            return self._page("missing.html", {"message": error.message}, status=404)
        return self._page(template, data)

    def _watch_page(self, template: str, name: str, since: str) -> Response:
        try:
            if name:
                known = any(model.name == name for model in self._transport.models())
                data = watch.of_model(self._watched, name, since, registered=known)
            else:
                data = watch.overview(self._boards, since)
        except ModelworksError as error:
            kinds = ((NotFoundError, 404), (InvalidError, 400))
            status = next((code for kind, code in kinds if isinstance(error, kind)), 503)
            return self._page("trouble.html", {"message": error.message}, status)
        return self._page(template, data)

    def _overview(self) -> dict[str, Any]:
        models = self._transport.models()
        return {
            "models": [(model, self._live.model(model.name)) for model in models],
            "watched": self._live.states(),
        }

    def _model_page(self, template: str, name: str) -> Response:
        try:
            versions = self._transport.versions(name)
            changes = self._transport.history(name)
            forms = {version.ref: self._transport.variants(version.ref) for version in versions}
        except (NotFoundError, InvalidError) as error:
            return self._page("missing.html", {"message": error.message}, status=404)
        summary = next((m for m in self._transport.models() if m.name == name), None)
        aliases = summary.aliases if summary else ()
        rows = [
            (
                version,
                [alias.name for alias in aliases if alias.version == version.version],
                self._live.version(name, str(version.version)),
            )
            for version in versions
        ]
        data = {"name": name, "rows": rows, "changes": changes[::-1], "forms": forms}
        return self._page(template, {**data, "traffic": self._live.model(name)})

    def _page(self, template: str, data: dict[str, Any], status: int = 200) -> Response:
        text = self._templates.get_template(template).render(data)
        return HTMLResponse(text, status_code=status, headers=SECURITY)


def static(name: str) -> Response:
    """Style, script and icon: our own, shipped in the package."""
    if name not in _STATIC:
        return Response(status_code=404, headers=SECURITY)
    headers = {**SECURITY, "Cache-Control": "max-age=300"}
    return Response(_asset(name), media_type=_STATIC[name], headers=headers)


@cache
def _asset(name: str) -> bytes:
    return files("modelworks.console").joinpath("static", name).read_bytes()
