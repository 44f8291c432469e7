"""Forecasts with a 1-D convolutional network: ../pytorch/forecast_cnn.py as a plugin, `Network` and `fit` as they were."""

from dataclasses import dataclass

import trainyard as torch
from trainyard import Algorithm, DataLoader, nn, optim, param
from trainyard.nn import functional as F


class Network(nn.Module):
    """Convolutions along time: [batch, lookback, features] to [batch, horizon, targets]."""

    def __init__(self, lookback, features, horizon, targets, hidden=32):
        super().__init__()
        self.shape = (horizon, targets)
        self.conv1 = nn.Conv1d(features, hidden, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(hidden, hidden, kernel_size=3, padding=1)
        self.pool = nn.MaxPool1d(2)
        self.head = nn.Linear(hidden * (lookback // 2), horizon * targets)

    def forward(self, x):
        x = x.transpose(1, 2)
        x = F.relu(self.conv1(x))
        x = self.pool(F.relu(self.conv2(x)))
        x = self.head(torch.flatten(x, 1))
        return x.view(-1, *self.shape)


def fit(net, batches, steps, learning_rate, report):
    optimizer = optim.Adam(net.parameters(), lr=learning_rate)
    criterion = nn.MSELoss()
    net.train()
    step = 0
    while step < steps:
        for x, y in batches:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            step += 1
            report(step, steps, loss=loss.item())
            if step == steps:
                break
    return net


class ForecastCnn(Algorithm):
    """Forecasts with a 1-D convolutional network."""

    tasks = ["forecasting"]

    @dataclass
    class Parameters:
        hidden: int = param(32, ge=1, le=4096, doc="Channels of the convolutions.")
        steps: int = param(300, ge=1, le=1_000_000, doc="Training steps.")
        batch_size: int = param(32, ge=1, le=65_536, doc="Windows in a step.")
        learning_rate: float = param(1e-3, gt=0, le=1, doc="How far a step goes.")

    def build(self, data):
        return Network(data.lookback, len(data.features), data.horizon, len(data.targets), self.params.hidden)

    def batches(self, data):
        return DataLoader(data.train, self.params.batch_size, shuffle=True)

    def train(self, data):
        return fit(self.build(data), self.batches(data), self.params.steps, self.params.learning_rate, self.update_progress)
