//! `select` from a table: plain rows, or functions over groups and windows.

use crate::{
    engine::{Session, condition::Filter, project::project, relation::Relation, windows::aggregate},
    error::SqlError,
    result_set::ResultSet,
    sql::{Expression, Function, Item, Select},
    value::DataType,
    world::World,
};

/// One thing that is selected, on the columns of the relation.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub name: String,
    /// As it was written, for `order by`.
    pub kind: Kind,
    pub data_type: DataType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Column(usize),
    WindowStart,
    WindowEnd,
    /// A function of a column; `None` counts rows.
    Aggregate(Function, Option<usize>),
}

pub(super) fn select(world: &World, session: &Session, select: &Select) -> Result<ResultSet, SqlError> {
    let relation = Relation::open(world, session, &select.from)?;
    let outputs: Vec<Output> = select
        .items
        .iter()
        .map(|item| outputs(&relation, item))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    let filter = Filter::new(&relation, &select.conditions)?;
    let functions = outputs.iter().any(|output| matches!(output.kind, Kind::Aggregate(..)));
    match functions || select.interval.is_some() {
        true => aggregate(&relation, &filter, select, &outputs),
        false => project(&relation, &filter, select, &outputs),
    }
}

fn outputs(relation: &Relation, item: &Item) -> Result<Vec<Output>, SqlError> {
    let one = |kind, data_type| {
        Ok(vec![Output {
            name: item.name.clone(),
            kind,
            data_type,
        }])
    };
    match &item.expression {
        Expression::All => Ok(relation
            .all()
            .map(|index| {
                let column = &relation.columns[index];
                Output {
                    name: column.name.clone(),
                    kind: Kind::Column(index),
                    data_type: column.data_type,
                }
            })
            .collect()),
        Expression::Column(name) => {
            let index = relation.index(name)?;
            one(Kind::Column(index), relation.columns[index].data_type)
        }
        Expression::WindowStart => one(Kind::WindowStart, DataType::Timestamp),
        Expression::WindowEnd => one(Kind::WindowEnd, DataType::Timestamp),
        Expression::Aggregate(function, None) => one(Kind::Aggregate(*function, None), DataType::BigInt),
        Expression::Aggregate(function, Some(name)) => {
            let index = relation.index(name)?;
            let data_type = super::aggregate::result_type(*function, relation.columns[index].data_type)?;
            one(Kind::Aggregate(*function, Some(index)), data_type)
        }
    }
}
