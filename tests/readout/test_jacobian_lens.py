"""The Jacobian lens against torch's own Jacobian, TransformerLens, and what follows from its definition."""

import json

import numpy as np
import pytest
import torch

import lens
from lens.engine.model import Model
from lens.readout.jacobian_lens import JacobianLens, JacobianLensError, TokenLens
from tests import models
from tests.models import speaking, word_tokenizer

TEXTS = [" ".join(f"w{(7 * i + 3 * j * j + i * j) % 96 + 1}" for j in range(14 + i % 3)) for i in range(5)]
FIT = dict(length=12, skip=3, start=None)


def ids(text):
    return torch.tensor([int(w[1:]) for w in text.split()])


@pytest.fixture(scope="module")
def model():
    return speaking("llama")


@pytest.fixture(scope="module")
def fitted(model):
    return lens.jacobian_lens.fit(model, TEXTS, **FIT)


def direct(hf, row, skip):
    """By its definition: torch's Jacobian of each layer's rest, on the library's own layers."""
    body, length = hf.model, len(row)
    with torch.no_grad():
        states = hf(row[None], output_hidden_states=True).hidden_states
    position = torch.arange(length)[None]
    rotary = body.rotary_emb(states[0], position)
    later = range(skip, length - 1)
    found = []
    for layer in range(len(body.layers) - 1):

        def rest(x, layer=layer):
            x = x[None]
            for block in body.layers[layer + 1 :]:
                x = block(x, position_embeddings=rotary, position_ids=position)
                x = x[0] if isinstance(x, tuple) else x
            return x[0, skip : length - 1].sum(0)

        whole = torch.autograd.functional.jacobian(rest, states[layer + 1][0])  # [d, position, d]
        found.append(whole[:, list(later)].mean(1))
    return torch.stack(found)


def test_it_is_the_average_of_torchs_jacobians(fitted, model):
    hf = models.tiny("llama")
    want = torch.stack([direct(hf, ids(text)[:12], 3) for text in TEXTS])
    torch.testing.assert_close(fitted.mean, want.mean(0), atol=1e-5 * want.abs().max().item(), rtol=0)
    torch.testing.assert_close(fitted.half, want[1::2].mean(0), atol=1e-5 * want.abs().max().item(), rtol=0)
    assert fitted.layers == (0, 1) and fitted.n == 5 and fitted.about["status"] == "complete"
    # one position: a plain Jacobian
    one = lens.jacobian_lens.fit(model, [ids(TEXTS[0])[:7]], length=7, skip=5)
    torch.testing.assert_close(one.mean, direct(hf, ids(TEXTS[0])[:7], 5), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "llama"])
def test_it_is_transformer_lens_own(kind, tiny_bridge):
    from transformer_lens.tools.analysis import JacobianLens as Theirs

    bridge, hf = tiny_bridge(kind)
    hf.tokenizer = word_tokenizer()
    rows = [bridge.to_tokens(text)[0, :12] for text in TEXTS[:3]]
    theirs = Theirs.fit(
        bridge, TEXTS[:3], corpus="words", max_seq_len=12, skip_first_positions=3, show_progress=False, dim_batch=5
    )
    ours = lens.jacobian_lens.fit(hf, rows, **FIT)
    for layer in ours.layers:
        want = theirs.jacobians[layer]
        torch.testing.assert_close(ours.of(layer), want, atol=1e-5 * want.abs().max().item(), rtol=0)
    vectors = theirs.lens_vectors(bridge, ["w5", "w9"], layer=1)
    torch.testing.assert_close(ours.vectors(hf, ["w5", "w9"])[1], vectors.float(), atol=1e-4, rtol=1e-4)


def test_published_files_are_read_without_being_run(tmp_path, tiny_bridge):
    from transformer_lens.tools.analysis import JacobianLens as Theirs

    bridge, hf = tiny_bridge("gpt2")
    theirs = Theirs.fit(bridge, TEXTS[:1], corpus="words", max_seq_len=8, skip_first_positions=3, show_progress=False)
    theirs.save(tmp_path / "published.pt")
    with pytest.raises(JacobianLensError, match="allow_tensors_from_pickle"):
        lens.jacobian_lens.open(tmp_path / "published.pt")
    ours = lens.jacobian_lens.open(tmp_path / "published.pt", hf, allow_tensors_from_pickle=True)
    assert ours.n == 1 and ours.layers == (0, 1)
    torch.testing.assert_close(ours.of(1), theirs.jacobians[1], atol=2e-3, rtol=1e-3)
    with pytest.raises(JacobianLensError, match="no two halves"):
        ours.split_half()
    sums = {"jacobian_sum": {0: 2 * torch.eye(32), 1: 4 * torch.eye(32)}, "n_done": 2, "next_idx": 2}
    torch.save(sums, tmp_path / "checkpoint.pt")
    mean = lens.jacobian_lens.open(tmp_path / "checkpoint.pt", allow_tensors_from_pickle=True).mean
    assert torch.equal(mean, torch.stack([torch.eye(32), 2 * torch.eye(32)]))
    for odd, said in (
        ({"weights": 1}, "has J"),
        ({"J": {0: torch.ones(2, 3)}, "n_prompts": 1}, "shape"),
        ({"J": {0: torch.full((2, 2), torch.nan)}, "n_prompts": 1}, "not finite"),
        ({"J": {0: torch.eye(2)}, "n_prompts": 1, "source_layers": [1]}, "source_layers"),
        ({"J": {0: torch.eye(2)}, "n_prompts": 0}, "n_prompts"),
    ):
        torch.save(odd, tmp_path / "odd.pt")
        with pytest.raises(JacobianLensError, match=said):
            lens.jacobian_lens.open(tmp_path / "odd.pt", allow_tensors_from_pickle=True)
    torch.save({"J": torch.nn.Linear(1, 1)}, tmp_path / "odd.pt")
    with pytest.raises(JacobianLensError, match="which no plain tensors need"):
        lens.jacobian_lens.open(tmp_path / "odd.pt", allow_tensors_from_pickle=True)


def test_the_order_of_prompts_and_how_rows_are_cut_change_nothing(fitted, model):
    backwards = lens.jacobian_lens.fit(model, TEXTS[::-1], **FIT)
    torch.testing.assert_close(backwards.mean, fitted.mean, atol=1e-5, rtol=1e-5)
    # five rows at once in place of all 32, whose MLPs are formed as matrices
    few = lens.jacobian_lens.fit(model, TEXTS, memory_mb=5 * 32 * 8 * 4 / 0.2 / 2**20, **FIT)
    torch.testing.assert_close(few.mean, fitted.mean, atol=1e-5, rtol=1e-5)


def test_blocks_that_write_nothing_carry_everything_as_it_is():
    hf = models.tiny("gpt2")
    for block in hf.transformer.h:
        for layer in (block.attn.c_proj, block.mlp.c_proj):
            layer.weight.zero_(), layer.bias.zero_()
    J = lens.jacobian_lens.fit(hf, [torch.arange(1, 9)], length=8, skip=6)
    assert torch.equal(J.mean, torch.eye(32).expand(2, -1, -1))


def test_chosen_tokens_are_the_whole_lens_times_their_columns(fitted, model):
    chosen = lens.jacobian_lens.fit(model, TEXTS, tokens=["w5", 9, "w40"], **FIT)
    assert isinstance(chosen, TokenLens) and chosen.tokens == (5, 9, 40)
    hf = models.tiny("llama")
    folded = hf.lm_head.weight[[5, 9, 40]] * hf.model.norm.weight
    want = folded @ fitted.mean
    torch.testing.assert_close(chosen.mean, want, atol=1e-5 * want.abs().max().item(), rtol=0)
    # their order is the whole lens's at every position
    runs = Model.of(model).record([ids(TEXTS[0])])
    x = runs.get("resid_post", 1)
    logits = Model.of(model).unembed(fitted.transport(1, x))[:, [5, 9, 40]]
    assert torch.equal(chosen.scores(1, x).argsort(-1), logits.argsort(-1))


def test_no_lens_and_the_identity_read_alike_bit_for_bit(fitted, model):
    plain = lens.logit_lens(model, "w1 w2 w3", answer="w7")
    one = JacobianLens((0, 1), torch.eye(32).repeat(2, 1, 1), None, {})
    read = lens.logit_lens(model, "w1 w2 w3", answer="w7", lens=one)
    assert read.layer.values.tolist() == [0, 1, 2]
    x = Model.of(model).record([torch.tensor([1, 2, 3])]).get("resid_post", 0)
    assert torch.equal(one.transport(0, x), x)
    # the plain lens has one layer more in its products
    for name in ("logit", "kl", "rank", "top_prob"):
        np.testing.assert_allclose(read[name], plain[name].sel(layer=[0, 1, 2]), rtol=1e-5, atol=1e-5)
    carried = lens.logit_lens(model, "w1 w2 w3", answer="w7", lens=fitted)
    want = Model.of(model).unembed(x @ fitted.of(0).T)[:, 7]
    np.testing.assert_allclose(carried.logit.sel(layer=0).values, want.numpy(), rtol=1e-5, atol=1e-5)
    assert lens.record(carried)["call"]["lens"]["sha256"] == fitted.digest()


def test_a_fit_goes_on_where_it_was_ended_and_shares_make_one(fitted, model, tmp_path):
    asked = iter([False, False, True])
    part = lens.jacobian_lens.fit(model, TEXTS, store=tmp_path, stop=lambda: next(asked), **FIT)
    assert part.n == 2 and part.about["status"] == "partial"
    calls = []
    whole = lens.jacobian_lens.fit(model, TEXTS, store=tmp_path, stop=lambda: bool(calls.append(1)), **FIT)
    assert len(calls) == 3 and torch.equal(whole.mean, fitted.mean)
    shares = [lens.jacobian_lens.fit(model, TEXTS, share=(i, 2), store=tmp_path, **FIT) for i in range(2)]
    assert [one.n for one in shares] == [3, 2]
    merged = lens.jacobian_lens.merge(shares)
    torch.testing.assert_close(merged.mean, fitted.mean, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(merged.half, fitted.half, atol=1e-6, rtol=1e-5)
    assert merged.split_half().equals(merged.split_half()) and merged.n == 5
    with pytest.raises(JacobianLensError, match="in common"):
        lens.jacobian_lens.merge([fitted, fitted])
    other = lens.jacobian_lens.fit(model, TEXTS, length=11, skip=3, start=None)
    with pytest.raises(JacobianLensError, match="length"):
        lens.jacobian_lens.merge([fitted, other])
    with pytest.raises(JacobianLensError, match="first prompt"):
        lens.jacobian_lens.fit(model, TEXTS, stop=lambda: True, **FIT)
    (path, *_) = tmp_path.glob("*.safetensors")
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="set aside"):
        for i in (None, (0, 2), (1, 2)):
            lens.jacobian_lens.fit(model, TEXTS, share=i, store=tmp_path, **FIT)


def test_halves_tell_how_sure_it_is(fitted):
    even = (fitted.mean * 5 - fitted.half * 2) / 3
    table = fitted.split_half()
    want = (even - fitted.half).flatten(1).norm(dim=1) / 2 / fitted.mean.flatten(1).norm(dim=1)
    np.testing.assert_allclose(table.relative_error, want.numpy(), rtol=1e-4)
    assert ((table.cka > 0) & (table.cka <= 1)).all()


def test_it_comes_back_from_its_file(fitted, model, tmp_path):
    path = fitted.save(tmp_path / "lens.safetensors")
    back = lens.jacobian_lens.open(path, model)
    assert torch.equal(back.mean, fitted.mean) and torch.equal(back.half, fitted.half)
    assert json.loads(json.dumps(fitted.about)) == back.about and "5 prompts" in repr(back)
    chosen = lens.jacobian_lens.fit(model, TEXTS[:1], tokens=["w5"], **FIT)
    assert torch.equal(lens.jacobian_lens.open(chosen.save(tmp_path / "chosen.safetensors")).mean, chosen.mean)
    with pytest.raises(JacobianLensError, match="safetensors"):
        fitted.save(tmp_path / "lens.pt")
    with pytest.raises(JacobianLensError, match="no such file"):
        lens.jacobian_lens.open(tmp_path / "missing.safetensors")
    lens.files.write_tensors(tmp_path / "other.safetensors", {"x": torch.ones(2)})
    with pytest.raises(JacobianLensError, match="holds no Jacobian lens"):
        lens.jacobian_lens.open(tmp_path / "other.safetensors")


def test_a_lens_of_another_model_is_refused(fitted, model, tmp_path):
    other = speaking("llama", seed=1)
    with pytest.raises(JacobianLensError, match="another model, revision or edit"):
        lens.logit_lens(other, "w1 w2", lens=fitted)
    path = fitted.save(tmp_path / "lens.safetensors")
    with pytest.raises(JacobianLensError, match="another model"):
        lens.jacobian_lens.open(path, other)
    narrow = JacobianLens((0, 1), torch.eye(16).repeat(2, 1, 1), None, {})
    with pytest.raises(JacobianLensError, match="width 16"):
        lens.logit_lens(model, "w1 w2", lens=narrow)
    deep = JacobianLens((0, 1, 2), torch.eye(32).repeat(3, 1, 1), None, {})
    with pytest.raises(JacobianLensError, match="more than 3 layers"):
        lens.logit_lens(model, "w1 w2", lens=deep)
    shallow = JacobianLens((0,), torch.eye(32)[None], None, {"model": {"n_layers": 2}})
    with pytest.raises(JacobianLensError, match="2 layers"):
        lens.logit_lens(model, "w1 w2", lens=shallow)
    with pytest.raises(lens.ReadoutError, match="resid_pre"):
        lens.logit_lens(model, "w1 w2", site="resid_pre", lens=fitted)
    with pytest.raises(JacobianLensError, match="layer=7"):
        fitted.of(7)


def test_bad_input_is_refused_by_name(model):
    fit = lens.jacobian_lens.fit
    for options, said in (
        (dict(texts=[]), "texts"),
        (dict(texts=["w1 w2"]), "skip=16"),
        (dict(texts=[torch.ones(3)]), r"texts\[0\]"),
        (dict(texts=[[1, 97]]), r"texts\[0\]"),
        (dict(texts=TEXTS, share=(2, 2)), "share"),
        (dict(texts=TEXTS[:1], share=(1, 2), **FIT), "share"),
        (dict(texts=TEXTS, tokens=[]), "tokens"),
        (dict(texts=TEXTS, length=1), "length"),
    ):
        with pytest.raises(JacobianLensError, match=said):
            fit(model, **options)
    with pytest.raises(lens.PromptError, match="tokens"):
        fit(model, TEXTS, tokens=["w5 w6"])
    short = fit(model, ["w1 w2", *TEXTS[:2]], n=1, **FIT)
    assert short.n == 1 and short.about["skipped"] == 1


def test_controls_stand_beside_it(fitted, model):
    texts = ["w3 w1 w4 w1 w5", "w9 w2 w6 w5 w3", "w2 w7 w1 w8 w2"]
    ds = lens.jacobian_lens.compare(model, texts, fitted, answer="w7", k=20)
    assert ds.reading.values.tolist() == ["lens", "logit_lens", "random", "half"]
    plain = lens.logit_lens(model, texts, positions="last", answer="w7")["rank"].sel(layer=[0, 1])
    assert np.array_equal(ds["rank"].sel(reading="logit_lens").values, plain.transpose("prompt", "layer").values)
    hits = (ds["rank"] < 20).mean("prompt")
    np.testing.assert_allclose(ds["hit"].values, hits.values)
    assert (ds["low"] <= ds["hit"]).all() and (ds["hit"] <= ds["high"]).all() and int(ds["n"]) == 3
    with pytest.raises(JacobianLensError, match=r"prompts\[0\] is one"):
        lens.jacobian_lens.compare(model, [" ".join(TEXTS[0].split()[:12])], fitted, answer="w7")
    with pytest.raises(JacobianLensError, match="answer"):
        lens.jacobian_lens.compare(model, texts, fitted)
    random = lens.jacobian_lens.random_like(fitted, seed=3)
    ours, theirs = (torch.linalg.svdvals(x.mean.double()) for x in (random, fitted))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(random.mean, fitted.mean, atol=1e-2)
