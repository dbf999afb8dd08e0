"""`lens.generate`: texts written on from prompts, many at once, while edits act."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...arguments import Count, Draws, HFModel, Name, NonNegative, Positive, Real, Seed, Token, door, shown, unfit
from ...arguments.kinds import is_sequence
from ...notices import warn
from ...progress import hidden
from ...tokens import PromptError, token_id, tokenizer_of
from ..anatomy import Anatomy
from ..copying import as_tensor
from ..edits import Edit, EditError
from ..effective import shape
from ..generation import Generated, NewTokens, as_text, end_tokens
from ..memory import ERRORS, no_room, out_of_memory
from ..schedules import Schedule, factors
from ..sessions import of_one_model
from ..sites import Site
from .acts import Acts
from .prompts import GenerationError, read_prompts, require_room
from .readers import Readers
from .rows import Ends, Writing, streams, write_rows

#: Logits divided by less leave float32.
COLDEST = 1e-6
#: Models whose user was told that their texts are written one by one, by what is kept on them.
_TOLD = "_mnemoscope_one_by_one"


@door(GenerationError)
def generate(
    model: HFModel,
    prompts: Any,
    edits: Any = (),
    *,
    max_new_tokens: Draws = 20,
    temperature: NonNegative = 0.0,
    seed: Seed = 0,
    stop: Callable[[], bool] | Name | Sequence[Name] | None = (),
    schedule: Schedule = None,
    capture: Any = (),
    bias: Mapping[Any, Real] | None = None,
    batch: Count | None = None,
    memory_mb: Positive | None = None,
    start: Token | None = "auto",
    progress: bool | None = None,
) -> Any:
    """Continues prompts token by token, many in a batch, while edits act.

    Each text is the one that it is alone: token by token in float32 as if every step read it whole, by itself, under
    its edits. What all prompts begin with is read once; texts that have ended leave the batch. A model that gives rows
    of a batch other numbers than alone, or keeps no cache that is right, is found by a probe; its texts are written one
    by one, with a warning.

    Args:
        prompts: text, token ids, a chat (a `lens.prompts.Chat` or its list of messages), or a list of those. Text gains
            the start token; a chat is what the tokenizer's own template makes of it; ids are taken as they are.
        edits: an `Edit` or a list of them, for all prompts; or a list with one list for each prompt. Positions count
            from the start of the text, negative ones from its end so far (-1: in every step the newest token); without
            one an edit meets every token, the prompt's too. What it made of a token stays in the keys and values that
            later tokens attend to. `Edit(..., when=Gate...)` acts where its gate is open.
        max_new_tokens: of each text, unless it ends before.
        temperature: 0 takes the most likely token; else tokens are drawn from softmax(logits / temperature). Each text
            has a stream of its own, of `seed`, its tokens and how many prompts like it came before: the same text
            whatever its neighbours and the size of the batch.
        stop: a text or several, at the first of which in what is new a text ends, and before which it is cut; or a
            function, asked before every token: True returns what there is. Ctrl-C does the same.
        schedule: how far edits go at each step (step 0 reads the prompt, step t the t-th new token), as a factor f of
            what they change, ``x + f * (edited - x)``: "constant", "linear decay" (from 1 to 0 over `max_new_tokens`),
            "first n", a function of the step, or factors (0 after the last). At 0 an edit, and its gate, are not there.
        capture: sites of which activations are kept where each new token was read off, edits included.
        bias: what is added to the logits of tokens (text or ids) before one is chosen: of an edit that is to raise or
            lower a token the cheapest rival. Gates of probabilities do not see it.
        batch: texts at once, at most; None: as many as there is memory for. memory_mb: memory to stay under (2^20
            bytes), by default by the device.
        start: the start token of text: "auto", "bos", one token, or None (`lens.prompts.start_token`).

    Returns: for each prompt a `Generated`, a str: the new text, with `ids`, `reason` ("end": an end token, the last of
        `ids`; "length"; "stop string": the ids have it, the text has not; "stopped": by the function or Ctrl-C),
        `complete`, `activations` (by site: ``[n_new, *width]``, entry t of the token before the t-th new one, on the
        CPU) and `fired` (by number of the edit: the positions at which its gate was open). A list where a list of
        prompts was given.

    Raises:
        GenerationError: arguments that cannot be used. EditError, SiteError: an edit that the model has no place for; a
            gate that is read above its edit. GateError: a gate that failed. No hook stays on the model.

    Warns of a gate that was never open, and of an edit that met no token.

    >>> lens.generate(model, ["The capital of France is", "1 2 3"], max_new_tokens=5)           # doctest: +SKIP
    """
    if 0 < temperature < COLDEST:
        raise GenerationError(unfit("temperature", temperature, f"0 (greedy), or at least {COLDEST}"))
    strings, asked = _stops(stop)
    one, ids = read_prompts(model, prompts, start)
    require_room(getattr(model, "original_model", model), ids, max_new_tokens)
    of_each = edits_of_each(edits, len(ids))
    sites = _captured(capture)
    factor = factors(schedule, max_new_tokens, GenerationError)
    biased = _bias(model, bias)
    texts, acts = _write(
        model,
        ids,
        of_each,
        factor,
        sites,
        strings,
        stop=asked,
        most=max_new_tokens,
        draws=streams(ids, seed) if temperature else None,
        temperature=temperature,
        bias=biased,
        batch=batch,
        memory_mb=memory_mb,
        progress=progress,
    )
    _warn_idle(acts, texts)
    out = [_generated(model, text, acts, of_each[text.number]) for text in texts]
    return out[0] if one else out


@of_one_model
def _write(
    model: Any,
    ids: Sequence[Tensor],
    edits: Sequence[Sequence[Edit]],
    factor: Callable[[int], float],
    capture: Sequence[Site],
    strings: tuple[str, ...],
    *,
    stop: Callable[[], bool] | None,
    most: int,
    draws: Sequence[torch.Generator] | None,
    temperature: float,
    bias: dict[int, float],
    batch: int | None,
    memory_mb: float | None,
    progress: bool | None,
) -> tuple[list[Writing], Acts]:
    hf = getattr(model, "original_model", model)
    acts = Acts(lambda: Anatomy.of(model), edits, factor, capture)
    path = Readers(model, acts, ids)
    ends = Ends(end_tokens(hf), strings, most, tokenizer_of(model) if strings else None)
    texts = [Writing(i, p, None if draws is None else draws[i]) for i, p in enumerate(ids)]
    size = batch if batch is not None else path.rows(ids, most, memory_mb) if len(ids) > 1 else 1
    if len(ids) > 1 and size > 1 and (why := path.alone()) is not None:
        size = 1
        if not hf.__dict__.get(_TOLD):
            hf.__dict__[_TOLD] = True
            warn(f"{path.kind}: {why}; texts are written one by one.")
    added = None
    if bias:
        added = torch.zeros(_logits(model), device=path.device)
        added[list(bias)] = torch.tensor(list(bias.values()), device=path.device)
    # texts of like lengths together
    waiting = sorted(texts, key=lambda t: len(t.prompt))
    bar = tqdm(total=len(ids) * most, desc="writing", unit="token", delay=2.0, leave=False, disable=hidden(progress))
    try:
        while waiting:
            some = waiting[:size]
            states = [None if t.draw is None else t.draw.get_state() for t in some]
            try:
                with ExitStack() as stack:
                    reader = path.reader(stack)
                    whole = write_rows(
                        reader,
                        some,
                        ends,
                        path.device,
                        temperature=temperature,
                        bias=added,
                        stop=stop,
                        on_tokens=lambda new: bar.update(len(list(new))),
                    )
            except ERRORS as error:
                if not out_of_memory(error):
                    raise
                if len(some) == 1:
                    raise no_room(path.device, len(some[0].prompt) + most) from error
                size = len(some) // 2
                acts.forget([t.number for t in some])
                for text, state in zip(some, states):
                    text.new, text.reason, text.cut = [], None, None
                    if text.draw is not None and state is not None:
                        text.draw.set_state(state)
                continue
            if not whole:
                break
            for text in some:
                bar.update(most - len(text.new))
            waiting = waiting[len(some) :]
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
    for text in texts:
        text.reason = text.reason or "stopped"
    return texts, acts


def edits_of_each(edits: Any, count: int) -> list[list[Edit]]:
    """The edits of each prompt. Raises: GenerationError: what is no edit, or lists of another number than prompts."""
    given: Any = [edits] if isinstance(edits, Edit) else edits
    if not is_sequence(given):
        raise GenerationError(unfit("edits", edits, "a lens.Edit, a list of them, or a list with one for each prompt"))
    own = len(given) > 0 and all(isinstance(e, list | tuple) for e in given)
    if own and len(given) != count:
        raise GenerationError(
            f"edits holds {len(given)} lists for {count} prompts; give one for each prompt, or one list for all."
        )
    return [_edits(of) for of in given] if own else [_edits(given)] * count


def _edits(given: Any) -> list[Edit]:
    """The edits of one list. Raises: GenerationError, EditError: at the first that cannot be used."""
    edits = []
    for i, one in enumerate(given):
        edit = _of_run(one)
        if not isinstance(edit, Edit):
            raise GenerationError(
                f"edits[{i}]={shown(edit)} is no lens.Edit; put masks and edits of weights in force by with"
                " lens.edited(model, ...) around the call."
            )
        if edit.value is not None and not isinstance(edit.value, Tensor):
            raise EditError(
                f"value of the edit at {edit.site} is a {type(edit.value).__name__}; here it must be a tensor,"
                " because a text that is generated has no run to align with; name source_position=."
            )
        edits.append(edit)
    return edits


def _of_run(edit: Any) -> Any:
    """An edit that names what it copies of a run, as one with a tensor; anything else as it is."""
    return as_tensor(edit) if isinstance(edit, Edit) and edit.source_position is not None else edit


def _bias(model: Any, given: Mapping[Any, float] | None) -> dict[int, float]:
    """The tokens whose logits are raised or lowered. Raises: PromptError: one that is no single token; GenerationError:
    one that is not there, or given as text and as id.
    """
    if not given:
        return {}
    out: dict[int, float] = {}
    size = _logits(model)
    for token, value in given.items():
        number = token if isinstance(token, int) else token_id(model, token)
        if not 0 <= number < size:
            raise GenerationError(f"bias[{token!r}]: the model has {size} tokens; give text, or an id below that.")
        if number in out:
            raise GenerationError(f"bias[{token!r}]: token {number} is there already; give every token once.")
        out[number] = float(value)
    return out


def _logits(model: Any) -> int:
    """How many logits a model gives; a packed weight does not say it by its own shape."""
    return shape(getattr(model, "original_model", model).get_output_embeddings())[0]


def _stops(stop: Any) -> tuple[tuple[str, ...], Callable[[], bool] | None]:
    """The stop strings, or the function."""
    if stop is None or callable(stop):
        return (), stop
    return ((stop,) if isinstance(stop, str) else tuple(stop)), None


def _captured(capture: Any) -> list[Site]:
    sites = [capture] if isinstance(capture, Site) else capture
    if not is_sequence(sites):
        raise GenerationError(unfit("capture", capture, "a lens.Site or a list of them"))
    for i, site in enumerate(sites):
        if not isinstance(site, Site):
            raise GenerationError(unfit(f"capture[{i}]", site, "a lens.Site"))
        if site.position is not None:
            raise GenerationError(
                f"capture[{i}]={site}: activations are kept where each new token is read off; leave position out."
            )
        if site.name == "pattern":
            raise GenerationError(f"capture[{i}]={site}: patterns are wider at each step; use 'z' or 'attn_out'.")
        for axis in ("head", "neuron", "expert"):
            if not isinstance(getattr(site, axis), int | tuple | None):
                raise GenerationError(f"capture[{i}]={site}: give {axis} as a number or a tuple of them.")
    return list(sites)


def _generated(model: Any, text: Writing, acts: Acts, edits: Sequence[Edit]) -> Generated:
    tokens = NewTokens(tuple(text.new), text.reason or "stopped")
    try:
        out = as_text(tokenizer_of(model), tokens)
    except PromptError:  # a model without a tokenizer: ids alone
        out = Generated("")
        out.ids, out.reason = tokens.ids, tokens.reason
    if text.cut is not None:
        out = Generated(str(out)[: text.cut])
        out.ids, out.reason = tokens.ids, tokens.reason
    n = len(text.new)
    out.activations = {
        site: torch.stack(kept[text.number][:n]) if text.number in kept and n else torch.zeros(0)
        for site, kept in zip(acts.capture, acts.captured)
    }
    numbers = {id(e): k for k, e in enumerate(acts.edits)}
    out.fired = {
        i: tuple(sorted(set(acts.seen[numbers[id(e)]].open.get(text.number, ()))))
        for i, e in enumerate(edits)
        if e.when is not None
    }
    return out


def _warn_idle(acts: Acts, texts: Sequence[Writing]) -> None:
    if any(text.reason == "stopped" for text in texts):
        return
    for number, edit in enumerate(acts.edits):
        seen, gate = acts.seen[number], edit.when
        if number not in acts.met:
            warn(f"no token met the edit at {edit.site}; were the texts shorter than its position?")
        elif gate is not None and not seen.open:
            of = f"in {len(acts.texts[number])} text{'s' if len(acts.texts[number]) > 1 else ''}"
            most = "" if seen.most == float("-inf") else f"; the most that it read was {seen.most:.3g}"
            warn(f"the gate {gate} of the edit at {edit.site} was never open {of}{most}.")
