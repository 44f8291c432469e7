//! DLinear: a forecast by two linear layers (Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?").
//!
//! A moving average splits the past of each channel into its trend and the rest. One linear layer maps the trend's past to
//! its future, another that of the rest; the forecast is their sum. All channels share the two layers. A strong baseline
//! for many series at once, trained in seconds; each target is forecast from its own past alone.

use trainyard_sdk::nn::LinearOptions;
use trainyard_sdk::nn::functional::{avg_pool1d, linear};
use trainyard_sdk::prelude::*;

#[derive(Parameters)]
struct Settings {
    /// Rows that the moving average goes over; odd.
    #[param(default = 25, range = 1..=999)]
    kernel: usize,
    /// Most passes over the training data.
    #[param(default = 10, range = 1..=1000)]
    epochs: usize,
    /// Windows in a training step.
    #[param(default = 32, range = 1..=65536)]
    batch_size: usize,
    /// How far a training step goes, in the first epoch.
    #[param(default = 0.005, exclusive_min = 0.0, max = 1.0)]
    learning_rate: f64,
    /// What the learning rate is multiplied by after each epoch.
    #[param(default = 0.5, exclusive_min = 0.0, max = 1.0)]
    learning_rate_decay: f64,
    /// Ends the training after so many epochs without a smaller validation loss; 0 never does.
    #[param(default = 0, range = 0..=1000)]
    patience: usize,
}

struct DLinear {
    channels: data::Channels,
    /// The moving average as a matrix [lookback, lookback].
    average: Tensor,
    trend: Linear,
    seasonal: Linear,
}

impl DLinear {
    fn build(scope: &Scope, settings: &Settings) -> Result<Self> {
        let (kernel, side) = (settings.kernel, settings.kernel / 2);
        if kernel.is_multiple_of(2) {
            bail!("kernel must be odd, so that the moving average has a middle; it is {kernel}");
        }
        let schema = data::schema()?;
        let (lookback, horizon) = (schema.lookback, schema.horizon);
        // Each row of the identity is a past that is 1 at one time; at the ends the first and last value go on.
        let pasts = Tensor::eye(lookback, DType::F32)?.unsqueeze(0)?;
        let averages = avg_pool1d(&pasts.pad_edge(2, side, side)?, kernel, 1, 0)?;
        // The two are added, so that one bias is enough.
        let unbiased = LinearOptions {
            bias: false,
            ..Default::default()
        };
        Ok(Self {
            channels: schema.target_channels()?,
            average: averages.squeeze(0)?.t()?.copy()?,
            trend: Linear::new(&scope.sub("trend"), lookback, horizon)?,
            seasonal: Linear::with(&scope.sub("seasonal"), lookback, horizon, unbiased)?,
        })
    }
}

impl Module for DLinear {
    /// [batch, lookback, features] to [batch, horizon, targets]
    ///
    /// trend(average(x)) + seasonal(x - average(x)): all of it is linear in x, so that the weights can be joined before they meet
    /// the data, and averaged instead of it. In a batch of many channels that halves the time.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let past = self.channels.of(x)?.t()?;
        let (trend, seasonal) = (&self.trend.weight, &self.seasonal.weight);
        let weight = (seasonal + (trend - seasonal)?.matmul(&self.average))?;
        linear(&past, &weight, self.trend.bias.as_ref())?.t()
    }
}

impl Algorithm for DLinear {
    type Parameters = Settings;
    const TASKS: &'static [Task] = &[Task::Forecasting];
    const METRICS: &'static [MetricInfo] = &[metrics::MSE, metrics::MAE];

    fn train(settings: Settings) -> Result<Model> {
        let scope = Scope::new();
        let net = DLinear::build(&scope, &settings)?;
        let optimizer = Adam::new(settings.learning_rate).build(&scope.parameters())?;
        Epochs::new(settings.epochs)
            .batch_size(settings.batch_size)
            .schedule(Schedule::exponential(settings.learning_rate_decay))
            .patience(settings.patience)
            .keep_last()
            .fit(&scope, &optimizer, |batch| mse_loss(&net.forward(&batch.x)?, &batch.y))?;
        Ok(scope.to_model())
    }

    fn evaluate(settings: Settings, model: &Model) -> Result<Vec<Metric>> {
        let net = DLinear::build(&Scope::load(model), &settings)?;
        Ok(metrics::regression(Split::Test, |x| net.forward(x))?.report(Self::METRICS))
    }

    fn predict(settings: Settings, model: &Model) -> Result<Tensor> {
        let net = DLinear::build(&Scope::load(model), &settings)?;
        data::predict(|x| net.forward(x))
    }
}

trainyard_sdk::export!(DLinear);
