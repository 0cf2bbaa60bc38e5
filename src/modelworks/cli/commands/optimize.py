"""`optimize`: the fastest form of a version that is still good enough, or none."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelworks.cli.context import here, json_option, platform
from modelworks.cli.diverging import diverge
from modelworks.cli.exits import Exit, Terminated
from modelworks.cli.optimizing import AMOUNT, SECONDS, Words
from modelworks.cli.optimizing_make import make
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError

if TYPE_CHECKING:
    from modelworks.control.optimizing.asked import Asked
    from modelworks.core.optimizing.recipes import Recipe
    from modelworks.core.optimizing.variants import Goal
    from modelworks.optimize.run import Run

_FILE = click.Path(path_type=Path)
_WHY = "forms are made and measured where the registry is"
_OBJECTIVES = ("p99", "throughput", "size", "memory", "energy", "cost")
_METRICS = ("", "accuracy", "auc", "log_loss", "mae", "rmse")


class Verbs(click.Group):
    """`optimize REF` is `optimize run REF`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb, `run` where the first word is none."""
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options before the reference are those of `run`."""
        if args and args[0].startswith("-") and args[0] not in {"-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Verbs)
@json_option
def optimize(as_json: bool) -> None:
    """Find the fastest form of a version that is still good enough, proved on your rows.

    `modelworks optimize REF` is `modelworks optimize run REF`.

    \b
    modelworks optimize fraud --eval test.csv --label fraud --budget 5m
    modelworks optimize report fraud --html fraud.html
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


def _wanted(function: Any) -> Any:
    """The options of what is wanted, of the rows and of the time, for `run` and `apply`."""
    options = (
        click.option(
            "--objective", type=click.Choice(_OBJECTIVES), default="p99", show_default=True
        ),
        click.option(
            "--max-drop", type=AMOUNT, default="0.5pp", show_default=True, help="Of the quality."
        ),
        click.option("--slice-drop", type=AMOUNT, default=0.0, help="Of a slice; 0 = --max-drop."),
        click.option("--confidence", type=float, default=0.95, show_default=True),
        click.option("--metric", type=click.Choice(_METRICS), default="", help="Of the quality."),
        click.option("--agreement", type=AMOUNT, default="99%", show_default=True),
        click.option(
            "--cosine", type=float, default=0.99, show_default=True, help="Of embeddings."
        ),
        click.option("--gain", type=float, default=1.05, show_default=True, help="Worth it from."),
        click.option("--calibration", type=_FILE, help="Rows for the passes."),
        click.option("--eval", "evaluation", type=_FILE, help="Rows that decide."),
        click.option("--label", default="", metavar="COL", help="What was true."),
        click.option("--slices", type=Words(), default="", metavar="COL,...", help="Judged apart."),
        click.option("--batches", type=Words(int), default="1,16", show_default=True),
        click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True),
        click.option("--budget", type=SECONDS, default="10m", show_default=True, help="Of time."),
        click.option("--price", type=float, default=0.0, help="Of an hour of this machine."),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True),
        click.option("--again", is_flag=True, help="Forget what an earlier run found."),
    )
    for option in reversed(options):
        function = option(function)
    return json_option(function)


@optimize.command()
@click.argument("ref")
@click.option("--passes", type=Words(), default="", metavar="NAME,...", help="Only these.")
@_wanted
def run(ref: str, passes: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Search: what is better and good enough becomes a variant of the version.

    The same command again goes on where it was left, also after a kill. Nothing is changed where
    nothing helps: that is an answer too, and no error.

    \b
    modelworks optimize fraud@champion --eval test.csv --label fraud --slices region
    modelworks optimize ranker --objective throughput --batches 1,64 --budget 20m
    modelworks optimize run fraud --passes int8_static,nncf_int8
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    _search(Output(as_json=as_json), ref, given, passes)


@optimize.command()
@click.argument("recipe", type=_FILE)
@click.argument("ref")
@_wanted
def apply(recipe: Path, ref: str, as_json: bool, **given: Any) -> Exit | None:
    """Make one form by a recipe, measure and judge it like any other.

    The exit code is 9 where it does not pass, and nothing is changed then.

    Example: modelworks optimize apply int8.json fraud:1.3.0 --eval test.csv --label fraud
    """
    with platform("optimize"):
        from modelworks.cli.rows import read_text
        from modelworks.core.optimizing.recipes import read_recipe

        read = read_recipe(read_text(recipe, "recipe"))
    found = _search(Output(as_json=as_json), ref, given, recipe=read)
    return None if found.kept else Exit.GATE


def _search(
    out: Output,
    ref: str,
    given: dict[str, Any],
    passes: tuple[str, ...] = (),
    recipe: "Recipe | None" = None,
) -> "Run":
    with here(_WHY) as factory:
        with platform("optimize"):
            from modelworks.cli.optimizing_board import board
            from modelworks.cli.optimizing_text import show

            verbs = factory.optimizing
        asked = _asked(given, passes, recipe)
        try:
            with board(out, asked.goal.budget_s) as (say, watch):
                found = verbs.optimize(ref, asked, say, watch)
        except (KeyboardInterrupt, Terminated):
            out.note(
                f"what was finished is kept: the same command goes on from there, and "
                f"modelworks variants {ref} shows the best form so far where there is one"
            )
            raise
        if out.as_json:
            out.document(found)
        else:
            show(out, found)
        return found


def _asked(given: dict[str, Any], passes: tuple[str, ...], recipe: "Recipe | None") -> "Asked":
    from modelworks.control.optimizing.asked import Asked
    from modelworks.optimize.data import Asked as Rows

    for name in ("calibration", "evaluation"):
        if given[name] is not None and os.fspath(given[name]) == "":
            raise InvalidError(f"name a file of rows: --{name[:11]} FILE", field=name)
    rows = Rows(
        given["calibration"],
        given["evaluation"],
        given["label"],
        given["slices"],
        given["seed"],
    )
    return Asked(_goal(given), rows, passes, given["again"], recipe)


def _goal(given: dict[str, Any]) -> "Goal":
    from modelworks.core.optimizing.variants import Goal, Objective

    return Goal(
        objective=Objective(given["objective"]),
        max_drop=given["max_drop"],
        slice_drop=given["slice_drop"],
        confidence=given["confidence"],
        metric=given["metric"],
        agreement=given["agreement"],
        cosine=given["cosine"],
        gain=given["gain"],
        batches=tuple(sorted(set(given["batches"]))),
        threads=given["threads"],
        budget_s=given["budget"],
        price=given["price"],
    )


@optimize.command()
@click.argument("ref")
@click.option("--html", "page", type=_FILE, help="Write a page with plots.")
@click.option("--png", type=_FILE, help="Write the plots (needs matplotlib).")
@json_option
def report(ref: str, page: Path | None, png: Path | None, as_json: bool) -> None:
    """Say what the last search of a version found: every form, and what became of it.

    The page needs nothing else: nothing is fetched.

    Example: modelworks optimize report fraud --html fraud.html
    """
    out = Output(as_json=as_json)
    with here(_WHY) as factory:
        with platform("optimize"):
            from modelworks.cli.bench_options import writable, write_text
            from modelworks.cli.optimizing_text import page_of, plots_of, show

            verbs = factory.optimizing
        writable(page, "html")
        writable(png, "png")
        found = verbs.report(ref)
    if page is not None:
        write_text(page, page_of(found), "html")
    if png is not None:
        plots_of(found, png)
    if as_json:
        out.document(found)
    elif page is not None or png is not None:
        out.line("\n".join(str(path) for path in (page, png) if path is not None))
    else:
        show(out, found)


@optimize.command()
@click.argument("ref", metavar="REF#VARIANT")
@json_option
def explain(ref: str, as_json: bool) -> None:
    """Say how a variant came to be, what it gains and what it was proved by.

    Example: modelworks optimize explain fraud:1.2.0#int8-static
    """
    out = Output(as_json=as_json)
    with here(_WHY) as factory:
        with platform("optimize"):
            from modelworks.cli.optimizing_text import explained

            verbs = factory.optimizing
        found = verbs.variant(ref)
        since = [] if as_json else verbs.aged(found)
    if as_json:
        out.document(found)
        return
    for line in (*explained(found), *(f"- {one}" for one in since)):
        out.line(line)


@optimize.command()
@click.argument("ref", metavar="REF#VARIANT")
@json_option
def recipe(ref: str, as_json: bool) -> None:
    """Print a variant's recipe: a file to share, for `optimize apply`.

    Example: modelworks optimize recipe fraud:1.2.0#int8-static > int8.json
    """
    with here(_WHY) as factory:
        with platform("optimize"):
            from modelworks.core.optimizing.recipes import write_recipe

            verbs = factory.optimizing
        found = verbs.variant(ref)
    if as_json:
        Output(as_json=True).document(found.recipe)
    else:
        click.echo(write_recipe(found.recipe), nl=False)


optimize.add_command(diverge)
optimize.add_command(make)
