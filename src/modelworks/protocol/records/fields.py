"""What a policy does to the fields of a record, before anything is written."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from modelworks.core.records import Act, RecordPolicy
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.records import describing
from modelworks.protocol.records.pii import mask, mask_personal
from modelworks.protocol.records.vault import Vault

HEADER: Final = "header:"
KEY: Final = "hash.key"
_KEY_BYTES: Final = 32
Columns = Mapping[str, Sequence[Any]]


def headers_of(policy: RecordPolicy) -> list[str]:
    """The headers that a policy names, lower case, each once."""
    named = [*(one.field for one in policy.fields), policy.key, policy.subject]
    found = [name.removeprefix(HEADER).lower() for name in named if name.startswith(HEADER)]
    return list(dict.fromkeys(found))


def known_fields(signature: Signature) -> frozenset[str]:
    """Names that a policy may give to fields of a model, beside headers."""
    specs = (*signature.inputs, *signature.outputs)
    return frozenset({*signature.features, *(spec.name for spec in specs)})


def problem_of(policy: RecordPolicy, signature: Signature) -> str:
    """Why a policy does not fit a model; empty = it does.

    A name that the model lacks is a misspelt one, and its field would be written as it is.
    """
    known = known_fields(signature)
    named = [*(one.field for one in policy.fields), policy.key, policy.subject]
    for name in named:
        if name and name not in known and not name.startswith(HEADER):
            return f"its policy names the field '{name}', which the model does not have"
    files = {one.name for one in signature.steps if one.decode_image is not None}
    specs = specs_of(signature)
    for one in policy.fields:
        if one.act is Act.DESCRIBE:
            spec = specs.get(one.field)
            told = describing.problem_of(spec, file=one.field in files) if spec else "is a header"
            if told:
                return f"its policy describes the field '{one.field}', which {told}"
    return ""


def specs_of(signature: Signature) -> dict[str, TensorSpec]:
    """The tensor of each field: an input or an output, or the one that a feature is a part of."""
    whole = {spec.name: spec for spec in (*signature.outputs, *signature.inputs)}
    if len(signature.inputs) == 1:
        (spec,) = signature.inputs
        part = TensorSpec(spec.name, spec.datatype, spec.shape[:1])
        return {**dict.fromkeys(signature.features, part), **whole}
    return whole


def hash_key(folder: Path) -> bytes:
    """The key of an installation's hashes, 32 bytes; made once, readable by its owner only.

    Raises:
        OSError: it cannot be read or made.
    """
    path = folder / KEY
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = folder / f".{KEY}.{os.getpid()}"
    made.unlink(missing_ok=True)
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, secrets.token_bytes(_KEY_BYTES))
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(made, path)  # of several that make one, the first one's stays
    except FileExistsError:
        pass
    finally:
        made.unlink(missing_ok=True)
    return path.read_bytes()


class FieldRules:
    """Applies one model's policy.

    Args:
        policy: of the model.
        signature: of the model: what is done to an input is done to all of its features.
        key: of hashes.
        vault: called for the vault, when a value is to become a token.
    """

    def __init__(
        self,
        policy: RecordPolicy,
        signature: Signature,
        key: bytes,
        vault: Callable[[], Vault],
    ) -> None:
        self._acts = {_lower(one.field): one.act for one in policy.fields}
        if len(signature.inputs) == 1 and signature.features:
            act = self._acts.get(signature.inputs[0].name)
            if act is not None:
                self._acts = {**dict.fromkeys(signature.features, act), **self._acts}
        self._detect = policy.detect_pii
        specs = (*signature.inputs, *signature.outputs)
        self._texts = {spec.name for spec in specs if spec.datatype is Datatype.BYTES}
        if self._texts & {spec.name for spec in signature.inputs}:
            self._texts.update(signature.features)
        self._specs = specs_of(signature)
        self._key = key
        self._vault = vault
        self._tells = policy.inputs and all(act is Act.KEEP for act in self._acts.values())

    def columns(self, columns: Columns) -> dict[str, Sequence[Any]]:
        """The fields that may be written, as they may be.

        Raises:
            UnavailableError: a token is wanted, and the vault cannot be used.
        """
        if not self._acts and not self._detect:
            return dict(columns)
        kept: dict[str, Sequence[Any]] = {}
        for name, values in columns.items():
            act = self._acts.get(name, Act.KEEP)
            if act is Act.DESCRIBE:
                kept |= describing.describe(name, self._specs[name], values)
            elif act is not Act.DROP:
                kept[name] = self._column(act, values, detect=name in self._texts)
        return kept

    def one(self, field: str, value: Any) -> str:
        """One value as text, as it may be written; empty where it may not, or there is none."""
        act = self._acts.get(_lower(field), Act.KEEP)
        if value is None or value == "" or act in {Act.DROP, Act.DESCRIBE}:
            return ""
        written = self._column(act, [value], detect=True)[0]
        return written if isinstance(written, str) else _text(written)

    def error(self, status: int, message: str) -> str:
        """What a caller was told; it may quote what was sent, so often only the status stays."""
        if not self._tells:
            return f"{status}"
        return mask_personal(message) if self._detect else message

    def _column(self, act: Act, values: Sequence[Any], *, detect: bool) -> Sequence[Any]:
        if act is Act.KEEP:
            detect = detect and self._detect
            return [_without_personal(value) for value in values] if detect else values
        if act is Act.MASK:
            return [None if value is None else mask(_text(value)) for value in values]
        if act is Act.HASH:
            return [None if value is None else self._hash(value) for value in values]
        texts = [_text(value) for value in values if value is not None]
        tokens = iter(self._vault().tokens(texts))
        return [None if value is None else next(tokens) for value in values]

    def _hash(self, value: Any) -> str:
        return hmac.new(self._key, _text(value).encode(), hashlib.sha256).hexdigest()


def _lower(field: str) -> str:
    """A header's name counts in any case."""
    return field.lower() if field.startswith(HEADER) else field


def _text(value: Any) -> str:
    """One text for equal values: a number that is whole looks the same from either type."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return orjson.dumps(value).decode()


def _without_personal(value: Any) -> Any:
    if isinstance(value, str):
        return mask_personal(value)
    if isinstance(value, list):
        return [_without_personal(one) for one in value]
    return value
