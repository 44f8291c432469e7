//! Ridge regression: linear least squares with an L2 penalty on the coefficients, solved exactly (Hoerl and Kennard 1970).
//!
//! The intercept is not penalised: columns are centred first. Works with more features than rows and with columns that
//! depend on each other, as long as `alpha` is above zero; at zero it gives the solution of least norm. For forecasting a
//! window is one row of lookback × features. Gives the coefficients and intercept that scikit-learn's `Ridge` gives.

use trainyard_sdk::prelude::*;

#[derive(Parameters)]
struct Settings {
    /// How strongly coefficients are drawn to zero; 0 is ordinary least squares.
    #[param(default = 1.0, min = 0.0)]
    alpha: f64,
    /// Whether a constant is fitted too; without it the data should be centred.
    #[param(default = true)]
    fit_intercept: bool,
}

/// All samples of the training split, flat: x [samples, inputs] and y [samples, outputs].
fn samples() -> Result<(Tensor, Tensor)> {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for batch in batches(Split::Train).dtype(DType::F64) {
        let batch = batch?;
        x.push(batch.x.flatten(1)?);
        y.push(batch.y.flatten(1)?);
    }
    Ok((Tensor::concat(&x, 0)?, Tensor::concat(&y, 0)?))
}

/// The coefficients [inputs, outputs] that minimise |y - x w|² + alpha |w|².
fn solve(x: &Tensor, y: &Tensor, alpha: f64) -> Result<Tensor> {
    if alpha == 0.0 {
        return linalg::lstsq(x, y);
    }
    // Of (xᵀx + alpha) w = xᵀy and w = xᵀ (x xᵀ + alpha)⁻¹ y, which are equal, the one with the smaller matrix.
    let (rows, inputs, xt) = (x.dim(0)?, x.dim(1)?, x.t()?);
    let penalty = |size| Tensor::eye(size, DType::F64)? * alpha;
    if inputs <= rows {
        linalg::solve(&(xt.matmul(x)? + penalty(inputs))?, &xt.matmul(y)?)
    } else {
        xt.matmul(&linalg::solve(&(x.matmul(&xt)? + penalty(rows))?, y)?)
    }
}

/// The predictions for a batch of inputs, shaped as targets are.
fn apply(model: &Model) -> Result<impl Fn(&Tensor) -> Result<Tensor>> {
    let coefficients = model.tensor("coefficients")?.t()?;
    let intercept = model.tensor("intercept")?;
    let schema = data::schema()?;
    Ok(move |x: &Tensor| {
        let y = (x.cast(DType::F64)?.flatten(1)?.matmul(&coefficients)? + intercept)?;
        match schema.task {
            Task::Forecasting => y.reshape((INFER, schema.horizon, schema.targets.len())),
            _ => Ok(y),
        }
    })
}

struct Ridge;

impl Algorithm for Ridge {
    type Parameters = Settings;
    const TASKS: &'static [Task] = &[Task::Regression, Task::Forecasting];
    const METRICS: &'static [MetricInfo] = &[metrics::MSE, metrics::MAE, metrics::R2];

    fn train(settings: Settings) -> Result<Model> {
        let (x, y) = samples()?;
        let (coefficients, intercept) = if settings.fit_intercept {
            let (x_mean, y_mean) = (x.mean_keep(0)?, y.mean_keep(0)?);
            let coefficients = solve(&(x - &x_mean)?, &(y - &y_mean)?, settings.alpha)?;
            let intercept = (y_mean - x_mean.matmul(&coefficients))?;
            (coefficients, intercept.squeeze(0)?)
        } else {
            (solve(&x, &y, settings.alpha)?, Tensor::zeros(y.dim(1)?, DType::F64)?)
        };
        run::progress(1, 1, &[])?;
        // As scikit-learn lays them out: [outputs, inputs].
        Ok(Model::new()
            .with("coefficients", coefficients.t()?)
            .with("intercept", intercept))
    }

    fn evaluate(_: Settings, model: &Model) -> Result<Vec<Metric>> {
        Ok(metrics::regression(Split::Test, apply(model)?)?.report(Self::METRICS))
    }

    fn predict(_: Settings, model: &Model) -> Result<Tensor> {
        data::predict(apply(model)?)
    }
}

trainyard_sdk::export!(Ridge);
