"""The `modelworks` command: finds the sub-command, and turns errors into exit codes."""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Any, NamedTuple, NoReturn, cast

import click

from modelworks.cli.exits import MEANINGS, Exit, Terminated, of_error
from modelworks.cli.human import printable
from modelworks.core.errors import ModelworksError

# name -> (module below cli.commands, attribute, what the list of commands says). The sentence
# stands here so that `--help` need not import a single command.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "import": ("imports", "import_model", "Bring a model file in: check, convert, register."),
    "models": ("listing", "models", "List every model."),
    "versions": ("listing", "versions", "List a model's versions."),
    "show": ("listing", "show", "Show one version: signature, evidence, lineage."),
    "compare": ("listing", "compare", "Compare two versions field by field."),
    "variants": ("variants", "variants", "List the forms of a version, and what they gain."),
    "alias": ("alias", "alias", "Point a name such as champion at a version."),
    "history": ("alias", "history", "Show where aliases pointed, and when."),
    "tag": ("annotate", "tag", "Add or remove a version's tags."),
    "label": ("annotate", "label", "Set or remove a version's labels."),
    "verify": ("upkeep", "verify", "Check stored files against their digests."),
    "delete": ("upkeep", "delete", "Delete a version or a model; end deployments."),
    "backup": ("backup", "backup", "Write the registry and its files into one file; check one."),
    "restore": ("backup", "restore", "Fill an empty installation from a backup."),
    "collect": ("upkeep", "collect", "Remove stored files that no version needs."),
    "environments": (
        "environments",
        "environments",
        "Show, make, remove Python environments of their own.",
    ),
    "optimize": ("optimize", "optimize", "Find a faster form of a version, proved on your rows."),
    "shard": ("stages", "shard", "Cut a model too large for one process into stages."),
    "stage": ("stages", "stage", "Run one stage of a model for pipelines on other hosts."),
    "package": ("package", "package", "Make a container image of a version, without an engine."),
    "serve": ("serve", "serve", "Serve models over HTTP on this machine."),
    "graph": ("graph", "graph", "Check graphs of models, and keep them as versions."),
    "gateway": ("gateway", "gateway", "Serve one address for many model servers."),
    "predict": ("predict", "predict", "Ask a running server for predictions."),
    "generate": ("generate", "generate", "Have a model continue a text, piece by piece."),
    "jobs": ("jobs", "jobs", "Have requests run later: submit, list, fetch, cancel."),
    "events": ("events", "events", "Answer messages of NATS, MQTT or Kafka with a model's."),
    "bench": ("bench", "bench", "Put load on an endpoint: throughput, latency, a comparison."),
    "evaluate": ("evaluate", "evaluate", "Measure predictions whose truth is known, by slice."),
    "tensorboard": ("evaluate", "tensorboard", "Write training curves for TensorBoard."),
    "explain-latency": (
        "explain_latency",
        "explain_latency",
        "Say where a served model's time goes, and what would help.",
    ),
    "explain": ("explain", "explain", "Say what each feature did to a model's answers."),
    "fairness": ("fairness", "fairness", "Compare a model's decisions between groups; a gate."),
    "robustness": ("robustness", "robustness", "Spoil rows, and say how a model's answers hold."),
    "manifest": ("manifest", "manifest", "Check manifests; print their schema for editors."),
    "keys": ("keys", "keys", "Make, list and revoke API keys."),
    "routes": ("routes", "routes", "Check routes, move shares, give and revoke their keys."),
    "plan": ("deploying", "plan", "Say what apply would do with a manifest, field by field."),
    "diff": ("deploying", "diff", "Show what apply would change, natively too."),
    "apply": ("deploying", "apply", "Make deployments what a manifest says."),
    "status": ("deployments", "status", "Show deployments and what runs of them."),
    "rollback": ("deployments", "rollback", "Go back to an earlier revision."),
    "revisions": ("deployments", "revisions", "List a deployment's revisions."),
    "export": ("deploying", "export", "Write a target's own objects, for git."),
    "rollout": ("rollout", "rollout", "Move traffic to another version, on evidence."),
    "replay": ("replay", "replay", "Play recorded traffic to a candidate before users see it."),
    "experiment": ("experiment", "experiment", "Say how many requests a comparison takes."),
    "drill": ("drill", "drill", "Break a candidate on purpose, see that it is rolled back."),
    "why-not": ("why_not", "why_not", "Say what keeps a version out of production."),
    "targets": ("deployments", "targets", "List where deployments can run."),
    "watch": ("watch", "watch", "Show what the models do: traffic, drift, quality, alerts."),
    "diagnose": ("diagnose", "diagnose", "Say what changed when a model went wrong."),
    "records": ("records", "records", "List, export, erase what was recorded."),
    "feedback": ("feedback", "feedback", "Tell what became of predictions, from files."),
    "drift": ("drift", "drift", "Compare data with what a model was trained on."),
    "reference": ("drift", "reference", "Make references for drift, give them to versions."),
    "quality": ("quality", "quality", "Say how a model's quality is watched: slices, task."),
    "audit": ("deployments", "audit", "Show who did what."),
    "alerts": ("alerts", "alerts", "Show, silence, acknowledge alerts; test and apply rules."),
    "ci": ("ci", "ci", "Write pipelines for CI systems."),
    "proxies": ("proxies", "proxies", "Write routes for Envoy, HAProxy, nginx and Traefik."),
    "observability": (
        "observability",
        "observability",
        "Write configuration for Prometheus, Grafana, Elastic and others.",
    ),
    "logs": ("logs", "logs", "Search the logs of this installation."),
    "up": ("up", "up", "Run the whole factory here: console, registry, server."),
    "doctor": ("doctor", "doctor", "Say what is installed, what can run, and the cures."),
    "demo": ("demo", "demo", "Train small models and take them through the whole line."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is run or its own help is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of a model's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        found = getattr(import_module(f"modelworks.cli.commands.{module}"), attribute)
        return cast("click.Command", found)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in `--help`, from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row[2]) for name, row in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Exit codes and environment, which scripts rely on."""
        with formatter.section("Environment"):
            formatter.write_dl(
                [
                    ("MODELWORKS_HOME", "data folder (default ~/.modelworks)"),
                    ("MODELWORKS_DATABASE", "postgresql://... instead of a file in that folder"),
                    ("MODELWORKS_ARTIFACTS", "s3://, gs://, az:// or a folder, for the files"),
                    ("MODELWORKS_URL", "control plane to talk to instead of the local registry"),
                    ("MODELWORKS_SERVER", "model server (default http://127.0.0.1:8000)"),
                    ("MODELWORKS_KEY", "API key for both, where they ask for one"),
                    ("MODELWORKS_CA", "authorities (PEM) of both, where they speak https"),
                    ("MODELWORKS_DEBUG", "1 shows the traceback of an unexpected failure"),
                ]
            )
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"modelworks {version('modelworks')}")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Print the version and exit.",
)
def cli() -> None:
    """Take trained models to production and keep them healthy there.

    \b
    modelworks import model.joblib --name fraud
    modelworks serve fraud
    modelworks predict fraud --rows '[{"age": 41, "income": 52000}]'

    Every command takes --json: one JSON document on stdout; an error is then
    {"error", "kind", "field", "exit_code"} there too.
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; never a traceback.

    Args:
        argv: without the program's name; None = the process's own.
    """
    _standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    if threading.current_thread() is not threading.main_thread():
        return _run(arguments, as_json=as_json)  # signals are the main thread's business
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(arguments, as_json=as_json)
    finally:
        signal.signal(signal.SIGTERM, before)


def _standard_streams() -> None:
    """Open what the caller has closed (`>&-`), on nothing.

    Else the next file that is opened, the registry's for one, takes the number of stdout, and
    what is printed goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - a number, for good
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - the same


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _run(arguments: list[str], *, as_json: bool) -> int:
    """The command line, every error mapped."""
    try:
        outcome: Any = cli.main(args=arguments, prog_name="modelworks", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except SystemExit:
        # click exits by itself in two cases only: a completion was asked for, or a broken pipe,
        # of which it would make exit code 1, our "unexpected failure".
        if "_MODELWORKS_COMPLETE" in os.environ:
            raise
        _close_stdout()
        return Exit.BROKEN_PIPE
    except (Exception, KeyboardInterrupt, Terminated) as error:  # noqa: BLE001 - users see no traceback
        if os.environ.get("MODELWORKS_DEBUG", "") not in {"", "0"}:
            traceback.print_exc()
        return _say(_problem(error), as_json=as_json)
    return int(outcome) if isinstance(outcome, int) else Exit.OK


class _Problem(NamedTuple):
    """An error as it is shown."""

    error: str
    kind: str
    field: str | None
    code: Exit


def _problem(error: BaseException) -> _Problem:
    """What to say about an exception."""
    if isinstance(error, ModelworksError):
        code, kind = of_error(error)
        return _Problem(error.message, kind, error.field, code)
    if isinstance(error, click.UsageError):
        hint = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
        return _Problem(error.format_message() + hint, "usage", None, Exit.USAGE)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return _Problem("interrupted", "interrupted", None, Exit.INTERRUPTED)
    if isinstance(error, Terminated):
        return _Problem("terminated", "interrupted", None, Exit.TERMINATED)
    text = f"{type(error).__name__}: {error} (MODELWORKS_DEBUG=1 shows where)"
    return _Problem(text, "failure", None, Exit.FAILURE)


def _say(problem: _Problem, *, as_json: bool) -> int:
    """Print an error in one line, or as the one JSON document."""
    text = printable(" ".join(problem.error.split()))
    try:
        if as_json:
            document = {
                "error": text,
                "kind": problem.kind,
                "field": problem.field,
                "exit_code": int(problem.code),
            }
            click.echo(json.dumps(document, ensure_ascii=False))
        else:
            click.echo(f"error: {text}", err=True)
    except BrokenPipeError:
        _close_stdout()
    return problem.code


def _close_stdout() -> None:
    """Point stdout at nothing, or the interpreter complains once more while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> NoReturn:
    """`python -m modelworks.cli.main`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
