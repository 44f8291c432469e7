//! Which cards a worker uses, and what a process has to be told to see one of them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The cards that a worker may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Devices {
    /// All that there are.
    #[default]
    Auto,
    /// None.
    None,
    /// Those with these numbers, in their order, each once.
    List(Vec<u32>),
}

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = Vec::new();
        match text.trim() {
            "auto" => return Ok(Devices::Auto),
            "none" => return Ok(Devices::None),
            text => {
                for part in text.split(',').map(str::trim) {
                    let digits = part.strip_prefix("cuda:").unwrap_or_default();
                    let number = digits.parse().ok().filter(|_| !digits.starts_with('+'));
                    numbers.push(number.ok_or_else(|| {
                        format!("{part:?} is no card; write auto, none, or a list such as cuda:0,cuda:1")
                    })?);
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(Devices::List(numbers))
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Devices::Auto => f.write_str("auto"),
            Devices::None => f.write_str("none"),
            Devices::List(numbers) => {
                let names: Vec<String> = numbers.iter().map(|number| format!("cuda:{number}")).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// The cards that this process may see, as its environment names them: numbers or the vendor's identities. `None` where the
/// environment says nothing.
pub(super) fn visible() -> Option<Vec<String>> {
    std::env::var("CUDA_VISIBLE_DEVICES").ok().map(|text| listed(&text))
}

fn listed(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        // As the driver reads it: what follows something that is no card does not count.
        .take_while(|part| !part.is_empty() && !part.starts_with('-'))
        .map(str::to_owned)
        .collect()
}

/// The card of a number among those that the environment names. A worker's list does not reach beyond those.
pub(super) fn named(visible: &[String], number: u32) -> Result<String, String> {
    visible.get(number as usize).cloned().ok_or_else(|| {
        let count = match visible.len() {
            0 => "no card".to_owned(),
            1 => "only 1 card".to_owned(),
            count => format!("only {count} cards"),
        };
        format!("CUDA_VISIBLE_DEVICES names {count}")
    })
}

/// The whole environment of a process that is to see one card alone, as its number 0: what concerns the driver of this process's
/// own, and nothing else.
pub(super) fn environment(card: &str, cache: &Path) -> Vec<(OsString, OsString)> {
    alone(std::env::vars_os(), card, cache)
}

fn alone(ours: impl Iterator<Item = (OsString, OsString)>, card: &str, cache: &Path) -> Vec<(OsString, OsString)> {
    let starts = |name: &OsStr, prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    let mut theirs: Vec<_> = ours
        .filter(|(name, _)| starts(name, "CUDA_") || starts(name, "NVIDIA_") || name == "LD_LIBRARY_PATH")
        .filter(|(name, _)| name != "CUDA_VISIBLE_DEVICES" && name != "CUDA_DEVICE_ORDER")
        .collect();
    // Kernels that the driver compiles for the card are kept; there is no home folder to keep them in.
    if !theirs.iter().any(|(name, _)| name == "CUDA_CACHE_PATH") {
        theirs.push(("CUDA_CACHE_PATH".into(), cache.into()));
    }
    // As tools of the vendor count: the same number is the same card everywhere.
    theirs.push(("CUDA_DEVICE_ORDER".into(), "PCI_BUS_ID".into()));
    theirs.push(("CUDA_VISIBLE_DEVICES".into(), card.into()));
    // Nothing may be added to the environment once the driver's threads read it: see `trainyard_kernels::configure_threads`.
    theirs.push(("CANDLE_NUM_THREADS".into(), "1".into()));
    theirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cards_of_a_worker_are_all_none_or_a_list() {
        assert_eq!("auto".parse(), Ok(Devices::Auto));
        assert_eq!("none".parse(), Ok(Devices::None));
        assert_eq!("cuda:1, cuda:0,cuda:1".parse(), Ok(Devices::List(vec![0, 1])));
        assert_eq!(Devices::List(vec![0, 1]).to_string(), "cuda:0,cuda:1");
        for text in ["", "cuda", "gpu", "cuda:x", "cuda:0,", "0", "cuda:+1", "auto,cuda:0"] {
            let problem = text.parse::<Devices>().unwrap_err();
            assert!(problem.contains("auto, none, or a list"), "{problem}");
        }
    }

    #[test]
    fn what_can_be_seen_ends_at_what_is_no_card() {
        assert_eq!(listed("2, GPU-8932f937,1"), ["2", "GPU-8932f937", "1"]);
        assert_eq!(listed("1,-1,0"), ["1"]);
        assert_eq!(listed(""), [""; 0]);
    }

    #[test]
    fn a_list_does_not_reach_beyond_what_can_be_seen() {
        let visible = ["3".to_owned(), "GPU-8932f937".to_owned()];
        assert_eq!(named(&visible, 1), Ok("GPU-8932f937".into()));
        assert_eq!(
            named(&visible, 2),
            Err("CUDA_VISIBLE_DEVICES names only 2 cards".into())
        );
        assert_eq!(named(&[], 0), Err("CUDA_VISIBLE_DEVICES names no card".into()));
    }

    #[test]
    fn a_process_on_a_card_learns_what_the_driver_needs_and_no_more() {
        let ours = [
            ("TRAINYARD_DATABASE_URL", "secret"),
            ("HOME", "/root"),
            ("LD_LIBRARY_PATH", "/cuda"),
            ("LD_PRELOAD", "/evil.so"),
            ("CUDA_VISIBLE_DEVICES", "0,1"),
            ("CUDA_DEVICE_ORDER", "FASTEST_FIRST"),
            ("CUDA_MODULE_LOADING", "LAZY"),
            ("NVIDIA_TF32_OVERRIDE", "0"),
        ];
        let ours = ours.into_iter().map(|(name, value)| (name.into(), value.into()));
        let theirs: Vec<(String, String)> = alone(ours, "GPU-1", Path::new("/code/cuda"))
            .into_iter()
            .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
            .collect();
        let expected = [
            ("LD_LIBRARY_PATH", "/cuda"),
            ("CUDA_MODULE_LOADING", "LAZY"),
            ("NVIDIA_TF32_OVERRIDE", "0"),
            ("CUDA_CACHE_PATH", "/code/cuda"),
            ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
            ("CUDA_VISIBLE_DEVICES", "GPU-1"),
            ("CANDLE_NUM_THREADS", "1"),
        ];
        assert_eq!(
            theirs,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
