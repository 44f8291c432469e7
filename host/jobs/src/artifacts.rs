//! The port for files: plugins, data sets, checkpoints, results.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::path::Path;
use std::time::Duration;

/// Content as it comes.
pub type ByteStream = BoxStream<'static, Result<Bytes, ArtifactError>>;

/// What a stored file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its key, such as `plugins/<digest>.wasm`.
    pub key: String,
    /// Its bytes.
    pub size: u64,
}

/// Why a file could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such file.
    #[error("{key}: no such artifact")]
    NotFound {
        /// Its key.
        key: String,
    },
    /// The disk is full, or the folder cannot be written or reached.
    #[error("{key}: the artifact store failed: {reason}")]
    Failed {
        /// The file's key.
        key: String,
        /// What the store says.
        reason: String,
    },
    /// The content stopped coming, or was larger than allowed.
    #[error("{0}")]
    Source(String),
}

/// Files under keys: letters, digits, `-`, `_`, `.`, in folders by `/`. A file is there whole, or not at all.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Stores bytes, in place of what was there.
    async fn put(&self, key: &str, content: Bytes) -> Result<StoredObject, ArtifactError>;

    /// Stores a local file, in place of what was there. The file stays.
    async fn put_file(&self, key: &str, file: &Path) -> Result<StoredObject, ArtifactError>;

    /// Reads a file whole.
    async fn get(&self, key: &str) -> Result<Bytes, ArtifactError>;

    /// Reads a file bit by bit: its bytes in all, and the content.
    async fn stream(&self, key: &str) -> Result<(u64, ByteStream), ArtifactError>;

    /// Makes a file available as a local one and opens it for reading, with no copy where it lies on this machine.
    async fn open(&self, key: &str) -> Result<std::fs::File, ArtifactError>;

    /// An address from which anyone may fetch a file for a while without asking us; none where there is no such thing.
    async fn link(&self, _key: &str, _for: Duration) -> Result<Option<String>, ArtifactError> {
        Ok(None)
    }

    /// The files under a prefix (a folder's key, without the last `/`), in order of their keys.
    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>, ArtifactError>;

    /// Deletes a file; nothing happens where there is none.
    async fn delete(&self, key: &str) -> Result<(), ArtifactError>;

    /// Deletes everything under a prefix.
    async fn delete_all(&self, prefix: &str) -> Result<(), ArtifactError>;

    /// Whether a file can be stored right now; the error says why not.
    async fn check(&self) -> Result<(), ArtifactError>;
}
