//! What the statements in `sql` need to know of SQLite.

use crate::ModelId;
use std::time::Duration;

pub(super) type Db = sqlx::Sqlite;
pub(super) type SqlConnection = sqlx::SqliteConnection;
pub(super) type SqlRow = sqlx::sqlite::SqliteRow;

/// The function of a text and a part that gives the part's position from 1, and 0 where there is none.
pub(super) const CONTAINS: &str = "instr";

/// Longer than the wait for a turn and for other programs together.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A transaction that writes holds the whole file.
pub(super) async fn lock_model(_: &mut SqlConnection, _: ModelId) -> Result<(), sqlx::Error> {
    Ok(())
}

/// A transaction that writes holds the whole file.
pub(super) async fn lock_model_of(_: &mut SqlConnection, _: &str) -> Result<(), sqlx::Error> {
    Ok(())
}
