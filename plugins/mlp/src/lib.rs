//! A multilayer perceptron: hidden layers with an activation, batch normalisation and dropout if wanted.
//!
//! Regression minimises the mean squared error, classification the cross-entropy. For forecasting a window is one flat
//! input and the horizon one flat output, so that every target can depend on the past of every feature.

use trainyard_sdk::prelude::*;

#[derive(Parameters)]
struct Settings {
    /// Units in each hidden layer; none makes it a linear model.
    #[param(default = [64, 64], range = 1..=65536, length = 0..=16)]
    hidden: Vec<usize>,
    /// What comes after each hidden layer.
    #[param(default = "relu")]
    activation: Activation,
    /// Normalises each hidden layer over the batch.
    #[param(default = false)]
    batch_norm: bool,
    /// The part of the hidden units that is switched off at random in a training step.
    #[param(default = 0.0, range = 0.0..1.0)]
    dropout: f64,
    /// How the weights are changed; "sgd" has momentum 0.9.
    #[param(default = "adam")]
    optimizer: optim::Kind,
    /// How far a training step goes.
    #[param(default = 0.001, exclusive_min = 0.0, max = 10.0)]
    learning_rate: f64,
    /// How strongly weights are drawn to zero.
    #[param(default = 0.0, range = 0.0..=1.0)]
    weight_decay: f64,
    /// The type that the network computes in; "bf16" and "f16" are for a GPU, the processor is quickest with "f32".
    #[param(default = "f32")]
    precision: optim::Precision,
    /// Samples in a training step.
    #[param(default = 32, range = 1..=65536)]
    batch_size: usize,
    /// Most passes over the training data.
    #[param(default = 50, range = 1..=100000)]
    epochs: usize,
    /// Ends the training after so many epochs without a smaller validation loss; 0 never does.
    #[param(default = 5, range = 0..=1000)]
    patience: usize,
}

/// From x as it comes in batches to y as it comes, or to logits [batch, classes]; inside in the type of the weights.
fn build(scope: &Scope, settings: &Settings) -> Result<impl Fn(&Tensor) -> Result<Tensor> + use<>> {
    let schema = data::schema()?;
    let mut net = Sequential::new();
    let mut inputs = schema.inputs();
    for (index, &units) in settings.hidden.iter().enumerate() {
        let layer = scope.sub(format!("hidden.{index}"));
        net = net.add(Linear::new(&layer, inputs, units)?);
        if settings.batch_norm {
            net = net.add(BatchNorm1d::new(&layer.sub("norm"), units)?);
        }
        net = net.add(settings.activation).add(Dropout::new(scope, settings.dropout));
        inputs = units;
    }
    let net = net.add(Linear::new(&scope.sub("output"), inputs, schema.outputs())?);
    let dtype = scope.dtype();
    Ok(move |x: &Tensor| {
        let y = net.forward(&x.flatten(1)?.cast(dtype)?)?.cast(DType::F32)?;
        match schema.task {
            Task::Forecasting => y.reshape((INFER, schema.horizon, schema.targets.len())),
            _ => Ok(y),
        }
    })
}

struct Mlp;

impl Algorithm for Mlp {
    type Parameters = Settings;
    const TASKS: &'static [Task] = &[Task::Regression, Task::Classification, Task::Forecasting];
    const METRICS: &'static [MetricInfo] = &[
        metrics::MSE,
        metrics::MAE,
        metrics::R2,
        metrics::ACCURACY,
        metrics::MACRO_F1,
    ];

    fn train(settings: Settings) -> Result<Model> {
        let scope = Scope::with_dtype(settings.precision.dtype());
        let net = build(&scope, &settings)?;
        let loss = match data::schema()?.task {
            Task::Classification => cross_entropy,
            _ => mse_loss,
        };
        let optimizer = settings
            .optimizer
            .build(settings.learning_rate, settings.weight_decay, &scope.parameters())?;
        optimizer.set_loss_scaling(settings.precision.loss_scaling())?;
        Epochs::new(settings.epochs)
            .batch_size(settings.batch_size)
            .patience(settings.patience)
            .fit(&scope, &optimizer, |batch| loss(&net(&batch.x)?, &batch.y))?;
        Ok(scope.to_model())
    }

    fn evaluate(settings: Settings, model: &Model) -> Result<Vec<Metric>> {
        let net = build(&Scope::load(model), &settings)?;
        Ok(match data::schema()?.task {
            Task::Classification => metrics::classification(Split::Test, net)?.report(Self::METRICS),
            _ => metrics::regression(Split::Test, net)?.report(Self::METRICS),
        })
    }

    fn predict(settings: Settings, model: &Model) -> Result<Tensor> {
        let net = build(&Scope::load(model), &settings)?;
        let classes = data::schema()?.task == Task::Classification;
        data::predict(|x| if classes { net(x)?.softmax(-1) } else { net(x) })
    }
}

trainyard_sdk::export!(Mlp);
