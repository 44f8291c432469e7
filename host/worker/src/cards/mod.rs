//! The cards of a worker: which there are, which of them work, and which job is on which.
//!
//! The worker itself never computes on a card. A process of its own checks each ([`check`]), runners use them, and what they do is
//! read from the driver's management library ([`nvml`]).

mod check;
mod devices;
mod nvml;
mod place;

use crate::options::WorkerOptions;
use crate::process::{Kept, Launcher, ProcessError};
use place::{Card, Promise, State};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use trainyard_jobs::{CardDetails, DeviceChoice, RunId};

pub use devices::Devices;
pub(crate) use nvml::Reading;
#[cfg(test)]
pub(crate) use nvml::Share;
pub(crate) use place::{Place, Wanted, has_card, has_healthy, has_room};

/// What this program says of cards when it is not built for them.
const NOT_BUILT: &str =
    "this build of Trainyard has no CUDA; build one with `cargo xtask build --cuda`, or use the processor";
/// The folder of kernels that the driver has compiled, below that of compiled plugins.
const CACHE: &str = "cuda";

/// The cards. A clone is the same ones.
#[derive(Clone)]
pub(crate) struct Cards(Arc<Inner>);

struct Inner {
    launcher: Launcher,
    cache: PathBuf,
    devices: Devices,
    timing: Timing,
    state: Mutex<State>,
    /// From when there are cards on.
    watch: OnceLock<nvml::Watch>,
    /// A look for cards that the driver has not answered yet.
    listing: tokio::sync::Mutex<Option<oneshot::Receiver<Listed>>>,
    changed: Notify,
}

/// When cards are checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// How often, while nothing runs on them.
    pub period: Duration,
    /// How long the driver may take to answer.
    pub patience: Duration,
}

/// A job's place on a card, until it is dropped; and until the job's process has ended.
pub(crate) struct Seat {
    booking: Arc<Booking>,
    number: u32,
    name: Option<String>,
    visible: String,
}

/// What a job on a card is promised, until nobody holds it any more.
struct Booking {
    cards: Cards,
    place: usize,
    id: u64,
}

/// A run's turn among those that wait for a card, until it is dropped.
pub(crate) struct Ticket {
    cards: Cards,
    run: RunId,
    wanted: Wanted,
    since: u64,
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
    pub async fn find(launcher: Launcher, code: &Path, devices: &Devices, timing: Timing) -> Self {
        let cards = Cards(Arc::new(Inner {
            launcher,
            cache: code.join(CACHE),
            devices: devices.clone(),
            timing,
            state: Mutex::default(),
            watch: OnceLock::new(),
            listing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        }));
        cards.look().await;
        cards
    }

    /// Looks for cards, while there are none.
    async fn look(&self) {
        let Inner {
            devices, cache, timing, ..
        } = &*self.0;
        if *devices == Devices::None {
            return;
        }
        let Listed {
            mut cards,
            nvml,
            mut problem,
        } = match self.listed().await {
            Some(listed) => listed,
            None => {
                let seconds = timing.patience.as_secs();
                self.lock().problem = Some(format!("the driver did not answer in {seconds} s"));
                return;
            }
        };
        if !cards.is_empty()
            && let Err(error) = private(cache)
        {
            tracing::warn!(%error, folder = %cache.display(), "what a card's driver compiles cannot be kept");
        }
        let certain = matches!(nvml, Some(Ok(_))) || matches!(devices, Devices::List(_));
        if !certain {
            // Nobody says how many there are: up to the first that cannot be used.
            let all = std::mem::take(&mut cards);
            for card in all {
                let environment = devices::environment(card.visible.as_deref().unwrap_or_default(), cache);
                match check::check(&self.0.launcher, environment, timing.patience).await {
                    Ok(_) => cards.push(card),
                    Err(found) => {
                        problem = cards.is_empty().then_some(found.text);
                        break;
                    }
                }
            }
        }
        let found = !cards.is_empty();
        match nvml {
            Some(Ok(nvml)) if found => {
                let names = cards.iter().map(|card| card.visible.clone().unwrap_or_default());
                if let Ok(watch) = nvml::Watch::begin(nvml, names.collect()) {
                    let _ = self.0.watch.set(watch);
                }
            }
            Some(Err(error)) if found => tracing::warn!(error, "what cards do cannot be read"),
            _ => {}
        }
        let mut state = self.lock();
        (state.cards, state.problem) = (cards, problem);
    }

    /// What there is, before anything is checked; nothing where the driver does not answer. The next look waits for the same answer then.
    async fn listed(&self) -> Option<Listed> {
        let mut listing = self.0.listing.lock().await;
        let mut answer = listing.take().unwrap_or_else(|| {
            let devices = self.0.devices.clone();
            // The driver's library may take a while to load, or hang: on a thread that nobody waits for at the end.
            let (told, answer) = oneshot::channel();
            let thread = std::thread::Builder::new()
                .name("cards".into())
                .spawn(move || drop(told.send(list(&devices))));
            if let Err(error) = thread {
                tracing::warn!(%error, "cards cannot be looked for");
            }
            answer
        });
        match tokio::time::timeout(self.0.timing.patience, &mut answer).await {
            Ok(listed) => Some(listed.unwrap_or_default()),
            Err(_) => {
                *listing = Some(answer);
                None
            }
        }
    }

    /// Checks the cards again and again while nothing runs on them, and looks for some while there are none, as long as anyone holds them.
    pub fn begin(&self) {
        if self.0.devices == Devices::None {
            return;
        }
        let (cards, period) = (Arc::downgrade(&self.0), self.0.timing.period);
        tokio::spawn(async move {
            while let Some(inner) = Weak::upgrade(&cards) {
                Cards(inner).check_idle().await;
                tokio::time::sleep(period).await;
                let Some(cards) = Weak::upgrade(&cards).map(Cards) else {
                    return;
                };
                if !cards.any().0 {
                    cards.look().await;
                }
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

    /// A run's turn for what it wants. Whoever comes later comes later.
    pub fn queue(&self, run: &RunId, wanted: Wanted) -> Ticket {
        let mut state = self.lock();
        let since = state.count();
        if wanted.choice != DeviceChoice::Cpu {
            state.waiting.insert(since, wanted.clone());
        }
        drop(state);
        Ticket {
            cards: self.clone(),
            run: run.clone(),
            wanted,
            since,
        }
    }

    /// Where a run would be done that wants this.
    pub fn would_seat(&self, wanted: &Wanted) -> Place {
        self.lock().place(wanted, None)
    }

    /// Waits until a place may have become free, or a while has passed.
    pub async fn changed(&self) {
        // What changes between a look and this wait is seen a second later.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.changed.notified()).await;
    }

    /// The last reading of the seat's card, and when it was taken.
    pub fn reading(&self, seat: &Seat) -> Option<(Instant, Reading)> {
        self.last(seat.place())
    }

    fn last(&self, place: usize) -> Option<(Instant, Reading)> {
        self.0.watch.get()?.last(place)
    }

    /// A job failed on a card: nobody knows whether it works until it has been checked. Gives whether it does.
    pub async fn suspect(&self, seat: &Seat) -> bool {
        self.doubt(seat.place());
        self.check(seat.place()).await
    }

    /// The same, without waiting for what comes of it.
    pub fn suspect_later(&self, seat: &Seat) {
        let (cards, place) = (self.clone(), seat.place());
        self.doubt(place);
        tokio::spawn(async move { cards.check(place).await });
    }

    fn doubt(&self, place: usize) {
        self.lock().cards[place].health = None;
    }

    /// The seat's process was killed and has not ended: the card is of no use until it has.
    pub fn cannot_be_ended(&self, seat: &Seat) {
        let problem = "a process on it cannot be ended: its driver holds it; see `nvidia-smi` and the kernel's log, and restart the machine if need be";
        let mut state = self.lock();
        let card = &mut state.cards[seat.place()];
        let booking: Kept = seat.booking.clone();
        card.stuck = Some((Arc::downgrade(&booking), problem.to_owned()));
        card.health = Some(Err(problem.to_owned()));
        let card = format!("cuda:{}", card.number);
        drop(state);
        tracing::error!(card, problem, "the card is of no use for now");
        self.0.changed.notify_waiters();
    }

    /// What there is to say of each.
    pub fn details(&self) -> Vec<CardDetails> {
        let state = self.lock();
        let cards = state.cards.iter().enumerate();
        cards
            .map(|(place, card)| {
                let reading = self.last(place).map(|(_, reading)| reading).unwrap_or_default();
                let mut running: Vec<RunId> = card.promised.values().map(|promise| promise.run.clone()).collect();
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

    /// Checks a card, and notes what came of it. A check that begins after this was asked for counts for it, too.
    async fn check(&self, place: usize) -> bool {
        let asked = Instant::now();
        let checking = self.lock().cards[place].checking.clone();
        let _checking = checking.lock().await;
        let (visible, stuck) = {
            let mut state = self.lock();
            let card = &mut state.cards[place];
            let Some(visible) = card.visible.clone() else {
                return false;
            };
            if card.checked.is_some_and(|began| began > asked) {
                return card.is_healthy();
            }
            card.checked = Some(Instant::now());
            (visible, card.stuck().map(str::to_owned))
        };
        let failed = |text| Err(check::Problem { text, hangs: None });
        let found = match (stuck, cfg!(feature = "cuda")) {
            (_, false) => failed(NOT_BUILT.to_owned()),
            (Some(problem), _) => failed(problem),
            (None, true) => {
                let environment = devices::environment(&visible, &self.0.cache);
                check::check(&self.0.launcher, environment, self.0.timing.patience).await
            }
        };
        let works = found.is_ok();
        let mut state = self.lock();
        let card = &mut state.cards[place];
        let health = match found {
            Ok(checked) => {
                card.memory = Some(checked.total_bytes);
                card.name.get_or_insert(checked.name);
                tracing::debug!(card = card.number, free = checked.free_bytes, "the card was checked");
                Ok(())
            }
            Err(check::Problem { text, hangs }) => {
                if let Some(process) = hangs {
                    card.stuck = Some((process, "the last check still hangs".to_owned()));
                }
                Err(text)
            }
        };
        // The check itself took some of its memory.
        card.freed = Some(Instant::now());
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
        if let Some(watch) = self.0.watch.get() {
            watch.set_busy(busy);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// A place for the run, or what to do without.
    pub fn seat(&self) -> Result<Seat, Place> {
        let mut state = self.cards.lock();
        for (place, card) in state.cards.iter_mut().enumerate() {
            card.read(self.cards.last(place).as_ref());
        }
        let place = match state.place(&self.wanted, Some(self.since)) {
            Place::Card(place) => place,
            other => return Err(other),
        };
        state.waiting.remove(&self.since);
        let id = state.count();
        let promise = Promise {
            run: self.run.clone(),
            bytes: self.wanted.bytes,
            pid: None,
        };
        let card = &mut state.cards[place];
        card.promised.insert(id, promise);
        let seat = Seat {
            number: card.number,
            name: card.name.clone(),
            visible: card.visible.clone().unwrap_or_default(),
            booking: Arc::new(Booking {
                cards: self.cards.clone(),
                place,
                id,
            }),
        };
        drop(state);
        self.cards.set_busy();
        Ok(seat)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.cards.lock().waiting.remove(&self.since).is_some() {
            self.cards.0.changed.notify_waiters();
        }
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
        devices::environment(&self.visible, &self.booking.cards.0.cache)
    }

    /// The card's place in the list.
    pub fn place(&self) -> usize {
        self.booking.place
    }

    /// What is promised, for whoever uses it longer than the seat.
    pub fn kept(&self) -> Kept {
        self.booking.clone()
    }

    /// The process on it.
    pub fn taken_by(&self, pid: u32) {
        let Booking { cards, place, id } = &*self.booking;
        if let Some(promise) = cards.lock().cards[*place].promised.get_mut(id) {
            promise.pid = Some(pid);
        }
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        let mut state = self.cards.lock();
        let card = &mut state.cards[self.place];
        card.promised.remove(&self.id);
        card.freed = Some(Instant::now());
        drop(state);
        self.cards.set_busy();
        self.cards.0.changed.notify_waiters();
    }
}

/// Makes a folder that is ours alone.
fn private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Looks for the cards that a worker with these settings would use, and checks them.
pub async fn examine(options: &WorkerOptions) -> Result<Found, ProcessError> {
    let launcher = Launcher::new(options.program.clone(), options.scratch.clone())?;
    let timing = Timing {
        period: Duration::MAX,
        patience: options.card_patience,
    };
    let cards = Cards::find(launcher, &options.code, &options.devices, timing).await;
    cards.check_idle().await;
    Ok(Found {
        cards: cards.details(),
        problem: cards.problem(),
    })
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
    const TRIED: usize = 16;
    let nvml = nvml::open();
    let named = devices::visible();
    let count = match &nvml {
        _ if named.is_some() => named.as_ref().map(Vec::len),
        Ok(nvml) => nvml::count(nvml).map(|count| count as usize),
        // Only a program that can use them has a reason to try.
        Err(_) if cfg!(feature = "cuda") => Some(TRIED),
        Err(_) => None,
    };
    let wanted = match devices {
        Devices::None => Vec::new(),
        Devices::Auto => (0..).take(count.unwrap_or(0)).collect(),
        Devices::List(numbers) => numbers.clone(),
    };
    let cards: Vec<Card> = wanted
        .into_iter()
        .map(|number: u32| {
            let visible = match named.as_ref().map(|named| devices::named(named, number)) {
                Some(Err(problem)) => return Card::forbidden(number, problem),
                Some(Ok(visible)) => visible,
                // One that is not there is named all the same: the check says what is wrong with it.
                None => number.to_string(),
            };
            let nvml::Listed { identity, name, memory } = nvml
                .as_ref()
                .map(|nvml| nvml::listed(nvml, &visible))
                .unwrap_or_default();
            Card::new(number, identity.unwrap_or(visible), name, memory)
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
