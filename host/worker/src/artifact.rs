//! A trained model as files: the weights (`model.safetensors`) and everything else to know (`model.json`); and a checkpoint
//! of a training under way. This is their form alone; where they lie is up to whoever writes them.

use crate::protocol::PluginIdentity;
use crate::protocol::files::{ABOUT, CHECKPOINT, WEIGHTS};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use trainyard_data::{Dataset, Preprocessing, Schema};
use trainyard_kernels::{DType, Session, Tensor};
use trainyard_sandbox::{Checkpoint, Description, TrainedModel, contract_version};

/// What stands beside a checkpoint's tensors: the algorithm's note, and a list of their names.
const NOTE: &str = "note";
const ORDER: &str = "order";

/// What `model.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The version of this file's form.
    pub format: u32,
    /// The host that wrote it.
    pub host_version: String,
    /// The contract that host and plugin spoke.
    pub contract_version: String,
    /// Which plugin it was.
    pub plugin: PluginIdentity,
    /// All parameters, the defaults too.
    pub parameters: Value,
    /// What every random number followed from.
    pub seed: u32,
    /// SHA-256 of the data.
    pub data: String,
    /// The names and sizes that the algorithm knew.
    pub schema: Schema,
    /// What turns new rows into the numbers that the model was trained on.
    pub preprocessing: Preprocessing,
    /// Figures on the test rows.
    pub metrics: Map<String, Value>,
    /// The algorithm's own.
    pub note: Value,
}

/// A file of a model that cannot be written or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}; the file is damaged or of another program; train again")]
pub struct ModelFileError {
    /// Which file.
    pub file: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl ModelFileError {
    fn new(file: &'static str, problem: impl ToString) -> Self {
        ModelFileError {
            file,
            problem: problem.to_string(),
        }
    }
}

/// What a model came from.
pub struct Origin<'a> {
    /// What the plugin says about itself.
    pub description: &'a Description,
    /// SHA-256 of its file, in hexadecimal.
    pub digest: &'a str,
    /// SHA-256 of the Python engine that ran it, if one did.
    pub engine: Option<&'a str>,
    /// All parameters.
    pub parameters: Value,
    /// What every random number followed from.
    pub seed: u32,
    /// What it was trained on.
    pub dataset: &'a Dataset,
}

impl About {
    /// What there is to know of a model.
    pub fn of(origin: Origin<'_>, model: &TrainedModel, metrics: &[(String, f64)]) -> Self {
        About {
            format: 1,
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            contract_version: contract_version(),
            plugin: PluginIdentity {
                name: origin.description.name.clone(),
                version: origin.description.version.clone(),
                digest: origin.digest.to_owned(),
                engine: origin.engine.map(str::to_owned),
            },
            parameters: origin.parameters,
            seed: origin.seed,
            data: origin.dataset.fingerprint().to_owned(),
            schema: origin.dataset.schema(),
            preprocessing: origin.dataset.preprocessing().clone(),
            metrics: metrics
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect(),
            note: serde_json::from_str(&model.note).unwrap_or_else(|_| Value::String(model.note.clone())),
        }
    }

    /// Reads `model.json`.
    pub fn decode(text: &[u8]) -> Result<Self, ModelFileError> {
        serde_json::from_slice(text).map_err(|e| ModelFileError::new(ABOUT, format!("it does not read: {e}")))
    }

    /// Writes `model.json`.
    pub fn encode(&self) -> Result<Vec<u8>, ModelFileError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| ModelFileError::new(ABOUT, e))?;
        text.push(b'\n');
        Ok(text)
    }

    /// The model, from the weights that go with this file; its tensors in a session.
    pub fn model(&self, weights: &[u8], session: &Session) -> Result<TrainedModel, ModelFileError> {
        Ok(TrainedModel {
            tensors: decode(weights, session).map_err(|e| ModelFileError::new(WEIGHTS, e))?,
            note: self.note.as_str().map_or_else(|| self.note.to_string(), str::to_owned),
        })
    }
}

/// Writes `model.safetensors`.
pub fn encode_weights(model: &TrainedModel) -> Result<Vec<u8>, ModelFileError> {
    encode(&model.tensors, None).map_err(|e| ModelFileError::new(WEIGHTS, e))
}

/// Whether `model.safetensors` is whole.
pub fn check_weights(bytes: &[u8]) -> Result<(), ModelFileError> {
    SafeTensors::deserialize(bytes).map_err(|e| ModelFileError::new(WEIGHTS, e))?;
    Ok(())
}

/// Writes a checkpoint. The file's form sorts tensors; the order in which the algorithm gave them is beside its note.
pub fn encode_checkpoint(checkpoint: &Checkpoint) -> Result<Vec<u8>, ModelFileError> {
    let order: Vec<&str> = checkpoint.tensors.iter().map(|(name, _)| name.as_str()).collect();
    let beside = HashMap::from([
        (NOTE.to_owned(), checkpoint.note.clone()),
        (ORDER.to_owned(), json!(order).to_string()),
    ]);
    encode(&checkpoint.tensors, Some(beside)).map_err(|e| ModelFileError::new(CHECKPOINT, e))
}

/// Reads a checkpoint, its tensors in the order in which they were given; they are in a session.
pub fn decode_checkpoint(bytes: &[u8], session: &Session) -> Result<Checkpoint, ModelFileError> {
    let broken = |problem: String| ModelFileError::new(CHECKPOINT, problem);
    let mut tensors = decode(bytes, session).map_err(broken)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| broken(e.to_string()))?;
    let beside = |key: &str| header.metadata().as_ref()?.get(key);
    if let Some(order) = beside(ORDER) {
        let order: Vec<String> =
            serde_json::from_str(order).map_err(|e| broken(format!("the order of its tensors: {e}")))?;
        let place: HashMap<&str, usize> = order.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        tensors.sort_by_key(|(name, _)| place.get(name.as_str()).copied().unwrap_or(usize::MAX));
    }
    Ok(Checkpoint {
        tensors,
        note: beside(NOTE).cloned().unwrap_or_default(),
    })
}

/// Writes beside and renames, so that a reader never sees half a file.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("partial");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}

fn encode(tensors: &[(String, Tensor)], beside: Option<HashMap<String, String>>) -> Result<Vec<u8>, String> {
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let bytes = tensor.to_bytes().map_err(|e| format!("tensor `{name}`: {e}"))?;
        stored.push((name, to_safetensors(tensor.dtype()), tensor.shape().to_vec(), bytes));
    }
    let views: Vec<_> = stored
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()
        .map_err(|e| e.to_string())?;
    safetensors::serialize(views, beside).map_err(|e| e.to_string())
}

fn decode(bytes: &[u8], session: &Session) -> Result<Vec<(String, Tensor)>, String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use trainyard_kernels::SessionOptions;

    #[test]
    fn a_checkpoint_comes_back_as_it_was_given() {
        let session = Session::new(SessionOptions::default()).unwrap();
        let tensor = |values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Tensor::from_bytes(&session, &bytes, &[values.len()], DType::F32).unwrap()
        };
        let checkpoint = Checkpoint {
            tensors: ["weight", "bias", "a\nb"]
                .iter()
                .enumerate()
                .map(|(at, name)| (name.to_string(), tensor(&[at as f32, 0.1])))
                .collect(),
            note: "epoch 3".into(),
        };
        let again = decode_checkpoint(&encode_checkpoint(&checkpoint).unwrap(), &session).unwrap();
        assert_eq!(again.note, "epoch 3");
        assert_eq!(again.tensors.len(), 3);
        for ((name, tensor), (expected_name, expected)) in again.tensors.iter().zip(&checkpoint.tensors) {
            assert_eq!(name, expected_name);
            assert_eq!(tensor.to_bytes().unwrap(), expected.to_bytes().unwrap());
        }
        let error = decode_checkpoint(b"no checkpoint", &session).unwrap_err();
        assert!(error.to_string().starts_with("checkpoint.safetensors: "), "{error}");
    }
}
