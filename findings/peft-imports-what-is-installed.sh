#!/bin/bash
# peft 0.21: `import peft` imports bitsandbytes and torchao wherever they are installed, used or not; bitsandbytes may
# then ask a hub for a kernel.
#
# Expected: packages of quantised weights are optional, and are imported when a quantised model is loaded.
# What is: `import peft` loads both, and a model class of transformers 5.23 loads torchao
# (`from transformers import LlamaForCausalLM`). Their messages go to standard error of programs that never quantise,
# which breaks what reads that stream. On a processor with AVX512-BF16 bitsandbytes then imports the package `kernels`
# and, where that is there, has it get a kernel from a repository on a hub: an `import peft` that may read the network.
# Here it is only seen that the package is looked for; it is refused there, and nothing is fetched.
# Instead: keep these packages out of environments that do not need them, `kernels` too, and read what programs say
# from standard output alone.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 peft==0.21.2 torchao==0.18.0 bitsandbytes==0.50.2

"$PYTHON" -I - <<'PY'
import json
import subprocess
import sys
from importlib.metadata import version

CHILD = """
import json, sys, traceback

class Watch:
    asked = False

    def find_spec(self, name, path=None, target=None):
        if name == "kernels" and any("bitsandbytes" in frame.filename for frame in traceback.extract_stack()):
            Watch.asked = True
            raise ModuleNotFoundError("refused, so that nothing is fetched")

sys.meta_path.insert(0, Watch())
{statement}
packages = [name for name in ("torch", "torchao", "bitsandbytes") if name in sys.modules]
avx512 = sys.modules["bitsandbytes"].functional.has_avx512bf16() if "bitsandbytes" in packages else False
print(json.dumps([packages, Watch.asked, bool(avx512)]))
"""

print(f"transformers {version('transformers')}, peft {version('peft')}, beside torchao {version('torchao')} and "
      f"bitsandbytes {version('bitsandbytes')}")
found = {}
for statement in ("from transformers import AutoConfig", "from transformers import LlamaForCausalLM", "import peft"):
    program = CHILD.replace("{statement}", statement)
    child = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    packages, asked, avx512 = json.loads(child.stdout.splitlines()[-1])
    found[statement] = packages, asked, avx512
    print(f"  {statement}: imported {', '.join(packages)}; lines on standard error "
          f"{len(child.stderr.splitlines())}; bitsandbytes looked for the package kernels: {asked}")
config, model, peft = found.values()
print(f"  this processor has AVX512-BF16: {peft[2]}")
ok = "torchao" not in config[0] and "torchao" in model[0] and "bitsandbytes" not in model[0]
sys.exit(0 if ok and {"torchao", "bitsandbytes"} <= set(peft[0]) and peft[1] == peft[2] else 1)
PY
