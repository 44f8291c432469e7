//! Functions over all rows, over partitions, and over windows of time.

use std::{collections::BTreeMap, ops::ControlFlow, ops::Range};

use crate::{
    engine::{
        aggregate::Aggregate,
        condition::{Filter, order},
        fill::fill,
        project::{by_value, limit, offset, result_columns},
        relation::Relation,
        select::{Kind, Output},
    },
    error::SqlError,
    generated::Generated,
    result_set::ResultSet,
    sql::{Fill, Function, Select},
    time::Width,
    value::{DataType, Value},
};

/// The windows of one partition, by where they start.
struct Group {
    keys: Vec<Value>,
    windows: BTreeMap<i64, Vec<Aggregate>>,
}

pub(super) fn aggregate(
    relation: &Relation,
    filter: &Filter,
    select: &Select,
    outputs: &[Output],
) -> Result<ResultSet, SqlError> {
    let partition = select
        .partition
        .iter()
        .map(|name| relation.index(name))
        .collect::<Result<Vec<_>, _>>()?;
    let width = match &select.interval {
        Some(_) if !relation.timed => return Err(SqlError::new(0x2659, "Window not allowed")),
        Some(interval) => {
            let width = interval.width(relation.precision);
            Some(width.ok_or_else(|| SqlError::new(0x2615, "Interval too small"))?)
        }
        None => None,
    };
    for output in outputs {
        match output.kind {
            Kind::Column(index) if !partition.contains(&index) => return Err(SqlError::not_single_group()),
            Kind::WindowStart | Kind::WindowEnd if width.is_none() => return Err(SqlError::no_window()),
            _ => {}
        }
    }
    if let Some(table) = relation.generated()
        && filter.is_range()
        && width.is_none()
        && partition.is_empty()
        && let Some(row) = by_arithmetic(table, table.between(filter.range.0, filter.range.1), outputs)
    {
        return Ok(ResultSet::new(result_columns(outputs), relation.precision, vec![row]));
    }
    if let (Some(table), Some(interval), Some(Width::Fixed(width))) = (relation.generated(), &select.interval, width)
        && filter.is_range()
        && matches!(interval.fill, Fill::None)
        && partition.is_empty()
        && let Some(rows) = windows_by_arithmetic(table, filter.range, width, outputs)
    {
        return Ok(ResultSet::new(result_columns(outputs), relation.precision, rows));
    }
    let groups = collect(relation, filter, outputs, &partition, width);
    let mut rows = Vec::new();
    for group in &groups {
        let windows = group
            .windows
            .iter()
            .map(|(start, each)| (*start, results(each, outputs)))
            .collect();
        let windows = match (&select.interval, width) {
            (Some(interval), Some(width)) => fill(
                windows,
                &interval.fill,
                width,
                relation.precision,
                filter.range,
                &types(outputs),
            )?,
            _ => windows,
        };
        let whole = windows.into_iter().map(|(start, values)| {
            let mut values = values.into_iter();
            let value = |output: &Output| match output.kind {
                Kind::Column(index) => {
                    let key = partition.iter().position(|key| *key == index);
                    key.map_or(Value::Null, |key| group.keys[key].clone())
                }
                Kind::WindowStart => Value::Timestamp(start),
                Kind::WindowEnd => Value::Timestamp(width.map_or(start, |width| width.next(start, relation.precision))),
                Kind::Aggregate(..) => values.next().unwrap_or(Value::Null),
            };
            outputs.iter().map(value).collect::<Vec<_>>()
        });
        match partition.is_empty() {
            true => rows.extend(whole),
            false => rows.extend(whole.skip(offset(select)).take(limit(select))),
        }
    }
    sort(&mut rows, select, outputs)?;
    if partition.is_empty() {
        rows = rows.into_iter().skip(offset(select)).take(limit(select)).collect();
    }
    Ok(ResultSet::new(result_columns(outputs), relation.precision, rows))
}

fn collect(
    relation: &Relation,
    filter: &Filter,
    outputs: &[Output],
    partition: &[usize],
    width: Option<Width>,
) -> Vec<Group> {
    let functions: Vec<(Function, Option<usize>)> = outputs
        .iter()
        .filter_map(|output| match output.kind {
            Kind::Aggregate(function, column) => Some((function, column)),
            _ => None,
        })
        .collect();
    let fresh = || {
        functions
            .iter()
            .map(|(function, _)| Aggregate::new(*function))
            .collect::<Vec<_>>()
    };
    let mut groups: Vec<Group> = Vec::new();
    if partition.is_empty() {
        let windows = if width.is_none() {
            BTreeMap::from([(0, fresh())])
        } else {
            BTreeMap::new()
        };
        groups.push(Group {
            keys: Vec::new(),
            windows,
        });
    }
    let mut last = 0;
    relation.scan(filter.range, |row| {
        if !filter.passes(row) {
            return ControlFlow::Continue(());
        }
        let same = |group: &Group| {
            partition
                .iter()
                .zip(&group.keys)
                .all(|(index, key)| row[*index] == *key)
        };
        if !groups.get(last).is_some_and(same) {
            last = groups.iter().position(same).unwrap_or_else(|| {
                let keys = partition.iter().map(|index| row[*index].clone()).collect();
                groups.push(Group {
                    keys,
                    windows: BTreeMap::new(),
                });
                groups.len() - 1
            });
        }
        let start = match (width, &row[0]) {
            (Some(width), Value::Timestamp(time)) => width.start_of(*time, relation.precision),
            _ => 0,
        };
        let each = groups[last].windows.entry(start).or_insert_with(fresh);
        for (aggregate, (_, column)) in each.iter_mut().zip(&functions) {
            aggregate.add(&row[0], column.map_or(&Value::Bool(true), |column| &row[column]));
        }
        ControlFlow::Continue(())
    });
    groups.sort_by(|left, right| by_value(&left.keys, &right.keys));
    groups
}

fn types(outputs: &[Output]) -> Vec<DataType> {
    let functions = outputs
        .iter()
        .filter(|output| matches!(output.kind, Kind::Aggregate(..)));
    functions.map(|output| output.data_type).collect()
}

fn results(aggregates: &[Aggregate], outputs: &[Output]) -> Vec<Value> {
    aggregates
        .iter()
        .zip(types(outputs))
        .map(|(aggregate, data_type)| aggregate.result(data_type))
        .collect()
}

/// Counts and the ends of time of a generated series, without looking at a row; `None` where more is asked.
fn by_arithmetic(table: &Generated, rows: Range<u64>, outputs: &[Output]) -> Option<Vec<Value>> {
    let count = |count: u64| Value::BigInt(count as i64);
    let value = |output: &Output| match output.kind {
        Kind::Aggregate(Function::Count, None | Some(0)) => Some(count(rows.end - rows.start)),
        Kind::Aggregate(Function::Count, Some(_)) => Some(count(table.count_values(&rows))),
        Kind::Aggregate(Function::First | Function::Min | Function::Last | Function::Max, Some(0))
            if rows.is_empty() =>
        {
            Some(Value::Null)
        }
        Kind::Aggregate(Function::First | Function::Min, Some(0)) => {
            Some(Value::Timestamp(table.timestamp(rows.start)))
        }
        Kind::Aggregate(Function::Last | Function::Max, Some(0)) => {
            Some(Value::Timestamp(table.timestamp(rows.end - 1)))
        }
        _ => None,
    };
    outputs.iter().map(value).collect()
}

/// The same for each window with rows, in order; `None` where more is asked.
fn windows_by_arithmetic(
    table: &Generated,
    (first, last): (i64, i64),
    width: i64,
    outputs: &[Output],
) -> Option<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    let all = table.between(first, last);
    let mut next = all.start;
    while next < all.end {
        let start = table.timestamp(next).div_euclid(width) * width;
        let end = table.between(first, last.min(start.saturating_add(width - 1))).end;
        let row: Option<Vec<Value>> = outputs
            .iter()
            .map(|output| match output.kind {
                Kind::WindowStart => Some(Value::Timestamp(start)),
                _ => by_arithmetic(table, next..end, std::slice::from_ref(output))?.pop(),
            })
            .collect();
        rows.push(row?);
        next = end;
    }
    Some(rows)
}

fn sort(rows: &mut [Vec<Value>], select: &Select, outputs: &[Output]) -> Result<(), SqlError> {
    let key = |(name, descending): &(String, bool)| {
        let index = outputs
            .iter()
            .position(|output| output.name == *name || (name == "_wstart" && output.kind == Kind::WindowStart));
        index
            .map(|index| (index, *descending))
            .ok_or_else(|| SqlError::column(name))
    };
    let keys = select.order.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by(|left, right| {
        keys.iter()
            .fold(std::cmp::Ordering::Equal, |so_far, &(index, descending)| {
                so_far.then_with(|| match descending {
                    true => order(&right[index], &left[index]),
                    false => order(&left[index], &right[index]),
                })
            })
    });
    Ok(())
}
