"""Folders of language models that come from anywhere, and their chat templates."""

import json

import pytest

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError, UnsupportedError
from modelworks.ext.engines.language.template import Template
from modelworks.ext.formats import genai, language

pytestmark = pytest.mark.unit
GOOD = {
    "type": "llama",
    "context_length": 64,
    "bos_token_id": 0,
    "eos_token_id": [1, 2],
    "decoder": {
        "filename": "model.onnx",
        "head_size": 8,
        "num_key_value_heads": 2,
        "num_hidden_layers": 3,
        "session_options": {"log_id": "x", "provider_options": []},
    },
}
ENDLESS = "{% for a in range(90000) %}{% for b in range(90000) %}xxxxxxxx{% endfor %}{% endfor %}"
ASKED = [{"role": "user", "content": "hello"}]


@pytest.fixture
def folder(tmp_path):
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    write(tmp_path, GOOD)
    return tmp_path


def write(folder, model):
    (folder / "genai_config.json").write_text(json.dumps({"model": model}))


def test_what_a_folder_says(folder):
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "hi"})
    )
    found = genai.read(folder)
    assert (found.context, found.ends, found.begin, found.kind) == (64, (1, 2), 0, "llama")
    assert found.token_bytes == 2 * 4 * 3 * 2 * 8
    assert (found.template, found.marks) == ("hi", {"bos_token": "<s>", "eos_token": "</s>"})
    (folder / "chat_template.jinja").write_text("file")
    assert genai.read(folder).template == "file"


def changed(**more):
    return {**GOOD, **more}


def decoder(**more):
    return changed(decoder={**GOOD["decoder"], **more})


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (None, InvalidError),
        ([], InvalidError),
        (changed(decoder=None), InvalidError),
        (changed(context_length=0), InvalidError),
        (changed(context_length="many"), InvalidError),
        (changed(context_length=True), InvalidError),
        (changed(eos_token_id=None), InvalidError),
        (changed(eos_token_id=[]), InvalidError),
        (changed(vision={"filename": "v.onnx"}), UnsupportedError),
        (decoder(pipeline=[]), UnsupportedError),
        (decoder(filename="../model.onnx"), InvalidError),
        (decoder(filename="/etc/passwd"), InvalidError),
        (decoder(filename=7), InvalidError),
        (decoder(filename="nobody.onnx"), InvalidError),
        (decoder(session_options={"custom_ops_library": "a.so"}), RefusedError),
        (decoder(session_options={"enable_profiling": "/tmp/x"}), RefusedError),
        (decoder(session_options=[]), RefusedError),
        (decoder(session_options={"provider_options": 7}), InvalidError),
        (decoder(session_options={"provider_options": [7]}), InvalidError),
        (decoder(session_options={"provider_options": [{"cuda": {}}]}), UnsupportedError),
        (decoder(session_options={"provider_options": "cuda"}), InvalidError),
        (decoder(num_hidden_layers=1 << 30), InvalidError),
    ],
)
def test_what_is_not_known_to_be_data_is_refused(folder, model, kind):
    write(folder, model)
    with pytest.raises(ModelworksError) as caught:
        genai.read(folder)
    assert type(caught.value) is kind
    assert "\n" not in caught.value.message
    assert caught.value.field


def test_a_key_that_stands_twice_is_refused(folder):
    """Whoever reads the last one alone does not see what the library obeys."""
    harmless = json.dumps({"model": GOOD})
    twice = harmless.replace(
        '"session_options"', '"session_options": {"custom_ops_library": "a.so"}, "session_options"'
    )
    (folder / "genai_config.json").write_text(twice)
    with pytest.raises(InvalidError, match="twice"):
        genai.read(folder)


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "7", '{"model": 1}'])
def test_a_configuration_that_is_none_is_refused(folder, text):
    (folder / "genai_config.json").write_text(text)
    with pytest.raises(InvalidError):
        genai.read(folder)


@pytest.mark.parametrize("name", ["a b", "..", "a" * 65, "a;b"])
def test_adapters_have_plain_names(folder, name):
    (folder / "adapters").mkdir()
    (folder / "adapters" / f"{name}.onnx_adapter").write_bytes(b"x")
    with pytest.raises(InvalidError, match="adapter"):
        genai.read(folder)


def test_a_template_that_is_too_long_is_refused(folder):
    (folder / "chat_template.jinja").write_text("x" * (language.LONGEST_TEMPLATE + 1))
    with pytest.raises(InvalidError, match="longer"):
        genai.read(folder)


# -- templates


def test_a_conversation_is_written():
    text = (
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}"
        "{% if loop.last %}{% break %}{% endif %}{% endfor %}\n"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    made = Template(text, {"bos_token": "<s>"})
    assert made.write([{"role": "user", "content": " a<b "}]) == "<s>[user] a<b[assistant]"
    assert Template("", {}).write(ASKED) == "user: hello\nassistant:"


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__base__ }}{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ raise_exception.__globals__['datetime'] }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ range(1000000000) | list }}",
        ENDLESS,
        "{{ 1 // 0 }}",
        "{% if %}",
        "{{ raise_exception('never') }}",
    ],
)
def test_what_a_template_may_not_do_is_refused_at_the_load(text):
    with pytest.raises(InvalidError) as caught:
        Template(text, {})
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


def test_what_callers_write_is_no_program():
    made = Template("{{ messages[0].content }}", {})
    assert made.write([{"role": "user", "content": "{{ 7 * 7 }}"}]) == "{{ 7 * 7 }}"
