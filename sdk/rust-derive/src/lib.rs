//! The derive macros of `trainyard-sdk`: a struct of parameters, and an enum of choices. Documented there.

mod attribute;
mod choice;
mod parameters;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct the parameters of an algorithm. The text above a field is its description for users; `#[param(...)]` says
/// what it may be:
///
/// | in `#[param(...)]` | what it means |
/// |---|---|
/// | `default = 10` | the value when a user sets none: a number, `true`, a `"text"`, a list. Needed, except for an `Option` |
/// | `range = 1..=1000` | the smallest and largest number; `1..` and `0.0..1.0` (without the end) work too |
/// | `min = 1`, `max = 9` | the same, one by one |
/// | `exclusive_min = 0.0`, `exclusive_max = 1.0` | the same, without the bound itself |
/// | `choices = ["fast", "exact"]` | the only values |
/// | `length = 1..=8` | how many values a list may have |
///
/// In a `Vec`, ranges and choices are those of its values. See the trait `Parameters` for an example.
#[proc_macro_derive(Parameters, attributes(param))]
pub fn derive_parameters(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    parameters::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes an enum the type of a parameter. Its values are the names of the variants as a user writes them: `LeakyRelu` is
/// `"leaky_relu"`.
#[proc_macro_derive(Choice)]
pub fn derive_choice(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    choice::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// A text as JSON.
fn json_string(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\n' => json.push_str("\\n"),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", control as u32)),
            other => json.push(other),
        }
    }
    json + "\""
}
