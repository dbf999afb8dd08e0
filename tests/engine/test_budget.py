"""What a call may add to a device's memory: the figures of a CPU, and on a GPU shares of what is free, told by a
stand-in for the driver.
"""

from types import SimpleNamespace

import pytest
import torch

import lens
from lens.engine import memory
from lens.engine.memory import budget, chunk_tokens

CUDA = torch.device("cuda", 0)
GIB = 1 << 30
PAIR = lens.Pair("w1 w2 w3", "w1 w4 w3", " w5", " w6")


@pytest.fixture
def driver(monkeypatch):
    """Free and all bytes of GPUs by number, as the driver would say."""
    said = {0: (60 * GIB, 80 * GIB), 1: (30 * GIB, 80 * GIB)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index=None: said[index or 0])
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index=None: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda index=None: 1 * GIB)
    memory._total.cache_clear()
    yield said
    memory._total.cache_clear()
    memory.share_device(1)


def model_on(device, places=None, *, hidden=4096, mlp=14336, layers=32, block=218_112_000, dtype=torch.bfloat16):
    """What is asked of a model of these sizes, without its weights."""
    ends = [SimpleNamespace(weight=torch.empty(128256, hidden, device="meta")) for _ in range(2)]
    rest = torch.empty(layers, block, device="meta")
    config = SimpleNamespace(hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers)
    return SimpleNamespace(
        device=device,
        dtype=dtype,
        config=config,
        hf_device_map=places,
        parameters=lambda: [*(e.weight for e in ends), rest],
        get_input_embeddings=lambda: ends[0],
        get_output_embeddings=lambda: ends[1],
    )


def test_a_cpu_has_the_figures_that_it_always_had(tiny):
    room = budget(tiny("llama"))
    assert (room.memory_mb, room.runs, room.rows(1e9), room.chunk(1e9)) == (
        500.0,
        500 * 2**20 * 0.5,
        500 * 2**20 * 0.3,
        96 << 20,
    )
    assert (room.logit_bytes, room.batch_tokens, room.chunk_tokens(2048), room.chunk_tokens(1024)) == (
        32 << 20,
        1024,
        2048,
        1024,
    )
    small = budget(tiny("llama"), 17)
    assert small.memory_mb == 17 and small.chunk() == int(17 * 2**20 * 0.2) and small.rows() == 17 * 2**20 * 0.3
    memory.share_device(4)
    try:
        assert budget(tiny("llama")).memory_mb == 500, "every process has a CPU's memory as it was"
    finally:
        memory.share_device(1)


def test_a_gpu_gives_a_share_of_what_is_free_there(driver):
    room = budget(model_on(CUDA))
    assert room.memory_mb == pytest.approx(0.4 * 62 * 1024), "what torch holds without using it is free too"
    held = 1e9
    assert room.runs == room.bytes / 2
    assert room.chunk(held) == 2 << 30, "the most"
    assert room.rows(held) == room.bytes - held - (2 << 30)
    assert room.logit_bytes == 512 << 20 and room.batch_tokens == 65_536
    driver[0] = 4 * GIB, 80 * GIB
    small = budget(model_on(CUDA))
    assert small.chunk(held) == int((small.bytes - held) / 4)
    assert small.rows(held) == pytest.approx((small.bytes - held) * 0.75, abs=1)
    assert small.rows(2 * small.bytes) == small.chunk(2 * small.bytes) == 0
    driver[0] = GIB // 2, 80 * GIB
    least = budget(model_on(CUDA), 100)
    assert least.memory_mb == 100 and least.batch_tokens == 1024


def test_chunks_follow_the_work_of_a_block(driver):
    eight = budget(model_on(CUDA))
    assert eight.weights == 218_112_000
    assert eight.chunk_tokens(2048) == pytest.approx(5_700, rel=0.01)
    large = model_on(CUDA, hidden=8192, mlp=28672, layers=80, block=855_654_400)
    assert budget(large).chunk_tokens(2048) == 2048
    little = model_on(CUDA, hidden=576, mlp=1536, layers=30, block=3_540_096)
    assert budget(little).chunk_tokens(2048) == 32_768
    assert memory.BACKWARD_TOKENS < eight.backward_tokens <= eight.chunk_tokens(memory.BACKWARD_TOKENS)


def test_tokens_of_a_chunk_are_told_without_asking_the_driver(driver, monkeypatch):
    model = model_on(CUDA)
    asked = budget(model).chunk_tokens(2048)
    assert asked > 2048
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index=None: pytest.fail("the driver was asked"))
    assert chunk_tokens(model, 2048) == chunk_tokens(model, 2048) == asked
    assert chunk_tokens(torch.device("cpu"), 2048) == 2048


def test_the_fullest_of_several_gpus_says_what_there_is(driver):
    spread = model_on(CUDA, {"model.embed_tokens": 0, "model.layers.0": "cuda:1", "model.layers.1": "cpu", "x": "disk"})
    assert budget(spread).memory_mb == pytest.approx(0.4 * 32 * 1024)
    assert budget(model_on(torch.device("cpu"), {"model.layers.0": "disk", "": "cpu"})).memory_mb == 500
    assert budget(model_on(torch.device("meta"), {"": "disk"})).memory_mb == 500


def test_processes_on_one_gpu_divide_it(driver):
    whole = budget(model_on(CUDA))
    memory.share_device(4)
    part = budget(model_on(CUDA))
    assert part.memory_mb == pytest.approx(whole.memory_mb / 4) and part.logit_bytes == whole.logit_bytes // 4
    assert budget(model_on(CUDA), 300).memory_mb == 300, "what a caller says is of his process"


def test_a_small_gpu_has_small_pieces_of_logits(driver):
    driver[0] = 7 * GIB, 8 * GIB
    assert memory.logit_bytes(CUDA) == 128 << 20
    assert memory.logit_bytes(torch.device("cpu"), 5) == 5


@pytest.mark.parametrize("processes", [0, -1, 1.5, None])
def test_no_number_of_processes_is_told(processes):
    with pytest.raises(lens.Error, match="processes="):
        memory.share_device(processes)


def test_a_sweep_takes_what_the_device_gives(tiny_bridge, monkeypatch):
    """Rows are cut into as many walks as the default of the device says, unless the caller says otherwise."""
    model, _ = tiny_bridge("llama")
    walks = []
    run = lens.Model.run
    monkeypatch.setattr(
        lens.Model, "run", lambda self, base, rows, *a, **o: walks.append(1) or run(self, base, rows, *a, **o)
    )
    whole = lens.patch(model, PAIR, progress=False)
    assert len(walks) == 1
    monkeypatch.setattr(memory, "MEMORY_MB", 0.01)
    small = lens.patch(model, PAIR, progress=False)
    assert len(walks) > 3
    torch.testing.assert_close(torch.tensor(small.value.values), torch.tensor(whole.value.values), atol=1e-5, rtol=0)
    walks.clear()
    lens.patch(model, PAIR, memory_mb=500, progress=False)
    assert len(walks) == 1
