"""Attribution against finite differences and closed forms; path patching and causal tracing against hooked forwards."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

import lens
from tests import naive
from tests.models import speaking

PAIR = lens.Pair("w1 w2 w3 w4 w5 w6", corrupted="w1 w2 w9 w4 w8 w6", answer=" w7", foil=" w8", spans={"subject": "w3"})


def ids(text):
    return torch.tensor([int(w[1:]) for w in text.split()])


CLEAN, CORRUPTED = ids(PAIR.clean), ids(PAIR.corrupted)


@pytest.fixture(scope="module", params=["llama", "gpt2", "gpt_neox", "olmo2"])
def model(request):
    made = speaking(request.param).double()
    made.set_attn_implementation("naive")
    return made


def diff(logits):
    return (logits[-1, 7] - logits[-1, 8]).item()


@pytest.mark.parametrize(
    "site, head",
    [
        ("resid_pre", None),
        ("attn_out", None),
        ("mlp_out", None),
        ("neuron", None),
        ("embed", None),
        ("z", 1),
        ("q", 1),
        ("k", 1),
        ("v", 1),
        ("pattern", 1),
    ],
)
def test_attribution_is_the_derivative_along_the_way_to_the_source(model, site, head):
    over = ("layer", "position") if head is None else ("layer", "head")
    ds = lens.patch(model, PAIR, site, over=over, method="attribution")
    layer = None if site == "embed" else 1
    base, source = (naive.activation(model, i, site, layer) for i in (CORRUPTED, CLEAN))
    cells = [(p, None) for p in (2, 4, 5)] if head is None else [(None, head)]
    for position, h in cells:
        mask = torch.zeros_like(base)
        if head is None:
            mask[position] = 1
        elif site == "pattern":
            mask[h] = 1
        else:
            mask[:, h] = 1
        step = 2e-3  # RMS norms compute in float32 inside: a smaller step would measure rounding

        def at(t):
            return diff(naive.forward(model, CORRUPTED, [(site, layer, lambda x: x + t * (source - base) * mask)]))

        slope = (at(step) - at(-step)) / (2 * step)
        got = (
            ds.effect.isel(layer=0 if site == "embed" else 1)
            .sel(**({"position": position} if head is None else {"head": h}))
            .item()
        )
        assert abs(got - slope) <= 1e-3 * max(1, abs(slope))


def test_integrated_gradients_of_the_embeddings_add_up_to_the_whole_effect(model):
    # completeness (Sundararajan et al. 2017): with many steps the attributions to the embeddings sum to the metric's
    # change
    ds = lens.patch(model, PAIR, "embed", method="attribution", steps=50)
    gap = (ds.clean - ds.corrupted).item()
    assert abs(ds.effect.sum().item() - gap) <= 0.002 * abs(gap)


def test_attribution_of_a_longer_answer_is_summed_over_both_sequences(model):
    pair = lens.Pair(PAIR.clean, corrupted=PAIR.corrupted, answer=" w7 w3", foil=" w8 w4 w5")
    ds = lens.patch(model, pair, "embed", method="attribution", steps=50, metric="logprob_diff")
    gap = (ds.clean - ds.corrupted).item()
    assert abs(ds.effect.sum().item() - gap) <= 0.002 * abs(gap)


@pytest.mark.parametrize("memory_mb", [0.01, 500])
def test_attribution_over_prompts_equals_one_by_one(model, memory_mb):
    pairs = [PAIR, lens.Pair("w11 w2 w3 w4", corrupted="w11 w20 w3 w4", answer=" w17", foil=" w8")]
    both = lens.patch(model, pairs, "z", over=("layer", "head", "position"), method="attribution", memory_mb=memory_mb)
    for i, pair in enumerate(pairs):
        one = lens.patch(model, pair, "z", over=("layer", "head", "position"), method="attribution")
        assert np.allclose(both.effect.values[i][..., : one.sizes["position"]], one.effect, atol=1e-5)


def test_agreement_of_a_result_with_itself_is_perfect_and_with_its_negative_is_not(model):
    ds = lens.patch(
        model, [PAIR, lens.Pair("w11 w2 w3 w4 w5 w6", corrupted="w11 w20 w3 w4 w5 w6", answer=" w17", foil=" w8")]
    )
    same = lens.agreement(ds, ds)
    assert (
        same.pearson == pytest.approx(1)
        and same.spearman == pytest.approx(1)
        and same.slope == pytest.approx(1)
        and same.top == 1
        and same.sign == 1
    )
    assert same.n_prompts == 2 and same.pearson_within is None, "two prompts are too few for an interval"
    by_unit = lens.agreement(ds, ds, units=["one scene", "one scene"])
    assert by_unit.n_prompts == 1 and by_unit.pearson_within is None and "1 units" in str(by_unit), (
        "two prompts of one scene are one unit"
    )
    for units in ([[1], [1, 2]], torch.eye(2).to_sparse(), [["a"], ["b"]]):
        with pytest.raises(lens.PatchError, match="^units=.*expected a list of labels, one number or text for each"):
            lens.agreement(ds, ds, units=units)
    other = lens.agreement(ds, -ds)
    assert other.pearson == pytest.approx(-1) and other.sign == 0 and other.slope == pytest.approx(-1)
    with pytest.raises(lens.PatchError, match="same grid"):
        lens.agreement(ds, ds.isel(layer=[0]))


def path_reference(model, sender, receiver, through_mlps, base=CLEAN, source=CORRUPTED):
    (ls, hs), (site, lr, hr) = sender, receiver
    z = naive.activation(model, source, "z", ls)
    kind = model.config.model_type
    n = model.config.num_hidden_layers

    def send(x):
        x = x.clone()
        x[0, :, hs] = z[:, hs]
        return x

    changes = [("z", ls, send)]
    for l in range(n):
        if l != ls:
            act = naive.activation(model, base, "attn_out", l)
            changes.append(("attn_out", l, lambda x, a=act: a[None]))
        if not through_mlps:
            act = naive.activation(model, base, "mlp_out", l)
            changes.append(("mlp_out", l, lambda x, a=act: a[None]))
    got = []
    naive.forward(model, base, [*changes, (site, lr, lambda x: (got.append(x.clone()), x)[1])])
    arrived = got[0][0]

    def receive(x):
        x = x.clone()
        if hr is None:
            x[0] = arrived
        else:
            x[0, :, hr] = arrived[:, hr]
        return x

    assert kind
    return diff(naive.forward(model, base, [(site, lr, receive)]))


@pytest.mark.parametrize("through_mlps", [True, False])
@pytest.mark.parametrize(
    "receiver", [("q", 2, 1), ("k", 2, 0), ("v", 2, 1), ("resid_pre", 2, None), ("resid_post", 2, None)]
)
def test_path_patching(model, receiver, through_mlps):
    site, layer, head = receiver
    ds = lens.path_patch(model, PAIR, lens.Site(site, layer, head=head), through_mlps=through_mlps)
    for ls, hs in ((0, 0), (0, 3), (1, 2)) + (((2, 1),) if site == "resid_post" else ()):
        assert abs(ds.value.values[ls, hs] - path_reference(model, (ls, hs), receiver, through_mlps)) <= 1e-4, (ls, hs)
    assert ds.sizes["layer"] == (3 if site == "resid_post" else 2)


def test_path_patching_many_pairs_denoising_and_bad_receivers(model):
    ds = lens.path_patch(model, [PAIR, PAIR], lens.Site("q", 2, head=1), direction="denoise", senders=[(0, 1), (1, 3)])
    want = path_reference(model, (1, 3), ("q", 2, 1), True, base=CORRUPTED, source=CLEAN)
    assert abs(ds.value.values[1, 1, 3] - want) <= 1e-4 and np.isfinite(ds.value.values).sum() == 4
    with pytest.raises(lens.PatchError, match="cannot receive"):
        lens.path_patch(model, PAIR, lens.Site("z", 2, head=1))
    with pytest.raises(lens.PatchError, match="must come before"):
        lens.path_patch(model, PAIR, lens.Site("q", 1, head=1), senders=[(1, 0)])
    with pytest.raises(lens.PatchError, match="no head can send to it"):
        lens.path_patch(model, PAIR, lens.Site("q", 0, head=1))
    with pytest.raises(lens.SiteError, match="head=9"):
        lens.path_patch(model, PAIR, lens.Site("q", 1, head=9))


def test_causal_tracing_restores_clean_states_in_noised_runs(model):
    ds = lens.causal_trace(model, PAIR, "mlp_out", samples=2, window=2, noise=2.0, seed=7, metric="logit_diff")
    sigma = (
        2.0
        * torch.nn.Module.get_parameter(
            model,
            next(n for n, _ in model.named_parameters() if n.split(".")[1] in ("embed_tokens", "wte", "embed_in")),
        )
        .float()
        .std()
        .item()
    )
    values, bases = [], []
    for s in range(2):
        draw = torch.Generator().manual_seed(int(np.random.SeedSequence([7, 0, s]).generate_state(1)[0]))
        noise = torch.randn(1, model.config.hidden_size, generator=draw).double() * sigma
        add = ("embed", None, lambda x: torch.cat([x[:, :2], x[:, 2:3] + noise, x[:, 3:]], 1))
        restore = []
        for l in (1, 2):
            act = naive.activation(model, CLEAN, "mlp_out", l)
            restore.append(("mlp_out", l, lambda x, a=act: torch.cat([x[:, :4], a[None, 4:5], x[:, 5:]], 1)))
        bases.append(diff(naive.forward(model, CLEAN, [add])))
        values.append(diff(naive.forward(model, CLEAN, [add, *restore])))
    assert abs(ds.value.values[2, 4] - np.mean(values)) <= 1e-4 and abs(ds.corrupted.item() - np.mean(bases)) <= 1e-4
    assert abs(ds.value_sd.values[2, 4] - np.std(values, ddof=1)) <= 1e-4
    again = lens.causal_trace(model, PAIR, "mlp_out", samples=2, window=2, noise=2.0, seed=7, metric="logit_diff")
    assert np.array_equal(ds.value, again.value)
    assert not np.array_equal(
        ds.value,
        lens.causal_trace(model, PAIR, "mlp_out", samples=2, window=2, noise=2.0, seed=8, metric="logit_diff").value,
    )


@pytest.mark.parametrize(
    "change, message",
    [(dict(subject="verb"), "subject='verb'"), (dict(noise=0), "noise=0"), (dict(samples=0), "samples=0")],
)
def test_causal_tracing_names_its_bad_arguments(model, change, message):
    with pytest.raises(lens.PatchError, match=message):
        lens.causal_trace(model, PAIR, **change)


def test_a_cells_predictions_are_those_of_the_edited_run(model):
    view = lens.explain_cell(model, PAIR, "resid_pre", 1, 4, k=5)
    act = naive.activation(model, CLEAN, "resid_pre", 1)
    logits = naive.forward(
        model, CORRUPTED, [("resid_pre", 1, lambda x: torch.cat([x[:, :4], act[None, 4:5], x[:, 5:]], 1))]
    )[-1]
    probability, index = logits.float().softmax(-1).topk(5)
    assert [t for t, _ in view.edited] == [f"w{i}" for i in index.tolist()]
    assert np.allclose([p for _, p in view.edited], probability, atol=1e-4)
    assert [t for t, _ in view.clean] == [f"w{i}" for i in naive.forward(model, CLEAN)[-1].topk(5).indices.tolist()]
    assert abs(view.edited_value - lens.patch(model, PAIR).value.values[1, 4]) <= 1e-4
    assert (
        abs(
            lens.explain_cell(model, PAIR, "z", 1, head=2).edited_value
            - lens.patch(model, PAIR, "z", over=("layer", "head")).value.values[1, 2]
        )
        <= 1e-4
    )


def test_summary_is_the_mean_with_its_interval_and_test():
    from scipy import stats

    model = speaking()
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(12):
        a, b, c, d = rng.choice(90, 4, replace=False)
        pairs.append(lens.Pair(f"w1 w{a} w3", corrupted=f"w1 w{b} w3", answer=f" w{c}", foil=f" w{d}"))
    ds = lens.patch(model, pairs)
    table = lens.summary(ds, flips=5000, resamples=1000)
    assert (
        np.allclose(table["mean"], ds.effect.mean("prompt"), atol=1e-6, equal_nan=True)
        and int(table.n.values[1, 1]) == 12
    )
    reference = stats.permutation_test(
        (ds.effect.values[:, 1, 1],), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert table.p.values[1, 1] == pytest.approx(reference, abs=1e-9)
    assert ((table.p_holm >= table.p) | np.isnan(table.p)).all()
    # a cell that no prompt changes has values that are all alike: its mean has no interval
    same = (ds.effect == 0).all("prompt").values
    assert same.any() and (table["mean"].values[same] == 0).all() and (table.p.values[same] == 1).all()
    low, mean, high = (table[name].values for name in ("low", "mean", "high"))
    assert np.isnan(low[same]).all() and np.isnan(high[same]).all()
    assert (low < mean)[~same].all() and (mean < high)[~same].all()
    assert np.allclose(table.mean_normalized, ds.effect.mean("prompt") / (ds.clean - ds.corrupted).mean(), atol=1e-5)
    with pytest.raises(lens.PatchError, match="no prompt axis"):
        lens.summary(ds.isel(prompt=0, drop=True))
    with pytest.raises(lens.PatchError, match="at least two"):
        lens.summary(ds.isel(prompt=[0]))


def test_agreement_has_an_interval_of_what_holds_within_a_prompt():
    """Against SciPy, prompt by prompt; and the interval covers: a normal correlation within a prompt is a mean like any
    other.
    """
    from lens.readout.agreement import compare
    from lens.stats.means import mean_interval

    rng = np.random.default_rng(0)
    exact = rng.standard_t(3, (9, 40))
    estimate = 0.8 * exact + rng.normal(size=(9, 40))
    cells = {"layer": np.arange(40)}
    made = [xr.Dataset({"effect": (("prompt", "layer"), values)}, coords=cells) for values in (exact, estimate)]
    found = compare(*made, same=())
    single = [stats.pearsonr(x, y)[0] for x, y in zip(exact, estimate)]
    expected = mean_interval(np.array(single), values="number", resamples=1000)
    assert found.pearson_within.estimate == pytest.approx(np.mean(single))
    assert (found.pearson_within.low, found.pearson_within.high) == (
        expected.low,
        expected.high,
    ) and found.pearson_within.low < np.mean(single)
    assert found.pearson == pytest.approx(
        stats.pearsonr(exact.mean(0), estimate.mean(0))[0]
    ) and "within one of the prompts" in str(found)
    constant = compare(made[0], made[1] * 0 + 1.0, same=())
    assert np.isnan(constant.pearson), "a constant estimate has no correlation"
    table, k = found.table(), 10
    assert list(table.index) == ["pearson", "spearman", "slope", "top", "sign"]
    overlap, signs = [], []
    for x, y in zip(exact, estimate):
        largest, theirs = (set(sorted(range(40), key=lambda i: -abs(v[i]))[:k]) for v in (x, y))
        overlap.append(len(largest & theirs) / k)
        signs.append(sum(x[i] * y[i] > 0 for i in largest) / k)
    wanted = {"top": overlap, "sign": signs}
    for name, values in wanted.items():
        interval = mean_interval(np.array(values), values="number", resamples=1000)
        assert table.within[name] == pytest.approx(np.mean(values))
        assert (table.low[name], table.high[name]) == pytest.approx((max(0, interval.low), min(1, interval.high)))
    # least squares over all cells of all prompts
    slope = np.linalg.lstsq(exact.reshape(-1, 1), estimate.reshape(-1), rcond=None)[0][0]
    assert table.within["slope"] == pytest.approx(slope) and table.low["slope"] < slope < table.high["slope"]
    few = compare(*(ds.isel(prompt=slice(4)) for ds in made), same=()).table()
    assert few.low.isna().all() and (few.interval_kind == "not available: fewer than 5 prompts").all()


@pytest.mark.long
@pytest.mark.parametrize("runs", [60, pytest.param(600, marks=pytest.mark.long)])
def test_the_interval_of_a_slope_covers(runs):
    """Prompts whose effects, noise and slopes differ: the pooled slope of many prompts lies in the interval of twelve
    about as often as it says, against the slope of the means, which noise draws to 0.
    """
    from lens.readout.agreement import compare

    rng = np.random.default_rng(1)

    def prompts(n):
        size = rng.lognormal(size=(n, 1))
        exact = size * rng.standard_t(4, (n, 30))
        return exact, rng.normal(0.7, 0.2, (n, 1)) * exact + 0.3 * size * rng.normal(size=(n, 30))

    a, b = prompts(200_000)
    truth, inside = (a * b).sum() / (a * a).sum(), 0
    for _ in range(runs):
        made = [xr.Dataset({"effect": (("prompt", "layer"), v)}) for v in prompts(12)]
        interval = compare(*made, same=()).slope_within
        inside += interval.low <= truth <= interval.high
    # 95 % less three standard errors of so many runs, and what is lost to heavy tails
    assert inside / runs > 0.9 - 3 * np.sqrt(0.05 * 0.95 / runs)
