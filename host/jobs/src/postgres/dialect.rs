//! What the statements in `sql` need to know of PostgreSQL.
//!
//! Who writes a model or one of its runs holds the lock of the model's row from the first statement to the end of the
//! transaction. So changes of one model follow each other, those of different models do not wait for each other, and as
//! every transaction takes this lock first and no other of the kind, none can wait for one that waits for it.

use crate::ModelId;
use std::time::Duration;

pub(super) type Db = sqlx::Postgres;
pub(super) type SqlConnection = sqlx::PgConnection;
pub(super) type SqlRow = sqlx::postgres::PgRow;

/// The function of a text and a part that gives the part's position from 1, and 0 where there is none.
pub(super) const CONTAINS: &str = "strpos";

/// How long a method of the store may take, whatever the server does: one that hangs says nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until nobody else writes the model.
pub(super) async fn lock_model(connection: &mut SqlConnection, id: ModelId) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1 FROM t_ai_models WHERE id = $1 FOR UPDATE")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Waits until nobody else writes the model of a run.
pub(super) async fn lock_model_of(connection: &mut SqlConnection, run: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1 FROM t_ai_models WHERE id = (SELECT model_id FROM runs WHERE id = $1) FOR UPDATE")
        .bind(run)
        .execute(connection)
        .await?;
    Ok(())
}
