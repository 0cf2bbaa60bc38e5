"""`drill`: a candidate that is broken on purpose, and the rollback that has to follow."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.cli.context import here, json_option, platform
from modelworks.cli.exits import Exit
from modelworks.cli.manifests import contents, refused
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError

if TYPE_CHECKING:
    from modelworks.control.service import Factory
    from modelworks.core.rollouts import Plan

_FAULTS = ("failing", "wrong", "slow", "biased")
_FAULT = click.Choice(_FAULTS)


@click.command()
@click.argument("name", required=False, default="")
@click.option("-f", "--file", "file", default="", metavar="FILE", help="A roll-out's manifest.")
@click.option("--environment", "-e", default="", help="Put its overlays of this environment on.")
@click.option("--fault", "faults", multiple=True, type=_FAULT, help="Only this; may be repeated.")
@click.option(
    "--accept-blind",
    "accepted",
    multiple=True,
    type=_FAULT,
    help="A fault that nobody has to see; may be repeated.",
)
@click.option("--rate", default=50.0, show_default=True, type=click.FloatRange(1, 1000))
@click.option("--records", is_flag=True, help="Send recorded inputs; else they are made up.")
@click.option(
    "--seconds",
    default=600.0,
    show_default=True,
    type=click.FloatRange(10, 86_400),
    help="The longest that one fault may take.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Write a page.")
@json_option
def drill(  # noqa: PLR0913, PLR0917 - click's way: an option is an argument
    name: str,
    file: str,
    environment: str,
    faults: tuple[str, ...],
    accepted: tuple[str, ...],
    rate: float,
    records: bool,
    seconds: float,
    html: Path | None,
    as_json: bool,
) -> Exit | None:
    """Break a candidate on purpose, and prove that it is rolled back in time.

    NAME is a roll-out whose plan is drilled, or a model; with -f the plan is the manifest's, and a
    model given beside it is drilled in place of its route. A model alone is drilled by the plan of
    its newest roll-out, or by the usual one.

    An installation of its own is started for it and goes with it: no caller of the real one sees
    anything. The report is kept as evidence of the stable version. The exit code is 9 where a fault
    was not seen in time, or the plan is blind to one that is not accepted.

    \b
    modelworks drill -f rollout.yaml
    modelworks drill fraud --fault failing --fault slow --html drill.html
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    with here("a drill is made where the registry is") as factory:
        with platform("a drill"):
            from modelworks.apps.embed import local
            from modelworks.cli.bench_options import writable, write_text
            from modelworks.cli.drilled import page, show
            from modelworks.control.drilling.faults import Wanted
            from modelworks.control.drilling.service import drill as drilled
            from modelworks.control.service import os_user
            from modelworks.protocol.manifest.problems import ManifestError

        writable(html, "html")
        try:
            plan = _plan(factory, name, file, environment)
        except ManifestError as error:
            return refused(out, error)
        wanted = Wanted(faults, accepted, rate, records, seconds, os_user())
        with out.progress() as say:
            report = drilled(factory, local, plan, wanted, say)
    if html is not None:
        write_text(html, page(report), "html")
    if as_json:
        out.document(report)
    else:
        show(out, report)
    return None if report.passed else Exit.GATE


def _plan(factory: "Factory", name: str, file: str, environment: str) -> "Plan":
    """The plan that is drilled, of the model and the version that answer now.

    Raises:
        InvalidError: neither a name nor a manifest, or one of several roll-outs.
        NotFoundError: no such roll-out or model.
    """
    from modelworks.control.drilling.plans import of_model, of_rollout
    from modelworks.protocol.manifest.rollout import Rollout
    from modelworks.protocol.manifest.rollout_plan import load_rollouts, planned

    if not file:
        if not name:
            raise InvalidError("name a roll-out or a model, or give a manifest: -f", field="name")
        kept = [one.rollout.plan for one in factory.rollouts.every()]
        return of_rollout(name, kept, factory.show)
    manifest = load_rollouts(contents((file,)), environment)
    plans = [plan for one in manifest.of(Rollout) if (plan := planned(one).plan) is not None]
    if len(plans) != 1:
        words = f"{file} has {len(plans)} roll-outs: a drill is of one"
        raise InvalidError(words, field="file")
    return of_model(name, plans[0], factory.show) if name else plans[0]
