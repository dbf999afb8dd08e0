#!/bin/bash
# dattri 0.3: influence scores depend on the batch size of the loader that the training data comes in.
#
# Expected: the loader is how data is read. The score of a training row for a test row is g' H^-1 g, with H the
# Hessian of the mean loss over all training rows, in batches of any size.
# What is: `IFAttributorExplicit` inverts the Hessian of each batch by itself and adds the answers up. Two batches
# give about twice the score, small ones hundreds and thousands of times (the Hessian of few rows is invertible by the
# regularisation alone), and in another order. Nothing warns; all rows in one batch are exact.
# Instead: one batch of all rows for `cache`, or a method that documents its batches.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 dattri==0.3.0

"$PYTHON" -I - <<'PY'
import sys, warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import torch
from dattri.algorithm.influence_function import IFAttributorExplicit
from dattri.task import AttributionTask
from torch.utils.data import DataLoader, TensorDataset

ROWS, LAST = 40, 1e-3
torch.manual_seed(0)
x, test_x, true = torch.randn(ROWS, 4), torch.randn(5, 4), torch.randn(4, 1)
y, test_y = x @ true + 0.3 * torch.randn(ROWS, 1), test_x @ true
model = torch.nn.Linear(4, 1, bias=False)
model.weight.data = torch.linalg.lstsq(x, y).solution.T.contiguous()


def loss(parameters, data):
    return ((torch.func.functional_call(model, parameters, (data[0],)) - data[1]) ** 2).mean()


# the closed form for least squares, and what is described above
weight = model.weight.detach().T
gradient, test_gradient = 2 * x * (x @ weight - y), 2 * test_x * (test_x @ weight - test_y)


def inverse(rows):
    return torch.linalg.inv(2 * rows.T @ rows / len(rows) + LAST * torch.eye(4))


closed = gradient @ inverse(x) @ test_gradient.T
task, off = AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict()), {}
print(f"dattri {version('dattri')}: influence of {ROWS} rows of a least-squares problem on 5 test rows")
for size in (40, 20, 4, 1):
    loader = DataLoader(TensorDataset(x, y), batch_size=size)
    attributor = IFAttributorExplicit(task=task, regularization=LAST)
    attributor.cache(loader)
    with torch.no_grad():
        score = attributor.attribute(loader, DataLoader(TensorDataset(test_x, test_y), batch_size=5))
    score = score * torch.sign((score * closed).sum())  # the sign is a convention
    added = gradient @ sum(inverse(x[at : at + size]) for at in range(0, ROWS, size)) @ test_gradient.T

    def share(other):
        return float((score - other).norm() / other.norm())

    order = torch.corrcoef(
        torch.stack([score[:, 0].argsort().argsort().float(), closed[:, 0].argsort().argsort().float()])
    )[0, 1]
    off[size] = share(closed), share(added)
    print(
        f"  {size:2} rows a batch: norm {float(score.norm() / closed.norm()):.3g} times the closed form's, rank "
        f"correlation with it {float(order):.3f}; from the sum over batches {off[size][1]:.1e}"
    )
sys.exit(
    0
    if off[40][0] < 1e-3 and all(off[size][0] > 0.5 and off[size][1] < 0.01 for size in (20, 4)) and off[1][0] > 0.5
    else 1
)
PY
