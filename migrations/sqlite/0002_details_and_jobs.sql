-- t_ai_models keeps what the original's table has; what Trainyard adds goes to a table of its own, as in PostgreSQL, where
-- the original's table may be there already and belong to another program.
CREATE TABLE model_details (
    model_id            INTEGER PRIMARY KEY REFERENCES t_ai_models (id) ON DELETE CASCADE,
    plugin              TEXT NOT NULL,
    plugin_version      TEXT,
    -- The name in lower case: SQLite itself folds ASCII only.
    name_folded         TEXT NOT NULL,
    trained_run         TEXT,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL,
    file_path           TEXT,
    metrics             TEXT NOT NULL DEFAULT '{}',
    training_dataset    TEXT NOT NULL DEFAULT 'null',
    training_parameters TEXT NOT NULL DEFAULT '{}',
    description         TEXT NOT NULL DEFAULT ''
);
INSERT INTO model_details
    SELECT id, plugin, plugin_version, name_folded, trained_run, created_at, updated_at, file_path, metrics,
        training_dataset, training_parameters, description
    FROM t_ai_models;
DROP INDEX models_by_plugin;
DROP INDEX models_by_dataset;
ALTER TABLE t_ai_models DROP COLUMN plugin;
ALTER TABLE t_ai_models DROP COLUMN plugin_version;
ALTER TABLE t_ai_models DROP COLUMN name_folded;
ALTER TABLE t_ai_models DROP COLUMN trained_run;
ALTER TABLE t_ai_models DROP COLUMN created_at;
ALTER TABLE t_ai_models DROP COLUMN updated_at;
ALTER TABLE t_ai_models DROP COLUMN file_path;
ALTER TABLE t_ai_models DROP COLUMN metrics;
ALTER TABLE t_ai_models DROP COLUMN training_dataset;
ALTER TABLE t_ai_models DROP COLUMN training_parameters;
ALTER TABLE t_ai_models DROP COLUMN description;
CREATE INDEX details_by_plugin ON model_details (plugin);
CREATE INDEX details_by_dataset ON model_details (training_dataset ->> 'dataset_id');

CREATE VIEW models AS
    SELECT model.id, model.name, model.status, model.progress, model.task_id, model.error_log, model.started_at,
        model.finished_at, model.resource_usage, detail.plugin, detail.plugin_version, detail.name_folded,
        detail.trained_run, detail.created_at, detail.updated_at, detail.file_path, detail.metrics,
        detail.training_dataset, detail.training_parameters, detail.description
    FROM t_ai_models AS model JOIN model_details AS detail ON detail.model_id = model.id;

-- The broker's rows could be made again from the runs that are not over, and are: a place in the queue now says more.
DROP TABLE queue;
CREATE TABLE queue (
    number              INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id              TEXT NOT NULL UNIQUE,
    queue               TEXT NOT NULL,
    -- 0 comes first.
    priority            INTEGER NOT NULL,
    deliveries          INTEGER NOT NULL DEFAULT 0,
    -- All three absent while it waits.
    receipt             TEXT,
    worker              TEXT,
    lease_until         TEXT,
    -- What is to be done.
    job                 TEXT NOT NULL,
    CHECK ((receipt IS NULL) = (lease_until IS NULL) AND (receipt IS NULL) = (worker IS NULL))
);
CREATE INDEX queue_in_order ON queue (priority, number);

CREATE TABLE schedules (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    name                TEXT NOT NULL,
    model_id            INTEGER NOT NULL REFERENCES t_ai_models (id) ON DELETE CASCADE,
    cron                TEXT NOT NULL,
    time_zone           TEXT NOT NULL,
    enabled             INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    missed              TEXT NOT NULL CHECK (missed IN ('skip', 'once')),
    submission          TEXT NOT NULL,
    -- Absent while it is off.
    next_at             TEXT,
    last_at             TEXT,
    last_run            TEXT,
    last_error          TEXT,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL
);
CREATE INDEX schedules_due ON schedules (next_at);
CREATE INDEX schedules_by_model ON schedules (model_id);

-- What one process does for all, such as keeping the schedules: whoever holds the office until then.
CREATE TABLE offices (
    name                TEXT PRIMARY KEY,
    holder              TEXT NOT NULL,
    until               TEXT NOT NULL
) WITHOUT ROWID;

-- `only` is a reserved word elsewhere.
ALTER TABLE health RENAME COLUMN only TO one;
