//! From the command line's words about data to a data set.

use crate::args::DataOptions;
use crate::failure::{Failure, Result};
use trainyard_data::{Dataset, Frame, PrepareSpec, ReadOptions, Task, Values, Window};
use trainyard_sandbox::Description;

/// Reads the file and prepares it for a plugin.
pub fn prepare(options: &DataOptions, description: &Description) -> Result<Dataset> {
    let Some(file) = &options.file else {
        return Err(Failure::Usage("say what to learn from with --data FILE".into()));
    };
    let read = ReadOptions {
        time: options.time.clone(),
        ..ReadOptions::default()
    };
    prepared(Frame::read(file, &read)?, options, description)
}

/// Prepares rows that have been read.
pub fn prepared(frame: Frame, options: &DataOptions, description: &Description) -> Result<Dataset> {
    let task = task(options, description, &frame)?;
    let window = match (options.lookback, options.horizon) {
        (None, None) => None,
        (Some(lookback), Some(horizon)) => Some(Window { lookback, horizon }),
        _ => {
            return Err(Failure::Usage(
                "--lookback and --horizon go together: how many rows to look back on, and how many ahead".into(),
            ));
        }
    };
    let spec = PrepareSpec {
        time: options.time.clone(),
        features: options.features.clone(),
        target: options.target.clone(),
        split: options.split,
        missing: options.missing,
        scaling: options.scaling,
        window,
        sort: options.sort,
        duplicates: options.duplicates,
        ..PrepareSpec::new(task)
    };
    Ok(Dataset::prepare(frame, &spec)?)
}

/// What the person wants to learn: said, or what window and target point to, among what the plugin can.
fn task(options: &DataOptions, description: &Description, frame: &Frame) -> Result<Task> {
    let can = |task: Task| description.tasks.iter().any(|t| t == task.as_str());
    let task = match (options.task, options.lookback.or(options.horizon), &options.target[..]) {
        (Some(task), _, _) => task,
        (None, Some(_), _) => Task::Forecasting,
        (None, None, [target])
            if can(Task::Classification) && matches!(frame.column(target)?.values, Values::Text(_)) =>
        {
            Task::Classification
        }
        (None, None, [_, ..]) if can(Task::Regression) => Task::Regression,
        (None, None, _) => Task::ALL
            .iter()
            .copied()
            .find(|&task| can(task))
            .unwrap_or(Task::Forecasting),
    };
    if can(task) {
        return Ok(task);
    }
    Err(Failure::Usage(format!(
        "the plugin {} does {}, not {task}; choose it with --task, or another plugin",
        description.name,
        description.tasks.join(" and ")
    )))
}
