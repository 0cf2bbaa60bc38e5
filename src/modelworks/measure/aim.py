"""From a URL and what a user has to send to requests that the endpoint is known to answer."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.measure.exchange import Answer, exchange, get_json
from modelworks.measure.inputs import Wanted, made_up, row_bodies, rows_of, specs_of
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.observe import Server
from modelworks.measure.processes import serving
from modelworks.measure.target import Target

_MODEL: Final = re.compile(
    r"(?P<base>.*)/v2/models/(?P<name>[^/?]+)(?:/versions/(?P<version>[^/?]+))?(?:/infer)?/?"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user wants sent.

    Attributes:
        wanted: how made-up requests look; its rows are also those of a request of plain rows.
        bodies: files' contents to send as they are; none = make up.
        content_type: of those; empty = JSON where it is JSON, else bytes.
        rows: plain rows for a Modelworks server; None = tensors.
        headers: further ones of every request.
        check: ask for the answer to every request first, to compare with later.
        pids: of the server; none = look for them.
    """

    wanted: Wanted
    bodies: tuple[bytes, ...] = ()
    content_type: str = ""
    rows: tuple[Any, ...] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    check: bool = False
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Aim:
    """What is sent, and to whom.

    Attributes:
        target: with the path that is posted to.
        bodies: what the requests carry.
        requests: whole ones.
        rows: predictions a request.
        answers: to the first request, or to all where they are to be checked.
        server: its processes and statistics.
    """

    target: Target
    bodies: tuple[Body, ...]
    requests: tuple[bytes, ...]
    rows: int
    answers: tuple[Answer, ...]
    server: Server


def aim(target: Target, asked: Asked) -> Aim:
    """Find out what the endpoint takes, and ask it once.

    Args:
        target: a model of the Open Inference Protocol (`.../v2/models/NAME[/versions/V][/infer]`),
            or any path that is posted to.
        asked: what to send.

    Raises:
        InvalidError: nothing to send, or the endpoint refuses it.
        NotFoundError: there is no such model.
        UnavailableError: nothing listens there.
    """
    match = _MODEL.fullmatch(target.path)
    answers: list[Answer] = []
    if asked.bodies:
        path = f"{_path(match)}/infer" if match else target.path
        bodies = [_given(data, asked.content_type) for data in asked.bodies]
        rows = _rows(asked)
    elif match is None:
        raise InvalidError(
            f"{target.url} is no model of the Open Inference Protocol: say with --body FILE what "
            "to post",
            field="body",
        )
    elif asked.rows is not None:
        version = f":{match['version']}" if match["version"] else ""
        path = f"{match['base']}/predict/{match['name']}{version}"
        bodies, rows = row_bodies(asked.rows, asked.wanted.rows), asked.wanted.rows
    else:
        path, rows = f"{_path(match)}/infer", asked.wanted.rows
        specs = specs_of(_metadata(target.at(_path(match))))
        bodies, first = made_up(target.at(path), specs, asked.wanted, asked.headers)
        answers.append(first)
    return _aimed(target, path, bodies, rows, asked, answers)


def _aimed(
    target: Target,
    path: str,
    bodies: Sequence[Body],
    rows: int,
    asked: Asked,
    answers: Sequence[Answer] = (),
) -> Aim:
    """The requests made, and asked as far as they were not."""
    aimed = target.at(path)
    match = _MODEL.fullmatch(target.path)
    requests = tuple(request_bytes(aimed, body, headers=asked.headers) for body in bodies)
    asking = requests[len(answers) : len(requests) if asked.check else 1]
    found = (*answers, *(_first(aimed, request) for request in asking))
    statistics = target.at(f"{_path(match)}/stats") if match else None
    server = Server(asked.pids or serving(target), statistics)
    return Aim(aimed, tuple(bodies), requests, rows, found, server)


def _path(match: "re.Match[str]") -> str:
    version = f"/versions/{match['version']}" if match["version"] else ""
    return f"{match['base']}/v2/models/{match['name']}{version}"


def _metadata(target: Target) -> Any:
    found = get_json(target)
    if found is None:
        answer = exchange(target, request_bytes(target, method="GET"))
        kind = NotFoundError if answer.status == 404 else InvalidError
        raise kind(f"{target.url}: no metadata of a model: {answer.words}", field="url")
    return found


def _first(target: Target, request: bytes) -> Answer:
    answer = exchange(target, request)
    if not answer.good:
        kind = NotFoundError if answer.status == 404 else InvalidError
        raise kind(f"{target.url} refuses the request: {answer.words}", field="body")
    return answer


def _given(data: bytes, content_type: str) -> Body:
    if content_type:
        return Body(data, content_type)
    return Body(data, "application/json" if _json(data) is not None else "application/octet-stream")


def _rows(asked: Asked) -> int:
    """Rows a request, as the first body says; else as the user says."""
    document = _json(asked.bodies[0])
    if asked.wanted.rows == 1 and isinstance(document, dict):
        return rows_of(document)
    return asked.wanted.rows


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def beside(found: Aim, asked: Asked, target: Target) -> Aim:
    """The same bodies for another endpoint, which is asked too.

    Args:
        found: of the first endpoint.
        asked: what was sent there.
        target: the other one; a model of the Open Inference Protocol, or any path.

    Raises:
        InvalidError: the other one refuses them.
        UnavailableError: nothing listens there.
    """
    if asked.rows is not None:
        return aim(target, replace(asked, pids=()))
    match = _MODEL.fullmatch(target.path)
    path = f"{_path(match)}/infer" if match else target.path
    return _aimed(target, path, found.bodies, found.rows, replace(asked, pids=()))
