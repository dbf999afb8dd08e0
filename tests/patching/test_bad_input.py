"""What goes wrong is named, and leaves nothing behind."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.walk.decoder import Decoder
from tests.models import speaking

PAIR = lens.Pair("w1 w2 w3 w4 w5 w6", corrupted="w1 w2 w9 w4 w8 w6", answer=" w7", foil=" w8")


@pytest.fixture(scope="module")
def model():
    return speaking()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(site="residual"), lens.SiteError, "site='residual' is not known"),
        (dict(over=("position", "layer")), lens.PatchError, r"over=\('position', 'layer'\) is not a grid"),
        (dict(over=("layer", "head")), lens.PatchError, "site='resid_pre' has none"),
        (dict(heads=[1]), lens.PatchError, "no head axis"),
        (dict(layers=[3]), lens.SiteError, "layer=3 is out of range"),
        (dict(layers=[-4]), lens.SiteError, "layer=-4 is out of range"),
        (dict(layers=[]), lens.PatchError, "select nothing"),
        (dict(site="z", over=("layer", "head"), heads=[4]), lens.SiteError, "head=4 is out of range"),
        (dict(site="k", over=("layer", "head"), heads=[2]), lens.SiteError, "head=2 is out of range; .* 0 to 1"),
        (dict(positions=[6]), ValueError, "6"),
        (dict(positions=["verb"]), ValueError, "verb"),
        (dict(window=0), lens.PatchError, "window=0"),
        (dict(direction="sideways"), lens.PatchError, "direction='sideways'"),
        (dict(method="guess"), lens.PatchError, "method='guess'"),
        (dict(steps=5), lens.PatchError, "method='exact' takes none"),
        (dict(memory_mb=0), lens.PatchError, "memory_mb=0"),
        (dict(metric="accuracy"), lens.MetricError, "metric='accuracy' is not known"),
        (dict(metric=3), lens.PatchError, "metric=3 does not fit; expected .* a function of 2 arguments"),
        (dict(method="attribution", metric="rank"), lens.MetricError, "has no gradient"),
    ],
)
def test_arguments_are_named(model, change, error, message):
    with pytest.raises(error, match=message):
        lens.patch(model, PAIR, **change)


def test_no_pair_at_all(model):
    with pytest.raises(lens.PatchError, match=r"pairs=\[\]"):
        lens.patch(model, [])


def test_a_pair_of_different_lengths_shows_both_tokenisations(model):
    with pytest.raises(lens.PromptError) as error:
        lens.patch(model, lens.Pair("w1 w2 w3", corrupted="w1 w2 w3 w4", answer=" w7", foil=" w8"))
    assert "w4" in str(error.value)


def test_an_empty_prompt(model):
    with pytest.raises(lens.PromptError):
        lens.patch(model, lens.Pair("", corrupted="", answer=" w7", foil=" w8"))


def test_an_answer_of_several_tokens_where_one_is_needed(model):
    with pytest.raises(lens.MetricError, match="answers of one token, got ' w7 w8' .*logprob_diff"):
        lens.patch(model, lens.Pair("w1 w2", corrupted="w1 w3", answer=" w7 w8", foil=" w9"))


def test_a_missing_foil(model):
    with pytest.raises(lens.MetricError, match="needs a foil"):
        lens.patch(model, lens.Pair("w1 w2", corrupted="w1 w3", answer=" w7"))


def test_nan_weights_are_found_before_any_number():
    broken = speaking()
    broken.model.layers[1].mlp.up_proj.weight[3, 4] = float("nan")
    with pytest.raises(ValueError, match="layers.1.mlp.up_proj.weight.*NaN"):
        lens.patch(broken, PAIR)


def test_a_token_outside_the_vocabulary(model):
    with pytest.raises(ValueError, match="token 500 is not in the vocabulary of 97"):
        lens.Runs.record(model, [torch.tensor([1, 500])])


@pytest.mark.parametrize(
    "metric, message",
    [
        (lambda logits, encoded: 1 / 0, "your function raised ZeroDivisionError"),
        (lambda logits, encoded: logits, r"returned \(1, 97\); expected a tensor of shape \(1,\)"),
        (lambda logits, encoded: 3.0, "returned float"),
    ],
)
def test_a_users_metric_that_fails(model, metric, message):
    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    before = hooks()
    with pytest.raises(lens.MetricError, match=message):
        lens.patch(model, PAIR, metric=metric)
    assert hooks() == before


def test_stop_leaves_a_partial_result(model, monkeypatch):
    import lens.engine.sweep as sweeps

    monkeypatch.setattr(sweeps, "WATCHED_LAYERS", 1)
    calls = []
    ds = lens.patch(model, PAIR, on_part=lambda part: calls.append(part), stop=lambda: len(calls) > 0)
    assert lens.record(ds)["status"] == "partial" and len(calls) == 1
    assert np.isfinite(ds.value[2]).all() and np.isnan(ds.value[:2]).all()
    ds = lens.patch(model, PAIR, stop=lambda: True)
    assert lens.record(ds)["status"] == "partial" and np.isnan(ds.value).all()
    assert lens.patching.last_partial() is ds


def test_ctrl_c_leaves_a_partial_result(model, monkeypatch):
    import lens.engine.sweep as sweeps

    monkeypatch.setattr(sweeps, "WATCHED_LAYERS", 1)

    def interrupt(part):
        raise KeyboardInterrupt

    ds = lens.patch(model, PAIR, on_part=interrupt)
    assert lens.record(ds)["status"] == "partial"
    assert np.isfinite(ds.value[2]).all() and np.isnan(ds.value[0]).all()
    assert lens.record(lens.patch(model, PAIR))["status"] == "complete" and lens.patching.last_partial() is None


def test_ctrl_c_inside_the_walk_leaves_no_hook_and_a_partial_result(model, monkeypatch):
    import lens.engine.walk.rows as walking

    real, calls = walking.feed_forward, []

    def interrupted(*a):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*a)

    monkeypatch.setattr(walking, "feed_forward", interrupted)
    ds = lens.patch(model, PAIR)
    assert lens.record(ds)["status"] == "partial" and np.isnan(ds.value).all() and np.isfinite(ds.clean)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_sweep_on_disk_is_taken_up_where_it_was_cut(model, tmp_path, monkeypatch):
    import lens.engine.sweep as sweeps

    monkeypatch.setattr(sweeps, "WATCHED_LAYERS", 1)
    pairs = [PAIR, lens.Pair("w4 w2 w3", corrupted="w5 w2 w3", answer=" w7", foil=" w8")]
    path = tmp_path / "sweep.zarr"
    calls = []

    def cut(part):
        calls.append(part)
        if len(calls) == 2:
            raise KeyboardInterrupt

    partial = lens.patch(model, pairs, store=path, on_part=cut)
    assert lens.record(partial)["status"] == "partial" and lens.record(lens.open(path))["status"] == "partial"
    walked = []
    import lens.engine.model as module

    real = module.walk
    monkeypatch.setattr(module, "walk", lambda *a, **k: walked.append(len(a[1])) or real(*a, **k))
    whole = lens.patch(model, pairs, store=path)
    assert len(walked) == 1, "only the layer that was missing is computed again"
    assert np.allclose(whole.value, lens.patch(model, pairs).value, atol=1e-5, equal_nan=True)
    assert lens.record(lens.open(path))["status"] == "complete"
    assert np.allclose(lens.open(path).value, whole.value, atol=1e-5, equal_nan=True)
    with pytest.raises(lens.ResultError, match="attn_out"):
        lens.patch(model, pairs, "attn_out", store=path)


def test_weights_changed_in_place_are_seen():
    model = speaking()
    first = lens.patch(model, PAIR)
    model.model.layers[1].mlp.down_proj.weight.mul_(0.5)
    second = lens.patch(model, PAIR)
    assert not np.allclose(first.value, second.value)
    assert lens.record(first)["model"]["hash"] != lens.record(second)["model"]["hash"]


def test_low_precision_and_doubles_are_walked_too():
    exact = lens.patch(speaking(), PAIR)
    double = lens.patch(speaking().double(), PAIR)
    assert np.allclose(exact.value, double.value, atol=1e-4)
    low = lens.patch(speaking().bfloat16(), PAIR)
    assert (
        np.isfinite(low.value).all() and np.corrcoef(low.value.values.ravel(), exact.value.values.ravel())[0, 1] > 0.99
    )
    assert Decoder.of(speaking().half()).dtype == torch.float16


def test_a_sweep_inside_an_edit_is_refused_not_silently_unedited(model):
    with lens.edited(model, lens.Edit(lens.Site("attn_out", 1), "zero")):
        with lens.edited(model, lens.Edit(lens.Site("mlp_out", 1), "zero")):
            pass
        with pytest.raises(ValueError, match="leave the with block first"):
            lens.patch(model, PAIR)
    assert lens.record(lens.patch(model, PAIR))["status"] == "complete"


def test_something_that_is_no_language_model():
    with pytest.raises(lens.PatchError):
        lens.patch(torch.nn.Linear(3, 3), PAIR)


def test_several_processes_fill_one_store(model, tmp_path, monkeypatch):
    pairs = [
        PAIR,
        lens.Pair("w4 w2 w3", corrupted="w5 w2 w3", answer=" w7", foil=" w8"),
        lens.Pair("w4 w2 w1", corrupted="w5 w2 w1", answer=" w7", foil=" w8"),
    ]
    path = tmp_path / "shared.zarr"
    first = lens.patch(model, pairs, store=path, share=(0, 2))
    assert (
        lens.record(first)["status"] == "partial"
        and np.isnan(first.value[1]).all()
        and np.isfinite(first.value[2, :, :3]).all()
    )
    second = lens.patch(model, pairs, store=path, share=(1, 2))
    assert lens.record(second)["status"] == "complete"
    whole = lens.patch(model, pairs)
    for name in ("value", "effect", "clean", "corrupted"):
        assert np.allclose(second[name], whole[name], atol=1e-5, equal_nan=True)
    with pytest.raises(lens.PatchError, match=r"share=\(2, 2\)"):
        lens.patch(model, pairs, store=path, share=(2, 2))
    with pytest.raises(lens.PatchError, match="needs a store"):
        lens.patch(model, pairs, share=(0, 2))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "olmo2", "qwen2", "qwen3", "mistral"])
def test_low_precision_of_every_type(kind):
    exact = lens.patch(speaking(kind), PAIR).value.values
    low = lens.patch(speaking(kind).bfloat16(), PAIR).value.values
    assert np.isfinite(low).all() and np.corrcoef(low.ravel(), exact.ravel())[0, 1] > 0.97


def test_a_module_swapped_or_hooked_after_the_first_sweep_is_seen():
    model = speaking()
    lens.patch(model, PAIR)
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(32, 48, bias=False).requires_grad_(False)
    ids = lens.encode(model, PAIR).clean_ids[None]
    logits = model(ids).logits[0, -1]
    assert abs(lens.patch(model, PAIR).clean.item() - (logits[7] - logits[8]).item()) <= 1e-4
    with model.model.layers[0].register_forward_hook(lambda m, a, out: out * 1.5):
        logits = model(ids).logits[0, -1]
        assert abs(lens.patch(model, PAIR).clean.item() - (logits[7] - logits[8]).item()) <= 1e-4


class Adapter(torch.nn.Module):
    """A linear layer with something beside it: its forward is not its weight."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.extra = (
            inner,
            torch.nn.Linear(inner.in_features, inner.out_features, bias=False).requires_grad_(False),
        )

    @property
    def weight(self):
        return self.inner.weight

    @property
    def bias(self):
        return self.inner.bias

    def forward(self, x):
        return self.inner(x) + self.extra(x)


@pytest.mark.parametrize(
    "kind, where, name",
    [("gpt_neox", lambda m: m.gpt_neox.layers[1].attention, "query_key_value"), ("llama", lambda m: m, "lm_head")],
)
def test_an_adapter_on_a_module_is_not_passed_over(kind, where, name):
    """Whichever path serves it: what the module applies is in the numbers, also where it changes after a sweep."""
    model = speaking(kind)
    adapter = Adapter(getattr(where(model), name))
    setattr(where(model), name, adapter)
    seen = []
    for factor in (1.0, 0.0, -3.0):
        adapter.extra.weight.mul_(factor) if factor else adapter.extra.weight.neg_()
        logits = model(lens.encode(model, PAIR).clean_ids[None]).logits[0, -1]
        seen.append(lens.patch(model, PAIR).clean.item())
        assert abs(seen[-1] - (logits[7] - logits[8]).item()) <= 1e-4
    assert len({round(value, 3) for value in seen}) == 3


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        lens.patch(speaking("gpt2").train(), PAIR)


def test_weights_that_ask_for_gradients_are_no_obstacle():
    model = speaking().requires_grad_(True)
    assert np.isfinite(lens.path_patch(model, PAIR, lens.Site("q", 2, head=1)).value).all()
    assert (
        np.isfinite(lens.patch(model, PAIR).value).all()
        and np.isfinite(lens.patch(model, PAIR, method="attribution").value).all()
    )


def test_weights_that_turn_nan_later_are_found():
    model = speaking()
    lens.patch(model, PAIR)
    model.model.layers[2].mlp.up_proj.weight[3, 4] = float("nan")
    with pytest.raises(ValueError, match="layers.2.mlp.up_proj.weight.*NaN"):
        lens.patch(model, PAIR)


def test_a_metric_that_returns_nan_is_refused(model):
    with pytest.raises(lens.MetricError, match="returned NaN"):
        lens.patch(model, PAIR, metric=lambda logits, encoded: logits[:, 0] * float("nan"))


def test_a_store_knows_one_metric_function_from_another(model, tmp_path):
    lens.patch(model, [PAIR], metric=lambda x, e: x[:, 7], store=tmp_path / "m.zarr")
    with pytest.raises(lens.ResultError, match="metric_digest"):
        lens.patch(model, [PAIR], metric=lambda x, e: 1000 + x[:, 7], store=tmp_path / "m.zarr")
    assert (
        lens.record(lens.patch(model, [PAIR], metric=lambda x, e: x[:, 7], store=tmp_path / "m.zarr"))["status"]
        == "complete"
    )


def test_causal_tracing_needs_no_aligned_corrupted_prompt(model):
    pair = lens.Pair("w1 w2 w3 w4", corrupted="w1 w4", answer=" w7", foil=" w8", spans={"subject": "w2"})
    ds = lens.causal_trace(model, pair, samples=1)
    assert ds.token_clean.values.tolist() == ds.token_corrupted.values.tolist() == ["w1", "w2", "w3", "w4"]


def test_negative_positions_of_pairs_of_different_lengths_keep_their_names(model):
    short = lens.Pair("w4 w2 w3 w1", corrupted="w5 w2 w3 w1", answer=" w7", foil=" w8")
    ds = lens.patch(model, [PAIR, short], positions=[-2, -1])
    assert ds.position.values.tolist() == ["-2", "-1"] and ds.token_clean.values.tolist() == [
        ["w5", "w6"],
        ["w3", "w1"],
    ]


def test_the_mean_normalized_effect_counts_the_prompts_that_have_the_cell(model):
    pairs = [
        PAIR,
        lens.Pair("w4 w2 w3 w1", corrupted="w5 w2 w3 w1", answer=" w7", foil=" w8"),
        lens.Pair(PAIR.clean, corrupted=PAIR.corrupted, answer=" w9", foil=" w8"),
    ]
    ds = lens.patch(model, pairs)
    both = ds.isel(prompt=[0, 2])
    want = both.effect.mean("prompt") / (both.clean - both.corrupted).mean()
    assert np.allclose(lens.summary(ds).mean_normalized.values[:, 4:], want.values[:, 4:], atol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: lens.patch(m, None), "pairs.*expected lens.Pair"),
        (lambda m: lens.patch(m, PAIR, layers=[1, 1]), "names one twice"),
        (lambda m: lens.explain_cell(m, PAIR, "resid_pre", 1, 2, direction="sideways"), "direction='sideways'"),
        (lambda m: lens.path_patch(m, PAIR, lens.Site("q", 2, head=1), memory_mb=-5), "memory_mb=-5"),
        (lambda m: lens.causal_trace(m, PAIR, memory_mb=-5), "memory_mb=-5"),
        (lambda m: lens.patch(m, PAIR, "embed", layers=[99]), "layer=99"),
        (lambda m: lens.patch(m, PAIR, method="attribution", metric="kl", direction="noise"), "gradient vanishes"),
        (lambda m: lens.Edit(lens.Site("attn_out", 0), "replace", np.ones(32)), "value is a ndarray"),
        (lambda m: lens.agreement(lens.patch(m, PAIR), lens.patch(m, PAIR, "attn_out")), "site='attn_out'"),
        (
            lambda m: lens.agreement(
                lens.patch(m, PAIR, "z", ("layer", "head"), heads=[0, 1]),
                lens.patch(m, PAIR, "z", ("layer", "head"), heads=[2, 3]),
            ),
            "head axes differ",
        ),
    ],
)
def test_what_does_not_fit_is_named(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


def test_attribution_can_be_watched_and_stopped(model):
    seen = []
    done = lens.patch(model, [PAIR, PAIR], method="attribution", memory_mb=0.01, on_part=seen.append)
    assert len(seen) == 2 and lens.record(done)["status"] == "complete" and np.isnan(seen[0].value[1]).all()
    stopped = lens.patch(model, [PAIR, PAIR], method="attribution", memory_mb=0.01, stop=lambda: len(seen) > 1)
    assert lens.record(stopped)["status"] == "partial"


def test_ctrl_c_in_path_patching_keeps_the_finished_pairs(model, monkeypatch):
    from lens.patching import paths

    real, calls = paths._Job.run, []

    def run(self, *a):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return real(self, *a)

    monkeypatch.setattr(paths._Job, "run", run)
    ds = lens.path_patch(model, [PAIR, PAIR], lens.Site("q", 2, head=1), memory_mb=0.01)
    assert lens.record(ds)["status"] == "partial" and np.isfinite(ds.value[0]).all() and np.isnan(ds.value[1]).all()
    assert lens.patching.last_partial() is ds


def test_rows_of_one_long_prompt_are_walked_in_pieces(model, monkeypatch):
    import lens.engine.model as module

    real, sizes = module.walk, []
    monkeypatch.setattr(
        module, "walk", lambda base, rows, *a, **k: sizes.append(len(rows)) or real(base, rows, *a, **k)
    )
    words = " ".join(f"w{i % 90}" for i in range(1, 40))
    pair = lens.Pair(words, corrupted="w5" + words[2:], answer=" w7", foil=" w8")
    small = lens.patch(model, pair, memory_mb=0.25)
    # a row has at least one token, two streams of 32 floats
    assert len(sizes) > 3 and max(sizes) * 32 * 2 * 4 < 0.3 * 0.25 * 2**20
    assert np.allclose(small.value, lens.patch(model, pair).value, atol=1e-5)
