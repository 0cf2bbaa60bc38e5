"""`doctor`: what is installed, what can run here, and what to do about the rest."""

import click

from modelworks.cli.context import json_option, settings
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Say what is installed, what can run here, and what to do about the rest.

    Ends with 0 unless something that is needed is broken. Changes nothing.

    Example: modelworks doctor
    """
    from modelworks.cli import checks
    from modelworks.cli.findings import State

    out = Output(as_json=as_json)
    with out.progress() as say:
        say("looking around")
        told = settings()
        findings = checks.everything(told.home, told.stores)
    broken = [finding for finding in findings if finding.state is State.BROKEN]
    if as_json:
        out.document({"ok": not broken, "findings": findings})
    else:
        for finding in findings:
            mark = " (experimental)" if finding.experimental else ""
            out.line(f"{finding.state.value:<7} {finding.subject:<22} {finding.detail}{mark}")
            if finding.cure:
                out.line(f"{'':<7} {'':<22} -> {finding.cure}")
        out.line(f"{len(broken)} broken" if broken else "all that is needed works")
    return Exit.FAILURE if broken else Exit.OK
