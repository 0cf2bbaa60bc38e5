"""`why-not`: what keeps a version out of production."""

import click

from modelworks.cli.context import json_option, platform, rollouts
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output


@click.command("why-not")
@click.argument("ref")
@json_option
def why_not(ref: str, as_json: bool) -> Exit | None:
    """Say which gates keep a version out of production, with the evidence and the cure.

    The exit code is 9 while one does.

    Example: modelworks why-not fraud:2.0.0
    """
    out = Output(as_json=as_json)
    with rollouts() as verbs:
        with platform("roll-outs"):
            from modelworks.rollout.why_not import why_not as answered
        version, gates = verbs.gates(ref)
    found = answered(version, gates)
    if as_json:
        out.document(found)
    else:
        out.line(found.sentence)
        for sentence in found.sentences:
            out.line(f"- {sentence}")
    return None if found.ready else Exit.GATE
