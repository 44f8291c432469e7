"""The data of the examples: Seattle's weather as windows of past days and the days to forecast, as Trainyard prepares them."""

import csv
import pathlib

import torch

COLUMNS = ["precipitation", "temp_max", "temp_min", "wind"]
TRAINING = 0.7


def windows(lookback, horizon):
    """Pairs of [lookback, columns] and [horizon, columns] from the first days, scaled to mean 0 and standard deviation 1."""
    path = pathlib.Path(__file__).parents[1] / "data/seattle-weather.csv"
    with path.open() as file:
        rows = torch.tensor([[float(row[name]) for name in COLUMNS] for row in csv.DictReader(file)], dtype=torch.float64)
    rows = rows[: round(len(rows) * TRAINING)]
    rows = ((rows - rows.mean(0)) / rows.std(0, correction=0)).float()
    span = lookback + horizon
    return [(rows[at : at + lookback], rows[at + lookback : at + span]) for at in range(len(rows) - span + 1)]
