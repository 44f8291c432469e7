"""Writes mlp.json: PyTorch training a small MLP on data/regression.csv, full batch, from given weights.

The network is Linear(6, 16), ReLU, Linear(16, 8), ReLU, Linear(8, outputs): one output and the mean squared error of y1,
or three outputs and the cross-entropy of the label. It sees the first 210 rows as they stand in the file, unscaled.
A run has eleven losses: before each of the ten steps, and after the last. Float64 runs also have the final weights.
Tensors are named as in PyTorch's state_dict of the Sequential, weights [out, in].
"""

import math

import torch

from common import plain, values, write
from dataset import TRAINING, read_csv

torch.set_num_threads(1)
STEPS = 10
SIZES = [6, 16, 8]
OPTIMISERS = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.02, "momentum": 0.9}),
    ("Adam", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
]
TASKS = {"regression": 1, "classification": 3}


def initial_weights(outputs):
    """Within ±1/sqrt(fan in), as PyTorch's own would be."""
    weights = {}
    for position, (fan_in, fan_out) in enumerate(zip(SIZES, SIZES[1:] + [outputs])):
        bound = 1 / math.sqrt(fan_in)
        # Three decimals are the same number in float32 and float64 files.
        weights[f"{2 * position}.weight"] = torch.round(values([fan_out, fan_in], seed=position) * bound, decimals=3)
        weights[f"{2 * position}.bias"] = torch.round(values([fan_out], seed=10 + position) * bound, decimals=3)
    return weights


def network(outputs, dtype):
    layers = []
    for fan_in, fan_out in zip(SIZES, SIZES[1:] + [outputs]):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).to(dtype)
    model.load_state_dict(initial_weights(outputs))
    return model


def run(task, dtype, optimiser, options):
    features, targets, labels = (torch.tensor(column[:TRAINING]) for column in read_csv("regression.csv"))
    features = features.to(dtype)
    model = network(TASKS[task], dtype)
    if task == "regression":
        objective, target = torch.nn.functional.mse_loss, targets[:, :1].to(dtype)
    else:
        objective, target = torch.nn.functional.cross_entropy, labels.long()
    rule = getattr(torch.optim, optimiser)(model.parameters(), **options)
    losses = []
    for _ in range(STEPS):
        loss = objective(model(features), target)
        losses.append(loss.item())
        rule.zero_grad()
        loss.backward()
        rule.step()
    losses.append(objective(model(features), target).item())
    entry = {
        "task": task,
        "dtype": str(dtype).removeprefix("torch."),
        "optimiser": optimiser,
        "options": options,
        "losses": losses,
    }
    if dtype == torch.float64:
        entry["final"] = {name: plain(tensor) for name, tensor in model.state_dict().items()}
    return entry


write(
    "mlp.json",
    {
        "about": "Written by mlp.py; `cargo xtask reference` writes it again.",
        "torch": torch.__version__.split("+")[0],
        "rows": TRAINING,
        "initial": {
            task: {name: plain(t) for name, t in initial_weights(outputs).items()} for task, outputs in TASKS.items()
        },
    },
    runs=[
        run(task, dtype, optimiser, options)
        for task in TASKS
        for dtype in (torch.float64, torch.float32)
        for optimiser, options in OPTIMISERS
    ],
)
