"""Jobs through the SDK and the command line, against a real server."""

import json

import numpy as np
import pytest

from jobs_desk import Receiver, body
from modelworks.cli.main import main
from modelworks.client.data import DataPlane
from modelworks.client.jobs import Submitting
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError
from modelworks.core.jobs import CallbackState, JobState
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server
from recording_server import until

pytestmark = pytest.mark.real
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    path = models.double(folder / "double.onnx")
    arguments = ["--file", str(path), "--jobs", str(folder / "jobs")]
    with Server([*arguments, "--jobs-outside", "127.0.0.1"]) as found:
        yield found


@pytest.fixture
def plane(server):
    found = DataPlane(server.url)
    yield found
    found.close()


def test_a_job_gives_what_inference_gives(plane):
    made = plane.submit("double", {"x": ROWS})
    assert made.state is JobState.QUEUED
    np.testing.assert_array_equal(
        plane.outputs(made.id)["y"], plane.infer("double", {"x": ROWS})["y"]
    )
    assert plane.jobs.show(made.id).state is JobState.DONE
    versioned = plane.submit("double:1.0.0", {"x": ROWS})
    assert plane.jobs.wait(versioned.id).version == "1.0.0"


def test_a_key_makes_it_the_same_job_and_the_list_has_it_once(plane):
    told = Submitting(key="sdk")
    first, again = (plane.submit("double", {"x": ROWS}, told) for _ in range(2))
    assert first.id == again.id
    assert [job.id for job in plane.jobs.every(1000)].count(first.id) == 1
    with pytest.raises(ConflictError):
        plane.submit("double", {"x": ROWS + 1}, told)


def test_pages_of_the_list_join_without_gap_or_repeat(plane):
    made = [plane.submit("double", {"x": ROWS}).id for _ in range(5)]
    few = [job.id for job in plane.jobs.every(5)]
    assert few == made[::-1]


def test_inputs_by_url_and_a_callback(plane):
    def act(handler):
        handler.say(200, body(1, 1, 1) if handler.command == "GET" else b"")

    with Receiver(act) as hook:
        told = Submitting(inputs_url=f"{hook.url}/rows", callback=f"{hook.url}/hook")
        made = plane.submit("double", {}, told)
        assert plane.outputs(made.id)["y"].tolist() == [[2.0, 2.0, 2.0]]
        until(lambda: plane.jobs.show(made.id).callback_state is CallbackState.DELIVERED)
        assert [method for method, *_ in hook.came] == ["GET", "POST"]


def test_what_cannot_be_is_told_as_inference_tells_it(plane):
    with pytest.raises(NotFoundError):
        plane.submit("nope", {"x": ROWS})
    with pytest.raises(InvalidError):
        plane.jobs.submit("double", b"{}")
    with pytest.raises(NotFoundError):
        plane.jobs.show("nope")


def command(capfd, server, *words):
    code = main(["jobs", *words, "--url", server.url])
    return code, capfd.readouterr().out


def test_the_command_line_goes_round(server, capfd, tmp_path):
    request = tmp_path / "request.json"
    request.write_bytes(body(1, 2, 3))
    code, out = command(capfd, server, "submit", "double", "--request", str(request))
    job = out.strip()
    assert code == 0
    code, out = command(capfd, server, "result", job, "--wait", "30")
    assert json.loads(out)["outputs"][0]["data"] == [2.0, 4.0, 6.0]
    code, out = command(capfd, server, "show", job)
    assert "state      done" in out
    code, out = command(capfd, server, "show", job, "--json")
    assert json.loads(out)["state"] == "done"
    code, out = command(capfd, server, "list", "--state", "done", "--model", "double")
    assert job in out
    assert command(capfd, server, "cancel", job)[0] == 5
    words = ("submit", "double", "--inputs", '{"x": [[1, 2, 3]]}', "--wait", "30")
    code, out = command(capfd, server, *words)
    assert json.loads(out) == {"y": [[2.0, 4.0, 6.0]]}
    assert command(capfd, server, "submit", "double")[0] == 2
    assert command(capfd, server, "submit", "double", "--inputs", "{")[0] == 4
    assert command(capfd, server, "submit", "double", "--request", "none.json")[0] == 3
