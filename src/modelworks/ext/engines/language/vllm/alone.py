"""vLLM in one process behind walls: what it does by other processes and sockets, done here.

vLLM is made for many processes over many machines, and begins some where one is enough. Behind the
walls none can begin and there is no network. What is replaced here serves nothing but that; each
was found by its failure (versions 0.32 and 0.33), and the contract tests fail without it.
"""

import importlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_SETTINGS: Final = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CONFIGURE_LOGGING": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_PLUGINS": "",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def prepare(work: Path) -> None:
    """Make it so; before vLLM is imported.

    Args:
        work: a folder that can be written.
    """
    os.environ.update(_SETTINGS)
    for name in ("VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "HF_HOME", "TORCHINDUCTOR_CACHE_DIR"):
        os.environ[name] = str(work)
    _no_collectives()
    # It looks at a model's class in a process of its own, lest a GPU be begun in this one.
    _put("vllm.model_executor.models.registry", "_run_in_subprocess", _here)
    # A semaphore between processes; there is one.
    _put("vllm.v1.executor.uniproc_executor", "Lock", threading.Lock)
    # It asks the program `lscpu`; this is its own way where there is none.
    resources: Any = importlib.import_module("vllm.utils.cpu_resource_utils")
    _put("vllm.utils.cpu_resource_utils", "_get_cpu_list", resources._synthesize_cpu_list)  # noqa: SLF001


def _put(module: str, name: str, value: Any) -> None:
    """Replace something that must be there: a version without it is another one."""
    found = importlib.import_module(module)
    if not hasattr(found, name):
        raise ModuleNotFoundError(f"{module}.{name}", name=f"{module}.{name}")
    setattr(found, name, value)


def _here(call: Callable[[], Any]) -> Any:
    return call()


def _no_collectives() -> None:
    """Groups of one process, by torch's backend that sends nothing; gloo opens sockets for them."""
    distributed: Any = importlib.import_module("torch.distributed")
    importlib.import_module("torch.testing._internal.distributed.fake_pg")

    def silent(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any, **named: Any) -> Any:
            return call(*given, **{**named, "backend": "fake"})

        return made

    distributed.init_process_group = silent(distributed.init_process_group)
    distributed.new_group = silent(distributed.new_group)
