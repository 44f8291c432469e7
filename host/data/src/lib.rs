//! Turns files of readings into batches that a training step can use.
//!
//! A CSV or Parquet file is read into a [`Frame`] (named columns and one time column). A [`PrepareSpec`] says what to
//! learn from it: which columns, how it is split by time, what happens to missing values, how it is scaled. The result is
//! a [`Dataset`]: one scaled matrix that batches and sliding windows are gathered from, never a copy per window.
//! What was learned from the training rows is a [`Preprocessing`], stored with the model and applied again to predict.
//! Rows may be of several devices, told apart by a column ([`PrepareSpec::device`]): each is then a series of its own.
//!
//! ```no_run
//! use trainyard_data::{BatchOptions, Dataset, DType, PrepareSpec, SplitName, Task, Window};
//!
//! # fn main() -> Result<(), trainyard_data::DataError> {
//! let mut spec = PrepareSpec::new(Task::Forecasting);
//! spec.window = Some(Window { lookback: 336, horizon: 96 });
//! spec.split = "8640/2880/2880".parse()?;
//! let data = Dataset::open("ETTh1.csv".as_ref(), &spec)?;
//! let options = BatchOptions { batch_size: 32, shuffle: Some((7, 0)), drop_last: false, dtype: DType::F32 };
//! for batch in data.batches(SplitName::Train, options)? {
//!     assert_eq!(batch.x_shape, [batch.size, 336, 7]);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing that is fitted (scales, means, class order) ever looks at validation or test rows. Every refusal is a
//! [`DataError`]: one line with the file, the row or column, and what to do about it.
//!
//! WebAssembly, HTTP, jobs and tensors are unknown here: batches are plain buffers with shapes.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arrays;
mod assemble;
mod batches;
mod csv;
mod cut;
mod dataset;
mod devices;
mod error;
mod fingerprint;
mod frame;
mod gaps;
mod ipc;
mod json;
mod labels;
mod matrix;
mod missing;
mod order;
mod overview;
mod parquet;
mod predict;
mod prepare;
mod preprocessing;
mod runs;
mod scaling;
mod select;
mod series;
mod short;
mod shuffle;
mod spec;
mod split;
mod step;
mod summary;
mod table;
pub mod tdengine;
mod text;
mod time;
mod warning;
mod window;

pub use batches::{Batch, BatchOptions, Batches};
pub use dataset::{Dataset, Schema};
pub use devices::DeviceSummary;
pub use error::{DataError, Place};
pub use frame::{Column, Frame, ReadOptions, TextValues, TimeColumn, Values};
pub use gaps::{Gap, Gaps};
pub use matrix::{Buffer, DType, Table};
pub use overview::{ColumnOverview, Overview, OverviewOptions};
pub use preprocessing::{FittedColumn, Preprocessing};
pub use shuffle::permutation;
pub use spec::{DataFormat, Duplicates, Missing, PrepareSpec, Scaling, SplitName, Task, Window};
pub use split::Split;
pub use step::Step;
pub use summary::{SplitSummary, Summary};
pub use time::{Precision, TimeFormat, format_time};
pub use warning::{ShortDevice, Warning};
