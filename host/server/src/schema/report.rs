//! What a table turned out to be, as it is described.

use serde_json::Value;
use utoipa::ToSchema;

/// What a table turned out to be.
#[derive(ToSchema)]
pub struct DataReport {
    /// Its rows, as far as they were read.
    rows: u64,
    /// Rows that the source has, where not all were read.
    #[schema(required = false)]
    counted: u64,
    /// Its columns: the time first.
    columns: Vec<ColumnReport>,
    /// First and last time, where there is a time column.
    time: Option<Vec<String>>,
    /// Where rows are missing in time; absent without a time column, or where rows are not in its order.
    #[schema(required = false)]
    gaps: GapReport,
    /// The devices, where a column tells them apart.
    #[schema(required = false)]
    devices: DevicesReport,
    /// The first rows, in the order of the columns.
    head: Vec<Vec<Value>>,
    /// What may be wrong.
    warnings: Vec<String>,
}

/// A column's figures.
#[derive(ToSchema)]
pub struct ColumnReport {
    /// Its name.
    name: String,
    /// number, text or time.
    r#type: String,
    /// Rows without a value.
    missing: u64,
    /// Different texts, in a column of text.
    #[schema(required = false)]
    distinct: u64,
    /// The smallest number.
    #[schema(required = false)]
    min: f64,
    /// The largest number.
    #[schema(required = false)]
    max: f64,
    /// The numbers' mean.
    #[schema(required = false)]
    mean: f64,
    /// The numbers' course, of the first device: means of up to 60 equal stretches of rows; null where a stretch has none.
    #[schema(required = false)]
    spark: Vec<Option<f64>>,
}

/// Where rows are missing in time.
#[derive(ToSchema)]
pub struct GapReport {
    /// The usual distance between rows.
    #[schema(example = "1 h")]
    step: String,
    /// How many gaps there are: distances of more than 1.5 usual steps of the same device.
    count: u64,
    /// Rows that would fill them.
    missing_rows: u64,
    /// The longest of them, longest first.
    longest: Vec<Gap>,
}

/// A gap.
#[derive(ToSchema)]
pub struct Gap {
    /// The device in whose rows it is, where there are several.
    #[schema(required = false)]
    device: String,
    /// The last time before it.
    from: String,
    /// The first time after it.
    to: String,
    /// Rows that would fill it.
    missing_rows: u64,
}

/// The devices of a table.
#[derive(ToSchema)]
pub struct DevicesReport {
    /// How many there are.
    count: u64,
    /// The first 50 of them.
    first: Vec<DeviceReport>,
}

/// A device's rows.
#[derive(ToSchema)]
pub struct DeviceReport {
    /// Its name.
    name: String,
    /// Its rows.
    rows: u64,
}
