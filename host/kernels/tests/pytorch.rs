//! Values, gradients and optimiser steps against PyTorch's, which `tests/reference/ops.py` wrote down.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod device;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use trainyard_kernels::nn::{self, ConvOptions, RnnWeights};
use trainyard_kernels::optim::{AdamOptions, LossScale, Optimizer, SgdOptions};
use trainyard_kernels::{DType, Session, Tensor, autograd, linalg};

/// What PyTorch has and the contract does not.
const NOT_IN_THE_CONTRACT: &[&str] = &[
    "log2",
    "log10",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "relu6",
    "mish",
    "softsign",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "logsigmoid",
    "selu",
    "prelu",
    "glu",
    "atan2",
    "prod",
    "std",
    "norm",
    "scatter",
    "index_add",
    "one_hot",
    "masked_fill",
    "roll",
    "topk",
    "group_norm",
    "smooth_l1_loss",
    "kl_div",
    "cosine_similarity",
    "conv_transpose2d",
    "adaptive_avg_pool1d",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "inverse",
    "det",
    "singular_values",
    "symmetric_eigenvalues",
];

fn reference() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/ops.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn session() -> Session {
    Session::new(device::options()).unwrap()
}

fn values(v: &Value) -> Vec<f64> {
    v["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap_or(f64::NAN))
        .collect()
}

fn shape(v: &Value) -> Vec<usize> {
    v["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_u64().unwrap() as usize)
        .collect()
}

fn tensor(s: &Session, v: &Value) -> Tensor {
    let t = Tensor::from_f64(s, values(v), &shape(v)).unwrap();
    match v["dtype"].as_str() {
        Some("i64") => t.cast(DType::I64).unwrap(),
        Some("u8") => t.cast(DType::U8).unwrap(),
        _ => t,
    }
}

/// Runs a case; none where this way of calling it is not in the contract.
fn run(
    op: &str,
    a: &Value,
    x: &BTreeMap<String, Tensor>,
    s: &Session,
) -> Option<trainyard_kernels::Result<Vec<(&'static str, Tensor)>>> {
    let t = |name: &str| &x[name];
    let opt = |name: &str| x.get(name);
    let int = |name: &str| a[name].as_i64().unwrap();
    let size = |name: &str| int(name) as usize;
    let float = |name: &str| a[name].as_f64().unwrap();
    let dims = |name: &str| -> Vec<i32> {
        match &a[name] {
            Value::Array(dims) => dims.iter().map(|d| d.as_i64().unwrap() as i32).collect(),
            Value::Null => vec![],
            one => vec![one.as_i64().unwrap() as i32],
        }
    };
    let keep = || a["keepdim"].as_bool().unwrap_or(false);
    let conv = || ConvOptions {
        stride: size("stride"),
        padding: size("padding"),
        dilation: size("dilation"),
        groups: size("groups"),
    };
    if a["reduction"].as_str().is_some_and(|r| r != "mean") || !a["ignore_index"].is_null() {
        return None;
    }
    let one = |r: trainyard_kernels::Result<Tensor>| Some(r.map(|y| vec![("y", y)]));
    match op {
        "exp" => one(t("input").exp()),
        "expm1" => one(t("input").expm1()),
        "log" => one(t("input").log()),
        "log1p" => one(t("input").log1p()),
        "sqrt" => one(t("input").sqrt()),
        "rsqrt" => one(t("input").rsqrt()),
        "reciprocal" => one(t("input").reciprocal()),
        "square" => one(t("input").square()),
        "abs" => one(t("input").abs()),
        "neg" => one(t("input").neg()),
        "sign" => one(t("input").sign()),
        "floor" => one(t("input").floor()),
        "ceil" => one(t("input").ceil()),
        "round" => one(t("input").round()),
        "sin" => one(t("input").sin()),
        "cos" => one(t("input").cos()),
        "tanh" => one(t("input").tanh()),
        "erf" => one(t("input").erf()),
        "sigmoid" => one(t("input").sigmoid()),
        "relu" => one(nn::relu(t("input"))),
        "silu" => one(nn::silu(t("input"))),
        "gelu" if a["approximate"] == "tanh" => one(nn::gelu_tanh(t("input"))),
        "gelu" => one(nn::gelu(t("input"))),
        "elu" => one(nn::elu(t("input"), float("alpha"))),
        "leaky_relu" => one(nn::leaky_relu(t("input"), float("negative_slope"))),
        "softplus" if float("beta") == 1.0 && float("threshold") == 20.0 => one(nn::softplus(t("input"))),
        "softplus" => None,
        "clamp" => one(t("input").clamp(a["min"].as_f64(), a["max"].as_f64())),
        "pow_scalar" => one(t("input").pow_scalar(float("exponent"))),
        "add" => one(t("input").add(t("other"))),
        "sub" => one(t("input").sub(t("other"))),
        "mul" => one(t("input").mul(t("other"))),
        "div" => one(t("input").div(t("other"))),
        "maximum" => one(t("input").maximum(t("other"))),
        "minimum" => one(t("input").minimum(t("other"))),
        "pow" => one(t("input").pow(t("exponent"))),
        "where" => one(t("condition").where_(t("input"), t("other"))),
        "eq" => one(t("input").eq(t("other"))),
        "ne" => one(t("input").ne(t("other"))),
        "lt" => one(t("input").lt(t("other"))),
        "le" => one(t("input").le(t("other"))),
        "gt" => one(t("input").gt(t("other"))),
        "ge" => one(t("input").ge(t("other"))),
        "matmul" => one(t("input").matmul(t("other"))),
        "linear" => one(nn::linear(t("input"), t("weight"), opt("bias"))),
        "sum" => one(t("input").sum(&dims("dim"), keep())),
        "mean" => one(t("input").mean(&dims("dim"), keep())),
        "amax" | "max_dim" => one(t("input").max(&dims("dim"), keep())),
        "amin" | "min_dim" => one(t("input").min(&dims("dim"), keep())),
        "logsumexp" => one(t("input").logsumexp(&dims("dim"), keep())),
        "argmax" => one(t("input").argmax(int("dim") as i32, keep())),
        "argmin" => one(t("input").argmin(int("dim") as i32, keep())),
        "var" => one(t("input").variance(&dims("dim"), float("correction"), keep())),
        "cumsum" => one(t("input").cumsum(int("dim") as i32)),
        "gather" => one(t("input").gather(int("dim") as i32, t("index"))),
        "index_select" => one(t("input").index_select(int("dim") as i32, t("index"))),
        "scatter_add" => one(t("input").scatter_add(int("dim") as i32, t("index"), t("src"))),
        "embedding" => one(nn::embedding(t("index"), t("weight"))),
        "flip" => one(t("input").flip(&dims("dims"))),
        "pad" => match a["mode"].as_str() {
            Some("constant") => {
                let pads = a["pad"].as_array().unwrap();
                one(pads.iter().enumerate().try_fold(t("input").clone(), |y, (d, pair)| {
                    let side = |i: usize| pair[i].as_u64().unwrap() as usize;
                    y.pad(d as i32, side(0), side(1), float("value"))
                }))
            }
            Some("replicate") => {
                let pads = a["pad"].as_array().unwrap();
                one(pads.iter().enumerate().try_fold(t("input").clone(), |y, (d, pair)| {
                    let side = |i: usize| pair[i].as_u64().unwrap() as usize;
                    y.pad_edge(d as i32, side(0), side(1))
                }))
            }
            _ => None,
        },
        "permute" => one(t("input").permute(&dims("dims"))),
        "expand" => {
            let target: Vec<usize> = dims("shape").iter().map(|&d| d as usize).collect();
            one(t("input").broadcast_to(&target))
        }
        "repeat" => one(dims("repeats").iter().enumerate().try_fold(
            {
                let extra = dims("repeats").len() - t("input").rank();
                (0..extra).try_fold(t("input").clone(), |y, _| y.unsqueeze(0)).unwrap()
            },
            |y, (d, &times)| y.repeat(d as i32, times as usize),
        )),
        "concat" => one(Tensor::concat(&[t("a"), t("b")], int("dim") as i32)),
        "stack" => one(Tensor::stack(&[t("a"), t("b")], int("dim") as i32)),
        "unfold" => one(t("input").unfold(int("dim") as i32, size("size"), size("step"))),
        "tril" => one(t("input").tril(int("diagonal") as i32)),
        "triu" => one(t("input").triu(int("diagonal") as i32)),
        "sort" => Some(
            t("input")
                .sort(int("dim") as i32, a["descending"].as_bool().unwrap())
                .map(|(y, i)| vec![("y", y), ("indices", i)]),
        ),
        "softmax" => one(nn::softmax(t("input"), int("dim") as i32)),
        "log_softmax" => one(nn::log_softmax(t("input"), int("dim") as i32)),
        "layer_norm" if dims("normalized_shape").len() == 1 => {
            one(nn::layer_norm(t("input"), opt("weight"), opt("bias"), float("eps")))
        }
        "layer_norm" => None,
        "rms_norm" => one(nn::rms_norm(t("input"), opt("weight"), float("eps"))),
        "batch_norm" => {
            // The statistics are state, not inputs to be differentiated.
            let (mean, variance) = (
                t("running_mean").detach().unwrap().copy().unwrap(),
                t("running_var").detach().unwrap().copy().unwrap(),
            );
            let y = nn::batch_norm(
                t("input"),
                opt("weight"),
                opt("bias"),
                &mean,
                &variance,
                a["training"].as_bool().unwrap(),
                float("momentum"),
                float("eps"),
            );
            Some(y.map(|y| vec![("y", y), ("running_mean", mean), ("running_var", variance)]))
        }
        "scaled_dot_product_attention" => {
            let mask = match opt("mask") {
                // Truth values say where to look; the contract adds numbers.
                Some(mask) if mask.dtype() == DType::U8 => {
                    let zero = Tensor::full(s, &[], 0.0, DType::F64).unwrap();
                    let hidden = Tensor::full(s, &[], f64::NEG_INFINITY, DType::F64).unwrap();
                    Some(mask.where_(&zero, &hidden).unwrap())
                }
                other => other.cloned(),
            };
            one(nn::attention(
                t("query"),
                t("key"),
                t("value"),
                mask.as_ref(),
                a["causal"].as_bool().unwrap(),
                a["scale"].as_f64(),
            ))
        }
        "mse_loss" => one(nn::mse_loss(t("input"), t("target"))),
        "l1_loss" => one(nn::l1_loss(t("input"), t("target"))),
        "huber_loss" => one(nn::huber_loss(t("input"), t("target"), float("delta"))),
        "bce_with_logits" if x.len() > 2 || a.as_object().unwrap().len() > 1 => None,
        "bce_with_logits" => one(nn::binary_cross_entropy_with_logits(t("input"), t("target"))),
        "cross_entropy" if t("input").rank() != 2 || x.len() > 2 || t("target").rank() != 1 => None,
        "cross_entropy" => one(nn::cross_entropy(t("input"), t("target"), float("label_smoothing"))),
        "nll_loss" if x.len() > 2 => None,
        "nll_loss" => one(nn::nll_loss(t("input"), t("target"))),
        "conv1d" => one(nn::conv1d(t("input"), t("weight"), opt("bias"), conv())),
        "conv2d" => one(nn::conv2d(t("input"), t("weight"), opt("bias"), conv())),
        "conv_transpose1d" => one(nn::conv_transpose1d(
            t("input"),
            t("weight"),
            opt("bias"),
            conv(),
            size("output_padding"),
        )),
        "avg_pool1d" | "avg_pool2d" if a["count_include_pad"] == false => None,
        "max_pool1d" => one(nn::max_pool1d(
            t("input"),
            size("kernel"),
            size("stride"),
            size("padding"),
        )),
        "max_pool2d" => one(nn::max_pool2d(
            t("input"),
            size("kernel"),
            size("stride"),
            size("padding"),
        )),
        "avg_pool1d" => one(nn::avg_pool1d(
            t("input"),
            size("kernel"),
            size("stride"),
            size("padding"),
        )),
        "avg_pool2d" => one(nn::avg_pool2d(
            t("input"),
            size("kernel"),
            size("stride"),
            size("padding"),
        )),
        "lstm" | "gru" => {
            let batch_first = a["batch_first"].as_bool().unwrap();
            let turn = |y: &Tensor| if batch_first { Ok(y.clone()) } else { y.transpose(0, 1) };
            let input = turn(t("input")).unwrap();
            let weights = RnnWeights {
                input: t("weight_ih"),
                hidden: t("weight_hh"),
                input_bias: opt("bias_ih"),
                hidden_bias: opt("bias_hh"),
            };
            if op == "gru" {
                let result = nn::gru(&input, opt("h0"), &weights);
                return Some(result.map(|(y, h)| vec![("y", turn(&y).unwrap()), ("h", h)]));
            }
            let state = opt("h0").map(|h| (h, t("c0")));
            Some(nn::lstm(&input, state, &weights).map(|(y, h, c)| vec![("y", turn(&y).unwrap()), ("h", h), ("c", c)]))
        }
        "lstm_cell" => {
            let input = t("input").unsqueeze(1).unwrap();
            let weights = RnnWeights {
                input: t("weight_ih"),
                hidden: t("weight_hh"),
                input_bias: opt("bias_ih"),
                hidden_bias: opt("bias_hh"),
            };
            Some(nn::lstm(&input, Some((t("h"), t("c"))), &weights).map(|(_, h, c)| vec![("h", h), ("c", c)]))
        }
        "gru_cell" => {
            let input = t("input").unsqueeze(1).unwrap();
            let weights = RnnWeights {
                input: t("weight_ih"),
                hidden: t("weight_hh"),
                input_bias: opt("bias_ih"),
                hidden_bias: opt("bias_hh"),
            };
            Some(nn::gru(&input, Some(t("h")), &weights).map(|(_, h)| vec![("h", h)]))
        }
        "solve" => one(linalg::solve(t("A"), t("B"))),
        "cholesky" => one(linalg::cholesky(t("A"))),
        "lstsq" => one(linalg::lstsq(t("A"), t("B"))),
        _ => panic!("{op} is neither run nor listed as not in the contract"),
    }
}

fn far(ours: &[f64], theirs: &[f64], tolerance: f64) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} elements, not {}", ours.len(), theirs.len()));
    }
    let close = |a: f64, b: f64| (a - b).abs() <= tolerance * (1.0 + b.abs()) || (a.is_nan() && b.is_nan());
    let at = ours.iter().zip(theirs).position(|(&a, &b)| !close(a, b))?;
    Some(format!("element {at} is {}, not {}", ours[at], theirs[at]))
}

#[test]
fn values_and_gradients_are_pytorchs() {
    let s = session();
    let data = reference();
    let (mut wrong, mut run_ops, mut checked) = (Vec::new(), BTreeSet::new(), 0);
    for case in data["cases"].as_array().unwrap() {
        let (name, op) = (case["name"].as_str().unwrap(), case["op"].as_str().unwrap());
        if NOT_IN_THE_CONTRACT.contains(&op) {
            continue;
        }
        let gradients = case["grads"].as_object();
        let mut inputs = BTreeMap::new();
        for (input, v) in case["inputs"].as_object().unwrap() {
            let mut t = tensor(&s, v);
            if gradients.is_some_and(|g| g.contains_key(input)) {
                t = autograd::parameter(&s, &format!("{name}/{input}"), &t).unwrap();
            }
            inputs.insert(input.clone(), t);
        }
        let Some(outcome) = run(op, &case["attrs"], &inputs, &s) else {
            continue;
        };
        let outputs = match outcome {
            Ok(outputs) => outputs,
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                continue;
            }
        };
        run_ops.insert(op.to_string());
        checked += 1;
        let mut loss: Option<Tensor> = None;
        for (output, y) in &outputs {
            let expected = &case["outputs"][output];
            if shape(expected) != y.shape() {
                wrong.push(format!(
                    "{name}: `{output}` is {:?}, not {:?}",
                    y.shape(),
                    shape(expected)
                ));
                continue;
            }
            if let Some(problem) = far(&y.to_f64().unwrap(), &values(expected), 1e-10) {
                wrong.push(format!("{name}: `{output}`: {problem}"));
            }
            if let Some(weights) = case["weights"].get(output).filter(|_| y.dtype().is_float()) {
                let part = y.mul(&tensor(&s, weights)).unwrap().sum(&[], false).unwrap();
                loss = Some(match loss {
                    Some(loss) => loss.add(&part).unwrap(),
                    None => part,
                });
            }
        }
        let Some(gradients) = gradients.filter(|g| !g.is_empty()) else {
            continue;
        };
        if let Err(e) = autograd::backward(&loss.expect("a weighted output")) {
            wrong.push(format!("{name}: {e}"));
            continue;
        }
        for (input, expected) in gradients {
            match autograd::gradient(&inputs[input]).unwrap() {
                Some(g) => {
                    if let Some(problem) = far(&g.to_f64().unwrap(), &values(expected), 1e-9) {
                        wrong.push(format!("{name}: gradient of `{input}`: {problem}"));
                    }
                }
                None => wrong.push(format!("{name}: `{input}` got no gradient")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        checked > 180 && run_ops.len() > 75,
        "only {checked} cases of {} operations were run",
        run_ops.len()
    );
}

/// An optimiser by PyTorch's names and defaults; none where it has an option that is not in the contract.
fn optimizer(kind: &str, options: &Value, p: &Tensor) -> Option<Optimizer> {
    let number = |name: &str, default: f64| options[name].as_f64().unwrap_or(default);
    if options["amsgrad"] == true || options["maximize"] == true {
        return None;
    }
    let beta = |i: usize, default| options["betas"][i].as_f64().unwrap_or(default);
    let adam = AdamOptions {
        learning_rate: number("lr", 1e-3),
        beta1: beta(0, 0.9),
        beta2: beta(1, 0.999),
        epsilon: number("eps", 1e-8),
        weight_decay: number("weight_decay", if kind == "AdamW" { 1e-2 } else { 0.0 }),
    };
    let optimizer = match kind {
        "SGD" => Optimizer::sgd(
            &[p],
            SgdOptions {
                learning_rate: number("lr", 1e-3),
                momentum: number("momentum", 0.0),
                dampening: number("dampening", 0.0),
                weight_decay: number("weight_decay", 0.0),
                nesterov: options["nesterov"] == true,
            },
        ),
        "Adam" => Optimizer::adam(&[p], adam),
        "AdamW" => Optimizer::adamw(&[p], adam),
        _ => return None,
    };
    Some(optimizer.unwrap())
}

/// What `name` of the optimiser's state holds.
fn state(optimizer: &Optimizer, name: &str) -> Vec<f64> {
    let state = optimizer.state().unwrap();
    let (_, found) = state.iter().find(|(entry, _)| entry == name).unwrap();
    found.to_f64().unwrap()
}

/// The derivative of sum(p * g) is g.
fn product(p: &Tensor, gradient: &Value, s: &Session) -> Tensor {
    let gradient = tensor(s, gradient).cast(p.dtype()).unwrap();
    p.mul(&gradient).unwrap().sum(&[], false).unwrap()
}

#[test]
fn optimisers_step_as_pytorchs() {
    let s = session();
    let data = reference();
    let mut kinds = BTreeSet::new();
    for (i, case) in data["optimisers"].as_array().unwrap().iter().enumerate() {
        let (kind, o) = (case["optimiser"].as_str().unwrap(), &case["options"]);
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let start = tensor(&s, &case["start"]).cast(dtype).unwrap();
            let p = autograd::parameter(&s, &format!("p{i}{dtype}"), &start).unwrap();
            let Some(mut optimizer) = optimizer(kind, o, &p) else {
                continue;
            };
            kinds.insert(kind.to_string());
            for (step, (gradient, after)) in case["gradients"]
                .as_array()
                .unwrap()
                .iter()
                .zip(case["after"].as_array().unwrap())
                .enumerate()
            {
                optimizer.minimize(&product(&p, gradient, &s)).unwrap();
                let problem = far(&p.to_f64().unwrap(), &values(after), tolerance);
                assert!(
                    problem.is_none(),
                    "{kind} {o} in {dtype}, step {step}: {}",
                    problem.unwrap()
                );
            }
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["Adam", "AdamW", "SGD"]);
}

/// PyTorch's optimisers on a master copy in `f32`, and its rounding. A loss that is scaled makes no difference.
#[test]
fn short_parameters_follow_pytorchs_master_copies() {
    let s = session();
    let data = reference();
    let cases = data["mixed"].as_array().unwrap();
    for (i, case) in cases.iter().enumerate() {
        let dtype = match case["dtype"].as_str().unwrap() {
            "bfloat16" => DType::BF16,
            _ => DType::F16,
        };
        for scaling in [None, Some(LossScale::fixed(1024.0)), Some(LossScale::default())] {
            let (kind, options) = (case["optimiser"].as_str().unwrap(), &case["options"]);
            let start = tensor(&s, &case["start"]).cast(dtype).unwrap();
            let name = format!("p{i}{scaling:?}");
            let p = autograd::parameter(&s, &name, &start).unwrap();
            let mut optimizer = optimizer(kind, options, &p).unwrap();
            optimizer.set_loss_scaling(scaling).unwrap();
            let (gradients, masters) = (&case["gradients"], &case["masters"]);
            let mut changed = 0;
            for (step, after) in case["after"].as_array().unwrap().iter().enumerate() {
                let before = p.to_f64().unwrap();
                // In f32: a derivative of f16 would not bear the largest scale.
                let gradient = tensor(&s, &gradients[step]).cast(DType::F32).unwrap();
                let wide = p.cast(DType::F32).unwrap();
                let loss = wide.mul(&gradient).unwrap().sum(&[], false).unwrap();
                optimizer.minimize(&loss).unwrap();
                let master = state(&optimizer, &format!("{name}/master"));
                let problem = far(&master, &values(&masters[step]), 1e-6);
                assert!(
                    problem.is_none(),
                    "{kind} {options} {dtype} {scaling:?}, step {step}: {problem:?}"
                );
                let ours = p.to_f64().unwrap();
                assert_eq!(ours, values(after), "{kind} {options} {dtype} {scaling:?}, step {step}");
                changed += ours.iter().zip(before).filter(|(a, b)| **a != *b).count();
            }
            assert!(changed > 0, "{kind} {options}: nothing was learned");
            assert_eq!(optimizer.skipped_steps(), 0);
        }
    }
    assert_eq!(cases.len(), 8);
}

#[test]
fn losses_are_scaled_and_steps_skipped_as_by_pytorchs_grad_scaler() {
    let s = session();
    let data = reference();
    let cases = data["scaling"].as_array().unwrap();
    for (i, case) in cases.iter().enumerate() {
        let (kind, options, scaler) = (case["optimiser"].as_str().unwrap(), &case["options"], &case["scaler"]);
        let start = tensor(&s, &case["start"]).cast(DType::F32).unwrap();
        let p = autograd::parameter(&s, &format!("p{i}"), &start).unwrap();
        let mut optimizer = optimizer(kind, options, &p).unwrap();
        let number = |name: &str| scaler[name].as_f64().unwrap();
        let rule = LossScale {
            initial: number("init_scale"),
            growth_factor: number("growth_factor"),
            backoff_factor: number("backoff_factor"),
            growth_interval: number("growth_interval") as u32,
        };
        optimizer.set_loss_scaling(Some(rule)).unwrap();
        for (step, after) in case["after"].as_array().unwrap().iter().enumerate() {
            let loss = product(&p, &case["gradients"][step], &s);
            match case["clip"].as_f64() {
                None => optimizer.minimize(&loss).unwrap(),
                Some(norm) => {
                    optimizer.clear_gradients().unwrap();
                    autograd::backward(&optimizer.scale_loss(&loss).unwrap()).unwrap();
                    optimizer.clip_gradient_norm(norm).unwrap();
                    optimizer.step().unwrap();
                }
            }
            let expected = (case["scales"][step].as_f64(), case["good"][step].as_f64());
            let ours = state(&optimizer, "loss-scale");
            assert_eq!((Some(ours[0]), Some(ours[1])), expected, "case {i}, step {step}");
            assert_eq!(optimizer.loss_scale(), ours[0]);
            let problem = far(&p.to_f64().unwrap(), &values(after), 1e-6);
            assert!(problem.is_none(), "{kind} {options}, step {step}: {problem:?}");
        }
        assert_eq!(optimizer.skipped_steps(), 4);
    }
    assert_eq!(cases.len(), 4);
}

#[test]
fn clipping_is_pytorchs() {
    let s = session();
    let data = reference();
    let mut checked = 0;
    for (i, case) in data["clipping"].as_array().unwrap().iter().enumerate() {
        if case["kind"] == "norm" && case["norm_type"] != 2.0 {
            continue;
        }
        let gradients: Vec<Tensor> = case["gradients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|g| tensor(&s, g))
            .collect();
        let parameters: Vec<Tensor> = gradients
            .iter()
            .enumerate()
            .map(|(j, g)| autograd::parameter(&s, &format!("{i}/{j}"), g).unwrap())
            .collect();
        for (p, g) in parameters.iter().zip(&gradients) {
            autograd::backward(&p.mul(g).unwrap().sum(&[], false).unwrap()).unwrap();
        }
        let mut sgd = Optimizer::sgd(&parameters.iter().collect::<Vec<_>>(), SgdOptions::default()).unwrap();
        if case["kind"] == "norm" {
            let norm = sgd.clip_gradient_norm(case["max_norm"].as_f64().unwrap()).unwrap();
            assert!((norm - case["norm"].as_f64().unwrap()).abs() < 1e-12);
        } else {
            let limit = case["clip_value"].as_f64().or(case["value"].as_f64()).expect("a limit");
            sgd.clip_gradient_value(limit).unwrap();
        }
        for (p, after) in parameters.iter().zip(case["after"].as_array().unwrap()) {
            let g = autograd::gradient(p).unwrap().unwrap();
            let problem = far(&g.to_f64().unwrap(), &values(after), 1e-12);
            assert!(problem.is_none(), "clipping case {i}: {}", problem.unwrap());
        }
        checked += 1;
    }
    assert!(checked >= 2);
}
