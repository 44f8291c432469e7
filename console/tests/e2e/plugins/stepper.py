"""An algorithm for the console's tests: it learns a mean, and its parameters say how long that takes and what it says."""

from dataclasses import dataclass

from trainyard import Algorithm, nn, ones, param, run


class Mean(nn.Module):
    def __init__(self, targets):
        super().__init__()
        self.mean = nn.Parameter(ones(targets) * 0)

    def forward(self, x):
        return self.mean.expand(x.shape[0], self.mean.shape[0])


class Stepper(Algorithm):
    """Takes as many steps as it is told"""

    name = "stepper"
    version = "1.0.0"
    tasks = ["regression"]

    @dataclass
    class Parameters:
        steps: int = param(20, ge=1, le=1_000_000, doc="Steps of the training.")
        work: int = param(1, ge=0, le=10_000, doc="Matrix products in each step: some milliseconds each.")
        lines: int = param(1, ge=0, le=10_000, doc="Lines of the log in each step.")
        says: str = param("step", doc="What the lines say.")
        fails: str = param("", doc="An error at the last step, unless it is empty.")
        learning_rate: float = param(0.01, gt=0, le=1, doc="Is told, and does nothing.")

    def build(self, data):
        return Mean(len(data.targets))

    def train(self, data):
        p = self.params
        net = self.build(data)
        block = ones(384, 384)
        for step in range(1, p.steps + 1):
            for _ in range(p.work):
                (block @ block).sum().item()
            for line in range(p.lines):
                run.info(f"{p.says} {step}.{line}")
            if p.fails and step == p.steps:
                run.error(p.fails)
                raise ValueError(p.fails)
            self.update_progress(step, p.steps, loss=1.0 / step, validation_loss=1.5 / step, rate=p.learning_rate)
        return net
