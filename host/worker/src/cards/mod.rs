//! The cards of a worker: which there are, which of them work, and which job is on which.
//!
//! The worker itself never computes on a card. A process of its own checks each ([`check`]), runners use them, and what they do is
//! read from the driver's management library ([`nvml`]).

mod check;
mod devices;
mod nvml;
mod place;

use place::{Card, State};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use trainyard_jobs::{CardDetails, DeviceChoice, RunId};

pub use devices::Devices;
pub(crate) use nvml::Reading;
#[cfg(test)]
pub(crate) use nvml::Share;
pub(crate) use place::{Place, has_room};

/// What this program says of cards when it is not built for them.
const NOT_BUILT: &str =
    "this build of Trainyard has no CUDA; build one with `cargo xtask build --cuda`, or use the processor";
/// The folder of kernels that the driver has compiled, below that of compiled plugins.
const CACHE: &str = "cuda";

/// The cards. A clone is the same ones.
#[derive(Clone)]
pub(crate) struct Cards(Arc<Inner>);

struct Inner {
    program: PathBuf,
    cache: PathBuf,
    period: Duration,
    state: Mutex<State>,
    watch: Option<nvml::Watch>,
    changed: Notify,
}

/// A job's place on a card, until it is dropped.
pub(crate) struct Seat {
    cards: Cards,
    run: RunId,
    number: u32,
    place: usize,
    name: Option<String>,
    visible: String,
}

/// What a worker would find.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The cards, checked.
    pub cards: Vec<CardDetails>,
    /// Why there are none, where that is worth a word.
    pub problem: Option<String>,
}

impl Cards {
    /// Finds the cards. They are checked from [`Cards::begin`] on; until then none works.
    pub async fn find(program: &Path, code: &Path, devices: &Devices, period: Duration) -> Self {
        let cache = code.join(CACHE);
        let asked = match devices {
            Devices::None => None,
            devices => {
                let devices = devices.clone();
                // The driver's library may take a while to load, or hang: on a thread that nobody waits for at the end.
                let (told, listed) = oneshot::channel();
                let listing = std::thread::Builder::new()
                    .name("cards".into())
                    .spawn(move || drop(told.send(list(&devices))));
                if let Err(error) = listing {
                    tracing::warn!(%error, "cards cannot be looked for");
                }
                tokio::time::timeout(Duration::from_secs(30), listed)
                    .await
                    .ok()
                    .and_then(Result::ok)
            }
        };
        let Listed {
            mut cards,
            nvml,
            problem,
        } = asked.unwrap_or_default();
        let mut state = State {
            cards: Vec::new(),
            problem,
        };
        let certain = matches!(nvml, Some(Ok(_))) || matches!(devices, Devices::List(_));
        if !certain && !cards.is_empty() {
            // Nobody says how many there are: up to the first that cannot be used.
            let all = std::mem::take(&mut cards);
            for card in all {
                match check::check(program, devices::environment(&card.visible, &cache)).await {
                    Ok(()) => cards.push(card),
                    Err(problem) => {
                        state.problem = cards.is_empty().then_some(problem);
                        break;
                    }
                }
            }
        }
        let names: Vec<String> = cards.iter().map(|card| card.visible.clone()).collect();
        state.cards = cards;
        let watch = match nvml {
            _ if names.is_empty() => None,
            Some(Ok(nvml)) => nvml::Watch::begin(nvml, names).ok(),
            Some(Err(error)) => {
                tracing::warn!(error, "what cards do cannot be read");
                None
            }
            None => None,
        };
        Cards(Arc::new(Inner {
            program: program.to_owned(),
            cache,
            period,
            state: Mutex::new(state),
            watch,
            changed: Notify::new(),
        }))
    }

    /// Checks the cards again and again while nothing runs on them, as long as anyone holds them.
    pub fn begin(&self) {
        if self.lock().cards.is_empty() {
            return;
        }
        let (cards, period) = (Arc::downgrade(&self.0), self.0.period);
        tokio::spawn(async move {
            while let Some(inner) = Weak::upgrade(&cards) {
                Cards(inner).check_idle().await;
                tokio::time::sleep(period).await;
            }
        });
    }

    /// Why there are none, where that is worth a word.
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// Whether there are any, and whether one of them works.
    pub fn any(&self) -> (bool, bool) {
        let state = self.lock();
        (!state.cards.is_empty(), state.cards.iter().any(Card::is_healthy))
    }

    /// Gives a run a place for so many bytes, or says what to do without.
    pub fn seat(&self, run: &RunId, choice: DeviceChoice, bytes: u64) -> Result<Seat, Place> {
        let mut state = self.lock();
        let place = match state.place(choice, bytes) {
            Place::Card(place) => place,
            other => return Err(other),
        };
        let card = &mut state.cards[place];
        card.promised.insert(run.clone(), bytes);
        let seat = Seat {
            cards: self.clone(),
            run: run.clone(),
            number: card.number,
            place,
            name: card.name.clone(),
            visible: card.visible.clone(),
        };
        drop(state);
        self.set_busy();
        Ok(seat)
    }

    /// Where a run would be done that wants this.
    pub fn would_seat(&self, choice: DeviceChoice, bytes: u64) -> Place {
        self.lock().place(choice, bytes)
    }

    /// Waits until a place may have become free, or a while has passed.
    pub async fn changed(&self) {
        // What changes between a look and this wait is seen a second later.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.changed.notified()).await;
    }

    /// The last reading of the seat's card, and when it was taken.
    pub fn reading(&self, seat: &Seat) -> Option<(Instant, Reading)> {
        self.0.watch.as_ref()?.last(seat.place)
    }

    /// A job failed on a card: nobody knows whether it works until it has been checked. Gives whether it does.
    pub async fn suspect(&self, seat: &Seat) -> bool {
        self.lock().cards[seat.place].health = None;
        self.check(seat.place).await
    }

    /// What there is to say of each.
    pub fn details(&self) -> Vec<CardDetails> {
        let state = self.lock();
        let cards = state.cards.iter().enumerate();
        cards
            .map(|(place, card)| {
                let last = self.0.watch.as_ref().and_then(|watch| watch.last(place));
                let reading = last.map(|(_, reading)| reading).unwrap_or_default();
                let mut running: Vec<RunId> = card.promised.keys().cloned().collect();
                running.sort_unstable();
                CardDetails {
                    index: card.number,
                    name: card.name.clone(),
                    healthy: card.is_healthy(),
                    problem: card.problem().map(str::to_owned),
                    memory_mb: card.memory.or(reading.memory_total).map(|bytes| bytes >> 20),
                    promised_mb: card.promised() >> 20,
                    memory_used_mb: reading.memory_used.map(|bytes| bytes >> 20),
                    utilization: reading.utilization,
                    temperature_c: reading.temperature,
                    power_w: reading.power,
                    running,
                }
            })
            .collect()
    }

    async fn check_idle(&self) {
        let idle: Vec<usize> = {
            let state = self.lock();
            let cards = state.cards.iter().enumerate();
            // Jobs show whether a card works; and it is theirs.
            cards
                .filter(|(_, card)| card.promised.is_empty() || !card.is_healthy())
                .map(|(place, _)| place)
                .collect()
        };
        let mut checks = JoinSet::new();
        for place in idle {
            let cards = self.clone();
            checks.spawn(async move { cards.check(place).await });
        }
        checks.join_all().await;
    }

    /// Checks a card, and notes what came of it.
    async fn check(&self, place: usize) -> bool {
        let visible = self.lock().cards[place].visible.clone();
        let health = match cfg!(feature = "cuda") {
            true => check::check(&self.0.program, devices::environment(&visible, &self.0.cache)).await,
            false => Err(NOT_BUILT.to_owned()),
        };
        let works = health.is_ok();
        let mut state = self.lock();
        let card = &mut state.cards[place];
        let before = card.health.replace(health);
        let card = format!("cuda:{}", card.number);
        let problem = state.cards[place].problem().unwrap_or_default().to_owned();
        drop(state);
        match before {
            Some(Ok(())) if works => {}
            Some(Err(before)) if before == problem => {}
            _ if works => tracing::info!(card, "the card works"),
            _ => tracing::warn!(card, problem, "the card is of no use for now"),
        }
        self.0.changed.notify_waiters();
        works
    }

    fn set_busy(&self) {
        let busy = self.lock().cards.iter().any(|card| !card.promised.is_empty());
        if let Some(watch) = &self.0.watch {
            watch.set_busy(busy);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The card's number: `cuda:N`.
    pub fn device(&self) -> String {
        format!("cuda:{}", self.number)
    }

    /// The same with the card's name, where that is known.
    pub fn described(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({name})", self.device()),
            None => self.device(),
        }
    }

    /// The whole environment of a runner that is to see this card alone.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        devices::environment(&self.visible, &self.cards.0.cache)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.cards.lock().cards[self.place].promised.remove(&self.run);
        self.cards.set_busy();
        self.cards.0.changed.notify_waiters();
    }
}

/// Looks for the cards that a worker with these settings would use, and checks them.
pub async fn examine(program: &Path, folder: &Path, devices: &Devices) -> Found {
    let cards = Cards::find(program, folder, devices, Duration::MAX).await;
    cards.check_idle().await;
    Found {
        cards: cards.details(),
        problem: cards.problem(),
    }
}

/// What is found before anything is checked.
#[derive(Default)]
struct Listed {
    cards: Vec<Card>,
    /// Absent where nobody asked.
    nvml: Option<Result<nvml_wrapper::Nvml, String>>,
    problem: Option<String>,
}

/// The cards that can be seen, by what the environment and the driver's library say.
fn list(devices: &Devices) -> Listed {
    /// Where nobody says how many there are, no more are tried.
    const TRIED: u32 = 16;
    let nvml = nvml::open();
    let visible = devices::visible().unwrap_or_else(|| {
        let count = match &nvml {
            Ok(nvml) => nvml::count(nvml),
            // Only a program that can use them has a reason to try.
            Err(_) if cfg!(feature = "cuda") => Some(TRIED),
            Err(_) => None,
        };
        (0..count.unwrap_or(0)).map(|number| number.to_string()).collect()
    });
    let wanted = match devices {
        Devices::None => Vec::new(),
        Devices::Auto => (0..).take(visible.len()).collect(),
        Devices::List(numbers) => numbers.clone(),
    };
    let cards: Vec<Card> = wanted
        .into_iter()
        .map(|number: u32| {
            // One that cannot be seen is named all the same: the check says what is wrong with it.
            let seen = visible.get(number as usize).cloned();
            let visible = seen.unwrap_or_else(|| number.to_string());
            let nvml::Listed { name, memory } = nvml
                .as_ref()
                .map(|nvml| nvml::listed(nvml, &visible))
                .unwrap_or_default();
            Card::new(number, visible, name, memory)
        })
        .collect();
    let problem = (cfg!(feature = "cuda") && cards.is_empty() && *devices == Devices::Auto)
        .then(|| "the driver says that there is no card".to_owned());
    Listed {
        cards,
        nvml: Some(nvml),
        problem,
    }
}
