//! What every store of objects does alike, whether on the local disk or in S3.

use crate::{ArtifactError, ByteStream, StoredObject};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::io;
use std::path::Path;
use tokio::io::AsyncReadExt;

/// Bytes of a file that are in memory at once while it is stored. S3 wants 5 MiB at least.
const PART: usize = 8 << 20;

/// A key in the store's own type, if it is one.
pub(crate) fn key_of(key: &str) -> Result<Key, ArtifactError> {
    let good = key.split('/').all(|segment| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    });
    let parsed = if good { Key::parse(key).ok() } else { None };
    parsed.ok_or_else(|| ArtifactError::Failed {
        key: key.escape_debug().to_string(),
        reason: "not a key: a key is letters, digits, `-`, `_` and `.`, in folders by `/`".into(),
    })
}

/// The system's words, plainer.
pub(crate) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only".into(),
        io::ErrorKind::PermissionDenied => "the folder may not be written or read by this user".into(),
        io::ErrorKind::NotADirectory => "a folder of its path is a file".into(),
        io::ErrorKind::IsADirectory => "there is a folder in its place".into(),
        _ => error.to_string(),
    }
}

/// What the store says, in plain words: those of the system's error that is behind it, if there is one.
pub(crate) fn failure(key: &str, error: &object_store::Error) -> ArtifactError {
    if matches!(error, object_store::Error::NotFound { .. }) {
        return ArtifactError::NotFound { key: key.to_owned() };
    }
    let reason = io_cause(error).map_or_else(|| error.to_string(), io_words);
    ArtifactError::Failed {
        key: key.to_owned(),
        reason,
    }
}

/// The same for reading: where a folder of the path is a file, the key is of nothing.
pub(crate) fn read_failure(key: &str, error: &object_store::Error) -> ArtifactError {
    match io_cause(error).map(io::Error::kind) {
        Some(io::ErrorKind::NotADirectory) => ArtifactError::NotFound { key: key.to_owned() },
        _ => failure(key, error),
    }
}

/// The system's error behind another.
fn io_cause(error: &object_store::Error) -> Option<&io::Error> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        source = error.source();
    }
    None
}

pub(crate) async fn put(store: &dyn ObjectStore, key: &str, content: Bytes) -> Result<StoredObject, ArtifactError> {
    let path = key_of(key)?;
    let size = content.len() as u64;
    store
        .put(&path, PutPayload::from_bytes(content))
        .await
        .map_err(|error| failure(key, &error))?;
    Ok(StoredObject {
        key: key.to_owned(),
        size,
    })
}

pub(crate) async fn put_file(store: &dyn ObjectStore, key: &str, file: &Path) -> Result<StoredObject, ArtifactError> {
    let path = key_of(key)?;
    let unreadable = |error: io::Error| ArtifactError::Source(format!("{}: {}", file.display(), io_words(&error)));
    let mut content = tokio::fs::File::open(file).await.map_err(unreadable)?;
    let mut next = async || {
        let mut part = Vec::with_capacity(PART);
        (&mut content)
            .take(PART as u64)
            .read_to_end(&mut part)
            .await
            .map_err(unreadable)?;
        Ok::<_, ArtifactError>(Bytes::from(part))
    };
    let mut part = next().await?;
    if part.len() < PART {
        return put(store, key, part).await;
    }
    let mut upload = store.put_multipart(&path).await.map_err(|error| failure(key, &error))?;
    let mut size = 0;
    let stored = async {
        while !part.is_empty() {
            size += part.len() as u64;
            upload
                .put_part(part.into())
                .await
                .map_err(|error| failure(key, &error))?;
            part = next().await?;
        }
        upload.complete().await.map_err(|error| failure(key, &error))
    }
    .await;
    if let Err(error) = stored {
        let _ = upload.abort().await;
        return Err(error);
    }
    Ok(StoredObject {
        key: key.to_owned(),
        size,
    })
}

pub(crate) async fn get(store: &dyn ObjectStore, key: &str) -> Result<Bytes, ArtifactError> {
    let path = key_of(key)?;
    let found = store.get(&path).await.map_err(|error| read_failure(key, &error))?;
    found.bytes().await.map_err(|error| read_failure(key, &error))
}

pub(crate) async fn stream(store: &dyn ObjectStore, key: &str) -> Result<(u64, ByteStream), ArtifactError> {
    let path = key_of(key)?;
    let found = store.get(&path).await.map_err(|error| read_failure(key, &error))?;
    let size = found.meta.size;
    let key = key.to_owned();
    Ok((
        size,
        found
            .into_stream()
            .map_err(move |error| read_failure(&key, &error))
            .boxed(),
    ))
}

pub(crate) async fn list(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<StoredObject>, ArtifactError> {
    let path = key_of(prefix)?;
    let found: Vec<_> = store
        .list(Some(&path))
        .try_collect()
        .await
        .map_err(|error| failure(prefix, &error))?;
    let mut objects: Vec<StoredObject> = found
        .into_iter()
        .map(|meta| StoredObject {
            key: meta.location.to_string(),
            size: meta.size,
        })
        .collect();
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

pub(crate) async fn delete(store: &dyn ObjectStore, key: &str) -> Result<(), ArtifactError> {
    let path = key_of(key)?;
    match store.delete(&path).await {
        Ok(()) => Ok(()),
        Err(error) => match read_failure(key, &error) {
            ArtifactError::NotFound { .. } => Ok(()),
            error => Err(error),
        },
    }
}

pub(crate) async fn delete_all(store: &dyn ObjectStore, prefix: &str) -> Result<(), ArtifactError> {
    for object in list(store, prefix).await? {
        delete(store, &object.key).await?;
    }
    Ok(())
}

/// Stores something and deletes it.
pub(crate) async fn check(store: &dyn ObjectStore) -> Result<(), ArtifactError> {
    // Two at once do no harm: whoever deletes second finds it gone, which is fine.
    put(store, ".check", Bytes::from_static(b"ok")).await?;
    delete(store, ".check").await
}
