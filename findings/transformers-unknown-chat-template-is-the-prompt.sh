#!/bin/bash
# transformers 5.23: the name of a chat template that does not exist is rendered as the prompt.
#
# Expected: a tokenizer with several named templates ("default", "tool_use") refuses a name that none of them has.
# What is: a name that is not among them is taken for a template's text. A template without a variable is its own
# result: the prompt is the misspelt name, no turn is in it, and nothing is said.
# Instead: look the name up in `tokenizer.chat_template` (a dict where there are several) before it is given.
. "$(dirname "$0")/environment.sh"
environment transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6

"$PYTHON" -I - <<'PY'
import sys
from importlib.metadata import version

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
turns = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
tokenizer.chat_template = {"default": turns, "tool_use": "tools: " + turns}
chat = [{"role": "user", "content": "hello"}]
print(f"transformers {version('transformers')}: templates {sorted(tokenizer.chat_template)}")
seen = {}
for name in ("default", "tool_use", "tool-use"):
    seen[name] = tokenizer.apply_chat_template(chat, chat_template=name, tokenize=False)
    print(f"  chat_template={name!r}: the prompt is {seen[name]!r}")
right = {"default": "[user] hello", "tool_use": "tools: [user] hello", "tool-use": "tool-use"}
sys.exit(0 if seen == right else 1)
PY
