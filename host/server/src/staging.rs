//! Uploads on their way: streamed to a file of ours, measured and hashed, and gone when they have been stored elsewhere.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{self, content_type, declared_size, next_chunk, too_large};
use crate::idempotency::hex;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use multer::{Constraints, Multipart, SizeLimit};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use uuid::Uuid;

const PREFIX: &str = "upload-";
/// What boundaries and headers of a form may add to its file.
const FORM_OVERHEAD: u64 = 64 << 10;

/// An upload that is here. Its file is removed with it.
pub struct Staged {
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hexadecimal.
    pub digest: String,
    /// The name that a form gave it.
    pub name: Option<String>,
    /// What it says it is.
    pub content_type: Option<String>,
}

impl Drop for Staged {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "an upload's file could not be removed");
    }
}

/// Makes the folder, and removes what an earlier server left in it.
pub fn prepare(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Takes an upload: the body as it is, or the field `file` of a form.
pub async fn receive(app: &App, headers: &HeaderMap, body: Body, limit: u64) -> Result<Staged, ApiError> {
    let form = content_type(headers).as_deref() == Some("multipart/form-data");
    let overhead = if form { FORM_OVERHEAD } else { 0 };
    if declared_size(headers).is_some_and(|size| size > limit + overhead) {
        return Err(too_large(limit));
    }
    let whole = async {
        if form {
            receive_form(app, headers, body, limit).await
        } else {
            receive_raw(app, headers, body, limit).await
        }
    };
    match tokio::time::timeout(app.options.upload_timeout, whole).await {
        Ok(staged) => staged,
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            format!("the upload took longer than {} s", app.options.upload_timeout.as_secs()),
        )),
    }
}

async fn receive_raw(app: &App, headers: &HeaderMap, body: Body, limit: u64) -> Result<Staged, ApiError> {
    let mut sink = Sink::create(&app.options.staging, limit).await?;
    let mut body = body.into_data_stream();
    while let Some(chunk) = next_chunk(&mut body, app.options.body_timeout).await? {
        sink.write(chunk).await?;
    }
    sink.finish(None, content_type(headers)).await
}

async fn receive_form(app: &App, headers: &HeaderMap, body: Body, limit: u64) -> Result<Staged, ApiError> {
    let said = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let boundary = multer::parse_boundary(said)
        .map_err(|error| ApiError::bad_request("malformed-form", format!("the form: {error}")))?;
    let sizes = SizeLimit::new().whole_stream(limit + FORM_OVERHEAD);
    let constraints = Constraints::new().size_limit(sizes);
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
    let at_most = app.options.body_timeout;
    let wrong = |error: multer::Error| match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => too_large(limit),
        error => ApiError::bad_request("malformed-form", format!("the form: {error}")),
    };
    let late = || {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "the form stopped coming",
        )
    };
    while let Some(mut field) = tokio::time::timeout(at_most, form.next_field())
        .await
        .map_err(|_| late())?
        .map_err(wrong)?
    {
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().map(str::to_owned);
        let content_type = field.content_type().map(|kind| kind.essence_str().to_owned());
        let mut sink = Sink::create(&app.options.staging, limit).await?;
        while let Some(chunk) = tokio::time::timeout(at_most, field.chunk())
            .await
            .map_err(|_| late())?
            .map_err(wrong)?
        {
            sink.write(chunk).await?;
        }
        return sink.finish(name, content_type).await;
    }
    Err(ApiError::unprocessable("no-file", "the form has no field `file`"))
}

/// A file that grows.
struct Sink {
    file: BufWriter<File>,
    path: Unfinished,
    hash: Sha256,
    size: u64,
    limit: u64,
}

/// A file that is removed unless it is finished.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            remove(&path);
        }
    }
}

impl Sink {
    async fn create(folder: &Path, limit: u64) -> Result<Self, ApiError> {
        let path = folder.join(format!("{PREFIX}{}", Uuid::new_v4()));
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .await
            .map_err(|error| failed(&error))?;
        let path = Unfinished(Some(path));
        Ok(Sink {
            file: BufWriter::with_capacity(256 << 10, file),
            path,
            hash: Sha256::new(),
            size: 0,
            limit,
        })
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), ApiError> {
        self.size += chunk.len() as u64;
        if self.size > self.limit {
            return Err(too_large(self.limit));
        }
        self.hash.update(&chunk);
        self.file.write_all(&chunk).await.map_err(|error| failed(&error))
    }

    async fn finish(mut self, name: Option<String>, content_type: Option<String>) -> Result<Staged, ApiError> {
        self.file.flush().await.map_err(|error| failed(&error))?;
        if self.size == 0 {
            return Err(ApiError::unprocessable("empty-upload", "the upload is empty")
                .remedy("send the file's content as the body, such as with `curl --data-binary @file`"));
        }
        let digest = hex(&self.hash.finalize());
        let path = self.path.0.take().unwrap_or_default();
        Ok(Staged {
            path,
            size: self.size,
            digest,
            name,
            content_type,
        })
    }
}

fn failed(error: &io::Error) -> ApiError {
    tracing::error!(%error, "an upload could not be written");
    ApiError::unavailable(
        "storage-unavailable",
        format!("the upload could not be written: {error}"),
    )
}

/// Refuses a body whose type cannot be what is wanted. One that says nothing in particular is looked at.
pub fn must_be(headers: &HeaderMap, wanted: &[&str]) -> Result<(), ApiError> {
    // The last is what curl says of any body unless it is told otherwise.
    const ANY: [&str; 3] = [
        "application/octet-stream",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ];
    match content_type(headers) {
        Some(given) if !wanted.contains(&given.as_str()) && !ANY.contains(&given.as_str()) => {
            Err(extract::unsupported(&given, wanted[0]))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_earlier_server_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let staging = folder.path().join("new/staging");
        prepare(&staging).unwrap();
        std::fs::write(staging.join("upload-1"), "x").unwrap();
        std::fs::write(staging.join("notes.txt"), "x").unwrap();
        prepare(&staging).unwrap();
        assert!(!staging.join("upload-1").exists() && staging.join("notes.txt").exists());
    }
}
