"""Hostile archives: PyTorch's, skops', numpy's; and safetensors."""

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from corpus.gadgets import commands
from corpus.kinds import ANY, EITHER, Hostile, of_bytes
from corpus.opcodes import name, whole
from modelworks.core.errors import InvalidError
from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Datatype, TensorSpec

TORCH, SKOPS, ARRAYS = "PyTorch files", "skops archives", "Arrays and safetensors"
_FACTORY = "def build():\n    import torch\n    return torch.nn.Linear(3, 2)\n"
_INPUT = (TensorSpec("x", Datatype.FP32, (None, 3)),)


def _zip(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {each: archive.read(each) for each in archive.namelist()}


def _weights() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(torch.nn.Linear(3, 2).state_dict(), file)
    return file.getvalue()


def with_pickle(data: bytes) -> bytes:
    """Weights whose pickle is another one."""
    members = _members(_weights())
    return _zip(
        {each: data if each.endswith("data.pkl") else kept for each, kept in members.items()}
    )


def _gadget(module: str, attribute: str) -> Callable[[Path], bytes]:
    return lambda canary: with_pickle(whole(name(module, attribute)(commands(canary)[0]), 2))


def _legacy(canary: Path) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(torch.nn.Linear(3, 2).state_dict(), file, _use_new_zipfile_serialization=False)
    data = file.getvalue()
    third = 0
    for _ in range(3):  # magic number, version, system
        third += len(data[third:]) - len(_after(data[third:]))
    return data[:third] + whole(name("os", "system")(commands(canary)[0]), 2)


def _after(data: bytes) -> bytes:
    file = io.BytesIO(data)
    pickle.load(file)
    return file.read()


def _magic(canary: Path) -> bytes:
    """A legacy file whose magic number is the result of a call."""
    call = name("builtins", "eval")(f"[{commands(canary)[1]}, 0x1950a86a20f9469cfc6c][1]")
    return whole(call, 2) + _legacy(canary)


def _flipped(data: bytes) -> bytes:
    """Every member marked as encrypted in the directory, which some loaders do not look at."""
    found = bytearray(data)
    at = found.find(b"PK\x01\x02")
    while at >= 0:
        found[at + 8] |= 1
        at = found.find(b"PK\x01\x02", at + 4)
    return bytes(found)


def _wrong_sum(data: bytes) -> bytes:
    """Checksums that do not fit, which makes scanners give up and loaders not."""
    found = bytearray(data)
    for magic, offset in ((b"PK\x01\x02", 16), (b"PK\x03\x04", 14)):
        at = found.find(magic)
        while at >= 0:
            found[at + offset] ^= 0xFF
            at = found.find(magic, at + 4)
    return bytes(found)


def _renamed_inside(data: bytes) -> bytes:
    """The directory calls the member otherwise than the member itself."""
    at = data.rindex(b"data.pkl")
    return data[:at] + b"data.txt" + data[at + 8 :]


def _twice(data: bytes) -> bytes:
    members = _members(data)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for member, content in members.items():
            archive.writestr(member, content)
        first = next(each for each in members if each.endswith("data.pkl"))
        archive.writestr(first, b"\x80\x02}.")
    return file.getvalue()


def _overlapping() -> bytes:
    """A thousand names for the same bytes: 1 MB in a few KiB, and that many times."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1 << 20))
    data = file.getvalue()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry, directory = data[start:end], b""
    for number in range(1000):
        directory += entry.replace(b"a/data.pkl", f"a/{number:08}".encode())
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(directory), start, 0)
    return data[:start] + directory + tail


def _torch(
    title: str, tries: str, data: Callable[[Path], bytes], says: str, **more: object
) -> Hostile:
    suffix = str(more.pop("suffix", ".pt"))

    def make(folder: Path, canary: Path) -> Path:
        (folder / "factory.py").write_text(_FACTORY)
        path = folder / f"{title}{suffix}"
        path.write_bytes(data(canary))
        return path

    error = more.pop("error", EITHER)
    options = ImportOptions(inputs=_INPUT)
    return Hostile(
        title, TORCH, tries, make, says, error=error, options=options, needs="torch", **more
    )  # type: ignore[arg-type]


def torches() -> tuple[Hostile, ...]:
    """What `torch.load` would believe."""
    evil = _gadget("os", "system")
    return (
        _torch("torch-zip", "a command in data.pkl", evil, "system", sings=False),
        _torch("torch-named-bin", "the same, called .bin", evil, "system", suffix=".bin"),
        _torch("torch-from-bytes", "a pickle inside the pickle",
               _gadget("torch.storage", "_load_from_bytes"), "_load_from_bytes"),
        _torch("torch-execwrapper", "runs text as code",
               _gadget("torch.jit.unsupported_tensor_ops", "execWrapper"), "execWrapper"),
        _torch("torch-inductor", "runs a command",
               _gadget("torch._inductor.codecache", "compile_file"), "compile_file"),
        _torch("torch-rebuild-wrapped", "a rebuild function around a command",
               lambda c: with_pickle(whole(name("torch._tensor", "_rebuild_from_type_v2")(
                   name("os", "system"), name("builtins", "object"), (commands(c)[0],), {}), 2)),
               "system"),
        _torch("torch-legacy-stream", "a command in the old format", _legacy, "system"),
        _torch("torch-legacy-magic", "a magic number that is a call", _magic,
               r"eval|means nothing"),
        _torch("torch-tar", "the oldest format", _tar, "old versions of PyTorch"),
        _torch("torch-encrypted-flags", "flag bits that stop scanners",
               lambda c: _flipped(evil(c)), "encrypted"),
        _torch("torch-wrong-checksums", "checksums that stop scanners",
               lambda c: _wrong_sum(evil(c)), r"damaged|Bad CRC"),
        _torch("torch-renamed-member", "a member of two names",
               lambda c: _renamed_inside(evil(c)), r"one thing in its directory|no file"),
        _torch("torch-two-members", "two members of one name", lambda c: _twice(_weights()),
               "two members of one name"),
        _torch("torch-behind-a-pickle", "a pickle before the archive",
               lambda c: whole(name("os", "system")(commands(c)[0])) + _weights(),
               r"allow-list|begins with|means nothing"),
        _torch("torch-something-behind", "something behind the archive",
               lambda c: _weights() + b"x" * 40, "behind its end"),
        _torch("torch-climbing-member", "a member called ../../evil",
               lambda c: _zip(_members(_weights()) | {"archive/../../evil": b"x"}), "climbs out"),
        _torch("torch-overlapping", "a thousand members in the same bytes",
               lambda c: _overlapping(), r"overlap|one thing|bomb"),
        _torch("torch-bomb", "200 MiB of zeros",
               lambda c: _zip({"a/data.pkl": b"\x80\x02}.", "a/data/0": bytes(200 << 20)},
                              zipfile.ZIP_DEFLATED), "bomb"),
        _torch("torch-truncated", "cut in the middle", lambda c: _weights()[:900],
               r"truncated|damaged", error=InvalidError),
    )  # fmt: skip


def _tar(canary: Path) -> bytes:
    import tarfile

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        data = whole(name("os", "system")(commands(canary)[0]))
        info = tarfile.TarInfo("pickle")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _skops(change: Callable[[dict, Path], None]) -> Callable[[Path], bytes]:
    """An honest archive whose schema is changed."""

    def make(canary: Path) -> bytes:
        import skops.io
        from sklearn.preprocessing import StandardScaler

        members = _members(skops.io.dumps(StandardScaler().fit(np.eye(3))))
        schema = json.loads(members["schema.json"])
        change(schema, canary)
        return _zip(members | {"schema.json": json.dumps(schema).encode()})

    return make


def _set(**values: object) -> Callable[[dict, Path], None]:
    return lambda schema, canary: schema.update(values)


def _function(schema: dict, canary: Path) -> None:
    schema.update(
        __class__="system", __module__="os", __loader__="FunctionNode", content="os.system"
    )


def _partial(schema: dict, canary: Path) -> None:
    schema.update(__class__="partial", __module__="functools", __loader__="PartialNode")


def _reduced(schema: dict, canary: Path) -> None:
    schema.update(__class__="Popen", __module__="subprocess", __loader__="ReduceNode")


def _array_elsewhere(schema: dict, canary: Path) -> None:
    text = json.dumps(schema)
    start = text.index('"file": "') + 9
    stop = text.index('"', start)
    changed = json.loads(text[:start] + "../../../etc/passwd" + text[stop:])
    schema.clear()
    schema.update(changed)


def _nested(canary: Path) -> bytes:
    return _zip({"schema.json": b'{"a":' * 100_000 + b"1" + b"}" * 100_000})


def _object_array() -> bytes:
    """A numpy file whose array is a pickle."""
    file = io.BytesIO()
    np.save(file, np.array([None, {}], dtype=object), allow_pickle=True)
    return file.getvalue()


def _skops_case(
    title: str, tries: str, data: Callable[[Path], bytes], says: str, **more: object
) -> Hostile:
    maker = of_bytes(f"{title}.skops", data)
    error = more.pop("error", EITHER)
    return Hostile(title, SKOPS, tries, maker, says, error=error, needs="skops", **more)  # type: ignore[arg-type]


def skops_files() -> tuple[Hostile, ...]:
    """What `skops.io.load` would believe."""
    return (
        _skops_case("skops-function", "os.system as a function", _skops(_function), "system"),
        _skops_case("skops-class", "subprocess.Popen as an object",
                    _skops(_set(__class__="Popen", __module__="subprocess")), "Popen"),
        _skops_case("skops-reduce", "subprocess.Popen as a reduced object", _skops(_reduced),
                    r"Popen|truncated or no skops"),
        _skops_case("skops-partial", "a partial of os.system", _skops(_partial),
                    r"partial|truncated or no skops"),
        _skops_case("skops-unknown-loader", "a loader that there is not",
                    _skops(_set(__loader__="EvilNode")), r"truncated or no skops"),
        _skops_case("skops-old-protocol", "a protocol that there is not",
                    _skops(_set(protocol=999)), r"allow-list|no skops|protocol"),
        _skops_case("skops-climbing-array", "an array outside of the archive",
                    _skops(_array_elsewhere), r"truncated or no skops"),
        _skops_case("skops-climbing-member", "a member called ../evil",
                    lambda c: _zip({"schema.json": b"{}", "../evil": b"x"}), "climbs out"),
        _skops_case("skops-deep", "a schema 100,000 deep", _nested, r"truncated or no skops"),
        _skops_case("skops-bomb", "200 MiB of zeros",
                    lambda c: _zip({"schema.json": b"{}", "zeros": bytes(200 << 20)},
                                   zipfile.ZIP_DEFLATED), "bomb"),
        _skops_case("skops-empty", "an empty schema", lambda c: _zip({"schema.json": b"{}"}),
                    "truncated or no skops"),
    )  # fmt: skip


def _header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def _tensors(entries: dict, data: bytes = b"") -> Callable[[Path], bytes]:
    return lambda canary: _header(json.dumps(entries).encode(), data)


def _npy(header: str) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


def _sampled(title: str, tries: str, suffix: str, data: bytes, says: str) -> Hostile:
    """A hostile sample beside an honest model."""

    def make(folder: Path, canary: Path) -> Path:
        from sklearn.linear_model import LogisticRegression

        (folder / f"sample{suffix}").write_bytes(data)
        path = folder / "model.pkl"
        path.write_bytes(pickle.dumps(LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])))
        return path

    options = ImportOptions(sample=Path(f"sample{suffix}"))
    return Hostile(title, ARRAYS, tries, make, says, error=ANY, options=options)


def arrays() -> tuple[Hostile, ...]:
    """Arrays that are pickles, lie about their size, or stand where they should not."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

    def safe(title: str, tries: str, data: Callable[[Path], bytes], says: str) -> Hostile:
        return Hostile(title, ARRAYS, tries, of_bytes(f"{title}.safetensors", data), says,
                       error=ANY, options=ImportOptions(inputs=_INPUT), needs="torch")  # fmt: skip

    packed = io.BytesIO()
    np.savez(packed, x=np.array([None], dtype=object))
    return (
        _sampled("npy-objects", "a sample that is a pickle", ".npy", _object_array(), "npy"),
        _sampled("npz-objects", "an archive of such samples", ".npz", packed.getvalue(), "npz"),
        _sampled("npy-giant", "2**50 numbers in a small file", ".npy",
                 _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1125899906842624,), }"),
                 "npy|memory"),
        _sampled("npy-header", "a header that is code", ".npy",
                 _npy("{'descr': __import__('os').system('true'), 'shape': (1,)}"), "npy"),
        _sampled("json-deep", "a sample 100,000 deep", ".json",
                 b"[" * 100_000 + b"]" * 100_000, "json"),
        _sampled("csv-quotes", "a field without end", ".csv", b'a,b\n"' + b"x" * 1_000_000,
                 "csv"),
        Hostile("npy-as-model", ARRAYS, "an array of objects as the model",
                of_bytes("npy-as-model.npy", lambda c: _object_array()), "no model file|no pickle",
                error=InvalidError),
        safe("safetensors-length", "a header of 2**40 bytes",
             lambda c: struct.pack("<Q", 1 << 40) + b'{"a":1}' + bytes(50),
             r"no model file|header claims|factory"),
        safe("safetensors-overlap", "two tensors in the same bytes",
             _tensors({"a": entry, "b": entry}, bytes(8)), "overlap"),
        safe("safetensors-outside", "a tensor behind the end",
             _tensors({"a": entry | {"data_offsets": [1 << 40, (1 << 40) + 8]}}, bytes(8)),
             "overlap or leave gaps"),
        safe("safetensors-negative", "a shape below zero",
             _tensors({"a": entry | {"shape": [-2, -1]}}, bytes(8)), "damaged safetensors header"),
        safe("safetensors-giant", "2**60 numbers",
             _tensors({"a": entry | {"shape": [1 << 60]}}, bytes(8)), "wrong length"),
        safe("safetensors-deep", "a header 50,000 deep",
             lambda c: _header(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
             "damaged safetensors header"),
    )  # fmt: skip
