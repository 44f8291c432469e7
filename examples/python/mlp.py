"""The library's `mlp` plugin in Python: the same data, parameters and seed give the same model, byte for byte."""

from dataclasses import dataclass
from typing import Literal

import trainyard
from trainyard import Algorithm, Trainer, nn, optim, param
from trainyard.nn import functional as F

PRECISIONS = {"f32": trainyard.float32, "bf16": trainyard.bfloat16, "f16": trainyard.float16}
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Network(nn.Module):
    """Hidden layers with an activation between them; windows are flat inside, and numbers of the weights' type."""

    def __init__(self, data, settings):
        super().__init__()
        sizes = [data.inputs, *settings.hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.output = nn.Linear(sizes[-1], data.outputs)
        self.activation = ACTIVATIONS[settings.activation]()
        self.dropout = nn.Dropout(settings.dropout)
        self.shape = (data.horizon, len(data.targets)) if data.lookback else None

    def forward(self, x):
        x = x.to(self.output.weight.dtype)
        if self.shape:
            x = x.flatten(1)
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x)))
        x = self.output(x).float()
        return x.reshape(-1, *self.shape) if self.shape else x


class Mlp(Algorithm):
    """Multilayer perceptron"""

    name = "mlp-python"
    tasks = ["regression", "classification", "forecasting"]

    @dataclass
    class Parameters:
        hidden: list[int] = param([64, 64], ge=1, le=65536, max_length=16, doc="Units in each hidden layer.")
        activation: Literal["relu", "gelu", "silu", "tanh", "sigmoid"] = param("relu", doc="What comes after each hidden layer.")
        dropout: float = param(0.0, ge=0, lt=1, doc="The part of the hidden units that is switched off in a training step.")
        learning_rate: float = param(0.001, gt=0, le=10, doc="How far a training step goes.")
        precision: Literal["f32", "bf16", "f16"] = param("f32", doc="The type that the network computes in; the short ones are for a GPU.")
        batch_size: int = param(32, ge=1, le=65536, doc="Samples in a training step.")
        epochs: int = param(50, ge=1, le=100000, doc="Most passes over the training data.")
        patience: int = param(5, ge=0, le=1000, doc="Ends after so many epochs without a smaller validation loss; 0 never does.")

    def build(self, data):
        return Network(data, self.params).to(PRECISIONS[self.params.precision])

    def train(self, data):
        net = self.build(data)
        loss = F.cross_entropy if data.task == "classification" else F.mse_loss
        scaling = "dynamic" if self.params.precision == "f16" else None
        optimizer = optim.Adam(net.parameters(), lr=self.params.learning_rate, loss_scaling=scaling)
        trainer = Trainer(self.params.epochs, batch_size=self.params.batch_size, patience=self.params.patience)
        trainer.fit(net, optimizer, lambda batch: loss(net(batch.x), batch.y))
        return net
