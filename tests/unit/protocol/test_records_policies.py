"""What a policy does to fields, tokens and their vault, and the key of hashes."""

import hashlib
import hmac
import sqlite3
import stat
from dataclasses import replace

import pytest

from modelworks.core.errors import UnavailableError
from modelworks.core.records import Act, FieldPolicy, RecordPolicy
from modelworks.core.steps import DecodeImage, InputSteps
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.protocol.records.fields import FieldRules, hash_key, headers_of, problem_of
from modelworks.protocol.records.vault import Vault

pytestmark = pytest.mark.unit
KEY = b"k" * 32
TABLE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 2)),),
    (TensorSpec("y", Datatype.FP32, (None, 1)),),
    Layout.MATRIX,
    ("age", "income"),
)
TEXTS = Signature(
    (TensorSpec("text", Datatype.BYTES, (None, 1)), TensorSpec("n", Datatype.INT64, (None, 1))),
    (TensorSpec("y", Datatype.BYTES, (None, 1)),),
)


def rules(tmp_path, *fields, signature=TEXTS, **more):
    policy = RecordPolicy(1.0, fields=tuple(FieldPolicy(*one) for one in fields), **more)
    return FieldRules(policy, signature, KEY, lambda: Vault(tmp_path))


def hashed(text):
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def test_each_act(tmp_path):
    columns = {"text": ["Ann 1", None], "n": [5, 6]}
    assert rules(tmp_path, ("text", Act.DROP)).columns(columns) == {"n": [5, 6]}
    assert rules(tmp_path, ("text", Act.MASK)).columns(columns)["text"] == ["*** *", None]
    found = rules(tmp_path, ("text", Act.HASH), ("n", Act.HASH)).columns(columns)
    assert found == {"text": [hashed("Ann 1"), None], "n": [hashed("5"), hashed("6")]}
    tokens = rules(tmp_path, ("text", Act.TOKENIZE)).columns(columns)["text"]
    assert tokens[0].startswith("tok_")
    assert tokens[1] is None
    assert rules(tmp_path, ("text", Act.TOKENIZE)).columns(columns)["text"] == tokens


def test_a_number_has_one_hash_whatever_its_type(tmp_path):
    made = rules(tmp_path, ("n", Act.HASH))
    assert made.columns({"n": [5]}) == made.columns({"n": [5.0]})
    assert made.columns({"n": [5.5]}) != made.columns({"n": [5]})


def test_what_is_done_to_an_input_is_done_to_its_features_unless_they_are_named(tmp_path):
    columns = {"age": [41.0], "income": [9.0], "y": [0.5]}
    made = rules(tmp_path, ("x", Act.DROP), signature=TABLE)
    assert made.columns(columns) == {"y": [0.5]}
    made = rules(tmp_path, ("x", Act.DROP), ("age", Act.KEEP), signature=TABLE)
    assert made.columns(columns) == {"age": [41.0], "y": [0.5]}


def test_personal_data_is_masked_in_texts_unless_that_is_turned_off(tmp_path):
    columns = {"text": ["to a@b.de", ["c@d.de"]]}
    assert rules(tmp_path).columns(columns) == {"text": ["to *@*.**", ["*@*.**"]]}
    assert rules(tmp_path, detect_pii=False).columns(columns) == columns
    assert rules(tmp_path, detect_pii=False, signature=TABLE).columns({"y": [1]}) == {"y": [1]}


def test_what_a_caller_was_told_stays_only_where_all_that_was_sent_may(tmp_path):
    assert rules(tmp_path).error(400, "bad a@b.de") == "bad *@*.**"
    assert rules(tmp_path, detect_pii=False).error(400, "bad a@b.de") == "bad a@b.de"
    assert rules(tmp_path, ("text", Act.HASH)).error(400, "'Ann' is no number") == "400"
    assert rules(tmp_path, inputs=False).error(400, "'Ann' is no number") == "400"


def test_one_value_as_text(tmp_path):
    made = rules(tmp_path, ("header:X-User", Act.HASH), ("n", Act.DROP))
    assert made.one("header:x-user", "ann") == hashed("ann")
    assert made.one("n", 5) == ""
    assert made.one("text", "") == ""
    assert made.one("y", 5.0) == "5"


def test_a_misspelt_field_is_told(tmp_path):
    policy = RecordPolicy(1.0, fields=(FieldPolicy("agee", Act.DROP),))
    assert "'agee'" in problem_of(policy, TABLE)
    assert "'who'" in problem_of(RecordPolicy(1.0, subject="who"), TABLE)
    good = RecordPolicy(1.0, fields=(FieldPolicy("header:X-A", Act.KEEP),), key="age", subject="x")
    assert problem_of(good, TABLE) == ""
    assert headers_of(good) == ["x-a"]


def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    folder = tmp_path / "records"
    key = hash_key(folder)
    assert len(key) == 32
    assert hash_key(folder) == key
    assert [path.name for path in folder.iterdir()] == ["hash.key"]
    assert stat.S_IMODE((folder / "hash.key").stat().st_mode) == 0o600


def test_a_forgotten_value_is_in_the_vault_no_more_and_comes_back_with_another_token(tmp_path):
    vault, other = Vault(tmp_path), Vault(tmp_path)
    (token,) = vault.tokens(["Erika Musterfrau"])
    assert other.tokens(["Erika Musterfrau", "x"])[0] == token
    assert other.value(token) == "Erika Musterfrau"
    assert other.forget([token, "tok_none"]) == 1
    assert vault.value(token) == ""
    assert b"Erika" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    (again,) = vault.tokens(["Erika Musterfrau"])
    assert again != token
    assert vault.find("Erika Musterfrau") == again
    vault.close()
    other.close()


def test_a_vault_that_cannot_be_written_says_so(tmp_path):
    vault = Vault(tmp_path)
    vault.close()
    with pytest.raises(UnavailableError, match="cannot be used"):
        vault.tokens(["a"])
    (tmp_path / "vault.db").write_bytes(b"no database" * 100)
    with pytest.raises(UnavailableError) as told:
        Vault(tmp_path)
    assert isinstance(told.value.__cause__, sqlite3.Error)


PICTURES = Signature(
    (TensorSpec("pixels", Datatype.FP32, (None, 1, None, None)),),
    (TensorSpec("y", Datatype.FP32, (None, 10)),),
)


def test_a_text_is_described_and_not_kept(tmp_path):
    columns = {"text": ["Ann lives in Bonn", None], "n": [5, 6]}
    found = rules(tmp_path, ("text", Act.DESCRIBE)).columns(columns)
    assert found.keys() == {"text.length", "text.words", "text.letters", "n"}
    assert found["text.length"] == [17.0, None]
    assert found["text.letters"][0] in {"latin", "space"}
    assert "Ann" not in str(found)
    assert rules(tmp_path, ("text", Act.DESCRIBE)).one("text", "Ann") == ""


def test_a_picture_is_described_whatever_its_size(tmp_path):
    made = rules(tmp_path, ("pixels", Act.DESCRIBE), signature=PICTURES)
    images = [[[[0.0, 1.0], [1.0, 0.0]]], [[[3.0, 3.0], [3.0, 3.0]]]]
    assert made.columns({"pixels": images, "y": [1, 2]}) == {
        "pixels.brightness": [0.5, 3.0],
        "pixels.contrast": [0.5, 0.0],
        "pixels.sharpness": [1.0, 0.0],
        "y": [1, 2],
    }
    broken = made.columns({"pixels": [None, images[0]]})
    assert broken["pixels.brightness"] == [None, 0.5]


def test_what_cannot_be_described_is_told():
    def told(field, signature):
        policy = RecordPolicy(1.0, fields=(FieldPolicy(field, Act.DESCRIBE),))
        return problem_of(policy, signature)

    assert told("text", TEXTS) == told("pixels", PICTURES) == ""
    assert "'n', which is neither text nor a picture" in told("n", TEXTS)
    assert "'age', which is neither" in told("age", TABLE)
    assert "'header:X-A', which is a header" in told("header:X-A", TABLE)
    steps = (InputSteps("text", decode_image=DecodeImage(8, 8)),)
    assert "only the server opens" in told("text", replace(TEXTS, steps=steps))
