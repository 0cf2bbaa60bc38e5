"""What every engine of language models does, over the Llama of `tiny_llama`.

Subclass `LanguageSuite`, give it the fixtures `engine` (its name), `folder` (a model as it is
imported), `source` (as it comes) and `session` (one that is used for all).
"""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import openai
import pytest

from desk import Desk
from modelworks.core.errors import UNLOADED, InvalidError, UnavailableError
from modelworks.core.generation import Finish, Prompt, Sampling
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import Conversing, EngineOptions
from modelworks.plugins.load import load
from modelworks.testing.generating import GeneratingContract, Told, generated
from tiny_llama import LOOP

LONG = Sampling(max_tokens=100_000, temperature=0.0)
GREEDY = Sampling(max_tokens=20, temperature=0.0)
REST = " four five six seven eight nine ten."
_INSIDE = """
import sys
import numpy as np
from modelworks.core.errors import UnavailableError
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load

session = load("engines", sys.argv[1])().inside().load(sys.argv[2], EngineOptions(threads=1))
rows = {"text_input": np.array([b"one two three"], object)}
for _ in range(2):
    print(session.infer(rows)[0][0].decode())
session.close()
try:
    session.infer(rows)
except UnavailableError as error:
    print(error.message)
"""


def opened(engine, folder, **extra):
    options = EngineOptions(
        threads=1, extra=tuple((name, str(value)) for name, value in extra.items())
    )
    return load("engines", engine)().load(folder, options)


def imported(importer, source, into):
    """As an import does it, without its sandbox."""
    into.mkdir()
    read = load("importers", importer)()
    found = read.sniff(source)
    assert found is not None
    assert (found.confidence, found.runs_code) == (100, False)
    return read.read(source, into, ImportOptions())


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


def metric(url, name):
    """The sum of a family's samples."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


class LanguageSuite(GeneratingContract):
    """Of one engine."""

    prompt = LOOP[:3]

    def test_it_says_its_story(self, session):
        told = generated(session, "one two three", GREEDY)
        assert told.text == REST
        assert (told.pieces[-1].finish, told.pieces[-1].prompt_tokens) == (Finish.STOP, 3)

    def test_all_of_the_past_decides(self, session):
        """Whoever sees another one's text says the other letter."""
        prompts = ["CAAAAC", "CBBBBC", "AABC", "BBAC"]
        told = [Told() for _ in prompts * 3]
        for one, prompt in zip(told, prompts * 3, strict=True):
            session.generate(Prompt(prompt), Sampling(max_tokens=4, temperature=0.0), one)
        for one in told:
            one.wait()
        assert [one.text for one in told] == ["ACAC", "BCBC", "ACAC", "BCBC"] * 3

    def test_it_knows_how_conversations_are_written(self, session):
        assert isinstance(session, Conversing)
        assert (session.context, session.adapters) == (512, ("ten",))
        said = session.chat([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
        assert said == "<system>a\n<user>b\n<assistant> one"
        with pytest.raises(InvalidError, match="roles are system, user and assistant"):
            session.chat([{"role": "judge", "content": "b"}])

    def test_an_adapter_answers_beside_its_base(self, session):
        prompts = [Prompt("one two"), Prompt("one two", "ten")] * 3
        told = [Told() for _ in prompts]
        for one, prompt in zip(told, prompts, strict=True):
            session.generate(prompt, Sampling(max_tokens=3, temperature=0.0), one)
        for one in told:
            one.wait()
        assert [one.text for one in told] == [" three four five", " ten ten ten"] * 3

    def test_characters_come_whole_though_their_bytes_are_tokens(self, session):
        told = generated(session, "s", GREEDY)
        assert told.text == "now❄"
        assert sum(piece.tokens for piece in told.pieces) == 6

    def test_a_kept_prefix_changes_nothing(self, session):
        prompt = " five six two nine" * 40 + "one two three"
        first, again = generated(session, prompt, GREEDY), generated(session, prompt, GREEDY)
        assert first.text == again.text == REST
        cached = [told.pieces[-1].cached_tokens for told in (first, again)]
        assert cached[0] < cached[1] < 163
        assert cached[1] >= 128
        assert generated(session, prompt + " four", GREEDY).text == REST.removeprefix(" four")

    def test_a_seed_makes_the_same_choices(self, session):
        sampling = Sampling(max_tokens=400, temperature=2.0, seed=5)
        texts = {generated(session, LOOP, sampling).text for _ in range(3)}
        other = Sampling(max_tokens=400, temperature=2.0, seed=6)
        assert len(texts) == 1
        assert generated(session, LOOP, other).text not in texts

    def test_the_context_ends_an_answer(self, session):
        told = generated(session, LOOP * 42, LONG)  # 504 of 512 tokens
        assert told.pieces[-1].finish is Finish.LENGTH
        assert told.text == (LOOP * 2)[:8]
        with pytest.raises(InvalidError, match="no room"):
            session.generate(Prompt(LOOP * 43), LONG, Told())

    def test_rows_are_continued_as_an_ordinary_inference(self, session):
        rows = np.array([b"one two three", b" nine"], object)
        [found] = session.infer({"text_input": rows})
        assert found.tolist() == [REST.encode(), b" ten."]
        with pytest.raises(InvalidError):
            session.infer({"nobody": rows})

    def test_what_can_never_fit_is_refused_unread(self, session):
        for reads in (session.count, lambda text: session.generate(Prompt(text), LONG, Told())):
            with pytest.raises(InvalidError, match="3000000 characters"):
                reads("a" * 3_000_000)

    def test_inside_the_sandbox_it_answers_the_same(self, engine, folder):
        done = subprocess.run(
            [sys.executable, "-c", _INSIDE, engine, str(folder)],
            check=False,
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.splitlines()[-3:] == [REST, REST, UNLOADED]

    def test_more_than_it_takes_are_refused_and_a_killed_process_starts_again(self, engine, folder):
        session = opened(engine, folder, slots=1, queue=1)
        changes, stands = [], threading.Event()
        session.watch(lambda why: changes.append(why) or why or stands.set())
        told = [Told(), Told()]
        for one in told:
            session.generate(Prompt(self.prompt), LONG, one)
        with pytest.raises(UnavailableError, match="slots, queue"):
            session.generate(Prompt(self.prompt), LONG, Told())
        [pid] = session.processes()
        os.kill(pid, signal.SIGKILL)
        lasts = [one.wait() for one in told]
        assert {last.finish for last in lasts} <= {Finish.ERROR, Finish.LENGTH}
        assert stands.wait(60)
        assert session.processes() != (pid,)
        assert generated(session, "one two three", GREEDY).text == REST
        session.close()
        assert session.processes() == ()
        assert "SIGKILL" in changes[0]

    def test_the_whole_line_by_public_commands(self, engine, source, tmp_path):
        """Imported in the sandbox, served, asked by OpenAI's own client, and left."""
        desk = Desk(tmp_path)
        assert desk.mw("import", str(source), "--name", "story").out == "story:1.0.0\n"
        with desk.running("serve", "story", "--port", "0") as server:
            client = openai.OpenAI(base_url=f"{server.said['url']}/v1", api_key="none")
            hello = [{"role": "user", "content": "hello"}]
            whole = client.chat.completions.create(model="story", messages=hello, temperature=0)
            assert whole.choices[0].message.content == " two three" + REST
            assert whole.usage.completion_tokens == 10
            ten = client.completions.create(
                model="story:ten", prompt="one", max_tokens=3, temperature=0
            )
            assert (ten.choices[0].text, ten.choices[0].finish_reason) == (" ten ten ten", "length")
            asked = {"model": "story", "prompt": LOOP, "temperature": 0, "stream": True}
            with client.completions.create(**asked, max_tokens=400) as stream:
                begun = "".join(next(stream).choices[0].text for _ in range(5))
            assert begun
            assert (LOOP * 40).startswith(begun)
            until(lambda: metric(server.said["url"], "modelworks_generations_open") == 0)
            client.close()
