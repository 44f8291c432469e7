//! Normalisation: over the last dimension (layer norm, RMS norm) and over all but the channels (batch norm).
//!
//! Means and variances are accumulated in `f64`. Weights are optional everywhere: absent ones count as 1 and 0.

mod batch;
mod rows;

pub use batch::{Channels, Running, batch_norm_backward, batch_norm_eval, batch_norm_train};
pub use rows::{layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    #[test]
    fn layer_norm_agrees_with_the_definition_far_from_zero() {
        for n in [1, 5, 16, 100] {
            let x: Vec<f32> = numbers(4 * n, 1).iter().map(|x: &f32| 1000.0 + x).collect();
            let (w, b): (Vec<f32>, Vec<f32>) = (numbers(n, 2), numbers(n, 3));
            let mut want = Vec::new();
            for row in x.chunks(n) {
                let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
                let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
                want.extend(row.iter().enumerate().map(|(i, &x)| {
                    (f64::from(x) - mean) / (variance + 1e-5).sqrt() * f64::from(w[i]) + f64::from(b[i])
                }));
            }
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; 4], vec![0.0; 4]);
            layer_norm(n, &x, Some(&w), Some(&b), 1e-5, &mut y, &mut mean, &mut rstd);
            // Half a unit in the last place of 1000, on a spread of 0.6.
            assert_close(&y, &want, 1e-4);
        }
    }

    #[test]
    fn layer_norm_gradients_agree_with_finite_differences() {
        let (n, rows) = (18, 5);
        let x: Vec<f64> = numbers(n * rows, 1);
        let (w, b, g): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(n, 2), numbers(n, 3), numbers(n * rows, 4));
        let run = |x: &[f64], w: Option<&[f64]>, b: Option<&[f64]>| {
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
            layer_norm(n, x, w, b, 1e-3, &mut y, &mut mean, &mut rstd);
            (dot(&y, &g), mean, rstd)
        };
        let (_, mean, rstd) = run(&x, Some(&w), Some(&b));
        let (mut dx, mut dw, mut db) = (vec![9.0; x.len()], vec![9.0; n], vec![9.0; n]);
        let outputs = (Some(&mut dx[..]), Some(&mut dw[..]), Some(&mut db[..]));
        layer_norm_backward(n, &x, Some(&w), &mean, &rstd, &g, outputs.0, outputs.1, outputs.2);
        check_gradient(&x, &dx, |x| run(x, Some(&w), Some(&b)).0);
        check_gradient(&w, &dw, |w| run(&x, Some(w), Some(&b)).0);
        check_gradient(&b, &db, |b| run(&x, Some(&w), Some(b)).0);
        layer_norm_backward(n, &x, None, &mean, &rstd, &g, Some(&mut dx), None, None);
        check_gradient(&x, &dx, |x| run(x, None, None).0);
    }

    #[test]
    fn rms_norm_gradients_agree_with_finite_differences() {
        let (n, rows) = (18, 130);
        let x: Vec<f64> = numbers(n * rows, 1);
        let (w, g): (Vec<f64>, Vec<f64>) = (numbers(n, 2), numbers(n * rows, 4));
        let run = |x: &[f64], w: &[f64]| {
            let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows]);
            rms_norm(n, x, Some(w), 1e-3, &mut y, &mut rstd);
            let square = x[..n].iter().map(|x| x * x).sum::<f64>() / n as f64;
            assert!((y[1] - x[1] / (square + 1e-3).sqrt() * w[1]).abs() < 1e-12);
            (dot(&y, &g), rstd)
        };
        let (_, rstd) = run(&x, &w);
        let (mut dx, mut dw) = (vec![9.0; x.len()], vec![9.0; n]);
        rms_norm_backward(n, &x, Some(&w), &rstd, &g, Some(&mut dx), Some(&mut dw));
        check_gradient(&x, &dx, |x| run(x, &w).0);
        check_gradient(&w, &dw, |w| run(&x, w).0);
    }

    #[test]
    fn batch_norm_gradients_agree_with_finite_differences() {
        for inner in [1, 4, 19] {
            let dims = Channels { n: 6, c: 3, inner };
            let x: Vec<f64> = numbers(dims.len(), 1);
            let (w, b, g): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(3, 2), numbers(3, 3), numbers(dims.len(), 4));
            let (running_mean, running_variance) = ([0.1, -0.2, 0.3], [0.5, 1.5, 2.5]);
            for training in [true, false] {
                let run = |x: &[f64], w: &[f64], b: &[f64]| {
                    let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], running_mean.to_vec(), vec![0.0; 3]);
                    if training {
                        batch_norm_train(dims, x, Some(w), Some(b), 1e-3, None, &mut y, &mut mean, &mut rstd);
                    } else {
                        let (mean, variance) = (&running_mean, &running_variance);
                        batch_norm_eval(dims, x, Some(w), Some(b), 1e-3, mean, variance, &mut y, &mut rstd);
                    }
                    (dot(&y, &g), mean, rstd)
                };
                let (_, mean, rstd) = run(&x, &w, &b);
                let (mut dx, mut dw, mut db) = (vec![9.0; x.len()], vec![9.0; 3], vec![9.0; 3]);
                let outputs = (Some(&mut dx[..]), Some(&mut dw[..]), Some(&mut db[..]));
                let (dx_out, dw_out, db_out) = outputs;
                batch_norm_backward(dims, &x, Some(&w), &mean, &rstd, training, &g, dx_out, dw_out, db_out);
                check_gradient(&x, &dx, |x| run(x, &w, &b).0);
                check_gradient(&w, &dw, |w| run(&x, w, &b).0);
                check_gradient(&b, &db, |b| run(&x, &w, b).0);
            }
        }
    }

    #[test]
    fn running_statistics_move_as_in_pytorch() {
        let dims = Channels { n: 4, c: 1, inner: 1 };
        let (mut mean, mut variance) = ([1.0], [2.0]);
        let running = Running {
            mean: &mut mean,
            variance: &mut variance,
            momentum: 0.1,
        };
        let (mut y, mut m, mut r) = ([0.0; 4], [0.0], [0.0]);
        batch_norm_train(
            dims,
            &[1.0, 2.0, 3.0, 6.0],
            None,
            None,
            0.0,
            Some(running),
            &mut y,
            &mut m,
            &mut r,
        );
        assert_close(&mean, &[0.9 + 0.1 * 3.0], 1e-15);
        assert_close(&variance, &[0.9 * 2.0 + 0.1 * 14.0 / 3.0], 1e-15);
        assert_close(&y, &[-2.0, -1.0, 0.0, 3.0].map(|d: f64| d / 3.5f64.sqrt()), 1e-15);
    }

    #[test]
    fn threads_change_no_bit() {
        let (n, rows) = (24, 5000);
        let (x, g): (Vec<f32>, Vec<f32>) = (numbers(n * rows, 1), numbers(n * rows, 2));
        same_with_one_and_two_threads(|| {
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
            layer_norm(n, &x, None, None, 1e-5, &mut y, &mut mean, &mut rstd);
            let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; n], vec![0.0; n]);
            let outputs = (Some(&mut dx[..]), Some(&mut dw[..]), Some(&mut db[..]));
            layer_norm_backward(n, &x, None, &mean, &rstd, &g, outputs.0, outputs.1, outputs.2);
            (y, dx, dw, db)
        });
        for dims in [
            Channels {
                n: 5000,
                c: 24,
                inner: 1,
            },
            Channels {
                n: 50,
                c: 24,
                inner: 100,
            },
        ] {
            same_with_one_and_two_threads(|| {
                let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; 24], vec![0.0; 24]);
                batch_norm_train(dims, &x, None, None, 1e-5, None, &mut y, &mut mean, &mut rstd);
                let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; 24]);
                let outputs = (Some(&mut dx[..]), Some(&mut dw[..]));
                batch_norm_backward(dims, &x, None, &mean, &rstd, true, &g, outputs.0, outputs.1, None);
                (y, mean, rstd, dx, dw)
            });
        }
    }
}
