//! This machine, as rows and messages name it.

/// Its name.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".into(), |name| name.trim().to_owned())
}

/// Its load over 1, 5 and 15 minutes.
pub fn load() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut figures = text.split(' ').map(|figure| figure.parse().unwrap_or(0.0));
    std::array::from_fn(|_| figures.next().unwrap_or(0.0))
}
