"""The sweep's memory setting against what torch really allocates."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

import lens
from lens.engine.walk.rows import walk
from lens.injection import Item
from tests.models import word_tokenizer

LAYERS = 3


@pytest.fixture(scope="module")
def wide():
    """A random model whose residual stream is wide for its vocabulary and its MLP, so that the rows of a walk are what
    counts.
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=256,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    model.tokenizer = word_tokenizer()
    return model


def items(n):
    return [
        Item(
            " ".join(f"w{1 + (7 * i + k) % 90}" for k in range(12)),
            f"w{1 + i % 90} w3",
            f"w{1 + (3 * i) % 90}",
            f" w{1 + (5 * i) % 90} w{2 + i % 90}",
            label=str(i),
        )
        for i in range(n)
    ]


def peak_bytes(call):
    """The most bytes of torch's allocator in use at once within a call, less those in use before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    now = most = 0
    for _, size in sorted(
        ((e.start_ns(), e.nbytes()) for e in found.profiler.kineto_results.events() if e.name() == "[memory]"),
        key=lambda e: e[0],
    ):
        now += size
        most = max(most, now)
    return most


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks so small that they count for nothing beside the budgets below."""
    monkeypatch.setattr("lens.engine.walk.rows.CHUNK_TOKENS", 256)
    monkeypatch.setattr("lens.engine.walk.runs.CHUNK_TOKENS", 256)


def test_the_peak_counter_sees_temporaries():
    x = torch.zeros(1 << 18)
    assert (
        3 << 20 > peak_bytes(lambda: x + 1) >= 1 << 20
        and peak_bytes(lambda: (x + 1) * 2) >= 2 << 20
        and peak_bytes(lambda: None) == 0
    )


@pytest.mark.parametrize(("positions", "window"), [("all", 1), ("all", 2), ("last", 1)])
def test_a_walk_takes_no_more_than_its_rows_are_said_to(wide, small_chunks, monkeypatch, positions, window):
    """Every piece of a sweep stays within the half that is not for unedited runs, the copies that its rows need to join
    the walk included.
    """
    budget, peaks, real = 10.0, [], walk

    def measured(*args, **kwargs):
        out = []
        peaks.append(peak_bytes(lambda: out.append(real(*args, **kwargs))))
        return out[0]

    monkeypatch.setattr("lens.engine.model.walk", measured)
    lens.injection.sweep(
        wide,
        items(20),
        encoder="activation",
        strengths=range(1, 16),
        positions=positions,
        controls=(),
        window=window,
        memory_mb=budget,
        progress=False,
    )
    shares = [p / (budget * 2**20) for p in peaks]
    assert max(shares) < 0.5, shares
    assert positions != "all" or (len(peaks) > 2 and max(shares) > 0.2), (
        "no wild overestimate either, which would cost time"
    )


@pytest.mark.long
def test_a_sweep_stays_under_its_setting(wide, small_chunks):
    budget, many = 10.0, items(24)
    options = dict(
        encoder="activation",
        strengths=range(1, 16),
        controls=("random_direction",),
        memory_mb=budget,
        relative=True,
        progress=False,
    )
    lens.injection.sweep(wide, many[:1], **options)
    peak = peak_bytes(lambda: lens.injection.sweep(wide, many, **options)) / 2**20
    assert 0.4 * budget < peak < budget, peak
