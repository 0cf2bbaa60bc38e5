"""The engine `genai`: the contract of sessions that generate, its process, its folder."""

import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError, UnavailableError
from modelworks.core.generation import Finish, Prompt, Sampling
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import Conversing, EngineOptions
from modelworks.ext.engines.language import session as sessions
from modelworks.plugins.load import load
from modelworks.plugins.sniffing import ask
from modelworks.testing.generating import GeneratingContract, Told, generated
from tiny_decoder import STORY, TEMPLATE, WIDE, tiny_decoder

pytestmark = pytest.mark.contract
LONG = Sampling(max_tokens=100_000, temperature=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_decoder(tmp_path_factory.mktemp("genai") / "model")


def opened(folder, **extra):
    options = EngineOptions(extra=tuple((name, str(value)) for name, value in extra.items()))
    return load("engines", "genai")().load(folder, options)


@pytest.fixture(scope="module")
def kept(folder):
    """One session for those who leave it as it is, and another when somebody closed it."""
    sessions = [opened(folder)]
    yield sessions
    sessions[0].close()


@pytest.fixture
def session(kept, folder):
    if not kept[0].processes():
        kept[0] = opened(folder)
    return kept[0]


def story(session):
    return generated(session, "one two", Sampling(max_tokens=20, temperature=0.0)).text


class TestGenai(GeneratingContract):
    """Over the decoder that is made in a moment."""

    prompt = " two three two three two"  # taught: it goes on so

    @pytest.fixture
    def session(self, session):
        return session


def test_it_knows_how_conversations_are_written(session):
    assert isinstance(session, Conversing)
    assert (session.context, session.adapters) == (512, ("backwards",))
    assert session.outstanding == 4 * 8 * 512
    said = session.chat([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
    assert said == "<system>a\n<user>b\n<assistant> one"
    with pytest.raises(InvalidError, match="roles are system, user and assistant"):
        session.chat([{"role": "judge", "content": "b"}])


def test_a_conversation_that_no_message_holds_is_refused_and_its_process_lives(session):
    before = session.processes()
    with pytest.raises(InvalidError, match="characters") as caught:
        session.chat([{"role": "user", "content": "\u2744" * (6 << 20)}])
    assert caught.value.field == "messages"
    assert session.chat([{"role": "user", "content": "b"}]).startswith("<user>b")
    assert session.processes() == before


def test_characters_come_whole_though_their_bytes_are_tokens(session):
    told = generated(session, WIDE[0], Sampling(max_tokens=20, temperature=0.0))
    assert told.text == WIDE[1:]
    assert sum(piece.tokens for piece in told.pieces) == 6
    assert {piece.text for piece in told.pieces} >= {"❄"}


def test_a_prefix_is_kept_for_the_prompt_that_begins_alike_and_for_no_other(session):
    prompt = " five six two nine" * 4 + " six"
    first = generated(session, prompt).pieces[-1]
    again = generated(session, prompt)
    assert (first.cached_tokens, again.pieces[-1].cached_tokens) == (0, first.prompt_tokens - 1)
    other = Told()
    session.generate(Prompt(prompt, "backwards"), Sampling(max_tokens=2, temperature=0.0), other)
    assert other.wait().cached_tokens == 0


def test_nothing_is_kept_where_there_is_no_room(folder):
    session = opened(folder, prefix_mib=0)
    prompt = " five six two nine" * 4
    assert [generated(session, prompt).pieces[-1].cached_tokens for _ in range(2)] == [0, 0]
    session.close()


def test_more_than_it_takes_are_refused(folder):
    session = opened(folder, slots=1, queue=1)
    open_ = [Told(), Told()]
    stops = [session.generate(Prompt(TestGenai.prompt), LONG, told) for told in open_]
    try:
        with pytest.raises(UnavailableError, match="slots, queue"):
            session.generate(Prompt(TestGenai.prompt), LONG, Told())
    finally:
        for stop in stops:
            stop()
    assert all(told.wait().finish is not None for told in open_)
    assert story(session) == STORY.removeprefix("one two")
    session.close()


def test_rows_are_continued_as_an_ordinary_inference(session):
    rows = np.array([b"one two", b" nine"], object)
    [found] = session.infer({"text_input": rows})
    assert found.tolist() == [STORY.removeprefix("one two").encode(), b" ten."]
    for wrong in ({}, {"nobody": rows}, {"text_input": np.array([1.0])}):
        with pytest.raises(InvalidError):
            session.infer(wrong)


def test_a_killed_process_ends_what_is_open_and_another_one_takes_over(folder):
    session = opened(folder, slots=2)
    changes, stands = [], threading.Event()

    def changed(why):
        changes.append(why)
        if not why:
            stands.set()

    session.watch(changed)
    told = [Told() for _ in range(4)]
    for one in told:
        session.generate(Prompt(TestGenai.prompt), LONG, one)
    [pid] = session.processes()
    os.kill(pid, signal.SIGKILL)
    lasts = [one.wait() for one in told]
    assert {last.finish for last in lasts} <= {Finish.ERROR, Finish.LENGTH}
    assert all("SIGKILL" in last.error for last in lasts if last.finish is Finish.ERROR)
    assert stands.wait(60)
    assert "SIGKILL" in changes[0]
    assert session.processes() != (pid,)
    assert story(session) == STORY.removeprefix("one two")
    session.close()
    assert session.processes() == ()


def test_a_process_that_lived_for_a_while_starts_again_at_once(folder, monkeypatch):
    """However often others ended before it."""
    monkeypatch.setattr(sessions, "_WAITS", (0.0, 3600.0))
    monkeypatch.setattr(sessions, "_HEALTHY_S", 0.0)
    session = opened(folder)
    try:
        for _ in range(2):
            stands = threading.Event()
            session.watch(lambda why, stands=stands: why or stands.set())
            os.kill(session.processes()[0], signal.SIGKILL)
            assert stands.wait(60)
    finally:
        session.close()


def test_a_process_that_ended_as_it_became_ready_leaves_nobody_waiting(folder):
    """Its end was told before the session had it: nobody who is let in after that hears of it."""
    session = opened(folder)
    told, stands = Told(), threading.Event()
    session.watch(lambda why: why or stands.set())
    session.generate(Prompt(TestGenai.prompt), Sampling(max_tokens=400, seed=1), told)
    session._fallen.set()
    assert told.wait().finish in {Finish.ERROR, Finish.STOP, Finish.LENGTH}
    assert stands.wait(60)
    assert story(session) == STORY.removeprefix("one two")
    session.close()


def test_a_template_that_never_ends_costs_its_process_and_no_more(folder, tmp_path):
    endless = shutil.copytree(folder, tmp_path / "endless")
    loop = (
        "{% if messages[0].content == 'go' %}{% for a in range(99999) %}{% for b in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}"
    )
    (endless / "chat_template.jinja").write_text(loop + TEMPLATE)
    session = opened(endless, row_s=3)
    stands = threading.Event()
    session.watch(lambda why: why or stands.set())
    with pytest.raises(UnavailableError, match="took longer than 3 s"):
        session.chat([{"role": "user", "content": "go"}])
    assert stands.wait(60)
    assert session.chat([{"role": "user", "content": "b"}]).startswith("<user>b")
    session.close()


def test_what_can_never_fit_is_refused_unread(session):
    for reads in (session.count, lambda text: session.generate(Prompt(text), LONG, Told())):
        with pytest.raises(InvalidError, match="3000000 characters"):
            reads("a" * 3_000_000)
        with pytest.raises(InvalidError, match="no room"):
            session.generate(Prompt("a" * 1000), LONG, Told())


@pytest.mark.parametrize(
    ("extra", "field"),
    [({"slots": 0}, "slots"), ({"row_s": "soon"}, "row_s"), ({"nobody": 1}, "nobody")],
)
def test_options_that_cannot_be_are_refused(folder, extra, field):
    with pytest.raises(InvalidError) as caught:
        opened(folder, **extra)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("model.onnx", "cut"),
        ("model.onnx", "noise"),
        ("tokenizer.json", "cut"),
        ("tokenizer.json", "empty"),
        ("adapters/backwards.onnx_adapter", "noise"),
    ],
)
def test_damaged_files_are_refused_in_one_line(folder, tmp_path, file, harm):
    harmed = shutil.copytree(folder, tmp_path / "harmed")
    data = (harmed / file).read_bytes()
    made = {"cut": data[: len(data) // 3], "empty": b"", "noise": os.urandom(400)}[harm]
    (harmed / file).write_bytes(made)
    with pytest.raises(ModelworksError) as caught:
        opened(harmed)
    assert "\n" not in caught.value.message
    assert str(tmp_path) not in caught.value.message


# -- the importer


def imported(folder, into):
    into.mkdir()
    importer = load("importers", "genai")()
    sniffed = importer.sniff(folder)
    assert sniffed is not None
    assert (sniffed.format, sniffed.runs_code) == ("genai", False)
    return importer.read(folder, into, ImportOptions())


def test_what_belongs_to_a_model_is_copied_and_nothing_else(folder, tmp_path):
    source = shutil.copytree(folder, tmp_path / "source")
    (source / "notes.txt").write_text("x")
    (source / "evil.so").write_bytes(b"\x7fELF")
    found = imported(source, tmp_path / "into")
    files = {str(p.relative_to(tmp_path / "into")) for p in (tmp_path / "into").rglob("*")}
    assert files == {
        *("genai_config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx"),
        *("chat_template.jinja", "adapters", "adapters/backwards.onnx_adapter"),
    }
    assert any("evil.so" in note for note in found.notes)
    session = opened(tmp_path / "into")
    assert story(session) == STORY.removeprefix("one two")
    session.close()


def test_a_folder_is_known_by_its_configuration_and_told_what_it_lacks(folder, tmp_path):
    asked = ask(folder)
    assert asked.best is not None
    assert asked.best[0].name == "genai"  # it has a `model.onnx` too
    source = shutil.copytree(folder, tmp_path / "source")
    (source / "tokenizer.json").unlink()
    with pytest.raises(InvalidError, match=r"no tokenizer\.json"):
        imported(source, tmp_path / "into")


def test_links_to_elsewhere_are_refused(folder, tmp_path):
    source = shutil.copytree(folder, tmp_path / "source")
    (source / "tokenizer.json").unlink()
    (source / "tokenizer.json").symlink_to(folder / "tokenizer.json")
    with pytest.raises(InvalidError, match="link"):
        imported(source, tmp_path / "into")


def test_a_folder_that_loads_code_is_refused(folder, tmp_path):
    source = shutil.copytree(folder, tmp_path / "source")
    config = json.loads((source / "genai_config.json").read_text())
    config["model"]["decoder"]["session_options"]["custom_ops_library"] = "evil.so"
    (source / "genai_config.json").write_text(json.dumps(config))
    with pytest.raises(RefusedError, match="custom_ops_library"):
        imported(source, tmp_path / "into")
