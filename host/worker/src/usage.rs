//! What a run uses, from the operating system and from the driver of its card.

use crate::cards::{Cards, Reading, Seat};
use crate::process::Runner;
use std::time::Instant;
use trainyard_jobs::ResourceUsage;

/// Reads a runner's processor time and memory from time to time, and what its card does.
pub(crate) struct Meter {
    /// When, and the processor seconds then.
    before: Option<(Instant, f64)>,
    now: Option<(Instant, f64)>,
    /// Processor seconds before the job.
    earlier: f64,
    resident: u64,
    peak: u64,
    device: Option<String>,
    card: Option<CardMeter>,
}

/// What the card did of a job.
#[derive(Default)]
struct CardMeter {
    /// The process that the job is in.
    pid: u32,
    /// When the last reading was taken.
    last: Option<Instant>,
    utilization: Figure,
    memory: Figure,
    temperature: Figure,
    power: Figure,
}

/// A figure of which now one, now another reading is there.
#[derive(Debug, Default)]
struct Figure {
    now: Option<f64>,
    sum: f64,
    count: u32,
    most: Option<f64>,
}

impl Meter {
    pub fn new() -> Self {
        Meter {
            before: None,
            now: None,
            earlier: 0.0,
            resident: 0,
            peak: 0,
            device: None,
            card: None,
        }
    }

    /// The job begins in this runner, on this card if on one; what the runner used before is not the job's.
    pub fn begin(&mut self, runner: &Runner, seat: Option<&Seat>) {
        runner.forget_peak();
        self.earlier = runner.usage().map_or(0.0, |usage| usage.cpu_seconds);
        self.device = Some(seat.map_or_else(|| "cpu".to_owned(), Seat::described));
        self.card = seat.map(|_| CardMeter {
            pid: runner.pid(),
            // What was read before is not the job's.
            last: Some(Instant::now()),
            ..CardMeter::default()
        });
    }

    /// Takes a reading; none of a runner that is gone.
    pub fn sample(&mut self, runner: &Runner, cards: &Cards, seat: Option<&Seat>) {
        if let (Some(meter), Some(seat)) = (&mut self.card, seat) {
            meter.sample(cards.reading(seat));
        }
        let Some(usage) = runner.usage() else { return };
        self.now = Some((Instant::now(), usage.cpu_seconds));
        self.before = self.before.or(self.now);
        self.resident = usage.resident_bytes;
        self.peak = self.peak.max(usage.peak_bytes);
    }

    /// Bytes resident at the last reading.
    pub fn resident(&self) -> u64 {
        self.resident
    }

    /// Since the last time that this was asked.
    pub fn live(&mut self, seconds: f64) -> ResourceUsage {
        let usage = ResourceUsage {
            cpu_percent: match (self.before, self.now) {
                (Some((since, before)), Some((at, now))) if at > since => {
                    rounded(100.0 * (now - before) / (at - since).as_secs_f64())
                }
                _ => 0.0,
            },
            memory_mb: mebibytes(self.resident),
            ..self.usage(seconds, |figure| figure.now, |figure| figure.now)
        };
        self.before = self.now;
        usage
    }

    /// Of the whole run.
    pub fn total(&self, seconds: f64) -> ResourceUsage {
        let cpu = self.now.map_or(0.0, |(_, cpu)| cpu - self.earlier);
        ResourceUsage {
            cpu_percent: if seconds > 0.0 {
                rounded(100.0 * cpu / seconds)
            } else {
                0.0
            },
            memory_mb: mebibytes(self.peak),
            ..self.usage(seconds, Figure::mean, |figure| figure.most)
        }
    }

    /// The part that is the card's. `rate` says what counts of figures that come and go, `level` of those that are held.
    fn usage(
        &self,
        seconds: f64,
        rate: impl Fn(&Figure) -> Option<f64>,
        level: impl Fn(&Figure) -> Option<f64>,
    ) -> ResourceUsage {
        let card = self.card.as_ref();
        ResourceUsage {
            gpu_util: card.and_then(|card| rate(&card.utilization)).map_or(0.0, rounded),
            duration_seconds: rounded(seconds),
            device: self.device.clone(),
            gpu_memory_mb: card.and_then(|card| level(&card.memory)).map(rounded),
            gpu_temperature_c: card.and_then(|card| level(&card.temperature)).map(rounded),
            gpu_power_w: card.and_then(|card| rate(&card.power)).map(rounded),
            ..ResourceUsage::default()
        }
    }
}

impl CardMeter {
    /// Takes a reading in, if it is a new one. What the driver tells of the job's process counts over what the card does.
    fn sample(&mut self, reading: Option<(Instant, Reading)>) {
        let Some((at, reading)) = reading else {
            for figure in [
                &mut self.utilization,
                &mut self.memory,
                &mut self.temperature,
                &mut self.power,
            ] {
                figure.now = None;
            }
            return;
        };
        if self.last.is_some_and(|last| last >= at) {
            return;
        }
        self.last = Some(at);
        let own = reading.processes.get(&self.pid).copied();
        let idle = (own.is_some() && reading.tells_utilization).then_some(0.0);
        let own = own.unwrap_or_default();
        let memory = own.memory.or(reading.memory_used);
        // What its neighbours do is not the job's.
        self.utilization.add(own.utilization.or(idle).or(reading.utilization));
        self.memory.add(memory.map(|bytes| bytes as f64 / f64::from(1 << 20)));
        self.temperature.add(reading.temperature);
        self.power.add(reading.power);
    }
}

impl Figure {
    fn add(&mut self, value: Option<f64>) {
        self.now = value;
        let Some(value) = value else { return };
        self.sum += value;
        self.count += 1;
        self.most = Some(self.most.map_or(value, |most| most.max(value)));
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

fn mebibytes(bytes: u64) -> f64 {
    rounded(bytes as f64 / f64::from(1 << 20))
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cards::Share;
    use std::collections::HashMap;
    use std::time::Duration;

    fn reading(utilization: f64, memory: u64, watts: f64, own: Option<Share>) -> Reading {
        Reading {
            utilization: Some(utilization),
            memory_used: Some(memory << 20),
            temperature: Some(40.0),
            power: Some(watts),
            processes: own.map(|share| HashMap::from([(7, share)])).unwrap_or_default(),
            ..Reading::default()
        }
    }

    fn meter(readings: Vec<Option<Reading>>) -> Meter {
        let start = Instant::now();
        let mut card = CardMeter {
            pid: 7,
            ..CardMeter::default()
        };
        for (second, reading) in (0_u64..).zip(readings) {
            let at = start + Duration::from_secs(second);
            card.sample(reading.clone().map(|reading| (at, reading)));
            // The same once more counts once.
            card.sample(reading.map(|reading| (at, reading)));
        }
        Meter {
            card: Some(card),
            device: Some("cuda:1 (a card)".into()),
            ..Meter::new()
        }
    }

    #[test]
    fn a_card_counts_on_average_and_at_most() {
        let readings = vec![
            reading(10.0, 300, 50.0, None),
            reading(50.0, 900, 90.0, None),
            reading(60.0, 600, 100.0, None),
        ];
        let mut meter = meter(readings.into_iter().map(Some).collect());
        let live = meter.live(3.0);
        assert_eq!(
            (live.gpu_util, live.gpu_memory_mb, live.gpu_power_w),
            (60.0, Some(600.0), Some(100.0))
        );
        let total = meter.total(3.0);
        assert_eq!(
            (total.gpu_util, total.gpu_memory_mb, total.gpu_power_w),
            (40.0, Some(900.0), Some(80.0))
        );
        assert_eq!(total.gpu_temperature_c, Some(40.0));
        assert_eq!(total.device.as_deref(), Some("cuda:1 (a card)"));
    }

    #[test]
    fn what_is_told_of_the_process_counts_over_the_card() {
        let share = Share {
            memory: Some(100 << 20),
            utilization: Some(5.0),
        };
        let total = meter(vec![Some(reading(90.0, 5000, 300.0, Some(share)))]).total(1.0);
        assert_eq!((total.gpu_util, total.gpu_memory_mb), (5.0, Some(100.0)));
    }

    #[test]
    fn a_process_that_does_nothing_has_none_of_its_neighbours_load() {
        let share = Share {
            memory: Some(100 << 20),
            utilization: None,
        };
        let silent = reading(90.0, 5000, 300.0, Some(share));
        let telling = Reading {
            tells_utilization: true,
            ..silent.clone()
        };
        assert_eq!(meter(vec![Some(telling)]).total(1.0).gpu_util, 0.0);
        assert_eq!(meter(vec![Some(silent)]).total(1.0).gpu_util, 90.0);
    }

    #[test]
    fn without_readings_there_are_no_figures() {
        let mut meter = meter(vec![Some(reading(90.0, 5000, 300.0, None)), None]);
        let live = meter.live(1.0);
        assert_eq!(
            (
                live.gpu_util,
                live.gpu_memory_mb,
                live.gpu_temperature_c,
                live.gpu_power_w
            ),
            (0.0, None, None, None)
        );
        let none = Meter::new().total(1.0);
        let text = serde_json::to_string(&none).unwrap();
        assert!(!text.contains("gpu_memory_mb") && !text.contains("device"), "{text}");
    }
}
