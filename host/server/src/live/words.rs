//! How events are written, for both kinds of stream.

use super::{Message, RowEvent};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use trainyard_jobs::{Event, RunId};

/// A message in parts: its id, its event's name (none for a log line), its data as JSON.
pub struct Parts {
    pub id: Option<u64>,
    pub name: Option<&'static str>,
    pub data: String,
}

/// The parts of a message; none where there is nothing to say but that the stream is alive.
pub fn parts(message: &Message) -> Option<Parts> {
    Some(match message {
        Message::Alive => return None,
        Message::Entry(entry) => Parts {
            id: Some(entry.number),
            name: entry.event.name(),
            data: text(&Data {
                run: &entry.run_id,
                event: &entry.event,
            }),
        },
        Message::Gap { after, next } => Parts {
            id: None,
            name: Some("gap"),
            data: text(&json!({"after": after, "next": next})),
        },
        Message::FromRow {
            run: Some(run),
            event: RowEvent::Happened(event),
        } => Parts {
            id: None,
            name: event.name(),
            data: text(&Data { run, event }),
        },
        Message::FromRow { .. } => Parts {
            id: None,
            name: Some("end"),
            data: text(&json!({"run_id": Value::Null, "status": Value::Null, "error": Value::Null})),
        },
    })
}

fn text(data: &impl Serialize) -> String {
    // Names are texts and numbers finite or null: nothing here can fail.
    serde_json::to_string(data).unwrap_or_default()
}

/// An event's data. A log line is what the original sends, no more; others say which run they are about.
struct Data<'a> {
    run: &'a RunId,
    event: &'a Event,
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !matches!(self.event, Event::Log { .. }) {
            map.serialize_entry("run_id", self.run)?;
        }
        match self.event {
            Event::Log {
                timestamp,
                level,
                message,
            } => {
                map.serialize_entry("timestamp", timestamp)?;
                map.serialize_entry("level", level)?;
                map.serialize_entry("message", message)?;
            }
            Event::Status {
                status,
                progress,
                attempt,
            } => {
                map.serialize_entry("status", status)?;
                map.serialize_entry("progress", progress)?;
                map.serialize_entry("attempt", attempt)?;
            }
            Event::Progress {
                timestamp,
                progress,
                current,
                total,
                metrics,
                seconds_left,
            } => {
                map.serialize_entry("timestamp", timestamp)?;
                map.serialize_entry("progress", progress)?;
                map.serialize_entry("current", current)?;
                map.serialize_entry("total", total)?;
                map.serialize_entry("metrics", metrics)?;
                map.serialize_entry("seconds_left", seconds_left)?;
            }
            Event::Usage(usage) => {
                map.serialize_entry("cpu_percent", &usage.cpu_percent)?;
                map.serialize_entry("memory_mb", &usage.memory_mb)?;
                map.serialize_entry("gpu_util", &usage.gpu_util)?;
                map.serialize_entry("duration_seconds", &usage.duration_seconds)?;
                if let Some(device) = &usage.device {
                    map.serialize_entry("device", device)?;
                }
                // Of a run on a card alone.
                for (name, figure) in [
                    ("gpu_memory_mb", usage.gpu_memory_mb),
                    ("gpu_temperature_c", usage.gpu_temperature_c),
                    ("gpu_power_w", usage.gpu_power_w),
                ] {
                    if let Some(figure) = figure {
                        map.serialize_entry(name, &figure)?;
                    }
                }
            }
            Event::End { status, error } => {
                map.serialize_entry("status", status)?;
                map.serialize_entry("error", error)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use trainyard_jobs::{Entry, LogLevel, ResourceUsage, RunState};

    fn said(event: Event) -> (Option<&'static str>, Value) {
        let entry = Entry {
            number: 7,
            run_id: "r".into(),
            event,
        };
        let parts = parts(&Message::Entry(Arc::new(entry))).unwrap();
        assert_eq!(parts.id, Some(7));
        (parts.name, serde_json::from_str(&parts.data).unwrap())
    }

    #[test]
    fn a_log_line_is_as_in_the_original() {
        let timestamp = "2025-12-11T08:00:00Z".parse().unwrap();
        let line = Event::Log {
            timestamp,
            level: LogLevel::Info,
            message: "Epoch 1/100,\nLoss: 0.523".into(),
        };
        let expected =
            json!({"timestamp": "2025-12-11T08:00:00Z", "level": "INFO", "message": "Epoch 1/100,\nLoss: 0.523"});
        assert_eq!(said(line), (None, expected));
    }

    #[test]
    fn other_events_name_their_run() {
        let usage = ResourceUsage {
            cpu_percent: 1.0,
            ..Default::default()
        };
        for event in [
            Event::Status {
                status: RunState::Training,
                progress: 5.0,
                attempt: 1,
            },
            Event::Usage(usage),
            Event::End {
                status: RunState::Error,
                error: Some("x".into()),
            },
        ] {
            let name = event.name();
            let (said_name, data) = said(event.clone());
            assert_eq!(said_name, name);
            assert_eq!(data["run_id"], "r");
            // Every field of the event is in it.
            let mut whole = serde_json::to_value(&event).unwrap();
            whole.as_object_mut().unwrap().remove("event");
            for (field, value) in whole.as_object().unwrap() {
                assert_eq!(&data[field], value, "{field}");
            }
        }
    }
}
