"""What stands beside a cell's predictions: a lens and a dictionary's features, against hooks on a second copy."""

import numpy as np
import pytest
import torch

import widgets
from lens import Pair
from lens.engine.features import Tap
from lens.readout.jacobian_lens import JacobianLens
from tests import naive
from tests.features.tiny import dictionary, features
from tests.models import speaking, tiny
from widgets.errors import ViewError
from widgets.patch_explorer import streams

PAIR = Pair("w5 w17 w3 w88 w41 w9 w60", corrupted="w5 w17 w3 w21 w41 w50 w60", answer=" w11", foil=" w12")
IDS = [torch.tensor([int(w[1:]) for w in text.split()]) for text in (PAIR.clean, PAIR.corrupted)]
SECONDS = 120


@pytest.fixture(scope="module")
def llama():
    return speaking("llama")


@pytest.fixture(scope="module")
def jacobian():
    return JacobianLens((0, 1), torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(1)) / 32**0.5, None)


def explorer(llama, site="resid_post", over="position", **options):
    view = widgets.PatchExplorer(llama, PAIR, site=site, over=over, **options)
    view.run(wait=True)
    return view


def looked_at(view, layer, column):
    view.cell = {"run": 1, "layer": layer, "column": column}
    assert view.wait(SECONDS)
    return view.readout


def test_the_lenses_read_both_runs_at_the_cell(llama, jacobian):
    view, other = explorer(llama, lens=jacobian), tiny("llama")
    told = looked_at(view, 1, 3)
    assert (told["status"], told["layer"], told["column"]) == ("ready", 1, 3) and "features" not in told
    assert told["lens"]["title"] == "Residual stream after layer 1, position 3"
    columns = dict(told["lens"]["columns"])
    assert len(columns) == 4
    for which, ids in zip(("clean", "corrupted"), IDS):
        x = naive.activation(other, ids, "resid_post", 1)[3]
        for name, stream in (("logit lens", x), ("Jacobian lens", jacobian.mean[1] @ x)):
            share, at = other.lm_head(other.model.norm(stream)).softmax(-1).topk(streams.TOKENS)
            shown = columns[f"{name}, {which} run"]
            assert [token.strip() for token, _ in shown] == [f"w{i}" for i in at.tolist()]
            np.testing.assert_allclose([p for _, p in shown], share.detach(), rtol=1e-4)


def test_the_stream_that_enters_a_layer_left_the_one_before(llama, jacobian):
    view = explorer(llama, "resid_pre", lens=jacobian)
    entered = looked_at(view, 2, 3)["lens"]
    assert entered["title"].startswith("Residual stream after layer 1")
    assert entered == looked_at(explorer(llama, lens=jacobian), 1, 3)["lens"]
    first = looked_at(view, 0, 3)["lens"]
    assert first["title"].startswith("Embedding") and "not fitted there; it has the layers 0, 1" in first["note"]
    heads = looked_at(explorer(llama, "z", "head", lens=jacobian), 1, 2)["lens"]
    assert heads["title"].endswith("after layer 1, the last position")


def test_the_strongest_and_the_most_different_features(llama):
    sae, other = dictionary(Tap("resid_post", 1), skip_tokens=1), tiny("llama")
    sae.about["card"] = {"labels": {"3": "<b>three</b>", "999": "of another dictionary", "x": "no number"}}
    view = explorer(llama, dictionary=sae)
    told = looked_at(view, 2, 5)["features"]
    assert told["title"] == "Features of tiny: resid_post of layer 1, position 5" and "layer 2" in told["more"]
    want = [features(sae, naive.activation(other, ids, "resid_post", 1)[5]) for ids in IDS]
    most, apart = torch.maximum(*want), (want[0] - want[1]).abs()
    for name, by in (("strongest", most), ("different", apart)):
        rows = told[name]
        assert [row[0] for row in rows] == by.sort(descending=True)[1][: len(rows)].tolist()
        for index, label, *values in rows:
            np.testing.assert_allclose(values, [float(f[index]) for f in want], rtol=1e-3, atol=1e-4)
            assert label == ("<b>three</b>" if index == 3 else "")
    assert told["l0"] == [float((f != 0).sum()) for f in want] and told["labelled"]
    assert looked_at(view, 1, 5)["features"]["more"] == ""
    assert "not trained on the first token of" in looked_at(view, 1, 0)["features"]["note"]


def test_a_readout_that_fails_is_told_where_the_person_looks(llama):
    view = explorer(llama, dictionary=dictionary(Tap("resid_post", 1), skip_tokens=40))
    told = looked_at(view, 1, 3)
    assert told["status"] == "error" and "leaves out" in told["text"]
    assert view.detail["status"] == "ready" and view.detail["edited"]
    plain = explorer(llama)
    assert looked_at(plain, 1, 3) == {} and plain.detail["status"] == "ready"


def test_a_lens_or_a_dictionary_of_another_model_is_refused(llama, jacobian):
    wide = JacobianLens((0,), torch.zeros(1, 48, 48), None)
    for options, says in [
        (dict(lens=wide), "lens: .*width 48"),
        (dict(lens=torch.zeros(2, 32, 32)), "lens: .*lens.jacobian_lens.open"),
        (dict(dictionary=dictionary(Tap("resid_post", 1), d_in=48)), "dictionary: .*48 wide"),
        (dict(dictionary="sae"), "dictionary: 'sae'"),
        (dict(dictionary=jacobian), "dictionary: .*lens.features.load"),
    ]:
        with pytest.raises(ViewError, match=says):
            widgets.PatchExplorer(llama, PAIR, **options)
