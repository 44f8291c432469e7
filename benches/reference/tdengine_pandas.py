"""Reads the stand-in's generated table into a pandas frame by taos-ws-py: seconds, rows and columns as JSON.

    python tdengine_pandas.py ws://user:password@host:port ROWS
"""

import json
import sys
import time

import pandas
import taosws

dsn, rows = sys.argv[1], int(sys.argv[2])
begin = time.perf_counter()
connection = taosws.connect(dsn)
result = connection.query("select * from plant.generated order by ts")
names = [field.name() for field in result.fields]
frame = pandas.DataFrame(list(result), columns=names)
seconds = time.perf_counter() - begin
assert len(frame) == rows, f"{len(frame)} rows instead of {rows}"
json.dump({"seconds": seconds, "rows": len(frame), "columns": len(names), "sum": float(frame["c0"].sum())}, sys.stdout)
