//! A live stream as server-sent events.

use super::words::{self, Parts};
use super::{Live, Message};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use std::convert::Infallible;
use std::fmt::Write;

/// Milliseconds after which a browser comes back when the connection is lost.
const BEGINNING: &str = "retry: 1000\n\n";

pub fn response(live: Live) -> Response {
    let beginning = stream::once(async { Bytes::from_static(BEGINNING.as_bytes()) });
    let messages = stream::unfold(live, async |mut live| {
        let message = live.next().await?;
        Some((frame(&message), live))
    });
    let mut response = Response::new(Body::from_stream(beginning.chain(messages).map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    // Proxies that buffer would keep what is meant to be live.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn frame(message: &Message) -> Bytes {
    let Some(Parts { id, name, data }) = words::parts(message) else {
        return Bytes::from_static(b":\n\n");
    };
    let mut frame = String::with_capacity(data.len() + 48);
    // Writing to a String cannot fail. JSON has no line breaks.
    let _ = match (id, name) {
        (Some(id), Some(name)) => write!(frame, "id: {id}\nevent: {name}\ndata: {data}\n\n"),
        (Some(id), None) => write!(frame, "id: {id}\ndata: {data}\n\n"),
        (None, Some(name)) => write!(frame, "event: {name}\ndata: {data}\n\n"),
        (None, None) => write!(frame, "data: {data}\n\n"),
    };
    Bytes::from(frame)
}
