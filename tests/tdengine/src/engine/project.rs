//! Plain rows of a `select`: columns and tags, sorted and cut.

use std::{cmp::Ordering, collections::HashSet, ops::ControlFlow, sync::Arc};

use crate::{
    block::ResultColumn,
    engine::{
        condition::{Filter, order},
        relation::Relation,
        select::{Kind, Output},
    },
    error::SqlError,
    result_set::{ResultSet, Source},
    sql::Select,
    value::Value,
};

pub(super) fn project(
    relation: &Relation,
    filter: &Filter,
    select: &Select,
    outputs: &[Output],
) -> Result<ResultSet, SqlError> {
    let columns: Vec<usize> = outputs
        .iter()
        .map(|output| match output.kind {
            Kind::Column(index) => Ok(index),
            _ => Err(SqlError::no_window()),
        })
        .collect::<Result<_, _>>()?;
    let partition = select
        .partition
        .iter()
        .map(|name| relation.index(name))
        .collect::<Result<Vec<_>, _>>()?;
    let keys = sort_keys(relation, select, outputs)?;
    let found = result_columns(outputs);
    if let Some(source) = generated(relation, filter, select, &columns, &keys) {
        return Ok(ResultSet {
            columns: found,
            precision: relation.precision,
            source,
        });
    }
    let mut rows = collect(relation, filter, select, &columns, &partition, &keys);
    rows.sort_by(|left, right| {
        by_value(&left.partition, &right.partition).then_with(|| {
            let pairs = keys.iter().zip(left.keys.iter().zip(&right.keys));
            pairs.fold(Ordering::Equal, |so_far, ((_, descending), (left, right))| {
                so_far.then_with(|| {
                    if *descending {
                        order(right, left)
                    } else {
                        order(left, right)
                    }
                })
            })
        })
    });
    if select.distinct {
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(format!("{:?}", row.values)));
    }
    let mut out = Vec::new();
    for part in rows.chunk_by_mut(|left, right| by_value(&left.partition, &right.partition).is_eq()) {
        out.extend(
            part.iter_mut()
                .map(|row| std::mem::take(&mut row.values))
                .skip(offset(select))
                .take(limit(select)),
        );
    }
    Ok(ResultSet::new(found, relation.precision, out))
}

struct Row {
    partition: Vec<Value>,
    keys: Vec<Value>,
    values: Vec<Value>,
}

fn collect(
    relation: &Relation,
    filter: &Filter,
    select: &Select,
    columns: &[usize],
    partition: &[usize],
    keys: &[(usize, bool)],
) -> Vec<Row> {
    let pick = |row: &[Value], indices: &mut dyn Iterator<Item = usize>| -> Vec<Value> {
        indices.map(|index| row[index].clone()).collect()
    };
    let mut rows = Vec::new();
    let mut add = |row: &[Value]| {
        if filter.passes(row) {
            rows.push(Row {
                partition: pick(row, &mut partition.iter().copied()),
                keys: pick(row, &mut keys.iter().map(|(index, _)| *index)),
                values: pick(row, &mut columns.iter().copied()),
            });
        }
        rows.len()
    };
    // the distinct tags are those of the children, whether or not these have rows
    let tags_only = select.distinct && columns.iter().all(|index| *index >= relation.plain);
    if tags_only && filter.only_from(relation.plain) && relation.timed {
        relation.scan_tags(|row| {
            add(row);
        });
        return rows;
    }
    let cut = keys.is_empty() && partition.is_empty() && !select.distinct;
    let enough = if cut {
        limit(select).saturating_add(offset(select))
    } else {
        usize::MAX
    };
    relation.scan(filter.range, |row| match add(row) {
        rows if rows >= enough => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    rows
}

/// Rows of a generated series need not be made before they are sent.
fn generated(
    relation: &Relation,
    filter: &Filter,
    select: &Select,
    columns: &[usize],
    keys: &[(usize, bool)],
) -> Option<Source> {
    let table = relation.generated()?;
    let plain = columns.iter().all(|index| *index < relation.plain);
    let in_order = matches!(keys, [] | [(0, false)]);
    if !(filter.is_range() && plain && in_order && select.partition.is_empty() && !select.distinct) {
        return None;
    }
    let mut rows = table.between(filter.range.0, filter.range.1);
    rows.start = rows.start.saturating_add(select.offset).min(rows.end);
    rows.end = rows
        .start
        .saturating_add(select.limit.unwrap_or(u64::MAX))
        .min(rows.end);
    Some(Source::Generated(Arc::clone(table), columns.to_vec(), rows))
}

fn sort_keys(relation: &Relation, select: &Select, outputs: &[Output]) -> Result<Vec<(usize, bool)>, SqlError> {
    let key = |(name, descending): &(String, bool)| {
        let output = outputs
            .iter()
            .find(|output| output.name == *name)
            .map(|output| output.kind);
        match output {
            Some(Kind::Column(index)) => Ok((index, *descending)),
            _ => Ok((relation.index(name)?, *descending)),
        }
    };
    select.order.iter().map(key).collect()
}

pub(super) fn result_columns(outputs: &[Output]) -> Vec<ResultColumn> {
    outputs
        .iter()
        .map(|output| ResultColumn {
            name: output.name.clone(),
            data_type: output.data_type,
        })
        .collect()
}

/// Values one after the other, for sorting.
pub(super) fn by_value(left: &[Value], right: &[Value]) -> Ordering {
    left.iter().zip(right).fold(Ordering::Equal, |so_far, (left, right)| {
        so_far.then_with(|| order(left, right))
    })
}

pub(super) fn offset(select: &Select) -> usize {
    usize::try_from(select.offset).unwrap_or(usize::MAX)
}

pub(super) fn limit(select: &Select) -> usize {
    select
        .limit
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
