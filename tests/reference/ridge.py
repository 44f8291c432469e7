"""Writes ridge.json: scikit-learn's Ridge on data/*.csv, trained on the first 210 of 300 rows.

Each fit has the coefficients [targets, features] and intercepts, and how it does on the last 60 rows. With scaling
"standard", features and targets are standardised by the training rows first (deviation divided by n, 1 for a constant
column): coefficients are then those between scaled values, metrics are given in both units.
"""

import numpy as np
import sklearn
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.preprocessing import StandardScaler

from common import write
from dataset import TRAINING, VALIDATION, read_csv

TEST = TRAINING + VALIDATION


def metrics(truth, predicted):
    return {
        "mse": mean_squared_error(truth, predicted),
        "mae": mean_absolute_error(truth, predicted),
        "r2": r2_score(truth, predicted),
        "mse_per_target": mean_squared_error(truth, predicted, multioutput="raw_values").tolist(),
    }


def fit(name, alpha, fit_intercept, scaling):
    x, y, _ = read_csv(name)
    entry = {"data": name, "alpha": alpha, "fit_intercept": fit_intercept, "scaling": scaling}
    scaled_x, scaled_y = x, y
    if scaling == "standard":
        for_x, for_y = StandardScaler().fit(x[:TRAINING]), StandardScaler().fit(y[:TRAINING])
        scaled_x, scaled_y = for_x.transform(x), for_y.transform(y)
    # The SVD solver loses the fewest digits.
    model = Ridge(alpha=alpha, fit_intercept=fit_intercept, solver="svd").fit(scaled_x[:TRAINING], scaled_y[:TRAINING])
    predicted = model.predict(scaled_x[TEST:])
    entry["coefficients"] = model.coef_.tolist()
    entry["intercepts"] = np.broadcast_to(model.intercept_, [2]).tolist()
    entry["test"] = metrics(scaled_y[TEST:], predicted)
    if scaling == "standard":
        entry["test_original_units"] = metrics(y[TEST:], for_y.inverse_transform(predicted))
    return entry


fits = []
for scaling in ("none", "standard"):
    for fit_intercept in (True, False):
        fits += [fit("regression.csv", alpha, fit_intercept, scaling) for alpha in (0.0, 0.1, 1.0, 10.0, 1000.0)]
        fits += [fit("collinear.csv", alpha, fit_intercept, scaling) for alpha in (0.001, 1.0, 100.0)]
write(
    "ridge.json",
    {
        "about": "Written by ridge.py; `cargo xtask reference` writes it again.",
        "scikit-learn": sklearn.__version__,
        "rows": {"training": TRAINING, "validation": VALIDATION, "test": 300 - TEST},
        "features": [f"x{i}" for i in range(1, 7)],
        "targets": ["y1", "y2"],
    },
    fits=fits,
)
