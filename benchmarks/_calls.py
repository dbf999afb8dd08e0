"""The calls that are made in two builds of the project and compared: as a program of its own it makes those that are
asked for on standard input.

It names only what every build has. `python -P benchmarks/_calls.py [--quick]` with PYTHONPATH at the root of a build; a
line of JSON in, a line of JSON out.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Calls that are timed: what they are, in words. `types` is compared by its answers, not by its time.
TIMED = {
    "sweep": "activation patching of the early pair, layer by position",
    "injection": "our grid of the injection benchmark's small preset, twenty times",
    "scoring": "our call of the provenance benchmark, on every fourth of its rows",
    "edit_loop": "mask on, three results, mask off, twenty times",
}
#: Further calls, on a random model of SmolLM2's size: `patch TYPE SWEEP` is the whole of a sweep, `walk TYPE SWEEP` its
#: edited runs alone, both unedited runs given. A sweep: its pair, its grid, and which positions are edited.
SWEEPS: dict[str, tuple[str, str, Any]] = {
    "late": ("late", "resid", None),
    "early": ("early", "resid", None),
    "heads": ("early", "heads", None),
    "heads_late": ("late", "heads", None),
    "heads_last": ("late", "heads", [-1]),
}
#: What looks at weights for their hash, by the names that it has in one build or another; classes with all they do.
HASHING = ("weight_hash", "hash_of", "hash_in", "same_weights", "written_unseen", "hash_after_undo", "Around")
#: Before each answer, so that what libraries print is not taken for one.
MARK = "\x1e"


class Calls:
    """The calls of this process's build, each made ready when it is first asked for."""

    def __init__(self, quick: bool):
        self.quick, self.ready = quick, {}

    def seconds(self, name: str) -> tuple[float, float]:
        """How long one call takes, and how much of the processor's time, which other programs disturb less."""
        if name not in self.ready:
            call, *arguments = name.split()
            self.ready[name] = getattr(self, f"_{call}")(*arguments)
        began, used = time.perf_counter(), time.process_time()
        self.ready[name]()
        return time.perf_counter() - began, time.process_time() - used

    def hashing(self, name: str) -> tuple[float, float]:
        """How much of one call goes into hashing weights, and how long it takes, in seconds."""
        if name not in self.ready:
            self.ready[name] = getattr(self, f"_{name}")()
            self.ready[name]()
        with _watched(HASHING) as spent:
            began = time.perf_counter()
            self.ready[name]()
            took = time.perf_counter() - began
        return spent[0], took

    def _subject(self) -> Any:
        from benchmarks.subjects import smollm2, tiny

        if "subject" not in self.ready:
            self.ready["subject"] = tiny() if self.quick else smollm2()
        return self.ready["subject"]

    def _sweep(self) -> Callable[[], Any]:
        import lens

        subject = self._subject()
        return lambda: lens.patch(
            subject.bridge, subject.pairs["early"], site="resid_pre", over=("layer", "position"), progress=False
        )

    def _injection(self) -> Callable[[], Any]:
        from benchmarks.injection import tiny

        subject = tiny()

        def call() -> None:
            for _ in range(1 if self.quick else 20):
                subject.grid()

        return call

    def _scoring(self) -> Callable[[], Any]:
        from benchmarks.provenance import real, tiny

        try:
            from lens import scoring
        except ImportError:  # as it was called before
            from lens.measure import scoring

        subject = tiny() if self.quick else real()
        start = int(subject.model.bridge.tokenizer.bos_token_id)
        return lambda: scoring.score(subject.model.bridge, subject.rows[::4], start=start, progress=False)

    def _edit_loop(self) -> Callable[[], Any]:
        import lens
        from lens.engine.linear import linears
        from lens.subspace.masks import Mask

        subject = self._subject()
        model, pair = subject.bridge, subject.pairs["late"]
        layers = linears(model, "*.mlp.down_proj")
        shapes = {name: tuple(linear.weight.shape) for name, linear in layers.items()}
        of, number = lens.models.weight_hash(model), itertools.count()

        def call() -> None:
            # another mask each time: what is known of the last one is no help
            first = next(number) % 40
            columns = {name: list(range(first, shape[1], 50)) for name, shape in shapes.items()}
            mask = Mask.of_columns(columns, shapes, of)
            for _ in range(2 if self.quick else 20):
                with mask.applied(model):
                    lens.patch(model, pair, "resid_pre", layers=[-1], progress=False)
                    lens.logit_lens(model, pair, positions="last")
                    lens.direct_logit_attribution(model, pair)

        return call

    def _texts(self) -> Any:
        """The texts of the generation benchmark."""
        if "texts" not in self.ready:
            self.ready["texts"] = _beside("_generation_subject").texts(self.quick)
        return self.ready["texts"]

    def _generate(self) -> Callable[[], Any]:
        """All texts under an edit in a batch, in a build that has it."""
        import lens

        of = self._texts()
        return lambda: lens.generate(of.model, of.prompts, of.edit(), max_new_tokens=of.tokens, progress=False)

    def _write(self) -> Callable[[], Any]:
        """A share of the same texts one by one."""
        from lens.engine.generation import write

        of = self._texts()
        some = of.prompts[:: of.share]
        return lambda: [write(of.model, p, lambda step: (of.edit(),), max_new_tokens=of.tokens) for p in some]

    def _random(self, kind: str) -> tuple[Any, dict[str, Any]]:
        """A random model of a type with a tokenizer, the last one asked for, and the pairs."""
        from benchmarks import subjects

        if self.ready.get("kind") != kind:
            self.ready = {"kind": kind, "tokenizer": self.ready.get("tokenizer") or self._tokenizer()}
            tokenizer = self.ready["tokenizer"]
            model = _beside("_speed_subjects").make(kind, len(tokenizer) if self.quick else None)
            model.tokenizer = tokenizer
            self.ready["model"] = model
        return self.ready["model"], {"late": subjects.LATE, "early": subjects.EARLY}

    def _tokenizer(self) -> Any:
        if self.quick:
            from benchmarks.subjects import tiny

            return tiny().tokenizer
        from transformers import AutoTokenizer

        from lens.cache import fetched

        return AutoTokenizer.from_pretrained(str(fetched("smollm2")), local_files_only=True)

    def _patch(self, kind: str, sweep: str) -> Callable[[], Any]:
        import lens

        (model, pairs), (pair, grid, positions) = self._random(kind), SWEEPS[sweep]
        site, over = ("resid_pre", ("layer", "position")) if grid == "resid" else ("z", ("layer", "head"))
        return lambda: lens.patch(model, pairs[pair], site, over, positions=positions, progress=False)

    def _walk(self, kind: str, sweep: str) -> Callable[[], Any]:
        import lens
        from lens.engine.runs import Runs

        try:
            from lens.engine.walk.rows import walk
        except ImportError:  # as it was called before
            from lens.engine.walk import walk

        (model, pairs), (pair, grid, positions) = self._random(kind), SWEEPS[sweep]
        encoded = lens.encode(model, pairs[pair])
        # the corrupted run is edited, the clean one copied from
        base, source = Runs.record_pair(model, [encoded.corrupted_ids], [encoded.clean_ids], keep=("z",))
        size, layers = len(encoded.clean_ids), range(model.config.num_hidden_layers)
        if grid == "resid":
            sites = [lens.Site("resid_pre", l, position=p) for l in layers for p in range(size)]
        else:
            heads = range(model.config.num_attention_heads)
            sites = [lens.Site("z", l, head=h, position=positions) for l in layers for h in heads]
        rows = [(0, [lens.Edit(site, "replace", source[0])]) for site in sites]
        return lambda: walk(base, rows, [[size - 1]])

    def types(self, file: str, name: str) -> dict[str, str]:
        """What patching says of one type, plain and behind a bridge; see `benchmarks/_types.py`."""
        if "types" not in self.ready:
            self.ready["types"] = _beside("_types")
            # the boot of some types runs an installer in some builds
            subprocess.Popen = _no_program
        return self.ready["types"].judged(Path(file), name)


def _beside(name: str) -> Any:
    """A module beside this one, by its path: a build that is compared may have none of this name."""
    spec = importlib.util.spec_from_file_location(f"_beside{name}", Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _watched(names: Sequence[str]) -> Iterator[list[float]]:
    """The seconds spent in functions and methods of these names, wherever the package has them; calls within each other
    count once.
    """
    spent, depth, changed = [0.0], [0], []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            depth[0] += 1
            began = time.perf_counter()
            try:
                made = function(*arguments, **options)
            finally:
                depth[0] -= 1
                spent[0] += 0.0 if depth[0] else time.perf_counter() - began
            # what is called once an edit was undone
            return timed(made) if callable(made) and not isinstance(made, type) else made

        return wrapper

    def put(owner: Any, name: str, new: Any) -> None:
        changed.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, new)

    try:
        for module in [m for n, m in list(sys.modules.items()) if n.partition(".")[0] == "lens"]:
            for name in names:
                found = module.__dict__.get(name)
                if isinstance(found, type) and found.__module__ == module.__name__:
                    for method, function in list(vars(found).items()):
                        if inspect.isfunction(function):
                            put(found, method, timed(function))
                elif inspect.isfunction(found):
                    put(module, name, timed(found))
        yield spent
    finally:
        for owner, name, old in reversed(changed):
            setattr(owner, name, old)


def _no_program(*arguments: Any, **options: Any) -> None:
    raise OSError(f"no program is started while types are compared: {arguments[:1]}")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints goes to standard error
    import torch

    torch.set_num_threads(min(2, os.cpu_count() or 1))
    import lens

    calls = Calls("--quick" in sys.argv)

    def say(**what):
        return print(MARK + json.dumps(what), file=answers, flush=True)

    say(lens=str(Path(lens.__file__).resolve()))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["call"] == "types":
                say(types=calls.types(asked["file"], asked["name"]))
            elif asked["call"] == "hashing":
                say(hashing=calls.hashing(asked["of"]))
            else:
                say(seconds=calls.seconds(asked["call"]))
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
