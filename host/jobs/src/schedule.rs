//! Trainings at their times: a cron pattern in a time zone.

use crate::{ModelId, RunId, Timestamp};
use chrono::Utc;
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What becomes of times that passed while no server was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// Nothing: the next time counts.
    #[default]
    Skip,
    /// One training, for all of them.
    Once,
}

impl Missed {
    /// The name in rows and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Missed::Skip => "skip",
            Missed::Once => "once",
        }
    }

    /// The policy of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Missed::Skip, Missed::Once]
            .into_iter()
            .find(|policy| policy.as_str() == name)
    }
}

/// A schedule as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Given by the store.
    pub id: i64,
    /// What its owner calls it.
    pub name: String,
    /// The model that is trained.
    pub model_id: ModelId,
    /// Minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// Whose clock that is, such as `Asia/Shanghai`.
    pub time_zone: String,
    /// Whether it is on.
    pub enabled: bool,
    /// What becomes of missed times.
    pub missed: Missed,
    /// What is asked of each training: as the body of a submit.
    pub submission: Map<String, Value>,
    /// The next time; none while it is off.
    pub next_at: Option<Timestamp>,
    /// The last time that it did something.
    pub last_at: Option<Timestamp>,
    /// The last training.
    pub last_run: Option<RunId>,
    /// Why the last time came to nothing, if it did.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed by somebody.
    pub updated_at: Timestamp,
}

/// What a new schedule is to be, or a changed one. Everything is checked before.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSchedule {
    /// What its owner calls it.
    pub name: String,
    /// The model that is trained.
    pub model_id: ModelId,
    /// See [`next_after`].
    pub cron: String,
    /// A name of the IANA database.
    pub time_zone: String,
    /// Whether it is on.
    pub enabled: bool,
    /// What becomes of missed times.
    pub missed: Missed,
    /// What is asked of each training.
    pub submission: Map<String, Value>,
}

/// What became of a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// The time that was due: whoever finds another has come too late.
    pub due: Timestamp,
    /// The next one.
    pub next: Option<Timestamp>,
    /// The training, if there is one.
    pub run: Option<RunId>,
    /// Why there is none.
    pub error: Option<String>,
}

/// The first time after another that a pattern fits. Five fields, with `*`, `,`, `-`, `/`, names of months and days, `L` and
/// `#`. Where clocks go back, an hour that comes twice counts once; where they go forward, a time that never comes is
/// made up for when they do.
pub fn next_after(cron: &str, time_zone: &str, after: Timestamp) -> Result<Timestamp, String> {
    let zone: Tz = time_zone
        .parse()
        .map_err(|_| format!("there is no time zone {time_zone:?}; it is a name such as Asia/Shanghai or UTC"))?;
    let pattern = pattern(cron)?;
    pattern
        .find_next_occurrence(&after.with_timezone(&zone), false)
        .map(|time| time.with_timezone(&Utc))
        .map_err(|_| format!("the time {cron:?} never comes"))
}

fn pattern(cron: &str) -> Result<Cron, String> {
    CronParser::builder()
        .seconds(Seconds::Disallowed)
        .build()
        .parse(cron)
        .map_err(|error| {
            format!(
                "{cron:?} is no time: {error}; it is minute, hour, day, month and day of the week, such as \"30 2 * * *\" \
                 for every night at half past two"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, zone: &str, after: &str) -> String {
        next_after(cron, zone, after.parse().unwrap()).unwrap().to_rfc3339()
    }

    #[test]
    fn a_time_is_of_the_zones_own_clock() {
        assert_eq!(
            next("30 2 * * *", "Asia/Shanghai", "2026-11-29T18:00:00Z"),
            "2026-11-29T18:30:00+00:00"
        );
        assert_eq!(
            next("30 2 * * *", "Asia/Shanghai", "2026-11-29T18:30:00Z"),
            "2026-11-30T18:30:00+00:00"
        );
        assert_eq!(
            next("0 9 * * MON-FRI", "Europe/Berlin", "2026-11-28T00:00:00Z"),
            "2026-11-30T08:00:00+00:00"
        );
        assert_eq!(
            next("*/15 * * * *", "UTC", "2026-12-31T23:50:00Z"),
            "2027-01-01T00:00:00+00:00"
        );
        assert_eq!(
            next("0 0 L * *", "UTC", "2028-02-01T00:00:00Z"),
            "2028-02-29T00:00:00+00:00"
        );
    }

    #[test]
    fn every_night_has_one_training_when_clocks_change() {
        // Berlin: 2026-03-29 has no 02:30, 2026-10-25 has it twice.
        for (from, nights) in [("2026-03-27T12:00:00Z", 4), ("2026-10-23T12:00:00Z", 4)] {
            let mut at: Timestamp = from.parse().unwrap();
            let mut days = Vec::new();
            for _ in 0..nights {
                at = next_after("30 2 * * *", "Europe/Berlin", at).unwrap();
                days.push(at.with_timezone(&chrono_tz::Europe::Berlin).date_naive());
            }
            let all = days.len();
            days.dedup();
            assert_eq!(days.len(), all, "{days:?}");
            assert_eq!((days[3] - days[0]).num_days(), 3, "{days:?}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_with_an_example() {
        for (cron, zone, words) in [
            ("every night", "UTC", "such as"),
            ("61 * * * *", "UTC", "is no time"),
            ("* * * * * *", "UTC", "is no time"),
            ("", "UTC", "is no time"),
            ("0 0 30 2 *", "UTC", "never comes"),
            ("0 0 * * *", "Mars/Olympus", "no time zone"),
        ] {
            let error = next_after(cron, zone, Utc::now()).unwrap_err();
            assert!(error.contains(words), "{cron}: {error}");
        }
    }
}
