"""A tiny training: a step against torch's own Adam, an interruption, the folder that is written."""

import copy
import dataclasses
import json

import pytest
import scipy.stats
import torch

import lens
from lens.engine.errors import UnsupportedModel
from lens.engine.features import Tap
from lens.engine.walk.decoder import Decoder
from lens.engine.writing.own_forward import OwnForward
from lens.features import FeatureError
from lens.features.training import Recipe, fit, fitting, sample
from lens.features.training.__main__ import main
from lens.features.training.fitting import _first, _texts, _trained, activations
from lens.features.training.sampling import drawn, made_by
from tests import naive
from tests.models import speaking, tiny

SMALL = Recipe(
    tap="resid_post", layer=1, n_features=40, k=4, tokens=1024, parts=2, length=16, rows=16, batch=64, silent=300
)


@pytest.fixture(scope="module")
def llama():
    return speaking("llama")


def test_texts_are_the_models_own_and_kept(llama, tmp_path):
    ids = sample(llama, tmp_path, SMALL, 0)
    assert ids.shape == (32, 16) and (ids[:, 0] == 0).all() and ids[:, 1:].unique().numel() > 20
    before = (tmp_path / "tokens-0000.safetensors").stat().st_mtime_ns
    assert torch.equal(sample(llama, tmp_path, SMALL, 0), ids)
    assert (tmp_path / "tokens-0000.safetensors").stat().st_mtime_ns == before
    with pytest.raises(FeatureError, match="another recipe or model"):
        sample(llama, tmp_path, Recipe(tokens=64, parts=1, length=16), 0)
    assert not torch.equal(sample(llama, tmp_path, SMALL, 1), ids)


def test_activations_are_those_of_a_plain_forward(llama):
    ids = torch.randint(1, 97, (3, 8), generator=torch.Generator().manual_seed(0))
    ours = activations(llama, ids, Tap("mlp_out", 1), 2)
    theirs = torch.cat([naive.activation(tiny("llama"), row, "mlp_out", 1)[2:] for row in ids])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_activations_seen_while_texts_are_written_are_those_of_a_forward_of_the_texts(llama, tmp_path):
    recipe = Recipe(layer=1, tokens=640, parts=1, length=16, rows=12, skip_tokens=3)
    own = made_by(llama, recipe)
    ids, seen = _texts(llama, tmp_path, recipe, 0, own)
    assert ids.shape == (40, 16) and seen.shape == (40 * 13, 32)
    # in double precision: token by token and all at once differ by rounding alone
    whole = activations(copy.deepcopy(llama).double(), ids, Tap("resid_post", 1), 3)
    torch.testing.assert_close(seen, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))
    assert torch.equal(sample(llama, tmp_path, recipe, 0), ids)
    again, read = _texts(llama, tmp_path, recipe, 0, own)
    assert torch.equal(again, ids)
    torch.testing.assert_close(read, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_blocks_that_differ_on_texts_of_this_length_do_not_write_them(tmp_path, monkeypatch):
    """A stand-in for what acts on longer texts alone: the model's own forward writes then, and both write the same."""
    recipe, started = Recipe(layer=1, tokens=320, parts=1, length=16, rows=20), []
    want = sample(speaking("llama"), tmp_path / "blocks", recipe, 0)
    own, real = OwnForward.start, Decoder.verify
    monkeypatch.setattr(OwnForward, "start", lambda self, *given: started.append(len(given[0])) or own(self, *given))

    def verify(self, ids, resid):
        if max(map(len, ids)) >= 16:
            raise UnsupportedModel("they differ")
        real(self, ids, resid)

    monkeypatch.setattr(Decoder, "verify", verify)
    assert torch.equal(sample(speaking("llama"), tmp_path / "own", recipe, 0), want)
    assert started == [20]


def test_words_are_drawn_with_their_chances():
    """Against the closed form: counts of 20,000 draws by a chi-squared test, and a word of no chance never."""
    chance = torch.zeros(600, dtype=torch.float64)
    chance[[1, 2, 300, 301, 599]] = torch.tensor([0.3, 0.2, 0.15, 0.05, 0.3], dtype=torch.float64)
    logits = chance.log().float().expand(5_000, -1) + 7
    draw = torch.Generator().manual_seed(0)
    words = torch.cat([drawn(logits.clone(), draw) for _ in range(4)])
    found = words.flatten().bincount(minlength=600)
    assert found[chance == 0].sum() == 0
    assert scipy.stats.chisquare(found[chance > 0], 20_000 * chance[chance > 0]).pvalue > 0.01
    assert torch.equal(drawn(logits.clone(), torch.Generator().manual_seed(0)), words[:5_000])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_word_is_drawn_from_logits_that_are_no_numbers(bad):
    logits = torch.zeros(2, 300)
    logits[1, 7] = bad
    with pytest.raises(FeatureError, match=r"logits are not finite.* float32"):
        drawn(logits, torch.Generator().manual_seed(0))


def test_a_part_without_a_whole_step_is_refused_before_anything_is_written(llama, tmp_path):
    with pytest.raises(FeatureError, match=r"batch=1024: no whole step in the 480 tokens of a part"):
        fit(llama, tmp_path / "run", dataclasses.replace(SMALL, batch=1024))
    assert not (tmp_path / "run").exists()


def test_a_step_is_adams_with_directions_of_length_one():
    """Against torch.optim.Adam on a loss written with loops over the k largest."""
    x = torch.randn(64, 12, generator=torch.Generator().manual_seed(1))
    recipe = Recipe(n_features=20, k=3, tokens=640, parts=1, length=16, batch=64, rate=0.01)
    state = _first(x, recipe)
    weights = {n: state[n].double().clone().requires_grad_() for n in ("encoder", "bias", "decoder", "centre")}
    optimizer = torch.optim.Adam(weights.values(), lr=0.01 / 100, eps=1e-8)
    rows = x[torch.randperm(64, generator=torch.Generator().manual_seed(0))].double() * state["scale"].double()
    h = (rows - weights["centre"]) @ weights["encoder"].T + weights["bias"]
    made = []
    for one in h:
        best = one.argsort(descending=True)[:3]
        made.append(one[best].clamp(min=0) @ weights["decoder"][best] + weights["centre"])
    loss = (rows - torch.stack(made)).square().sum() / (rows - rows.mean(0)).square().sum()
    loss.backward()
    d = weights["decoder"]
    d.grad -= (d.grad * d).sum(1, keepdim=True).detach() * d.detach()
    optimizer.step()
    told = _trained(state, x, recipe, 0)
    assert abs(told["explained_variance"] - (1 - float(loss))) < 1e-4
    for name, want in weights.items():
        want = want.detach()
        want = want / want.norm(dim=1, keepdim=True) if name == "decoder" else want
        torch.testing.assert_close(state[name].double(), want, rtol=0, atol=2e-6)


def test_a_run_that_was_cut_ends_as_one_that_was_not(llama, tmp_path):
    told = []
    whole = fit(llama, tmp_path / "whole", SMALL, on_part=lambda part, of: told.append((part, of)))
    assert [part for part, _ in told] == [0, 1] and told[0][1]["tokens"] == 512
    assert fit(llama, tmp_path / "cut", SMALL, parts=1) is None
    again = fit(llama, tmp_path / "cut", SMALL)
    for name in ("encoder", "decoder"):
        assert torch.equal(getattr(whole, name).whole, getattr(again, name).whole)
    with pytest.raises(FeatureError, match="another recipe or model"):
        fit(tiny("llama", seed=1), tmp_path / "cut", SMALL)
    # it explains more than a random one of its shape
    x = activations(llama, sample(llama, tmp_path / "whole", SMALL, 1), Tap("resid_post", 1), 1)

    def left(sae):
        return float((x - sae.reconstruct(sae.values(x), x)).square().sum() / (x - x.mean(0)).square().sum())

    assert left(whole) < left(lens.features.random_like(whole))


def test_tokens_far_longer_than_others_are_not_learned_from(llama, tmp_path, monkeypatch):
    """A token a hundred times as long as others is left out of every part, by the first part's median."""
    plain, far = fitting._texts, torch.tensor([5, 40, 41])

    def with_outliers(*given):
        ids, x = plain(*given)
        x = x.clone()
        x[far] = 100 * x[far] / x[far].norm(dim=1, keepdim=True) * x.norm(dim=1).median()
        return ids, x

    def without_them(*given):
        ids, x = plain(*given)
        return ids, x[[i for i in range(len(x)) if i not in far]]

    made, told = {}, []
    for name, texts in (("with", with_outliers), ("without", without_them)):
        monkeypatch.setattr(fitting, "_texts", texts)
        made[name] = fit(llama, tmp_path / name, SMALL, on_part=lambda part, of: told.append(of["outliers"]))
    assert told[:2] == [3 / 480] * 2 and told[2:] == [0, 0]
    # the medians of the first part are next to each other: what they leave out is the same
    assert torch.equal(made["with"].encoder.whole, made["without"].encoder.whole)


def test_what_is_written_is_read_back_in_float16(llama, tmp_path):
    sae = fit(llama, tmp_path / "run", SMALL)
    folder = lens.features.save(sae, tmp_path / "sae", card={"texts": "own"})
    back = lens.features.load(folder)
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(back.directions(torch.tensor([3])), sae.directions(torch.tensor([3])).half().float())
    assert (back.reads, back.rule.k, back.skip_tokens, back.starts) == (sae.reads, 4, 1, True)
    torch.testing.assert_close(back.pre(x), sae.pre(x), rtol=0, atol=5e-3 * float(sae.pre(x).abs().max()))
    assert back.about["card"] == {"texts": "own"}
    with pytest.raises(lens.FileError):
        lens.features.save(sae, folder)
    large = lens.features.from_weights(
        torch.full((4, 6), 1e6), torch.zeros(6), torch.zeros(6, 4), torch.zeros(4), tap="mlp_out", layer=0
    )
    with pytest.raises(FeatureError, match="half=False"):
        lens.features.save(large, tmp_path / "other")
    (folder / "dictionary.json").write_text(json.dumps({"n_features": 40}))
    with pytest.raises(FeatureError, match=r"dictionary.json cannot be read"):
        lens.features.load(folder)


def test_the_command_goes_on_and_says_how_the_dictionary_came_about(llama, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("lens.features.training.__main__.load", lambda name, **how: asked.append(how) or llama)
    words = ["--folder", str(tmp_path / "run"), "--out", str(tmp_path / "sae"), "--layer", "1", "--n-features", "40"]
    words += ["--attention", "sdpa"]
    words += ["--k", "4", "--tokens", "1024", "--parts", "2", "--length", "16", "--batch", "64"]
    assert main([*words, "--now", "1"]) == 0 and "parts are left" in capsys.readouterr().out
    assert main(words) == 0 and "part 2 of 2" in capsys.readouterr().out
    card = lens.features.load(tmp_path / "sae").about["card"]
    assert card["recipe"]["n_features"] == 40 and "--k 4" in card["command"] and "--attention sdpa" in card["command"]
    assert asked == [{"attn_implementation": "sdpa"}] * 2 and "model itself" in card["texts"]


def test_the_command_says_what_is_wrong_before_it_begins(llama, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lens.features.training.__main__.load", lambda name, **_: llama)
    words, taken = ["--folder", str(tmp_path / "run")], tmp_path / "taken"
    taken.mkdir()
    for more, says in [
        (["--out", str(taken)], "is there already"),
        (["--out", str(tmp_path / "sae"), "--now", "0"], "now=0"),
        (["--out", str(tmp_path / "sae"), "--k", "0"], "k=0"),
        (["--out", str(tmp_path / "sae"), "--layer", "99"], "layer=99"),
        (["--out", str(tmp_path / "sae"), "--layer", "1", "--tap", "resid_somewhere"], "resid_somewhere"),
    ]:
        assert main([*words, *more]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "more, says",
    [
        (dict(k=41, n_features=40), "k=41"),
        (dict(length=4, skip_tokens=3), "skip_tokens=3"),
        (dict(outliers=0.5), "outliers=0.5"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(more, says):
    with pytest.raises(FeatureError, match=says):
        Recipe(**more)
