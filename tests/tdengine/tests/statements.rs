//! The SQL that the server understands, and what it says to the rest.

#![allow(clippy::unwrap_used)]

use trainyard_test_tdengine::{DataType, Generated, Precision, Value, World};

const MINUTE: i64 = 60_000;

/// Two devices; `d1` has a row a minute for six minutes, without the fourth, and a NULL in its second.
fn world() -> World {
    let mut world = World::empty();
    world
        .create_database("plant", Precision::Milliseconds)
        .create_super_table(
            "plant.meters",
            &[
                ("ts", DataType::Timestamp),
                ("current", DataType::Double),
                ("phase", DataType::UInt),
            ],
            &[("location", DataType::NChar(16)), ("floor", DataType::Int)],
        )
        .create_child_table("plant.d1", "meters", [Value::from("hall"), Value::from(1)])
        .create_child_table("plant.d2", "meters", [Value::from("yard"), Value::from(2)]);
    let row = |minute: i64, current: Option<f64>| vec![(minute * MINUTE).into(), current.into(), 3u32.into()];
    world
        .insert(
            "plant.d1",
            [
                row(0, Some(1.0)),
                row(1, None),
                row(2, Some(3.0)),
                row(4, Some(5.0)),
                row(5, Some(7.0)),
            ],
        )
        .insert("plant.d2", [row(0, Some(10.0)), row(4, Some(50.0))]);
    world
}

fn rows(sql: &str) -> Vec<Vec<Value>> {
    world().execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn error(sql: &str) -> (i32, String) {
    let error = world().execute(sql).unwrap_err();
    (error.code, error.message)
}

/// A table of values that are written shortly.
fn table<const N: usize>(rows: &[[&dyn Cell; N]]) -> Vec<Vec<Value>> {
    rows.iter()
        .map(|row| row.iter().map(|cell| cell.value()).collect())
        .collect()
}

trait Cell {
    fn value(&self) -> Value;
}

macro_rules! cells {
    ($($source:ty => $make:expr),+ $(,)?) => {$(
        impl Cell for $source {
            fn value(&self) -> Value {
                let make: fn(&$source) -> Value = $make;
                make(self)
            }
        }
    )+};
}
cells! {
    i64 => |v| Value::BigInt(*v), i32 => |v| Value::Int(*v), f64 => |v| Value::Double(*v), u32 => |v| Value::UInt(*v),
    u64 => |v| Value::UBigInt(*v),
    At => |v| Value::Timestamp(v.0 * MINUTE), Text => |v| Value::VarChar(v.0.into()), &str => |v| Value::NChar((*v).into()),
    () => |_| Value::Null,
}
struct At(i64);
struct Text(&'static str);

#[test]
fn a_super_table_has_the_rows_and_tags_of_its_children() {
    assert_eq!(
        rows("SELECT ts, `current`, tbname, Location FROM plant.meters WHERE floor = 2 ORDER BY ts DESC"),
        table(&[
            [&At(4), &50.0, &Text("d2"), &"yard"],
            [&At(0), &10.0, &Text("d2"), &"yard"]
        ])
    );
    assert_eq!(
        rows("select * from plant.d2 limit 1"),
        table(&[[&At(0), &10.0, &3u32, &"yard", &2i32]])
    );
    assert_eq!(
        rows("select ts c from plant.meters order by c limit 2 offset 2"),
        table(&[[&At(1)], [&At(2)]])
    );
    assert_eq!(
        rows("select ts from plant.meters order by ts limit 2, 1"),
        table(&[[&At(1)]])
    );
}

#[test]
fn conditions_are_joined_by_and() {
    let count = |condition: &str| rows(&format!("select count(*) from plant.meters where {condition}"))[0][0].clone();
    for (condition, expected) in [
        ("location in ('hall', 'attic') and current > 2.5", 3),
        ("location not in ('hall')", 2),
        ("current is null", 1),
        ("current is not null and tbname = 'd1'", 4),
        ("ts between 60000 and '1970-01-01 00:04:00'", 4),
        ("ts >= '1970-01-01T00:04:00Z' and ts < '1970-01-01 00:05:00.000'", 2),
        ("ts <> 0 and current != 7", 3),
        ("current <= -1", 0),
        ("floor = '2'", 2),
    ] {
        assert_eq!(count(condition), Value::BigInt(expected), "{condition}");
    }
}

#[test]
fn functions_skip_nulls_and_say_null_of_nothing() {
    assert_eq!(
        rows(
            "select count(*), count(current), first(current), last(current), sum(current), avg(current) from plant.d1"
        ),
        table(&[[&5i64, &4i64, &1.0, &7.0, &16.0, &4.0]])
    );
    assert_eq!(
        rows("select min(current), max(ts), spread(current), stddev(current), sum(phase) from plant.d1"),
        table(&[[&1.0, &At(5), &6.0, &5f64.sqrt(), &15u64]])
    );
    assert_eq!(
        rows("select count(*), sum(current), last(ts) from plant.d1 where ts > '2000-01-01'"),
        table(&[[&0i64, &(), &()]])
    );
    assert_eq!(
        rows("select count(*) from (select ts from plant.meters limit 6)"),
        table(&[[&6i64]])
    );
}

#[test]
fn partitions_are_counted_apart() {
    assert_eq!(
        rows("select tbname, floor, max(current) from plant.meters partition by tbname, floor"),
        table(&[[&Text("d1"), &1i32, &7.0], [&Text("d2"), &2i32, &50.0]])
    );
    assert_eq!(
        rows("select _wstart, location, count(*) from plant.meters partition by location interval(4m) limit 1"),
        table(&[[&At(0), &"hall", &3i64], [&At(0), &"yard", &1i64]])
    );
    assert_eq!(
        rows("select distinct location, tbname from plant.meters"),
        table(&[[&"hall", &Text("d1")], [&"yard", &Text("d2")]])
    );
}

#[test]
fn windows_without_rows_are_filled_as_asked() {
    let windows = |fill: &str| {
        let range = "where ts >= 0 and ts < 360000";
        rows(&format!(
            "select _wstart, max(current) as top from plant.d1 {range} interval(1m) {fill} order by _wstart"
        ))
    };
    let expected = |fourth: &dyn Cell| {
        table(&[
            [&At(0), &1.0],
            [&At(1), &()],
            [&At(2), &3.0],
            [&At(3), fourth],
            [&At(4), &5.0],
            [&At(5), &7.0],
        ])
    };
    for (fill, fourth) in [
        ("fill(null)", &() as &dyn Cell),
        ("fill(prev)", &3.0),
        ("fill(next)", &5.0),
        ("fill(linear)", &4.0),
        ("fill(value, -1)", &-1.0),
    ] {
        assert_eq!(windows(fill), expected(fourth), "{fill}");
    }
    for fill in ["", "fill(none)"] {
        let mut without = expected(&());
        without.remove(3);
        assert_eq!(windows(fill), without);
    }
}

#[test]
fn nothing_is_filled_where_no_window_has_rows_unless_forced() {
    let windows = |fill: &str| {
        rows(&format!(
            "select _wstart, avg(current) from plant.d1 where ts >= 900000 and ts <= 960000 interval(1m) {fill}"
        ))
    };
    assert!(windows("fill(null)").is_empty());
    assert_eq!(windows("fill(null_f)"), table(&[[&At(15), &()], [&At(16), &()]]));
    assert_eq!(windows("fill(value_f, 2)"), table(&[[&At(15), &2.0], [&At(16), &2.0]]));
    let open_end = "select _wstart, avg(current) from plant.d1 where ts >= 0 interval(1m) fill(prev)";
    assert_eq!(
        error(open_end),
        (
            0x263B,
            "Start(end) time of query range required or time range too large".into()
        )
    );
}

#[test]
fn an_insert_overwrites_what_it_names() {
    let mut world = world();
    world
        .execute("insert into plant.d3 using plant.meters (location) tags ('new') (ts, current) values (0, 1.5) (1, 2)")
        .unwrap();
    world
        .execute("insert into plant.d3 values (0, null, 9) plant.d2 (ts, phase) values (0, 8)")
        .unwrap();
    let all = |name: &str, world: &mut World| {
        world
            .execute(&format!("select current, phase, floor from plant.{name} order by ts"))
            .unwrap()
    };
    assert_eq!(all("d3", &mut world), table(&[[&(), &9u32, &()], [&2.0, &(), &()]]));
    assert_eq!(all("d2", &mut world)[0], table(&[[&10.0, &8u32, &2i32]])[0]);
}

#[test]
fn every_type_is_described() {
    let mut world = World::empty();
    world
        .execute("create database d precision 'ns' vgroups 1 keep 36500,36500 buffer 16")
        .unwrap();
    world
        .execute(
            "create table if not exists d.t (ts timestamp, b bool, i tinyint unsigned, v varbinary(8), g geometry(64), \
             s binary(3), n nchar(3))",
        )
        .unwrap();
    world
        .execute("insert into d.t values (1, true, 255, '\\x0aff', '\\x00', 'abc', 'äöü')")
        .unwrap();
    let described = world.execute("describe d.t").unwrap();
    let types: Vec<_> = described.iter().map(|row| row[1].clone()).collect();
    let names = [
        "TIMESTAMP",
        "BOOL",
        "TINYINT UNSIGNED",
        "VARBINARY",
        "GEOMETRY",
        "VARCHAR",
        "NCHAR",
    ];
    assert_eq!(types, names.map(|name| Value::VarChar(name.into())));
    let row = &world.execute("select v, g from d.t").unwrap()[0];
    assert_eq!(*row, [Value::VarBinary(vec![10, 255]), Value::Geometry(vec![0])]);
    assert!(world.execute("insert into d.t (ts, s) values (2, 'four')").is_err());
    let precision = world.execute("select name, `precision` from information_schema.ins_databases where name='d'");
    assert_eq!(precision.unwrap(), table(&[[&Text("d"), &Text("ns")]]));
}

#[test]
fn what_is_wrong_is_refused_as_the_server_refuses_it() {
    assert_eq!(
        error("selec ts from plant.d1"),
        (9728, "syntax error near \"selec ts from plant.d1\"".into())
    );
    assert_eq!(
        error("select ts from plant.d1 where"),
        (9729, "Incomplete SQL statement".into())
    );
    assert_eq!(
        error("select value from plant.d1"),
        (9728, "syntax error near \"value from plant.d1\"".into())
    );
    assert_eq!(
        error("select nope from plant.d1"),
        (9730, "Invalid column name: nope".into())
    );
    let missing = |what| (9826, format!("Fail to get table info, error: {what} not exist"));
    assert_eq!(error("select ts from plant.nope"), missing("Table does"));
    assert_eq!(error("describe nope.t"), missing("Database"));
    assert_eq!(error("select ts from plant.d1 group by ts").0, 9728);
    assert_eq!(
        error("select ts, count(*) from plant.d1").1,
        "Not a single-group group function"
    );
    assert_eq!(error("select ts from d1").1, "Database not specified");
    assert_eq!(error("select _wstart from plant.d1").1, "Invalid windows pc");
    assert_eq!(
        error("select count(*) from plant.d1 interval(1u)").1,
        "Interval too small"
    );
    assert_eq!(
        error("select ts from plant.d1 where ts > 'soon'").1,
        "Incorrect TIMESTAMP value: 'soon'"
    );
    assert_eq!(
        error("select sum(location) from plant.d1").1,
        "Invalid parameter data type : sum"
    );
    assert_eq!(
        error("insert into plant.d1 values (1, 2)").1,
        "Illegal number of columns"
    );
    assert_eq!(error("create table plant.d1 (ts timestamp)").1, "Table already exists");
    assert_eq!(error("create database plant").1, "Database already exists");
    let long = format!("select ts from plant.d1 where tbname = '{}'", "x".repeat(1_048_576));
    assert_eq!(error(&long), (0x0219, "SQL statement too long".into()));
}

#[test]
fn a_generated_table_answers_by_arithmetic() {
    let table_of = Generated {
        null_every: Some(4),
        ..Generated::new(1_000_000_000_000, 2)
    };
    let start = table_of.start;
    let mut world = World::generated(table_of.clone());
    let sql = format!(
        "select count(*), count(c1), first(ts), last(ts) from plant.generated where ts < {}",
        start + 8000
    );
    let expected = vec![
        Value::BigInt(8),
        Value::BigInt(6),
        Value::Timestamp(start),
        Value::Timestamp(start + 7000),
    ];
    assert_eq!(world.execute(&sql).unwrap(), [expected]);
    let sql = format!(
        "select c1, ts from plant.generated where ts >= {} order by ts limit 3",
        start + 5_000_000
    );
    let expected: Vec<_> = (5000..5003)
        .map(|row| vec![table_of.value(row, 1).into(), Value::Timestamp(table_of.timestamp(row))])
        .collect();
    assert_eq!(world.execute(&sql).unwrap(), expected);
    let count = world
        .execute("select count(*) from (select ts from plant.generated limit 99999999999)")
        .unwrap();
    assert_eq!(count, table(&[[&99_999_999_999i64]]));
    let sql = format!(
        "select _wstart, sum(c0), count(c0) from plant.generated where ts < {} interval(4s)",
        start + 8000
    );
    let sum = |rows: std::ops::Range<u64>| Value::Double(rows.filter_map(|row| table_of.value(row, 0)).sum());
    let windows = world.execute(&sql).unwrap();
    assert_eq!(
        windows[1],
        [Value::Timestamp(start + 4000), sum(4..8), Value::BigInt(3)]
    );
}
