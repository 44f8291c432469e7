//! Text that may be anything, made fit for one line of a message.

/// The most characters of a plugin's text in a message.
const LONGEST: usize = 2_000;

/// A text that may be anything, as one line that a terminal can be trusted with.
pub fn one_line(text: &str) -> String {
    let mut line: String = text
        .trim_end()
        .chars()
        .take(LONGEST)
        .map(|c| match c {
            '\n' | '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push_str(" …");
    }
    line
}

/// A name that may be anything, in backticks.
pub fn quoted(name: &str) -> String {
    const SHOWN: usize = 60;
    let line = one_line(name);
    if line.chars().count() > SHOWN {
        let start: String = line.chars().take(SHOWN).collect();
        format!("`{start}…`")
    } else {
        format!("`{line}`")
    }
}
