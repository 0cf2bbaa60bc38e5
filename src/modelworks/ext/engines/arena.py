"""One memory arena for all of onnxruntime's sessions in this process, and its way back.

A network's intermediate tensors are taken and given back in every call. The system's allocator
maps the large ones anew each time, and the pages' first touch costs more than the work on them:
measured on a MobileNetV2 of batch 8, a quarter of the call. An arena of each session keeps them,
and keeps them for every model for ever. One arena for all holds what runs at the same time, grows
by what is asked for and no more (measured: no more than the system's allocator kept, with no page
touched anew), and gives back what is free when a model leaves.
"""

import logging
from functools import cache
from typing import Final

import numpy as np
import onnxruntime as ort

_log = logging.getLogger("modelworks.engines")
_AS_REQUESTED: Final = 1  # grow by what is asked for; 0 would double
_IDENTITY: Final = (  # y = Identity(x), one float; operator set 13
    b'\x08\x07:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12'
    b"\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def use(settings: ort.SessionOptions) -> None:
    """Let a session that is made with `settings` take its memory from the common arena.

    Its weights do not lie there: what a session holds for its whole life would keep an arena from
    shrinking. A plan of memory for every shape that comes is not kept either: it made no call
    faster than one part in thirty, and took twice the memory.
    """
    settings.enable_cpu_mem_arena = True
    settings.enable_mem_pattern = False
    if _common():
        settings.add_session_config_entry("session.use_env_allocators", "1")
        settings.add_session_config_entry("session.use_device_allocator_for_initializers", "1")


def shrink() -> None:
    """Give the system back what no session uses now; calls that run meanwhile keep theirs."""
    if not _common():
        return
    asked = ort.RunOptions()
    asked.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    try:
        _nothing().run(asked)
    except Exception:  # noqa: BLE001 - onnxruntime has no base of its own
        _log.exception("the arena did not shrink")


@cache
def _common() -> bool:
    """Whether there is an arena for all; made with the first session, once a process."""
    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    where = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    wanted = ort.OrtArenaCfg(
        {
            "max_mem": 0,
            "arena_extend_strategy": _AS_REQUESTED,
            "initial_chunk_size_bytes": -1,
            "max_dead_bytes_per_chunk": -1,
        }
    )
    try:
        ort.create_and_register_allocator(where, wanted)
    except Exception:  # noqa: BLE001 - no base of its own; sessions then have arenas of their own
        _log.exception("no common arena")
        return False
    return True


@cache
def _nothing() -> "_Nothing":
    return _Nothing()


class _Nothing:
    """A session that computes nothing: only a call can ask for shrinking.

    Its output lies outside the arena: there, it would hold the region it is in.
    """

    def __init__(self) -> None:
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        use(settings)
        self._session = ort.InferenceSession(
            _IDENTITY, settings, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        one = np.zeros(1, np.float32)
        self._binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(one))
        self._binding.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(one))

    def run(self, options: ort.RunOptions) -> None:
        """Call it."""
        self._session.run_with_iobinding(self._binding, options)
