"""From the kernel's code to a function of this processor, once a process and sort of forest."""

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import llvmlite.binding as llvm

from modelworks.ext.engines.trees import kernel

_FAST: Final = 3  # the optimizer's level
_LOCK: Final = threading.Lock()
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_TYPE: Final = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _SIZE, _POINTER, _POINTER, _POINTER)


def function(sort: kernel.Sort) -> Callable[..., None]:
    """`run` of `kernel.module`, to be called with addresses; other threads of Python run meanwhile.

    It takes about a tenth of a second, once a process for each sort of forest.
    """
    with _LOCK:
        found: Callable[..., None] = _compiled(sort)
        return found


@cache
def _compiled(sort: kernel.Sort) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(str(kernel.module(sort)))
    module.verify()
    machine = _machine()
    options = llvm.create_pipeline_tuning_options(speed_level=_FAST)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    made: Any = _TYPE(engine.get_function_address("run"))
    made.engine = engine  # the code lives as long as it does
    return made


def processor() -> tuple[str, str]:
    """The processor that code is made for: its name and features, as LLVM has them."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def forget() -> None:
    """Compile anew what is loaded next."""
    with _LOCK:
        _compiled.cache_clear()


def _machine() -> Any:
    cpu, features = processor()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, features=features, opt=_FAST, jit=True)
