"""One forward and one backward over every batch, with what goes into the linear layers and the gradients that come back
out; taken up again where it was cut.

The statistics live in float32 tensors. With a folder they are written there as the pass goes, always between two
batches, so a run that was killed ends with the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from tqdm.auto import tqdm

from .. import files, reading
from ..arguments import unfit
from ..arguments.kinds import is_sequence
from ..engine.autograd import require_autograd
from ..engine.changes import temporary
from ..engine.experts import Routed
from ..engine.lengths import require_readable
from ..engine.linear import Linear, gradients_of
from ..engine.places import alone
from ..engine.stopping import Stopped, says_stop
from ..models.hash import older
from ..notices import warn
from ..progress import hidden
from ..scoring.likelihood import Likelihood
from .ending import Ending
from .errors import CurvatureError

Fisher = Literal["true", "empirical"]
#: Seconds between two writes of the statistics to disk.
SAVE_SECONDS = 60.0
_FORMAT = "mnemoscope curvature 1"

#: A loss for anything that is no language model: `objective(model, batch, generator)` gives the sum over the batch of
#: every item's own loss.
Objective = Callable[[nn.Module, Any, torch.Generator], Tensor]


# -- batches ----------------------------------------------------------------------------------------------------------


def token_batches(batches: Any, rows: int | None, tokens: int, argument: str = "batches") -> list[np.ndarray]:
    """Token ids as int64 arrays [rows, length]: from one array or tensor [rows, length], or from a sequence of such;
    `rows` of them at a time, None: about so many tokens that predict.

    Raises: CurvatureError: no row, rows of fewer than two tokens, other numbers than token ids.
    """
    try:
        parts = [batches] if hasattr(batches, "ndim") else list(batches) if is_sequence(batches) else None
        arrays = (
            None
            if parts is None
            else [part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part) for part in parts]
        )
    except Exception:  # no array can be made of it
        arrays = None
    if arrays is None:
        raise CurvatureError(unfit(argument, batches, "token ids [rows, length], or a list of such"))
    pieces: list[np.ndarray] = []
    for i, ids in enumerate(arrays):
        if ids.ndim != 2 or ids.dtype.kind not in "iu" or ids.shape[1] < 2 or not ids.size or ids.min() < 0:
            raise CurvatureError(
                f"{argument}[{i}] has shape {ids.shape} and type {ids.dtype}; expected token ids [rows, length] of at"
                " least two tokens, every row of a batch equally long."
            )
        step = rows or max(1, tokens // (ids.shape[1] - 1))  # the last of a row is not counted
        pieces += [ids[a : a + step].astype(np.int64) for a in range(0, len(ids), step)]
    if not pieces:
        raise CurvatureError(f"{argument} holds no row; give token ids [rows, length].")
    return pieces


def fitting(model: nn.Module, batches: Sequence[np.ndarray], argument: str) -> None:
    """Raises: CurvatureError: tokens that the model has not, or more of them than it reads."""
    require_readable(
        model, max(int(ids.max()) for ids in batches), max(ids.shape[1] for ids in batches), CurvatureError, argument
    )


def digest_of(batches: Sequence[Any]) -> str:
    """SHA-256 over the numbers in a sequence of batches: arrays, tensors, and lists, tuples or dictionaries of them.

    Raises: CurvatureError: something that cannot be read.
    """
    digest = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, Mapping):
            for key in sorted(item):
                digest.update(str(key).encode())
                add(item[key])
        elif isinstance(item, (list, tuple)):
            digest.update(f"({len(item)}".encode())
            for part in item:
                add(part)
        elif isinstance(item, (Tensor, np.ndarray)):
            array = np.ascontiguousarray(item.detach().cpu().numpy() if isinstance(item, Tensor) else item)
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(array.view(np.uint8).data if array.ndim else array.tobytes())
        elif item is None or isinstance(item, (str, int, float, bool)):
            digest.update(repr(item).encode())
        else:
            raise CurvatureError(
                f"batches holds a {type(item).__name__}; expected arrays, tensors, numbers, or lists, tuples and"
                " dictionaries of them."
            )

    add(list(batches))
    return digest.hexdigest()


# -- the pass ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _frozen(model: nn.Module, layers: Mapping[str, Linear]) -> Iterator[None]:
    """No parameter asks for a gradient; the first of the layers to run does, so that the backward ends there."""
    asking = [p for p in model.parameters() if p.requires_grad]

    def root(module, args, out):
        # what gives no tensor is refused by name where its gradient is asked for
        if isinstance(out, Tensor) and not out.requires_grad:
            out.requires_grad_()

    with temporary(model) as here:
        here.back(lambda: _ask(asking, True))
        _ask(asking, False)
        for linear in layers.values():
            here.put(lambda: linear.after(alone(root)))
        with torch.enable_grad():
            yield


def _ask(parameters: list[nn.Parameter], whether: bool) -> None:
    for p in parameters:
        p.requires_grad_(whether)


class NextToken:
    """The gradient of the sum over tokens of -ln p(label), without the [tokens, vocabulary] table: labels drawn from
    the model itself, or the text's own.

    The last token of a row predicts nothing, so it is not run, unless the row would have other rotary frequencies
    without it. Draws depend on the seed and the row's number alone.

    `some`: the layers are experts' alone, so that a batch whose tokens are sent to none of them says nothing.
    """

    def __init__(self, model: nn.Module, fisher: str, seed: int, some: bool = False):
        self.like, self.fisher, self.seed, self.some = Likelihood(model), fisher, seed, some
        self.model = model
        self.ending = Ending(self.like, fisher == "true")
        #: rows and tokens of the batch under way where their last token is run, else None; what was taken out of it
        self._whole: tuple[int, int] | None = None
        self._taken: dict[tuple, tuple[Tensor, Tensor]] = {}

    def counted(
        self, name: str, x: Float[Tensor, "tokens d"], routed: Routed | None = None
    ) -> Float[Tensor, "counted d"]:
        """Of what a layer read, or of its gradients, those of the tokens that predict; one tensor for one tensor.

        Raises: CurvatureError: a layer that sees only some of the tokens, and not whose (as of an expert it is known:
            `routed`), where the last has to be told from them.
        """
        if self._whole is None:
            return x
        n, length = self._whole
        if routed is not None:
            return x[routed.rows % length != length - 1]
        if len(x) != n * length:
            raise CurvatureError(
                f"layers: {name!r} sees {len(x)} of the batch's {n * length} tokens, and this model's "
                f"rotary frequencies for {length} tokens are others than for {length - 1}, so that "
                "the last has to be read and left out; which it is cannot be told here. Leave the "
                "layer out, or give rows of another length."
            )
        key = (x.data_ptr(), x.shape, x.stride(), x._version)
        if key not in self._taken:
            # held with its part, so that its address stays its own
            self._taken[key] = x, x.view(n, length, -1)[:, :-1].reshape(n * (length - 1), -1)
        return self._taken[key][1]

    def __call__(self, ids: np.ndarray, first_row: int) -> None:
        """Runs a batch of rows `ids` [n, length] forward and back, for the layers' hooks to read."""
        like = self.like
        device = like.model.device
        like.begin()
        n, length = ids.shape
        self._whole = (n, length) if like.lengths is not None and like.lengths.needs_last(length) else None
        self._taken = {}
        inputs = torch.from_numpy(ids if self._whole else ids[:, :-1]).to(device)
        if self.fisher == "empirical":
            want = torch.from_numpy(ids[:, 1:]).to(device).reshape(-1)
        else:
            rows = [
                np.random.default_rng([self.seed, first_row + i]).random(ids.shape[1] - 1, dtype=np.float32)
                for i in range(len(ids))
            ]
            want = torch.from_numpy(np.concatenate(rows)).to(device)
        whole = like.way == "whole"
        out = (
            self.model(input_ids=inputs, use_cache=False).logits
            if whole
            else like.body(input_ids=inputs, use_cache=False)[0]
        )
        if self.some and not out.requires_grad:
            return
        if not out.requires_grad:
            raise CurvatureError(
                "layers: the loss does not depend on any of them by a gradient; choose layers that the model runs"
                " before its output."
            )
        flat = out[:, : length - 1].reshape(-1, out.shape[-1])
        flat.backward(self.ending(flat, want))


def run(
    model: nn.Module,
    layers: Mapping[str, Linear],
    batches: Sequence[Any],
    sink: Callable[..., None],
    state: State,
    *,
    fisher: str,
    seed: int,
    inputs: Callable[[str, Tensor], None] | None = None,
    objective: Objective | None = None,
    between: Callable[[], None] | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    label: str = "curvature",
) -> None:
    """Run what is left of the batches; `sink(name, x, g)` gets each layer's input and gradient, `between()` is called
    before each batch. An expert gets those of the tokens that the router sends to it, in some batches none. With
    `inputs` this gets `inputs(name, x)`, of next tokens as the forward goes, so that no input is kept for the backward,
    and the sink `sink(name, g)`.

    Raises: CurvatureError: a layer, no expert, that no gradient reached. Stopped: `stop` said so; with a folder the
        state is written first.
    """
    require_autograd(CurvatureError, label, model)
    always = [name for name, linear in layers.items() if linear.expert is None]
    step = NextToken(model, fisher, seed, not always) if objective is None else None
    rows = np.cumsum([0, *(len(b) for b in batches)]) if objective is None else np.zeros(0, dtype=int)
    reached: set[str] = set()

    def counted(name: str, x: Tensor, routed: Routed | None) -> Tensor:
        return x if step is None else step.counted(name, x, routed)

    @torch.no_grad()
    def read(name: str, x: Tensor, routed: Routed | None = None) -> None:
        assert inputs is not None
        inputs(name, counted(name, x, routed))

    @torch.no_grad()
    def hand_gradient(name: str, g: Tensor, routed: Routed | None = None) -> None:
        sink(name, counted(name, g, routed))
        reached.add(name)

    @torch.no_grad()
    def hand(name: str, x: Tensor, g: Tensor, routed: Routed | None = None) -> None:
        if inputs is not None:
            read(name, x, routed)
            hand_gradient(name, g, routed)
            return
        sink(name, counted(name, x, routed), counted(name, g, routed))
        reached.add(name)

    # of an objective's forwards only those count whose gradients come back
    early = inputs is not None and step is not None
    watched = gradients_of(model, layers, hand_gradient, inputs=read) if early else gradients_of(model, layers, hand)

    bar = tqdm(
        total=len(batches),
        initial=state.done,
        desc=label,
        unit="batch",
        delay=2.0,
        leave=False,
        disable=hidden(progress),
    )
    with bar, _frozen(model, layers), watched:
        while state.done < len(batches):
            if says_stop(stop):
                state.save()
                rest = "; call it again to go on." if state.path else ", which are lost; give a folder to keep them."
                raise Stopped(f"{label}: stopped after {state.done} of {len(batches)} batches{rest}")
            if between is not None:
                between()
            if step is not None:
                step(batches[state.done], int(rows[state.done]))
            elif objective is not None:
                loss = objective(
                    model, batches[state.done], torch.Generator().manual_seed((seed * 1_000_003 + state.done) % 2**63)
                )
                if not (isinstance(loss, Tensor) and loss.ndim == 0 and (loss.requires_grad or not always)):
                    raise CurvatureError(
                        f"objective returned {loss!r:.80}; expected the sum of the losses as a tensor without axes that"
                        " depends on the layers."
                    )
                if loss.requires_grad:
                    loss.backward()
            if missing := [name for name in always if name not in reached]:
                raise CurvatureError(
                    f"layers: no gradient reached {missing[0]!r}"
                    + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
                    + "; choose layers that every batch runs through."
                )
            state.done += 1
            state.save_now_and_then()
            bar.update()
    state.save()


# -- on disk ----------------------------------------------------------------------------------------------------------


def _key(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps({"format": _FORMAT, **facts}, sort_keys=True).encode()).hexdigest()[:24]


class State:
    """Float32 sums by name, the number of batches in them and plain facts; in `folder` under a key of everything that
    they depend on, or in memory only.
    """

    def __init__(self, folder: str | os.PathLike | None, facts: Mapping[str, Any]):
        self.sums: dict[str, Tensor] = {}
        self.notes: dict[str, Any] = {}
        self.done, self._written, self._last = 0, -1, time.monotonic()
        self.key, name = _key(facts), f"{facts['what']}-{{}}.safetensors".format
        self.path: Path | None = None
        if folder is None:
            return
        place = Path(folder)
        self.path = place / name(self.key)
        if not self.path.is_file() and any(place.glob(name("*"))):
            before = _key(older(dict(facts)))
            if (place / name(before)).is_file():
                self.key, self.path = before, place / name(before)

    def load(self, device: torch.device) -> "State":
        """What an earlier run left. A file that cannot be read is set aside with a warning."""
        if self.path is None or not self.path.is_file():
            return self
        try:
            with safe_open(str(self.path), framework="pt") as file:
                facts = reading.value(file.metadata()["facts"], dict)
                facts["notes"], facts["done"]
                # read, not mapped: the sums are added to
                sums = {name: file.get_tensor(name).clone().to(device) for name in file.keys()}
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            warn(f"{self.path} cannot be read ({error}); it is set aside and the statistics start anew.")
            with contextlib.suppress(OSError):
                os.replace(self.path, self.path.with_suffix(".corrupt"))
            return self
        self.sums, self.notes, self.done, self._written = sums, facts["notes"], facts["done"], facts["done"]
        return self

    def save_now_and_then(self) -> None:
        """Saves the sums, where the last time is `SAVE_SECONDS` ago."""
        if time.monotonic() - self._last >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write it in one rename, if it changed."""
        if self.path is None or self._written == self.done:
            return
        write(self.path, self.sums, {"facts": json.dumps({"done": self.done, "notes": self.notes})})
        self._written, self._last = self.done, time.monotonic()


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file that is there whole or not at all."""
    files.write_tensors(path, tensors, metadata or {}, parents=True)
