//! Optimiser steps, one in-place pass over a parameter; formulas are those of `torch.optim`.
//!
//! Options are `f64`, and what follows from them (bias corrections) is computed in `f64` before it meets the elements. Gradients
//! can be of `f16` or `bf16`: they are widened chunk by chunk, and what they change is `f32`.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::Real;
use super::par::{self, CHUNK, parallel, wide};

/// An element type that parameters and gradients are stored in.
pub trait Stored: Copy + Send + Sync + 'static {
    /// What is computed in: the type itself, or `f32` for the short ones.
    type Wide: Real;

    /// The elements as that type; no copy where it is the same.
    fn widened(x: &[Self]) -> Cow<'_, [Self::Wide]>;

    /// Lets `change` change the elements in that type, and rounds to the nearest.
    fn rewrite(x: &mut [Self], change: impl FnOnce(&mut [Self::Wide]));

    /// The nearest values of this type.
    fn round(from: &[Self::Wide], to: &mut [Self]);
}

macro_rules! stored_as_it_is {
    ($type:ident) => {
        impl Stored for $type {
            type Wide = Self;

            fn widened(x: &[Self]) -> Cow<'_, [Self]> {
                Cow::Borrowed(x)
            }
            fn rewrite(x: &mut [Self], change: impl FnOnce(&mut [Self])) {
                change(x);
            }
            fn round(from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(from);
            }
        }
    };
}

macro_rules! stored_short {
    ($type:ident) => {
        impl Stored for $type {
            type Wide = f32;

            fn widened(x: &[Self]) -> Cow<'_, [f32]> {
                let mut wide = vec![0.0; x.len()];
                x.convert_to_f32_slice(&mut wide);
                Cow::Owned(wide)
            }
            fn rewrite(x: &mut [Self], change: impl FnOnce(&mut [f32])) {
                let mut wide = vec![0.0; x.len()];
                x.convert_to_f32_slice(&mut wide);
                change(&mut wide);
                x.convert_from_f32_slice(&wide);
            }
            fn round(from: &[f32], to: &mut [Self]) {
                to.convert_from_f32_slice(from);
            }
        }
    };
}

stored_as_it_is!(f32);
stored_as_it_is!(f64);
stored_short!(f16);
stored_short!(bf16);

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

/// g = unscale gradient + weight_decay p; buffer = momentum buffer + (1 - dampening) g, or g itself in the `first_step`;
/// p -= learning_rate (g + momentum buffer if nesterov, else buffer).
///
/// All slices have one length. `buffer` is needed exactly when the momentum is not zero. `unscale` takes a scale of the loss out
/// of the gradient; it is 1 where there is none.
///
/// # Panics
/// If there is a momentum but no buffer.
pub fn sgd_step<T: Stored>(
    parameter: &mut [T::Wide],
    gradient: &[T],
    buffer: Option<&mut [T::Wide]>,
    options: &SgdOptions,
    first_step: bool,
    unscale: f64,
) {
    let number = T::Wide::from_f64;
    let (rate, decay) = (number(options.learning_rate), number(options.weight_decay));
    let unscale = number(unscale);
    assert_eq!(parameter.len(), gradient.len());
    if options.momentum == 0.0 {
        let run = |p: &mut [T::Wide], g: &[T]| {
            let g = T::widened(g);
            wide(
                #[inline(always)]
                move || {
                    for (p, &g) in p.iter_mut().zip(&*g) {
                        *p -= rate * (unscale * g + decay * *p);
                    }
                },
            );
        };
        if parallel(parameter.len()) {
            let gradient = gradient.par_chunks(CHUNK);
            parameter
                .par_chunks_mut(CHUNK)
                .zip(gradient)
                .for_each(|(p, g)| run(p, g));
        } else {
            let gradient = gradient.chunks(CHUNK);
            parameter.chunks_mut(CHUNK).zip(gradient).for_each(|(p, g)| run(p, g));
        }
        return;
    }
    let buffer = buffer.expect("momentum needs its buffer");
    assert_eq!(parameter.len(), buffer.len());
    let momentum = number(options.momentum);
    let (zero, one) = (T::Wide::ZERO, T::Wide::ONE);
    let (kept, fresh) = if first_step {
        (zero, one)
    } else {
        (momentum, number(1.0 - options.dampening))
    };
    let (of_gradient, of_buffer) = if options.nesterov { (one, momentum) } else { (zero, one) };
    let run = |p: &mut [T::Wide], g: &[T], buffer: &mut [T::Wide]| {
        let g = T::widened(g);
        wide(
            #[inline(always)]
            move || {
                for ((p, &g), buffer) in p.iter_mut().zip(&*g).zip(buffer) {
                    let g = unscale * g + decay * *p;
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
        let state = gradient.chunks(CHUNK).zip(buffer.chunks_mut(CHUNK));
        parameter
            .chunks_mut(CHUNK)
            .zip(state)
            .for_each(|(p, (g, buffer))| run(p, g, buffer));
    }
}

/// Adam (Kingma and Ba 2015), or AdamW (Loshchilov and Hutter 2019) when `decoupled`; g = unscale gradient:
/// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
/// p -= learning_rate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon).
///
/// All slices have one length. `m` and `v` start as zeros; `step` counts from 1. `unscale` is as in [`sgd_step`].
#[expect(clippy::too_many_arguments, reason = "what the formula has")]
pub fn adam_step<T: Stored>(
    parameter: &mut [T::Wide],
    gradient: &[T],
    m: &mut [T::Wide],
    v: &mut [T::Wide],
    step: u64,
    options: &AdamOptions,
    decoupled: bool,
    unscale: f64,
) {
    let length = parameter.len();
    assert!(
        gradient.len() == length && m.len() == length && v.len() == length,
        "slices of different lengths"
    );
    let number = T::Wide::from_f64;
    let correction = |beta: f64| 1.0 - libm::pow(beta, step as f64);
    let rate = number(options.learning_rate / correction(options.beta1));
    let root = number(correction(options.beta2).sqrt());
    let fresh1 = number(1.0 - options.beta1);
    let (beta2, fresh2) = (number(options.beta2), number(1.0 - options.beta2));
    let (epsilon, unscale) = (number(options.epsilon), number(unscale));
    let added = number(if decoupled { 0.0 } else { options.weight_decay });
    let kept = number(if decoupled {
        1.0 - options.learning_rate * options.weight_decay
    } else {
        1.0
    });
    let run = |p: &mut [T::Wide], g: &[T], m: &mut [T::Wide], v: &mut [T::Wide]| {
        let g = T::widened(g);
        wide(
            #[inline(always)]
            move || {
                for (((p, &g), m), v) in p.iter_mut().zip(&*g).zip(m).zip(v) {
                    let g = unscale * g + added * *p;
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
        let moments = m.chunks_mut(CHUNK).zip(v.chunks_mut(CHUNK));
        let state = gradient.chunks(CHUNK).zip(moments);
        parameter
            .chunks_mut(CHUNK)
            .zip(state)
            .for_each(|(p, (g, (m, v)))| run(p, g, m, v));
    }
}

/// The nearest values of a shorter type.
pub fn round<T: Stored>(from: &[T::Wide], to: &mut [T]) {
    assert_eq!(from.len(), to.len());
    if parallel(to.len()) {
        let from = from.par_chunks(CHUNK);
        to.par_chunks_mut(CHUNK)
            .zip(from)
            .for_each(|(to, from)| T::round(from, to));
    } else {
        T::round(from, to);
    }
}

/// Whether no element is NaN or infinite.
pub fn all_finite<T: Stored>(x: &[T]) -> bool {
    let fine = |x: &[T]| {
        let x = T::widened(x);
        wide(
            #[inline(always)]
            move || {
                let mut fine = true;
                for x in &*x {
                    fine &= x.is_finite();
                }
                fine
            },
        )
    };
    if parallel(x.len()) {
        x.par_chunks(CHUNK).all(fine)
    } else {
        x.chunks(CHUNK).all(fine)
    }
}

/// The sum of squares, accumulated in `f64`: its root over all gradients is their joint norm.
pub fn norm_squared<T: Stored>(x: &[T]) -> f64 {
    par::sum_chunks(x.len(), |range| {
        let x = T::widened(&x[range]);
        wide(
            #[inline(always)]
            move || {
                par::sum(
                    &x,
                    #[inline(always)]
                    move |x| x.to_f64() * x.to_f64(),
                )
            },
        )
    })
}

/// x *= factor
pub fn scale<T: Stored>(x: &mut [T], factor: f64) {
    let factor = T::Wide::from_f64(factor);
    change(
        x,
        #[inline(always)]
        move |x| x * factor,
    );
}

/// Elements below `low` become `low`, above `high` become `high`; NaN stays.
pub fn clamp<T: Stored>(x: &mut [T], low: f64, high: f64) {
    let (low, high) = (T::Wide::from_f64(low), T::Wide::from_f64(high));
    change(
        x,
        #[inline(always)]
        move |x| {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        },
    );
}

/// x[i] = f(x[i])
#[inline(always)]
fn change<T: Stored>(x: &mut [T], f: impl Fn(T::Wide) -> T::Wide + Copy + Sync) {
    let run = |x: &mut [T]| {
        T::rewrite(x, |x| {
            wide(
                #[inline(always)]
                move || {
                    for x in x.iter_mut() {
                        *x = f(*x);
                    }
                },
            );
        });
    };
    if parallel(x.len()) {
        x.par_chunks_mut(CHUNK).for_each(run);
    } else {
        x.chunks_mut(CHUNK).for_each(run);
    }
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
                sgd_step(&mut p, g, Some(&mut buffer), &o, i == 0, 1.0);
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
                adam_step(&mut p, &gradient, &mut m, &mut v, step, &o, decoupled, 1.0);
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
            adam_step(&mut p, &g, &mut m, &mut v, 1, &o, true, 1.0);
            (p, m, v)
        });
        let mut y = vec![-2.0f32, 0.25, f32::NAN, 3.0];
        clamp(&mut y, -1.0, 1.0);
        scale(&mut y, 2.0);
        assert_eq!((y[0], y[1], y[3]), (-2.0, 0.5, 2.0));
        assert!(y[2].is_nan());
    }
}
