//! Server-sent events, as the HTML standard says: fields in lines, an empty line after each event.

use std::io::{self, BufRead, BufReader, Read};

/// The longest line that is read: more is no event of ours.
const LONGEST: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` when the server gives none.
    pub name: String,
    /// Its lines, joined.
    pub data: String,
}

/// Reads events until the stream ends. What is cut off at the end is no event.
pub struct Events<R> {
    reader: BufReader<R>,
    last_id: Option<String>,
    /// The line before ended with a carriage return, so that a line feed belongs to its end.
    after_return: bool,
    at_start: bool,
}

impl<R: Read> Events<R> {
    pub fn new(reader: R) -> Self {
        Events {
            reader: BufReader::new(reader),
            last_id: None,
            after_return: false,
            at_start: true,
        }
    }

    /// The id of the last event that had one.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// A line without its end; none when the stream is over.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                return Ok(None);
            }
            if std::mem::take(&mut self.after_return) && available[0] == b'\n' {
                self.reader.consume(1);
                continue;
            }
            let end = available.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            line.extend_from_slice(&available[..end.unwrap_or(available.len())]);
            if line.len() > LONGEST {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a line of the stream is too long",
                ));
            }
            match end {
                Some(at) => {
                    self.after_return = available[at] == b'\r';
                    self.reader.consume(at + 1);
                    break;
                }
                None => {
                    let all = available.len();
                    self.reader.consume(all);
                }
            }
        }
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<io::Result<Event>> {
        let (mut name, mut data, mut id) = (String::new(), None::<String>, None);
        loop {
            let line = match self.line() {
                Ok(line) => line?,
                Err(error) => return Some(Err(error)),
            };
            if line.is_empty() {
                if id.is_some() {
                    self.last_id = id.take();
                }
                if let Some(data) = data.take() {
                    let name = if name.is_empty() { "message".into() } else { name };
                    return Some(Ok(Event { name, data }));
                }
                name.clear();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => data = Some(value.to_owned()),
                },
                "event" => value.clone_into(&mut name),
                "id" if !value.contains('\0') => id = Some(value.to_owned()),
                // A comment, or a field of another time.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, as a network does.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(buffer.len());
            buffer[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    fn read(text: &str) -> (Vec<(String, String)>, Option<String>) {
        let mut outcomes = Vec::new();
        for size in [1, 2, 3, 7, 4096] {
            let mut events = Events::new(Drops(text.as_bytes(), size));
            let all = events
                .by_ref()
                .map(|event| event.map(|event| (event.name, event.data)).unwrap())
                .collect();
            outcomes.push((all, events.last_id().map(str::to_owned)));
        }
        assert!(
            outcomes.windows(2).all(|pair| pair[0] == pair[1]),
            "how it is cut must not matter: {outcomes:?}"
        );
        outcomes.remove(0)
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn fields_make_events() {
        let (events, last) = read("retry: 1000\n\n: hello\nid: 7\nevent: status\ndata: {\"a\":1}\n\nid: 8\ndata:x\n\n");
        assert_eq!(events, [event("status", "{\"a\":1}"), event("message", "x")]);
        assert_eq!(last.as_deref(), Some("8"));
    }

    #[test]
    fn every_end_of_line_is_one() {
        for end in ["\n", "\r\n", "\r"] {
            let text = "data: a\ndata: b\n\nevent: x\ndata\n\n".replace('\n', end);
            assert_eq!(read(&text).0, [event("message", "a\nb"), event("x", "")], "{end:?}");
        }
    }

    #[test]
    fn what_is_no_event_is_passed_over() {
        assert_eq!(read("event: a\n\n:\n\ndata: x\n\n").0, [event("message", "x")]);
        assert_eq!(read("data: a\n\ndata: cut off\n").0, [event("message", "a")]);
        assert_eq!(read("").0, []);
        assert_eq!(read("\u{feff}data: a\nunknown: b\n\n").0, [event("message", "a")]);
    }

    #[test]
    fn an_id_counts_once_its_event_is_whole() {
        assert_eq!(read("id: 1\ndata: a\n\nid: 2\ndata: b\n").1.as_deref(), Some("1"));
        assert_eq!(read("id: 1\ndata: a\n\ndata: b\n\n").1.as_deref(), Some("1"));
    }

    #[test]
    fn a_line_without_end_is_not_kept_forever() {
        let mut events = Events::new(io::repeat(b'x'));
        assert_eq!(events.next().unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
