//! Requests to a server: its address, the token, the envelope of its answers, its refusals, and when to try again.
//!
//! Reading is tried again when the connection breaks. What changes something is sent again only with a key by which the
//! server knows it.

use crate::args::ServerOptions;
use crate::config::{Config, Flags};
use crate::failure::{Failure, Refusal, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read};
use std::thread::sleep;
use std::time::Duration;
use trainyard_parameters::one_line;
use ureq::http::{Request, Response, Uri, header, request};
use ureq::{Agent, AsSendBody, Body, Timeout};

/// Where everything of the service is.
const BASE: &str = "/api/v2/ai";
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent. Live streams say that they are alive more often.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it may be silent over what takes time: reading an uploaded file, predicting.
const WORK: Duration = Duration::from_secs(900);
/// The largest answer that is read into memory.
const LARGEST: u64 = 1 << 30;
/// The first wait before another try, and how many there are.
const WAIT: Duration = Duration::from_millis(200);
const TRIES: u32 = 4;

/// A server, and as whom to ask it.
pub struct Client {
    soon: Agent,
    slow: Agent,
    url: String,
    authorization: Option<String>,
}

/// The address of a server as it is used: without a slash at the end, and without the API's own path.
pub fn base_url(text: &str) -> std::result::Result<String, String> {
    let trimmed = text.trim().trim_end_matches('/');
    let trimmed = trimmed.strip_suffix(BASE).unwrap_or(trimmed);
    let wrong = || format!("{trimmed:?} is no address of a server; write it as http://HOST:PORT");
    let uri: Uri = trimmed.parse().map_err(|_| wrong())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_web || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
        return Err(wrong());
    }
    Ok(trimmed.to_owned())
}

/// A part of a path or a query, with everything escaped that would mean something there.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut escaped, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            escaped
        })
}

impl Client {
    /// The server that options, environment and configuration name.
    pub fn new(options: &ServerOptions) -> Result<Self> {
        let flags = Flags::default()
            .with("--url", "client.url", options.url.as_deref())
            .with("--token", "client.token", options.token.as_deref());
        let config = Config::load(flags, options.config.as_deref())?.client;
        Self::of(&config.url, config.token.as_deref())
    }

    fn of(url: &str, token: Option<&str>) -> Result<Self> {
        let url = base_url(url).map_err(Failure::Usage)?;
        if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Failure::Usage(
                "the token has characters that no token has; is it cut or quoted?".into(),
            ));
        }
        let agent = |silence: Duration| {
            let mut config = Agent::config_builder()
                .http_status_as_error(false)
                .user_agent(concat!("trainyard/", env!("CARGO_PKG_VERSION")))
                .timeout_connect(Some(CONNECT))
                .timeout_per_read(Some(silence))
                .timeout_per_write(Some(SILENCE));
            if is_this_machine(&url) {
                // A proxy cannot know what runs here.
                config = config.proxy(None);
            }
            config.build().new_agent()
        };
        Ok(Client {
            soon: agent(SILENCE),
            slow: agent(WORK),
            authorization: token.map(|token| format!("Bearer {token}")),
            url,
        })
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Reads something.
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        again(|| {
            let request = self.request("GET", path, query);
            self.data(self.send(&self.soon, request, ())?)
        })
    }

    /// Changes something. With a key, a lost answer is asked for again, and the change made once.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value, key: Option<&str>) -> Result<T> {
        let text = body.to_string();
        let send = || {
            let mut request = self
                .request("POST", path, &[])
                .header(header::CONTENT_TYPE, "application/json");
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            self.data(self.send(&self.soon, request, text.as_str())?)
        };
        if key.is_some() { again(send) } else { send() }
    }

    /// Changes a part of something. Twice is as good as once.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let text = body.to_string();
        again(|| {
            let request = self
                .request("PATCH", path, &[])
                .header(header::CONTENT_TYPE, "application/json");
            self.data(self.send(&self.soon, request, text.as_str())?)
        })
    }

    /// Deletes something.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.data(self.send(&self.soon, self.request("DELETE", path, &[]), ())?)
    }

    /// Sends content that the server works on, such as a file.
    pub fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        content_type: &str,
        (mut content, size): (impl Read, u64),
    ) -> Result<T> {
        let request = self
            .request("POST", path, query)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, size)
            // A refusal comes before the content is sent, and not in the middle of it.
            .header(header::EXPECT, "100-continue");
        let body = ureq::SendBody::from_reader(&mut content);
        self.data(self.send(&self.slow, request, body)?)
    }

    /// Asks for something that takes the server a while.
    pub fn work<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)], body: &Value) -> Result<T> {
        let text = body.to_string();
        let content = (text.as_bytes(), text.len() as u64);
        self.upload(path, query, "application/json", content)
    }

    /// Opens a file of the server's.
    pub fn open(&self, path: &str, query: &[(&str, &str)]) -> Result<Response<Body>> {
        again(|| self.send(&self.soon, self.request("GET", path, query), ()))
    }

    /// Opens a live stream once, after an event that was seen.
    pub fn stream(&self, path: &str, after: Option<&str>) -> Result<impl Read + use<>> {
        let mut request = self
            .request("GET", path, &[])
            .header(header::ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        Ok(self.send(&self.soon, request, ())?.into_body().into_reader())
    }

    fn request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> request::Builder {
        let mut url = format!("{}{BASE}{path}", self.url);
        for (i, (name, value)) in query.iter().enumerate() {
            url.push(if i == 0 { '?' } else { '&' });
            url.push_str(&format!("{name}={}", escaped(value)));
        }
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request
    }

    /// Sends a request; an answer that is no success is a failure.
    fn send(&self, agent: &Agent, request: request::Builder, body: impl AsSendBody) -> Result<Response<Body>> {
        let request = request
            .body(body)
            .map_err(|error| Failure::Usage(format!("{}: {error}", self.url)))?;
        let response = agent.run(request).map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refused(response))
        }
    }

    /// What the envelope of a good answer holds.
    fn data<T: DeserializeOwned>(&self, response: Response<Body>) -> Result<T> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            data: T,
        }
        let text = self.read(response)?;
        match serde_json::from_slice::<Envelope<T>>(&text) {
            Ok(envelope) => Ok(envelope.data),
            Err(error) => Err(self.stranger(format!("the answer does not read: {error}"))),
        }
    }

    fn read(&self, response: Response<Body>) -> Result<Vec<u8>> {
        response
            .into_body()
            .into_with_config()
            .limit(LARGEST)
            .read_to_vec()
            .map_err(|error| self.broken(&error))
    }

    fn refused(&self, response: Response<Body>) -> Failure {
        #[derive(Deserialize)]
        struct Said {
            error: String,
            message: String,
            remedy: Option<String>,
            #[serde(default)]
            details: Value,
        }
        let status = response.status().as_u16();
        let text = match self.read(response) {
            Ok(text) => text,
            Err(failure) => return failure,
        };
        let Ok(said) = serde_json::from_slice::<Said>(&text) else {
            return match status {
                // What stands before a server says this while the server is away.
                502..=504 => Failure::Connection {
                    url: self.url.clone(),
                    reason: format!("HTTP {status}"),
                },
                _ => self.stranger(format!("HTTP {status}")),
            };
        };
        let remedy = match (status, self.authorization.is_some()) {
            (401, false) => Some("give a token in TRAINYARD_TOKEN or with --token; `trainyard token create NAME` makes one on the server's machine".into()),
            (401, true) => Some("the token is wrong, revoked or too old; `trainyard token create NAME` makes one on the server's machine".into()),
            (403, true) => {
                let scope = said.details.get("scope").and_then(Value::as_str).unwrap_or("SCOPE");
                Some(format!("use a token that may: `trainyard token create NAME --scope {}` makes one on the server's machine", one_line(scope)))
            }
            _ => said.remedy.as_deref().map(one_line),
        };
        Failure::Refused(Box::new(Refusal {
            status,
            error: one_line(&said.error),
            message: one_line(&said.message),
            remedy,
            details: said.details,
        }))
    }

    /// Why there is no answer.
    fn broken(&self, error: &ureq::Error) -> Failure {
        let url = self.url.clone();
        let nobody = |reason: &str| Failure::Unreachable {
            url: self.url.clone(),
            reason: reason.to_owned(),
        };
        match error {
            ureq::Error::HostNotFound => nobody("there is no such host"),
            ureq::Error::ConnectionFailed => nobody("no connection"),
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => nobody("it does not answer in time"),
            ureq::Error::Io(io) => match io.kind() {
                ErrorKind::ConnectionRefused => nobody("connection refused"),
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
                    nobody(&one_line(&io.to_string()))
                }
                _ => Failure::Connection {
                    url,
                    reason: one_line(&io.to_string()),
                },
            },
            ureq::Error::Timeout(_) => Failure::Connection {
                url,
                reason: "silent for too long".into(),
            },
            ureq::Error::Protocol(_) | ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
                self.stranger(one_line(&error.to_string()))
            }
            error => Failure::Connection {
                url,
                reason: one_line(&error.to_string()),
            },
        }
    }

    fn stranger(&self, problem: String) -> Failure {
        Failure::Stranger {
            url: self.url.clone(),
            problem,
        }
    }
}

/// A key that no other request has.
pub fn new_key() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Whether another try may do better.
pub fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Connection { .. } => true,
        Failure::Refused(refusal) => matches!(refusal.status, 502..=504) || refusal.error == "in-progress",
        _ => false,
    }
}

fn again<T>(mut send: impl FnMut() -> Result<T>) -> Result<T> {
    let mut wait = WAIT;
    for _ in 1..TRIES {
        match send() {
            Err(failure) if is_passing(&failure) => sleep(wait),
            outcome => return outcome,
        }
        wait *= 3;
    }
    send()
}

fn is_this_machine(url: &str) -> bool {
    let uri = url.parse::<Uri>();
    let host = uri.as_ref().ok().and_then(Uri::host).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Nothing, for requests that only do something.
pub fn nothing() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        assert_eq!(base_url("http://a:8080/").unwrap(), "http://a:8080");
        assert_eq!(base_url("https://a/yard/api/v2/ai").unwrap(), "https://a/yard");
        for wrong in ["", "a:8080", "ftp://a", "http://", "http://a?b=c", "http://a b"] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_of_a_path_cannot_leave_it() {
        assert_eq!(escaped("a/../b?c=d e#ü"), "a%2F..%2Fb%3Fc%3Dd%20e%23%C3%BC");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for url in ["http://localhost:1", "http://127.0.0.1", "http://[::1]:8080"] {
            assert!(is_this_machine(url), "{url}");
        }
        assert!(!is_this_machine("http://10.0.0.1"));
    }

    #[test]
    fn a_cut_token_is_told_before_it_is_sent() {
        assert!(Client::of("http://a", Some("ty_\n")).is_err());
        assert!(Client::of("http://a", Some("ty_x")).is_ok());
    }
}
