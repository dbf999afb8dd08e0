"""Texts written in a batch are those of whole forwards, row by row and step by step, on every type of cache."""

import warnings

import pytest

import lens
from lens.engine.anatomy import Anatomy
from lens.engine.writing import own_forward
from tests import hybrids, kinds
from tests.engine import test_steps
from tests.models import KINDS, tiny
from tests.texts import PROMPTS, STEPS, edit, every, own, same, without_end


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_rows_alone_by_whole_forwards(kind):
    model, fresh = without_end(tiny(kind, seed=3)), tiny(kind, seed=3)
    got = same(model, fresh, edit(), every)
    assert [text.ids for text in lens.generate(model, PROMPTS, max_new_tokens=STEPS, start=None)] != [
        text.ids for text in got
    ]


#: Windows shorter than the texts, soft caps, sinks, mixtures of experts, two kinds of layers.
WALKED = ["mistral_narrow", "qwen2_window", "gemma2", "gemma3", "gemma3_seeing", "gpt_oss", "phi3", "olmoe", "smollm3"]


@pytest.mark.parametrize("kind", WALKED)
def test_windows_and_mixtures_are_those_of_a_row_alone(kind):
    same(without_end(kinds.make(kind)), kinds.make(kind), edit(), every)


@pytest.mark.parametrize("kind", ["mistral_window", "gemma3", "qwen2_window"])
def test_padded_rows_of_the_models_own_forward_give_the_same(kind, monkeypatch):
    own(monkeypatch)
    monkeypatch.setattr(own_forward.OwnForward, "_one", None)  # no row by itself
    same(without_end(kinds.make(kind, "sdpa")), kinds.make(kind, "sdpa"), edit(), every)


@pytest.mark.parametrize("kind", ["qwen3_next", "falcon_h1", "rwkv", "norms behind"])
def test_hybrids_and_states_are_those_of_a_row_alone(kind, recwarn):
    same(without_end(hybrids.MAKERS[kind]()), hybrids.MAKERS[kind](), edit(), every)


@pytest.mark.parametrize("kind", [k for k in test_steps.KINDS if k != "llama"])
def test_types_of_which_rows_or_caches_differ_are_written_one_by_one(kind):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        same(test_steps.make(kind), test_steps.make(kind), edit(), every)
    one_by_one = [str(w.message) for w in told if "one by one" in str(w.message)]
    model = test_steps.make(kind)
    assert len(one_by_one) == (own_forward.batches(model, Anatomy.of(model)) is not None)


def test_it_is_said_once_that_texts_are_written_one_by_one():
    model = test_steps.make("mamba")
    with pytest.warns(UserWarning, match="mamba: .*; texts are written one by one"):
        lens.generate(model, PROMPTS, max_new_tokens=2, start=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lens.generate(model, PROMPTS, max_new_tokens=2, start=None)
