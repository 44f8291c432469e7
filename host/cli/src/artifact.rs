//! A trained model on disk: a folder with the weights (`model.safetensors`), everything else to know (`model.json`), and the
//! plugin that made it (`plugin.wasm`), so that the folder alone is enough to predict.

use crate::failure::{Failure, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};
use trainyard_data::{Preprocessing, Schema};
use trainyard_kernels::{DType, Session, Tensor};
use trainyard_sandbox::{Checkpoint, TrainedModel};

const WEIGHTS: &str = "model.safetensors";
const ABOUT: &str = "model.json";
const PLUGIN: &str = "plugin.wasm";
const CHECKPOINT: &str = "checkpoint.safetensors";

/// What `model.json` says.
#[derive(Debug, Serialize, Deserialize)]
pub struct About {
    /// The version of this file's form.
    pub format: u32,
    /// The host that wrote it.
    pub host_version: String,
    /// The contract that host and plugin spoke.
    pub contract_version: String,
    pub plugin: PluginIdentity,
    pub parameters: Value,
    pub seed: u32,
    /// SHA-256 of the data.
    pub data: String,
    pub schema: Schema,
    pub preprocessing: Preprocessing,
    pub metrics: Map<String, Value>,
    /// The algorithm's own.
    pub note: Value,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PluginIdentity {
    pub name: String,
    pub version: String,
    /// SHA-256 of the file.
    pub digest: String,
}

/// Writes the folder: complete, or not at all where there was none.
pub fn write(folder: &Path, about: &About, model: &TrainedModel, plugin: &[u8]) -> Result<()> {
    fs::create_dir_all(folder).map_err(Failure::file("create the folder", folder))?;
    let text = serde_json::to_string_pretty(about).map_err(|e| broken(folder, ABOUT, e.to_string()))?;
    let weights = encode(&model.tensors, None).map_err(|e| broken(folder, WEIGHTS, e))?;
    // The description comes last: a folder without it is no model.
    let _ = fs::remove_file(folder.join(ABOUT));
    replace(&folder.join(PLUGIN), plugin)?;
    replace(&folder.join(WEIGHTS), &weights)?;
    replace(&folder.join(ABOUT), format!("{text}\n").as_bytes())
}

/// A model read back.
pub struct Artifact {
    pub about: About,
    pub plugin: Vec<u8>,
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
    let text = read_file(&path)?;
    let about: About =
        serde_json::from_slice(&text).map_err(|e| broken(folder, ABOUT, format!("it does not read: {e}")))?;
    let artifact = Artifact {
        about,
        plugin: read_file(&folder.join(PLUGIN))?,
        weights: read_file(&folder.join(WEIGHTS))?,
        folder: folder.to_path_buf(),
    };
    SafeTensors::deserialize(&artifact.weights).map_err(|e| broken(folder, WEIGHTS, e.to_string()))?;
    Ok(artifact)
}

impl Artifact {
    /// The model, its tensors in a session.
    pub fn model(&self, session: &Session) -> Result<TrainedModel> {
        let tensors = decode(&self.weights, session).map_err(|e| broken(&self.folder, WEIGHTS, e))?;
        Ok(TrainedModel {
            tensors,
            note: self
                .about
                .note
                .as_str()
                .map_or_else(|| self.about.note.to_string(), str::to_owned),
        })
    }
}

/// Stores a checkpoint beside what will be the model.
pub fn write_checkpoint(folder: &Path, checkpoint: &Checkpoint) -> Result<()> {
    fs::create_dir_all(folder).map_err(Failure::file("create the folder", folder))?;
    let bytes = encode(&checkpoint.tensors, Some(&checkpoint.note)).map_err(|e| broken(folder, CHECKPOINT, e))?;
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
pub fn decode_checkpoint(bytes: &[u8], session: &Session) -> Result<Checkpoint> {
    let place = Path::new(CHECKPOINT);
    let tensors = decode(bytes, session).map_err(|e| broken(place, CHECKPOINT, e))?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| broken(place, CHECKPOINT, e.to_string()))?;
    let note = header
        .metadata()
        .as_ref()
        .and_then(|m| m.get("note").cloned())
        .unwrap_or_default();
    Ok(Checkpoint { tensors, note })
}

/// After a model is written, its checkpoint is of no more use.
pub fn remove_checkpoint(folder: &Path) {
    let _ = fs::remove_file(folder.join(CHECKPOINT));
}

fn encode(tensors: &[(String, Tensor)], note: Option<&str>) -> std::result::Result<Vec<u8>, String> {
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let bytes = tensor.to_bytes().map_err(|e| format!("tensor `{name}`: {e}"))?;
        stored.push((name, to_safetensors(tensor.dtype()), tensor.shape().to_vec(), bytes));
    }
    let views: Vec<_> = stored
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<std::result::Result<_, safetensors::SafeTensorError>>()
        .map_err(|e| e.to_string())?;
    let metadata = note.map(|note| std::collections::HashMap::from([("note".to_owned(), note.to_owned())]));
    safetensors::serialize(views, metadata).map_err(|e| e.to_string())
}

fn decode(bytes: &[u8], session: &Session) -> std::result::Result<Vec<(String, Tensor)>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let dtype = from_safetensors(view.dtype())
            .ok_or_else(|| format!("tensor `{name}` has a type that no model here has: {:?}", view.dtype()))?;
        let tensor = Tensor::from_bytes(session, view.data(), view.shape(), dtype)
            .map_err(|e| format!("tensor `{name}`: {e}"))?;
        tensors.push((name, tensor));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tensors)
}

fn to_safetensors(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::U8 => Dtype::U8,
        DType::U32 => Dtype::U32,
        DType::I64 => Dtype::I64,
    }
}

fn from_safetensors(dtype: Dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|&d| to_safetensors(d) == dtype)
}

fn broken(folder: &Path, file: &str, problem: String) -> Failure {
    Failure::Artifact {
        path: folder.join(file),
        problem,
        remedy: "the file is damaged or of another program; train again",
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Failure::file("read", path))
}

/// Writes beside and renames, so that a reader never sees half a file.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("partial");
    fs::write(&beside, bytes).map_err(Failure::file("write", &beside))?;
    fs::rename(&beside, path).map_err(Failure::file("replace", path))
}
