//! The servers that several machines share: database, queue and feed, files. Without them all of it is below `data_dir`.

use serde::{Deserialize, Serialize};
use trainyard_jobs::redis::RedisBrokerOptions;
use trainyard_jobs::s3::S3Options;

/// Where rows are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// PostgreSQL's address; a SQLite file when absent.
    pub url: Option<String>,
}

/// Where queue and feed are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Redis's address; they are within the process when absent.
    pub url: Option<String>,
    /// The number of the database that holds Celery's results.
    pub results: u32,
    /// Trainings that may begin in a minute, over all workers; 0 is no limit.
    pub rate_limit: u32,
}

/// Where files are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// The bucket; they are on the disk when absent.
    pub bucket: Option<String>,
    /// Put in front of every key.
    pub prefix: String,
    /// The server; Amazon's when absent.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: String,
    /// Who we are there.
    pub access_key_id: Option<String>,
    /// The secret to it.
    pub secret_access_key: Option<String>,
    /// MiB of fetched files that are kept.
    pub cache_mb: u64,
    /// Whether clients fetch results from the bucket itself.
    pub presign: bool,
}

impl Default for RedisConfig {
    fn default() -> Self {
        let RedisBrokerOptions { results, rate_limit } = RedisBrokerOptions::default();
        RedisConfig {
            url: None,
            results: u32::try_from(results).unwrap_or(0),
            rate_limit,
        }
    }
}

impl Default for S3Config {
    fn default() -> Self {
        S3Config {
            bucket: None,
            prefix: "trainyard".into(),
            endpoint: None,
            region: "us-east-1".into(),
            access_key_id: None,
            secret_access_key: None,
            cache_mb: 10_240,
            presign: false,
        }
    }
}

impl DatabaseConfig {
    /// What cannot be as it is set, without a word of the secrets.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        wrong_scheme("database.url", self.url.as_deref(), &["postgres://", "postgresql://"])
    }
}

impl RedisConfig {
    /// What cannot be as it is set, without a word of the secrets.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        wrong_scheme("redis.url", self.url.as_deref(), &["redis://", "rediss://"])
    }

    /// What the broker is told.
    pub fn broker(&self) -> RedisBrokerOptions {
        RedisBrokerOptions {
            results: i64::from(self.results),
            rate_limit: self.rate_limit,
        }
    }
}

impl S3Config {
    /// What cannot be as it is set.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = wrong_scheme("s3.endpoint", self.endpoint.as_deref(), &["http://", "https://"]);
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            let text = "s3.access_key_id and s3.secret_access_key belong together: set both, or neither";
            found.push(("s3.access_key_id", text.into()));
        }
        let good = |name: &str| {
            (3..=63).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        };
        if let Some(bucket) = self.bucket.as_deref().filter(|name| !good(name)) {
            let text = format!("{bucket:?} is no bucket: 3 to 63 of small letters, digits, - and .");
            found.push(("s3.bucket", text));
        }
        found
    }

    /// Where the bucket is, if there is one.
    pub fn options(&self) -> Option<S3Options> {
        Some(S3Options {
            bucket: self.bucket.clone()?,
            prefix: self.prefix.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            cache: self.cache_mb.saturating_mul(1 << 20),
            presign: self.presign,
        })
    }
}

fn wrong_scheme(key: &'static str, url: Option<&str>, schemes: &[&str]) -> Vec<(&'static str, String)> {
    match url {
        Some(url) if !schemes.iter().any(|scheme| url.starts_with(scheme)) => {
            vec![(key, format!("it does not begin with {}", schemes.join(" or ")))]
        }
        _ => Vec::new(),
    }
}
