"""`jobs`: requests that a server runs later."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output
from modelworks.client.data import DataPlane, model_path
from modelworks.client.jobs import Submitting
from modelworks.core import codec
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.ids import iso
from modelworks.core.jobs import CallbackState, Job, JobState
from modelworks.core.reference import parse_ref

F = TypeVar("F", bound=Callable[..., Any])
_MOST = 1000


def _url(command: F) -> F:
    """`--url`; the command gets the server as `plane`."""

    @click.option("--url", default="", help="Of the model server (default MODELWORKS_SERVER).")
    @wraps(command)
    def asked(*arguments: Any, url: str, **options: Any) -> Any:
        with _plane(url) as plane:
            return command(*arguments, plane=plane, **options)

    return cast("F", asked)


@contextmanager
def _plane(url: str) -> Iterator[DataPlane]:
    found = settings()
    plane = DataPlane(url or found.server, found.tls, found.key)
    try:
        yield plane
    finally:
        plane.close()


@click.group()
def jobs() -> None:
    """Have a server run requests later: accepted is on its disk.

    The server keeps jobs where it was started with --jobs FOLDER.

    \b
    modelworks jobs submit fraud --inputs '{"x": [[1.0, 2.0, 3.0]]}' --wait 60
    modelworks jobs submit fraud --request request.json --callback https://hooks.example.com/done
    modelworks jobs list --state queued
    modelworks jobs result JOB
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@jobs.command()
@click.argument("model")
@click.option("--inputs", default="", metavar="JSON", help="Input name -> numbers or texts.")
@click.option(
    "--request", "request", default="", metavar="FILE|-", help="A whole inference request, JSON."
)
@click.option("--inputs-url", default="", metavar="URL", help="Where that request lies.")
@click.option("--callback", default="", metavar="URL", help="Whom to tell of its end.")
@click.option("--key", default="", help="The same key is the same job (default: a new one).")
@click.option(
    "--within", default=0, type=click.IntRange(0), metavar="S", help="To have its answer in."
)
@click.option("--wait", default=0.0, metavar="S", help="For its end, and print its result.")
@_url
@json_option
def submit(  # noqa: PLR0913, PLR0917 - click's parameters
    model: str,
    inputs: str,
    request: str,
    inputs_url: str,
    callback: str,
    key: str,
    within: int,
    wait: float,
    plane: DataPlane,
    as_json: bool,
) -> None:
    """Submit a job; prints its id once it is on the server's disk.

    \b
    modelworks jobs submit fraud --inputs '{"x": [[1.0, 2.0, 3.0]]}' --wait 60
    modelworks jobs submit fraud --request request.json --key order-7
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    if sum(map(bool, (inputs, request, inputs_url))) != 1:
        raise click.UsageError("give --inputs, --request or --inputs-url, one of them")
    out = Output(as_json=as_json)
    told = Submitting(key, callback, inputs_url, within)
    if request:
        kind = {"Content-Type": "application/json"}
        path = model_path(parse_ref(model))
        made = plane.jobs.submit(path, _read(request), kind, told)
    else:
        made = plane.submit(model, _tensors(inputs) if inputs else {}, told)
    if not wait:
        return out.document(codec.encode(made)) if as_json else out.line(made.id)
    if not as_json:
        out.note(f"job {made.id}")
    sys.stdout.write(_text(plane, made.id, wait) + "\n")
    return None


@jobs.command("list")
@click.option("--state", type=click.Choice([state.value for state in JobState]))
@click.option("--model", default="", help="Of those only.")
@click.option(
    "--callback",
    type=click.Choice([state.value for state in CallbackState]),
    help="Of those whose end was told so only: dead are callbacks that nobody took.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, _MOST))
@_url
@json_option
def list_(
    state: str | None, model: str, callback: str | None, limit: int, plane: DataPlane, as_json: bool
) -> None:
    """List your jobs, newest first.

    \b
    modelworks jobs list --state queued
    modelworks jobs list --callback dead
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    wanted = {"state": state, "model": model, "callback": callback}
    found = list(plane.jobs.every(limit, **{k: v for k, v in wanted.items() if v}))
    if as_json:
        return out.document([codec.encode(job) for job in found])
    rows = [
        (job.id, _named(job), job.state, iso(job.created_ns)[:19], job.error[:60]) for job in found
    ]
    return out.table(("JOB", "MODEL", "STATE", "ACCEPTED", "ERROR"), rows, "no jobs")


@jobs.command()
@click.argument("job")
@_url
@json_option
def show(job: str, plane: DataPlane, as_json: bool) -> None:
    """Say how a job stands.

    \b
    modelworks jobs show 01a2088e-c41b-7cb0-91cc-5109345455f0
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    _show(Output(as_json=as_json), plane.jobs.show(job))


@jobs.command()
@click.argument("job")
@click.option("--wait", default=0.0, metavar="S", help="For its end.")
@_url
@json_option
def result(job: str, wait: float, plane: DataPlane, as_json: bool) -> None:  # noqa: ARG001 - it is JSON anyway
    """Print what a job gave, as inference would have.

    \b
    modelworks jobs result 01a2088e-c41b-7cb0-91cc-5109345455f0 --wait 60
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    sys.stdout.write(_text(plane, job, wait) + "\n")


@jobs.command()
@click.argument("job")
@_url
@json_option
def cancel(job: str, plane: DataPlane, as_json: bool) -> None:
    """Let a job go that has not ended.

    \b
    modelworks jobs cancel 01a2088e-c41b-7cb0-91cc-5109345455f0
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    _show(Output(as_json=as_json), plane.jobs.cancel(job))


def _show(out: Output, job: Job) -> None:
    if out.as_json:
        return out.document(codec.encode(job))
    times = {"accepted": job.created_ns, "started": job.started_ns, "ended": job.ended_ns}
    out.line(f"job        {job.id}")
    out.line(f"model      {_named(job)}")
    out.line(f"state      {job.state}")
    if job.position is not None:
        out.line(f"before it  {job.position}")
    for word, at in times.items():
        if at:
            out.line(f"{word:<10} {iso(at)}")
    out.line(f"attempts   {job.attempts}")
    if job.error:
        out.line(f"error      {job.error}")
    if job.callback:
        why = f": {job.callback_error}" if job.callback_error else ""
        tries = f"{job.callback_state}, tried {job.callback_tries} times{why}"
        out.line(f"callback   {job.callback} ({tries})")
    return None


def _named(job: Job) -> str:
    return f"{job.model}:{job.version}" if job.version else job.model


def _text(plane: DataPlane, job: str, wait: float) -> str:
    """A result as JSON; binary tensors as lists."""
    found = plane.jobs.wait_for(job, wait) if wait else plane.jobs.result(job)
    if "Inference-Header-Content-Length" not in found.headers:
        return found.body.decode()
    outputs = plane.outputs(job)
    return json.dumps({name: _plain(array) for name, array in outputs.items()})


def _plain(array: Any) -> Any:
    values = array.tolist()
    return json.loads(json.dumps(values, default=lambda text: text.decode("utf-8", "replace")))


def _tensors(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidError(f"--inputs is no JSON: {error}", field="inputs") from error
    if not isinstance(found, dict):
        raise InvalidError('--inputs: {"NAME": [...]} is wanted', field="inputs")
    return found


def _read(place: str) -> bytes:
    if place == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(place).read_bytes()
    except OSError as error:
        raise NotFoundError(f"no file {place}", field="request") from error
