"""Forecasts with a multilayer perceptron: ../pytorch/forecast_mlp.py as a plugin, `Network` and `fit` as they were."""

from dataclasses import dataclass

from trainyard import Algorithm, DataLoader, nn, optim, param


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


class ForecastMlp(Algorithm):
    """Forecasts with a multilayer perceptron."""

    tasks = ["forecasting"]

    @dataclass
    class Parameters:
        hidden: int = param(64, ge=1, le=4096, doc="Units in each hidden layer.")
        steps: int = param(300, ge=1, le=1_000_000, doc="Training steps.")
        batch_size: int = param(32, ge=1, le=65_536, doc="Windows in a step.")
        learning_rate: float = param(1e-3, gt=0, le=1, doc="How far a step goes.")

    def build(self, data):
        return Network(data.lookback, len(data.features), data.horizon, len(data.targets), self.params.hidden)

    def batches(self, data):
        return DataLoader(data.train, self.params.batch_size, shuffle=True)

    def train(self, data):
        return fit(self.build(data), self.batches(data), self.params.steps, self.params.learning_rate, self.update_progress)
