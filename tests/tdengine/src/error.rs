//! What the server says when it refuses a statement. The numbers are those of
//! <https://docs.tdengine.com/tdengine-reference/error-codes/>, without the bit that marks an error in the server.

/// A refusal: TDengine's error number and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// TDengine's number for this kind of error, such as 9728 for a syntax error.
    pub code: i32,
    /// The text beside it.
    pub message: String,
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[0x{:04X}] {}", self.code, self.message)
    }
}

impl std::error::Error for SqlError {}

impl SqlError {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The rest of the statement from the word that was not understood.
    pub(crate) fn syntax(near: &str) -> Self {
        match near.trim() {
            "" => Self::new(0x2601, "Incomplete SQL statement"),
            _ => Self::new(0x2600, format!("syntax error near \"{near}\"")),
        }
    }

    pub(crate) fn column(name: &str) -> Self {
        Self::new(0x2602, format!("Invalid column name: {name}"))
    }

    pub(crate) fn no_table() -> Self {
        Self::new(0x2662, "Fail to get table info, error: Table does not exist")
    }

    pub(crate) fn no_database_of_table() -> Self {
        Self::new(0x2662, "Fail to get table info, error: Database not exist")
    }

    pub(crate) fn no_database() -> Self {
        Self::new(0x0388, "Database not exist")
    }

    pub(crate) fn too_long() -> Self {
        Self::new(0x0219, "SQL statement too long")
    }

    pub(crate) fn denied() -> Self {
        Self::new(0x2644, "Permission denied or target object not exist")
    }

    pub(crate) fn no_window() -> Self {
        Self::new(0x2658, "Invalid windows pc")
    }

    pub(crate) fn not_single_group() -> Self {
        Self::new(0x260C, "Not a single-group group function")
    }
}
