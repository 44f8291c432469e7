//! Where a run's tensors are to be: what a submit may ask for.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The label of workers that have a card which works. They serve it by themselves.
pub const CARD_LABEL: &str = "gpu";

/// What a run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// A card where the worker has one that works, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// Any of the worker's cards.
    Cuda,
    /// The worker's card of this number.
    Card(u32),
}

impl DeviceChoice {
    /// Whether nothing but a card will do.
    pub const fn needs_card(self) -> bool {
        matches!(self, DeviceChoice::Cuda | DeviceChoice::Card(_))
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda => f.write_str("cuda"),
            DeviceChoice::Card(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let card = || {
            let number = text.strip_prefix("cuda:")?;
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| plain).map(DeviceChoice::Card)
        };
        match text {
            "auto" => Some(DeviceChoice::Auto),
            "cpu" => Some(DeviceChoice::Cpu),
            "cuda" => Some(DeviceChoice::Cuda),
            _ => card(),
        }
        .ok_or_else(|| {
            let said: String = text.chars().take(40).collect();
            format!("device is {said:?}; it has to be auto, cpu, cuda or cuda:N")
        })
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_one_of_four_forms() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda),
            ("cuda:0", DeviceChoice::Card(0)),
            ("cuda:12", DeviceChoice::Card(12)),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
            assert_eq!(serde_json::to_string(&choice).unwrap(), format!("{text:?}"));
        }
        for text in [
            "",
            "gpu",
            "CPU",
            "cuda:",
            "cuda:x",
            "cuda:+1",
            "cuda:-1",
            "cuda:99999999999",
        ] {
            let problem = text.parse::<DeviceChoice>().unwrap_err();
            assert!(problem.contains("auto, cpu, cuda or cuda:N"), "{problem}");
        }
    }
}
