//! The benchmark's training step: a perceptron of three layers on random numbers. It reports progress once a round of steps, and
//! the host takes the time between the reports.

use trainyard_sdk::prelude::*;

#[derive(Parameters)]
struct Settings {
    /// Samples in a step.
    #[param(default = 32, range = 1..=65536)]
    batch: usize,
    /// Units in each of the two hidden layers.
    #[param(default = 32, range = 1..=65536)]
    width: usize,
    /// Numbers in a sample.
    #[param(default = 16, range = 1..=65536)]
    features: usize,
    /// Steps in a round.
    #[param(default = 1, range = 1..=1000000)]
    steps: usize,
    /// Rounds, after one to warm up.
    #[param(default = 1, range = 1..=1000)]
    rounds: usize,
}

struct Step;

impl Algorithm for Step {
    type Parameters = Settings;
    const TASKS: &'static [Task] = &[Task::Regression];
    const METRICS: &'static [MetricInfo] = &[];

    fn train(settings: Settings) -> Result<Model> {
        let scope = Scope::new();
        let first = Linear::new(&scope.sub("first"), settings.features, settings.width)?;
        let second = Linear::new(&scope.sub("second"), settings.width, settings.width)?;
        let last = Linear::new(&scope.sub("last"), settings.width, 1)?;
        let optimizer = AdamW::new(1e-3).build(&scope.parameters())?;
        let x = Tensor::randn((settings.batch, settings.features), 0.0, 1.0, DType::F32)?;
        let y = Tensor::randn((settings.batch, 1), 0.0, 1.0, DType::F32)?;
        for round in 0..=settings.rounds {
            for _ in 0..settings.steps {
                let hidden = second.forward(&first.forward(&x)?.relu()?)?.relu()?;
                optimizer.minimize(&mse_loss(&last.forward(&hidden)?, &y)?)?;
            }
            run::progress(round, settings.rounds, &[])?;
        }
        Ok(scope.to_model())
    }

    fn evaluate(_: Settings, _: &Model) -> Result<Vec<Metric>> {
        Ok(vec![])
    }

    fn predict(_: Settings, _: &Model) -> Result<Tensor> {
        bail!("this plugin only measures")
    }
}

trainyard_sdk::export!(Step);
