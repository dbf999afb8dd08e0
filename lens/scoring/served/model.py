"""A served model as it is given in the place of a model or its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import numpy as np

from ...arguments import Name, Number, Positive, Size, Whole, door, tried
from .address import Address
from .answers import FLOOR, WAYS, Reader, Way, plain
from .client import SMALL, Client, Refused
from .errors import ServedError
from .pace import Pace

#: The environment variable that holds a key.
VARIABLE = "MNEMOSCOPE_SERVED_KEY"
#: A prompt that every vocabulary has the tokens of: how a server answers, and by what it gives, what it computes.
PROBE = tuple((7 * i + 3) % 31 + 1 for i in range(16))
#: Nats, on average over the probe's tokens, by which one model's answers may differ: another batch, other kernels.
NEAR = 0.25
#: Bytes of an answer for each token sent, generously.
PER_TOKEN = 4096
_SAMPLE = "Rows 1,024 to 7,391:\n\tdef naïve(x): return x ** 2  # ünïcode, 東京, привет, 🙂"
_LISTED = 8
#: What is asked of a tokenizer.
_ASKED = ("encode", "decode", "get_vocab")


@dataclass(frozen=True)
class Facts:
    """What is known of a served model. `says`: what the server says of itself and of it; `context`: the tokens of its
    longest request; `probe`: its log-probabilities of the tokens of `PROBE` after the first.
    """

    model: str
    context: int | None
    way: Way
    probe: tuple[float, ...]
    says: dict[str, Any] = field(default_factory=dict)

    def noted(self) -> dict[str, Any]:
        """As a store keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, noted: dict[str, Any]) -> Facts:
        """As a store kept it."""
        return cls(**noted | {"way": Way(**noted["way"]), "probe": tuple(noted["probe"])})

    def unlike(self, other: Facts) -> str | None:
        """What shows that another model answers now; None where nothing does."""
        if self.model != other.model:
            return f"it now serves {other.model!r}"
        if (ours := self.says.get("root")) != (theirs := other.says.get("root")):
            return f"it now serves {theirs!r} by that name, and served {ours!r}"
        apart = float(np.abs(np.subtract(self.probe, other.probe)).mean())
        if not apart <= NEAR:
            return f"its log-probabilities of one fixed prompt are {apart:.3g} nats a token away from what they were"
        return None


@door(ServedError)
class Served:
    """A model behind an OpenAI-compatible server, for `lens.scoring.score` and as suspect or reference of
    `lens.provenance`: log-probabilities of prompts' own tokens, nothing else. No request is made before the first row.

    Args:
        url: such as "http://localhost:8000/v1"; "http://localhost:8000/v1#name" names the model too.
        model: the name that the server gives it; None: the only one that it has.
        tokenizer: the model's own, as an object, a folder or a name that `lens.load` takes; compared with the server's
            /tokenize where it has that. None: rows are token ids, and `start` of scoring must be said.
        key: a secret of the server; None: what the environment variable `key_variable` holds, if anything. It is in no
            record, error or store, and other keys of the environment are not sent.
        timeout: seconds that an answer may take as a whole. retries: how often a request is tried again where it
            failed by time or by what passes (status 429 and 5xx): after 0.5 s, twice as long each time, or when the
            server says. rate: requests a second; None: as many as come. concurrency: requests at a time.

    A server's weights cannot be hashed: the record has its address, the name, and what it says of itself.

    Raises: ServedError: no address, one that holds a password, a tokenizer that cannot be read. ExtraError: the extra
        [served] is not installed.
    """

    #: What an error says that met a served model where a model at hand is needed.
    instead = (
        "a served model gives log-probabilities of prompts alone, no activations, gradients or weights: load the model"
        " itself (lens.load), or use lens.scoring.score and lens.provenance.query"
    )

    def __init__(
        self,
        url: Any,
        model: Name | None = None,
        *,
        tokenizer: Any = None,
        key: Any = None,
        key_variable: Name = VARIABLE,
        timeout: Positive = 120.0,
        retries: Size = 5,
        rate: Annotated[float, Number(0, above=True)] | None = None,
        concurrency: Annotated[int, Whole(1, 1024)] = 16,
    ):
        self.address = Address.of(url)
        if model is not None and self.address.model not in (None, model):
            raise ServedError(f"model={model!r}: url names {self.address.model!r} after '#'; give one of them.")
        self.asked = model or self.address.model
        self.tokenizer = _tokenizer(tokenizer)
        named = isinstance(tokenizer, (str, os.PathLike))
        known = os.fspath(tokenizer) if named else tried(lambda one: one.name_or_path, tokenizer)
        self.tokenizer_name = known if isinstance(known, str) else None
        self.concurrency, self.pace = concurrency, Pace(rate)
        self._known: Facts | None = None
        self._unsure = False
        self._decoded: dict[int, set[str]] = {}
        self._client = Client(
            self.address,
            _key(key, key_variable),
            timeout=timeout,
            retries=retries,
            pace=self.pace,
            most=concurrency,
        )

    @property
    def url(self) -> str:
        """The address, without anything secret."""
        return self.address.url

    @property
    def name(self) -> str:
        """The model and where it is, for messages and tables."""
        asked = self._known.model if self._known is not None else self.asked
        return self.url if asked is None else f"{asked} at {self.url}"

    def __repr__(self) -> str:
        return f"Served({self.name})"

    def about(self) -> dict[str, Any]:
        """What is known of the model, for records; asks the server if it was not asked before. Raises ServedError."""
        facts = self.facts()
        return {
            "what": "served over HTTP: log-probabilities of prompts; its weights cannot be hashed",
            "url": self.url,
            "model": facts.model,
            "asked_by": facts.way.form,
            "says": facts.says,
            "tokenizer": self.tokenizer_name,
        }

    def facts(self, noted: Facts | None = None) -> Facts:
        """What is known of the model: asked once, and again after the server was gone.

        Args: noted: what a store knows of it.
        Raises: ServedError: no server, no such model, no log-probabilities; another model than before.
        """
        now = self._known
        if now is None or self._unsure or self._client.gone:
            self._unsure = True
            now = self._asked()
        for earlier in filter(None, (self._known, noted)):
            if (what := earlier.unlike(now)) is not None:
                raise ServedError(
                    f"{self.url}: {earlier.model!r} is another model than it was: {what}. Scores of both must not be"
                    " mixed: score it into another store, by a new Served"
                )
        self._known, self._unsure = now, False
        return now

    def logprobs(self, rows: Sequence[Sequence[int]], halt: Any = None) -> list[np.ndarray]:
        """For each row of token ids, float64 [tokens]: NaN for the first token, and of every other one its
        log-probability given those before it. One request.

        Raises: ServedError: as `facts`, and for an answer that does not fit what was sent.
        """
        facts = self._known or self.facts()
        return self._read(facts.way, facts.model, rows, halt)

    # -- asking -----------------------------------------------------------------------------------------------------

    def _read(self, way: Way, model: str, rows: Sequence[Sequence[int]], halt: Any = None) -> list[np.ndarray]:
        return self._reader(model).logprobs(way, self._completed(way, model, rows, halt), rows)

    def _completed(self, way: Way, model: str, rows: Sequence[Sequence[int]], halt: Any = None) -> dict[str, Any]:
        most = SMALL + PER_TOKEN * sum(map(len, rows))
        return self._client.post("/completions", way.body(model, rows), most, halt)

    def _reader(self, model: str) -> Reader:
        return Reader(self.url, model, None if self.tokenizer is None else self._texts)

    def _texts(self, token: int) -> set[str]:
        """How a token's text may stand in an echo."""
        if (texts := self._decoded.get(token)) is None:
            ways = self.tokenizer.decode([token]), str(self.tokenizer.convert_ids_to_tokens(token))
            texts = self._decoded[token] = set(map(plain, ways))
        return texts

    def _asked(self) -> Facts:
        model, entry = self._listed()
        says = {name: entry[name] for name in ("owned_by", "root", "parent") if isinstance(entry.get(name), str)}
        context = entry.get("max_model_len")
        if says.get("owned_by") == "vllm" and (version := self._optional("get", f"{self.address.root}/version")):
            says["version"] = str(version.get("version"))[:64]
        if self.tokenizer is not None:
            says["tokenizer_compared"] = self._compared(model)
        way, answer = self._way(model)
        if isinstance(fingerprint := answer.get("system_fingerprint"), str):
            says["fingerprint"] = fingerprint[:64]
        (probe,) = self._reader(model).logprobs(way, answer, [PROBE])
        whole = isinstance(context, int) and context > 0
        return Facts(model, context if whole else None, way, tuple(np.maximum(probe[1:], FLOOR).tolist()), says)

    def _listed(self) -> tuple[str, dict[str, Any]]:
        """The model's name, and what the server's list says of it."""
        listed = self._optional("get", "/models")
        data = None if listed is None else listed.get("data")
        entries = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
        by_name = {one["id"]: one for one in entries if isinstance(one.get("id"), str)}
        if self.asked is None and len(by_name) != 1:
            raise ServedError(f"model=None: {self.url} {_serves(by_name)}; say which model is meant")
        if self.asked is not None and by_name and self.asked not in by_name:
            raise ServedError(f"model={self.asked!r}: {self.url} {_serves(by_name)}; give one of these")
        model = self.asked if self.asked is not None else next(iter(by_name))
        return model, by_name.get(model, {})

    def _optional(self, verb: str, path: str, *body: Any) -> dict[str, Any] | None:
        """What not every server has; None where this one does not."""
        try:
            return getattr(self._client, verb)(path, *body)
        except Refused as refused:
            if refused.status == 401 and path == "/models":
                raise
            return None

    def _compared(self, model: str) -> bool:
        """Whether the tokenizer could be compared with the server's. Raises ServedError where they differ."""
        asked = {"model": model, "prompt": _SAMPLE, "add_special_tokens": False}
        answer = self._optional("post", f"{self.address.root}/tokenize", asked)
        theirs = None if answer is None else answer.get("tokens")
        if not isinstance(theirs, list):
            return False
        ours = self.tokenizer.encode(_SAMPLE, add_special_tokens=False)
        if list(ours) != theirs:
            raise ServedError(
                f"tokenizer={self.tokenizer_name!r} gives {len(ours)} tokens for a text that the server's own makes"
                f" {len(theirs)} others of: it is not the tokenizer of {model!r}; give that model's"
            )
        return True

    def _way(self, model: str) -> tuple[Way, dict[str, Any]]:
        """How this server tells a prompt's log-probabilities, found by asking; and its answer for the probe."""
        refused = []
        for way in WAYS:
            try:
                answer = self._completed(way, model, [PROBE])
            except Refused as error:
                if error.status in (401, 403):
                    raise
                refused.append(f"{way.form}: {error}")
                continue
            if not self._reader(model).lacks(way, answer):
                return way, answer
            refused.append(f"{way.form}: answered without them")
        raise ServedError(
            f"{self.url} tells no log-probabilities of a prompt's own tokens ({'; '.join(refused)}). vLLM does"
            " (`vllm serve MODEL`); a server that only draws tokens can be asked by"
            " lens.provenance's SampledTokens"
        )


def _serves(by_name: dict[str, Any]) -> str:
    if not by_name:
        return "does not list its models"
    names = ", ".join(map(repr, sorted(by_name)[:_LISTED]))
    return f"serves {names}" + (f" and {len(by_name) - _LISTED} more" if len(by_name) > _LISTED else "")


def _key(key: Any, variable: str) -> str | None:
    """The key, looked at without ever being shown."""
    key = os.environ.get(variable) or None if key is None else key
    if key is not None and not (
        isinstance(key, str) and key and key.isascii() and key.isprintable() and " " not in key
    ):
        raise ServedError(
            "key: what is given is no key, or has spaces or line ends around it (it is not shown here); expected text"
            " of plain characters, without 'Bearer'"
        )
    return key


def _tokenizer(tokenizer: Any) -> Any:
    from ...models.tokenizer import load_tokenizer

    if tokenizer is None:
        return None
    if isinstance(tokenizer, (str, os.PathLike)):
        loaded = load_tokenizer(os.fspath(tokenizer), "tokenizer", ServedError)
        if loaded.bos_token is None:  # as lens.load does, so that both put the same token before a row
            loaded.bos_token = loaded.eos_token
        return loaded
    if not tried(lambda one: all(callable(getattr(one, name, None)) for name in _ASKED), tokenizer, False):
        raise ServedError(
            f"tokenizer is a {type(tokenizer).__name__}; expected a tokenizer, its folder, or a name for lens.load"
        )
    return tokenizer
