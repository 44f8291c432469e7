//! What can go wrong between us and a TDengine server.

use std::time::Duration;

/// Why rows could not be read or written: one line that says what was wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TdengineError {
    code: &'static str,
    message: String,
    /// Whether another try may succeed.
    transient: bool,
}

/// Codes that the driver gives to what went wrong on the way to the server.
const DRIVER_CODES: std::ops::RangeInclusive<i32> = 0xE000..=0xE0FF;
/// What the driver calls an error that has no code.
const NO_CODE: i32 = 0xFFFF;

impl TdengineError {
    /// A name for the kind of error, such as `tdengine.login`, that stays the same when words change.
    pub fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn is_transient(&self) -> bool {
        self.transient
    }

    fn lasting(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            transient: false,
        }
    }

    fn passing(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            transient: true,
            ..Self::lasting(code, message)
        }
    }

    /// The request makes no sense, whatever the server holds.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::lasting("tdengine.bad-request", message)
    }

    /// The server does not have what the request names.
    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::lasting("tdengine.not-found", message)
    }

    pub(crate) fn no_rows(message: impl Into<String>) -> Self {
        Self::lasting("tdengine.no-rows", message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::lasting("tdengine.limit", message)
    }

    pub(crate) fn disk(what: &str, error: impl std::fmt::Display) -> Self {
        Self::lasting(
            "tdengine.disk",
            format!("{what}: {error}; see to the disk that holds the fetched data, and try again"),
        )
    }

    pub(crate) fn dsn(problem: impl std::fmt::Display) -> Self {
        Self::lasting(
            "tdengine.dsn",
            format!(
                "the DSN of TDengine cannot be used: {problem}; write ws://user:password@host:6041, wss://… or taos://user:password@host:6030?libraryPath=/usr/lib/libtaos.so"
            ),
        )
    }

    /// The server said nothing for too long.
    pub(crate) fn silent(server: &str, what: &str, waited: Duration) -> Self {
        Self::passing(
            "tdengine.timeout",
            format!(
                "TDengine at {server} did not answer within {} s ({what}); see whether it is overloaded or hangs",
                waited.as_secs_f64()
            ),
        )
    }

    /// The driver panicked.
    pub(crate) fn driver(server: &str, what: &str, panic: &str) -> Self {
        Self::passing(
            "tdengine.driver",
            format!("the driver failed on an answer of TDengine at {server} ({what}): {panic}"),
        )
    }

    /// The answer makes no sense.
    pub(crate) fn garbled(server: &str, problem: impl std::fmt::Display) -> Self {
        Self::passing(
            "tdengine.garbled",
            format!("an answer of TDengine at {server} cannot be read: {problem}"),
        )
    }

    /// Rows are missing.
    pub(crate) fn incomplete(range: &str, expected: u64, received: u64) -> Self {
        Self::passing(
            "tdengine.incomplete",
            format!("{range}: TDengine counts {expected} rows, but {received} came"),
        )
    }

    /// The same, saying what it is about.
    pub(crate) fn about(self, what: &str) -> Self {
        let message = format!("{what}: {}", self.message);
        Self { message, ..self }
    }

    /// After the last try.
    pub(crate) fn after_tries(self, range: &str, tries: u32) -> Self {
        let message = if self.message.starts_with(range) {
            format!("{} ({tries} tries)", self.message)
        } else {
            format!("{range}: {} ({tries} tries)", self.message)
        };
        Self { message, ..self }
    }

    /// What the driver or the server says.
    pub(crate) fn of_driver(server: &str, what: &str, error: &taos::Error) -> Self {
        let (number, message) = (i32::from(error.code()), clean(&error.message()));
        match number {
            // Authentication failure, no such user, and the like.
            0x0357 | 0x0350 | 0x0351 | 0x80FF_i32 => Self::lasting(
                "tdengine.login",
                format!(
                    "TDengine at {server} refuses the login: {message} (0x{number:04X}); see to user and password in the DSN"
                ),
            ),
            0x0303 | 0x2644 | 0x034D => Self::lasting(
                "tdengine.permission",
                format!(
                    "TDengine at {server} does not allow this: {message} (0x{number:04X}; {what}); grant the user of the DSN the right"
                ),
            ),
            _ if message.contains("401 Unauthorized") || number == 0xE006 => Self::lasting(
                "tdengine.login",
                format!("TDengine at {server} refuses the login: {message}; see to user, password or token in the DSN"),
            ),
            number if DRIVER_CODES.contains(&number) || number == NO_CODE => Self::passing(
                "tdengine.connection",
                format!(
                    "no connection to TDengine at {server}: {message} ({what}); see whether the server runs and the DSN names it"
                ),
            ),
            // The parser and the planner give the same answer again.
            0x2600..=0x26FF | 0x0300..=0x03FF => Self::lasting(
                "tdengine.refused",
                format!("TDengine at {server} refuses this: {message} (0x{number:04X}; {what})"),
            ),
            number => Self::passing(
                "tdengine.server",
                format!("TDengine at {server} reports: {message} (0x{number:04X}; {what})"),
            ),
        }
    }
}

/// One line, without the driver's chains of causes.
fn clean(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_refuses_is_final_and_what_the_way_breaks_is_not() {
        let error = |code: i32| TdengineError::of_driver("h:1", "a count", &taos::Error::new(code, "some words"));
        for (code, name, transient) in [
            (0x0357, "tdengine.login", false),
            (0x2602, "tdengine.refused", false),
            (0x0388, "tdengine.refused", false),
            (0xE002, "tdengine.connection", true),
            (0xFFFF, "tdengine.connection", true),
            (0x000B, "tdengine.server", true),
        ] {
            let error = error(code);
            assert_eq!((error.code(), error.is_transient()), (name, transient), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
    }
}
