"""Pickles that use the machine itself against whoever scans or loads them."""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np

from corpus.gadgets import GADGETS, commands, written
from corpus.kinds import ANY, Hostile, of_bytes
from corpus.opcodes import Ops, name, old_name, value, whole
from modelworks.core.errors import InvalidError

TRICK = "Tricks of the pickle machine"
PACKED = "Packed and hidden pickles"
COST = "Costs without end"
_LIST = "is not on the allow-list"


def _system(canary: Path) -> Ops:
    return name("os", "system")(commands(canary)[0])


def _function(canary: Path) -> bytes:
    """What cloudpickle makes of a lambda that was defined in a script."""
    import cloudpickle

    path = str(canary)
    return cloudpickle.dumps(lambda: Path(path).touch())


def _dill(canary: Path) -> bytes:
    import dill

    path = str(canary)
    return dill.dumps(lambda: Path(path).touch(), recurse=True)


def _joblib(thing: object, compress: object = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(thing, file, compress=compress)
    return file.getvalue()


class Call:
    """Pickles itself as a call."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def _call(canary: Path) -> Call:
    import os

    return Call(os.system, commands(canary)[0])


def _fitted(coefficients: object) -> object:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
    model.coef_ = coefficients
    return model


def _put_and_memoize(canary: Path) -> bytes:
    """The memo of a scanner that counts only MEMOIZE differs from the machine's."""
    puts = value("os").data + b"q\x00" + value("system").data + b"q\x01"
    decoys = value("collections").data + b"\x94" + value("OrderedDict").data + b"\x94"
    call = Ops(puts + decoys + b"h\x00h\x01\x93")(commands(canary)[0])
    return whole(call)


def _computed_name(canary: Path) -> bytes:
    """The module's name is the result of a call."""
    module = name("builtins", "str")("os")
    return whole(Ops(module.data + value("system").data + b"\x93")(commands(canary)[0]))


def _unread_memo(canary: Path) -> bytes:
    return whole(Ops(b"h\x63h\x64\x93")(commands(canary)[0]))


def _old_and_new(canary: Path) -> bytes:
    """Protocol 0 announces nothing, protocol 4's opcodes follow."""
    return value(_system(canary)).data + b"."


def _dots(canary: Path) -> bytes:
    return whole(name("sklearn", "base.sys.modules"))


def _instance(canary: Path) -> bytes:
    """INST: the oldest way to call."""
    return b"(S" + repr(commands(canary)[0]).encode() + b"\nios\nsystem\n."


def _object(canary: Path) -> bytes:
    """OBJ."""
    return b"\x80\x02(cos\nsystem\nX" + _length(commands(canary)[0]) + b"o."


def _length(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def _newobj_ex(canary: Path) -> bytes:
    args = value((commands(canary)[0],)).data + b"}"
    return b"\x80\x04" + name("subprocess", "Popen").data + args + b"\x92."


def _breaks_late(canary: Path) -> bytes:
    """Runs, then ends in an opcode that there is not."""
    return whole(_system(canary))[:-1] + b"0\xff\xfe\xfd"


def _wrong_number(canary: Path) -> bytes:
    return b"\x80\x06" + whole(_system(canary))[2:]


def _second(canary: Path) -> bytes:
    return pickle.dumps(_fitted(np.eye(4)[:1])) + whole(_system(canary))


def _lying_array(canary: Path) -> bytes:
    """A joblib wrapper whose array is announced over the opcodes that follow."""
    data = _joblib([np.zeros(4), _call(canary)])
    return data.replace(b"K\x04\x85", b"K\x02\x85", 1)


def _gadget_state(canary: Path) -> bytes:
    """The state of an honest class, made of a call."""
    return whole(name("sklearn.tree._classes", "DecisionTreeClassifier")().built(_system(canary)))


def _slots(canary: Path) -> bytes:
    """BUILD on a class: every later instance is changed."""
    thing = name("sklearn.linear_model._logistic", "LogisticRegression")
    return whole(thing.built((None, {"predict": name("builtins", "print")})))


def _class_slots(canary: Path) -> bytes:
    thing = name("sklearn.linear_model._logistic", "LogisticRegression")
    return whole(thing.built((None, {"predict": 1})))


def _spaces(canary: Path) -> bytes:
    """A GLOBAL whose name holds a space, which splits it elsewhere for some scanners."""
    return b"\x80\x02cos system\nx\n."


def _called_number(canary: Path) -> bytes:
    return b"\x80\x04K\x01)R."


def _dtype(canary: Path) -> bytes:
    """An array of numbers that says that they are objects: pointers from the file."""
    lying = name("numpy", "dtype")("V8", False, True).built(
        (3, "|", None, ("a",), {"a": (name("numpy", "dtype")("O8", False, True), 0)}, 8, 1, 0)
    )
    return whole(lying)


def _key(canary: Path) -> bytes:
    """A dictionary whose key takes 2**60 steps to hash."""
    tuples = b")" + b"2\x86" * 60
    return b"\x80\x04}" + tuples + b"K\x01s."


def _marks(canary: Path) -> bytes:
    return b"\x80\x04" + b"(" * 500_000 + b"."


def _tuples(canary: Path) -> bytes:
    return b"\x80\x04)" + b"\x85" * 300_000 + b"."


def _inner_pickles(canary: Path) -> bytes:
    """Object arrays in object arrays, each a pickle of its own."""
    wrapper = _joblib(np.array([None], dtype=object))
    start = wrapper.index(b"\x80", 2)
    return wrapper[:start] * 5000 + wrapper[start:]


def _digits(canary: Path) -> bytes:
    return b"I" + b"9" * 5_000_000 + b"\n."


def _lengths(opcode: bytes) -> Callable[[Path], bytes]:
    return lambda canary: b"\x80\x05" + opcode + struct.pack("<Q", 1 << 45) + b"x" * 50


def _shape(canary: Path) -> bytes:
    file = io.BytesIO()
    joblib.dump(np.zeros(4), file, protocol=2)  # no frames, whose lengths would tell
    return file.getvalue().replace(
        b"K\x04\x85", b"\x8a\x08" + struct.pack("<q", 1 << 50) + b"\x85", 1
    )


def _zeros(packed: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
    return lambda canary: packed(b"\x80\x04\x8e" + struct.pack("<Q", 100 << 20) + bytes(100 << 20))


def _gzip_members(canary: Path) -> bytes:
    """One honest pickle, and behind it another member with a second one."""
    return gzip.compress(pickle.dumps(_fitted(np.eye(4)[:1]))) + gzip.compress(
        written(_FIRST, canary)
    )


_FIRST = GADGETS[0]


def _polyglot(canary: Path) -> bytes:
    """A pickle that is a zip archive as well."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("schema.json", "{}")
    return whole(_system(canary)) + file.getvalue()


def _raw_persistent(canary: Path) -> bytes:
    return b"\x80\x04" + value(("storage", _system(canary))).data + b"Q."


def _named(title: str) -> str:
    return title.replace("*", "") + ".pkl"


def _trick(
    title: str,
    tries: str,
    data: Callable[[Path], bytes],
    says: str = _LIST,
    verdict: str = "dangerous",
    **more: object,
) -> Hostile:
    group = str(more.pop("group", TRICK))
    suffix = str(more.pop("suffix", ".pkl"))
    return Hostile(
        title,
        group,
        tries,
        of_bytes(title + suffix, data),
        says,
        verdict,
        **more,  # type: ignore[arg-type]
    )


def tricks() -> tuple[Hostile, ...]:
    """What the machine can be made to do."""
    return (
        _trick("put-and-memoize", "a memo that scanners read otherwise", _put_and_memoize,
               sings=True),
        _trick("computed-name", "the name is made by a call", _computed_name, "no pickle",
               "unreadable", error=InvalidError, sings=True),
        _trick("memo-of-nothing", "names out of an empty memo", _unread_memo, "no pickle",
               "unreadable", error=InvalidError),
        _trick("no-protocol", "new opcodes without a protocol", _old_and_new, sings=True),
        _trick("attributes-of-attributes", "walks from an honest module to sys", _dots),
        _trick("inst", "the opcode INST calls", _instance, sings=True),
        _trick("obj", "the opcode OBJ calls", _object, sings=True),
        _trick("newobj_ex", "the opcode NEWOBJ_EX makes", _newobj_ex),
        _trick("protocol-0", "the oldest protocol", lambda c: pickle.dumps(_call(c), 0),
               sings=True),
        _trick("protocol-2", "Python 2's names", lambda c: pickle.dumps(_call(c), 2),
               sings=True),
        _trick("broken-at-the-end", "runs, then breaks scanners", _breaks_late, sings=True),
        _trick("cut-off", "runs before its end is missed",
               lambda c: whole(_system(c))[:-1], sings=True),
        _trick("protocol-6", "a protocol that there is not", _wrong_number, "no pickle",
               "unreadable", error=InvalidError),
        _trick("extension-code", "a name behind a number", lambda c: b"\x80\x02\x82\x01.",
               "extension code"),
        _trick("persistent-id", "an object of the loader's own", _raw_persistent, _LIST),
        _trick("persistent-text", "an object of the loader's own", lambda c: b"Pname\n.",
               "persistent id"),
        _trick("second-pickle", "a second pickle behind the model", _second,
               "more follows after the end", "unreadable", error=InvalidError),
        _trick("state-is-a-call", "a call as an estimator's state", _gadget_state, sings=True),
        _trick("class-changed", "puts a function into a class", _slots, _LIST, "unknown",
               trusted=True),
        _trick("class-changed-by-value", "puts a value into a class", _class_slots,
               "changes a class", "clean"),
        _trick("global-with-a-space", "a name that splits in two ways", _spaces,
               f"{_LIST}|reads other names than we do", "unreadable"),
        _trick("number-called", "calls what is no function", _called_number, "calls a int"),
        _trick("dtype-lies", "turns bytes of the file into pointers", _dtype,
               "contradictory layout", "clean"),
        _trick("codecs-encode", "another codec than latin1",
               lambda c: whole(name("_codecs", "encode")("x", "hex_codec")),
               "only latin1", "clean"),
        _trick("special-attribute", "a module's __builtins__",
               lambda c: whole(name("sklearn", "__builtins__"))),
        _trick("sklearn-reexport", "a module that another one imported",
               lambda c: whole(name("sklearn.base", "warnings")), _LIST, "unknown"),
        _trick("escape-in-the-name", "colours the reader's terminal",
               lambda c: whole(name("\x1b[31mred\n\x07", "x")), _LIST, "unknown"),
        _trick("cloudpickle-lambda", "a function by its code", _function, "vouch for the file",
               "unknown", trusted=True, needs="cloudpickle"),
        _trick("dill-lambda", "a function by its code, put together by getattr", _dill,
               needs="dill"),
    )  # fmt: skip


def packed() -> tuple[Hostile, ...]:
    """The same gadget, in everything that can be put around it."""

    def both(canary: Path) -> list:
        return [np.arange(10_000.0), _call(canary)]

    def hidden(canary: Path) -> np.ndarray:
        return np.array([_call(canary), 1], dtype=object)

    found = [
        _trick(f"joblib-{title}", f"behind an array, {title}",
               lambda c, compress=compress: _joblib(both(c), compress), _LIST,
               group=PACKED, suffix=".joblib", sings=True)
        for title, compress in (
            ("plain", 0), ("zlib", 3), ("gzip", ("gzip", 3)), ("bz2", ("bz2", 3)),
            ("xz", ("xz", 3)), ("lzma", ("lzma", 3)),
        )
    ]  # fmt: skip
    found += [
        _trick("joblib-objects", "in an array of objects", lambda c: _joblib(hidden(c)),
               group=PACKED, suffix=".joblib", sings=True),
        _trick("joblib-objects-packed", "in an array of objects, packed",
               lambda c: _joblib(hidden(c), 9), group=PACKED, suffix=".joblib", sings=True),
        _trick("joblib-estimator", "as coefficients of a fitted model",
               lambda c: _joblib(_fitted(_call(c)), 3), group=PACKED, suffix=".joblib", sings=True),
        _trick("joblib-lz4", "packed by lz4", lambda c: b"\x04\x22\x4d\x18" + bytes(60),
               "lz4, which is not read", "unreadable", group=PACKED, suffix=".joblib"),
        _trick("joblib-array-lies", "an array announced shorter than it is", _lying_array,
               r"no pickle|damaged|allow-list", "", group=PACKED, suffix=".joblib", error=ANY),
        _trick("gzip-pickle", "a plain pickle in gzip",
               lambda c: gzip.compress(whole(_system(c))), group=PACKED, suffix=".pkl"),
        _trick("gzip-two-members", "a second gzip member behind the model", _gzip_members,
               "more follows", "unreadable", group=PACKED, error=InvalidError),
        _trick("packed-twice", "zlib in zlib", lambda c: zlib.compress(zlib.compress(
               whole(_system(c)))), r"no pickle|damaged", "unreadable", group=PACKED, error=ANY),
        _trick("polyglot", "a pickle and a zip archive in one", _polyglot, _LIST, group=PACKED,
               sings=True),
        _trick("named-onnx", "a pickle that is called model.onnx", lambda c: whole(_system(c)),
               r"allow-list|not an ONNX", "", group=PACKED, suffix=".onnx", error=ANY),
        _trick("named-txt", "a pickle that is called model.txt", lambda c: whole(_system(c)),
               r"allow-list|no model file", "", group=PACKED, suffix=".txt", error=ANY),
        _trick("xgboost-callback", "in the callbacks of a booster", _in_booster, _LIST,
               group=PACKED, sings=True, needs="xgboost"),
        _trick("lightgbm-other", "beside a booster's text", _in_lightgbm, _LIST,
               group=PACKED, sings=True, needs="lightgbm"),
    ]  # fmt: skip
    return tuple(found)


def _in_booster(canary: Path) -> bytes:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=2).fit(np.eye(4), [0, 1, 0, 1])
    model.callbacks = [_call(canary)]
    return pickle.dumps(model)


def _in_lightgbm(canary: Path) -> bytes:
    import lightgbm

    rows = np.random.default_rng(0).normal(size=(60, 3))
    model = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(rows, rows[:, 0])
    model._other_params["x"] = _call(canary)
    return pickle.dumps(model)


def costs() -> tuple[Hostile, ...]:
    """What takes all memory or all time."""
    deep = r"nests deeper|damaged|no pickle|no scanner|holds a"
    return (
        _trick("key-bomb", "a key that takes 2**60 steps to hash", _key, "to hash it takes",
               group=COST),
        _trick("marks", "half a million open marks", _marks, "nests deeper", group=COST),
        _trick("tuples", "300,000 tuples in one another", _tuples, deep, "", group=COST, error=ANY),
        _trick("arrays-in-arrays", "5,000 pickles in one another", _inner_pickles, deep, "",
               group=COST, suffix=".joblib", error=ANY),
        _trick("digits", "a number of five million digits", _digits, r"no pickle|damaged",
               "unreadable", group=COST, error=InvalidError),
        *(
            _trick(f"length-{title}", f"2**45 bytes of {title} in a file of 60",
                   _lengths(opcode), r"no pickle|damaged", "unreadable", group=COST,
                   error=InvalidError)
            for title, opcode in (
                ("bytes", b"\x8e"), ("text", b"\x8d"), ("bytearray", b"\x96"), ("frame", b"\x95"),
            )
        ),
        _trick("giant-array", "an array of 2**50 numbers in a small file", _shape,
               "elements is announced", "unreadable", group=COST, suffix=".joblib",
               error=InvalidError),
        _trick("zlib-bomb", "100 MiB of zeros in 100 KiB",
               _zeros(lambda data: zlib.compress(data, 9)), "bomb", group=COST),
        _trick("gzip-bomb", "the same by gzip", _zeros(lambda data: gzip.compress(data, 9)),
               "bomb", group=COST),
        _trick("old-name-bomb", "a name of a million letters",
               lambda c: whole(old_name("a" * 1_000_000, "b"), 2), _LIST, "unknown", group=COST),
    )  # fmt: skip
