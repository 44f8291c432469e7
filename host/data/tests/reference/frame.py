"""Writes frame.parquet: a data frame as pandas stores it, with its index of times as the last column.

    python -m venv venv && venv/bin/pip install pandas pyarrow && venv/bin/python frame.py
"""

import pandas

times = pandas.date_range("2024-03-01", periods=5, freq="15min", name="date", tz="Europe/Berlin")
frame = pandas.DataFrame(
    {
        "flow": [1.5, None, 3.5, 4.5, 5.5],
        "count": pandas.array([1, 2, None, 4, 5], dtype="Int32"),
        "open": [True, False, True, True, False],
        "site": pandas.Categorical(["A", "B", "A", None, "B"]),
        "note": ["x", None, "y", "y", "x"],
    },
    index=times,
)
frame.to_parquet("frame.parquet")
