//! Both layers against the formulas one number at a time, finite differences, and one against two threads.

use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
use super::super::{Cancelled, Real};
use super::*;

const SIZES: Sizes = Sizes {
    batch: 3,
    time: 4,
    input: 2,
    hidden: 5,
};

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Row `row` of a matrix of `n` columns times v.
fn product(matrix: &[f64], n: usize, row: usize, v: &[f64]) -> f64 {
    dot(&matrix[row * n..][..n], v)
}

/// PyTorch's documented formulas, one number at a time; gives all outputs and the last c.
fn naive(sizes: Sizes, x: &[f64], h0: &[f64], c0: Option<&[f64]>, w: Weights<'_, f64>) -> (Vec<f64>, Vec<f64>) {
    let Sizes {
        batch,
        time,
        input,
        hidden,
    } = sizes;
    let (mut out, mut last) = (Vec::new(), Vec::new());
    for b in 0..batch {
        let mut h = h0[b * hidden..][..hidden].to_vec();
        let mut c = c0.map_or(Vec::new(), |c0| c0[b * hidden..][..hidden].to_vec());
        for t in 0..time {
            let x = &x[(b * time + t) * input..][..input];
            let from_x = |row: usize| product(w.input, input, row, x) + w.input_bias.map_or(0.0, |b| b[row]);
            let from_h = |row: usize| product(w.hidden, hidden, row, &h) + w.hidden_bias.map_or(0.0, |b| b[row]);
            let next: Vec<f64> = (0..hidden)
                .map(|j| {
                    let gate = |g: usize| from_x(g * hidden + j) + from_h(g * hidden + j);
                    if c0.is_some() {
                        c[j] = sigmoid(gate(1)) * c[j] + sigmoid(gate(0)) * gate(2).tanh();
                        sigmoid(gate(3)) * c[j].tanh()
                    } else {
                        let (r, z) = (sigmoid(gate(0)), sigmoid(gate(1)));
                        let n = (from_x(2 * hidden + j) + r * from_h(2 * hidden + j)).tanh();
                        (1.0 - z) * n + z * h[j]
                    }
                })
                .collect();
            h = next;
            out.extend_from_slice(&h);
        }
        last.extend(c);
    }
    (out, last)
}

struct Case<T> {
    x: Vec<T>,
    h0: Vec<T>,
    c0: Vec<T>,
    parameters: [Vec<T>; 4],
}

impl<T: Real> Case<T> {
    fn new(sizes: Sizes, gates: usize) -> Self {
        let rows = gates * sizes.hidden;
        Self {
            x: numbers(sizes.rows() * sizes.input, 1),
            h0: numbers(sizes.state(), 2),
            c0: numbers(sizes.state(), 3),
            parameters: [
                numbers(rows * sizes.input, 4),
                numbers(rows * sizes.hidden, 5),
                numbers(rows, 6),
                numbers(rows, 7),
            ],
        }
    }

    fn weights(&self) -> Weights<'_, T> {
        let [input, hidden, input_bias, hidden_bias] = &self.parameters;
        Weights {
            input,
            hidden,
            input_bias: Some(input_bias),
            hidden_bias: Some(hidden_bias),
        }
    }
}

fn never() -> bool {
    false
}

#[test]
fn lstm_agrees_with_the_formulas_and_finite_differences() {
    let case = Case::<f64>::new(SIZES, 4);
    let (g, g_h, g_c): (Vec<f64>, Vec<f64>, Vec<f64>) = (
        numbers(SIZES.outputs(), 8),
        numbers(SIZES.state(), 9),
        numbers(SIZES.state(), 10),
    );
    let h = SIZES.hidden;
    let last = |out: &[f64]| -> Vec<f64> {
        out.chunks(SIZES.time * h)
            .flat_map(|rows| rows[rows.len() - h..].to_vec())
            .collect()
    };
    let run = |x: &[f64], h0: Option<&[f64]>, c0: Option<&[f64]>, weights: Weights<'_, f64>| {
        let (mut out, mut cells) = (vec![0.0; SIZES.outputs()], vec![0.0; SIZES.outputs()]);
        let mut gates = vec![0.0; SIZES.gates()];
        lstm(SIZES, x, h0, c0, weights, &mut out, &mut cells, &mut gates, &never).unwrap();
        let loss = dot(&out, &g) + dot(&last(&out), &g_h) + dot(&last(&cells), &g_c);
        (loss, out, cells, gates)
    };
    let w = case.weights();
    for given in [true, false] {
        let (h0, c0) = (given.then_some(&case.h0[..]), given.then_some(&case.c0[..]));
        let zeros = vec![0.0; SIZES.state()];
        let (_, out, cells, gates) = run(&case.x, h0, c0, w);
        let want = naive(SIZES, &case.x, h0.unwrap_or(&zeros), Some(c0.unwrap_or(&zeros)), w);
        assert_close(&out, &want.0, 1e-12);
        assert_close(&last(&cells), &want.1, 1e-12);

        let mut d = Case::<f64>::new(SIZES, 4);
        let mut scratch = vec![7.0; SIZES.scratch()];
        let [d_input, d_hidden, d_input_bias, d_hidden_bias] = &mut d.parameters;
        let gradients = Gradients {
            x: Some(&mut d.x),
            h0: Some(&mut d.h0),
            c0: Some(&mut d.c0),
            input: Some(d_input),
            hidden: Some(d_hidden),
            input_bias: Some(d_input_bias),
            hidden_bias: Some(d_hidden_bias),
        };
        let upstream = Upstream {
            out: Some(&g),
            h_n: Some(&g_h),
            c_n: Some(&g_c),
        };
        let (x, stop) = (&case.x, &never);
        lstm_backward(
            SIZES,
            x,
            h0,
            c0,
            w,
            &out,
            &cells,
            &gates,
            upstream,
            gradients,
            &mut scratch,
            stop,
        )
        .unwrap();
        let (start_h, start_c) = (h0.unwrap_or(&zeros), c0.unwrap_or(&zeros));
        check_gradient(&case.x, &d.x, |x| run(x, h0, c0, w).0);
        check_gradient(start_h, &d.h0, |h0| run(&case.x, Some(h0), c0, w).0);
        check_gradient(start_c, &d.c0, |c0| run(&case.x, h0, Some(c0), w).0);
        let x = &case.x;
        check_gradient(w.input, &d.parameters[0], |p| {
            run(x, h0, c0, Weights { input: p, ..w }).0
        });
        check_gradient(w.hidden, &d.parameters[1], |p| {
            run(x, h0, c0, Weights { hidden: p, ..w }).0
        });
        let bias = &case.parameters[2];
        check_gradient(bias, &d.parameters[2], |p| {
            run(
                x,
                h0,
                c0,
                Weights {
                    input_bias: Some(p),
                    ..w
                },
            )
            .0
        });
        let bias = &case.parameters[3];
        check_gradient(bias, &d.parameters[3], |p| {
            run(
                x,
                h0,
                c0,
                Weights {
                    hidden_bias: Some(p),
                    ..w
                },
            )
            .0
        });
    }
}

#[test]
fn gru_agrees_with_the_formulas_and_finite_differences() {
    let case = Case::<f64>::new(SIZES, 3);
    let (g, g_h): (Vec<f64>, Vec<f64>) = (numbers(SIZES.outputs(), 8), numbers(SIZES.state(), 9));
    let h = SIZES.hidden;
    let run = |x: &[f64], h0: Option<&[f64]>, weights: Weights<'_, f64>| {
        let (mut out, mut gates) = (vec![0.0; SIZES.outputs()], vec![0.0; SIZES.gates()]);
        gru(SIZES, x, h0, weights, &mut out, &mut gates, &never).unwrap();
        let last: Vec<f64> = out
            .chunks(SIZES.time * h)
            .flat_map(|rows| rows[rows.len() - h..].to_vec())
            .collect();
        (dot(&out, &g) + dot(&last, &g_h), out, gates)
    };
    let w = case.weights();
    for given in [true, false] {
        let h0 = given.then_some(&case.h0[..]);
        let zeros = vec![0.0; SIZES.state()];
        let (_, out, gates) = run(&case.x, h0, w);
        assert_close(&out, &naive(SIZES, &case.x, h0.unwrap_or(&zeros), None, w).0, 1e-12);
        let mut d = Case::<f64>::new(SIZES, 3);
        let mut scratch = vec![7.0; SIZES.scratch()];
        let [d_input, d_hidden, d_input_bias, d_hidden_bias] = &mut d.parameters;
        let gradients = Gradients {
            x: Some(&mut d.x),
            h0: Some(&mut d.h0),
            c0: None,
            input: Some(d_input),
            hidden: Some(d_hidden),
            input_bias: Some(d_input_bias),
            hidden_bias: Some(d_hidden_bias),
        };
        let upstream = Upstream {
            out: Some(&g),
            h_n: Some(&g_h),
            c_n: None,
        };
        gru_backward(
            SIZES,
            &case.x,
            h0,
            w,
            &out,
            &gates,
            upstream,
            gradients,
            &mut scratch,
            &never,
        )
        .unwrap();
        let x = &case.x;
        check_gradient(x, &d.x, |x| run(x, h0, w).0);
        check_gradient(h0.unwrap_or(&zeros), &d.h0, |h0| run(x, Some(h0), w).0);
        check_gradient(w.input, &d.parameters[0], |p| run(x, h0, Weights { input: p, ..w }).0);
        check_gradient(w.hidden, &d.parameters[1], |p| run(x, h0, Weights { hidden: p, ..w }).0);
        let [_, _, input_bias, hidden_bias] = &case.parameters;
        check_gradient(input_bias, &d.parameters[2], |p| {
            run(
                x,
                h0,
                Weights {
                    input_bias: Some(p),
                    ..w
                },
            )
            .0
        });
        check_gradient(hidden_bias, &d.parameters[3], |p| {
            run(
                x,
                h0,
                Weights {
                    hidden_bias: Some(p),
                    ..w
                },
            )
            .0
        });
    }
}

#[test]
fn a_layer_stops_when_asked() {
    let case = Case::<f32>::new(SIZES, 4);
    let (mut out, mut cells) = (vec![0.0; SIZES.outputs()], vec![0.0; SIZES.outputs()]);
    let mut gates = vec![0.0; SIZES.gates()];
    let steps = std::sync::atomic::AtomicUsize::new(0);
    let stop = || steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2;
    let w = case.weights();
    let result = lstm(SIZES, &case.x, None, None, w, &mut out, &mut cells, &mut gates, &stop);
    assert_eq!((result, steps.into_inner()), (Err(Cancelled), 3));
}

#[test]
fn threads_change_no_bit() {
    let sizes = Sizes {
        batch: 160,
        time: 5,
        input: 8,
        hidden: 64,
    };
    let case = Case::<f32>::new(sizes, 4);
    let w = case.weights();
    same_with_one_and_two_threads(|| {
        let (mut out, mut cells) = (vec![0.0; sizes.outputs()], vec![0.0; sizes.outputs()]);
        let mut gates = vec![0.0; sizes.gates()];
        lstm(sizes, &case.x, None, None, w, &mut out, &mut cells, &mut gates, &never).unwrap();
        let mut d = Case::<f32>::new(sizes, 4);
        let [d_input, d_hidden, d_bias, _] = &mut d.parameters;
        let gradients = Gradients {
            x: Some(&mut d.x),
            h0: None,
            c0: None,
            input: Some(d_input),
            hidden: Some(d_hidden),
            input_bias: Some(d_bias),
            hidden_bias: None,
        };
        let upstream = Upstream {
            out: Some(&out),
            h_n: None,
            c_n: None,
        };
        let mut scratch = vec![0.0; sizes.scratch()];
        let (x, stop) = (&case.x, &never);
        lstm_backward(
            sizes,
            x,
            None,
            None,
            w,
            &out,
            &cells,
            &gates,
            upstream,
            gradients,
            &mut scratch,
            stop,
        )
        .unwrap();
        (out, d.x, d.parameters)
    });
}
