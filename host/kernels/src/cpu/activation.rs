//! Elementwise activations and functions, and their derivatives; formulas are PyTorch's.
//!
//! Forward is `f(x, y)`. Backward takes what the forward pass has to keep, its input x or its output y as named, and
//! the gradient dy, and writes dx. All slices have one length.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::Real;
use super::par::{map, map2};

/// Beyond it softplus is the identity, as in PyTorch.
const SOFTPLUS_LIMIT: f64 = 20.0;
/// Of the approximation of gelu by tanh (Hendrycks and Gimpel 2016).
const GELU_CUBIC: f64 = 0.044_715;

/// max(x, 0)
pub fn relu<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| if x < T::ZERO { T::ZERO } else { x },
    );
}

/// From the output: dy where y > 0.
pub fn relu_backward<T: Real>(y: &[T], dy: &[T], dx: &mut [T]) {
    map2(
        y,
        dy,
        dx,
        #[inline(always)]
        move |y, dy| if y <= T::ZERO { T::ZERO } else { dy },
    );
}

/// x above zero, else slope x.
pub fn leaky_relu<T: Real>(slope: f64, x: &[T], y: &mut [T]) {
    let slope = T::from_f64(slope);
    map(
        x,
        y,
        #[inline(always)]
        move |x| if x > T::ZERO { x } else { slope * x },
    );
}

/// From the input.
pub fn leaky_relu_backward<T: Real>(slope: f64, x: &[T], dy: &[T], dx: &mut [T]) {
    let slope = T::from_f64(slope);
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| if x > T::ZERO { dy } else { slope * dy },
    );
}

/// x above zero, else alpha (exp(x) - 1).
pub fn elu<T: Real>(alpha: f64, x: &[T], y: &mut [T]) {
    let alpha = T::from_f64(alpha);
    map(
        x,
        y,
        #[inline(always)]
        move |x| {
            let below = alpha * x.expm1();
            if x > T::ZERO { x } else { below }
        },
    );
}

/// From the input: alpha exp(x) below zero.
pub fn elu_backward<T: Real>(alpha: f64, x: &[T], dy: &[T], dx: &mut [T]) {
    let alpha = T::from_f64(alpha);
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| {
            let below = dy * alpha * x.exp();
            if x > T::ZERO { dy } else { below }
        },
    );
}

/// x Phi(x) = x (1 + erf(x / sqrt 2)) / 2
pub fn gelu<T: Real>(x: &[T], y: &mut [T]) {
    let (half, root) = (T::from_f64(0.5), T::from_f64(FRAC_1_SQRT_2));
    map(
        x,
        y,
        #[inline(always)]
        move |x| half * x * (T::ONE + (x * root).erf()),
    );
}

/// From the input: Phi(x) + x phi(x).
pub fn gelu_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    let (half, root) = (T::from_f64(0.5), T::from_f64(FRAC_1_SQRT_2));
    let density = T::from_f64(0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI);
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| {
            let below = half * (T::ONE + (x * root).erf());
            dy * (below + x * density * (-half * x * x).exp())
        },
    );
}

/// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
pub fn gelu_tanh<T: Real>(x: &[T], y: &mut [T]) {
    let (half, cubic) = (T::from_f64(0.5), T::from_f64(GELU_CUBIC));
    let factor = T::from_f64(FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
    map(
        x,
        y,
        #[inline(always)]
        move |x| half * x * (T::ONE + (factor * (x + cubic * x * x * x)).tanh()),
    );
}

/// From the input.
pub fn gelu_tanh_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    let (half, cubic) = (T::from_f64(0.5), T::from_f64(GELU_CUBIC));
    let factor = T::from_f64(FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
    let triple = T::from_f64(3.0 * GELU_CUBIC);
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| {
            let t = (factor * (x + cubic * x * x * x)).tanh();
            let inner = factor * (T::ONE + triple * x * x);
            dy * half * (T::ONE + t + x * (T::ONE - t * t) * inner)
        },
    );
}

/// x / (1 + exp(-x))
pub fn silu<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| x * x.sigmoid(),
    );
}

/// From the input: s (1 + x (1 - s)) with s = sigmoid(x).
pub fn silu_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| {
            let s = x.sigmoid();
            dy * s * (T::ONE + x * (T::ONE - s))
        },
    );
}

/// ln(1 + exp(x)), and x beyond 20.
pub fn softplus<T: Real>(x: &[T], y: &mut [T]) {
    let limit = T::from_f64(SOFTPLUS_LIMIT);
    map(
        x,
        y,
        #[inline(always)]
        move |x| {
            let soft = x.exp().ln_1p();
            if x > limit { x } else { soft }
        },
    );
}

/// From the input: sigmoid(x), and 1 beyond 20.
pub fn softplus_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    let limit = T::from_f64(SOFTPLUS_LIMIT);
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| {
            let soft = dy * x.sigmoid();
            if x > limit { dy } else { soft }
        },
    );
}

/// 1 / (1 + exp(-x))
pub fn sigmoid<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| x.sigmoid(),
    );
}

/// From the output: y (1 - y).
pub fn sigmoid_backward<T: Real>(y: &[T], dy: &[T], dx: &mut [T]) {
    map2(
        y,
        dy,
        dx,
        #[inline(always)]
        move |y, dy| dy * y * (T::ONE - y),
    );
}

/// Hyperbolic tangent.
pub fn tanh<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| x.tanh(),
    );
}

/// From the output: 1 - y^2.
pub fn tanh_backward<T: Real>(y: &[T], dy: &[T], dx: &mut [T]) {
    map2(
        y,
        dy,
        dx,
        #[inline(always)]
        move |y, dy| dy * (T::ONE - y * y),
    );
}

/// e^x
pub fn exp<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| x.exp(),
    );
}

/// From the output: y.
pub fn exp_backward<T: Real>(y: &[T], dy: &[T], dx: &mut [T]) {
    map2(
        y,
        dy,
        dx,
        #[inline(always)]
        move |y, dy| dy * y,
    );
}

/// ln(1 + x)
pub fn log1p<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| x.ln_1p(),
    );
}

/// From the input: 1 / (1 + x).
pub fn log1p_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| dy / (T::ONE + x),
    );
}

/// exp(x) - 1
pub fn expm1<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| x.expm1(),
    );
}

/// From the output: y + 1.
pub fn expm1_backward<T: Real>(y: &[T], dy: &[T], dx: &mut [T]) {
    map2(
        y,
        dy,
        dx,
        #[inline(always)]
        move |y, dy| dy * (y + T::ONE),
    );
}

/// Natural logarithm.
pub fn log<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| x.ln(),
    );
}

/// From the input: 1 / x.
pub fn log_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| dy / x,
    );
}

/// The Gauss error function.
pub fn erf<T: Real>(x: &[T], y: &mut [T]) {
    map(
        x,
        y,
        #[inline(always)]
        move |x| x.erf(),
    );
}

/// From the input: 2 / sqrt(pi) exp(-x^2).
pub fn erf_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    let factor = T::from_f64(FRAC_2_SQRT_PI);
    map2(
        x,
        dy,
        dx,
        #[inline(always)]
        move |x, dy| dy * factor * (-x * x).exp(),
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    type Forward<T> = fn(&[T], &mut [T]);
    type Backward<T> = fn(&[T], &[T], &mut [T]);

    /// Name, forward, backward, whether that takes the output, and the definition.
    type Row<T> = (&'static str, Forward<T>, Backward<T>, bool, fn(f64) -> f64);

    fn table<T: Real>() -> Vec<Row<T>> {
        vec![
            ("relu", relu, relu_backward, true, |x| x.max(0.0)),
            (
                "leaky_relu",
                |x, y| leaky_relu(0.1, x, y),
                |x, dy, dx| leaky_relu_backward(0.1, x, dy, dx),
                false,
                |x| {
                    if x > 0.0 { x } else { 0.1 * x }
                },
            ),
            (
                "elu",
                |x, y| elu(1.5, x, y),
                |x, dy, dx| elu_backward(1.5, x, dy, dx),
                false,
                |x| {
                    if x > 0.0 { x } else { 1.5 * (x.exp() - 1.0) }
                },
            ),
            ("gelu", gelu, gelu_backward, false, |x| {
                0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()))
            }),
            ("gelu_tanh", gelu_tanh, gelu_tanh_backward, false, |x| {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            }),
            ("silu", silu, silu_backward, false, |x| x / (1.0 + (-x).exp())),
            ("softplus", softplus, softplus_backward, false, |x| {
                if x > 20.0 { x } else { x.exp().ln_1p() }
            }),
            ("sigmoid", sigmoid, sigmoid_backward, true, |x| 1.0 / (1.0 + (-x).exp())),
            ("tanh", tanh, tanh_backward, true, f64::tanh),
            ("exp", exp, exp_backward, true, f64::exp),
            ("log1p", log1p, log1p_backward, false, f64::ln_1p),
            ("expm1", expm1, expm1_backward, true, f64::exp_m1),
            ("log", log, log_backward, false, f64::ln),
            ("erf", erf, erf_backward, false, libm::erf),
        ]
    }

    fn inputs<T: Real>(name: &str, n: usize) -> Vec<T> {
        let x: Vec<T> = numbers(n, 1);
        match name {
            "log" => x.into_iter().map(|x| T::from_f64(1.1) + x).collect(),
            "log1p" => x.into_iter().map(|x| T::from_f64(0.1) + x.abs()).collect(),
            _ => x.into_iter().map(|x| x * T::from_f64(4.0)).collect(),
        }
    }

    #[test]
    fn outputs_agree_with_the_definitions() {
        for (name, forward, _, _, definition) in table::<f32>() {
            println!("{name}");
            let x: Vec<f32> = inputs(name, 1003);
            let mut y = vec![0.0; x.len()];
            forward(&x, &mut y);
            assert_close(
                &y,
                &x.iter().map(|&x| definition(f64::from(x))).collect::<Vec<_>>(),
                1e-6,
            );
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for (name, forward, backward, from_output, _) in table::<f64>() {
            println!("{name}");
            let x: Vec<f64> = inputs(name, 43);
            let g: Vec<f64> = numbers(x.len(), 2);
            let f = |x: &[f64]| {
                let mut y = vec![0.0; x.len()];
                forward(x, &mut y);
                dot(&y, &g)
            };
            let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            forward(&x, &mut y);
            backward(if from_output { &y } else { &x }, &g, &mut dx);
            check_gradient(&x, &dx, f);
        }
    }

    #[test]
    fn single_and_double_precision_have_the_same_derivatives_on_any_number_of_threads() {
        for ((name, forward, backward, from_output, _), (_, _, exact, _, definition)) in
            table::<f32>().into_iter().zip(table::<f64>())
        {
            println!("{name}");
            let x: Vec<f32> = inputs(name, 70_001);
            let (y, dx) = same_with_one_and_two_threads(|| {
                let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                forward(&x, &mut y);
                backward(if from_output { &y } else { &x }, &x, &mut dx);
                (y, dx)
            });
            assert_eq!(y.len(), dx.len());
            let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            let saved = if from_output {
                wide.iter().map(|&x| definition(x)).collect()
            } else {
                wide.clone()
            };
            let mut want = vec![0.0; x.len()];
            exact(&saved, &wide, &mut want);
            assert_close(&dx, &want, 3e-6);
        }
    }

    #[test]
    fn vectors_and_single_elements_give_the_same_bits() {
        for (name, forward, ..) in table::<f32>() {
            let x: Vec<f32> = inputs(name, 4099);
            let (mut all, mut one) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            forward(&x, &mut all);
            x.iter()
                .zip(&mut one)
                .for_each(|(x, y)| forward(std::slice::from_ref(x), std::slice::from_mut(y)));
            assert_eq!(all, one, "{name}");
        }
    }

    #[test]
    fn not_a_number_stays_so() {
        for (name, forward, ..) in table::<f32>() {
            let mut y = [0.0; 17];
            forward(&[f32::NAN; 17], &mut y);
            assert!(y.iter().all(|y| y.is_nan()), "{name}");
        }
    }
}
