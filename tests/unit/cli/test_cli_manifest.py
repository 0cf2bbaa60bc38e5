"""`modelworks manifest`, as it is typed."""

import io
import json
import sys

import pytest

from modelworks.cli.exits import Exit

pytestmark = pytest.mark.unit
GOOD = """\
kind: Deployment
metadata: {name: fraud}
spec: {model: fraud, target: local}
---
kind: Overlay
spec: {environment: production, of: {kind: Deployment, name: fraud}, patch: {replicas: 2}}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "modelworks.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_manifest(type_, file):
    shown = type_("manifest", "lint", str(file))
    assert (shown.code, shown.out) == (Exit.OK, "")
    assert "good: Deployment fraud" in shown.err
    assert "not looked at: the overlays of production" in shown.err
    found = type_("manifest", "lint", str(file), "-e", "production", "--json").json
    assert found["ok"]
    assert found["environments"] == ["production"]
    assert found["documents"][0]["spec"]["replicas"] == 2


def test_a_wrong_one_is_told_line_by_line(type_, file):
    file.write_text(GOOD.replace("model:", "modell:"))
    shown = type_("manifest", "lint", str(file))
    assert shown.code == Exit.INVALID
    assert f"{file}:3:8: spec.modell: there is no such key: did you mean 'model'?" in shown.err
    found = type_("manifest", "lint", str(file), "--json")
    assert found.code == Exit.INVALID
    assert found.json["ok"] is False
    assert [(p["line"], p["path"]) for p in found.json["problems"]] == [
        (3, "spec.model"),
        (3, "spec.modell"),
    ]


def test_folders_and_standard_input(type_, file, monkeypatch):
    assert "good: Deployment fraud" in type_("manifest", "lint", str(file.parent)).err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert type_("manifest", "lint", "-").code == Exit.OK


def test_files_that_are_not_there(type_, tmp_path):
    assert type_("manifest", "lint", str(tmp_path / "no.yaml")).code == Exit.NOT_FOUND
    assert type_("manifest", "lint", str(tmp_path)).code == Exit.NOT_FOUND
    assert type_("manifest", "lint").code == Exit.USAGE


def test_the_schema_is_one_document(type_):
    found = type_("manifest", "schema", "--json").json
    assert json.loads(type_("manifest", "schema").out) == found
    assert found["properties"]["kind"]["enum"] == ["Deployment", "Route", "Overlay"]
