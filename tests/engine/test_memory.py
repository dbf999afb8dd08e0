"""Memory that runs out on the CPU halves what is done at once, as it does on a GPU; the numbers are the same."""

import numpy as np
import pytest
import torch

import lens
from lens.engine import model as engine_model
from lens.engine import sweep_parts as sweeps
from lens.engine.memory import OutOfMemoryError, out_of_memory
from lens.engine.walk import rows as walk
from lens.scoring import likelihood
from lens.scoring import rows as scoring
from tests.models import speaking, tiny
from tests.scoring.test_rows import make_rows

PAIRS = [lens.Pair(f"w1 w2 w{i} w4", corrupted=f"w1 w2 w{i + 30} w4", answer=" w7", foil=" w8") for i in range(10, 16)]


def refusal() -> Exception:
    """What torch itself raises where the CPU has no room."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    return caught.value


def test_torchs_own_refusals_are_known_and_other_errors_are_not():
    assert (
        out_of_memory(refusal())
        and out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
        and out_of_memory(MemoryError())
    )
    with pytest.raises(MemoryError) as numpys:
        np.empty(2**50)
    assert out_of_memory(numpys.value)
    with pytest.raises(RuntimeError) as other:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not out_of_memory(other.value) and not out_of_memory(ValueError("can't allocate memory"))


def narrow(function, most, size):
    """`function`, with room for at most `most` rows, tokens or prompts, and how often there was none."""
    refused = []

    def limited(*args, **options):
        if size(*args) > most:
            refused.append(size(*args))
            torch.empty(2**50)
        return function(*args, **options)

    return limited, refused


@pytest.mark.parametrize(
    "what, most, place, name, size",
    [
        ("attention", 40, walk, "attention", lambda block, h, *rest: len(h)),
        ("feed forward", 17, walk, "feed_forward", lambda block, h, *rest: len(h)),
        ("rows of a walk", 5, engine_model, "walk", lambda base, rows, *rest: len(rows)),
        ("unedited runs", 2, sweeps, "Batch", lambda decoder, batch, *rest: len(batch)),
    ],
)
def test_a_sweep_with_less_room_has_the_same_numbers(monkeypatch, what, most, place, name, size):
    model = speaking()
    whole = lens.patch(model, PAIRS, progress=False)
    limited, refused = narrow(getattr(place, name), most, size)
    monkeypatch.setattr(place, name, limited)
    less = lens.patch(model, PAIRS, progress=False)
    assert refused, what
    assert np.allclose(less.effect, whole.effect, atol=1e-5) and not np.isnan(less.effect).any()


def test_no_room_for_a_single_row_names_the_setting(monkeypatch):
    limited, _ = narrow(engine_model.walk, 0, lambda base, rows, *rest: len(rows))
    monkeypatch.setattr(engine_model, "walk", limited)
    with pytest.raises(OutOfMemoryError, match=r"memory_mb=17: the memory of cpu ran out.*smaller memory_mb") as told:
        lens.patch(speaking(), PAIRS[0], memory_mb=17, progress=False)
    assert isinstance(told.value, lens.Error) and isinstance(told.value, torch.OutOfMemoryError)


def test_an_error_that_is_not_of_memory_passes(monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("of the model's own")

    monkeypatch.setattr(walk, "feed_forward", broken)
    with pytest.raises(RuntimeError, match="of the model's own"):
        lens.patch(speaking(), PAIRS[0], progress=False)


def test_scores_with_less_room_are_the_same_and_a_row_without_any_is_told(monkeypatch):
    whole = scoring.score(tiny("llama"), make_rows(), batch_tokens=100, threads=1)
    real = likelihood.Likelihood._batch
    limited, refused = narrow(real, 1, lambda self, rows, *rest: len(rows))
    monkeypatch.setattr(likelihood.Likelihood, "_batch", limited)
    less = scoring.score(tiny("llama"), make_rows(), batch_tokens=100, threads=1)
    assert refused and np.allclose(less.logprob, whole.logprob, atol=1e-5)
    monkeypatch.setattr(likelihood.Likelihood, "_batch", narrow(real, 0, lambda self, rows, *rest: len(rows))[0])
    with pytest.raises(OutOfMemoryError, match="one row of .* tokens"):
        scoring.score(tiny("llama"), make_rows(), batch_tokens=100, threads=1)
