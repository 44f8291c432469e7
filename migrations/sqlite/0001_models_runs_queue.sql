-- Times are texts, RFC 3339 in UTC with microseconds, so that they sort as they happened. JSON is text.
-- Short columns come first: SQLite reads a row up to the column it needs.

-- The original's table with the original's columns progress, task_id, error_log, started_at, finished_at, resource_usage.
CREATE TABLE t_ai_models (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    status              TEXT NOT NULL DEFAULT 'DRAFT'
                        CHECK (status IN ('DRAFT', 'PENDING', 'PREPARING', 'TRAINING', 'TRAINED', 'ERROR')),
    plugin              TEXT NOT NULL,
    plugin_version      TEXT,
    name                TEXT NOT NULL,
    -- The name in lower case: SQLite itself folds ASCII only.
    name_folded         TEXT NOT NULL,
    progress            DOUBLE PRECISION NOT NULL DEFAULT 0.0 CHECK (progress BETWEEN 0 AND 100),
    task_id             VARCHAR(64),
    trained_run         TEXT,
    started_at          TEXT,
    finished_at         TEXT,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL,
    resource_usage      TEXT NOT NULL DEFAULT '{}',
    file_path           TEXT,
    metrics             TEXT NOT NULL DEFAULT '{}',
    training_dataset    TEXT NOT NULL DEFAULT 'null',
    training_parameters TEXT NOT NULL DEFAULT '{}',
    description         TEXT NOT NULL DEFAULT '',
    error_log           TEXT,
    -- A model that is under way says which run it is.
    CHECK (status NOT IN ('PENDING', 'PREPARING', 'TRAINING') OR task_id IS NOT NULL)
);
CREATE INDEX models_by_status ON t_ai_models (status);
CREATE INDEX models_by_plugin ON t_ai_models (plugin);
CREATE INDEX models_by_dataset ON t_ai_models (training_dataset ->> '$.dataset_id');

CREATE TABLE runs (
    -- The order of submits.
    number              INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  TEXT NOT NULL UNIQUE,
    model_id            INTEGER NOT NULL REFERENCES t_ai_models (id) ON DELETE CASCADE,
    state               TEXT NOT NULL
                        CHECK (state IN ('PENDING', 'PREPARING', 'TRAINING', 'TRAINED', 'ERROR', 'CANCELLED')),
    progress            DOUBLE PRECISION NOT NULL DEFAULT 0.0 CHECK (progress BETWEEN 0 AND 100),
    attempt             INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    token               INTEGER NOT NULL DEFAULT 0,
    stop_requested      INTEGER NOT NULL DEFAULT 0 CHECK (stop_requested IN (0, 1)),
    worker              TEXT,
    plugin              TEXT NOT NULL,
    plugin_version      TEXT NOT NULL,
    plugin_digest       TEXT NOT NULL,
    seed                INTEGER NOT NULL,
    created_at          TEXT NOT NULL,
    started_at          TEXT,
    finished_at         TEXT,
    limits              TEXT NOT NULL,
    resource_usage      TEXT NOT NULL DEFAULT '{}',
    file_path           TEXT,
    checkpoint          TEXT,
    -- What the model was at the submit; a run that is stopped gives it back.
    model_before        TEXT NOT NULL,
    metrics             TEXT NOT NULL DEFAULT '{}',
    lineage             TEXT NOT NULL DEFAULT 'null',
    training_dataset    TEXT NOT NULL,
    training_parameters TEXT NOT NULL,
    error_log           TEXT,
    CHECK ((state IN ('TRAINED', 'ERROR', 'CANCELLED')) = (finished_at IS NOT NULL))
);
CREATE INDEX runs_by_model ON runs (model_id);
CREATE INDEX runs_by_plugin ON runs (plugin, plugin_version);
-- Whatever a program does wrong, a model has one run under way at most.
CREATE UNIQUE INDEX runs_one_active ON runs (model_id) WHERE state IN ('PENDING', 'PREPARING', 'TRAINING');
CREATE INDEX runs_unfinished ON runs (number) WHERE state IN ('PENDING', 'PREPARING', 'TRAINING');

CREATE TABLE run_series (
    run_id              TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name                TEXT NOT NULL,
    step                INTEGER NOT NULL,
    seconds             DOUBLE PRECISION NOT NULL,
    value               DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run_id, name, step)
) WITHOUT ROWID;

CREATE TABLE plugins (
    name                TEXT NOT NULL,
    version             TEXT NOT NULL,
    digest              TEXT NOT NULL,
    size                INTEGER NOT NULL,
    contract            TEXT,
    created_at          TEXT NOT NULL,
    summary             TEXT NOT NULL,
    tasks               TEXT NOT NULL,
    metrics             TEXT NOT NULL,
    parameters          TEXT NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE INDEX plugins_by_digest ON plugins (digest);

CREATE TABLE datasets (
    number              INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  TEXT NOT NULL UNIQUE,
    name                TEXT NOT NULL,
    format              TEXT NOT NULL,
    size                INTEGER NOT NULL,
    digest              TEXT NOT NULL,
    rows                INTEGER NOT NULL,
    created_at          TEXT NOT NULL,
    report              TEXT NOT NULL
);

CREATE TABLE tokens (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    name                TEXT NOT NULL,
    hash                BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes              TEXT NOT NULL,
    created_at          TEXT NOT NULL,
    expires_at          TEXT,
    revoked_at          TEXT
);

CREATE TABLE idempotency_keys (
    key                 TEXT PRIMARY KEY,
    fingerprint         TEXT NOT NULL,
    created_at          TEXT NOT NULL,
    -- Both absent while the request is being answered.
    status              INTEGER,
    body                TEXT,
    CHECK ((status IS NULL) = (body IS NULL))
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE audit_log (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    at                  TEXT NOT NULL,
    who                 TEXT NOT NULL,
    action              TEXT NOT NULL,
    subject             TEXT NOT NULL,
    details             TEXT NOT NULL
);

-- The broker's rows. They only say who does what next, and could be made again from the runs that are not over.
CREATE TABLE queue (
    number              INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id              TEXT NOT NULL UNIQUE,
    queue               TEXT NOT NULL,
    deliveries          INTEGER NOT NULL DEFAULT 0,
    -- All three absent while it waits.
    receipt             TEXT,
    worker              TEXT,
    lease_until         TEXT,
    CHECK ((receipt IS NULL) = (lease_until IS NULL) AND (receipt IS NULL) = (worker IS NULL))
);

-- One row, written to see whether writing works.
CREATE TABLE health (
    only                INTEGER PRIMARY KEY CHECK (only = 1),
    checked_at          TEXT NOT NULL
);
