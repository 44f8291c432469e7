CREATE TABLE sweeps (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    model_id            INTEGER NOT NULL REFERENCES t_ai_models (id) ON DELETE CASCADE,
    state               TEXT NOT NULL CHECK (state IN ('RUNNING', 'STOPPING', 'FINISHED', 'STOPPED')),
    plan                TEXT NOT NULL,
    best_run            TEXT,
    note                TEXT,
    created_at          TEXT NOT NULL,
    finished_at         TEXT
);
CREATE INDEX sweeps_by_model ON sweeps (model_id, id);
CREATE INDEX sweeps_unfinished ON sweeps (id) WHERE state IN ('RUNNING', 'STOPPING');

-- A trial of a sweep is a run of its model that the model's row knows nothing of.
ALTER TABLE runs ADD COLUMN sweep_id INTEGER REFERENCES sweeps (id) ON DELETE CASCADE;
-- What a worker has to have to take it.
ALTER TABLE runs ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
CREATE INDEX runs_by_sweep ON runs (sweep_id, number) WHERE sweep_id IS NOT NULL;
DROP INDEX runs_one_active;
CREATE UNIQUE INDEX runs_one_active ON runs (model_id)
    WHERE state IN ('PENDING', 'PREPARING', 'TRAINING') AND sweep_id IS NULL;

-- Who works, as each worker says of itself.
CREATE TABLE workers (
    name                TEXT PRIMARY KEY,
    seen_at             TEXT NOT NULL,
    details             TEXT NOT NULL
) WITHOUT ROWID;

-- Jobs that were given up after their workers or runners died again and again.
CREATE TABLE dead_letters (
    number              INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id              TEXT NOT NULL UNIQUE,
    letter              TEXT NOT NULL
);
