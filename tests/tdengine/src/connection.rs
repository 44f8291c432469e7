//! One client's socket: from the handshake on, reads requests and writes what [`Answers`] says.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Error, Message,
        handshake::server::{ErrorResponse, Request as Handshake, Response},
        http::StatusCode,
        protocol::{
            CloseFrame, WebSocketConfig,
            frame::{
                FrameHeader,
                coding::{Data, OpCode},
            },
        },
    },
};

use crate::{
    answers::{Answers, Output, Shared, random_bytes},
    fault::{Moment, Then},
    request::Request,
};

type Socket = WebSocketStream<TcpStream>;

/// Serves one client until it leaves, or a fault ends it.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let _open = Counted(Arc::clone(&shared));
    let _ = stream.set_nodelay(true);
    let _ = connect(stream, shared).await;
}

/// Counts a connection as open until it is dropped.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connect(mut stream: TcpStream, shared: Arc<Shared>) -> Result<(), Error> {
    let mut status = None;
    let mut close = None;
    match shared.faults.take(Moment::Connect) {
        Some(Then::Hang) => return silence(stream).await,
        Some(Then::Drop | Then::DropMidMessage) => return Ok(()),
        Some(Then::Garbage) => return Ok(stream.write_all(&random_bytes(1000)).await?),
        Some(Then::BadText) => return Ok(stream.write_all(b"this is not HTTP\r\n\r\n").await?),
        Some(Then::Delay(time)) => sleep(time).await,
        Some(Then::CloseFrame(code, reason)) => close = Some((code, reason)),
        Some(Then::Error { code, message }) => {
            let code = u16::try_from(code)
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok());
            status = Some((code.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), message));
        }
        None | Some(Then::End | Then::LoseRows(_)) => {}
    }
    #[allow(
        clippy::result_large_err,
        reason = "tungstenite says what a handshake is answered with"
    )]
    let callback = |request: &Handshake, response: Response| {
        let refused = match status {
            None if request.uri().path() != "/ws" => Some((StatusCode::NOT_FOUND, "404 page not found".to_owned())),
            status => status,
        };
        match refused {
            None => Ok(response),
            Some((code, message)) => {
                let mut refusal = ErrorResponse::new(Some(message));
                *refusal.status_mut() = code;
                Err(refusal)
            }
        }
    };
    // a message is a statement of up to a megabyte; a larger one is still read, to be refused
    let config = WebSocketConfig::default()
        .max_message_size(Some(16 << 20))
        .max_frame_size(Some(16 << 20));
    let mut socket = accept_hdr_async_with_config(stream, callback, Some(config)).await?;
    if let Some((code, reason)) = close {
        return write(&mut socket, Output::Close(code, reason)).await.map(drop);
    }
    talk(socket, shared).await
}

async fn talk(mut socket: Socket, shared: Arc<Shared>) -> Result<(), Error> {
    let answers = Arc::new(Answers::new(Arc::clone(&shared)));
    let (late, mut delayed) = mpsc::unbounded_channel();
    let mut waiting = JoinSet::new();
    loop {
        let output = tokio::select! {
            message = socket.next() => {
                let since = Instant::now();
                let request = match message {
                    Some(Ok(Message::Text(text))) => Request::from_text(&text),
                    Some(Ok(Message::Binary(bytes))) => Request::from_bytes(&bytes),
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return Ok(()),
                };
                if let Request::Query { sql, .. } = &request {
                    crate::answers::lock(&shared.statements).push(sql.clone());
                }
                match answers.fault(&request) {
                    Some(Then::Delay(time)) => {
                        let (answers, late) = (Arc::clone(&answers), late.clone());
                        waiting.spawn(async move {
                            sleep(time).await;
                            let _ = late.send(answers.answer(&request, None, since));
                        });
                        None
                    }
                    fault => answers.answer(&request, fault, since),
                }
            }
            output = delayed.recv() => output.flatten(),
        };
        if let Some(output) = output
            && write(&mut socket, output).await?.ends()
        {
            return Ok(());
        }
    }
}

/// Whether the connection goes on.
enum Next {
    GoOn,
    End,
}

impl Next {
    fn ends(&self) -> bool {
        matches!(self, Self::End)
    }
}

async fn write(socket: &mut Socket, output: Output) -> Result<Next, Error> {
    match output {
        Output::Text(text) => socket.send(Message::text(text)).await?,
        Output::Binary(bytes) => socket.send(Message::binary(bytes)).await?,
        Output::Half(output) => {
            let (kind, payload) = match *output {
                Output::Text(text) => (Data::Text, text.into_bytes()),
                Output::Binary(bytes) => (Data::Binary, bytes),
                _ => return Ok(Next::End),
            };
            let header = FrameHeader {
                opcode: OpCode::Data(kind),
                ..FrameHeader::default()
            };
            let mut frame = Vec::new();
            header.format(payload.len() as u64, &mut frame)?;
            frame.extend_from_slice(&payload[..payload.len() / 2]);
            socket.flush().await?;
            socket.get_mut().write_all(&frame).await?;
            return Ok(Next::End);
        }
        Output::Close(code, reason) => {
            socket
                .close(Some(CloseFrame {
                    code: code.into(),
                    reason: reason.into(),
                }))
                .await?;
            return Ok(Next::End);
        }
        Output::Drop => return Ok(Next::End),
    }
    Ok(Next::GoOn)
}

/// Reads and says nothing until the client leaves.
async fn silence(mut stream: TcpStream) -> Result<(), Error> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
