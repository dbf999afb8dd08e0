"""A linear probe: multinomial logistic regression with a ridge penalty, fitted to its optimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import optimize
from scipy.special import log_softmax

from .reading import ReadoutError

#: The gradient at which a fit ends, per number of the weights.
_TOLERANCE = 1e-7
_STEPS = 2000


@dataclass(frozen=True)
class Probe:
    """A fitted probe: logits of a state are ``(state - mean) / scale @ weight + bias``.

    Attributes: weight: ``[width, class]``. bias: ``[class]``. mean, scale: of the states that it was fitted on.
    """

    weight: Float[np.ndarray, "width label"]
    bias: Float[np.ndarray, " label"]
    mean: Float[np.ndarray, " width"]
    scale: Float[np.ndarray, " width"]

    def logits(self, states: Float[np.ndarray, "row width"]) -> Float[np.ndarray, "row label"]:
        """The logits of every class."""
        return ((states - self.mean) / self.scale) @ self.weight + self.bias

    def classes(self, states: Float[np.ndarray, "row width"]) -> Int[np.ndarray, " row"]:
        """The likeliest class of each state."""
        return self.logits(states).argmax(1)


def fit(
    states: Float[np.ndarray, "row width"], classes: Int[np.ndarray, " row"], n_classes: int, ridge: float
) -> Probe:
    """The probe that minimises mean cross-entropy + ridge / 2 * the squared weights, on standardised states.

    With scikit-learn it is ``LogisticRegression(C=1 / (n * ridge))`` behind a ``StandardScaler``. Where there are fewer
    states than numbers in one, the optimum lies in their span, and is looked for there.

    Raises: ReadoutError: the optimum was not reached.
    """
    mean, scale = states.mean(0), states.std(0)
    scale = np.where(scale > 1e-12 * np.maximum(1e-300, np.abs(mean)), scale, 1.0)
    x = (states - mean) / scale
    turn = None
    if x.shape[0] < x.shape[1]:
        turn, triangle = np.linalg.qr(x.T)
        x = triangle.T
    n, width = x.shape
    one_hot = np.eye(n_classes)[classes]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = flat[:-n_classes].reshape(width, n_classes), flat[-n_classes:]
        logp = log_softmax(x @ w + b, axis=1)
        rest = (np.exp(logp) - one_hot) / n
        value = -(logp * one_hot).sum() / n + ridge / 2 * (w * w).sum()
        return value, np.concatenate([(x.T @ rest + ridge * w).ravel(), rest.sum(0)])

    found = optimize.minimize(
        loss,
        np.zeros((width + 1) * n_classes),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _STEPS, "maxfun": 2 * _STEPS, "gtol": _TOLERANCE, "ftol": 1e-14, "maxcor": 20},
    )
    if not found.success and not np.abs(found.jac).max() <= 100 * _TOLERANCE:
        raise ReadoutError(
            f"ridge={ridge:g}: the probe's optimum was not reached in {_STEPS} steps (largest gradient"
            f" {np.abs(found.jac).max():.2g}); give a larger ridge."
        )
    w = found.x[:-n_classes].reshape(width, n_classes)
    return Probe(w if turn is None else turn @ w, found.x[-n_classes:], mean, scale)
