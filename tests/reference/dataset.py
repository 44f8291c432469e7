"""Writes the small data sets of the ridge and MLP references, and reads them back.

data/regression.csv: six features, two targets that depend on them with a little disturbance, and a label of three classes.
data/collinear.csv:  the same, but x6 is x1 + x2 to the last digit and x5 never changes, so least squares has no single answer.

The numbers follow from sines and are rounded to four decimals: no generator, no seed, the same on every machine.
"""

import math

import numpy as np

from common import HERE

ROWS = 300
# What `--split 0.7/0.1/0.2` gives for 300 rows.
TRAINING, VALIDATION = 210, 30
FEATURES = [f"x{i}" for i in range(1, 7)]


def row(i, collinear):
    x = [math.sin(0.37 * (i + 1) * (k + 1) ** 1.3 + k) * (1 + 0.5 * k) + 0.2 * k for k in range(6)]
    x = [round(value, 4) for value in x]
    if collinear:
        x[4] = 1.5
        x[5] = round(x[0] + x[1], 4)
    disturbance = [0.1 * math.sin(12.9898 * i), 0.1 * math.cos(78.233 * i)]
    y1 = 1.5 * x[0] - 2.0 * x[1] + 0.7 * x[2] + 0.1 * x[3] * x[4] - 0.3 * x[5] + 3.0 + disturbance[0]
    y2 = -0.4 * x[0] + 0.9 * x[3] - 1.1 * abs(x[2]) + 0.25 * x[5] - 1.0 + disturbance[1]
    score = x[0] + 0.5 * x[1] - 0.4 * x[2] + disturbance[0]
    label = 0 if score < -0.4 else 1 if score < 0.4 else 2
    return [*x, round(y1, 4), round(y2, 4), label]


def write_csv(name, collinear):
    lines = [",".join([*FEATURES, "y1", "y2", "label"])]
    lines += [",".join(str(value) for value in row(i, collinear)) for i in range(ROWS)]
    path = HERE / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def read_csv(name):
    """Features [rows, 6], targets [rows, 2] and labels [rows] as float64."""
    table = np.loadtxt(HERE / "data" / name, delimiter=",", skiprows=1)
    assert table.shape == (ROWS, 9), table.shape
    return table[:, :6], table[:, 6:8], table[:, 8]


if __name__ == "__main__":
    write_csv("regression.csv", collinear=False)
    write_csv("collinear.csv", collinear=True)
    print("data/regression.csv, data/collinear.csv")
