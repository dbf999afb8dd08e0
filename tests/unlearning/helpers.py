"""Small sets for tiny models, and the plainest reading of them."""

import numpy as np
import torch

from lens.unlearning import Items, Questions

WIDTH = 97


def pairs(count, seed=0, length=4, answer=2):
    """Prompts and answers of random tokens, of unlike lengths."""
    rng = np.random.default_rng(seed)
    return [
        (
            tuple(rng.integers(1, WIDTH, length + i % 2).tolist()),
            tuple(rng.integers(1, WIDTH, answer + i % 2).tolist()),
        )
        for i in range(count)
    ]


def items(count, seed=0, **more):
    prompts, answers = zip(*pairs(count, seed))
    return Items(prompts, answers, **more)


def questions(count, seed=5):
    rng = np.random.default_rng(seed)
    values = [rng.choice(np.arange(1, WIDTH), 6, replace=False).tolist() for _ in range(count)]
    return Questions(
        [tuple(rng.integers(1, WIDTH, 4).tolist()) for _ in range(count)],
        right=[v[0] for v in values],
        planted=[v[1] for v in values],
        others=[v[2:] for v in values],
        units=[f"person {i // 2}" for i in range(count)],
    )


def plain_logp(model, prompt, answer):
    """Log-probabilities of an answer's tokens, one plain forward in double precision."""
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].double()
    logp = logits.log_softmax(-1)
    return np.array([float(logp[len(prompt) - 1 + t, token]) for t, token in enumerate(answer)])
