"""What an unloaded model leaves behind: nothing that only the garbage collector would find."""

import asyncio
import gc
import time
import weakref

import pytest

from modelworks.core.served import Isolation, ServedList, ServedModel
from modelworks.serving.block import Block
from modelworks.serving.models import ModelTable
from modelworks.testing import onnx_models

pytestmark = pytest.mark.real
SOON_S = 20.0  # until the thread that watched its process has ended too


@pytest.mark.parametrize("isolation", list(Isolation))
def test_an_unloaded_model_is_freed_without_the_collector(tmp_path, isolation):
    path = onnx_models.double(tmp_path / "m.onnx")
    served = ServedModel("m", "1.0.0", str(path), "sha256:0", isolation=isolation)

    async def main():
        table = ModelTable(Block(), 1, lambda: None)
        await table.apply(ServedList(1, (served,)))
        live = table.resolve("m")
        keeper = getattr(live.loaded.session, "_keeper", None)
        thread = live.batcher._beside  # the batcher's own: compiled, it cannot be watched itself
        found = [weakref.ref(one) for one in (thread, live.loaded.session, keeper) if one]
        assert len(found) == (3 if isolation is Isolation.PROCESS else 2)
        del live, keeper, thread
        await table.unload("m")
        end = time.monotonic() + SOON_S
        while any(one() for one in found) and time.monotonic() < end:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)
        assert [one() for one in found] == [None] * len(found)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
