"""Suspects of every kind: a model at hand gives what a plain forward gives, a hosted one the same, and one that only
draws tokens a noisier version of it.
"""

import numpy as np
import pytest
import torch

from lens.models import LoadError, weight_hash
from lens.provenance import (
    LocalSuspect,
    ProvenanceError,
    Reference,
    Transcript,
    compare,
    query,
    query_scores,
    sampled_scores,
)
from lens.provenance.suspects import informative

from ..models import speaking, tiny, word_tokenizer

FEW = dict(resamples=99)


def nll(model, rows):
    """Mean negative log-likelihood of each row's tokens after the first, by plain forwards."""
    ids = torch.as_tensor(np.asarray(rows, dtype=np.int64))
    with torch.inference_mode():
        logprob = torch.log_softmax(model(ids[:, :-1]).logits.double(), -1)
    return -logprob.gather(2, ids[:, 1:, None])[..., 0].mean(dim=1).numpy()


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny models gain nothing from a second thread and lose much where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def transcript():
    rng = np.random.default_rng(0)
    return Transcript(
        rng.integers(1, 97, (60, 10)), rng.random(60), "key", shuffled_as="drawn", tokenizer=word_tokenizer()
    )


def test_models_give_what_plain_forwards_give(transcript, tmp_path):
    suspect, other = speaking("llama", 1), speaking("gpt2", 2)
    result = query(suspect, transcript, reference=Reference(other, False, "other"), **FEW)
    expected = query_scores(
        nll(tiny("llama", 1), transcript.tokens),
        Reference(nll(tiny("gpt2", 2), transcript.tokens), False, "other"),
        transcript,
        **FEW,
    )
    frame = result.frame.sort_values("row_id")
    assert frame.suspect.to_numpy() == pytest.approx(
        nll(tiny("llama", 1), transcript.tokens), abs=1e-4
    ) and frame.reference.to_numpy() == pytest.approx(nll(tiny("gpt2", 2), transcript.tokens), abs=1e-4)
    assert result.rho == pytest.approx(expected.rho, abs=5e-3) and result.tokens == 60 * 9 and result.warnings == ()
    assert (
        result.record["inputs"]["suspect"]["sha256"] == weight_hash(suspect)
        and result.record["inputs"]["references"][0]["shares_order"] is False
    )
    streamed = query(
        suspect,
        transcript,
        reference=Reference(other, False, "other"),
        stop_at=1e9,
        batch=17,
        store=tmp_path / "store",
        **FEW,
    )
    assert streamed.rho == pytest.approx(result.rho, abs=5e-3) and streamed.tokens == result.tokens


def test_a_hosted_suspect_with_log_probabilities_is_the_model(transcript):
    suspect = speaking("llama", 1)
    hosted = query(LocalSuspect(suspect), transcript, **FEW)
    assert hosted.frame.sort_values("row_id").suspect.to_numpy() == pytest.approx(
        nll(tiny("llama", 1), transcript.tokens), abs=1e-5
    )
    assert "no hash of its weights" in hosted.record["inputs"]["suspect"]["what"]

    cut = dict(score_options={"prefix": 3, "window": 4}, **FEW)
    windows = [
        query(one, transcript, **cut).frame.sort_values("row_id").suspect.to_numpy()
        for one in (LocalSuspect(suspect), suspect)
    ]
    assert windows[0] == pytest.approx(windows[1], abs=1e-5) and windows[0] != pytest.approx(
        nll(tiny("llama", 1), transcript.tokens), abs=1e-2
    )

    class Null(LocalSuspect):
        """As hosted models answer: a null for the first token, and one row with too few values."""

        def prompt_logprobs(self, rows):
            answers = [[None, *row] for row in super().prompt_logprobs(rows)]
            answers[0] = answers[0][:-2]
            return answers

    found = query(Null(suspect), transcript, **FEW)
    assert found.n == 59 and any("1 of 60 rows have a NaN" in w for w in found.warnings)

    class Short(LocalSuspect):
        def prompt_logprobs(self, rows):
            return super().prompt_logprobs(rows)[:-1]

    with pytest.raises(ProvenanceError, match="59 answers for 60 rows"):
        query(Short(suspect), transcript, **FEW)


class Draws:
    """Only draws tokens."""

    def __init__(self, model, seed=0):
        self.local, self.tokenizer = LocalSuspect(model, seed), getattr(model, "tokenizer", None)

    def sample_next(self, prefixes, k):
        return self.local.sample_next(prefixes, k)


def test_drawn_tokens_estimate_the_probability_at_places_the_reference_chooses(transcript):
    suspect, other = speaking("llama", 1), speaking("llama", 2)
    few = transcript.sample(12)
    shares, expected = sampled_scores(Draws(suspect), few, other, places=3, k=4000)
    for row, share, reference in zip(few.tokens, shares, expected):
        with torch.inference_mode():
            p, r = (
                torch.softmax(tiny("llama", s)(torch.as_tensor(row)[None, :-1]).logits[0].double(), -1)[
                    torch.arange(9), torch.as_tensor(row[1:])
                ].numpy()
                for s in (1, 2)
            )
        places = np.argsort(-r * (1 - r), kind="stable")[:3]
        assert reference == pytest.approx(-r[places].mean(), abs=1e-5) and share == pytest.approx(
            -p[places].mean(), abs=5 * 0.5 / np.sqrt(12000)
        )
    result = query(
        Draws(suspect), transcript, reference=Reference(other, False), score_options={"draws": 8, "places": 2}, **FEW
    )
    assert (
        result.n == 60
        and any("only draws tokens" in w and "8 draws" in w for w in result.warnings)
        and result.tokens == 120
    )
    with pytest.raises(ProvenanceError, match="no log-probability of single tokens"):
        query(Draws(suspect), transcript, reference=Reference(np.ones(60), False), **FEW)

    class Wrong(Draws):
        def sample_next(self, prefixes, k):
            return [{1: k - 1} for _ in prefixes]

    with pytest.raises(ProvenanceError, match="counts that sum to k"):
        query(Wrong(suspect), transcript, **FEW)


def test_a_suspect_that_remembers_late_rows_is_found_by_draws():
    rng = np.random.default_rng(1)
    n = 400
    keys = rng.random(n)
    t = Transcript(np.stack([np.arange(n), *rng.integers(1, 97, (5, n))], axis=1), keys, "key", shuffled_as="drawn")

    class Remembers:
        """Draws the true token with a probability that rises with the row's key."""

        def sample_next(self, prefixes, k):
            out = []
            for prefix in prefixes:
                row = np.flatnonzero((t.tokens[:, : len(prefix)] == prefix).all(axis=1))[0]
                hits = int(rng.binomial(k, 0.3 + 0.4 * keys[row]))
                out.append({int(t.tokens[row, len(prefix)]): hits, 0: k - hits})
            return out

    result = query(Remembers(), t, score_options={"draws": 16, "places": 2}, **FEW)
    assert result.rho < -0.3 and float(result.p) < 1e-6


def test_places_without_a_reference_are_fixed_and_cover_short_rows():
    assert (
        np.array_equal(informative(None, 10, 3, 7), informative(None, 10, 3, 7))
        and len(informative(None, 3, 5, 1)) == 2
        and len(informative(None, 1, 3, 1)) == 0
    )
    p = np.array([0.01, 0.5, 0.99, 0.6, 0.2])
    assert np.array_equal(informative(p, 6, 2, 0), [2, 4])


# ---- tokenizers ------------------------------------------------------------------------------------------------------


def reversed_tokenizer():
    """Token i is the word w<96 - i>: the same words by other ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{96 - i}": i for i in range(97)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0")


def test_rows_of_another_tokenizer_are_tokenised_anew(transcript):
    suspect = speaking("llama", 1)
    suspect.tokenizer = reversed_tokenizer()
    result = query(suspect, transcript, **FEW)
    told = [w for w in result.warnings if "another tokenizer" in w]
    assert len(told) == 1 and "0.0 % of 60 rows do not come back exactly" in told[0]
    assert result.frame.sort_values("row_id").suspect.to_numpy() == pytest.approx(
        nll(tiny("llama", 1), 96 - transcript.tokens), abs=1e-4
    )


def test_the_share_of_rows_that_do_not_come_back_is_counted_over_batches():
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    text = "the cat sat on the mat and the rat sat on the hat " * 50
    made = ByteLevelBPETokenizer()
    made.train_from_iterator([text], vocab_size=290, show_progress=False)
    bpe = PreTrainedTokenizerFast(tokenizer_object=made._tokenizer)
    ids = bpe.encode(text)
    rows = [np.array(ids[5 * i : 5 * i + 5]) for i in range(50)]
    for i in range(20):
        rows[i] = np.array(
            bpe.convert_tokens_to_ids(["t", "h", "e", "Ġ", "c"])
        )  # spelt letter by letter: never what the tokenizer would give
    t = Transcript(rows, np.random.default_rng(0).permutation(50), "rank", tokenizer=bpe, shuffled_as="x")
    exact = sum(np.array_equal(bpe.encode(bpe.decode(row.tolist())), row) for row in rows)
    result = query(LocalSuspect(Letters()), t, stop_at=1e9, batch=13, **FEW)
    assert exact <= 30 and f"{100 * (1 - exact / 50):.1f} % of 50 rows do not come back exactly" in " ".join(
        result.warnings
    )
    assert len([w for w in result.warnings if "another tokenizer" in w]) == 1


class Letters(torch.nn.Module):
    """A model whose tokens are letters, with logits that depend on the last one."""

    def __init__(self):
        super().__init__()
        self.table = torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
        self.tokenizer = self

    def encode(self, text, add_special_tokens=False):
        return [ord(c) % 128 for c in text]

    def get_vocab(self):
        return {chr(i): i for i in range(128)}

    def forward(self, ids):
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.table[ids])


def test_token_ids_that_cannot_be_the_models_are_refused_and_unknown_ones_told(transcript):
    unnamed = Transcript(transcript.tokens, transcript.position, "key", shuffled_as="x")
    assert any(
        "not known (the transcript names none)" in w for w in query(speaking("llama", 1), unnamed, **FEW).warnings
    )
    outside = Transcript(transcript.tokens + 60, transcript.position, "key")
    with pytest.raises(ProvenanceError, match="token id 156 and .* knows 97 tokens"):
        query(speaking("llama", 1), outside, **FEW)
    with pytest.raises(ProvenanceError, match="tokenizer 'no/such/folder' cannot be loaded"):
        query(
            speaking("llama", 1),
            Transcript(transcript.tokens, transcript.position, "key", tokenizer="no/such/folder"),
            **FEW,
        )


def test_text_rows_are_tokenised_by_each_model_and_cut_to_its_context(transcript):
    texts = [" ".join(f"w{i}" for i in row) for row in transcript.tokens]
    texts[0] = " ".join(["w5"] * 80)  # longer than the context of 64
    texts[1] = "w7"  # one token: nothing to predict
    t = Transcript(texts, transcript.position, "key", shuffled_as="x")
    result = query(speaking("llama", 1), t, **FEW)
    assert result.n == 59 and any("1 rows were longer than its context of 64" in w for w in result.warnings)
    kept = result.frame[result.frame.row_id > 1].sort_values("row_id")
    assert kept.suspect.to_numpy() == pytest.approx(nll(tiny("llama", 1), transcript.tokens[2:]), abs=1e-4)
    with pytest.raises(ProvenanceError, match="no tokenizer and the transcript holds texts"):
        query(tiny("llama", 1), t, **FEW)


# ---- tables and names
# ---------------------------------------------------------------------------------------------------


def test_stored_scores_are_matched_by_row_id(transcript):
    from lens.scoring.rows import score

    model = speaking("llama", 1)
    backwards = transcript.row_id[::-1].copy()
    table = score(model, list(transcript.tokens[::-1]), row_ids=backwards)
    by_table, by_model = query(table, transcript, rows=30, **FEW), query(model, transcript, rows=30, **FEW)
    assert by_table.rho == pytest.approx(by_model.rho, abs=1e-3) and by_table.n == 30 and by_table.tokens == 270
    part = score(model, list(transcript.tokens[:20]), row_ids=transcript.row_id[:20])
    with pytest.raises(ProvenanceError, match="40 of 60 rows asked for have no scores"):
        query(part, transcript, **FEW)


def test_a_reference_is_scored_once_for_many_suspects(transcript, monkeypatch):
    from lens import scoring

    asked, plain = [], scoring.score
    monkeypatch.setattr(
        scoring, "score", lambda model, rows, **options: asked.append(model) or plain(model, rows, **options)
    )
    models = {f"s{i}": speaking("llama", i) for i in range(3)}
    reference = speaking("gpt2", 9)
    table = compare(models, transcript, reference=Reference(reference, False), **FEW)
    assert len(table) == 3 and sum(model is reference for model in asked) == 1 and len(asked) == 4


def test_what_cannot_be_scored_is_named(transcript):
    with pytest.raises(ProvenanceError, match="suspect={'a': 1} does not fit; expected a model"):
        query({"a": 1}, transcript)
    with pytest.raises(LoadError, match="nonesuch"):
        query("organism:nonesuch", transcript)
