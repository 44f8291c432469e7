//! Compiled plugins on disk. A plugin is compiled once, in a runner; what it hands back is stored here, and later runners
//! get a descriptor to read and map it. None of them can write here.
//!
//! A plugin of Python source has no code of its own: its runners get that of the Python engine, which all of them share.

use crate::failure::Failure;
use crate::options::WorkerOptions;
use crate::pool::Pool;
use crate::process::Runner;
use crate::protocol::files;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use trainyard_jobs::Artifacts;
use trainyard_sandbox::Kind;

/// Bytes of a file that tell what it is.
const HEAD: usize = 64 << 10;

/// The folder of compiled plugins.
pub(crate) struct CodeStore {
    folder: PathBuf,
    artifacts: Arc<dyn Artifacts>,
    pool: Pool,
    /// The file of the Python engine, and its digest once it was needed.
    python: Option<PathBuf>,
    python_digest: OnceCell<String>,
    /// By digest: the same plugin is not compiled twice at once, and none waits for another, such as for the Python engine.
    compiling: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Plugins whose code was found whole.
    seen: Mutex<HashSet<String>>,
}

/// A plugin's two files, for a runner.
pub(crate) struct PluginFiles {
    pub plugin: File,
    pub code: File,
    /// The digest of the Python engine, whose code it is; nothing where it is the plugin's own.
    pub engine: Option<String>,
}

impl CodeStore {
    pub fn new(options: &WorkerOptions, artifacts: Arc<dyn Artifacts>, pool: Pool) -> Self {
        CodeStore {
            folder: options.code.clone(),
            artifacts,
            pool,
            python: options.python_engine.clone(),
            python_digest: OnceCell::new(),
            compiling: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Where a plugin's bytes are kept.
    pub fn plugin_key(digest: &str) -> String {
        format!("plugins/{digest}.wasm")
    }

    /// What a plugin's file is, told by its first bytes.
    pub fn kind(plugin: &File) -> Result<Kind, Failure> {
        let mut head = vec![0; HEAD];
        let length = plugin
            .read_at(&mut head, 0)
            .map_err(|error| Failure::ours("the plugin's file", error))?;
        Kind::of(&head[..length]).map_err(|error| Failure::job(error.code(), error.to_string()))
    }

    /// A plugin's files; compiles it if need be.
    pub async fn files(&self, digest: &str) -> Result<PluginFiles, Failure> {
        let plugin = self.artifacts.open(&Self::plugin_key(digest)).await?;
        let (engine, code) = match self.engine_for(&plugin).await? {
            Some((engine, code)) => (Some(engine), code),
            None => (None, self.code_of(digest, &plugin).await?),
        };
        Ok(PluginFiles { plugin, code, engine })
    }

    /// The Python engine's digest and code, if the plugin is Python source.
    pub async fn engine_for(&self, plugin: &File) -> Result<Option<(String, File)>, Failure> {
        // What is no plugin at all is refused by the runner that reads it.
        if !Self::kind(plugin).is_ok_and(Kind::is_python) {
            return Ok(None);
        }
        let Some(python) = self.python_engine().await? else {
            let message = "this worker has no Python engine, so it cannot run plugins of Python source; put python-engine.wasm \
                beside the program, or set TRAINYARD_PYTHON_ENGINE, and start it again";
            return Err(Failure::job("no-python-engine", message));
        };
        Ok(Some(python))
    }

    /// Compiles the Python engine if there is one and it has not been compiled yet.
    pub async fn warm(&self) -> Result<(), Failure> {
        self.python_engine().await.map(drop)
    }

    /// The Python engine's digest and code, if there is an engine.
    async fn python_engine(&self) -> Result<Option<(String, File)>, Failure> {
        let Some(path) = &self.python else { return Ok(None) };
        let broken = |error| Failure::ours(&path.display().to_string(), error);
        let digest = self.python_digest.get_or_try_init(|| async {
            let path = path.clone();
            let content = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
            let content = content.map_err(|error| broken(error.into()))?.map_err(broken)?;
            Ok::<_, Failure>(trainyard_sandbox::digest(&content))
        });
        let digest = digest.await?;
        let engine = File::open(path).map_err(broken)?;
        let code = self.code_of(digest, &engine).await?;
        Ok(Some((digest.clone(), code)))
    }

    /// The stored code of a component; a runner makes it if need be.
    async fn code_of(&self, digest: &str, component: &File) -> Result<File, Failure> {
        if let Some(code) = self.code(digest) {
            return Ok(code);
        }
        let one = {
            let mut compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
            compiling.retain(|_, one| Arc::strong_count(one) > 1);
            compiling.entry(digest.to_owned()).or_default().clone()
        };
        let _one = one.lock().await;
        if let Some(code) = self.code(digest) {
            return Ok(code);
        }
        let mut runner = self.pool.take().await?;
        let compiled = crate::compute::compile(&mut runner, component).await;
        let kept = match compiled {
            Ok(()) => self.keep(digest, &runner).await,
            Err(failure) => Err(failure),
        };
        runner.kill().await;
        kept?;
        self.code(digest)
            .ok_or_else(|| Failure::ours("compiled plugin", "it is gone already"))
    }

    /// Stores the code that a runner has made of a plugin.
    pub async fn keep(&self, digest: &str, runner: &Runner) -> Result<(), Failure> {
        let mut from = runner.open_result(files::CODE)?;
        let to = self.path(digest);
        // Another worker, perhaps in another container, may do the same.
        let beside = self.folder.join(format!(".{digest}.{}", uuid::Uuid::new_v4()));
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
