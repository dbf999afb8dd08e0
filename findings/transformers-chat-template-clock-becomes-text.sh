#!/bin/bash
# transformers 5.23: a function given to `apply_chat_template` as `strftime_now` reaches the template as a text.
#
# Expected: templates that ask for today's date call `strftime_now(format)`, which transformers itself provides; keyword
# arguments of `apply_chat_template` are variables of the template, so that one's own function pins the date.
# What is: callables among the arguments are replaced by a text before the template is rendered. A template that calls
# its clock then fails ("'str' object is not callable"); without the argument it reads the clock of the machine, so that
# the same conversation has other tokens tomorrow.
# Instead: define a macro of that name in front of the template's text, which hides the function.
. "$(dirname "$0")/environment.sh"
environment transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6

"$PYTHON" -I - <<'PY'
import sys
from importlib.metadata import version

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

template = "{{ strftime_now('%Y') }}: {% for m in messages %}{{ m.content }}{% endfor %}"
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
chat = [{"role": "user", "content": "hello"}]


def text(template, **more):
    return tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, **more)


print(f"transformers {version('transformers')}")
print("  the machine's clock:", text(template))
try:
    print("  a function of one's own:", text(template, strftime_now=lambda form: "1999"))
    refused = False
except Exception as error:
    refused = "not callable" in str(error)
    print(f"  a function of one's own: {type(error).__name__}: {error}")
shown = text("{{ clock }}", clock=lambda form: "1999")
print("  what a template sees of a function:", shown)
pinned = text("{% macro strftime_now(form) %}1999{% endmacro %}" + template)
print("  a macro in front:", pinned)
sys.exit(0 if refused and pinned == "1999: hello" and "1999" not in shown else 1)
PY
