//! A plugin that does what it should, on the bare contract: linear regression by gradient descent.

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use exports::trainyard::plugin::algorithm::{Description, Guest, MetricDescription, Model};
use trainyard::plugin::autograd::parameter;
use trainyard::plugin::dataset::{BatchOptions, Batches, Split, schema};
use trainyard::plugin::nn;
use trainyard::plugin::optim::{Optimizer, SgdOptions};
use trainyard::plugin::run::{self, Level, Metric};
use trainyard::plugin::tensor::Tensor;
use trainyard::plugin::types::{Dtype, Error};

struct Plain;

export!(Plain);

/// The number after a name in a flat JSON object.
fn number(parameters: &str, name: &str) -> f64 {
    let after = parameters.split(&format!("\"{name}\":")).nth(1).unwrap_or("0");
    after
        .split([',', '}'])
        .next()
        .unwrap_or("0")
        .trim()
        .parse()
        .unwrap_or(0.0)
}

fn batches(split: Split, shuffle: Option<u32>) -> Result<Batches, Error> {
    Batches::open(
        split,
        BatchOptions {
            size: 32,
            shuffle,
            drop_last: false,
            dtype: Dtype::F32,
        },
    )
}

/// A forecast looks at the last row alone: enough to have every shape right.
fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor, Error> {
    let schema = schema();
    if schema.lookback == 0 {
        return nn::linear(x, weight, Some(bias));
    }
    let last = x.narrow(1, schema.lookback - 1, 1)?.squeeze(1)?;
    nn::linear(&last, weight, Some(bias))?.reshape(&[-1, schema.horizon as i32, schema.targets.len() as i32])
}

impl Guest for Plain {
    fn describe() -> Description {
        Description {
            name: "plain".into(),
            version: "1.2.3".into(),
            summary: "Linear regression by gradient descent".into(),
            tasks: vec!["regression".into(), "forecasting".into()],
            parameters: r#"{
                "type": "object",
                "properties": {
                    "epochs": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5},
                    "lr": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.1}
                }
            }"#
            .into(),
            metrics: vec![MetricDescription {
                name: "mse".into(),
                summary: "Mean squared error".into(),
                maximize: false,
            }],
        }
    }

    fn train(parameters: String) -> Result<Model, Error> {
        let schema = schema();
        let (inputs, outputs) = (
            schema.features.len() as u32,
            schema.targets.len() as u32 * schema.horizon.max(1),
        );
        let start = Tensor::random_normal(&[outputs, inputs], 0.0, 0.1, Dtype::F32)?;
        let weight = parameter("weight", &start)?;
        let bias = parameter("bias", &Tensor::full(&[outputs], 0.0, Dtype::F32)?)?;
        let optimizer = Optimizer::sgd(
            &[&weight, &bias],
            SgdOptions {
                learning_rate: number(&parameters, "lr"),
                momentum: 0.0,
                dampening: 0.0,
                weight_decay: 0.0,
                nesterov: false,
            },
        )?;
        let epochs = number(&parameters, "epochs") as u32;
        for epoch in 0..epochs {
            let mut last = 0.0;
            let pass = batches(Split::Train, Some(epoch))?;
            while let Some(batch) = pass.next()? {
                let target = batch.y.ok_or(Error::Data("no targets".into()))?;
                let loss = nn::mse_loss(&forward(&batch.x, &weight, &bias)?, &target)?;
                optimizer.minimize(&loss)?;
                last = loss.item()?;
            }
            run::progress(
                epoch + 1,
                epochs,
                &[Metric {
                    name: "loss".into(),
                    value: last,
                }],
            )?;
            run::log(Level::Info, &format!("epoch {}", epoch + 1));
            run::checkpoint(&[("weight".into(), &weight), ("bias".into(), &bias)], "{}")?;
            if run::should_stop() {
                break;
            }
        }
        Ok(Model {
            tensors: vec![("weight".into(), weight), ("bias".into(), bias)],
            note: "{}".into(),
        })
    }

    fn evaluate(_: String, model: Model) -> Result<Vec<Metric>, Error> {
        let [(_, weight), (_, bias)] = &model.tensors[..] else {
            return Err(Error::Algorithm("another model".into()));
        };
        let (mut sum, mut count) = (0.0, 0.0);
        let pass = batches(Split::Test, None)?;
        while let Some(batch) = pass.next()? {
            let target = batch.y.ok_or(Error::Data("no targets".into()))?;
            let size = f64::from(batch.size);
            sum += size * nn::mse_loss(&forward(&batch.x, weight, bias)?, &target)?.item()?;
            count += size;
        }
        Ok(vec![Metric {
            name: "mse".into(),
            value: sum / count,
        }])
    }

    fn predict(_: String, model: Model) -> Result<Tensor, Error> {
        let [(_, weight), (_, bias)] = &model.tensors[..] else {
            return Err(Error::Algorithm("another model".into()));
        };
        let mut predictions = Vec::new();
        let pass = batches(Split::Predict, None)?;
        while let Some(batch) = pass.next()? {
            predictions.push(forward(&batch.x, weight, bias)?);
        }
        trainyard::plugin::tensor::concat(&predictions.iter().collect::<Vec<_>>(), 0)
    }
}
