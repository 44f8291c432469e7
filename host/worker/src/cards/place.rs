//! Where a job is to be done: on which card, on the processor, or not yet.
//!
//! Jobs share a card by what they were promised, as they share a machine's memory by their limits: a job is let onto a card while
//! all that the jobs there may hold, together, fits.

use std::collections::HashMap;
use trainyard_jobs::{CardDetails, DeviceChoice, RunId, WorkerRow};

/// Bytes of a card that are never promised: the driver's own, and what other programs take.
const RESERVE: u64 = 256 << 20;
/// Bytes that a process takes on a card besides its tensors: its context, compiled kernels, room for products of matrices.
const CONTEXT: u64 = 512 << 20;

/// The cards, and why there are none.
#[derive(Debug, Default)]
pub(super) struct State {
    pub cards: Vec<Card>,
    pub problem: Option<String>,
}

/// A card.
#[derive(Debug)]
pub(super) struct Card {
    /// Its number for the users of this worker.
    pub number: u32,
    /// What the driver calls it: a number among all cards of the machine, or an identity.
    pub visible: String,
    pub name: Option<String>,
    /// Bytes, where they are known.
    pub memory: Option<u64>,
    /// Whether it works; unknown until its first check.
    pub health: Option<Result<(), String>>,
    /// Bytes of tensors that each job on it may hold.
    pub promised: HashMap<RunId, u64>,
}

/// Where a job is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the card at this place of the list.
    Card(usize),
    /// On the processor; and why, where it could have been a card.
    Processor(Option<String>),
    /// Nowhere yet, and why; later here.
    Later(String),
    /// On another worker: no card works here, and why.
    Elsewhere(String),
    /// Nowhere, ever, and why.
    Never(String),
}

impl Card {
    pub fn new(number: u32, visible: String, name: Option<String>, memory: Option<u64>) -> Self {
        Card {
            number,
            visible,
            name,
            memory,
            health: None,
            promised: HashMap::new(),
        }
    }

    pub fn is_healthy(&self) -> bool {
        matches!(self.health, Some(Ok(())))
    }

    pub fn problem(&self) -> Option<&str> {
        match &self.health {
            Some(Ok(())) => None,
            Some(Err(problem)) => Some(problem),
            None => Some("it is being checked"),
        }
    }

    /// Bytes that are promised to the jobs on it.
    pub fn promised(&self) -> u64 {
        self.promised.values().map(|bytes| bytes + CONTEXT).sum()
    }

    /// Bytes that can be promised to a job when it is alone; without end where nobody knows.
    fn room(&self) -> u64 {
        let usable = self.memory.unwrap_or(u64::MAX).saturating_sub(RESERVE);
        usable.saturating_sub(CONTEXT)
    }

    /// Bytes that can be promised to one more job.
    fn left(&self) -> u64 {
        self.room().saturating_sub(self.promised())
    }

    fn called(&self) -> String {
        format!("cuda:{}", self.number)
    }
}

/// Whether a worker says that it has a slot and, on a card that works, room for so many bytes of tensors.
pub(crate) fn has_room(worker: &WorkerRow, choice: DeviceChoice, bytes: u64) -> bool {
    let wanted = |card: &&CardDetails| match choice {
        DeviceChoice::Card(number) => card.index == number,
        _ => true,
    };
    let fits = |card: &CardDetails| {
        let usable = card
            .memory_mb
            .map_or(u64::MAX, |memory| (memory << 20).saturating_sub(RESERVE));
        card.healthy && usable.saturating_sub(card.promised_mb << 20) >= bytes + CONTEXT
    };
    worker.details.running.len() < worker.details.slots && worker.details.cards.iter().filter(wanted).any(fits)
}

impl State {
    /// Where a job is to be done that wants this device and may hold so many bytes of tensors.
    pub fn place(&self, choice: DeviceChoice, bytes: u64) -> Place {
        if choice == DeviceChoice::Cpu || (choice == DeviceChoice::Auto && self.cards.is_empty()) {
            return Place::Processor(None);
        }
        let wanted: Vec<(usize, &Card)> = self
            .cards
            .iter()
            .enumerate()
            .filter(|(_, card)| match choice {
                DeviceChoice::Card(number) => card.number == number,
                _ => true,
            })
            .collect();
        if wanted.is_empty() {
            let here = match self.cards.as_slice() {
                [] => "this worker has no card".to_owned(),
                cards => {
                    let names: Vec<String> = cards.iter().map(Card::called).collect();
                    format!("this worker has {}", names.join(", "))
                }
            };
            let why = self
                .problem
                .as_ref()
                .map_or_else(String::new, |problem| format!(" ({problem})"));
            return Place::Never(format!(
                "{choice} is asked for, and {here}{why}; use auto, or labels of a worker that has it"
            ));
        }
        if wanted.iter().any(|(_, card)| card.health.is_none()) {
            return Place::Later("the cards are being checked".into());
        }
        let fitting: Vec<_> = wanted.iter().filter(|(_, card)| card.room() >= bytes).collect();
        let Some(largest) = wanted.iter().map(|(_, card)| card.room()).max() else {
            return Place::Processor(None);
        };
        if fitting.is_empty() {
            let why = format!(
                "its tensors may take {} MiB, and no card here has more than {} MiB for a job",
                bytes >> 20,
                largest >> 20
            );
            return match choice {
                DeviceChoice::Auto => Place::Processor(Some(why)),
                _ => Place::Never(format!("{why}; ask for a smaller memory_limit_mb, or use cpu")),
            };
        }
        let working: Vec<_> = fitting.iter().filter(|(_, card)| card.is_healthy()).collect();
        if working.is_empty() {
            let problems: Vec<String> = fitting
                .iter()
                .filter_map(|(_, card)| Some(format!("{}: {}", card.called(), card.problem()?)))
                .collect();
            let why = problems.join("; ");
            return match choice {
                DeviceChoice::Auto => Place::Processor(Some(why)),
                // One that works keeps jobs for any card coming, and this one may become well again.
                _ if self.cards.iter().any(Card::is_healthy) => Place::Later(why),
                _ => Place::Elsewhere(why),
            };
        }
        let free = working.iter().filter(|(_, card)| card.left() >= bytes);
        match free.max_by_key(|(place, card)| (card.left(), std::cmp::Reverse(*place))) {
            Some((place, _)) => Place::Card(*place),
            None => {
                let full: Vec<String> = working.iter().map(|(_, card)| card.called()).collect();
                Place::Later(format!("{} MiB are not free on {}", bytes >> 20, full.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn card(number: u32, gib: u64) -> Card {
        Card {
            health: Some(Ok(())),
            ..Card::new(number, number.to_string(), None, Some(gib * GIB))
        }
    }

    fn state(cards: impl IntoIterator<Item = Card>) -> State {
        State {
            cards: cards.into_iter().collect(),
            problem: None,
        }
    }

    fn promise(state: &mut State, run: &str, bytes: u64) -> Place {
        let place = state.place(DeviceChoice::Cuda, bytes);
        if let Place::Card(at) = place {
            state.cards[at].promised.insert(run.into(), bytes);
        }
        place
    }

    #[test]
    fn auto_is_a_card_where_there_is_one_and_cpu_never() {
        let with = state([card(0, 16)]);
        assert_eq!(with.place(DeviceChoice::Auto, GIB), Place::Card(0));
        assert_eq!(with.place(DeviceChoice::Cpu, GIB), Place::Processor(None));
        let without = state([]);
        assert_eq!(without.place(DeviceChoice::Auto, GIB), Place::Processor(None));
        let Place::Never(why) = without.place(DeviceChoice::Cuda, GIB) else {
            panic!()
        };
        assert!(why.contains("this worker has no card"), "{why}");
    }

    #[test]
    fn a_card_that_is_not_there_is_refused_by_name() {
        let state = state([card(0, 16), card(2, 16)]);
        assert_eq!(state.place(DeviceChoice::Card(2), GIB), Place::Card(1));
        let Place::Never(why) = state.place(DeviceChoice::Card(1), GIB) else {
            panic!()
        };
        assert!(why.contains("cuda:1") && why.contains("cuda:0, cuda:2"), "{why}");
    }

    #[test]
    fn jobs_spread_over_cards_and_then_wait_for_room() {
        let mut state = state([card(0, 8), card(1, 8)]);
        assert_eq!(promise(&mut state, "a", 3 * GIB), Place::Card(0));
        assert_eq!(promise(&mut state, "b", 3 * GIB), Place::Card(1));
        assert_eq!(promise(&mut state, "c", 3 * GIB), Place::Card(0));
        assert_eq!(promise(&mut state, "d", 3 * GIB), Place::Card(1));
        let Place::Later(why) = promise(&mut state, "e", 3 * GIB) else {
            panic!()
        };
        assert!(why.contains("3072 MiB are not free on cuda:0, cuda:1"), "{why}");
        assert!(matches!(state.place(DeviceChoice::Auto, 3 * GIB), Place::Later(_)));
        state.cards[1].promised.remove("b");
        assert_eq!(promise(&mut state, "e", 3 * GIB), Place::Card(1));
        // What is promised, with all that processes take besides, stays below the card's memory.
        assert!(state.cards.iter().all(|card| card.promised() + RESERVE <= 8 * GIB));
    }

    #[test]
    fn what_fits_no_card_is_refused_or_goes_to_the_processor() {
        let state = state([card(0, 2), card(1, 4)]);
        assert_eq!(state.place(DeviceChoice::Cuda, 3 * GIB), Place::Card(1));
        let Place::Never(why) = state.place(DeviceChoice::Card(0), 3 * GIB) else {
            panic!()
        };
        assert!(
            why.contains("3072 MiB") && why.contains("1280 MiB") && why.contains("memory_limit_mb"),
            "{why}"
        );
        let Place::Processor(Some(why)) = state.place(DeviceChoice::Auto, 4 * GIB) else {
            panic!()
        };
        assert!(why.contains("4096 MiB"), "{why}");
    }

    #[test]
    fn broken_cards_are_passed_over() {
        let mut state = state([card(0, 8), card(1, 8)]);
        state.cards[0].health = Some(Err("it fell off the bus".into()));
        assert_eq!(state.place(DeviceChoice::Cuda, GIB), Place::Card(1));
        assert!(
            matches!(state.place(DeviceChoice::Card(0), GIB), Place::Later(why) if why.contains("fell off the bus"))
        );
        state.cards[1].health = Some(Err("it is too hot".into()));
        assert!(
            matches!(state.place(DeviceChoice::Cuda, GIB), Place::Elsewhere(why) if why.contains("cuda:1: it is too hot"))
        );
        assert!(matches!(
            state.place(DeviceChoice::Auto, GIB),
            Place::Processor(Some(_))
        ));
        state.cards[1].health = None;
        assert!(matches!(state.place(DeviceChoice::Auto, GIB), Place::Later(_)));
    }

    #[test]
    fn another_worker_has_room_where_it_says_so() {
        let worker = |slots, promised_mb, healthy| WorkerRow {
            name: "other".into(),
            seen_at: chrono::Utc::now(),
            details: trainyard_jobs::WorkerDetails {
                slots,
                cards: vec![CardDetails {
                    index: 1,
                    healthy,
                    memory_mb: Some(8192),
                    promised_mb,
                    ..CardDetails::default()
                }],
                ..trainyard_jobs::WorkerDetails::default()
            },
        };
        assert!(has_room(&worker(1, 4096, true), DeviceChoice::Cuda, 3 * GIB));
        assert!(has_room(&worker(1, 4096, true), DeviceChoice::Card(1), 3 * GIB));
        assert!(!has_room(&worker(1, 4096, true), DeviceChoice::Card(0), 3 * GIB));
        assert!(!has_room(&worker(1, 5120, true), DeviceChoice::Cuda, 3 * GIB));
        assert!(!has_room(&worker(0, 0, true), DeviceChoice::Cuda, 3 * GIB));
        assert!(!has_room(&worker(1, 0, false), DeviceChoice::Cuda, 3 * GIB));
    }

    #[test]
    fn a_card_whose_memory_nobody_knows_takes_what_comes() {
        let unknown = Card {
            health: Some(Ok(())),
            ..Card::new(0, "0".into(), None, None)
        };
        let mut state = state([unknown]);
        for run in ["a", "b", "c"] {
            assert_eq!(promise(&mut state, run, 100 * GIB), Place::Card(0));
        }
    }
}
