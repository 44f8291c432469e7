//! What a training learns from, as it is described: `training_dataset`, with the fields of every source.

use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a training learns from: where rows come from, and how they become a data set. Which fields there are depends on
/// `source`: `dataset_id` is of `upload`, `path` of `file`, and those from `database` to `refresh` are of `tdengine`; all
/// others every source has. A field that the source does not have is refused.
///
/// `tdengine` reads rows of devices from the TDengine server that the operator has configured. Rows are those with
/// `start_time <= time < end_time`: the end itself is not read. A time is written as
/// - RFC 3339, `2024-05-01T08:00:00+08:00`;
/// - `2024-05-01 08:00:00` or `2024-05-01`, in `time_zone`;
/// - a number of seconds, milliseconds, microseconds or nanoseconds since 1970, which of them by its size: seconds below
///   100 000 000 000, then a thousand times as much each;
/// - `now`, or so long before it: `-90s`, `-15m`, `-12h`, `-30d`, `-8w`, `-6M` (months), `-2y`.
///
/// Names of databases, tables, columns and tags are letters, digits and underscores, do not begin with a digit, and must
/// be there. A request is never read as SQL.
#[derive(ToSchema)]
#[schema(examples(
    json!({"device_id": "machine-7", "start_time": "2024-01-01 00:00:00", "end_time": "2024-02-01 00:00:00"}),
    json!({
        "source": "tdengine", "database": "plant", "table": "meters", "device_id": ["pump-1", "pump-2"],
        "tags": {"site": "berlin"}, "start_time": "-30d", "end_time": "now", "time_zone": "Europe/Berlin",
        "columns": ["current", "voltage"], "target": "current", "interval": "10m",
        "aggregate": {"current": "avg", "voltage": "max"}, "fill": "linear", "lookback": 96, "horizon": 24,
    }),
    json!({
        "source": "upload", "dataset_id": "4f4c5c0e-7f1c-4b3b-9a53-9b8a3c1f5d2e", "target": "temp_max",
        "lookback": 60, "horizon": 7, "split": "0.7/0.1/0.2", "preprocess": {"missing": "linear"},
    }),
    json!({"source": "file", "path": "plant/pump.csv", "task": "regression", "target": "flow"})
))]
pub struct TrainingDataset {
    /// Where rows come from: `upload`, a data set that was uploaded; `file`, a file on the worker's machine; `tdengine`,
    /// a database. May be left out where there is a `device_id`: it is `tdengine` then, as in the original.
    #[schema(required = false)]
    source: SourceKind,
    /// upload: the id that the upload gave.
    #[schema(required = false)]
    dataset_id: String,
    /// file: below a folder that the worker's operator allows.
    #[schema(required = false)]
    path: String,
    /// tdengine: the database; the configured one when it is not said.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_]*$", max_length = 192)]
    database: Option<String>,
    /// tdengine: a super table, or a table; `device_data` when it is not said.
    #[schema(
        required = false,
        pattern = "^[A-Za-z_][A-Za-z0-9_]*$",
        max_length = 192,
        default = "device_data"
    )]
    table: String,
    /// tdengine: the device, or a list of devices, by the values of `device_column`. Several become one data set; windows
    /// and splits never cross a device. All devices that `tags` leaves when it is not said.
    #[schema(examples(json!("machine-7"), json!(["pump-1", "pump-2"])))]
    device_id: Option<OneOrMoreValues>,
    /// tdengine: values that tags or columns must have, by name: one, or a list of which any will do.
    #[schema(required = false, examples(json!({"site": "berlin", "line": [1, 2]})))]
    tags: BTreeMap<String, OneOrMoreValues>,
    /// tdengine: the first time; from the first row when it is not said.
    #[schema(examples(json!("2024-05-01 08:00:00"), json!("2024-05-01T08:00:00+08:00"), json!(1714521600), json!("-30d")))]
    start_time: Option<Moment>,
    /// tdengine: the time before which the rows end; it is not read itself. The moment of reading when it is not said.
    #[schema(examples(json!("2024-06-01"), json!("now"), json!("-1d")))]
    end_time: Option<Moment>,
    /// tdengine: the zone of times without an offset, and of windows of days and longer, by its name in the IANA data base.
    #[schema(required = false, default = "Asia/Shanghai", example = "Europe/Berlin")]
    time_zone: String,
    /// tdengine: the width of windows of time that the database makes one row of each: a number and a unit (ns, us, ms, s,
    /// m, h, d, w, M for months, y). All rows as they are when it is not said.
    #[schema(pattern = "^[0-9]+(ns|b|us|u|ms|a|s|m|min|h|d|w|M|n|month|y)$", example = "10m")]
    interval: Option<String>,
    /// tdengine: what becomes of the values in a window: one function for all columns, or an object of one for each. The
    /// mean (`avg`) when it is not said. Needs an `interval`.
    aggregate: Option<Aggregates>,
    /// tdengine: what stands in windows without rows: `none`, they are left out; `null`, a missing value; `previous`, the
    /// value before; `linear`, between the neighbours; `{"value": 0}`, a number. Needs an `interval`.
    #[schema(required = false, default = "none")]
    fill: Fill,
    /// tdengine: at most so many rows of each device, the earliest ones.
    #[schema(minimum = 1)]
    limit: Option<u64>,
    /// tdengine: reads all rows again, even if they were fetched before. Without it, rows that were overwritten in place
    /// since then may not be noticed.
    #[schema(required = false, default = false)]
    refresh: bool,
    /// What is to be learned; follows from window and plugin when it is not said.
    task: Option<Task>,
    /// The time column; found by its name when it is not said. TDengine knows it.
    time: Option<String>,
    /// The column, or tag of TDengine's, that tells devices apart. Of `tdengine`, `device_id`, or where there is none the
    /// tables of a super table, when it is not said; of other sources, all rows are of one device.
    device_column: Option<String>,
    /// What to learn from; all columns of numbers when it is not said (of the table `device_data`, `value`).
    columns: Option<Vec<String>>,
    /// What to predict: a column or several.
    #[schema(required = false)]
    target: OneOrMore,
    /// Rows that a forecast looks back on; goes with `horizon`. Of `tdengine`, 96 when neither is said.
    #[schema(minimum = 1)]
    lookback: Option<u32>,
    /// Rows that a forecast looks ahead; goes with `lookback`. Of `tdengine`, 24 when neither is said.
    #[schema(minimum = 1)]
    horizon: Option<u32>,
    /// Training/validation/test in order of time, as fractions or rows; of each device on its own.
    #[schema(required = false, example = "0.7/0.1/0.2")]
    split: String,
    /// What happens to rows before training.
    #[schema(required = false)]
    preprocess: Preprocess,
}

/// Where rows come from.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum SourceKind {
    Upload,
    File,
    Tdengine,
}

/// What is to be learned.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Task {
    Forecasting,
    Regression,
    Classification,
}

/// A name or several.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A value of a tag: a text, a number, or true or false. A text has no control characters.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum TagValue {
    Text(String),
    Number(f64),
    Bool(bool),
}

/// A value or several.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum OneOrMoreValues {
    One(TagValue),
    More(Vec<TagValue>),
}

/// A point in time: a text, or a number counted since 1970.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Moment {
    Text(String),
    Count(i64),
}

/// What becomes of a window's values: the mean, the smallest, the largest, the sum, how many there are, the first, the
/// last, the largest less the smallest, the standard deviation.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Aggregate {
    Avg,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
    Spread,
    Stddev,
}

/// A function for all columns, or one for each by its name; the mean for those that are not named.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Aggregates {
    All(Aggregate),
    ByColumn(BTreeMap<String, Aggregate>),
}

/// What stands in windows without rows.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    None,
    Null,
    Previous,
    Linear,
    Value(f64),
}

/// What happens to rows before training.
#[derive(ToSchema)]
pub struct Preprocess {
    /// Missing values: auto, error, drop, forward, linear or mean.
    #[schema(required = false)]
    missing: String,
    /// How columns are scaled, by the training rows: none, standard, min_max or robust.
    #[schema(required = false)]
    scaling: String,
    /// Whether targets are scaled too.
    #[schema(required = false)]
    scale_target: bool,
    /// Whether rows are sorted by time.
    #[schema(required = false)]
    sort: bool,
    /// Repeated times: error, first, last or mean.
    #[schema(required = false)]
    duplicates: String,
}

/// Where predictions are written, too: a super table of TDengine, made when it is missing, with a table for each run and
/// device. Its columns are `ts` and those of the prediction, its tags `run_id`, `model_id` and `device_id`. Rows of the
/// same run, device and time are written over.
#[derive(ToSchema)]
pub struct Sink {
    /// The database, which must be there; the configured one when it is not said.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_]*$", max_length = 192)]
    database: Option<String>,
    /// The super table.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_]*$", max_length = 192, example = "predictions")]
    table: String,
    /// The device that the predictions are for; that of the data set, if it has one alone, when it is not said.
    #[schema(max_length = 128)]
    device_id: Option<String>,
}
