"""The watch's pages over a real database: what they show, empty, stale and in trouble."""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import httpx
import pytest
from fastapi import FastAPI

import watched_models
from modelworks.console import watch
from modelworks.console.pages import install
from modelworks.control.endpoints import Watch
from modelworks.control.service import Factory
from modelworks.core.errors import UnavailableError
from modelworks.core.home import Home
from modelworks.testing.candidates import candidate
from watched_models import EVIL

pytestmark = pytest.mark.unit


def get(app, path):
    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path)

    return asyncio.run(ask())


def app_of(factory, watched=None):
    app = FastAPI()
    install(app, factory, Watch(factory.home), watched or factory.watching)
    return app


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    with Factory(Home(folder / "home")) as factory:
        factory.publish(candidate(folder / "work", b"model", "fraud"))
        watched_models.fill(factory)
        yield factory


@pytest.fixture(scope="module")
def app(factory):
    return app_of(factory)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in {"meta", "link", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


PATHS = (
    *("/console/watch", "/console/watch?since=7d", "/console/watch-live?since=1d"),
    *("/console/watch/fraud", "/console/watch/churn?since=6h", "/console/watch/fraud/live"),
)


@pytest.mark.parametrize("path", PATHS)
def test_pages_are_whole_and_carry_no_foreign_or_inline_code(app, path):
    answer = get(app, path)
    assert answer.status_code == 200, answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    tags = Tags(answer.text)
    assert tags.open == []
    assert len(set(tags.ids)) == len(tags.ids)
    for tag, attributes in tags.seen:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if tag == "script":
            assert attributes["src"] == "/console/static/console.js"
        for name in ("src", "href", "data-source"):
            link = attributes.get(name) or "/"
            assert link.startswith(("/", "#")) or link == "https://wiki.example/slow"
    assert EVIL not in answer.text


def test_at_a_glance_what_fires_comes_first(app):
    text = get(app, "/console/watch").text
    names = re.findall(r'href="/console/watch/(\w+)"', text)
    assert names == ["fraud", "churn"]  # not by name: something fires about fraud
    assert "accuracy measured 0.91" in text
    assert re.search(r"<td>income</td>", text)  # the farthest one
    rows = re.findall(r"<tr>\s*<td><span class=\"verdict.*?</tr>", text, re.DOTALL)
    assert ["Slow" in row for row in rows] == [True, False]  # who is told comes first
    assert "nobody: silenced by" in rows[1]
    assert "as routed" in rows[0]
    assert 'href="https://wiki.example/slow"' in rows[0]
    assert "<span>1 of them silent</span>" in text


def test_a_models_page_ranks_what_moved_by_its_cost(app):
    text = get(app, "/console/watch/fraud?since=6h").text
    table = text[text.index('id="moved"') :]
    assert table.index(">age<") < table.index(">income<") < table.index("&lt;script&gt;")
    assert "missing 25 %" in table
    assert table.count(">alarm<") == 1  # of income, whose evidence is above 0
    assert "churn" not in text


def test_curves_are_told_in_words_and_have_holes_where_windows_are_missing(app):
    text = get(app, "/console/watch/fraud?since=6h").text
    (label,) = re.findall(r'aria-label="(Latency, 99th percentile[^"]*)"', text)
    assert "from 55 to 59" in label
    figure = text[text.index('id="plot-latency-99th-percentile"') :]
    path = re.search(r'<path class="curve c0" d="([^"]*)"', figure).group(1)
    assert path.count("M") == 2
    assert all(0 <= float(n) <= 620 for n in re.findall(r"[\d.]+", path))


def test_an_installation_that_nobody_watches_says_so(home):
    with Factory(home) as factory:
        app = app_of(factory)
        text = get(app, "/console/watch").text
        assert "Nobody watches" in text
        assert "No model was asked anything" in text
        assert "Nothing fires" in text
        assert get(app, "/console/watch/fraud").status_code == 404


def test_a_registered_model_that_nobody_asked_has_a_page(home, tmp_path):
    with Factory(home) as factory:
        factory.publish(candidate(tmp_path / "work", b"model", "fraud"))
        answer = get(app_of(factory), "/console/watch/fraud")
        assert answer.status_code == 200
        assert "Nothing was measured in this time" in answer.text
        assert "modelworks reference set fraud:VERSION" in answer.text


@pytest.mark.parametrize(("ago", "said"), [(20.0, False), (600.0, True)])
def test_what_is_old_is_said_to_be(home, ago, said):
    with Factory(home) as factory:
        watched_models.fill(factory, looked_s=ago)
        text = get(app_of(factory), "/console/watch").text
    assert ("its last look was 10 minutes ago" in text) is said
    assert ('id="stale"' in text) is said
    assert "the disk is full &lt;script&gt;" in text  # a duty that fails


@pytest.mark.parametrize("path", ["/console/watch", "/console/watch-live", "/console/watch/fraud"])
def test_a_database_that_does_not_answer_is_a_page_too(factory, path):
    class Gone:
        series = factory.watching.series

        def board(self, model, since, until):
            raise UnavailableError(f"the database does not answer {EVIL}")

    answer = get(app_of(factory, Gone()), path)
    assert answer.status_code == 503  # the page's script says so, and tries again
    assert "does not answer &lt;script&gt;" in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/console/watch?since=1y", 400),
        ("/console/watch/*", 400),
        ("/console/watch/BAD", 400),
        ("/console/watch/nope", 404),
    ],
)
def test_what_is_not_there_is_said(app, path, status):
    answer = get(app, path)
    assert answer.status_code == status
    assert "Cannot be shown" in answer.text


def test_a_board_of_all_is_made_once_for_all_who_look(factory, monkeypatch):
    made = []

    class Counted:
        series = factory.watching.series

        def board(self, model, since, until):
            made.append(until - since)
            return factory.watching.board(model, since, until)

    boards = watch.Boards(Counted())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(boards.of, ["1h"] * 8))
    assert len(made) == 1
    assert len({id(one) for one in found}) == 1
    boards.of("6h")
    assert made == pytest.approx([3600, 6 * 3600])
    clock = time.monotonic
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock() + 61)
    boards.of("1h")
    assert len(made) == 3
