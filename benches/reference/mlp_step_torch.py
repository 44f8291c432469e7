"""Seconds of one training step of the benchmark's perceptron in PyTorch, eager: the median over rounds.

    python mlp_step_torch.py BATCH WIDTH FEATURES STEPS ROUNDS THREADS
"""

import statistics
import sys
import time

import torch

batch, width, features, steps, rounds, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Linear(features, width),
    torch.nn.ReLU(),
    torch.nn.Linear(width, width),
    torch.nn.ReLU(),
    torch.nn.Linear(width, 1),
)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
x, y = torch.randn(batch, features), torch.randn(batch, 1)
times = []
for round_ in range(rounds + 1):
    start = time.perf_counter()
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if round_:  # the first one warms up
        times.append((time.perf_counter() - start) / steps)
print(statistics.median(times))
