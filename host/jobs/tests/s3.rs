#![allow(clippy::unwrap_used, reason = "tests")]
//! The contract of artifacts, kept on a server that speaks S3's protocol.

mod contract;

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::io::{Read, Write};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use trainyard_jobs::s3::{S3Artifacts, S3Options};
use trainyard_jobs::{ArtifactError, Artifacts};

/// An adapter, and the server that it is on.
struct Adapter {
    port: S3Artifacts,
    folder: TempDir,
    server: JoinHandle<()>,
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn options(endpoint: &str) -> S3Options {
    S3Options {
        bucket: "models".into(),
        prefix: "plant/a".into(),
        endpoint: Some(endpoint.into()),
        region: "us-east-1".into(),
        access_key_id: Some("me".into()),
        secret_access_key: Some("secret".into()),
        cache: 1 << 20,
        presign: true,
    }
}

async fn artifacts() -> Option<Adapter> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("s3");
    std::fs::create_dir_all(root.join("models")).unwrap();
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(&root).unwrap());
    service.set_auth(SimpleAuth::from_single("me", "secret"));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let server = Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    Some(Adapter {
        port: S3Artifacts::new(&options(&endpoint), &folder.path().join("fetched")).unwrap(),
        folder,
        server,
    })
}

artifacts_contract!(artifacts);

#[tokio::test(flavor = "multi_thread")]
async fn keys_lie_below_the_prefix_and_what_is_opened_is_fetched_once() {
    let adapter = artifacts().await.unwrap();
    adapter.port.put("runs/a", Bytes::from_static(b"whole")).await.unwrap();
    let file = adapter.folder.path().join("s3/models/plant/a/runs/a");
    assert_eq!(std::fs::read(file).unwrap(), b"whole");
    let read = async || {
        let mut text = String::new();
        let mut opened = adapter.port.open("runs/a").await.unwrap();
        opened.read_to_string(&mut text).unwrap();
        text
    };
    let fetched = || {
        let files = std::fs::read_dir(adapter.folder.path().join("fetched")).unwrap();
        files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    assert_eq!(read().await, "whole");
    let [kept] = &fetched()[..] else {
        panic!("{:?}", fetched())
    };
    // The next one reads what is there: that shows by what it says.
    std::fs::write(kept, "known").unwrap();
    assert_eq!(read().await, "known");
    // Another version is another file.
    adapter.port.put("runs/a", Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(read().await, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_given_out_needs_no_secret() {
    let adapter = artifacts().await.unwrap();
    adapter.port.put("runs/a", Bytes::from_static(b"whole")).await.unwrap();
    let address = adapter
        .port
        .link("runs/a", Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    assert!(
        address.contains("/models/plant/a/runs/a?") && !address.contains("secret"),
        "{address}"
    );
    // As any client would, without a word of who it is.
    let (host, path) = address.trim_start_matches("http://").split_once('/').unwrap();
    let fetch = |path: String| {
        let host = host.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(&host).unwrap();
            write!(
                stream,
                "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
    };
    let answer = fetch(path.to_owned()).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("whole"),
        "{answer}"
    );
    let forged = path.replace("runs/a", "runs/b");
    let answer = fetch(forged).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_refuses_us_is_told_without_the_secret() {
    let adapter = artifacts().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let away = S3Artifacts::new(&options("http://127.0.0.1:1"), folder.path()).unwrap();
    let error = away.check().await.unwrap_err().to_string();
    assert!(!error.contains("secret") && error.len() < 1000, "{error}");
    assert!(matches!(away.get("a").await, Err(ArtifactError::Failed { .. })));
    drop(adapter);
}
