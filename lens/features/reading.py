"""What a dictionary's features are on prompts, and on which texts of a corpus a feature is strongest."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from ..arguments import Count, HFModel, Indices, door
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import indices
from ..progress import hidden
from ..results.dataset import Result, stamp
from ..results.record import record_of
from ..tokens import PromptError, token_strings, tokenizer_of
from .build import AnyDictionary
from .corpus import through
from .errors import FeatureError


@door(FeatureError)
@of_one_model
def read(model: HFModel, prompts: Any, sae: AnyDictionary, *, top: Count = 10, length: Count = 1024) -> Result:
    """The strongest features of every token of some prompts, and how much of the activation they leave.

    Args:
        prompts: one text or several, as text, chat or token ids.
        top: features of a token that are given, the strongest first. length: tokens of each prompt that are read.

    Returns:
        Over ``prompt``, ``position`` and ``rank``: ``feature`` (-1 where fewer are active) and ``value`` (in the
        dictionary's units, NaN there); over ``prompt`` and ``position``: ``l0``, ``error`` (the length of what is not
        explained over that of the activation), ``token``. Tokens that the dictionary was not trained on are NaN.

    Raises:
        FeatureError: another model's dictionary. PromptError: a prompt that is none.
    """
    view = Model.of(model)
    one = isinstance(prompts, str) or (isinstance(prompts, Sequence) and bool(prompts) and _flat(prompts[0]))
    texts = [prompts] if one else list(prompts)
    seen = list(through(model, view, texts, sae, int(length)))
    n, longest, k = len(texts), max(len(t.ids) for t in seen), min(int(top), sae.n_features)
    feature = np.full((n, longest, k), -1)
    value, l0, left = (
        np.full((n, longest, k), np.nan, np.float32),
        np.full((n, longest), np.nan),
        np.full((n, longest), np.nan),
    )
    token = np.full((n, longest), "", object)
    for text in seen:
        f = sae.values(text.read)
        error = text.written - sae.reconstruct(f, text.read)
        best, at = f.topk(k, dim=1)
        where = slice(text.first, len(text.ids))
        on = (best != 0).cpu().numpy()
        feature[text.number, where] = np.where(on, at.cpu().numpy(), -1)
        value[text.number, where] = np.where(on, best.cpu().numpy(), np.nan)
        l0[text.number, where] = (f != 0).sum(1).cpu()
        left[text.number, where] = (error.norm(dim=1) / text.written.norm(dim=1)).cpu()
        token[text.number, : len(text.ids)] = _strings(model, text.ids)
    ds = xr.Dataset(
        {
            "feature": (("prompt", "position", "rank"), feature),
            "value": (("prompt", "position", "rank"), value),
            "l0": (("prompt", "position"), l0),
            "error": (("prompt", "position"), left),
        },
        {"token": (("prompt", "position"), token.astype(str)), "position": np.arange(longest), "prompt": np.arange(n)},
    )
    call = dict(sae.digest(), top=k, length=int(length))
    return stamp(ds, record_of(model, view, "features", call, status="complete", state=view.state))


@door(FeatureError)
@of_one_model
def examples(
    model: HFModel,
    sae: AnyDictionary,
    texts: Iterable[Any],
    feature: Annotated[Any, Indices("feature")],
    *,
    top: Count = 10,
    length: Count = 128,
    window: Count = 12,
    progress: bool | None = None,
) -> Result:
    """The texts of a corpus on which features are strongest, each with its strongest token.

    Args:
        texts: the corpus, which may be a stream: it is read once, and only the best so far are kept.
        feature: one or several. top: texts a feature. length: tokens of each text that are read.
        window: tokens before and after the strongest that are shown.
        progress: a bar for what takes over two seconds; False for none.

    Returns:
        Over ``feature`` and ``example``, the strongest first: ``value``, ``text`` (its number in the corpus, -1 where
        there are fewer), ``position``, ``token``, ``context``; over ``feature``: ``density`` (share of tokens at which
        it is active), with ``n_tokens`` and ``n_texts`` in the record.

    Raises:
        FeatureError: another model's dictionary; no text that is long enough. SiteError: no such feature.

    Cost: a forward of each text; memory of one batch and of the best texts.
    """
    view = Model.of(model)
    chosen = indices(feature, sae.n_features, "feature")
    named = torch.tensor(chosen)
    best: list[list[tuple[float, int, int, tuple[int, ...]]]] = [[] for _ in chosen]
    active, tokens, count = np.zeros(len(chosen)), 0, 0
    with tqdm(desc="texts", unit="text", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        for text in through(model, view, texts, sae, int(length)):
            values = sae.values(text.read, named)
            active += (values != 0).sum(0).cpu().numpy()
            tokens += len(values)
            count += 1
            most, at = values.max(0)
            for i, (strength, place) in enumerate(zip(most.tolist(), at.tolist())):
                position = place + text.first
                if strength <= 0 or (len(best[i]) == top and strength <= best[i][0][0]):
                    continue
                entry = (strength, -text.number, position, tuple(text.ids.tolist()))
                (heapq.heappush if len(best[i]) < top else heapq.heapreplace)(best[i], entry)
            bar.update()
    shape = len(chosen), int(top)
    out: dict[str, np.ndarray] = {
        "value": np.full(shape, np.nan, np.float32),
        "text": np.full(shape, -1),
        "position": np.full(shape, -1),
        "token": np.full(shape, "", object),
        "context": np.full(shape, "", object),
    }
    for i, of in enumerate(best):
        for rank, (strength, number, position, ids) in enumerate(sorted(of, reverse=True)):
            strings = _strings(model, torch.tensor(ids))
            around = slice(max(0, position - int(window)), position + int(window) + 1)
            shown = (strength, -number, position, strings[position], "".join(strings[around]))
            for name, entry_ in zip(out, shown):
                out[name][i, rank] = entry_
    ds = xr.Dataset(
        {name: (("feature", "example"), x.astype(str) if x.dtype == object else x) for name, x in out.items()}
        | {"density": ("feature", active / tokens)},
        {"feature": chosen},
    )
    call = dict(sae.digest(), length=int(length), n_texts=count, n_tokens=tokens)
    return stamp(ds, record_of(model, view, "features examples", call, status="complete", state=view.state))


def _flat(item: Any) -> bool:
    """Whether a list's first item says that the list is one prompt: a token, or a message of a chat."""
    return isinstance(item, int | np.integer | dict)


def _strings(model: Any, ids: torch.Tensor) -> list[str]:
    try:
        return list(token_strings(tokenizer_of(model), ids.tolist()))
    except PromptError:  # a model without a tokenizer
        return [f"[{i}]" for i in ids.tolist()]
