"""One measurement of `cargo xtask bench gpu` in PyTorch. Prints JSON: seconds of a step, the first losses, the peak of memory.

    python gpu_torch.py JOB      # JSON, as benches/src/bin/gpu/measure.rs writes it

Eager, the optimiser is PyTorch's fused AdamW; compiled, forward pass, loss and backward pass are what `torch.compile` makes of them, in its
default mode. With bf16 the parameters are bf16, and AdamW works on a copy of them in f32: gradients are copied to it, and parameters back.
"""

import json
import math
import statistics
import sys
import time

import numpy
import torch
from torch import nn
from torch.nn import functional as F


def perceptron(widths):
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Lstm(nn.Module):
    def __init__(self, features, hidden, outputs):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x):
        _, (last, _) = self.lstm(x)
        return self.head(last[0])


class EncoderLayer(nn.Module):
    def __init__(self, width, heads, feed_forward):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)

    def forward(self, x):
        def split(y):
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        heads = F.scaled_dot_product_attention(split(self.query(x)), split(self.key(x)), split(self.value(x)))
        x = self.norm1(x + self.out(heads.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class PatchTst(nn.Module):
    def __init__(self, patch, stride, width, heads, feed_forward, layers, outputs, patches):
        super().__init__()
        self.patch, self.stride = patch, stride
        self.embed = nn.Linear(patch, width)
        self.positions = nn.Parameter(torch.empty(patches, width))
        self.layers = nn.Sequential(*(EncoderLayer(width, heads, feed_forward) for _ in range(layers)))
        self.head = nn.Linear(patches * width, outputs)

    def forward(self, x):
        x = self.embed(x.unfold(-1, self.patch, self.stride)) + self.positions
        return self.head(self.layers(x).flatten(1))


class MasterCopy:
    """AdamW over a copy in f32 of parameters of bf16."""

    def __init__(self, parameters, **options):
        self.parameters = parameters
        self.values = [parameter.detach() for parameter in parameters]
        self.masters = [value.float() for value in self.values]
        for master in self.masters:
            master.grad = torch.empty_like(master)
        self.optimizer = torch.optim.AdamW(self.masters, **options)

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self):
        torch._foreach_copy_([master.grad for master in self.masters], [p.grad for p in self.parameters])
        self.optimizer.step()
        torch._foreach_copy_(self.values, self.masters)


def measure(job):
    device = torch.device(job["device"])
    on_card = device.type == "cuda"
    if on_card:
        # What names no card, such as `synchronize`, means this one from here on.
        torch.cuda.set_device(device)
    torch.set_num_threads(job["threads"])
    torch.set_float32_matmul_precision("high" if job["precision"] == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = job["precision"] == "tf32"
    dtype = torch.bfloat16 if job["precision"] == "bf16" else torch.float32

    sizes = dict(job["model"])
    kind = {"perceptron": perceptron, "lstm": Lstm, "patchtst": PatchTst}[sizes.pop("kind")]
    with open(job["file"], "rb") as file:

        def read(shape):
            values = numpy.fromfile(file, "<f4", math.prod(shape))
            return torch.from_numpy(values.reshape(shape)).to(device)

        net = kind(**sizes)
        net.load_state_dict({name: read(shape) for name, shape in job["parameters"]})
        net = net.to(device, dtype)
        x, y = read(job["x"]).to(dtype), read(job["y"])
        if file.read(1):
            raise ValueError("the file has more numbers than the model takes")

    options = {"lr": job["learning_rate"], "weight_decay": 0.01, "fused": on_card}
    optimizer = (MasterCopy if dtype == torch.bfloat16 else torch.optim.AdamW)(list(net.parameters()), **options)

    def loss_of(x, y):
        return F.mse_loss(net(x).float(), y)

    if job["compiled"]:
        loss_of = torch.compile(loss_of)

    def step():
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def timed(steps, act):
        if on_card:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            act()
        if on_card:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / steps

    if on_card:
        torch.cuda.reset_peak_memory_stats()
    losses = [step().item() for _ in range(job["compared"])]
    act = optimizer.step if job["only_optimizer"] else step
    steps = int(min(max(job["round_seconds"] / timed(3, act), 1), 2000))
    return {
        "seconds": statistics.median(timed(steps, act) for _ in range(job["rounds"])),
        "losses": losses,
        "peak": torch.cuda.max_memory_allocated() if on_card else None,
    }


def main():
    job = json.loads(sys.argv[1])
    if job["device"].startswith("cuda") and not torch.cuda.is_available():
        return {"failed": f"PyTorch {torch.__version__} finds no card that it can use"}
    try:
        return measure(job)
    except torch.OutOfMemoryError:
        return {"failed": "PyTorch has not enough of the card's memory"}
    except Exception as error:
        # What cannot be compiled is a result of its own; anything else is a mistake here.
        if not job["compiled"]:
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {"failed": f"torch.compile: {first}"}


print(json.dumps(main()))
