//! Connections: how many there are, how long a client may take for its part, and how they end.

use crate::app::App;
use crate::patience::Patient;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Whoever is at the other end, in every request's extensions.
#[derive(Clone)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its place among the connections; a WebSocket keeps it when HTTP is done with it.
    pub place: Arc<OwnedSemaphorePermit>,
}

/// What a connection too many gets. Nothing of its request has been read.
const FULL: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 2\r\nconnection: close\r\n",
    "content-length: 99\r\n\r\n",
    r#"{"code":503,"error":"too-many-connections","message":"the server has no place for one more client"}"#
);

/// Serves until `shutdown`, then gives those under way a little time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
    closing: watch::Sender<bool>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(app.options.max_connections));
    let service = TowerToHyperService::new(router);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // One that hung up at once is nothing; with no descriptors left, a moment may free some.
                if !matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                continue;
            }
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                let peer = Peer {
                    address: address.ip(),
                    place: Arc::new(place),
                };
                tokio::spawn(connection(
                    stream,
                    address,
                    peer,
                    service.clone(),
                    app.clone(),
                    closing.subscribe(),
                ));
            }
            Err(_) => {
                app.metrics.turned_away.inc();
                tokio::spawn(turn_away(stream));
            }
        }
    }
    drop(listener);
    // Nobody may be left who listens.
    let _ = closing.send(true);
    let all = u32::try_from(app.options.max_connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(app.options.shutdown_grace, places.acquire_many(all))
        .await
        .is_err()
    {
        tracing::warn!("some requests were still under way at the shutdown");
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    peer: Peer,
    service: TowerToHyperService<Router>,
    app: Arc<App>,
    mut closing: watch::Receiver<bool>,
) {
    // Small events are to arrive at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "TCP_NODELAY");
    }
    let stream = Patient::new(stream, app.options.stall_timeout);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        service.call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.options.head_timeout)
        // Above our own limits, so that these answer with our envelope.
        .max_headers(app.options.max_headers + 28)
        .max_buf_size((app.options.max_header_bytes + app.options.max_uri_bytes) * 2 + 8192)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a connection broke off");
    }
}

async fn turn_away(mut stream: TcpStream) {
    let written = tokio::time::timeout(Duration::from_secs(1), stream.write_all(FULL.as_bytes())).await;
    if matches!(written, Ok(Ok(()))) {
        let mut stream = Patient::new(stream, Duration::from_secs(1));
        let _ = stream.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_to_one_too_many_says_its_length() {
        let (head, body) = super::FULL.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
