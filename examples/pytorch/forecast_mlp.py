"""Forecasts the weather with a multilayer perceptron, in PyTorch. As a Trainyard plugin: ../python/forecast_mlp.py."""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader

import weather


class Network(nn.Module):
    """Two hidden layers over the whole window: [batch, lookback, features] to [batch, horizon, targets]."""

    def __init__(self, lookback, features, horizon, targets, hidden=64):
        super().__init__()
        self.shape = (horizon, targets)
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(lookback * features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, horizon * targets),
        )

    def forward(self, x):
        return self.layers(x).view(-1, *self.shape)


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


def main():
    torch.manual_seed(0)
    data = weather.windows(lookback=14, horizon=3)
    net = Network(14, len(weather.COLUMNS), 3, len(weather.COLUMNS))
    fit(net, DataLoader(data, batch_size=32, shuffle=True), 300, 1e-3, lambda *done, **metrics: print(*done, metrics))


if __name__ == "__main__":
    main()
