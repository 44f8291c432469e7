"""Writes scalers.json: what scikit-learn's scalers make of some columns, which this crate must match.

    python -m venv venv && venv/bin/pip install scikit-learn && venv/bin/python scalers.py > scalers.json
"""

import json
import math
import sys

import numpy
import sklearn
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

random = numpy.random.default_rng(2024)
columns = {
    "normal": random.normal(20.0, 5.0, 101).tolist(),
    "far from zero": random.normal(1e9, 1e-3, 64).tolist(),
    "skewed": random.lognormal(0.0, 3.0, 50).tolist(),
    "with gaps": [math.nan if i % 7 == 3 else v for i, v in enumerate(random.normal(-3.0, 2.0, 60).tolist())],
    "two values": [1.0, 4.0],
    "constant": [0.1] * 37,
    "mostly zero": [0.0] * 30 + [5.0, 6.0],
    "one value": [7.5],
    "tiny": (random.normal(0.0, 1.0, 40) * 1e-12).tolist(),
}


def centre_and_scale(scaler):
    if isinstance(scaler, StandardScaler):
        return scaler.mean_[0], scaler.scale_[0]
    if isinstance(scaler, MinMaxScaler):
        return scaler.data_min_[0], 1.0 / scaler.scale_[0]
    return scaler.center_[0], scaler.scale_[0]


cases = []
for name, column in columns.items():
    values = numpy.array(column).reshape(-1, 1)
    for scaling, scaler in [("standard", StandardScaler()), ("min_max", MinMaxScaler()), ("robust", RobustScaler())]:
        scaled = scaler.fit_transform(values)
        centre, scale = centre_and_scale(scaler)
        cases.append(
            {
                "column": name,
                "scaling": scaling,
                "center": centre,
                "scale": scale,
                "values": [None if math.isnan(v) else v for v in column],
                "scaled": [None if math.isnan(v) else v for v in scaled[:, 0].tolist()],
            }
        )

json.dump({"scikit-learn": sklearn.__version__, "cases": cases}, sys.stdout, indent=None)
print()
