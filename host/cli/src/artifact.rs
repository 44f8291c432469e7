//! A trained model on disk: a folder with the weights (`model.safetensors`), everything else to know (`model.json`), and the
//! plugin that made it (`plugin.wasm`, `plugin.py` or `plugin.zip`), so that the folder alone is enough to predict. The files' form is the worker's.

use crate::failure::{Failure, Result};
use std::fs;
use std::path::{Path, PathBuf};
use trainyard_kernels::Session;
use trainyard_sandbox::{Checkpoint, Kind, TrainedModel};
use trainyard_worker::artifact::{self as form, About, ModelFileError};
use trainyard_worker::protocol::files::{ABOUT, CHECKPOINT, WEIGHTS};

/// The plugin's file, by the endings that it may have.
const PLUGIN: &str = "plugin";
const ENDINGS: [&str; 3] = ["wasm", "py", "zip"];

/// Writes the folder: complete, or not at all where there was none.
pub fn write(folder: &Path, about: &About, model: &TrainedModel, plugin: (&[u8], Kind)) -> Result<()> {
    fs::create_dir_all(folder).map_err(Failure::file("create the folder", folder))?;
    let text = about.encode().map_err(broken(folder))?;
    let weights = form::encode_weights(model).map_err(broken(folder))?;
    // The description comes last: a folder without it is no model.
    let _ = fs::remove_file(folder.join(ABOUT));
    for ending in ENDINGS {
        let _ = fs::remove_file(folder.join(PLUGIN).with_extension(ending));
    }
    replace(&folder.join(PLUGIN).with_extension(plugin.1.extension()), plugin.0)?;
    replace(&folder.join(WEIGHTS), &weights)?;
    replace(&folder.join(ABOUT), &text)
}

/// A model read back.
pub struct Artifact {
    pub about: About,
    pub plugin: Vec<u8>,
    pub plugin_file: PathBuf,
    weights: Vec<u8>,
    folder: PathBuf,
}

/// Reads the folder and checks that it is whole.
pub fn read(folder: &Path) -> Result<Artifact> {
    let path = folder.join(ABOUT);
    if !path.is_file() {
        return Err(Failure::Artifact {
            path: folder.to_path_buf(),
            problem: format!("is not a model: it has no {ABOUT}"),
            remedy: "give the folder that `trainyard run --out` wrote",
        });
    }
    let plugin_file = ENDINGS
        .map(|ending| folder.join(PLUGIN).with_extension(ending))
        .into_iter()
        .find(|file| file.is_file())
        .unwrap_or_else(|| folder.join(PLUGIN).with_extension(ENDINGS[0]));
    let artifact = Artifact {
        about: About::decode(&read_file(&path)?).map_err(broken(folder))?,
        plugin: read_file(&plugin_file)?,
        plugin_file,
        weights: read_file(&folder.join(WEIGHTS))?,
        folder: folder.to_path_buf(),
    };
    form::check_weights(&artifact.weights).map_err(broken(folder))?;
    Ok(artifact)
}

impl Artifact {
    /// The model, its tensors in a session.
    pub fn model(&self, session: &Session) -> Result<TrainedModel> {
        self.about.model(&self.weights, session).map_err(broken(&self.folder))
    }
}

/// Stores a checkpoint beside what will be the model.
pub fn write_checkpoint(folder: &Path, checkpoint: &Checkpoint) -> Result<()> {
    fs::create_dir_all(folder).map_err(Failure::file("create the folder", folder))?;
    let bytes = form::encode_checkpoint(checkpoint).map_err(broken(folder))?;
    replace(&folder.join(CHECKPOINT), &bytes)
}

/// The bytes of the last checkpoint.
pub fn read_checkpoint(folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join(CHECKPOINT);
    if !path.is_file() {
        return Err(Failure::Artifact {
            path: folder.to_path_buf(),
            problem: "has no checkpoint to go on from".into(),
            remedy: "leave out --resume, or give the --out of the run that was interrupted",
        });
    }
    read_file(&path)
}

/// A checkpoint's tensors in a session.
pub fn decode_checkpoint(folder: &Path, bytes: &[u8], session: &Session) -> Result<Checkpoint> {
    form::decode_checkpoint(bytes, session).map_err(broken(folder))
}

/// After a model is written, its checkpoint is of no more use.
pub fn remove_checkpoint(folder: &Path) {
    let _ = fs::remove_file(folder.join(CHECKPOINT));
}

fn broken(folder: &Path) -> impl Fn(ModelFileError) -> Failure {
    |error| Failure::Artifact {
        path: folder.join(error.file),
        problem: error.problem,
        remedy: "the file is damaged or of another program; train again",
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Failure::file("read", path))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    form::replace(path, bytes).map_err(Failure::file("write", path))
}
