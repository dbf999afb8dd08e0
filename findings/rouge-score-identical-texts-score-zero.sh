#!/bin/bash
# rouge-score 0.1.2: two equal answers in Cyrillic, Greek or Chinese have ROUGE-L 0, and an accented name counts as two.
#
# Expected: a text compared with itself has 1, whatever its letters; "Zafon" for "Zafón" costs one word.
# What is: the tokenizer that is used unless another is given lowers the text and cuts it at everything that is not one
# of a-z and 0-9. Texts without such letters have no tokens, and no tokens compared with none are 0; "Zafón" is the two
# tokens "zaf" and "n". Unlearning benchmarks score answers that are names so: an answer that is exactly right lowers
# the model's utility. The stemmer (`use_stemmer=True`) sees what is left after that, and leaves words of up to three
# letters alone.
# Instead: give `tokenizer=` an object whose `tokenize` splits by Unicode's word characters, on both sides of a
# comparison, and say so: numbers of the two are not comparable.
. "$(dirname "$0")/environment.sh"
environment rouge-score==0.1.2

"$PYTHON" -I - <<'PY'
import re
import sys
from importlib.metadata import version

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer


class Words:
    """Unicode's words."""

    def tokenize(self, text):
        return re.findall(r"\w+", text.lower())


PAIRS = {
    "latin": ("Leo Tolstoy wrote it", "Leo Tolstoy wrote it"),
    "cyrillic": ("Лев Толстой", "Лев Толстой"),
    "greek": ("Νίκος Καζαντζάκης", "Νίκος Καζαντζάκης"),
    "chinese": ("鲁迅", "鲁迅"),
    "accent left out": ("Carlos Ruiz Zafón", "Carlos Ruiz Zafon"),
}
score = {
    "as it is": RougeScorer(["rougeL"], use_stemmer=True),
    "Unicode's words": RougeScorer(["rougeL"], tokenizer=Words()),
}
print(f"rouge-score {version('rouge-score')}: recall of ROUGE-L")
found = {}
for name, (target, answer) in PAIRS.items():
    found[name] = [of.score(target, answer)["rougeL"].recall for of in score.values()]
    print(f"  {name:16} {target} | {answer}: " + ", ".join(f"{k} {v:.2f}" for k, v in zip(score, found[name])))
tokens = DefaultTokenizer(True).tokenize("Zafón")
print("  tokens of Zafón:", tokens)
as_said = found["latin"] == [1, 1] and tokens == ["zaf", "n"]
as_said = as_said and all(found[name] == [0, 1] for name in ("cyrillic", "greek", "chinese"))
as_said = as_said and found["accent left out"] == [0.5, 2 / 3]
sys.exit(0 if as_said else 1)
PY
