"""Readouts, scores of rows, and the statistics that every family uses."""

from __future__ import annotations

import functools

import numpy as np
import torch

from lens import readout
from lens import stats as s
from lens.pickled_tensors import read_pickled_tensors
from lens.readout import jacobian_lens, probes
from lens.scoring import Served, causal, look_ahead, texts
from lens.scoring import rows as scoring
from tests.models import word_tokenizer

from . import Subject
from .common import enter, ids, model, pair

MODULES = (
    "lens.scoring.causal",
    "lens.scoring.look_ahead",
    "lens.readout",
    "lens.readout.jacobian_lens",
    "lens.pickled_tensors",
    "lens.stats",
)
#: Records that only functions make.
RESULTS = (
    *(name for name in s.__all__ if isinstance(kind := getattr(s, name), type) and not issubclass(kind, Exception)),
    "JacobianLens",
    "TokenLens",
    "Span",
)
X = np.array([0.3, -0.1, 0.4, 0.7, 0.2, 0.6, -0.2, 0.5, 0.1, 0.8])
Y = np.array([0.1, 0.2, 0.3, 0.9, 0.0, 0.4, -0.3, 0.6, 0.3, 0.5])
PROBED = np.random.default_rng(0).standard_normal((8, 3))
MEMBER = np.array([1, 0, 1, 1, 0, 1, 0, 1, 0, 0])


#: A row of tokens and the positions of a lens that is fitted on it.
FIT = dict(texts=[[3, 1, 4, 1, 5, 9]], length=6, skip=2)


@functools.cache
def scores():
    return scoring.score(model(), ids().numpy(), progress=False)


@functools.cache
def jacobian(**share):
    return jacobian_lens.fit(model(), **FIT | dict(texts=[[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]]) | share)


@functools.cache
def written():
    torch.save({"J": {0: torch.eye(3)}, "n_prompts": 1}, "published.pt")
    return str(jacobian().save("jacobian.safetensors"))


def _test(x):
    return s.sign_flip(x, resamples=99)


def _draw(rng, effect):
    return rng.normal(effect, 1.0, 8)


def subjects():
    text = "w1 w2 w3"
    few = dict(resamples=99)
    yield Subject("concepts", readout.concepts, lambda: dict(model=model(), prompts=[pair()], k=2, draws=3))
    yield Subject(
        "alignment",
        readout.alignment,
        lambda: dict(model=model(), prompts=[pair()], words=[[["w1", "w10"], ["w30", "w31"]]], draws=2),
    )
    for name in ("core", "inner", "wrapped", "plain", "probe", "settle"):
        yield Subject(name, getattr(causal, name), lambda: dict(model=model()))
    logits = torch.arange(90.0).reshape(1, 9, 10)
    yield Subject("cast", causal.cast, lambda: dict(model=model(), dtype=torch.float64, device=torch.device("cpu")))
    yield Subject("same", causal.same, lambda: dict(a=logits, b=logits, close=0.1))
    yield Subject(
        "refuse_ahead", look_ahead.refuse_ahead, lambda: dict(model=model(), before=logits, after=logits, close=0.1)
    )
    yield Subject("require_causal", look_ahead.require_causal, lambda: dict(model=model()))
    yield Subject("require_same", causal.require_same, lambda: dict(outer=model(), hf=model()))
    yield Subject("unwritten", causal.unwritten, lambda: dict(model=model()), use=enter)
    yield Subject(
        "from_records",
        texts.from_records,
        lambda: dict(source=[{"text": text}], tokenizer=word_tokenizer()),
    )
    yield Subject("Rows", texts.Rows, lambda: dict(tokens=[np.arange(3)], row_ids=np.arange(1)))
    yield Subject("Served", Served, lambda: dict(url="http://127.0.0.1:9/v1", tokenizer=word_tokenizer(), retries=0))
    yield Subject("logit_lens", readout.logit_lens, lambda: dict(model=model(), prompts=text, k=2))
    yield Subject("fit", jacobian_lens.fit, lambda: dict(model=model(), tokens=[5], **FIT))
    yield Subject("merge", jacobian_lens.merge, lambda: dict(lenses=[jacobian(share=(0, 2)), jacobian(share=(1, 2))]))
    yield Subject("open", jacobian_lens.open, lambda: dict(path=written()))
    yield Subject("random_like", jacobian_lens.random_like, lambda: dict(lens=jacobian()))
    yield Subject(
        "compare", jacobian_lens.compare, lambda: dict(model=model(), prompts=text, lens=jacobian(), answer="w5")
    )
    yield Subject(
        "read_pickled_tensors",
        read_pickled_tensors,
        lambda: (written(), dict(path="published.pt"))[1],
    )
    yield Subject(
        "compare",
        readout.compare,
        lambda: dict(a=model(), b=model(1), prompts=[text, "w4 w5"], metrics=("cosine", "kl"), floor=model(2), **few),
    )
    yield Subject("linear_probe", probes.linear_probe, lambda: dict(states=PROBED, labels=[0, 1] * 4, folds=2, ridge=1))
    yield Subject(
        "probe",
        probes.probe,
        lambda: dict(model=model(), prompts=[text, "w4 w5"] * 2, labels=[0, 1] * 2, folds=2, ridge=1.0, layers=[1]),
    )
    yield Subject(
        "effective_size",
        s.effective_size,
        lambda: dict(values=[2.9, 2.8], sizes=[10.0, 20.0, 40.0], ladder=[[3.0, 3.1], [2.7, 2.8], [2.4, 2.5]]),
    )
    yield Subject("likeness", s.likeness, lambda: dict(x=PROBED, y=PROBED[::-1], measure="cosine", **few))
    yield Subject("attention", readout.attention, lambda: dict(model=model(), prompt=text))
    yield Subject(
        "head_vocabulary", readout.head_vocabulary, lambda: dict(model=model(), layer=1, head=1, text=text, k=2)
    )
    yield Subject(
        "direct_logit_attribution", readout.direct_logit_attribution, lambda: dict(model=model(), pairs=pair())
    )
    yield Subject("induction_scores", readout.induction_scores, lambda: dict(model=model(), length=5, sequences=3))
    yield Subject("copying_scores", readout.copying_scores, lambda: dict(model=model(), layers=[0]))
    yield Subject(
        "score", scoring.score, lambda: dict(model=model(), rows=ids().numpy(), progress=False), leave=("workers",)
    )
    yield Subject("Scores.take", scores().take, lambda: dict(row_ids=[0, 2]))
    yield Subject("Scores.nll", scores().nll, lambda: dict(prefix=1, window=3))
    yield Subject("auc", s.auc, lambda: dict(score=X, member=MEMBER, **few))
    yield Subject("benjamini_hochberg", s.benjamini_hochberg, lambda: dict(p=[0.1, 0.02]))
    yield Subject("binomial_test", s.binomial_test, lambda: dict(successes=3, n=5))
    yield Subject("bootstrap", s.bootstrap, lambda: dict(x=X, **few))
    costs = dict(cost=[1.0, 2.0, 3.0], gain=[1.0, 0.0, 1.0], costs=[[1.0, 1, 2], [3.0, 3, 4]], gains=[[0.0, 0, 1]] * 2)
    yield Subject("at_equal_cost", s.at_equal_cost, lambda: dict(resamples=20, **costs))
    yield Subject("bootstrap_comparison", s.bootstrap_comparison, lambda: dict(x=X + 2, y=Y + 2, **few))
    yield Subject("calibration", s.calibration, lambda: dict(p=np.linspace(0.01, 0.99, 30)))
    yield Subject("combine_e", s.combine_e, lambda: dict(e=[1.0, 2.0]))
    yield Subject("combine_p", s.combine_p, lambda: dict(p=[0.1, 0.02]))
    yield Subject("detectable_rho", s.detectable_rho, lambda: dict(n=50))
    yield Subject("e_process", s.e_process, lambda: dict(x=[0, 1, 1]))
    yield Subject("EProcess.stopped", s.e_process([0, 1, 1]).stopped, lambda: dict(alpha=0.05))
    yield Subject("e_to_p", s.e_to_p, lambda: dict(e=[1.0, 2.0]))
    yield Subject("fisher_exact", s.fisher_exact, lambda: dict(table=[[3, 1], [1, 3]]))
    yield Subject("grouped_moments", s.grouped_moments, lambda: dict(score=X, label=Y))
    yield Subject("halves", s.halves, lambda: dict(n=6))
    yield Subject("holm", s.holm, lambda: dict(p=[0.1, 0.02]))
    yield Subject("key_e_process", s.key_e_process, lambda: dict(weights=X, keys=np.linspace(0.05, 0.95, 10)))
    yield Subject("key_test", s.key_test, lambda: dict(weights=X, keys=np.linspace(0.05, 0.95, 10)))
    yield Subject("mean_interval", s.mean_interval, lambda: dict(x=X, **few))
    yield Subject(
        "minimum_detectable_effect",
        s.minimum_detectable_effect,
        lambda: dict(test=_test, draw=_draw, low=0.0, high=4.0, simulations=10, steps=2),
    )
    yield Subject("one_of_many", s.one_of_many, lambda: dict(observed=1.0, shuffled=[0.1, 0.3, 0.2, 0.5, 0.4]))
    yield Subject("p_to_e", s.p_to_e, lambda: dict(p=[0.1, 0.02]))
    yield Subject("paired_trap_test", s.paired_trap_test, lambda: dict(trap=X, control=Y, **few))
    yield Subject("permutation", s.permutation, lambda: dict(x=X, y=Y, **few))
    yield Subject("permutation_correlation", s.permutation_correlation, lambda: dict(score=X, label=Y, **few))
    yield Subject(
        "pool_checkpoints", s.pool_checkpoints, lambda: dict(observed=[1.0, 2.0], shuffled=[[0.1, 0.2], [0.3, 0.1]])
    )
    yield Subject("power", s.power, lambda: dict(test=_test, draw=_draw, effect=1.0, simulations=10))
    yield Subject("power_of", s.power_of, lambda: dict(rho=0.2, n=50))
    yield Subject("proportion", s.proportion, lambda: dict(successes=3, n=5))
    yield Subject("published_size", s.published_size, lambda: dict(alpha=0.05, m=9))
    yield Subject("rank_correlation", s.rank_correlation, lambda: dict(x=X, y=Y, **few))
    yield Subject("rank_e_process", s.rank_e_process, lambda: dict(weights=X, positions=np.arange(10)))
    yield Subject("reachable_level", s.reachable_level, lambda: dict(n=5))
    yield Subject("rows_needed", s.rows_needed, lambda: dict(rho=0.2))
    yield Subject("runs_test", s.runs_test, lambda: dict(positions=[3, 1, 2, 5, 4, 0, 7, 6]))
    yield Subject(
        "selection_bias", s.selection_bias, lambda: dict(x=np.random.default_rng(0).normal(size=(12, 3)), splits=9)
    )
    yield Subject("sign_flip", s.sign_flip, lambda: dict(x=X, **few))
    yield Subject("sign_flip_max", s.sign_flip_max, lambda: dict(x=X, **few))
    yield Subject("wilcoxon", s.wilcoxon, lambda: dict(x=X))
