"""References for the curvature family: per-token gradients by explicit loops, no hooks of ours."""

import numpy as np
import torch
import torch.nn.functional as F

from lens.engine.linear import linears


def drawn_labels(model, ids, seed):
    """Labels from the model's own prediction by inverting each token's distribution at uniform draws of (seed, row)."""
    with torch.no_grad():
        p = model(torch.as_tensor(ids[:, :-1])).logits.float().softmax(-1).numpy()
    labels = np.zeros(p.shape[:2], dtype=np.int64)
    for r in range(p.shape[0]):
        labels[r] = inverted(p[r], np.random.default_rng([seed, r]).random(p.shape[1], dtype=np.float32))
    return labels


def inverted(p, u):
    """By row of weights the first index whose running sum passes the share u of the whole."""
    reached = np.cumsum(np.asarray(p, np.float64), axis=1)
    return torch.from_numpy(np.argmax(reached > np.asarray(u, np.float64)[:, None] * reached[:, -1:], axis=1))


def tokens_of(model, ids, labels, names):
    """Per layer the inputs [n, in] and gradients [n, out] of every token, row by row: the input by a plain hook, the
    gradient by adding a zero that asks for one.
    """
    inputs, gradients = {n: [] for n in names}, {n: [] for n in names}
    chosen = linears(model, names)
    for row, label in zip(np.asarray(ids), np.asarray(labels)):
        zeros, handles = {}, []
        for name in names:

            def hook(module, args, out, name=name):
                zeros[name] = torch.zeros_like(out, requires_grad=True)
                inputs[name].append(args[0][0].detach().double())
                return out + zeros[name]

            handles.append(chosen[name].module.register_forward_hook(hook))
        with torch.enable_grad():
            logits = model(torch.as_tensor(row[None, :-1])).logits[0]
            loss = sum(F.cross_entropy(logits[t][None], torch.tensor([int(label[t])])) for t in range(len(label)))
            for name, g in zip(names, torch.autograd.grad(loss, [zeros[n] for n in names])):
                gradients[name].append(g[0].double())
        for handle in handles:
            handle.remove()
    return {n: torch.cat(v) for n, v in inputs.items()}, {n: torch.cat(v) for n, v in gradients.items()}


def sum_of_outer(rows):
    """The mean of r r^T over rows, one at a time."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for r in rows:
        total += torch.outer(r, r)
    return total / len(rows)


def kept_by_sorting(lam, mu, rho):
    """The keep set from a full sort of all products, largest first, as a set of (i, j)."""
    pairs = sorted(((float(l) * float(m), i, j) for i, l in enumerate(lam) for j, m in enumerate(mu)), reverse=True)
    total, reached, kept = sum(p for p, _, _ in pairs), 0.0, set()
    for product, i, j in pairs:
        if reached >= rho * total:
            break
        reached += product
        kept.add((i, j))
    return kept
