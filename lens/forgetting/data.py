"""What is trained on and what is measured: stages, probes, and the model that a sequence starts from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool

from ..arguments import Count, HFModel, Name, Unfit, Whole, door, shown, unfit
from ..arguments.kinds import is_sequence
from ..engine.anatomy import Anatomy
from ..engine.lengths import Lengths
from ..engine.places import evaluating
from ..engine.sessions import of_one_model
from ..errors import Error
from ..scoring.look_ahead import require_causal
from ..training import Rows
from ..training import wrapped as training_wrapped

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: What a probe measures: does the model follow an instruction, learn from demonstrations, know a fact, or do what it
#: was just trained on?
Kind = Literal["instruction", "in_context", "knowledge", "new"]
KINDS: tuple[str, ...] = get_args(Kind)
#: Numbers in the logits of one forward of `accuracy`; bounds its memory.
LOGITS_AT_ONCE = 25_000_000


class ForgettingError(Error, ValueError):
    """An experiment on forgetting that cannot be run; the message names the argument, its value and what was
    expected.
    """


#: Of a token.
_ID = Whole(0, 2**31)


def _pairs(
    prompts: Iterable[Any], owner: str, name: str = "prompts"
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Prompts as (ids, answer ids); objects with ``ids`` and ``answer_ids`` are taken too."""
    out = []
    for i, prompt in enumerate(prompts):
        ids, answer = (
            (prompt.ids, prompt.answer_ids)
            if hasattr(prompt, "answer_ids")
            else prompt
            if is_sequence(prompt) and len(prompt) == 2
            else (prompt, ())
        )
        try:
            if not is_sequence(ids) or not is_sequence(() if answer is None else answer):
                raise Unfit(prompt, "(ids, answer_ids)")
            ids, answer = (tuple(_ID.take(t) for t in part) for part in (ids, () if answer is None else answer))
        except Unfit as found:
            raise ForgettingError(
                f"{owner}: {name}: prompt {i} holds {shown(found.value)}; expected (ids, answer_ids), each a list of"
                " token ids."
            ) from None
        if not ids or not answer:
            raise ForgettingError(
                f"{owner}: {name}: prompt {i} has {len(ids)} tokens and an answer of {len(answer)}; expected (ids,"
                " answer_ids), at least one token each."
            )
        out.append((ids, answer))
    return tuple(out)


@door(ForgettingError)
@dataclass(frozen=True, eq=False)
class Stage:
    """One task of a fine-tuning sequence: the rows it is trained on, and prompts with answers to validate it by.

    Attributes:
        rows: what is trained on. prompts: (ids, answer ids); they become the probe of kind "new" that bears the stage's
            name.

    Raises: ForgettingError: no rows, a row without a counted token, a prompt without an answer.
    """

    name: Name
    rows: Rows
    prompts: Sequence[Any] = ()

    def __post_init__(self):
        if len(self.rows.ids) == 0:
            raise ForgettingError(f"stage {self.name!r}: it has no rows; give at least one (prompt ids, answer ids).")
        object.__setattr__(self, "prompts", _pairs(self.prompts, f"stage {self.name!r}"))

    @classmethod
    @door(ForgettingError)
    def of(
        cls, name: Name, prompts: Sequence[Any], validation: Sequence[Any] = (), pad: Annotated[int, _ID] = 0
    ) -> Stage:
        """A stage from prompts with answers, (ids, answer ids) or objects that have both."""
        return cls(
            name,
            Rows.of(_pairs(prompts, f"stage {name!r}"), pad=pad) if len(prompts) else _no_rows(name),
            _pairs(validation, f"stage {name!r}", "validation"),
        )


def _no_rows(name: str) -> Rows:
    raise ForgettingError(f"stage {name!r}: it has no rows; give at least one (prompt ids, answer ids) in prompts.")


@door(ForgettingError)
@dataclass(frozen=True, eq=False)
class Probe:
    """Prompts with answers that are measured again and again while a model is trained.

    Attributes:
        kind: one of `KINDS`. prompts: (ids, answer ids), or objects that have both, such as lens.vectors.TaskPrompt.

    Raises: ForgettingError: an unknown kind, no prompts, a prompt without an answer.
    """

    name: Name
    kind: Kind
    prompts: Sequence[Any] = field(default=())

    def __post_init__(self):
        object.__setattr__(self, "prompts", _pairs(self.prompts, f"probe {self.name!r}"))
        if not self.prompts:
            raise ForgettingError(f"probe {self.name!r}: it has no prompts; give at least one (ids, answer_ids).")


def core(model: Any) -> PreTrainedModel:
    """See `lens.training.wrapped.core`. Raises: ForgettingError."""
    return training_wrapped.core(model, ForgettingError)


def anatomy(model: Any) -> Anatomy:
    """Where the sites of a model in training lie, adapters included."""
    return training_wrapped.anatomy(model, ForgettingError)


@door(ForgettingError)
def starting_from(name: Name) -> Callable[[], torch.nn.Module]:
    """A `make_model` for `sequential`: each call reads the plain Hugging Face model anew, float32, in eval mode.

    `name`: "smollm2", "organism:<name>", a local folder with safetensors or a hub name, as for lens.load. Raises
    LoadError; ForgettingError: a hub name that cannot be reached.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    from ..models.adapter import NO_ADAPTER, adapters_beside, put_on
    from ..models.check import one_line as _one_line
    from ..models.folder import inspect_folder, require_complete, require_known_ways
    from ..models.hub import no_progress_bars
    from ..models.names import folder_for

    folder = folder_for(name)
    options = {"trust_remote_code": False, "local_files_only": folder is not None}
    ours = False
    if folder is not None:
        inspect_folder(name, folder)
        ours = adapters_beside(name, folder)
    else:
        try:
            with no_progress_bars():
                config = AutoConfig.from_pretrained(
                    name, **options
                )  # a small file: whether the name is known, before anything is built on it
        except Exception as error:  # transformers and the hub's client each raise their own kinds
            raise _unreached(name, _one_line(error)) from error
        require_known_ways(name, config)

    def make() -> torch.nn.Module:
        try:
            with no_progress_bars():
                loaded: Any = AutoModelForCausalLM.from_pretrained(
                    str(folder or name),
                    dtype=torch.float32,
                    use_safetensors=True,
                    output_loading_info=True,
                    **options,
                    **NO_ADAPTER,
                )
        except Exception as error:
            if folder is not None:
                raise
            raise _unreached(name, _one_line(error)) from error
        model, report = loaded
        require_complete(name, report, model)
        if ours and folder is not None:
            model = put_on(model, folder, name).requires_grad_(False)
        return model.eval().requires_grad_(False)

    return make


def _unreached(name: str, why: str) -> ForgettingError:
    return ForgettingError(
        f"name={name!r} is no folder, organism or built-in model, and as a hub name it cannot be read ({why}); "
        "where the hub cannot be reached, download the model's safetensors elsewhere to a folder and give that."
    )


@door(ForgettingError)
@of_one_model(reads=False)
@torch.no_grad()
def accuracy(model: HFModel, probe: Probe, *, batch: Count = 64) -> Bool[np.ndarray, " prompt"]:
    """Per prompt, whether the whole answer is the model's greedy continuation.

    Greedy decoding writes an answer exactly if, after each true prefix, the answer's next token is the likeliest one:
    one forward a batch of right-padded rows (causal attention never looks at the padding). The model's mode is left as
    it was.

    Raises: ForgettingError: a wrapper as in `core`; an answer at whose length the model's rotary frequencies change.
        ScoringError: a model that looks ahead.
    """
    plain = core(model)
    if getattr(plain, "get_output_embeddings", lambda: None)() is None:
        raise ForgettingError(unfit("model", model, "a causal language model that writes tokens"))
    short = "logits_to_keep" in inspect.signature(plain.forward).parameters
    embeddings = plain.get_input_embeddings().get_parameter("weight")
    device, width = embeddings.device, embeddings.shape[0]
    out = np.zeros(len(probe.prompts), dtype=bool)
    if (largest := max(max(*p, *a) for p, a in probe.prompts)) >= width:
        raise ForgettingError(
            f"probe {probe.name!r}: its prompts hold token {largest}, this model's vocabulary has {width}; tokenise"
            " them with this model's tokenizer."
        )
    # neighbours of like length share the places where answers begin, so that few logits are computed
    order = sorted(range(len(probe.prompts)), key=lambda i: (len(probe.prompts[i][0]), len(probe.prompts[i][1])))
    kinds = _kinds_of_length(plain, probe)
    with evaluating(model):
        require_causal(plain)
        while order:
            group = [i for i in order[:batch] if kinds[i] == kinds[order[0]]]
            length = max(len(p) + len(a) for p, a in (probe.prompts[i] for i in group)) - 1
            places = _places(probe, group)
            if len(group) > 1 and len(group) * (len(places) if short else length) * width > LOGITS_AT_ONCE:
                batch = max(1, len(group) // 2)
                continue
            order = order[len(group) :] if group == order[: len(group)] else [i for i in order if i not in group]
            ids = torch.zeros(len(group), length, dtype=torch.long)
            for row, i in enumerate(group):
                text = [*probe.prompts[i][0], *probe.prompts[i][1]][:-1]
                ids[row, : len(text)] = torch.tensor(text)
            options = {"logits_to_keep": torch.tensor(places, device=device)} if short else {}
            best = model(input_ids=ids.to(device), use_cache=False, **options).logits.argmax(-1).cpu()
            where = {p: k for k, p in enumerate(places)} if short else range(length)
            for row, i in enumerate(group):
                prompt, answer = probe.prompts[i]
                out[i] = all(int(best[row, where[len(prompt) - 1 + t]]) == token for t, token in enumerate(answer))
    return out


def _kinds_of_length(model: torch.nn.Module, probe: Probe) -> list[Any]:
    """For each prompt what kind of length it has with its answer; prompts of one kind may share a batch. Puts back what
    the rotary frequencies remember.
    """
    if (lengths := Lengths.of(model)) is None:
        return [None] * len(probe.prompts)
    lengths.forget()
    kind_of_prompt = []
    for i, (prompt, answer) in enumerate(probe.prompts):
        kinds = {lengths.key(n) for n in range(len(prompt), len(prompt) + len(answer))}
        if len(kinds) > 1:
            raise ForgettingError(
                f"probe {probe.name!r}: while the answer to prompt {i} is written (from {len(prompt)} tokens on) the"
                " model's rotary frequencies change with the length of the text, which one forward cannot show; give a"
                " shorter or a longer prompt."
            )
        kind_of_prompt.append(kinds.pop())
    return kind_of_prompt


def _places(probe: Probe, group: Sequence[int]) -> list[int]:
    return sorted({len(p) - 1 + t for p, a in (probe.prompts[i] for i in group) for t in range(len(a))})
