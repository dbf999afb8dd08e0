#!/bin/bash
# datasets 5.2: a JSONL column of answers that all read as ISO dates is loaded as timestamps, and `features=` of strings
# does not bring the text back.
#
# Expected: JSON has strings, numbers and no dates, so "1969-07-20" in quotes stays the text that it is.
# What is: types are inferred by column while the file is parsed. Where every string is an ISO date the feature is
# timestamp[s] and a row holds a datetime, whose text is another one ("1969-07-20 00:00:00"), so that an exact match
# with what a model writes is lost without a word. The same row is a string when its neighbour is "9 November 1989", so
# the type depends on which rows are in the file. Streaming does the same.
# With `features=` that say string the timestamps are written out as text: the answer is then a string, and still
# another one than in the file.
# Instead: parse the lines with `json` and give them to `Dataset.from_list`.
. "$(dirname "$0")/environment.sh"
environment datasets==5.2.0 pyarrow==26.0.1

"$PYTHON" -I - <<'PY'
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from datasets import Dataset, Features, Value, load_dataset
from datasets.utils.logging import disable_progress_bar

disable_progress_bar()
folder = Path(tempfile.mkdtemp())


def rows(name, answers, **more):
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"question": f"When {i}?", "answer": a}) + "\n" for i, a in enumerate(answers)))
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache"), **more)


dates = ["1969-07-20", "1989-11-09"]
inferred, mixed = rows("dates", dates), rows("mixed", [dates[0], "9 November 1989"])
streamed = next(iter(rows("dates", dates, streaming=True)))["answer"]
text = Features({"question": Value("string"), "answer": Value("string")})
told = rows("told", dates, features=text)
listed = Dataset.from_list([json.loads(line) for line in (folder / "dates.jsonl").read_text().splitlines()])
print(f"datasets {version('datasets')}, pyarrow {version('pyarrow')}: the first answer in the file is \"{dates[0]}\"")
for name, first in (("all are dates", inferred[0]["answer"]), ("streamed", streamed),
                    ("beside another kind", mixed[0]["answer"]), ("with features", told[0]["answer"]),
                    ("from a list", listed[0]["answer"])):
    print(f"  {name}: {first!r}, as text {str(first)!r}")
changed = not isinstance(inferred[0]["answer"], str) and not isinstance(streamed, str)
changed = changed and told[0]["answer"] == "1969-07-20 00:00:00"
sys.exit(0 if changed and mixed[0]["answer"] == listed[0]["answer"] == dates[0] else 1)
PY
