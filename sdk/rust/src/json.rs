//! Just enough JSON to read parameters.
//!
//! Measured in a plugin: `serde_json` 18 KB, `miniserde` 16 KB, `tinyjson` 60 KB, this 5 KB; all of a plugin is to stay below
//! 100 KiB. The host has parsed the text before, so what is refused here never arrives.

use std::str::Chars;

/// A JSON value.
// Public only for the generated code of derived parameters.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    /// Members in the order of the text.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Of a text that is one JSON value.
    pub fn parse(json: &str) -> Option<Self> {
        let mut parser = Parser {
            rest: json.chars(),
            depth: 0,
        };
        let value = parser.value()?;
        (parser.peek() == '\0').then_some(value)
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.iter().find(|(own, _)| own == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

struct Parser<'a> {
    rest: Chars<'a>,
    depth: u32,
}

impl Parser<'_> {
    /// The next character that is not white space, NUL at the end; it stays.
    fn peek(&mut self) -> char {
        loop {
            match self.rest.clone().next() {
                Some(' ' | '\t' | '\n' | '\r') => _ = self.rest.next(),
                other => return other.unwrap_or('\0'),
            }
        }
    }

    fn take(&mut self, expected: char) -> Option<()> {
        (self.peek() == expected).then(|| _ = self.rest.next())
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.rest = self.rest.as_str().strip_prefix(word)?.chars();
        Some(value)
    }

    fn value(&mut self) -> Option<Value> {
        match self.peek() {
            'n' => self.word("null", Value::Null),
            't' => self.word("true", Value::Bool(true)),
            'f' => self.word("false", Value::Bool(false)),
            '"' => self.text().map(Value::Text),
            '[' => {
                let mut items = Vec::new();
                self.sequence('[', ']', |parser| parser.value().map(|item| items.push(item)))?;
                Some(Value::List(items))
            }
            '{' => {
                let mut members = Vec::new();
                self.sequence('{', '}', |parser| {
                    let name = parser.text()?;
                    parser.take(':')?;
                    parser.value().map(|value| members.push((name, value)))
                })?;
                Some(Value::Object(members))
            }
            _ => self.number().map(Value::Number),
        }
    }

    fn sequence(&mut self, open: char, close: char, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        self.depth += 1;
        if self.depth > 32 {
            return None;
        }
        if self.peek() != close {
            element(self)?;
            while self.peek() == ',' {
                self.take(',')?;
                element(self)?;
            }
        }
        self.depth -= 1;
        self.take(close)
    }

    fn text(&mut self) -> Option<String> {
        self.take('"')?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '"' => return Some(text),
                '\\' => text.push(match self.rest.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => self.unicode()?,
                    own @ ('"' | '\\' | '/') => own,
                    _ => return None,
                }),
                control if control < ' ' => return None,
                own => text.push(own),
            }
        }
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.hexadecimal()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        // The first half of a pair.
        self.rest = self.rest.as_str().strip_prefix("\\u")?.chars();
        let second = self
            .hexadecimal()?
            .checked_sub(0xdc00)
            .filter(|second| *second < 0x400)?;
        char::from_u32(0x10000 + (first - 0xd800) * 0x400 + second)
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |code, _| Some(code * 16 + self.rest.next()?.to_digit(16)?))
    }

    /// Exact up to 15 digits and exponents up to 22, as people write them: whole number and power of ten are then exact, and
    /// one multiplication or division rounds correctly. Beyond that the last bits may differ.
    fn number(&mut self) -> Option<f64> {
        let negative = self.peek() == '-';
        if negative {
            self.take('-')?;
        }
        let (mut mantissa, mut exponent, mut digits) = (0_u64, 0_i32, 0);
        let mut fraction = false;
        loop {
            match self.rest.clone().next() {
                Some('.') if !fraction && digits > 0 => fraction = true,
                Some(digit @ '0'..='9') => {
                    digits += 1;
                    // What no longer fits is dropped, and only counted.
                    match mantissa
                        .checked_mul(10)
                        .and_then(|mantissa| mantissa.checked_add(digit as u64 - '0' as u64))
                    {
                        Some(longer) => (mantissa, exponent) = (longer, exponent - i32::from(fraction)),
                        None => exponent += i32::from(!fraction),
                    }
                }
                _ => break,
            }
            self.rest.next();
        }
        if digits == 0 {
            return None;
        }
        if let Some('e' | 'E') = self.rest.clone().next() {
            self.rest.next();
            exponent = exponent.saturating_add(self.exponent()?);
        }
        // In steps of the largest power of ten that an f64 holds exactly.
        let mut number = mantissa as f64;
        while exponent != 0 && number != 0.0 && number.is_finite() {
            let step = exponent.clamp(-22, 22);
            let power = (0..step.abs()).fold(1.0, |power, _| power * 10.0);
            number = if step > 0 { number * power } else { number / power };
            exponent -= step;
        }
        Some(if negative { -number } else { number })
    }

    fn exponent(&mut self) -> Option<i32> {
        let sign = self.rest.clone().next().filter(|sign| matches!(sign, '+' | '-'));
        if sign.is_some() {
            self.rest.next();
        }
        let mut exponent = None;
        while let Some(digit) = self.rest.clone().next().and_then(|character| character.to_digit(10)) {
            // No number has an exponent of more than three digits that count.
            exponent = Some((exponent.unwrap_or(0) * 10 + digit as i32).min(9999));
            self.rest.next();
        }
        exponent.map(|exponent| if sign == Some('-') { -exponent } else { exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    fn number(json: &str) -> f64 {
        match Value::parse(json) {
            Some(Value::Number(number)) => number,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn numbers_as_people_write_them_are_exact() {
        for text in [
            "0",
            "-0",
            "1",
            "-17",
            "0.005",
            "1e-8",
            "2.5E3",
            "123456789012345",
            "0.1",
            "1e22",
            "3.141592653589793",
        ] {
            assert_eq!(number(text).to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        let large = number("1.7976931348623157e308") / f64::MAX;
        assert!((large - 1.0).abs() < 1e-14);
        assert_eq!(number("123456789012345678901234567890"), 1.2345678901234568e29);
    }

    #[test]
    fn texts_have_escapes_and_pairs() {
        let json = r#""a\"\\\/\n\u00e9\ud83d\ude00ß""#;
        assert_eq!(Value::parse(json), Some(Value::Text("a\"\\/\né😀ß".into())));
    }

    #[test]
    fn objects_and_lists_nest() {
        let value = Value::parse(" { \"a\" : [ 1 , [ ] , null ] , \"b\" : { } } ").unwrap();
        let list = Value::List(vec![Value::Number(1.0), Value::List(vec![]), Value::Null]);
        assert_eq!(value.get("a"), Some(&list));
        assert_eq!(value.get("b"), Some(&Value::Object(vec![])));
        assert_eq!(value.get("c"), None);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "tru",
            "1 2",
            "-",
            ".5",
            "1e",
            "\"\\x\"",
            "\"\n\"",
            "\"\\ud800\"",
            &deep,
        ] {
            assert_eq!(Value::parse(text), None, "{text:.20}");
        }
    }
}
