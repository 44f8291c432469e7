//! Reads a folder of what a real server answered, and makes a [`World`] of it.

use std::{fs, io, path::Path, sync::Arc};

use serde::Deserialize;

use crate::{
    block::ResultColumn,
    decode::decode_block,
    error::SqlError,
    result_set::{RecordedBlock, ResultSet, Source},
    time::Precision,
    value::{DataType, Value},
    world::{Recorded, World},
};

/// Bytes before the block in a message: how long it took, and the result's id.
pub(crate) const PREFIX: usize = 16;

#[derive(Deserialize)]
struct Transcript {
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Query {
    name: String,
    sql: String,
    query_reply: QueryReply,
    fetches: Vec<Fetch>,
    blocks_file: Option<String>,
}

#[derive(Deserialize)]
struct QueryReply {
    code: i32,
    message: String,
    #[serde(default)]
    fields_names: Vec<String>,
    #[serde(default)]
    fields_types: Vec<u8>,
    #[serde(default)]
    fields_lengths: Vec<u32>,
    #[serde(default)]
    precision: u8,
}

#[derive(Deserialize)]
struct Fetch {
    reply: FetchReply,
    block: Option<Place>,
}

#[derive(Deserialize)]
struct FetchReply {
    rows: u64,
}

#[derive(Deserialize)]
struct Place {
    offset: usize,
    length: usize,
}

/// One query of the transcript.
pub(crate) struct Captured {
    pub name: String,
    pub sql: String,
    pub answer: Recorded,
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// The queries of `transcript.json`, with the blocks of the files beside it.
pub(crate) fn read(folder: &Path) -> io::Result<Vec<Captured>> {
    let transcript: Transcript = serde_json::from_slice(&fs::read(folder.join("transcript.json"))?)?;
    transcript
        .queries
        .into_iter()
        .map(|query| captured(folder, query))
        .collect()
}

fn captured(folder: &Path, query: Query) -> io::Result<Captured> {
    let reply = query.query_reply;
    if reply.code != 0 {
        let answer = Recorded::Refusal(SqlError::new(reply.code, reply.message));
        return Ok(Captured {
            name: query.name,
            sql: query.sql,
            answer,
        });
    }
    let file = query
        .blocks_file
        .map(|name| fs::read(folder.join(name)))
        .transpose()?
        .unwrap_or_default();
    let fields = reply
        .fields_names
        .into_iter()
        .zip(reply.fields_types.into_iter().zip(reply.fields_lengths));
    let columns = fields
        .map(|(name, (code, length))| {
            let data_type = DataType::from_code(code, length).ok_or_else(|| wrong(format!("type {code} of {name}")))?;
            Ok(ResultColumn { name, data_type })
        })
        .collect::<io::Result<_>>()?;
    let mut blocks = Vec::new();
    for fetch in query.fetches {
        let Some(place) = fetch.block else { continue };
        let message = file.get(place.offset..place.offset + place.length);
        let bytes = message
            .and_then(|message| message.get(PREFIX..))
            .ok_or_else(|| wrong("a block is cut off"))?;
        blocks.push(RecordedBlock {
            rows: fetch.reply.rows,
            bytes: bytes.to_vec(),
        });
    }
    let precision = match reply.precision {
        0 => Precision::Milliseconds,
        1 => Precision::Microseconds,
        _ => Precision::Nanoseconds,
    };
    let source = Source::Recorded(Arc::from(blocks));
    Ok(Captured {
        name: query.name,
        sql: query.sql,
        answer: Recorded::Rows(ResultSet {
            columns,
            precision,
            source,
        }),
    })
}

impl World {
    /// What a real server held and answered: `plant.transformer` (super table; its child `etth1`), `plant.device_data`
    /// (super table; its child `machine_7`) and `plant_us.alltypes`, filled from the captured blocks. A captured
    /// statement is answered with the captured bytes, until its database changes.
    ///
    /// # Errors
    ///
    /// When the folder is not there or not as the capture left it.
    pub fn captured(folder: &Path) -> io::Result<Self> {
        let captured = read(folder)?;
        let rows = |name: &str| -> io::Result<(Vec<ResultColumn>, Vec<Vec<Value>>)> {
            let found = captured.iter().find(|query| query.name == name);
            let Some(Captured {
                answer: Recorded::Rows(result),
                ..
            }) = found
            else {
                return Err(wrong(format!("{name} is not in the transcript")));
            };
            let Source::Recorded(blocks) = &result.source else {
                return Err(wrong(name));
            };
            let mut rows = Vec::new();
            for block in blocks.iter() {
                rows.extend(decode_block(&block.bytes, &result.columns).ok_or_else(|| wrong(name))?);
            }
            Ok((result.columns.clone(), rows))
        };
        let mut world = Self::empty();
        world
            .create_database("plant", Precision::Milliseconds)
            .create_database("plant_us", Precision::Microseconds);

        let (columns, values) = rows("etth1_all")?;
        world
            .create_super_table(
                "plant.transformer",
                &described(&columns),
                &[("device_id", DataType::NChar(64)), ("region", DataType::Int)],
            )
            .create_child_table("plant.etth1", "transformer", [Value::from("etth1"), Value::from(1)])
            .insert("plant.etth1", values);

        let (columns, head) = rows("machine7_all")?;
        let (_, mut values) = rows("machine7_value")?;
        values.iter_mut().for_each(|row| row.extend([Value::Null, Value::Null]));
        world
            .create_super_table(
                "plant.device_data",
                &described(&columns),
                &[("device_id", DataType::NChar(64))],
            )
            .create_child_table("plant.machine_7", "device_data", ["machine-7"])
            .insert("plant.machine_7", values)
            .insert("plant.machine_7", head);

        let (columns, values) = rows("alltypes_us")?;
        world
            .create_table("plant_us.alltypes", &described(&columns))
            .insert("plant_us.alltypes", values);

        world.recorded = captured.into_iter().map(|query| (query.sql, query.answer)).collect();
        Ok(world)
    }
}

fn described(columns: &[ResultColumn]) -> Vec<(&str, DataType)> {
    columns
        .iter()
        .map(|column| (column.name.as_str(), column.data_type))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::engine::{Answer, Session, execute};

    fn folder() -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tdengine-wire");
        if !folder.exists() {
            println!("skipped: {} is not here", folder.display());
        }
        folder.exists().then_some(folder)
    }

    /// The engine's own answer, in blocks.
    fn engine_blocks(world: &mut World, sql: &str) -> Result<(ResultSet, Vec<Vec<u8>>), SqlError> {
        let mut session = Session {
            user: crate::world::User::root(),
            database: None,
        };
        let Answer::Rows(result) = execute(world, &mut session, sql)? else {
            panic!("{sql} has rows")
        };
        let mut blocks = Vec::new();
        let mut start = 0;
        loop {
            match result.block_rows(start, world.block_rows) {
                0 => return Ok((result, blocks)),
                rows => {
                    let mut block = Vec::new();
                    result.encode(&mut block, start..start + rows);
                    blocks.push(block);
                    start += rows;
                }
            }
        }
    }

    #[test]
    fn the_engine_answers_every_captured_query_byte_for_byte() {
        let Some(folder) = folder() else { return };
        let mut world = World::captured(&folder).unwrap();
        world.forget_recorded_answers();
        for query in read(&folder).unwrap() {
            let ours = engine_blocks(&mut world, &query.sql);
            match (query.answer, ours) {
                (Recorded::Refusal(theirs), ours) => assert_eq!(ours.unwrap_err(), theirs, "{}", query.name),
                (Recorded::Rows(theirs), ours) => {
                    let (result, blocks) = ours.unwrap();
                    assert_eq!((&result.columns, result.precision), (&theirs.columns, theirs.precision));
                    let Source::Recorded(recorded) = theirs.source else {
                        unreachable!()
                    };
                    assert_eq!(blocks.len(), recorded.len(), "{}", query.name);
                    for (ours, theirs) in blocks.iter().zip(recorded.iter()) {
                        if query.name == "etth1_daily" {
                            same_within_rounding(ours, &theirs.bytes, &result.columns);
                        } else {
                            assert!(*ours == theirs.bytes, "{} differs", query.name);
                        }
                    }
                }
            }
        }
    }

    /// Sums were added up in another order.
    fn same_within_rounding(ours: &[u8], theirs: &[u8], columns: &[ResultColumn]) {
        let (ours, theirs) = (
            decode_block(ours, columns).unwrap(),
            decode_block(theirs, columns).unwrap(),
        );
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            match (ours, theirs) {
                (Value::Double(ours), Value::Double(theirs)) => {
                    assert!((ours - theirs).abs() < 1e-12 * ours.abs().max(1.0))
                }
                (ours, theirs) => assert_eq!(ours, theirs),
            }
        }
    }

    #[test]
    fn a_recorded_answer_is_given_until_its_database_changes() {
        let Some(folder) = folder() else { return };
        let mut world = World::captured(&folder).unwrap();
        let sql = "select count(*) from plant.transformer where device_id = 'etth1'";
        assert!(world.recorded.contains_key(sql));
        assert_eq!(world.execute(sql).unwrap(), [[Value::BigInt(17_420)]]);
        world
            .execute("insert into plant.etth1 (ts, ot) values (1, 2.5)")
            .unwrap();
        assert!(!world.recorded.contains_key(sql));
        assert_eq!(world.execute(sql).unwrap(), [[Value::BigInt(17_421)]]);
        assert!(world.recorded.keys().any(|sql| sql.contains("plant_us.")));
    }
}
