CREATE TABLE sweeps (
    id                  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id            BIGINT NOT NULL REFERENCES t_ai_models (id) ON DELETE CASCADE,
    state               TEXT NOT NULL CHECK (state IN ('RUNNING', 'STOPPING', 'FINISHED', 'STOPPED')),
    plan                JSON NOT NULL,
    best_run            TEXT,
    note                TEXT,
    created_at          TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at         TIMESTAMP WITH TIME ZONE
);
CREATE INDEX sweeps_by_model ON sweeps (model_id, id);
CREATE INDEX sweeps_unfinished ON sweeps (id) WHERE state IN ('RUNNING', 'STOPPING');

-- A trial of a sweep is a run of its model that the model's row knows nothing of.
ALTER TABLE runs ADD COLUMN sweep_id BIGINT REFERENCES sweeps (id) ON DELETE CASCADE;
-- What a worker has to have to take it.
ALTER TABLE runs ADD COLUMN labels JSON NOT NULL DEFAULT '[]';
CREATE INDEX runs_by_sweep ON runs (sweep_id, number) WHERE sweep_id IS NOT NULL;
DROP INDEX runs_one_active;
CREATE UNIQUE INDEX runs_one_active ON runs (model_id)
    WHERE state IN ('PENDING', 'PREPARING', 'TRAINING') AND sweep_id IS NULL;

-- Who works, as each worker says of itself.
CREATE TABLE workers (
    name                TEXT PRIMARY KEY,
    seen_at             TIMESTAMP WITH TIME ZONE NOT NULL,
    details             JSON NOT NULL
);

-- The oldest version of these tables that a program may know and still work with them: old and new programs run side by side
-- while a service is being upgraded. Whoever changes what an older program relies on raises it.
CREATE TABLE compatibility (
    one                 INTEGER PRIMARY KEY CHECK (one = 1),
    oldest              BIGINT NOT NULL
);
INSERT INTO compatibility VALUES (1, 1);
