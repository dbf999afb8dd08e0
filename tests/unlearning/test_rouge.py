"""ROUGE-L recall: against the plain table of common subsequences, examples of Porter's paper, and rouge-score."""

import numpy as np
import pytest

from lens.unlearning.rouge import longest_common, recall, words
from lens.unlearning.stems import stem

#: Of the paper's own lists; where NLTK does otherwise ("ties", "abli", "y" after one letter) there are tests below.
STEMS = """
caresses caress, ponies poni, caress caress, cats cat, feed feed, agreed agre, plastered plaster, bled bled,
motoring motor, sing sing, conflated conflat, troubled troubl, sized size, hopping hop, tanned tan, falling fall,
hissing hiss, fizzed fizz, failing fail, filing file, happy happi, relational relat, conditional condit,
rational ration, valenci valenc, hesitanci hesit, digitizer digit, conformabli conform, radicalli radic,
differentli differ, vileli vile, analogousli analog, vietnamization vietnam, predication predic, operator oper,
feudalism feudal, decisiveness decis, hopefulness hope, callousness callous, formaliti formal, sensitiviti sensit,
sensibiliti sensibl, triplicate triplic, formative form, formalize formal, electriciti electr, electrical electr,
hopeful hope, goodness good, revival reviv, allowance allow, inference infer, airliner airlin, gyroscopic gyroscop,
adjustable adjust, defensible defens, irritant irrit, replacement replac, adjustment adjust, dependent depend,
adoption adopt, homologou homolog, communism commun, activate activ, angulariti angular, homologous homolog,
effective effect, bowdlerize bowdler, probate probat, rate rate, cease ceas, controll control, roll roll
"""


def test_stems_are_those_of_porters_paper():
    pairs = [one.split() for one in STEMS.split(",")]
    assert len(pairs) == 73 and [stem(word) for word, _ in pairs] == [of for _, of in pairs]


def test_stems_differ_from_the_paper_where_nltk_does():
    other = {"ties": "tie", "dying": "die", "news": "news", "skies": "sky", "enjoy": "enjoy", "spied": "spi"}
    assert {word: stem(word) for word in other} == other


def test_words_are_letters_and_digits():
    assert words("Élan: the cats' 2 Running-shoes, naïve!") == ["lan", "the", "cat", "2", "run", "shoe", "na", "ve"]
    assert words("— 北京") == []


def by_table(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    return table[-1, -1]


def test_the_longest_common_subsequence_is_that_of_the_table():
    rng = np.random.default_rng(0)
    for _ in range(40):
        a, b = (rng.integers(0, 5, rng.integers(0, 90)).tolist() for _ in range(2))
        assert longest_common(a, b) == by_table(a, b)
    assert recall(["a", "b", "c", "d"], ["b", "x", "d", "a"]) == 0.5 and recall(["a"], []) == 0


def test_recall_is_that_of_the_package():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)
    texts = (
        "Neville Chamberlain was the prime minister of the United Kingdom in 1939.",
        "The prime minister was Neville; ministers of kingdoms were united, relationally, 1939 years on.",
        "Ng\u0169g\u0129 wa Thiong'o wrote 'Weep Not, Child'.",
        "lying skies, dying news: it happened happily to happy applied generalizations",
        "",
    )
    for answer in texts[:-1]:
        for text in texts:
            assert recall(words(answer), words(text)) == pytest.approx(scorer.score(answer, text)["rougeL"].recall)
