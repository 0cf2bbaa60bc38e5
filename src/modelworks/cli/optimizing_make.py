"""`optimize make`: the files of a recipe's form."""

from pathlib import Path

import click

from modelworks.cli.context import here, json_option, platform
from modelworks.cli.optimizing import SECONDS
from modelworks.cli.output import Output

_FILE = click.Path(path_type=Path)
_WHY = "forms are made where the registry is"


@click.command()
@click.argument("recipe", type=_FILE)
@click.argument("ref")
@click.option("--into", type=_FILE, required=True, metavar="FOLDER", help="For the files.")
@click.option("--calibration", type=_FILE, help="Rows for the passes.")
@click.option("--label", default="", metavar="COL", help="What was true of them.")
@click.option("--budget", type=SECONDS, default="10m", show_default=True, help="Of time.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@json_option
def make(  # noqa: PLR0913, PLR0917 - an option each
    recipe: Path,
    ref: str,
    into: Path,
    calibration: Path | None,
    label: str,
    budget: float,
    seed: int,
    as_json: bool,
) -> None:
    """Make one form by a recipe and write its files; it is not measured, judged or kept.

    For what this machine cannot run: plans for TensorRT, JAX for GPUs and TPUs.

    \b
    echo '{"steps": [{"name": "jax_export"}]}' > jax.json
    modelworks optimize make jax.json fraud:1.3.0 --into fraud-jax
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    with here(_WHY) as factory:
        with platform("optimize"):
            from modelworks.cli.rows import read_text
            from modelworks.control.optimizing.asked import Asked
            from modelworks.core.optimizing.recipes import read_recipe
            from modelworks.core.optimizing.variants import Goal
            from modelworks.optimize.data import Asked as Rows

            read = read_recipe(read_text(recipe, "recipe"))
            verbs = factory.optimizing
        rows = Rows(calibration, None, label, (), seed)
        asked = Asked(Goal(budget_s=budget), rows, recipe=read)
        with out.progress() as say:
            found = verbs.make(ref, asked, into, say)
    if as_json:
        out.document(found)
        return
    for name in found.files:
        out.line(str(into / name))
    for note in found.notes:
        out.note(note)
