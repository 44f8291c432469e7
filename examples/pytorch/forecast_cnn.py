"""Forecasts the weather with a 1-D convolutional network, in PyTorch. As a Trainyard plugin: ../python/forecast_cnn.py."""

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader

import weather


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


def main():
    torch.manual_seed(0)
    data = weather.windows(lookback=14, horizon=3)
    net = Network(14, len(weather.COLUMNS), 3, len(weather.COLUMNS))
    fit(net, DataLoader(data, batch_size=32, shuffle=True), 300, 1e-3, lambda *done, **metrics: print(*done, metrics))


if __name__ == "__main__":
    main()
