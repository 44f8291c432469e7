"""The benchmark's training step in Python: benches/plugin's perceptron, written as for PyTorch, or with `minimize`."""

from dataclasses import dataclass

import trainyard as torch
from trainyard import Algorithm, nn, optim, param
from trainyard.nn import functional as F


class Step(Algorithm):
    """A training step to be timed."""

    tasks = ["regression"]
    metrics = []

    @dataclass
    class Parameters:
        batch: int = param(32, ge=1, le=65536, doc="Samples in a step.")
        width: int = param(32, ge=1, le=65536, doc="Units in each of the two hidden layers.")
        features: int = param(16, ge=1, le=65536, doc="Numbers in a sample.")
        steps: int = param(1, ge=1, le=1_000_000, doc="Steps in a round.")
        rounds: int = param(1, ge=0, le=1000, doc="Rounds, after one to warm up.")
        minimize: bool = param(False, doc="One call instead of PyTorch's three.")

    def train(self, data):
        p = self.params
        net = nn.Sequential(
            nn.Linear(p.features, p.width), nn.ReLU(), nn.Linear(p.width, p.width), nn.ReLU(), nn.Linear(p.width, 1)
        )
        optimizer = optim.AdamW(net.parameters(), lr=1e-3)
        x, y = torch.randn(p.batch, p.features), torch.randn(p.batch, 1)
        for round_ in range(p.rounds + 1):
            if p.minimize:
                for _ in range(p.steps):
                    optimizer.minimize(F.mse_loss(net(x), y))
            else:
                for _ in range(p.steps):
                    loss = F.mse_loss(net(x), y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            self.update_progress(round_, p.rounds)
        return net
