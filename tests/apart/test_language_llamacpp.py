"""The engine `llamacpp`, by llama.cpp itself: `make test-llamacpp`."""

import os
import shutil
import signal
import threading
from importlib.util import find_spec

import pytest

from language_suite import GREEDY, LONG, REST, LanguageSuite, imported, opened, until
from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.generation import Prompt
from modelworks.ext.engines.language import session as sessions
from modelworks.ext.formats.gguf import MODEL
from modelworks.testing.generating import Told, generated
from tiny_decoder import tokenizer
from tiny_llama import LOOP, gguf_folder

pytestmark = [
    pytest.mark.llamacpp,
    pytest.mark.skipif(
        find_spec("llama_cpp") is None, reason="llama.cpp is not installed: make test-llamacpp"
    ),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return gguf_folder(tmp_path_factory.mktemp("gguf") / "model")


@pytest.fixture(scope="module")
def kept(written):
    """One session for those who leave it as it is, and another when somebody closed it."""
    sessions = [opened("llamacpp", written)]
    yield sessions
    sessions[0].close()


class TestLlamaCpp(LanguageSuite):
    """By llama.cpp."""

    @pytest.fixture
    def engine(self):
        return "llamacpp"

    @pytest.fixture
    def folder(self, written):
        return written

    @pytest.fixture
    def source(self, written):
        return written

    @pytest.fixture
    def session(self, session):
        return session


@pytest.fixture
def session(kept, written):
    if not kept[0].processes():
        kept[0] = opened("llamacpp", written)
    return kept[0]


@pytest.mark.parametrize("text", ["one two  three.", "snow❄ and ten", "<s>a</s>b", "\n\t é" * 9])
def test_texts_are_the_tokens_that_the_models_own_tokenizer_makes(session, text):
    assert session._texts.read(text) == tokenizer().encode(text).ids


def test_it_reads_texts_elsewhere(session):
    assert session.distant


def test_a_context_of_ones_own(written):
    session = opened("llamacpp", written, context=64, slots=2)
    assert (session.context, session.outstanding) == (64, 4 * 2 * 64)
    assert generated(session, "one two three", GREEDY).text == REST
    session.close()
    with pytest.raises(InvalidError, match="trained with 512") as caught:
        opened("llamacpp", written, context=1024)
    assert caught.value.field == "context"


def test_nothing_is_kept_where_there_is_no_room(written):
    session = opened("llamacpp", written, prefix_mib=0)
    prompt = " five six two nine" * 9
    assert [generated(session, prompt).pieces[-1].cached_tokens for _ in range(2)] == [0, 0]
    session.close()


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        (MODEL, "cut"),
        (MODEL, "noise"),
        (MODEL, "empty"),
        (MODEL, "head"),
        ("adapters/ten.gguf", "noise"),
        ("adapters/ten.gguf", "cut"),
    ],
)
def test_damaged_files_are_refused_in_one_line(written, tmp_path, file, harm):
    harmed = shutil.copytree(written, tmp_path / "harmed")
    data = (harmed / file).read_bytes()
    made = {
        "cut": data[: len(data) // 3],
        "empty": b"",
        "noise": os.urandom(400),
        "head": data[:64] + os.urandom(4000) + data[4064:],
    }[harm]
    (harmed / file).write_bytes(made)
    with pytest.raises(ModelworksError) as caught:
        opened("llamacpp", harmed)
    assert "\n" not in caught.value.message
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("letter", ["a", " ", "❄", "!", "7"])
def test_a_long_text_without_an_end_ends_no_process(tmp_path, letter):
    """This vocabulary's expression calls itself once a character."""
    written = gguf_folder(tmp_path / "model", pre="tekken", context=65_536)
    session = opened("llamacpp", written, context=65_536, slots=2)
    [pid] = session.processes()
    told = Told()
    stop = session.generate(Prompt(LOOP), LONG, told)
    with pytest.raises(InvalidError, match="no room"):
        session.generate(Prompt(letter * 1_000_000), LONG, Told())
    assert session.processes() == (pid,)
    assert not told.pieces[-1].error
    stop()
    session.close()


def test_what_goes_back_is_bounded_by_the_context(session):
    with pytest.raises(InvalidError, match="no room"):
        session.count(LOOP * 200)
    assert session.count(LOOP) == len(LOOP)


@pytest.mark.parametrize(("context", "found"), [(1 << 31, 4096), ((1 << 32) - 1, 4096), (64, 64)])
def test_a_context_that_a_file_says_is_a_number(tmp_path, context, found):
    session = opened("llamacpp", gguf_folder(tmp_path / "model", context=context), slots=1)
    assert session.context == found
    session.close()


def test_more_tokens_than_can_be_counted_are_refused(tmp_path):
    folder = gguf_folder(tmp_path / "model", context=1 << 24)
    with pytest.raises(InvalidError, match=r"more than llama\.cpp counts") as caught:
        opened("llamacpp", folder, slots=256, context=1 << 24)
    assert caught.value.field == "context"
    with pytest.raises(InvalidError, match="no prompt and answer"):
        opened("llamacpp", folder, context=1)


def test_a_process_that_ends_as_it_is_ready_is_started_again(written, monkeypatch):
    """Its end was heard before the session had it, and is not forgotten over that."""
    session = opened("llamacpp", written)
    made = sessions.Process
    first = []

    def dies(plan, hear, end):
        process = made(plan, hear, end)
        if not first:
            first.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            until(session._fallen.is_set)
        return process

    monkeypatch.setattr(sessions, "Process", dies)
    stands = threading.Event()
    session.watch(lambda why: why or stands.set())
    os.kill(session.processes()[0], signal.SIGKILL)
    assert stands.wait(60)
    assert session.processes() != tuple(first)
    assert generated(session, "one two three", GREEDY).text == REST
    session.close()


# -- the importer


def test_a_file_alone_is_a_model(written, tmp_path):
    file = shutil.copyfile(written / MODEL, tmp_path / "story.Q8_0.gguf")
    found = imported("llamacpp", file, tmp_path / "into")
    assert found.format == "gguf"
    assert "llama" in found.notes[0]
    assert "story" in found.notes[0]
    assert [each.name for each in (tmp_path / "into").iterdir()] == [MODEL]


def test_what_belongs_to_a_model_is_copied_and_nothing_else(written, tmp_path):
    source = shutil.copytree(written, tmp_path / "source")
    (source / "evil.so").write_bytes(b"\x7fELF")
    imported("llamacpp", source, tmp_path / "into")
    into = tmp_path / "into"
    files = {str(file.relative_to(into)) for file in into.rglob("*")}
    assert files == {MODEL, "adapters", "adapters/ten.gguf"}
    session = opened("llamacpp", into)
    assert generated(session, "one two three", GREEDY).text == REST
    session.close()


def test_what_is_no_model_is_refused(written, tmp_path):
    with pytest.raises(InvalidError, match=r"cannot load ten\.gguf"):
        imported("llamacpp", written / "adapters" / "ten.gguf", tmp_path / "a")
    part = shutil.copyfile(written / MODEL, tmp_path / "story-00001-of-00002.gguf")
    with pytest.raises(UnsupportedError, match="--merge"):
        imported("llamacpp", part, tmp_path / "c")
    source = shutil.copytree(written, tmp_path / "source")
    (source / MODEL).unlink()
    (source / MODEL).symlink_to(written / MODEL)
    with pytest.raises(InvalidError, match="link"):
        imported("llamacpp", source, tmp_path / "b")
