//! Files: what an `Artifacts` has to keep to.

use bytes::Bytes;
use futures_util::StreamExt;
use std::io::{Read, Write};
use trainyard_jobs::{ArtifactError, Artifacts, StoredObject};

const MIB: usize = 1 << 20;

fn object(key: &str, size: usize) -> StoredObject {
    StoredObject {
        key: key.into(),
        size: size as u64,
    }
}

/// Content in which every place differs from its neighbours.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|place| (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

fn local_file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

async fn streamed(artifacts: &dyn Artifacts, key: &str) -> Vec<u8> {
    let (size, mut stream) = artifacts.stream(key).await.unwrap();
    let mut content = Vec::new();
    while let Some(part) = stream.next().await {
        content.extend_from_slice(&part.unwrap());
    }
    assert_eq!(content.len() as u64, size);
    content
}

async fn keys(artifacts: &dyn Artifacts, prefix: &str) -> Vec<String> {
    artifacts
        .list(prefix)
        .await
        .unwrap()
        .into_iter()
        .map(|object| object.key)
        .collect()
}

pub async fn what_is_stored_is_read_in_every_way(artifacts: &dyn Artifacts) {
    for (key, size) in [
        ("a", 0),
        ("plugins/0f.wasm", 1),
        ("runs/r-1/deep/er/model_2.bin", 3 * MIB + 1),
    ] {
        let wanted = content(size);
        assert_eq!(
            artifacts.put(key, wanted.clone().into()).await.unwrap(),
            object(key, size)
        );
        assert_eq!(artifacts.get(key).await.unwrap(), wanted);
        assert_eq!(streamed(artifacts, key).await, wanted);
        let mut read = Vec::new();
        artifacts.open(key).await.unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, wanted);
    }
}

pub async fn a_large_file_is_stored_and_stays_where_it_was(artifacts: &dyn Artifacts) {
    for size in [20 * MIB + 7, 16 * MIB, 0] {
        let wanted = content(size);
        let file = local_file(&wanted);
        assert_eq!(
            artifacts.put_file("datasets/large.csv", file.path()).await.unwrap(),
            object("datasets/large.csv", size)
        );
        assert!(
            artifacts.get("datasets/large.csv").await.unwrap() == wanted,
            "{size} bytes"
        );
        assert!(std::fs::read(file.path()).unwrap() == wanted, "{size} bytes");
    }
    assert_eq!(
        artifacts.list("datasets").await.unwrap(),
        [object("datasets/large.csv", 0)]
    );
}

pub async fn a_file_that_cannot_be_read_leaves_nothing(artifacts: &dyn Artifacts) {
    let folder = tempfile::tempdir().unwrap();
    artifacts.put("runs/a", Bytes::from_static(b"before")).await.unwrap();
    for missing in [folder.path().join("nothing"), folder.path().to_owned()] {
        let error = artifacts.put_file("runs/a", &missing).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Source(_)), "{error:?}");
    }
    assert_eq!(artifacts.get("runs/a").await.unwrap(), "before");
    assert_eq!(keys(artifacts, "runs").await, ["runs/a"]);
}

pub async fn storing_again_replaces(artifacts: &dyn Artifacts) {
    artifacts.put("a", content(5000).into()).await.unwrap();
    artifacts.put("a", Bytes::from_static(b"short")).await.unwrap();
    assert_eq!(artifacts.get("a").await.unwrap(), "short");
    artifacts
        .put_file("a", local_file(b"from a file").path())
        .await
        .unwrap();
    assert_eq!(artifacts.get("a").await.unwrap(), "from a file");
}

pub async fn a_reader_keeps_what_it_began_with(artifacts: &dyn Artifacts) {
    let (old, new) = (content(4 * MIB), vec![7; 4 * MIB]);
    artifacts.put("a", old.clone().into()).await.unwrap();
    let (_, mut stream) = artifacts.stream("a").await.unwrap();
    let mut opened = artifacts.open("a").await.unwrap();
    let mut read = stream.next().await.unwrap().unwrap().to_vec();
    artifacts.put_file("a", local_file(&new).path()).await.unwrap();
    artifacts.delete("a").await.unwrap();
    artifacts.put("a", new.clone().into()).await.unwrap();
    while let Some(part) = stream.next().await {
        read.extend_from_slice(&part.unwrap());
    }
    assert!(read == old);
    read.clear();
    opened.read_to_end(&mut read).unwrap();
    assert!(read == old);
    assert!(artifacts.get("a").await.unwrap() == new);
}

pub async fn whoever_looks_while_others_store_sees_whole_files(artifacts: &dyn Artifacts) {
    let versions: Vec<Bytes> = (0..4).map(|version| Bytes::from(vec![version; MIB])).collect();
    artifacts.put("runs/a", versions[0].clone()).await.unwrap();
    let store = async |version: &Bytes| {
        for _ in 0..10 {
            artifacts.put("runs/a", version.clone()).await.unwrap();
        }
    };
    let look = async {
        for _ in 0..40 {
            let seen = artifacts.get("runs/a").await.unwrap();
            assert!(versions.contains(&seen), "{} bytes", seen.len());
            assert_eq!(artifacts.list("runs").await.unwrap(), [object("runs/a", MIB)]);
        }
    };
    futures_util::future::join(look, futures_util::future::join_all(versions.iter().map(store))).await;
}

pub async fn what_is_not_there_is_not_found(artifacts: &dyn Artifacts) {
    nothing_is_at(artifacts, ["nothing", "folder/other"]).await;
}

/// Not for a server of S3's protocol that keeps its objects as files, and falls over its own folders.
pub async fn a_folder_is_no_file_and_a_file_no_folder(artifacts: &dyn Artifacts) {
    nothing_is_at(artifacts, ["folder", "folder/file/below"]).await;
}

async fn nothing_is_at(artifacts: &dyn Artifacts, keys: [&str; 2]) {
    artifacts.put("folder/file", Bytes::new()).await.unwrap();
    for key in keys {
        let results = [
            artifacts.get(key).await.map(|_| ()),
            artifacts.stream(key).await.map(|_| ()),
            artifacts.open(key).await.map(|_| ()),
        ];
        for result in results {
            assert!(
                matches!(&result, Err(ArtifactError::NotFound { key: missing }) if missing == key),
                "{key}: {result:?}"
            );
        }
    }
}

pub async fn a_key_that_is_none_is_refused_everywhere(artifacts: &dyn Artifacts) {
    let source = local_file(b"x");
    let hostile = [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/../../b",
        "a/./b",
        "a\\b",
        "a b",
        "a\0b",
        "ä",
        "a#1",
        "lock#0",
        "%2e%2e/a",
        "a:b",
        "~",
        "*",
        "a\n",
        "/etc/passwd",
    ];
    for key in hostile {
        let results = [
            artifacts.put(key, Bytes::new()).await.map(|_| ()),
            artifacts.put_file(key, source.path()).await.map(|_| ()),
            artifacts.get(key).await.map(|_| ()),
            artifacts.stream(key).await.map(|_| ()),
            artifacts.open(key).await.map(|_| ()),
            artifacts.list(key).await.map(|_| ()),
            artifacts.delete(key).await,
            artifacts.delete_all(key).await,
        ];
        for (what, result) in results.into_iter().enumerate() {
            let Err(ArtifactError::Failed { key: named, reason }) = &result else {
                panic!("{key:?} {what}: {result:?}")
            };
            assert!(reason.contains("key") && !named.contains('\n'), "{reason}");
        }
    }
    for key in ["...", "a..b", ".hidden", "-", "_", "0/1/2/3/4/5/6/7/8/9"] {
        artifacts.put(key, Bytes::from_static(b"fine")).await.unwrap();
        assert_eq!(artifacts.get(key).await.unwrap(), "fine", "{key}");
    }
}

pub async fn files_are_listed_by_folder_in_order(artifacts: &dyn Artifacts) {
    for key in [
        "runs/r1/log",
        "runs/r1/a/b",
        "runs/r1/a-b",
        "runs/r10/log",
        "runs/r1.txt",
        "other",
    ] {
        artifacts.put(key, Bytes::from_static(b"123")).await.unwrap();
    }
    let r1 = [
        object("runs/r1/a-b", 3),
        object("runs/r1/a/b", 3),
        object("runs/r1/log", 3),
    ];
    assert_eq!(artifacts.list("runs/r1").await.unwrap(), r1);
    assert_eq!(keys(artifacts, "runs/r").await, [""; 0]);
    assert_eq!(keys(artifacts, "nothing").await, [""; 0]);
    assert_eq!(keys(artifacts, "runs").await.len(), 5);
}

pub async fn deleting_takes_what_was_named_and_no_more(artifacts: &dyn Artifacts) {
    for key in ["runs/r1/log", "runs/r1/a/b", "runs/r10/log", "runs/r1.txt"] {
        artifacts.put(key, Bytes::from_static(b"123")).await.unwrap();
    }
    artifacts.delete("runs/r1/nothing").await.unwrap();
    artifacts.delete("nothing/at/all").await.unwrap();
    artifacts.delete("runs/r1.txt").await.unwrap();
    artifacts.delete("runs/r1.txt").await.unwrap();
    artifacts.delete_all("runs/r1").await.unwrap();
    artifacts.delete_all("runs/r1").await.unwrap();
    assert_eq!(keys(artifacts, "runs").await, ["runs/r10/log"]);
    // And the place can be used again.
    artifacts.put("runs/r1/log", Bytes::new()).await.unwrap();
}

pub async fn a_store_that_works_says_so_and_leaves_no_trace(artifacts: &dyn Artifacts) {
    let checks = futures_util::future::join_all((0..8).map(|_| artifacts.check())).await;
    assert!(checks.iter().all(Result::is_ok), "{checks:?}");
    assert!(matches!(
        artifacts.get(".check").await,
        Err(ArtifactError::NotFound { .. })
    ));
}
