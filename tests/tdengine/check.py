"""Checks the server with a client that is not ours: taos-ws-py 0.7.0, TDengine's own library for Python.

    python check.py ws://root:taosdata@127.0.0.1:PORT FOLDER

The server holds the captured world (`tdengine_server --captured FOLDER/tdengine-wire`); FOLDER also has the CSV files
that the captured series were made of. Ends with 1, and a line for each difference, where the client sees anything else
than these files say.
"""

import csv
import json
import math
import pathlib
import sys
from collections import defaultdict
from datetime import datetime, timedelta, timezone

import taosws

problems = []


def expect(what, seen, expected):
    if seen != expected:
        problems.append(f"{what}: {str(seen)[:300]} where {str(expected)[:300]} was expected")


def near(what, seen, expected):
    same = seen == expected or (None not in (seen, expected) and math.isclose(seen, expected, rel_tol=1e-12))
    if not same:
        problems.append(f"{what}: {seen} where {expected} was expected")


def refused(what, action, *words):
    try:
        action()
    except taosws.Error as error:
        for word in words:
            if word not in str(error):
                problems.append(f"{what}: refused with {error}, which does not say {word}")
    else:
        problems.append(f"{what}: was not refused")


def moment(text):
    """The client shows a timestamp in its own zone, with the offset."""
    return datetime.fromisoformat(text.replace(" +", "+")).astimezone(timezone.utc)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def rows(connection, sql):
    return [tuple(row) for row in connection.query(sql)]


def timed(connection, sql):
    return [(moment(row[0]), *row[1:]) for row in rows(connection, sql)]


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def check_captured(connection, folder):
    transcript = json.loads((folder / "tdengine-wire" / "transcript.json").read_text())
    captured = {query["name"]: query for query in transcript["queries"]}
    for name, query in captured.items():
        reply = query["query_reply"]
        if reply["code"]:
            refused(name, lambda: connection.query(query["sql"]), f"0x{reply['code']:04X}", reply["message"])
            continue
        result = connection.query(query["sql"])
        expect(f"{name}: columns", [field.name() for field in result.fields], reply["fields_names"])
        count = sum(fetch["reply"]["rows"] for fetch in query["fetches"])
        expect(f"{name}: rows", len(list(result)), count)

    def sql(name):
        return captured[name]["sql"]

    etth1 = [(at(row[0]), *map(float, row[1:])) for row in read(folder / "ETTh1.csv")]
    expect("etth1_all", timed(connection, sql("etth1_all")), etth1)
    expect("etth1_count", rows(connection, sql("etth1_count")), [(len(etth1),)])
    check_daily(timed(connection, sql("etth1_daily")), etth1)

    machine = {}
    for index, (time, value) in enumerate(read(folder / "machine_temperature_system_failure.csv")):
        machine[at(time)] = (
            None if index % 97 == 5 else float(value),
            None if index % 11 == 3 else index % 4,
            None if index % 5 else f"温度{index % 7}",
        )
    machine = [(time, *values) for time, values in sorted(machine.items())]
    expect("machine7_value", timed(connection, sql("machine7_value")), [row[:2] for row in machine])
    expect("machine7_all", timed(connection, sql("machine7_all")), machine[:500])

    first = datetime(2024, 1, 1, tzinfo=timezone.utc)
    tick = timedelta(microseconds=1)
    full = (first + tick, True, -8, -16, -32, -64, 8, 16, 32, 64, 1.5, 2.25, "abc", "温度")
    ends = (False, 1 - 2**7, 1 - 2**15, 1 - 2**31, 1 - 2**63, 2**8 - 2, 2**16 - 2, 2**32 - 2, 2**64 - 2, -0.5, 1e300, "", "")
    types = [full, (first + 2 * tick, *[None] * 13), (first + 3 * tick, *ends)]
    expect("alltypes_us", timed(connection, sql("alltypes_us")), types)
    expect("server_version", rows(connection, sql("server_version")), [("3.3.3.0.alpha",)])
    described = [row[:4] for row in rows(connection, sql("describe_transformer"))]
    doubles = [(name, "DOUBLE", 8, "") for name in ("hufl", "hull", "mufl", "mull", "lufl", "lull", "ot")]
    tags = [("device_id", "NCHAR", 64, "TAG"), ("region", "INT", 4, "TAG")]
    expect("describe_transformer", described, [("ts", "TIMESTAMP", 8, ""), *doubles, *tags])


def check_daily(seen, etth1):
    days = defaultdict(list)
    for row in etth1:
        days[row[0].replace(hour=0)].append(row[7])
    expect("etth1_daily: windows", len(seen), 730)
    for time, mean, highest in seen:
        values = days.get(time)
        near(f"etth1_daily {time}: mean", mean, math.fsum(values) / len(values) if values else None)
        near(f"etth1_daily {time}: highest", highest, max(values) if values else None)


def check_engine(connection, folder):
    etth1 = [(at(row[0]), *map(float, row[1:])) for row in read(folder / "ETTh1.csv")]
    spring = [row for row in etth1 if row[0] >= at("2017-03-01") and row[0] < at("2017-04-01") and row[7] > 10.5]
    where = "where ts >= '2017-03-01 00:00:00' and ts < '2017-04-01 00:00:00' and ot > 10.5"
    source = f"from plant.transformer {where}"
    expect("count", rows(connection, f"select count(*) {source}"), [(len(spring),)])
    expect("columns", timed(connection, f"select ts, ot, hufl {source} order by ts"), [(r[0], r[7], r[1]) for r in spring])
    last = [(row[0], row[7]) for row in reversed(etth1)][10:15]
    expect("order", timed(connection, "select ts, ot from plant.etth1 order by ts desc limit 5 offset 10"), last)

    windows = defaultdict(list)
    for row in spring:
        windows[row[0].replace(hour=row[0].hour // 6 * 6)].append(row[7])
    seen = timed(connection, f"select _wstart, avg(ot), count(*) {source} interval(6h)")
    expect("interval: windows", [(time, count) for time, _, count in seen], [(t, len(v)) for t, v in sorted(windows.items())])
    for time, mean, _ in seen:
        near(f"interval {time}", mean, math.fsum(windows[time]) / len(windows[time]))


def check_writes(connection):
    connection.execute("create database if not exists checked precision 'us' keep 36500")
    connection.execute(
        "create stable checked.readings (ts timestamp, b bool, i bigint, u int unsigned, f float, d double, "
        "s varchar(20), n nchar(20)) tags (place nchar(8), floor int)"
    )
    count = connection.execute(
        "insert into checked.one using checked.readings tags ('Halle', 2) values "
        "('2024-05-01 10:00:00.000001', true, -5, 4000000000, 0.5, 1e-3, 'it\\'s', 'größer'), "
        "('2024-05-01 10:00:00.000002', null, null, null, null, null, null, null) "
        "checked.two using checked.readings (floor) tags (3) (ts, i) values (1714557600000003, 7)"
    )
    expect("insert: rows", count, 3)
    connection.execute("insert into checked.one (ts, d, s) values ('2024-05-01 10:00:00.000001', null, 'it''s')")
    nothing = (None,) * 7
    time = at("2024-05-01 10:00:00")
    tick = timedelta(microseconds=1)
    expected = [
        (time + tick, True, -5, 4_000_000_000, 0.5, None, "it's", "größer", "Halle", 2),
        (time + 2 * tick, *nothing, "Halle", 2),
        (time + 3 * tick, None, 7, *nothing[:5], None, 3),
    ]
    expect("read back", timed(connection, "select * from checked.readings order by ts"), expected)
    distinct = rows(connection, "select distinct tbname, floor from checked.readings where floor >= 2")
    expect("distinct", sorted(distinct), [("one", 2), ("two", 3)])
    expect("sum", rows(connection, "select sum(i), min(u), max(n) from checked.one"), [(-5, 4_000_000_000, "größer")])
    expect("empty", rows(connection, "select count(*), avg(d) from checked.one where ts < 0"), [(0, None)])
    refused("too long", lambda: connection.query(f"select '{'x' * 1_048_576}'"), "0x0219")
    connection.execute("drop database checked")
    refused("dropped", lambda: connection.query("select ts from checked.one"), "Database not exist")


def check_logins(dsn):
    refused("wrong password", lambda: taosws.connect(dsn.replace("taosdata", "wrong")), "Authentication failure")
    refused("wrong user", lambda: taosws.connect(dsn.replace("root", "nobody")), "Authentication failure")


def main():
    dsn, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    connection = taosws.connect(dsn)
    check_captured(connection, folder)
    check_engine(connection, folder)
    check_writes(connection)
    check_logins(dsn)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
