//! The rows a query found, fetched block by block.

use std::{ops::Range, sync::Arc};

use crate::{
    block::{ResultColumn, encode_block},
    generated::Generated,
    time::Precision,
    value::Value,
};

/// A block as a real server sent it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordedBlock {
    pub rows: u64,
    pub bytes: Vec<u8>,
}

/// Where the rows come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Rows(Vec<Vec<Value>>),
    /// These columns (0 is the timestamp) of these rows.
    Generated(Arc<Generated>, Vec<usize>, Range<u64>),
    Recorded(Arc<[RecordedBlock]>),
}

/// What a query found.
#[derive(Debug, Clone)]
pub(crate) struct ResultSet {
    pub columns: Vec<ResultColumn>,
    pub precision: Precision,
    pub source: Source,
}

impl ResultSet {
    pub fn new(columns: Vec<ResultColumn>, precision: Precision, rows: Vec<Vec<Value>>) -> Self {
        Self {
            columns,
            precision,
            source: Source::Rows(rows),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        match &self.source {
            Source::Rows(rows) => rows.len() as u64,
            Source::Generated(_, _, rows) => rows.end - rows.start,
            Source::Recorded(blocks) => blocks.iter().map(|block| block.rows).sum(),
        }
    }

    /// How many rows the block that starts at a row has; 0 at the end.
    pub fn block_rows(&self, start: u64, block_rows: u64) -> u64 {
        match &self.source {
            Source::Recorded(_) => self.recorded(start).map_or(0, |block| block.rows),
            _ => block_rows.min(self.rows().saturating_sub(start)),
        }
    }

    /// Appends the block of some rows, counted from the first.
    pub fn encode(&self, out: &mut Vec<u8>, rows: Range<u64>) {
        match &self.source {
            Source::Rows(all) => encode_block(out, &self.columns, &all[rows.start as usize..rows.end as usize]),
            Source::Generated(table, columns, all) => {
                table.encode(out, columns, all.start + rows.start..all.start + rows.end);
            }
            Source::Recorded(_) => {
                let Some(block) = self.recorded(rows.start) else { return };
                if rows.end - rows.start == block.rows {
                    out.extend_from_slice(&block.bytes);
                } else if let Some(mut decoded) = crate::decode::decode_block(&block.bytes, &self.columns) {
                    decoded.truncate((rows.end - rows.start) as usize);
                    encode_block(out, &self.columns, &decoded);
                }
            }
        }
    }

    fn recorded(&self, start: u64) -> Option<&RecordedBlock> {
        let Source::Recorded(blocks) = &self.source else {
            return None;
        };
        let mut at = 0;
        blocks.iter().find(|block| {
            let here = at == start;
            at += block.rows;
            here
        })
    }
}
