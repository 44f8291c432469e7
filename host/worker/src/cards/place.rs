//! Where a job is to be done: on which card, on the processor, or not yet.
//!
//! Jobs share a card by what they were promised, as they share a machine's memory by their limits: a job is let onto a card while
//! all that the jobs there may hold, together, fits.

use super::nvml::Reading;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Instant;
use trainyard_jobs::{CardDetails, DeviceChoice, RunId, WorkerRow};

/// Bytes of a card that are never promised: the driver's own, and what other programs take.
const RESERVE: u64 = 256 << 20;
/// Bytes that a process takes on a card besides its tensors: its context, compiled kernels, room for products of matrices.
const CONTEXT: u64 = 512 << 20;

/// The cards, why there are none, and who waits for one.
#[derive(Debug, Default)]
pub(super) struct State {
    pub cards: Vec<Card>,
    pub problem: Option<String>,
    /// What is waited for, by when the waiting began.
    pub waiting: BTreeMap<u64, Wanted>,
    /// How many promises and waits there have been.
    pub counted: u64,
}

/// A card.
#[derive(Debug)]
pub(super) struct Card {
    /// Its number for the users of this worker.
    pub number: u32,
    /// What the driver calls it: a number among all cards of the machine, or an identity. None where it may not be used at all.
    pub visible: Option<String>,
    pub name: Option<String>,
    /// Bytes, where they are known: as the management library lists them, and after a check as a process on the card does.
    pub memory: Option<u64>,
    /// Whether it works; unknown until its first check.
    pub health: Option<Result<(), String>>,
    /// What each job on it was promised.
    pub promised: HashMap<u64, Promise>,
    /// Bytes that nobody here was promised, and that are in use.
    pub others: u64,
    /// When a process of ours last gave it up: what was read before counts no more.
    pub freed: Option<Instant>,
    /// Held by whoever checks it.
    pub checking: Arc<tokio::sync::Mutex<()>>,
    /// When its last check began.
    pub checked: Option<Instant>,
    /// A process that cannot be ended, as long as it can be had, and what that means.
    pub stuck: Option<(Weak<dyn Any + Send + Sync>, String)>,
}

/// What a job on a card may hold.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub run: RunId,
    /// Bytes of tensors.
    pub bytes: u64,
    /// Its process, once that has been started.
    pub pid: Option<u32>,
}

/// What a run wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub choice: DeviceChoice,
    /// Bytes of tensors that it may hold.
    pub bytes: u64,
    /// The cards that have failed it, by their places in the list.
    pub failed: BTreeSet<usize>,
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
    /// Nowhere yet, since the card of this number does not work, and why; others here do.
    Broken(String),
    /// On another worker: no card works here, and why.
    Elsewhere(String),
    /// Nowhere here, ever, and why.
    Never(String),
}

impl Card {
    pub fn new(number: u32, visible: String, name: Option<String>, memory: Option<u64>) -> Self {
        Card {
            number,
            visible: Some(visible),
            name,
            memory,
            health: None,
            promised: HashMap::new(),
            others: 0,
            freed: None,
            checking: Arc::default(),
            checked: None,
            stuck: None,
        }
    }

    /// One that is asked for, and that may not be used.
    pub fn forbidden(number: u32, problem: String) -> Self {
        Card {
            visible: None,
            health: Some(Err(problem)),
            ..Card::new(number, String::new(), None, None)
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

    /// What a process that cannot be ended means for it.
    pub fn stuck(&self) -> Option<&str> {
        let (process, problem) = self.stuck.as_ref()?;
        (process.strong_count() > 0).then_some(problem)
    }

    /// Bytes that are promised to the jobs on it.
    pub fn promised(&self) -> u64 {
        self.promised.values().map(|promise| promise.bytes + CONTEXT).sum()
    }

    /// Takes in what was read of it: who else uses it.
    pub fn read(&mut self, reading: Option<&(Instant, Reading)>) {
        let fresh = reading.filter(|(at, _)| self.freed.is_none_or(|freed| *at > freed));
        let used = fresh.and_then(|(_, reading)| Some((self.memory?.saturating_sub(reading.memory_free?), reading)));
        self.others = used.map_or(0, |(used, reading)| {
            let own = self.promised.values().map(|promise| {
                let told = promise.pid.and_then(|pid| reading.processes.get(&pid)?.memory);
                // In a container the driver may call it by another number.
                told.unwrap_or(promise.bytes + CONTEXT)
            });
            used.saturating_sub(own.sum())
        });
    }

    /// Bytes that can be promised to a job when it is alone; without end where nobody knows.
    fn room(&self) -> u64 {
        let usable = self.memory.unwrap_or(u64::MAX).saturating_sub(RESERVE);
        usable.saturating_sub(CONTEXT)
    }

    /// Bytes that can be promised to one more job.
    fn left(&self) -> u64 {
        let others = self.others.saturating_sub(RESERVE);
        self.room().saturating_sub(others).saturating_sub(self.promised())
    }

    fn called(&self) -> String {
        format!("cuda:{}", self.number)
    }

    /// The same of one that has no room, and whose doing that is, if not that of the jobs on it.
    fn full(&self) -> String {
        match self.others {
            others if others > RESERVE => format!("{}, of which others use {} MiB", self.called(), others >> 20),
            _ => self.called(),
        }
    }
}

impl Wanted {
    pub fn new(choice: DeviceChoice, bytes: u64) -> Self {
        Wanted {
            choice,
            bytes,
            failed: BTreeSet::new(),
        }
    }

    /// Whether it would take this card, at this place of the list, were it alone there.
    fn would_take(&self, place: usize, card: &Card) -> bool {
        let wanted = match self.choice {
            DeviceChoice::Cpu => false,
            DeviceChoice::Auto => !self.failed.contains(&place),
            DeviceChoice::Cuda => true,
            DeviceChoice::Card(number) => number == card.number,
        };
        wanted && card.room() >= self.bytes
    }
}

/// The cards of a worker that a choice may mean.
fn meant(worker: &WorkerRow, choice: DeviceChoice) -> impl Iterator<Item = &CardDetails> {
    worker.details.cards.iter().filter(move |card| match choice {
        DeviceChoice::Card(number) => card.index == number,
        _ => true,
    })
}

fn usable(card: &CardDetails) -> u64 {
    card.memory_mb
        .map_or(u64::MAX, |memory| (memory << 20).saturating_sub(RESERVE))
}

/// Whether a worker says that it has a slot and, on a card that works, room for so many bytes of tensors.
pub(crate) fn has_room(worker: &WorkerRow, choice: DeviceChoice, bytes: u64) -> bool {
    let fits = |card: &CardDetails| {
        let promised = card.promised_mb << 20;
        // What is in use beyond that is not its jobs'.
        let used = card.memory_used_mb.map_or(0, |used| used << 20);
        let others = used.saturating_sub(promised).saturating_sub(RESERVE);
        card.healthy && usable(card).saturating_sub(others).saturating_sub(promised) >= bytes + CONTEXT
    };
    worker.details.running.len() < worker.details.slots && meant(worker, choice).any(fits)
}

/// Whether a worker says that it has a card that could take so many bytes of tensors, busy or broken as it may be now.
pub(crate) fn has_card(worker: &WorkerRow, choice: DeviceChoice, bytes: u64) -> bool {
    // One that nobody has seen work or heard of may not be there at all.
    let known = |card: &CardDetails| card.healthy || card.memory_mb.is_some();
    meant(worker, choice).any(|card| known(card) && usable(card) >= bytes + CONTEXT)
}

/// Whether a worker says that it has such a card, and that it works.
pub(crate) fn has_healthy(worker: &WorkerRow, choice: DeviceChoice, bytes: u64) -> bool {
    meant(worker, choice).any(|card| card.healthy && usable(card) >= bytes + CONTEXT)
}

impl State {
    /// The next number of a promise or a wait.
    pub fn count(&mut self) -> u64 {
        self.counted += 1;
        self.counted
    }

    /// Where a job is to be done that wants this; `waits` is since when it has been waiting, if it has.
    pub fn place(&self, wanted: &Wanted, waits: Option<u64>) -> Place {
        let Wanted { choice, bytes, failed } = wanted;
        let (choice, bytes) = (*choice, *bytes);
        if choice == DeviceChoice::Cpu || (choice == DeviceChoice::Auto && self.cards.is_empty()) {
            return Place::Processor(None);
        }
        let meant: Vec<(usize, &Card)> = self
            .cards
            .iter()
            .enumerate()
            .filter(|(_, card)| match choice {
                DeviceChoice::Card(number) => card.number == number,
                _ => true,
            })
            .collect();
        if meant.is_empty() {
            return Place::Never(self.missing(choice));
        }
        let mut fitting: Vec<_> = meant.iter().filter(|(_, card)| card.room() >= bytes).collect();
        if fitting.is_empty() {
            let largest = meant.iter().map(|(_, card)| card.room()).max().unwrap_or_default();
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
        let called = |cards: &[&(usize, &Card)]| {
            let names: Vec<String> = cards.iter().map(|(_, card)| card.called()).collect();
            names.join(", ")
        };
        let of_use = |card: &Card| card.is_healthy() || card.health.is_none();
        let (fresh, tried): (Vec<&(usize, &Card)>, Vec<_>) =
            fitting.iter().copied().partition(|(place, _)| !failed.contains(place));
        if fresh.iter().any(|(_, card)| of_use(card)) {
            fitting = fresh;
        } else if !tried.is_empty() && choice == DeviceChoice::Auto {
            return Place::Processor(Some(format!("it failed on {}", called(&tried))));
        }
        let working: Vec<_> = fitting.iter().copied().filter(|(_, card)| card.is_healthy()).collect();
        if working.is_empty() && fitting.iter().any(|(_, card)| of_use(card)) {
            return Place::Later("the cards are being checked".into());
        }
        if working.is_empty() {
            let problems: Vec<String> = fitting
                .iter()
                .filter_map(|(_, card)| Some(format!("{}: {}", card.called(), card.problem()?)))
                .collect();
            let why = problems.join("; ");
            return match choice {
                DeviceChoice::Auto => Place::Processor(Some(why)),
                // Those that work keep jobs for any card coming, and this one may become well again.
                _ if self.cards.iter().any(Card::is_healthy) => Place::Broken(why),
                _ => Place::Elsewhere(why),
            };
        }
        let free: Vec<_> = working
            .iter()
            .copied()
            .filter(|(_, card)| card.left() >= bytes)
            .collect();
        if free.is_empty() {
            let full: Vec<String> = working.iter().map(|(_, card)| card.full()).collect();
            return Place::Later(format!("{} MiB are not free on {}", bytes >> 20, full.join(", ")));
        }
        // What others have been waiting for longer is theirs.
        let before = |other: &u64| waits.is_none_or(|since| *other < since);
        let mine = free.iter().filter(|(place, card)| {
            let mut earlier = self.waiting.iter().filter(|(since, _)| before(since));
            !earlier.any(|(_, other)| other.would_take(*place, card))
        });
        match mine.max_by_key(|(place, card)| (card.left(), std::cmp::Reverse(*place))) {
            Some((place, _)) => Place::Card(*place),
            None => Place::Later(format!("others wait for {} and came first", called(&free))),
        }
    }

    /// Why there is no such card.
    fn missing(&self, choice: DeviceChoice) -> String {
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
        format!("{choice} is asked for, and {here}{why}; use auto, or labels of a worker that has it")
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
            ..State::default()
        }
    }

    fn place(state: &State, choice: DeviceChoice, bytes: u64) -> Place {
        state.place(&Wanted::new(choice, bytes), None)
    }

    fn promise(state: &mut State, run: &str, bytes: u64) -> Place {
        let place = place(state, DeviceChoice::Cuda, bytes);
        if let Place::Card(at) = place {
            let promise = Promise {
                run: run.into(),
                bytes,
                pid: None,
            };
            let id = state.count();
            state.cards[at].promised.insert(id, promise);
        }
        place
    }

    fn give_back(state: &mut State, run: &str) {
        for card in &mut state.cards {
            card.promised.retain(|_, promise| promise.run != run);
        }
    }

    fn failed(choice: DeviceChoice, places: impl IntoIterator<Item = usize>) -> Wanted {
        Wanted {
            failed: places.into_iter().collect(),
            ..Wanted::new(choice, GIB)
        }
    }

    #[test]
    fn auto_is_a_card_where_there_is_one_and_cpu_never() {
        let with = state([card(0, 16)]);
        assert_eq!(place(&with, DeviceChoice::Auto, GIB), Place::Card(0));
        assert_eq!(place(&with, DeviceChoice::Cpu, GIB), Place::Processor(None));
        let without = state([]);
        assert_eq!(place(&without, DeviceChoice::Auto, GIB), Place::Processor(None));
        let Place::Never(why) = place(&without, DeviceChoice::Cuda, GIB) else {
            panic!()
        };
        assert!(why.contains("this worker has no card"), "{why}");
    }

    #[test]
    fn a_card_that_is_not_there_is_refused_by_name() {
        let state = state([card(0, 16), card(2, 16)]);
        assert_eq!(place(&state, DeviceChoice::Card(2), GIB), Place::Card(1));
        let Place::Never(why) = place(&state, DeviceChoice::Card(1), GIB) else {
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
        assert!(matches!(place(&state, DeviceChoice::Auto, 3 * GIB), Place::Later(_)));
        give_back(&mut state, "b");
        assert_eq!(promise(&mut state, "e", 3 * GIB), Place::Card(1));
        // What is promised, with all that processes take besides, stays below the card's memory.
        assert!(state.cards.iter().all(|card| card.promised() + RESERVE <= 8 * GIB));
    }

    #[test]
    fn what_fits_no_card_is_refused_or_goes_to_the_processor() {
        let state = state([card(0, 2), card(1, 4)]);
        assert_eq!(place(&state, DeviceChoice::Cuda, 3 * GIB), Place::Card(1));
        let Place::Never(why) = place(&state, DeviceChoice::Card(0), 3 * GIB) else {
            panic!()
        };
        assert!(
            why.contains("3072 MiB") && why.contains("1280 MiB") && why.contains("memory_limit_mb"),
            "{why}"
        );
        let Place::Processor(Some(why)) = place(&state, DeviceChoice::Auto, 4 * GIB) else {
            panic!()
        };
        assert!(why.contains("4096 MiB"), "{why}");
    }

    #[test]
    fn broken_cards_are_passed_over() {
        let mut state = state([card(0, 8), card(1, 8)]);
        state.cards[0].health = Some(Err("it fell off the bus".into()));
        assert_eq!(place(&state, DeviceChoice::Cuda, GIB), Place::Card(1));
        assert!(
            matches!(place(&state, DeviceChoice::Card(0), GIB), Place::Broken(why) if why.contains("fell off the bus"))
        );
        state.cards[1].health = Some(Err("it is too hot".into()));
        assert!(
            matches!(place(&state, DeviceChoice::Cuda, GIB), Place::Elsewhere(why) if why.contains("cuda:1: it is too hot"))
        );
        assert!(matches!(
            place(&state, DeviceChoice::Auto, GIB),
            Place::Processor(Some(_))
        ));
        state.cards[1].health = None;
        assert!(matches!(place(&state, DeviceChoice::Auto, GIB), Place::Later(_)));
        // One that is being checked holds nobody up while another works.
        state.cards[0].health = Some(Ok(()));
        assert_eq!(place(&state, DeviceChoice::Auto, GIB), Place::Card(0));
    }

    #[test]
    fn a_run_goes_on_where_it_has_not_failed_yet() {
        let mut state = state([card(0, 8), card(1, 8)]);
        assert_eq!(state.place(&failed(DeviceChoice::Cuda, [0]), None), Place::Card(1));
        assert_eq!(state.place(&failed(DeviceChoice::Auto, [0]), None), Place::Card(1));
        let on_processor = |state: &State| {
            let place = state.place(&failed(DeviceChoice::Auto, [0, 1]), None);
            matches!(place, Place::Processor(Some(why)) if why.contains("it failed on cuda:0, cuda:1"))
        };
        assert!(on_processor(&state));
        // Without another choice, the same again.
        assert_eq!(state.place(&failed(DeviceChoice::Cuda, [0, 1]), None), Place::Card(0));
        assert_eq!(state.place(&failed(DeviceChoice::Card(1), [1]), None), Place::Card(1));
        // Another that works is waited for; one that is broken is no other.
        promise(&mut state, "a", 6 * GIB);
        promise(&mut state, "b", 6 * GIB);
        give_back(&mut state, "a");
        assert!(matches!(
            state.place(&failed(DeviceChoice::Cuda, [0]), None),
            Place::Later(_)
        ));
        state.cards[1].health = Some(Err("it is too hot".into()));
        assert_eq!(state.place(&failed(DeviceChoice::Cuda, [0]), None), Place::Card(0));
        let Place::Processor(Some(why)) = state.place(&failed(DeviceChoice::Auto, [0]), None) else {
            panic!()
        };
        assert!(why.contains("it failed on cuda:0"), "{why}");
    }

    #[test]
    fn whoever_waits_longer_comes_first() {
        let mut state = state([card(0, 8), card(1, 8)]);
        for run in ["a", "b"] {
            assert!(matches!(promise(&mut state, run, 6 * GIB), Place::Card(_)));
        }
        let large = Wanted::new(DeviceChoice::Card(0), 6 * GIB);
        let since = state.count();
        state.waiting.insert(since, large.clone());
        assert!(matches!(state.place(&large, Some(since)), Place::Later(_)));
        // There is room for a small one, but it is waited for. The other card is not.
        let Place::Later(why) = place(&state, DeviceChoice::Card(0), GIB / 4) else {
            panic!()
        };
        assert!(why.contains("others wait for cuda:0"), "{why}");
        assert_eq!(place(&state, DeviceChoice::Cuda, GIB / 4), Place::Card(1));
        give_back(&mut state, "a");
        assert_eq!(state.place(&large, Some(since)), Place::Card(0));
        // Who would never fit holds nobody up.
        state
            .waiting
            .insert(since, Wanted::new(DeviceChoice::Card(0), 60 * GIB));
        assert_eq!(place(&state, DeviceChoice::Card(0), GIB / 4), Place::Card(0));
    }

    #[test]
    fn what_others_use_of_a_card_is_not_promised() {
        let mut state = state([card(0, 8)]);
        promise(&mut state, "a", 2 * GIB);
        let mut read = |free: u64, held: Option<u64>| {
            let share = crate::cards::Share {
                memory: held,
                utilization: None,
            };
            let reading = Reading {
                memory_free: Some(free),
                processes: HashMap::from([(7, share)]),
                ..Reading::default()
            };
            let card = &mut state.cards[0];
            card.promised.values_mut().for_each(|promise| promise.pid = Some(7));
            card.read(Some(&(Instant::now(), reading)));
            (card.others, place(&state, DeviceChoice::Cuda, 4 * GIB))
        };
        assert_eq!(read(7 * GIB, Some(GIB)), (0, Place::Card(0)));
        let (others, later) = read(3 * GIB, Some(GIB));
        assert_eq!(others, 4 * GIB);
        assert!(matches!(later, Place::Later(why) if why.contains("not free on cuda:0, of which others use 4096 MiB")));
        // Where nobody says what the job holds, it is taken to hold what it may.
        assert_eq!(read(6 * GIB, None), (0, Place::Card(0)));
        let card = &mut state.cards[0];
        let old = (Instant::now(), Reading::default());
        card.others = GIB;
        card.freed = Some(Instant::now());
        card.read(Some(&old));
        assert_eq!(card.others, 0);
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
        // Whether it has such a card at all is another question.
        assert!(has_card(&worker(0, 8192, false), DeviceChoice::Card(1), 3 * GIB));
        assert!(!has_card(&worker(1, 0, true), DeviceChoice::Card(0), 3 * GIB));
        assert!(!has_card(&worker(1, 0, true), DeviceChoice::Cuda, 30 * GIB));
        assert!(has_healthy(&worker(0, 8192, true), DeviceChoice::Cuda, 3 * GIB));
        assert!(!has_healthy(&worker(1, 0, false), DeviceChoice::Cuda, 3 * GIB));
        let mut crowded = worker(1, 1024, true);
        crowded.details.cards[0].memory_used_mb = Some(7168);
        assert!(!has_room(&crowded, DeviceChoice::Cuda, 3 * GIB));
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
