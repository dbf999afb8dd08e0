"""Scores equal plain Hugging Face logits, whatever the model's head does; stores resume, heal and never hold a row
twice.
"""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers

import lens
from lens import models
from lens.scoring import pieces as scoring_pieces
from lens.scoring.causal import ScoringError
from lens.scoring.likelihood import Likelihood, core, plain
from lens.scoring.rows import score
from lens.scoring.scores import Scores
from lens.scoring.store import Part, Store
from tests import models as tiny_models
from tests.variants import few

VOCABULARY = 97
SMALL = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
#: Models whose logits are more than their head's output, and how each is recognised.
HEADS = {
    "gemma2": (
        transformers.Gemma2ForCausalLM,
        transformers.Gemma2Config,
        dict(head_dim=8, final_logit_softcapping=3.0, sliding_window=8),
        "capped",
    ),
    "granite": (
        transformers.GraniteForCausalLM,
        transformers.GraniteConfig,
        dict(logits_scaling=3.5, embedding_multiplier=2.0),
        "scaled",
    ),
    "cohere": (transformers.CohereForCausalLM, transformers.CohereConfig, dict(logit_scale=0.25), "scaled"),
}


def head_model(kind, **changes):
    make, config, own, _ = HEADS[kind]
    torch.manual_seed(0)
    return make(config(**SMALL, **{**own, **changes})).eval().requires_grad_(False)


def make_rows(n=23, longest=40, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCABULARY, size) for size in rng.integers(2, longest + 1, n)]


@torch.no_grad()
def reference(model, row, start=None):
    """Log-probability, mean and variance at each place by one plain forward of one row, in float64."""
    ids = ([start] if start is not None else []) + [int(t) for t in row]
    logprob = model(torch.tensor([ids[:-1]])).logits[0].double().log_softmax(-1)
    p, value = logprob.exp(), logprob[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    mean = (p * logprob).sum(-1)
    return value.numpy(), mean.numpy(), ((p * logprob**2).sum(-1) - mean**2).numpy()


def assert_equal_to_plain(scores, model, rows, start=None, tolerance=1e-4):
    for i, row in enumerate(rows):
        at = slice(*scores.offsets[i : i + 2])
        value, mean, variance = reference(model, row, start)
        np.testing.assert_allclose(scores.logprob[at], value, atol=tolerance)
        if scores.mean is not None:
            np.testing.assert_allclose(scores.mean[at], mean, atol=tolerance)
            np.testing.assert_allclose(scores.variance[at], variance, atol=20 * tolerance)


@pytest.mark.parametrize("kind", few(tiny_models.KINDS, tiny_models.ABOVE))
@pytest.mark.parametrize("start", [None, 5])
def test_every_type_of_model_gives_its_plain_log_probabilities(kind, start):
    rows, model = make_rows(), tiny_models.tiny(kind)
    scores = score(model, rows, start=start, extra=("mean", "variance"), batch_tokens=100)
    assert_equal_to_plain(scores, tiny_models.tiny(kind), rows, start)
    assert scores.first == (0 if start is not None else 1) and scores.about["status"] == "complete"
    assert scores.tokens().tolist() == [len(r) - scores.first for r in rows]


@pytest.mark.parametrize("kind", HEADS)
def test_a_scaled_or_capped_head_is_recognised(kind):
    rows, model = make_rows(), head_model(kind)
    assert Likelihood(model).way == HEADS[kind][3]
    assert_equal_to_plain(score(model, rows, start=None, extra="mean", batch_tokens=100), model, rows, tolerance=1e-4)


def test_a_cap_that_small_logits_do_not_show_is_recognised():
    model = head_model("gemma2", final_logit_softcapping=30.0)
    model.model.norm.weight.fill_(-0.9999)  # logits of about 1e-3: the cap changes them by less than float32 holds
    assert Likelihood(model).way == "capped"


def test_a_head_that_is_not_recognised_runs_whole():
    class Odd(transformers.LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            out.logits = out.logits.sign() * out.logits.abs() ** 0.5
            return out

    torch.manual_seed(0)
    model, rows = Odd(transformers.LlamaConfig(**SMALL)).eval(), make_rows()
    assert Likelihood(model).way == "whole"
    small = Likelihood(model, piece=4 * VOCABULARY)  # one token a piece, eight a forward: every cut is crossed
    values = small.batch(rows, None, 1)
    for row, (value,) in zip(rows, values):
        np.testing.assert_allclose(value, reference(model, row)[0], atol=1e-4)
    assert_equal_to_plain(score(model, rows, start=None), model, rows)


def test_the_size_of_a_piece_of_logits_changes_nothing():
    rows, model = make_rows(), tiny_models.tiny("qwen3")
    one, all_ = (Likelihood(model, True, piece=p * 4 * VOCABULARY).batch(rows, 3, 0) for p in (1, 10**4))
    for a, b in zip(one, all_):
        for x, y in zip(a, b):
            np.testing.assert_allclose(x, y, atol=2e-5)


def test_a_bridge_is_scored_as_its_plain_model_and_shares_its_weights():
    for kind in ("llama", "gpt2", "gpt_neox"):
        bridge, hf = models.wrap(tiny_models.tiny(kind), tiny_models.word_tokenizer(), kind), tiny_models.tiny(kind)
        inner = plain(bridge)
        assert inner is not bridge.original_model and type(inner) is type(hf)
        assert inner.get_input_embeddings().weight.data_ptr() == core(bridge).get_input_embeddings().weight.data_ptr()
        rows = make_rows()
        scores = score(bridge, rows)
        assert scores.about["start"] == 0
        assert_equal_to_plain(scores, hf, rows, 0)
        assert scores.model["hash"] == models.weight_hash(hf) == score(hf, rows).model["hash"]


def test_a_bridge_that_was_changed_since_is_scored_as_it_is_now():
    bridge, rows = models.wrap(tiny_models.tiny("llama"), tiny_models.word_tokenizer(), "x"), make_rows()
    before = score(bridge, rows)
    with torch.no_grad():
        bridge.original_model.get_output_embeddings().weight.mul_(0.5)
    changed = tiny_models.tiny("llama")
    changed.lm_head.weight.mul_(0.5)
    after = score(bridge, rows)
    assert after.model["hash"] != before.model["hash"]
    assert_equal_to_plain(after, changed, rows, 0)


def test_an_adapter_counts():
    from peft import LoraConfig, get_peft_model

    rows = make_rows()
    torch.manual_seed(0)
    adapted = get_peft_model(
        tiny_models.tiny("llama"), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    ).eval()
    scores = score(adapted, rows, start=None)
    assert_equal_to_plain(scores, adapted, rows)
    assert np.abs(scores.logprob - score(tiny_models.tiny("llama"), rows, start=None).logprob).max() > 1e-2


def test_half_precision_is_read_in_float32():
    model, rows = tiny_models.tiny("llama"), make_rows()
    half = score(model, rows, start=None, dtype="bfloat16")
    assert half.logprob.dtype == np.float32 and half.model["dtype"] == "bfloat16" and model.dtype == torch.float32
    cast = tiny_models.tiny("llama").to(torch.bfloat16)
    gap = [
        np.abs(half.logprob[slice(*half.offsets[i : i + 2])] - reference(cast, row)[0]).max()
        for i, row in enumerate(rows)
    ]
    exact = np.abs(half.logprob - score(model, rows, start=None).logprob)
    assert max(gap) < 0.3 and 1e-3 < exact.mean() < 0.1


def test_prefix_and_window_read_the_prefix_and_score_the_window():
    model, rows = tiny_models.tiny("gpt2"), make_rows(longest=30)
    part, whole = score(model, rows, start=None, prefix=4, window=6), score(model, rows, start=None)
    assert part.first == 4
    np.testing.assert_allclose(part.nll(), whole.nll(prefix=4, window=6), atol=1e-5)
    np.testing.assert_allclose(part.nll(reduce="sum"), whole.nll(prefix=4, window=6, reduce="sum"), atol=1e-4)
    assert np.isnan(part.nll()).sum() == sum(len(r) <= 4 for r in rows) == part.about["short"]
    assert part.tokens().max() == 6


def test_nll_is_the_mean_over_the_positions_asked_for():
    scores = Scores(
        np.array([7, 8, 9]), np.array([0, 3, 3, 5]), np.array([-1, -2, -4, -8, -16], np.float32), about={"first": 1}
    )
    np.testing.assert_allclose(scores.nll(), [7 / 3, np.nan, 12])
    np.testing.assert_allclose(scores.nll(prefix=2), [3, np.nan, 16])
    np.testing.assert_allclose(scores.nll(window=2), [1, np.nan, 8])
    np.testing.assert_allclose(scores.nll(prefix=2, window=1, reduce="sum"), [2, np.nan, 16])
    taken = scores.take([9, 7])
    assert (
        taken.row_id.tolist() == [9, 7]
        and taken.logprob.tolist() == [-8, -16, -1, -2, -4]
        and taken.about["short"] == 0
    )
    with pytest.raises(ScoringError, match=r"\[3\]"):
        scores.take([7, 3])


def test_a_row_with_nan_or_infinity_has_no_score_and_is_counted():
    scores = Scores(np.arange(3), np.array([0, 2, 4, 6]), np.array([-1, -1, np.nan, -1, -1, -np.inf], np.float32))
    assert np.isnan(scores.nll()).tolist() == [False, True, True]
    assert np.isnan(scores.nll(window=1)).tolist() == [False, True, False]
    assert scores.take([0, 1, 2]).about["bad"] == 2
    model = tiny_models.tiny("llama")
    bias = torch.zeros(VOCABULARY)
    bias[5] = -torch.inf  # a token that the model never gives
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    with_it, without = np.array([1, 2, 5, 3]), np.array([1, 2, 6, 3])
    scored = score(model, [with_it, without], start=None, extra="mean")
    assert (
        scored.about["bad"] == 1 and np.isnan(scored.nll()).tolist() == [True, False] and np.isfinite(scored.mean).all()
    )


def test_rows_beyond_the_context_are_cut_and_counted():
    model, rows = tiny_models.tiny("gpt2"), np.random.default_rng(0).integers(0, VOCABULARY, (3, 70))
    scores = score(model, rows, start=None)  # a context of 64 reads 64 tokens and predicts the 65th
    assert scores.about["cut"] == 3 and scores.tokens().tolist() == [64] * 3
    assert_equal_to_plain(scores, model, rows[:, :65])
    assert score(model, rows, start=0).tokens().tolist() == [64] * 3
    assert score(model, rows, start=None, window=20).about["cut"] == 0


def test_empty_and_single_token_rows_are_kept_without_a_score():
    scores = score(tiny_models.tiny("llama"), [np.array([], int), np.array([3]), np.array([3, 4])], start=None)
    assert scores.tokens().tolist() == [0, 0, 1] and scores.about["short"] == 2
    assert score(tiny_models.tiny("llama"), [np.array([], int), np.array([3])], start=0).tokens().tolist() == [0, 1]
    assert len(score(tiny_models.tiny("llama"), [])) == 0


def test_blocks_and_batches_cover_every_row_once(monkeypatch):
    rows, model = make_rows(60), tiny_models.tiny("llama")
    whole = score(model, rows, start=None)
    monkeypatch.setattr(scoring_pieces, "BLOCK", 7)
    monkeypatch.setattr(scoring_pieces, "PART_TOKENS", 50)
    cut = score(model, rows, start=None, batch_tokens=60)
    assert cut.row_id.tolist() == list(range(60)) and (cut.offsets == whole.offsets).all()
    np.testing.assert_allclose(cut.logprob, whole.logprob, atol=2e-5)
    sizes = []
    monkeypatch.setattr(
        Likelihood,
        "batch",
        lambda self, rows, start, first: (
            sizes.append((len(rows), max(map(len, rows)))) or [(np.zeros(len(r) - first, np.float32),) for r in rows]
        ),
    )
    score(model, rows, start=None, batch_tokens=60)
    assert (
        all(n * w <= 60 or n == 1 for n, w in sizes) and sum(n for n, _ in sizes) == 60 and max(n for n, _ in sizes) > 1
    )


# -- the store
# ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(scoring_pieces, "PART_TOKENS", 60)


def counted(monkeypatch):
    """Counts the rows that a model scores."""
    seen, real = [], Likelihood.batch

    def batch(self, rows, start, first):
        seen.extend(rows)
        return real(self, rows, start, first)

    monkeypatch.setattr(Likelihood, "batch", batch)
    return seen


def the_store(folder):
    (path,) = [p for p in Path(folder).iterdir() if p.name != "models"]
    return Store(folder, json.loads((path / "options.json").read_text()))


def test_a_second_call_reads_the_store_bit_by_bit(tmp_path, small_parts, monkeypatch):
    rows, model = make_rows(), tiny_models.tiny("llama")
    first = score(model, rows, store=tmp_path, extra=("mean", "variance"), batch_tokens=100)
    seen = counted(monkeypatch)
    again = score(tiny_models.tiny("llama"), rows, store=tmp_path, extra=("mean", "variance"), batch_tokens=100)
    assert not seen and again.about["cached"] == len(rows) and first.about["cached"] == 0
    for name in ("row_id", "offsets", "logprob", "mean", "variance"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert len(list(tmp_path.glob("*/*.parquet"))) > 3
    more = score(model, [*rows, *make_rows(3, seed=9)], store=tmp_path, extra=("mean", "variance"))
    assert len(seen) == 3 and (more.logprob[: len(first.logprob)] == first.logprob).all()


def test_other_weights_options_or_tokens_are_never_taken_from_it(tmp_path, monkeypatch):
    rows, model = make_rows(), tiny_models.tiny("llama")
    score(model, rows, store=tmp_path)
    seen = counted(monkeypatch)
    for changed in (dict(start=None), dict(prefix=2), dict(window=8), dict(dtype="bfloat16"), dict(extra="mean")):
        del seen[:]
        score(model, rows, store=tmp_path, **changed)
        assert len(seen) == sum(len(r) > changed.get("prefix", 0) for r in rows), changed
    del seen[:]
    other = tiny_models.tiny("llama", seed=1)
    assert (score(other, rows, store=tmp_path).logprob == score(other, rows).logprob).all() and len(seen) == 2 * len(
        rows
    )
    del seen[:]
    altered = [r.copy() for r in rows]
    altered[4][0] = (altered[4][0] + 1) % VOCABULARY
    scores = score(model, altered, store=tmp_path)
    assert len(seen) == 1 and scores.about["cached"] == len(rows) - 1
    np.testing.assert_allclose(scores.logprob, score(model, altered).logprob, atol=2e-5)
    # the same row under another id
    del seen[:]
    score(model, rows[:1], row_ids=[1000], store=tmp_path)
    assert len(seen) == 1


def test_a_killed_run_resumes_and_leaves_the_files_of_an_unbroken_one(tmp_path, small_parts):
    code = """
import os, sys
from lens import files
from lens.scoring import pieces, rows as scoring, store as scoring_store
from tests import models
from tests.scoring.test_rows import make_rows
pieces.PART_TOKENS = 60
write, done = scoring_store.Store.write, []
def dying(self, part):
    if len(done) == 3:
        files.sibling(self.folder / "left").write_bytes(b"half")
        os._exit(9)
    done.append(write(self, part))
scoring_store.Store.write = dying
scoring.score(models.tiny("llama"), make_rows(), store=sys.argv[1], batch_tokens=100, threads=1)
"""
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    assert subprocess.run([sys.executable, "-c", code, str(broken)], cwd=Path(__file__).parents[2]).returncode == 9
    assert len(list(broken.glob("*/*.parquet"))) == 3
    for folder in (broken, whole):
        score(tiny_models.tiny("llama"), make_rows(), store=folder, batch_tokens=100, threads=1)
    files = [{p.name: p.read_bytes() for p in folder.glob("*/*.parquet")} for folder in (broken, whole)]
    assert files[0] == files[1] and len(files[0]) > 4
    keys = the_store(broken).rows()
    assert len(np.unique(keys)) == len(keys) == len(make_rows())


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_corrupt_part_is_named_and_scored_again(tmp_path, small_parts, damage):
    rows, model = make_rows(), tiny_models.tiny("llama")
    first = score(model, rows, store=tmp_path, batch_tokens=100)
    victim = sorted(tmp_path.glob("*/*.parquet"))[1]
    data = bytearray(victim.read_bytes())
    if damage == "flip":
        logprob = the_store(tmp_path).read(victim.name).values[0][0]
        data[bytes(data).index(logprob.tobytes())] ^= 1
    victim.write_bytes({"cut": bytes(data[: len(data) // 2]), "flip": bytes(data), "text": b"not parquet"}[damage])
    again = score(model, rows, store=tmp_path, batch_tokens=100)
    assert again.about["corrupt"] == [victim.name] and again.about["cached"] < len(rows)
    assert again.logprob.tobytes() == first.logprob.tobytes()
    assert score(model, rows, store=tmp_path).about["corrupt"] == []


@pytest.mark.parametrize("damage", ["row", "column", "null", "type", "name"])
def test_a_part_of_another_form_is_named_and_scored_again(tmp_path, small_parts, damage):
    """A whole Parquet file, with checksums that are right, that holds fewer values than the rows have tokens, or other
    rows than its name says.
    """
    rows, model = make_rows(), tiny_models.tiny("llama")
    first = score(model, rows, store=tmp_path, batch_tokens=100, extra=("mean", "variance"))
    victim, other = sorted(tmp_path.glob("*/*.parquet"))[1:3]
    table = pq.read_table(victim)
    if damage == "name":
        table = pq.read_table(other)
    else:
        for name in ("logprob", "mean", "variance") if damage == "row" else ("mean",):
            lists = table[name].to_pylist()
            lists[0] = {"null": None}.get(damage, lists[0][:-1] if damage != "type" else lists[0])
            column = pa.array(lists, pa.list_(pa.float64() if damage == "type" else pa.float32()))
            table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, victim, compression="none", use_dictionary=False, write_page_checksum=True)
    again = score(model, rows, store=tmp_path, batch_tokens=100, extra=("mean", "variance"))
    assert again.about["corrupt"] == [victim.name] and 0 < again.about["cached"] < len(rows)
    for name in ("logprob", "mean", "variance"):
        assert getattr(again, name).tobytes() == getattr(first, name).tobytes()
    assert score(model, rows, store=tmp_path, extra=("mean", "variance")).about["corrupt"] == []


def test_two_runs_at_once_do_not_double_rows(tmp_path, small_parts, monkeypatch):
    together, write = threading.Barrier(2, timeout=60), Store.write

    def first_together(self, part):
        if not self.__dict__.setdefault("met", False):
            self.met = True
            together.wait()  # both have scored their first part, and neither has written it
        return write(self, part)

    monkeypatch.setattr(Store, "write", first_together)
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(score, tiny_models.tiny("llama"), make_rows(), store=tmp_path, batch_tokens=100, threads=1)
            for _ in range(2)
        ]
        one, two = (job.result() for job in jobs)
    assert one.logprob.tobytes() == two.logprob.tobytes()
    keys = the_store(tmp_path).rows()
    assert len(keys) == len(np.unique(keys)) == len(make_rows())


def test_a_row_in_two_parts_is_read_once(tmp_path):
    store = Store(tmp_path, {"moments": False})
    value = (np.array([-1.0, -2.0], np.float32),)
    store.write(Part(np.array([1, 2]), np.array([11, 12], np.uint64), [value, value]))
    store.write(Part(np.array([2, 3]), np.array([12, 13], np.uint64), [value, value]))
    assert sorted(store.fetch(np.array([11, 12, 13, 14], np.uint64))) == [11, 12, 13] and len(store.rows()) == 4


def test_a_model_by_name_is_not_loaded_when_all_is_there(tmp_path, monkeypatch):
    rows = [np.arange(1, 12), np.arange(3, 9)]
    first = score("organism:induction", rows, store=tmp_path)
    monkeypatch.setattr(models, "load", lambda *a, **k: pytest.fail("the weights were loaded"))
    again = score("organism:induction", rows, store=tmp_path)
    assert again.logprob.tobytes() == first.logprob.tobytes() and again.model == first.model


def test_stopped_scoring_keeps_what_is_done_and_goes_on(tmp_path, small_parts):
    rows, model, asked = make_rows(), tiny_models.tiny("llama"), []
    part = score(model, rows, store=tmp_path, batch_tokens=60, stop=lambda: asked.append(1) or len(asked) > 8)
    assert part.about["status"] == "stopped" and 0 < len(part) < len(rows)
    whole = score(model, rows, store=tmp_path, batch_tokens=60)
    assert whole.about["status"] == "complete" and whole.about["cached"] == len(part)
    assert (whole.take(part.row_id).logprob == part.logprob).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (dict(rows=[[1, 200]]), "row 0 holds tokens from 1 to 200"),
        (dict(rows=[[1.5, 2.0]]), "float64"),
        (dict(row_ids=[3, 3]), "3 is there 2 times"),
        (dict(row_ids=[3]), "expected 2 whole numbers"),
        (dict(prefix=-1), "prefix=-1"),
        (dict(window=0), "window=0"),
        (dict(start=97), "start=97"),
        (dict(extra="median"), "'median' is not known"),
        (dict(backend="spark"), "backend='spark'"),
        (dict(workers=0), "workers=0"),
        (dict(batch_tokens=True), "batch_tokens=True"),
    ],
)
def test_bad_arguments_are_named(call, message):
    given = dict(rows=[[1, 2], [3, 4]]) | call
    with pytest.raises(ScoringError, match=message):
        score(tiny_models.tiny("llama"), **given)


def test_models_whose_numbers_their_hash_does_not_tell_are_refused():
    model = tiny_models.tiny("llama")
    with pytest.raises(ScoringError, match="training mode"):
        score(tiny_models.tiny("llama").train(), [[1, 2]])
    handle = model.model.layers[0].register_forward_hook(lambda *_: None)
    with pytest.raises(ScoringError, match="hooks"):
        score(model, [[1, 2]])
    handle.remove()
    with pytest.raises(ScoringError, match="expected a Hugging Face"):
        score(object(), [[1, 2]])
    bridge = models.wrap(model, tiny_models.word_tokenizer(), "x")
    with (
        lens.edited(bridge, lens.Edit(lens.Site("attn_out", layer=1), "zero")),
        pytest.raises(ScoringError, match="edits are in force|hooks"),
    ):
        score(bridge, [[1, 2]])
    broken = tiny_models.tiny("llama")
    broken.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(ScoringError, match="lm_head.weight"):
        score(broken, [[1, 2]])


@pytest.mark.slow
def test_smollm2_equals_its_plain_model(smollm2):
    from lens.cache import fetched

    hf = transformers.AutoModelForCausalLM.from_pretrained(
        str(fetched("smollm2")), dtype=torch.float32, local_files_only=True
    ).eval()
    texts = [
        "The capital of France is Paris.",
        "In the beginning",
        "def add(a, b):\n    return a + b\n",
        "A palimpsest is a page from which an earlier text was scraped.",
    ]
    rows = [np.array(smollm2.tokenizer(t)["input_ids"]) for t in texts]
    scores = score(smollm2, rows, extra=("mean", "variance"))
    assert scores.about["start"] == 0, "its tokenizer names 1 (<|im_start|>), its training put <|endoftext|> there"

    # a start token's activations are so large that logits after it hold four digits: what one unit in the last place of
    # the embeddings makes of them, eight times
    def plain():
        return np.concatenate([np.stack(reference(hf, row, 0)[:2]) for row in rows], 1)

    exact = plain()
    draws = torch.Generator().manual_seed(0)

    def moved(module, args, out):
        return out * (1 + torch.finfo(out.dtype).eps * (torch.randint(0, 2, out.shape, generator=draws) * 2 - 1))

    hook = hf.get_input_embeddings().register_forward_hook(moved)
    off = max(abs(plain() - exact).max() for _ in range(4))
    hook.remove()
    assert off < 1e-4, off
    assert_equal_to_plain(scores, hf, rows, start=0, tolerance=8 * off)


def test_rows_are_taken_by_id_or_by_a_truth_value_each():
    made = Scores(np.array([3, 5, 9]), np.array([0, 2, 3, 6]), np.arange(6, dtype=np.float32))
    assert (
        made.take([False, True, True]).row_id.tolist() == made.take(np.array([0, 1, 1], bool)).row_id.tolist() == [5, 9]
    )
    assert made.take([9, 3]).row_id.tolist() == [9, 3] and made.take(
        np.array([True, False, False])
    ).logprob.tolist() == [0, 1]
    for wrong in ([True, False], [1.9], ["3"], [True, 3, 5], 10**30, None, [[object()]]):
        with pytest.raises(ScoringError, match="row_ids"):
            made.take(wrong)
