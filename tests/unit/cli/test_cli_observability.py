"""`observability init` and `logs`, as they are typed."""

import json

import pytest

from modelworks.cli.exits import Exit

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("system", ["prometheus", "alertmanager", "grafana", "elastic", "otel"])
def test_files_are_written_once_and_never_over_a_change(type_, home, tmp_path, system):
    words = ["observability", "init", system, "-o", str(tmp_path / "o"), "--webhook", "http://h/x"]
    done = type_(*words, "--json")
    assert done.code == Exit.OK
    paths = [one["path"] for one in done.json["files"]]
    assert all((tmp_path / "o" / path).exists() for path in paths)
    assert "same" in type_(*words).out
    (tmp_path / "o" / paths[0]).write_text("mine")
    refused = type_(*words)
    assert refused.code == Exit.CONFLICT
    assert "was changed by hand" in refused.err
    assert "replaced" in type_(*words, "--force").out


def test_a_server_that_cannot_be_scraped_is_refused(type_, home, tmp_path):
    words = ["observability", "init", "prometheus", "-o", str(tmp_path), "--server", "unix:///s"]
    done = type_(*words)
    assert done.code == Exit.INVALID
    assert "cannot be scraped" in done.err


def test_without_a_server_it_says_how_to_name_one(type_, home, tmp_path):
    done = type_("observability", "init", "prometheus", "-o", str(tmp_path))
    assert "--server URL" in done.err


def test_logs_are_searched(type_, home):
    home.create()
    (home.logs / "server.log").write_text(
        "2020-11-22 10:00:00,250 INFO 7 modelworks.serving fraud is ready\n"
        "2020-11-22 10:00:01,250 ERROR 7 modelworks.serving it broke\nbecause\n"
    )
    done = type_("logs", "--level", "error")
    assert done.out.splitlines()[0].endswith("error    server it broke")
    assert done.out.splitlines()[1] == "    because"
    [line] = type_("logs", "--model", "fraud", "--json").json
    assert (line["message"], line["level"]) == ("fraud is ready", "info")
    assert "no line of the logs" in type_("logs", "--since", "1h").err
    assert json.loads(type_("logs", "--grep", "[", "--json").out)["field"] == "grep"
    assert type_("logs", "--since", "soon").code == Exit.INVALID
