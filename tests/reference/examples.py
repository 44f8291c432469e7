"""Writes examples.json: the losses of examples/pytorch over 100 steps of 32 windows in order of time, from given weights.

The weights follow from a formula that the test of the plugins in examples/python has as well: element i of the n-th
parameter is (((7919 (i + 1) + 104729 n) mod 1009) / 1009 - 0.5) / sqrt(r), r the number of elements in a row of the
parameter, or in all of it where it is a vector.
"""

import importlib
import math
import sys

import torch
from torch.utils.data import DataLoader

from common import HERE, write

sys.path.insert(0, str(HERE.parents[1] / "examples/pytorch"))
torch.set_num_threads(1)


def start(net):
    for n, parameter in enumerate(net.parameters()):
        count = parameter.numel()
        scale = math.sqrt(count // parameter.shape[0] if parameter.dim() > 1 else count)
        data = [(((7919 * (i + 1) + 104729 * n) % 1009) / 1009 - 0.5) / scale for i in range(count)]
        with torch.no_grad():
            parameter.copy_(torch.tensor(data, dtype=torch.float64).reshape(parameter.shape))


def run(name):
    module = importlib.import_module(name)
    width = len(module.weather.COLUMNS)
    net = module.Network(14, width, 3, width)
    start(net)
    losses = []
    batches = DataLoader(module.weather.windows(14, 3), batch_size=32, shuffle=False)
    module.fit(net, batches, 100, 1e-3, lambda step, steps, loss: losses.append(loss))
    return {"example": name, "losses": losses}


write(
    "examples.json",
    {"about": "Written by examples.py; `cargo xtask reference` writes it again.", "torch": torch.__version__.split("+")[0]},
    runs=[run(f"forecast_{name}") for name in ("mlp", "cnn", "lstm")],
)
