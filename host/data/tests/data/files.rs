//! Small files and specs for the tests.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use trainyard_data::{DataError, Dataset, PrepareSpec, Task, Window};

/// A file that is gone when this is.
pub struct TestFile {
    folder: TempDir,
    name: String,
}

impl TestFile {
    pub fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), content).unwrap();
        Self {
            folder,
            name: name.to_owned(),
        }
    }

    pub fn csv(content: impl AsRef<[u8]>) -> Self {
        Self::new("machine.csv", content)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// What an error says, with the folder taken off the file's name.
    pub fn message(&self, error: &DataError) -> String {
        let message = error.to_string();
        assert!(!message.contains(['\n', '\r']), "more than a line: {message}");
        message.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// The message of the error that preparing this file ends in.
    pub fn refusal(&self, spec: &PrepareSpec) -> String {
        self.message(&Dataset::open(&self.path(), spec).unwrap_err())
    }
}

/// A forecasting spec with short windows and a split of 60/20/20 percent.
pub fn forecast(lookback: u32, horizon: u32) -> PrepareSpec {
    let mut spec = PrepareSpec::new(Task::Forecasting);
    spec.window = Some(Window { lookback, horizon });
    spec.split = "0.6/0.2/0.2".parse().unwrap();
    spec
}

/// A tabular spec with a target.
pub fn table(task: Task, target: &str) -> PrepareSpec {
    let mut spec = PrepareSpec::new(task);
    spec.target = vec![target.to_owned()];
    spec
}

/// Hourly rows of two columns: `a` counts up, `b` swings. `edit` may change the text of a cell (row, column).
pub fn hourly(rows: usize, edit: impl Fn(usize, &str) -> Option<String>) -> TestFile {
    let mut text = "date,a,b\n".to_owned();
    for row in 0..rows {
        let cell = |name: &str, value: String| edit(row, name).unwrap_or(value);
        let date = cell("date", format!("2024-01-{:02} {:02}:00:00", 1 + row / 24, row % 24));
        let (a, b) = (
            cell("a", format!("{row}")),
            cell("b", format!("{}", (row as f64 * 0.7).sin())),
        );
        text += &format!("{date},{a},{b}\n");
    }
    TestFile::csv(text)
}

/// A file of `shared/data` beside the checkout; `None`, with a message, where there is none.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}
