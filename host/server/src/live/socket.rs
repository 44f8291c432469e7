//! A live stream as a WebSocket: one JSON text a message. What the client says is not listened to.

use super::words::{self, Parts};
use super::{Live, Message};
use crate::connections::Peer;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use tokio::time::Instant;

/// Bytes of a client's message at most.
const LARGEST: usize = 64 << 10;

pub fn response(upgrade: WebSocketUpgrade, live: Live, peer: Peer) -> Response {
    upgrade
        .max_message_size(LARGEST)
        .max_frame_size(LARGEST)
        .on_upgrade(async move |socket| {
            serve(socket, live).await;
            drop(peer.place);
        })
}

async fn serve(mut socket: WebSocket, mut live: Live) {
    let patience = live.app.options.stall_timeout + live.app.options.keep_alive;
    let mut heard = Instant::now();
    loop {
        let frame = tokio::select! {
            message = live.next() => match message {
                Some(Message::Alive) if heard.elapsed() > patience => return,
                Some(message) => frame(&message),
                None => {
                    let _ = socket.send(Frame::Close(None)).await;
                    // The client's own goodbye is waited for, or it may not see the last events.
                    let _ = tokio::time::timeout(live.app.options.look, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
                    return;
                }
            },
            said = socket.recv() => match said {
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
        };
        if socket.send(frame).await.is_err() {
            return;
        }
    }
}

fn frame(message: &Message) -> Frame {
    let Some(Parts { id, name, data }) = words::parts(message) else {
        return Frame::Ping(Default::default());
    };
    let name = name.unwrap_or("log");
    let text = match id {
        Some(id) => format!("{{\"id\":{id},\"event\":\"{name}\",\"data\":{data}}}"),
        None => format!("{{\"event\":\"{name}\",\"data\":{data}}}"),
    };
    Frame::Text(text.into())
}
