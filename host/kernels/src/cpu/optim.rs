//! Optimiser steps, one in-place pass over a parameter; formulas are those of `torch.optim`.
//!
//! Options are `f64`, and what follows from them (bias corrections) is computed in `f64` before it meets the elements.

use rayon::prelude::*;

use super::Real;
use super::par::{self, CHUNK, parallel, wide};

/// Of [`sgd_step`], named as in `torch.optim.SGD`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdOptions {
    /// Step size.
    pub learning_rate: f64,
    /// Share of the former direction that is kept; 0 for none.
    pub momentum: f64,
    /// Share of the gradient that is left out of the momentum.
    pub dampening: f64,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f64,
    /// Look ahead along the momentum.
    pub nesterov: bool,
}

/// Of [`adam_step`], named as in `torch.optim.Adam`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamOptions {
    /// Step size.
    pub learning_rate: f64,
    /// Share of the former mean of gradients that is kept.
    pub beta1: f64,
    /// Share of the former mean of squared gradients that is kept.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Added to the gradient times the parameter, or taken off the parameter when decoupled.
    pub weight_decay: f64,
}

/// g = gradient + weight_decay p; buffer = momentum buffer + (1 - dampening) g, or g itself in the `first_step`;
/// p -= learning_rate (g + momentum buffer if nesterov, else buffer).
///
/// All slices have one length. `buffer` is needed exactly when the momentum is not zero.
///
/// # Panics
/// If there is a momentum but no buffer.
pub fn sgd_step<T: Real>(
    parameter: &mut [T],
    gradient: &[T],
    buffer: Option<&mut [T]>,
    options: &SgdOptions,
    first_step: bool,
) {
    let rate = T::from_f64(options.learning_rate);
    let decay = T::from_f64(options.weight_decay);
    if options.momentum == 0.0 {
        if options.weight_decay == 0.0 {
            par::update(
                parameter,
                gradient,
                #[inline(always)]
                move |p, g| p - rate * g,
            );
        } else {
            par::update(
                parameter,
                gradient,
                #[inline(always)]
                move |p, g| p - rate * (g + decay * p),
            );
        }
        return;
    }
    let buffer = buffer.expect("momentum needs its buffer");
    assert_eq!(parameter.len(), gradient.len());
    assert_eq!(parameter.len(), buffer.len());
    let momentum = T::from_f64(options.momentum);
    let (kept, fresh) = if first_step {
        (T::ZERO, T::ONE)
    } else {
        (momentum, T::from_f64(1.0 - options.dampening))
    };
    let (of_gradient, of_buffer) = if options.nesterov {
        (T::ONE, momentum)
    } else {
        (T::ZERO, T::ONE)
    };
    let run = |p: &mut [T], g: &[T], buffer: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                for ((p, &g), buffer) in p.iter_mut().zip(g).zip(buffer) {
                    let g = g + decay * *p;
                    let b = kept * *buffer + fresh * g;
                    *buffer = b;
                    *p -= rate * (of_gradient * g + of_buffer * b);
                }
            },
        );
    };
    if parallel(parameter.len()) {
        let state = gradient.par_chunks(CHUNK).zip(buffer.par_chunks_mut(CHUNK));
        parameter
            .par_chunks_mut(CHUNK)
            .zip(state)
            .for_each(|(p, (g, buffer))| run(p, g, buffer));
    } else {
        run(parameter, gradient, buffer);
    }
}

/// Adam (Kingma and Ba 2015), or AdamW (Loshchilov and Hutter 2019) when `decoupled`:
/// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
/// p -= learning_rate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon).
///
/// All slices have one length. `m` and `v` start as zeros; `step` counts from 1.
pub fn adam_step<T: Real>(
    parameter: &mut [T],
    gradient: &[T],
    m: &mut [T],
    v: &mut [T],
    step: u64,
    options: &AdamOptions,
    decoupled: bool,
) {
    let length = parameter.len();
    assert!(
        gradient.len() == length && m.len() == length && v.len() == length,
        "slices of different lengths"
    );
    let correction = |beta: f64| 1.0 - libm::pow(beta, step as f64);
    let rate = T::from_f64(options.learning_rate / correction(options.beta1));
    let root = T::from_f64(correction(options.beta2).sqrt());
    let (fresh1, beta2, fresh2) = (
        T::from_f64(1.0 - options.beta1),
        T::from_f64(options.beta2),
        T::from_f64(1.0 - options.beta2),
    );
    let epsilon = T::from_f64(options.epsilon);
    let added = T::from_f64(if decoupled { 0.0 } else { options.weight_decay });
    let kept = T::from_f64(if decoupled {
        1.0 - options.learning_rate * options.weight_decay
    } else {
        1.0
    });
    let run = |p: &mut [T], g: &[T], m: &mut [T], v: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                    let g = g + added * *p;
                    *m += fresh1 * (g - *m);
                    *v = beta2 * *v + fresh2 * g * g;
                    *p = kept * *p - rate * *m / (v.sqrt() / root + epsilon);
                }
            },
        );
    };
    if parallel(length) {
        let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
        let state = gradient.par_chunks(CHUNK).zip(moments);
        parameter
            .par_chunks_mut(CHUNK)
            .zip(state)
            .for_each(|(p, (g, (m, v)))| run(p, g, m, v));
    } else {
        run(parameter, gradient, m, v);
    }
}

/// The sum of squares, accumulated in `f64`: its root over all gradients is their joint norm.
pub fn norm_squared<T: Real>(x: &[T]) -> f64 {
    par::sum_chunks(x.len(), |range| {
        wide(
            #[inline(always)]
            move || {
                par::sum(
                    &x[range],
                    #[inline(always)]
                    move |x| x.to_f64() * x.to_f64(),
                )
            },
        )
    })
}

/// x *= factor
pub fn scale<T: Real>(x: &mut [T], factor: f64) {
    let factor = T::from_f64(factor);
    par::change(
        x,
        #[inline(always)]
        move |x| x * factor,
    );
}

/// Elements below `low` become `low`, above `high` become `high`; NaN stays.
pub fn clamp<T: Real>(x: &mut [T], low: f64, high: f64) {
    let (low, high) = (T::from_f64(low), T::from_f64(high));
    par::change(
        x,
        #[inline(always)]
        move |x| {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, numbers, same_with_one_and_two_threads};
    use super::*;

    /// `torch.optim.SGD`'s documented algorithm, one element at a time.
    fn sgd_by_the_book(p: &mut [f64], gradients: &[Vec<f64>], o: &SgdOptions) {
        let mut buffers: Option<Vec<f64>> = None;
        for gradient in gradients {
            let mut g: Vec<f64> = gradient.iter().zip(&*p).map(|(g, p)| g + o.weight_decay * p).collect();
            if o.momentum != 0.0 {
                let b: Vec<f64> = match &buffers {
                    None => g.clone(),
                    Some(b) => b
                        .iter()
                        .zip(&g)
                        .map(|(b, g)| o.momentum * b + (1.0 - o.dampening) * g)
                        .collect(),
                };
                g = match o.nesterov {
                    true => g.iter().zip(&b).map(|(g, b)| g + o.momentum * b).collect(),
                    false => b.clone(),
                };
                buffers = Some(b);
            }
            p.iter_mut().zip(&g).for_each(|(p, g)| *p -= o.learning_rate * g);
        }
    }

    #[test]
    fn sgd_follows_the_documented_algorithm() {
        for (momentum, dampening, weight_decay, nesterov) in [
            (0.0, 0.0, 0.0, false),
            (0.0, 0.0, 0.1, false),
            (0.9, 0.0, 0.1, true),
            (0.8, 0.3, 0.01, false),
        ] {
            let o = SgdOptions {
                learning_rate: 0.1,
                momentum,
                dampening,
                weight_decay,
                nesterov,
            };
            let gradients: Vec<Vec<f64>> = (0..5).map(|i| numbers(37, 10 + i)).collect();
            let mut p: Vec<f64> = numbers(37, 1);
            let mut want = p.clone();
            sgd_by_the_book(&mut want, &gradients, &o);
            let mut buffer = vec![0.0; 37];
            for (i, g) in gradients.iter().enumerate() {
                sgd_step(&mut p, g, Some(&mut buffer), &o, i == 0);
            }
            assert_close(&p, &want, 1e-14);
        }
    }

    #[test]
    fn adam_and_adamw_follow_the_documented_algorithm() {
        for decoupled in [false, true] {
            let o = AdamOptions {
                learning_rate: 0.01,
                beta1: 0.9,
                beta2: 0.99,
                epsilon: 1e-8,
                weight_decay: 0.1,
            };
            let (mut p, mut m, mut v): (Vec<f32>, _, _) = (numbers(41, 1), vec![0.0; 41], vec![0.0; 41]);
            let mut want: Vec<(f64, f64, f64)> = p.iter().map(|&p| (f64::from(p), 0.0, 0.0)).collect();
            for step in 1..=10 {
                let gradient: Vec<f32> = numbers(41, 100 + step);
                adam_step(&mut p, &gradient, &mut m, &mut v, step, &o, decoupled);
                for ((p, m, v), &g) in want.iter_mut().zip(&gradient) {
                    let mut g = f64::from(g);
                    if decoupled {
                        *p -= o.learning_rate * o.weight_decay * *p;
                    } else {
                        g += o.weight_decay * *p;
                    }
                    *m = o.beta1 * *m + (1.0 - o.beta1) * g;
                    *v = o.beta2 * *v + (1.0 - o.beta2) * g * g;
                    let m_hat = *m / (1.0 - o.beta1.powi(step as i32));
                    let v_hat = *v / (1.0 - o.beta2.powi(step as i32));
                    *p -= o.learning_rate * m_hat / (v_hat.sqrt() + o.epsilon);
                }
            }
            let want: Vec<f64> = want.iter().map(|w| w.0).collect();
            assert_close(&p, &want, 1e-6);
        }
    }

    #[test]
    fn norms_steps_and_clamps_do_not_depend_on_threads() {
        let (x, g): (Vec<f32>, Vec<f32>) = (numbers(200_001, 3), numbers(200_001, 4));
        let want: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let norm = same_with_one_and_two_threads(|| norm_squared(&x));
        assert!((norm - want).abs() < 1e-9 * want);
        let o = AdamOptions {
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.1,
        };
        same_with_one_and_two_threads(|| {
            let (mut p, mut m, mut v) = (x.clone(), vec![0.0; x.len()], vec![0.0; x.len()]);
            adam_step(&mut p, &g, &mut m, &mut v, 1, &o, true);
            (p, m, v)
        });
        let mut y = vec![-2.0, 0.25, f32::NAN, 3.0];
        clamp(&mut y, -1.0, 1.0);
        scale(&mut y, 2.0);
        assert_eq!((y[0], y[1], y[3]), (-2.0, 0.5, 2.0));
        assert!(y[2].is_nan());
    }
}
