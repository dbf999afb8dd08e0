"""Prompts by label over the layers: distances and planes against plain hooks, and what is refused."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist

import lens
from lens.vectors import VectorError, place, trajectories
from tests import naive
from tests.engine.test_gate_fitting import HELD, TRAIN, WORDS
from tests.models import speaking


@pytest.fixture(scope="module")
def model():
    return speaking(seed=2)


def states(rows):
    plain, ids = speaking(seed=2), [torch.tensor([int(w[1:]) for w in row["text"].split()]) for row in rows]
    every = [[naive.activation(plain, one, "resid_post", layer)[-1] for one in ids] for layer in range(3)]
    return np.array([torch.stack(of).double().numpy() for of in every])


def test_distances_shares_and_the_plane_are_those_of_plain_hooks(model):
    stranger = {"text": "w33 w34 w35", "label": "held out"}
    ds = trajectories(model, TRAIN, [*HELD, stranger, {"text": "w1 w2"}], start=None)
    known, asked, names = states(TRAIN), states([*HELD, stranger, {"text": "w1 w2"}]), sorted(WORDS)
    assert list(ds.label.values) == names and list(ds.label_of_item.values[-2:]) == ["held out", "ordinary text"]
    labels = np.array([row["label"] for row in TRAIN])
    middles = np.stack([known[:, labels == name].mean(1) for name in names], 1)
    own = [names.index(row["label"]) for row in HELD]
    for layer in range(3):
        far = cdist(asked[layer], middles[layer]) / pdist(middles[layer]).mean()
        np.testing.assert_allclose(ds.distance[layer], far, rtol=1e-4)
        assert (ds.nearest[layer].values == far.argmin(1)).all()
        np.testing.assert_allclose(ds.margin[layer], np.diff(np.sort(far, 1)[:, :2])[:, 0], atol=1e-4)
        right = (far[: len(HELD)].argmin(1) == own).sum()
        interval = lens.stats.proportion(int(right), len(HELD))
        assert ds.own[layer] == right / len(HELD) and ds.low[layer] == interval.low and ds.high[layer] == interval.high
    assert int(ds.n) == len(HELD) and "exact" in str(ds.interval_kind.values)
    # one plane for all layers: that of the largest total variance of the centroids, by an eigendecomposition
    centre, spread = (
        known.mean(1, keepdims=True),
        np.sqrt(((known - known.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1)),
    )
    apart = ((middles - middles.mean(1, keepdims=True)) / spread[:, None, None]).reshape(9, -1)
    values, vectors = np.linalg.eigh(apart.T @ apart)
    plane = vectors[:, -2:]
    for name, x in (("place", asked), ("centroid", middles)):
        drawn = ((x - centre) / spread[:, None, None]) @ plane
        np.testing.assert_allclose(cdist(ds[name][1], ds[name][1]), cdist(drawn[1], drawn[1]), atol=1e-4)
    total = sum(float(ds.share_between[layer]) * (apart.reshape(3, 3, -1)[layer] ** 2).sum() for layer in range(3))
    assert total == pytest.approx(values[-2:].sum(), rel=1e-4)
    inside = (((known - centre) @ plane) ** 2).sum((1, 2)) / ((known - centre) ** 2).sum((1, 2))
    np.testing.assert_allclose(ds.share, inside, rtol=1e-4)


def test_labels_at_random_tell_no_more_than_chance_and_labels_tell(model):
    ds = trajectories(model, TRAIN, HELD, start=None)
    assert float(ds.own[-1] - ds.shuffled[-1]) > 0.2 and 0.1 < float(ds.shuffled.mean()) < 0.6
    assert (trajectories(model, TRAIN, HELD, start=None).shuffled == ds.shuffled).all()
    assert (trajectories(model, TRAIN, HELD, seed=1, start=None).shuffled != ds.shuffled).any()


def test_items_without_a_label_have_places_and_no_share(model):
    ds = trajectories(model, TRAIN, ["w1 w2 w3"], start=None)
    assert int(ds.n) == 0 and ds.own.isnull().all() and ds.shuffled.isnull().all() and ds.place.notnull().all()
    assert "none" in str(ds.interval_kind.values)


@pytest.mark.parametrize(
    ("train", "items", "said"),
    [
        (TRAIN[:6], HELD, "all items are 'greet'; give items of at least two labels"),
        (TRAIN[:9], HELD, "3 items of label 'count'; a centroid needs at least 5"),
        (TRAIN, TRAIN[:1], r"items\[0\]=.* is in train too"),
        ([row | {"text": "w1 w2"} for row in TRAIN], HELD, "one mean state at"),
        (TRAIN, [{"label": "ask"}], "lacks 'text'"),
    ],
)
def test_what_has_no_trajectories_is_refused(model, train, items, said):
    with pytest.raises(VectorError, match=said):
        trajectories(model, train, items, start=None)


def test_what_is_placed_later_lies_where_running_all_anew_puts_it(model, tmp_path):
    paths, further = trajectories(model, TRAIN, HELD[:4], start=None), [*HELD[4:], {"text": "w1 w2"}]
    anew = trajectories(model, TRAIN, further, start=None)
    for known in (paths, lens.open(lens.save(paths, tmp_path / "x.zarr"))):
        late = place(model, known, further)
        assert (late.nearest == anew.nearest).all() and list(late.label_of_item) == list(anew.label_of_item)
        for name in ("distance", "margin", "place"):
            np.testing.assert_allclose(late[name], anew[name], rtol=1e-6, atol=1e-6)
    # by plain hooks, from what the result keeps
    labels = np.array([row["label"] for row in TRAIN])
    middles = np.stack([states(TRAIN)[:, labels == name].mean(1) for name in sorted(WORDS)], 1)
    np.testing.assert_allclose(paths.centroid_state, middles, atol=1e-4)
    # what is kept to compute with is no part of the table
    rows = paths.mnemoscope.table()
    assert len(rows) == 3 * 4 * 3 * 2 and not {"centroid_state", "plane", "width"} & {*rows}
    assert "width" not in paths.mnemoscope.describe()


@pytest.mark.parametrize(
    ("change", "items", "said"),
    [
        (lambda ds: ds.drop_dims("width"), HELD, "paths has no centroid_state, mean_state, plane: .* that kept none"),
        (lambda ds: ds.isel(layer=0), HELD, "it is a selection"),
        (lambda ds: ds.isel(layer=[2, 1, 0]), HELD, "expected all 3 layers"),
        (lambda ds: ds.isel(label=[0, 1]), HELD, "the labels ask, count; expected"),
        (lambda ds: lens.results.stamp(ds, {"kind": "fire rates"}), HELD, "is of kind 'fire rates'"),
        (lambda ds: ds, TRAIN[:1], r"items\[0\]=.* is in the train of paths"),
    ],
)
def test_what_nothing_can_be_placed_on_is_refused(model, change, items, said):
    with pytest.raises(VectorError, match=said):
        place(model, change(trajectories(model, TRAIN, HELD, start=None)), items)


def test_paths_of_another_model_are_refused(model):
    paths = trajectories(model, TRAIN, HELD, start=None)
    with pytest.raises(VectorError, match="paths are of a model of hash"):
        place(speaking(seed=3), paths, HELD)
    site = lens.Site("resid_post", layer=0)
    with lens.edited(model, lens.Edit(site, "add", torch.ones(model.config.hidden_size))):
        with pytest.raises(lens.Error, match="edits are in force"):
            place(model, paths, HELD)
