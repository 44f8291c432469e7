//! Artifacts in a bucket of S3, or of any server that speaks its protocol.
//!
//! Large files go up in parts and appear when the last one is there; each part carries its SHA-256, which the server
//! checks. What a killed process left of an upload is invisible; a rule of the bucket that aborts incomplete uploads after a
//! day removes it.

use crate::fetched::FetchedObjects;
use crate::objects;
use crate::{ArtifactError, Artifacts, ByteStream, StoredObject};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How long to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one request may take: of a part of 8 MiB, at most.
const REQUEST: Duration = Duration::from_secs(60);
/// How often a request is tried again, with longer and longer pauses, and for how long in all.
const RETRIES: usize = 3;
const TRYING: Duration = Duration::from_secs(30);

/// Where the bucket is, and who we are there.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// Put in front of every key; empty for none.
    pub prefix: String,
    /// The server, such as `http://127.0.0.1:9000`; Amazon's while there is none.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: String,
    /// Who we are; from the environment of the machine (`AWS_*`, the role of an instance) when absent.
    pub access_key_id: Option<String>,
    /// The secret to it.
    pub secret_access_key: Option<String>,
    /// Bytes of fetched objects that are kept on the disk for whoever opens them next; 0 keeps none.
    pub cache: u64,
    /// Whether clients fetch results from the bucket itself, by addresses that are good for a while.
    pub presign: bool,
}

/// [`Artifacts`] in a bucket.
pub struct S3Artifacts {
    store: PrefixStore<AmazonS3>,
    fetched: FetchedObjects,
    /// The bucket and the prefix, where addresses are given out.
    signer: Option<(AmazonS3, Key)>,
    scratch: PathBuf,
}

impl S3Artifacts {
    /// The artifacts of a bucket. Files that are opened are fetched to `scratch`.
    pub fn new(options: &S3Options, scratch: &Path) -> Result<Self, ArtifactError> {
        // The client has no cryptography of its own. An error says that the program has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = format!("s3://{}/{}", options.bucket, options.prefix);
        let failed = |reason: String| ArtifactError::Failed {
            key: name.clone(),
            reason,
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&options.bucket)
            .with_region(&options.region)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_client_options(
                ClientOptions::new()
                    .with_connect_timeout(CONNECT)
                    .with_timeout(REQUEST)
                    .with_allow_http(true),
            )
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: TRYING,
            });
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let (Some(id), Some(secret)) = (&options.access_key_id, &options.secret_access_key) {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let bucket = builder.build().map_err(|error| failed(error.to_string()))?;
        let prefix = Key::parse(&options.prefix).map_err(|error| failed(error.to_string()))?;
        let fetched = FetchedObjects::new(scratch, options.cache).map_err(|error| ArtifactError::Failed {
            key: scratch.display().to_string(),
            reason: objects::io_words(&error),
        })?;
        Ok(S3Artifacts {
            signer: options.presign.then(|| (bucket.clone(), prefix.clone())),
            store: PrefixStore::new(bucket, prefix),
            fetched,
            scratch: scratch.to_owned(),
        })
    }
}

#[async_trait]
impl Artifacts for S3Artifacts {
    async fn put(&self, key: &str, content: Bytes) -> Result<StoredObject, ArtifactError> {
        objects::put(&self.store, key, content).await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<StoredObject, ArtifactError> {
        objects::put_file(&self.store, key, file).await
    }

    async fn get(&self, key: &str) -> Result<Bytes, ArtifactError> {
        objects::get(&self.store, key).await
    }

    async fn stream(&self, key: &str) -> Result<(u64, ByteStream), ArtifactError> {
        objects::stream(&self.store, key).await
    }

    async fn open(&self, key: &str) -> Result<File, ArtifactError> {
        let path = objects::key_of(key)?;
        let found = self
            .store
            .head(&path)
            .await
            .map_err(|error| objects::read_failure(key, &error))?;
        let version = format!("{key} {:?} {} {}", found.e_tag, found.size, found.last_modified);
        if let Some(file) = self.fetched.find(&version) {
            return Ok(file);
        }
        let (size, mut content) = self.stream(key).await?;
        let failed = |error: std::io::Error| ArtifactError::Failed {
            key: key.to_owned(),
            reason: format!("{}: {}", self.scratch.display(), objects::io_words(&error)),
        };
        let named = self.fetched.begin().map_err(failed)?;
        let mut file = tokio::fs::File::from_std(named.reopen().map_err(failed)?);
        let mut fetched = 0;
        while let Some(part) = content.next().await {
            let part = part?;
            fetched += part.len() as u64;
            file.write_all(&part).await.map_err(failed)?;
        }
        if fetched != size {
            return Err(ArtifactError::Failed {
                key: key.to_owned(),
                reason: format!("{fetched} of {size} bytes came"),
            });
        }
        file.flush().await.map_err(failed)?;
        // Another version may have come between the two questions.
        if size == found.size {
            self.fetched.keep(&version, named).map_err(failed)?;
        }
        let mut file = file.into_std().await;
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        Ok(file)
    }

    async fn link(&self, key: &str, good_for: Duration) -> Result<Option<String>, ArtifactError> {
        let Some((bucket, prefix)) = &self.signer else {
            return Ok(None);
        };
        let key_below = objects::key_of(key)?;
        let whole: Key = prefix.parts().chain(key_below.parts()).collect();
        let address = bucket
            .signed_url(reqwest::Method::GET, &whole, good_for)
            .await
            .map_err(|error| objects::failure(key, &error))?;
        Ok(Some(address.to_string()))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>, ArtifactError> {
        objects::list(&self.store, prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), ArtifactError> {
        objects::delete(&self.store, key).await
    }

    async fn delete_all(&self, prefix: &str) -> Result<(), ArtifactError> {
        objects::delete_all(&self.store, prefix).await
    }

    async fn check(&self) -> Result<(), ArtifactError> {
        objects::check(&self.store).await
    }
}
