//! Adapters that need nothing but this machine: a feed in memory and artifacts on the local disk.

mod disk;
mod feed;

pub use disk::DiskArtifacts;
pub use feed::LocalFeed;
