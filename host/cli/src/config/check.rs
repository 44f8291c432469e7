//! What cannot be as it is set: values out of their range, and, when asked, folders and addresses that cannot be used.

use super::Config;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use trainyard_jobs::MOST_LABELS;
use trainyard_jobs::submission::is_label;
use trainyard_worker::Devices;

/// The largest number of seconds that makes sense anywhere: a year.
const YEAR: u64 = 366 * 24 * 3600;

/// Values that make no sense: the setting, and what is wrong with it.
pub fn problems(config: &Config) -> Vec<(&'static str, String)> {
    let Config {
        server,
        worker,
        database,
        redis,
        s3,
        tdengine,
        limits,
        client,
        ..
    } = config;
    let mut found = Vec::new();
    let mut range = |key, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            found.push((key, format!("{value} is not between {least} and {most}")));
        }
    };
    let count = |number: usize| number as u64;
    range("server.max_connections", count(server.max_connections), 1, 1 << 20);
    range("server.request_timeout", server.request_timeout, 1, 3600);
    range("server.max_plugin_mb", server.max_plugin_mb, 1, 4096);
    range("server.max_dataset_mb", server.max_dataset_mb, 1, 1 << 24);
    range("server.keep_alive", server.keep_alive, 1, 3600);
    range("worker.slots", worker.slots.map_or(1, count), 1, 1024);
    range("worker.threads", count(worker.threads), 1, 1024);
    range("worker.warm", count(worker.warm), 0, 1024);
    range("worker.card_check_seconds", worker.card_check_seconds, 1, 24 * 3600);
    range("worker.card_patience_seconds", worker.card_patience_seconds, 1, 600);
    range("worker.lease_seconds", worker.lease_seconds, 3, 3600);
    range("worker.renew_seconds", worker.renew_seconds, 1, 1200);
    range("worker.drain_seconds", worker.drain_seconds, 0, YEAR);
    range("worker.compute_slots", worker.compute_slots.map_or(1, count), 1, 1024);
    range("worker.open_models", count(worker.open_models), 0, 1024);
    range("worker.log_mb", worker.log_mb, 1, 1 << 20);
    range("redis.results", u64::from(redis.results), 0, 1023);
    range("redis.rate_limit", u64::from(redis.rate_limit), 0, 1_000_000);
    range("tdengine.connections", count(tdengine.connections), 1, 64);
    // The driver gives up by itself after 8, and misreads the server then.
    range("tdengine.connect_timeout", tdengine.connect_timeout, 1, 7);
    range("tdengine.query_timeout", tdengine.query_timeout, 1, 3600);
    range("tdengine.block_timeout", tdengine.block_timeout, 1, 3600);
    range("tdengine.max_rows", tdengine.max_rows, 1, 1 << 40);
    range("tdengine.max_mb", tdengine.max_mb, 1, 1 << 24);
    range("tdengine.max_time", tdengine.max_time, 1, YEAR);
    range("tdengine.cache_mb", tdengine.cache_mb, 0, 1 << 24);
    range("limits.time_seconds", limits.time_seconds, 1, YEAR);
    range("limits.memory_mb", limits.memory_mb, 64, 1 << 30);
    range("limits.max_memory_mb", limits.max_memory_mb.unwrap_or(64), 64, 1 << 30);
    if limits.max_gpu_memory_mb > 0 {
        range("limits.max_gpu_memory_mb", limits.max_gpu_memory_mb, 64, 1 << 30);
    }

    if worker.renew_seconds.saturating_mul(2) > worker.lease_seconds {
        let problem = format!(
            "{} is more than half of worker.lease_seconds, {}: a lost word would cost the training",
            worker.renew_seconds, worker.lease_seconds
        );
        found.push(("worker.renew_seconds", problem));
    }
    if limits.max_memory_mb.is_some_and(|most| most < limits.memory_mb) {
        found.push(("limits.memory_mb", "is more than limits.max_memory_mb".into()));
    }
    let plain = |name: &str| {
        (1..=100).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if let Some(name) = worker
        .name
        .as_deref()
        .filter(|name| !plain(&name.replacen('@', "-", 1)))
    {
        found.push((
            "worker.name",
            format!("{name:?} is not 1 to 100 of letters, digits, - _ . and one @"),
        ));
    }
    if let Some(name) = worker.queues.iter().find(|name| !plain(name)) {
        found.push((
            "worker.queues",
            format!("{name:?} is not 1 to 100 of letters, digits, - _ ."),
        ));
    }
    if let Some(label) = worker.labels.iter().find(|label| !is_label(label)) {
        found.push((
            "worker.labels",
            format!("{label:?} is not 1 to 32 of small letters, digits, - _"),
        ));
    }
    if let Err(problem) = worker.devices.parse::<Devices>() {
        found.push(("worker.devices", problem));
    }
    if worker.labels.len() > MOST_LABELS {
        found.push(("worker.labels", format!("there are more than {MOST_LABELS}")));
    }
    if worker.queues.is_empty() {
        found.push(("worker.queues", "there is none, so nothing would be trained".into()));
    }
    for (key, path) in paths(config) {
        if path.as_os_str().is_empty() {
            found.push((key, "the folder's name is empty".into()));
        } else if path.starts_with("~") {
            found.push((
                key,
                format!("{}: write the home folder out; ~ means nothing here", path.display()),
            ));
        }
    }
    found.extend(database.problems());
    found.extend(redis.problems());
    found.extend(s3.problems());
    found.extend(tdengine.problems());
    if let Err(problem) = crate::client::base_url(&client.url) {
        found.push(("client.url", problem));
    }
    found
}

fn paths(config: &Config) -> impl Iterator<Item = (&'static str, &Path)> {
    let roots = config
        .worker
        .data_roots
        .iter()
        .map(|root| ("worker.data_roots", root.as_path()));
    std::iter::once(("data_dir", config.data_dir.as_path())).chain(roots)
}

/// What this machine says to the configuration: what cannot be used, and what may be meant otherwise.
#[derive(Debug, Default)]
pub struct Usable {
    pub mistakes: Vec<(&'static str, String)>,
    pub warnings: Vec<(&'static str, String)>,
}

/// Tries the folders and addresses.
pub fn usable(config: &Config) -> Usable {
    let mut found = Usable::default();
    if let Err(problem) = writable(&config.data_dir) {
        found.mistakes.push(("data_dir", problem));
    }
    for root in &config.worker.data_roots {
        if let Err(error) = std::fs::read_dir(root) {
            found
                .mistakes
                .push(("worker.data_roots", format!("{}: {error}", root.display())));
        }
    }
    match TcpListener::bind(config.server.listen) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AddrInUse => found.warnings.push((
            "server.listen",
            format!(
                "{} is taken right now: by a running Trainyard, or by another program",
                config.server.listen
            ),
        )),
        Err(error) => found.mistakes.push((
            "server.listen",
            format!("{} cannot be listened on: {error}", config.server.listen),
        )),
    }
    let memory = super::machine_memory_mb();
    if config.limits.largest_memory_mb() > memory {
        let text = format!(
            "{} MiB, but this machine has {memory}",
            config.limits.largest_memory_mb()
        );
        found.warnings.push(("limits.max_memory_mb", text));
    } else if config.limits.memory_mb > config.limits.largest_memory_mb() {
        let text = format!(
            "{} MiB is more than a training may ask for here, {}: set it, or limits.max_memory_mb",
            config.limits.memory_mb,
            config.limits.largest_memory_mb()
        );
        found.warnings.push(("limits.memory_mb", text));
    }
    found
}

/// Whether a folder can be written to, or made.
fn writable(folder: &Path) -> Result<(), String> {
    let Some(there) = folder.ancestors().find(|path| path.exists()) else {
        return Ok(());
    };
    if !there.is_dir() {
        return Err(format!("{} is not a folder", there.display()));
    }
    rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| format!("{} cannot be written to: {error}", there.display()))
}
