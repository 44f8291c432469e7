//! Compiled plugins on disk. A plugin is compiled once, in a runner; what it hands back is stored here, and later runners
//! get a descriptor to read and map it. None of them can write here.

use crate::failure::Failure;
use crate::pool::Pool;
use crate::process::Runner;
use crate::protocol::files;
use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use trainyard_jobs::Artifacts;

/// The folder of compiled plugins.
pub(crate) struct CodeStore {
    folder: PathBuf,
    artifacts: Arc<dyn Artifacts>,
    pool: Pool,
    /// One compilation at a time: the same plugin is not compiled twice, and jobs keep a core.
    compiling: tokio::sync::Mutex<()>,
    /// Plugins whose code was found whole.
    seen: Mutex<HashSet<String>>,
}

/// A plugin's two files, for a runner.
pub(crate) struct PluginFiles {
    pub plugin: File,
    pub code: File,
}

impl CodeStore {
    pub fn new(folder: PathBuf, artifacts: Arc<dyn Artifacts>, pool: Pool) -> Self {
        CodeStore {
            folder,
            artifacts,
            pool,
            compiling: tokio::sync::Mutex::new(()),
            seen: Mutex::default(),
        }
    }

    /// Where a plugin's bytes are kept.
    pub fn plugin_key(digest: &str) -> String {
        format!("plugins/{digest}.wasm")
    }

    /// A plugin's files; compiles it if need be.
    pub async fn files(&self, digest: &str) -> Result<PluginFiles, Failure> {
        let plugin = self.artifacts.open(&Self::plugin_key(digest)).await?;
        if let Some(code) = self.code(digest) {
            return Ok(PluginFiles { plugin, code });
        }
        let _one = self.compiling.lock().await;
        if let Some(code) = self.code(digest) {
            return Ok(PluginFiles { plugin, code });
        }
        let mut runner = self.pool.take().await?;
        let compiled = crate::compute::inspect(&mut runner, &plugin).await;
        let kept = match compiled {
            Ok(_) => self.keep(digest, &runner).await,
            Err(failure) => Err(failure),
        };
        runner.kill().await;
        kept?;
        let code = self
            .code(digest)
            .ok_or_else(|| Failure::ours("compiled plugin", "it is gone already"))?;
        Ok(PluginFiles { plugin, code })
    }

    /// Stores the code that a runner has made of a plugin.
    pub async fn keep(&self, digest: &str, runner: &Runner) -> Result<(), Failure> {
        let mut from = runner.open_result(files::CODE)?;
        let to = self.path(digest);
        let beside = self.folder.join(format!(".{digest}.{}", runner.pid()));
        tokio::task::spawn_blocking(move || {
            let copied = File::create(&beside)
                .and_then(|mut file| {
                    std::io::copy(&mut from, &mut file)?;
                    file.sync_all()
                })
                .and_then(|()| std::fs::rename(&beside, &to));
            if copied.is_err() {
                // Nothing is lost when this fails too: it is a file that nobody reads.
                let _ = std::fs::remove_file(&beside);
            }
            copied.map_err(|error| Failure::ours(&to.display().to_string(), error))
        })
        .await
        .map_err(|error| Failure::ours("compiled plugin", error))?
    }

    /// The stored code. The first time in this process it is read whole, to see that it is what was stored.
    fn code(&self, digest: &str) -> Option<File> {
        let path = self.path(digest);
        let file = File::open(&path).ok()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains(digest) {
            if !trainyard_sandbox::is_whole(&file, digest).unwrap_or(false) {
                tracing::warn!(path = %path.display(), "a compiled plugin is damaged; it is compiled again");
                return None;
            }
            seen.insert(digest.to_owned());
        }
        Some(file)
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(trainyard_sandbox::code_name(digest))
    }
}
