"""Reads the stand-in's generated table into a pandas frame by taos-ws-py, and goes on to the same batches as ours: seconds
of both as JSON.

    python tdengine_pandas.py ws://user:password@host:port ROWS
"""

import json
import sys
import time

import numpy
import pandas
import taosws

LOOKBACK, HORIZON, BATCH = 96, 24, 32

dsn, rows = sys.argv[1], int(sys.argv[2])
begin = time.perf_counter()
connection = taosws.connect(dsn)
result = connection.query("select * from plant.generated order by ts")
names = [field.name() for field in result.fields]
frame = pandas.DataFrame(list(result), columns=names)
seconds = time.perf_counter() - begin
assert len(frame) == rows, f"{len(frame)} rows instead of {rows}"

# Filled, scaled by the training rows, cut into windows that do not overlap.
values = frame[names[1:]].interpolate().to_numpy(dtype=numpy.float64)
train = values[: round(0.7 * rows)]
scaled = ((values - train.mean(axis=0)) / train.std(axis=0)).astype(numpy.float32)
starts = numpy.arange(0, len(train) - LOOKBACK - HORIZON + 1, LOOKBACK + HORIZON)
windows = 0
for first in range(0, len(starts), BATCH):
    chunk = starts[first : first + BATCH]
    x = numpy.stack([scaled[start : start + LOOKBACK] for start in chunk])
    y = numpy.stack([scaled[start + LOOKBACK : start + LOOKBACK + HORIZON] for start in chunk])
    assert len(x) == len(y)
    windows += len(x)
all_seconds = time.perf_counter() - begin
json.dump({"seconds": seconds, "all_seconds": all_seconds, "rows": len(frame), "batches": windows}, sys.stdout)
