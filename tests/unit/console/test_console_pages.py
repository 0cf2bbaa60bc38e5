"""The pages over a real registry: what they show, what they never let through."""

import asyncio
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from modelworks.client.endpoints import register
from modelworks.console.pages import install
from modelworks.control.endpoints import Watch
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.model import Evidence, Lineage, Verdict
from modelworks.core.optimizing.variants import Gate
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.registry.publish import Publication
from modelworks.testing.candidates import variant

pytestmark = pytest.mark.unit

EVIL = "<script>alert(1)</script>"
SIGNATURE = Signature((TensorSpec(EVIL, Datatype.FP32, (None, 2)),), (), Layout.MATRIX)


class Pages:
    """Asks an app, without a socket."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.get(path)

        return asyncio.run(ask())


@pytest.fixture
def pages(home: Home, tmp_path: Path) -> Iterator[Pages]:
    folder = tmp_path / "artifact"
    folder.mkdir()
    with Factory(home, actor="ana") as factory:
        for number in range(3):
            (folder / "model.onnx").write_text(str(number))
            evidence = (
                Evidence("parity", Verdict.ACCEPTED, EVIL, {"rows": 512, EVIL: EVIL}),
                Evidence("sandbox", Verdict.PASSED, "no network"),
            )
            lineage = Lineage(source_name=EVIL, run=EVIL, git_branch=EVIL, git_commit="abc")
            factory.publish(
                Publication("fraud", folder, "onnx", SIGNATURE, lineage, evidence, tags=("eu",))
            )
        factory.set_alias("fraud", "champion", "1.1.0", EVIL)
        app = FastAPI()
        register(factory.home, "up", "http://127.0.0.1:9", "up", (EVIL,))
        watch = Watch(factory.home)
        install(app, factory, watch, factory.watching)
        watch.look()
        yield Pages(app)
        watch.close()


def test_a_version_shows_its_variants(pages, home, tmp_path):
    with Factory(home) as factory:
        made = variant(factory.show("fraud"), gates=(Gate("agreement", Verdict.PASSED, EVIL),))
        factory.add_variant(made, tmp_path / "artifact")
    text = pages.get("/console/models/fraud").text
    assert text.count("<h3>Variants</h3>") == 1
    for told in ("int8", "x86-64 avx2", "1.00x (1), 1.00x (16)", "30 %", "front"):
        assert told in text
    assert EVIL not in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


PATHS = ("/", "/console/live", "/console/models/fraud", "/console/models/fraud/live")


@pytest.mark.parametrize("path", PATHS)
def test_pages_are_whole_and_carry_no_foreign_or_inline_code(pages, path):
    answer = pages.get(path)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    tags = _Tags()
    tags.feed(answer.text)
    assert tags.open == []
    for tag, attributes in tags.seen:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if tag == "script":
            assert attributes["src"] == "/console/static/console.js"
        for name in ("src", "href", "data-source"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
    assert EVIL not in answer.text


def test_the_first_page_shows_models_aliases_and_endpoints(pages):
    text = pages.get("/").text
    assert "/console/models/fraud" in text
    assert re.search(r"champion <b>1\.1\.0</b>", text)
    assert "http://127.0.0.1:9" in text
    assert "does not answer" in text


def test_a_models_page_shows_versions_evidence_and_history(pages):
    text = pages.get("/console/models/fraud").text
    for wanted in ("1.0.0", "1.1.0", "1.2.0", "parity accepted", "sandbox passed", "512", "ana"):
        assert wanted in text
    assert "sha256:" in text


@pytest.mark.parametrize("name", ["nope", "..%2f..", "%3Cscript%3E", "BAD"])
def test_an_unknown_model_is_a_page_too(pages, name):
    answer = pages.get(f"/console/models/{name}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text


def test_an_empty_factory_says_how_to_begin(home):
    app = FastAPI()
    with Factory(home) as factory:
        install(app, factory, Watch(home), factory.watching)
        text = Pages(app).get("/").text
    assert "modelworks import" in text
    assert "modelworks serve" in text


@pytest.mark.parametrize("name", ["console.css", "console.js", "act.js", "icon.svg"])
def test_assets_are_ours_and_ask_for_nothing_else(pages, name):
    answer = pages.get(f"/console/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    links = re.findall(r"https?://[^\s\"')]+", answer.text)
    assert [link for link in links if "www.w3.org/2000/svg" not in link] == []


@pytest.mark.parametrize("name", ["nope.js", "..%2f__init__.py", "../pages.py", ""])
def test_other_files_are_not_served(pages, name):
    assert pages.get(f"/console/static/{name}").status_code == 404


def test_templates_ship_with_the_package():
    names = {item.name for item in files("modelworks.console").joinpath("templates").iterdir()}
    assert {"base.html", "home.html", "model.html", "overview.html"} <= names
