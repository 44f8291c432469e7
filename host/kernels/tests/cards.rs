//! What a card computes against what the processor computes, in sizes that need several blocks and several launches; its memory; and
//! what it says about faults. Without a card (`TRAINYARD_TEST_DEVICE` names one) there is nothing to compare.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod device;

use std::sync::{PoisonError, RwLock};

use trainyard_kernels::nn::{self, ConvOptions, RnnWeights};
use trainyard_kernels::optim::{AdamOptions, LossScale, Optimizer, SgdOptions};
use trainyard_kernels::{DType, Device, Error, Result, Session, SessionOptions, Tensor, autograd};

/// Tests that look at the card's free memory must be alone on it; where each test has a process of its own they are anyway.
static CARD: RwLock<()> = RwLock::new(());

/// A session on the card, unless there is none.
fn card() -> Option<Session> {
    if device::device() == Device::Cpu {
        println!("skipped: TRAINYARD_TEST_DEVICE names no card");
        return None;
    }
    Some(Session::new(device::options()).unwrap())
}

fn processor() -> Session {
    Session::new(SessionOptions::default()).unwrap()
}

/// Does the same on both devices, and compares all results: within `tolerance` of the largest number of each.
fn same(name: &str, tolerance: f64, work: impl Fn(&Session) -> Result<Vec<Tensor>>) {
    let _shared = CARD.read().unwrap_or_else(PoisonError::into_inner);
    let Some(card) = card() else { return };
    let (theirs, ours) = (work(&processor()), work(&card));
    let (theirs, ours) = (theirs.unwrap(), ours.unwrap_or_else(|error| panic!("{name}: {error}")));
    assert_eq!(theirs.len(), ours.len());
    for (i, (expected, found)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(
            (expected.shape(), expected.dtype()),
            (found.shape(), found.dtype()),
            "{name}, result {i}"
        );
        let (expected, found) = (expected.to_f64().unwrap(), found.to_f64().unwrap());
        let largest = expected
            .iter()
            .filter(|x| x.is_finite())
            .fold(0f64, |most, x| most.max(x.abs()));
        assert!(
            expected.is_empty() || expected.iter().any(|x| !x.is_nan()),
            "{name}, result {i}: nothing is compared"
        );
        for (place, (e, f)) in expected.iter().zip(&found).enumerate() {
            let alike = e == f || (e.is_nan() && f.is_nan()) || (e - f).abs() <= tolerance * largest;
            assert!(
                alike,
                "{name}, result {i}, element {place}: {f} on the card, {e} on the processor"
            );
        }
    }
}

fn normal(s: &Session, shape: &[usize]) -> Tensor {
    Tensor::random_normal(s, shape, 0.0, 1.0, DType::F32).unwrap()
}

/// The outputs of `f` of some parameters, and the gradients of all of those.
fn with_gradients(s: &Session, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>) -> Result<Vec<Tensor>> {
    let parameters: Vec<Tensor> = inputs
        .iter()
        .enumerate()
        .map(|(i, x)| autograd::parameter(s, &format!("p{i}"), x))
        .collect::<Result<_>>()?;
    let outputs = f(&parameters)?;
    let mut loss = Tensor::full(s, &[], 0.0, DType::F32)?;
    for output in &outputs {
        let weights = Tensor::random_uniform(s, output.shape(), -1.0, 1.0, DType::F32)?;
        loss = loss.add(&output.cast(DType::F32)?.mul(&weights)?.sum(&[], false)?)?;
    }
    autograd::backward(&loss)?;
    let mut all = outputs;
    for parameter in &parameters {
        all.extend(autograd::gradient(parameter)?);
    }
    Ok(all)
}

#[test]
fn random_numbers_are_the_processors() {
    for n in [1, 7, 8, 15, 16, 17, 1000, 100_003] {
        same("uniform", 0.0, |s| {
            Ok(vec![Tensor::random_uniform(s, &[n], -2.0, 3.0, DType::F32)?])
        });
        same("uniform in f64", 0.0, |s| {
            Ok(vec![Tensor::random_uniform(s, &[n], -2.0, 3.0, DType::F64)?])
        });
        same("normal", 1e-15, |s| {
            Ok(vec![Tensor::random_normal(s, &[n], 0.5, 2.0, DType::F64)?])
        });
        same("permutation", 0.0, |s| Ok(vec![Tensor::random_permutation(s, n)?]));
        same("dropout", 1e-6, |s| {
            let x = normal(s, &[n]);
            with_gradients(s, &[x], |p| Ok(vec![nn::dropout(&p[0], 0.3)?]))
        });
    }
}

#[test]
fn functions_of_elements() {
    type Function = fn(&Tensor) -> Result<Tensor>;
    let functions: [(&str, Function); 24] = [
        ("relu", nn::relu),
        ("leaky relu", |x| nn::leaky_relu(x, 0.1)),
        ("elu", |x| nn::elu(x, 1.3)),
        ("gelu", nn::gelu),
        ("gelu by tanh", nn::gelu_tanh),
        ("silu", nn::silu),
        ("softplus", nn::softplus),
        ("sigmoid", Tensor::sigmoid),
        ("tanh", Tensor::tanh),
        ("exp", Tensor::exp),
        ("log", |x| x.abs()?.add_scalar(0.1)?.log()),
        ("log1p", |x| x.abs()?.log1p()),
        ("expm1", Tensor::expm1),
        ("erf", Tensor::erf),
        ("power", |x| x.abs()?.add_scalar(0.1)?.pow_scalar(1.7)),
        ("power of tensors", |x| x.abs()?.add_scalar(0.1)?.pow(&x.sigmoid()?)),
        ("clamp", |x| x.clamp(Some(-0.5), Some(0.7))),
        ("round", |x| x.mul_scalar(3.0)?.round()),
        ("maximum", |x| x.maximum(&x.flip(&[0])?)),
        ("minimum", |x| x.minimum(&x.flip(&[0])?)),
        ("square root", |x| x.abs()?.add_scalar(0.1)?.rsqrt()),
        ("reciprocal", |x| x.abs()?.add_scalar(0.5)?.reciprocal()),
        ("sine", Tensor::sin),
        ("log softmax", |x| nn::log_softmax(x, -1)),
    ];
    for (name, function) in functions {
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
            // Half precision rounds every step of what is put together here by itself.
            let tolerance = match dtype {
                DType::F64 => 1e-13,
                DType::F32 => 3e-6,
                DType::F16 => 4e-3,
                _ => 3e-2,
            };
            same(&format!("{name} of {dtype}"), tolerance, |s| {
                let x = normal(s, &[33, 77]).cast(dtype)?;
                with_gradients(s, &[x], |p| Ok(vec![function(&p[0])?]))
            });
        }
    }
    same("finite", 0.0, |s| {
        let x = Tensor::from_f32(s, vec![1.0, f32::NAN, f32::INFINITY, -2.0], &[4])?;
        Ok(vec![
            x.is_finite()?,
            x.cast(DType::BF16)?.is_finite()?,
            x.gt(&x.neg()?)?,
        ])
    });
}

#[test]
fn reductions_of_every_form() {
    for shape in [[3, 5, 7], [1, 60_000, 1], [2, 20_000, 3], [700, 2, 40], [1, 3000, 100]] {
        same(&format!("reductions of {shape:?}"), 3e-6, |s| {
            let x = normal(s, &shape);
            let mut results = Vec::new();
            for dim in 0..3 {
                for keep in [false, true] {
                    results.push(x.sum(&[dim], keep)?);
                    results.push(x.mean(&[dim], keep)?);
                    results.push(x.max(&[dim], keep)?);
                    results.push(x.min(&[dim], keep)?);
                    results.push(x.argmax(dim, keep)?);
                    results.push(x.argmin(dim, keep)?);
                    results.push(x.logsumexp(&[dim], keep)?);
                    results.push(x.variance(&[dim], 0.0, keep)?);
                }
                results.push(x.cumsum(dim)?);
            }
            results.push(x.sum(&[], false)?);
            results.push(x.max(&[0, 2], false)?);
            results.push(x.sum(&[0, 2], false)?);
            Ok(results)
        });
    }
    same("gradients of reductions", 3e-6, |s| {
        let x = normal(s, &[40, 50, 6]);
        with_gradients(s, &[x], |p| {
            Ok(vec![
                p[0].cumsum(0)?,
                p[0].cumsum(-1)?,
                p[0].max(&[1], false)?,
                p[0].logsumexp(&[0], false)?,
                p[0].variance(&[2], 1.0, false)?,
            ])
        })
    });
    same("NaN and infinity", 0.0, |s| {
        let x = Tensor::from_f32(
            s,
            vec![1.0, f32::NAN, 3.0, f32::NEG_INFINITY, f32::INFINITY, 2.0],
            &[2, 3],
        )?;
        Ok(vec![
            x.max(&[1], false)?,
            x.min(&[1], false)?,
            x.argmax(1, false)?,
            x.argmin(1, false)?,
            x.max(&[0], false)?,
        ])
    });
}

#[test]
fn elements_by_index_in_windows_and_sorted() {
    same("indices", 3e-6, |s| {
        let x = normal(s, &[50, 20, 3]);
        let picks: Vec<u32> = (0..300).map(|i| (i * i) % 50).collect();
        let picks = Tensor::from_u32(s, picks, &[300])?;
        with_gradients(s, &[x], |p| {
            Ok(vec![
                p[0].index_select(0, &picks)?,
                nn::embedding(&picks.cast(DType::I64)?, &p[0].reshape(&[50, 60])?)?,
                p[0].unfold(1, 5, 3)?,
                p[0].unfold(1, 2, 5)?,
                p[0].flip(&[0, 2])?,
                p[0].pad_edge(1, 3, 4)?,
                p[0].pad(0, 2, 1, 0.5)?,
                p[0].tril(1)?,
                p[0].triu(-1)?,
                p[0].slice(1, 1, 18, 4)?,
            ])
        })
    });
    for descending in [false, true] {
        same("sort", 0.0, |s| {
            let x = normal(s, &[3, 1000, 2]);
            // Many alike, so that the order of equal ones shows.
            let coarse = x.mul_scalar(2.0)?.round()?;
            let odd = Tensor::from_f32(
                s,
                vec![2.0, f32::NAN, -1.0, f32::INFINITY, f32::NEG_INFINITY, 2.0],
                &[6],
            )?;
            let mut results = Vec::new();
            for x in [&x, &coarse, &odd] {
                for dim in 0..x.rank() as i32 {
                    let (values, places) = x.sort(dim, descending)?;
                    results.extend([values, places]);
                }
            }
            Ok(results)
        });
    }
}

#[test]
fn products_of_every_layout() {
    same("products", 3e-6, |s| {
        let (a, b) = (normal(s, &[6, 17, 33]), normal(s, &[6, 33, 21]));
        let (row, column) = (normal(s, &[33]), normal(s, &[17, 1, 33]));
        with_gradients(s, &[a, b, row, column], |p| {
            Ok(vec![
                p[0].matmul(&p[1])?,
                p[1].transpose(1, 2)?.matmul(&p[0].transpose(1, 2)?)?,
                p[0].matmul(&p[2])?,
                p[0].narrow(1, 3, 9)?.matmul(&p[1].narrow(2, 4, 5)?)?,
                p[0].permute(&[1, 0, 2])?.matmul(&p[1].narrow(0, 2, 1)?.squeeze(0)?)?,
                p[3].matmul(&p[1].narrow(0, 0, 1)?)?,
                p[0].unsqueeze(1)?.matmul(&p[1].unsqueeze(0)?)?,
            ])
        })
    });
    for dtype in [DType::BF16, DType::F16] {
        same("products in half precision", 2e-2, |s| {
            let (x, w, b) = (
                normal(s, &[40, 64]).cast(dtype)?,
                normal(s, &[48, 64]).cast(dtype)?,
                normal(s, &[48]).cast(dtype)?,
            );
            with_gradients(s, &[x, w, b], |p| Ok(vec![nn::linear(&p[0], &p[1], Some(&p[2]))?]))
        });
    }
    same("linear", 3e-6, |s| {
        let (x, w, b) = (normal(s, &[5, 40, 64]), normal(s, &[48, 64]), normal(s, &[48]));
        with_gradients(s, &[x, w, b], |p| {
            Ok(vec![
                nn::linear(&p[0], &p[1], Some(&p[2]))?,
                nn::linear(&p[0].transpose(0, 1)?, &p[1], None)?,
            ])
        })
    });
}

#[test]
fn normalisations_and_softmax_of_short_and_long_rows() {
    for n in [1, 5, 32, 300, 1024, 1025, 3000] {
        same(&format!("rows of {n}"), 1e-5, |s| {
            let (x, w, b) = (normal(s, &[70, n]), normal(s, &[n]), normal(s, &[n]));
            with_gradients(s, &[x, w, b], |p| {
                Ok(vec![
                    nn::layer_norm(&p[0], Some(&p[1]), Some(&p[2]), 1e-5)?,
                    nn::layer_norm(&p[0], None, None, 1e-5)?,
                    nn::rms_norm(&p[0], Some(&p[1]), 1e-5)?,
                    nn::softmax(&p[0], -1)?,
                    nn::log_softmax(&p[0], 0)?,
                ])
            })
        });
    }
    same("softmax of large logits", 1e-6, |s| {
        let x = normal(s, &[50, 7]).add_scalar(1e4)?;
        let classes = Tensor::from_u32(s, (0..50).map(|i| i % 7).collect(), &[50])?;
        Ok(vec![nn::log_softmax(&x, 1)?, nn::cross_entropy(&x, &classes, 0.0)?])
    });
    // In parts, joined; channels side by side and apart; with a mean that is far from zero.
    for shape in [&[4, 3, 5_000][..], &[2_000, 40], &[3, 1]] {
        same("batch norm of many", 1e-5, |s| {
            let x = normal(s, shape).add_scalar(30.0)?;
            let channels = shape[1];
            let (mean, variance) = (normal(s, &[channels]), normal(s, &[channels]).square()?);
            let mut all = with_gradients(s, &[x], |p| {
                Ok(vec![nn::batch_norm(
                    &p[0], None, None, &mean, &variance, true, 0.1, 1e-5,
                )?])
            })?;
            all.extend([mean, variance]);
            Ok(all)
        });
    }
    for training in [false, true] {
        same("batch norm", 1e-5, |s| {
            let (x, w, b) = (normal(s, &[9, 6, 40]), normal(s, &[6]), normal(s, &[6]));
            let (mean, variance) = (normal(s, &[6]), normal(s, &[6]).square()?.add_scalar(0.5)?);
            let mut all = with_gradients(s, &[x, w, b], |p| {
                Ok(vec![nn::batch_norm(
                    &p[0],
                    Some(&p[1]),
                    Some(&p[2]),
                    &mean,
                    &variance,
                    training,
                    0.1,
                    1e-5,
                )?])
            })?;
            all.extend([mean, variance]);
            Ok(all)
        });
    }
}

#[test]
fn losses() {
    same("losses", 1e-5, |s| {
        let (p, t) = (normal(s, &[300, 11]), normal(s, &[300, 11]));
        with_gradients(s, &[p, t], |x| {
            Ok(vec![
                nn::mse_loss(&x[0], &x[1])?,
                nn::l1_loss(&x[0], &x[1])?,
                nn::huber_loss(&x[0], &x[1], 0.7)?,
                nn::quantile_loss(&x[0], &x[1], 0.2)?,
                nn::binary_cross_entropy_with_logits(&x[0], &x[1].sigmoid()?)?,
            ])
        })
    });
    for smoothing in [0.0, 0.1] {
        same("cross-entropy", 1e-5, |s| {
            let x = normal(s, &[500, 40]);
            let target = Tensor::from_u32(s, (0..500).map(|i| i * 7 % 40).collect(), &[500])?;
            with_gradients(s, &[x], |p| {
                Ok(vec![
                    nn::cross_entropy(&p[0], &target, smoothing)?,
                    nn::nll_loss(&nn::log_softmax(&p[0], 1)?, &target)?,
                ])
            })
        });
    }
}

#[test]
fn convolutions_and_pooling() {
    for groups in [1, 2] {
        for (stride, padding, dilation) in [(1, 0, 1), (2, 3, 1), (1, 2, 3), (3, 1, 2)] {
            let options = ConvOptions {
                stride,
                padding,
                dilation,
                groups,
            };
            same(&format!("convolutions {options:?}"), 1e-5, |s| {
                let (x, w, b) = (normal(s, &[5, 4, 30]), normal(s, &[6, 4 / groups, 5]), normal(s, &[6]));
                let (image, kernel) = (normal(s, &[3, 4, 17, 19]), normal(s, &[6, 4 / groups, 3, 3]));
                let back = normal(s, &[4, 6 / groups, 5]);
                with_gradients(s, &[x, w, b, image, kernel, back], |p| {
                    Ok(vec![
                        nn::conv1d(&p[0], &p[1], Some(&p[2]), options)?,
                        nn::conv1d(&p[0], &p[1], None, options)?,
                        nn::conv2d(&p[3], &p[4], Some(&p[2]), options)?,
                        nn::conv_transpose1d(&p[0], &p[5], Some(&p[2]), options, 0)?,
                    ])
                })
            });
        }
    }
    for (kernel, stride, padding) in [(2, 2, 0), (3, 1, 1), (5, 3, 2), (3, 4, 0)] {
        same("pooling", 1e-6, |s| {
            let (x, image) = (normal(s, &[5, 4, 30]), normal(s, &[2, 3, 17, 19]));
            with_gradients(s, &[x, image], |p| {
                Ok(vec![
                    nn::max_pool1d(&p[0], kernel, stride, padding)?,
                    nn::avg_pool1d(&p[0], kernel, stride, padding)?,
                    nn::max_pool2d(&p[1], kernel, stride, padding)?,
                    nn::avg_pool2d(&p[1], kernel, stride, padding)?,
                ])
            })
        });
    }
}

#[test]
fn attention_with_masks() {
    for (queries, keys, causal) in [(7, 7, true), (40, 70, false), (70, 40, true), (1, 1500, false)] {
        same("attention", 1e-5, |s| {
            let (q, k, v) = (
                normal(s, &[2, 3, queries, 8]),
                normal(s, &[2, 3, keys, 8]),
                normal(s, &[2, 3, keys, 5]),
            );
            let (shared, own) = (normal(s, &[queries, keys]), normal(s, &[2, 3, queries, keys]));
            // One row that sees nothing.
            let hidden = Tensor::full(s, &[1, keys], f64::NEG_INFINITY, DType::F32)?;
            let rest = Tensor::full(s, &[queries - 1, keys], 0.0, DType::F32)?;
            let blind = Tensor::concat(&[&hidden, &rest], 0)?;
            with_gradients(s, &[q, k, v, shared, own], |p| {
                Ok(vec![
                    nn::attention(&p[0], &p[1], &p[2], None, causal, None)?,
                    nn::attention(&p[0], &p[1], &p[2], Some(&p[3]), causal, Some(0.3))?,
                    nn::attention(&p[0], &p[1], &p[2], Some(&p[4]), false, None)?,
                    nn::attention(&p[0], &p[1], &p[2], Some(&blind), false, None)?,
                ])
            })
        });
    }
}

#[test]
fn recurrent_layers() {
    for (batch, time, with_state, with_bias) in [
        (1, 1, false, true),
        (1, 1, true, false),
        (5, 9, true, true),
        (3, 4, false, false),
    ] {
        same(&format!("recurrent layers, batch {batch}, time {time}"), 1e-5, |s| {
            let (input, hidden) = (6, 10);
            let inputs = [
                normal(s, &[batch, time, input]),
                normal(s, &[4 * hidden, input]).mul_scalar(0.3)?,
                normal(s, &[4 * hidden, hidden]).mul_scalar(0.3)?,
                normal(s, &[4 * hidden]),
                normal(s, &[4 * hidden]),
                normal(s, &[batch, hidden]),
                normal(s, &[batch, hidden]),
            ];
            with_gradients(s, &inputs, |p| {
                let rows = |t: &Tensor| t.narrow(0, 0, 3 * hidden);
                let bias = |t: &Tensor| with_bias.then(|| t.clone());
                let (b1, b2) = (bias(&p[3]), bias(&p[4]));
                let weights = RnnWeights {
                    input: &p[1],
                    hidden: &p[2],
                    input_bias: b1.as_ref(),
                    hidden_bias: b2.as_ref(),
                };
                let state = with_state.then_some((&p[5], &p[6]));
                let (y, h, c) = nn::lstm(&p[0], state, &weights)?;
                let (w1, w2) = (rows(&p[1])?, rows(&p[2])?);
                let (b1, b2) = (rows(&p[3])?, rows(&p[4])?);
                let weights = RnnWeights {
                    input: &w1,
                    hidden: &w2,
                    input_bias: with_bias.then_some(&b1),
                    hidden_bias: with_bias.then_some(&b2),
                };
                let (z, last) = nn::gru(&p[0], with_state.then_some(&p[5]), &weights)?;
                // So that every parameter has a gradient in every case.
                let used = p
                    .iter()
                    .map(|t| t.square()?.sum(&[], false))
                    .collect::<Result<Vec<_>>>()?;
                Ok([vec![y, h, c, z, last], used].concat())
            })
        });
    }
}

#[test]
fn optimisers_of_many_parameters() {
    let run = |s: &Session, dtype: DType, make: &dyn Fn(&[&Tensor]) -> Result<Optimizer>| -> Result<Vec<Tensor>> {
        // More than one table holds, one of several blocks, one of a single element and one of none.
        let sizes = (0..44).map(|i| [9_000, 1, 0, 33][i % 4]);
        let parameters: Vec<Tensor> = sizes
            .enumerate()
            .map(|(i, n)| autograd::parameter(s, &format!("p{i}"), &normal(s, &[n]).cast(dtype)?))
            .collect::<Result<_>>()?;
        let mut optimiser = make(&parameters.iter().collect::<Vec<_>>())?;
        let mut norms = Vec::new();
        for _ in 0..4 {
            let mut loss = Tensor::full(s, &[], 0.0, DType::F32)?;
            for p in &parameters {
                loss = loss.add(&p.cast(DType::F32)?.add_scalar(0.3)?.square()?.sum(&[], false)?)?;
            }
            optimiser.clear_gradients()?;
            autograd::backward(&optimiser.scale_loss(&loss)?)?;
            norms.push(optimiser.clip_gradient_norm(50.0)? as f32);
            optimiser.clip_gradient_value(0.5)?;
            optimiser.step()?;
        }
        assert_eq!(optimiser.skipped_steps(), 0, "each step is made");
        let norms = Tensor::from_f32(s, norms, &[4])?;
        Ok([
            parameters.iter().map(Tensor::detach).collect::<Result<Vec<_>>>()?,
            vec![norms],
        ]
        .concat())
    };
    let sgd = |momentum, nesterov| SgdOptions {
        learning_rate: 0.1,
        momentum,
        dampening: 0.0,
        weight_decay: 0.01,
        nesterov,
    };
    let adam = AdamOptions {
        learning_rate: 0.01,
        weight_decay: 0.1,
        ..Default::default()
    };
    for (dtype, tolerance) in [
        (DType::F32, 1e-6),
        (DType::F64, 1e-7),
        (DType::BF16, 1e-2),
        (DType::F16, 2e-3),
    ] {
        same("SGD", tolerance, |s| {
            run(s, dtype, &|p| Optimizer::sgd(p, sgd(0.0, false)))
        });
        same("SGD with momentum", tolerance, |s| {
            run(s, dtype, &|p| Optimizer::sgd(p, sgd(0.9, true)))
        });
        same("Adam", tolerance, |s| run(s, dtype, &|p| Optimizer::adam(p, adam)));
        same("AdamW, the loss scaled", tolerance, |s| {
            run(s, dtype, &|p| {
                let mut optimiser = Optimizer::adamw(p, adam)?;
                // Small enough for f16, and it grows on the way.
                optimiser.set_loss_scaling(Some(LossScale {
                    initial: 1024.0,
                    growth_interval: 2,
                    ..LossScale::default()
                }))?;
                Ok(optimiser)
            })
        });
    }
}

#[test]
fn what_is_uploaded_and_read_back_is_the_same() {
    same("uploads", 0.0, |s| {
        // Small ones go at once, large ones through buffers in turn.
        let mut all = Vec::new();
        for n in [1usize, 1000, 20_000, 300_000, 50_000, 300_000, 1_000_000] {
            let values: Vec<f32> = (0..n).map(|i| (i * 31 % 1009) as f32).collect();
            all.push(Tensor::from_f32(s, values, &[n])?.add_scalar(1.0)?);
        }
        all.push(Tensor::from_bytes(s, &[1, 2, 3, 4], &[4], DType::U8)?);
        // One in three pieces: where they meet, and its end.
        let long = Tensor::from_f32(
            s,
            (0..9_000_000u32).map(|i| (i % 65_521) as f32).collect(),
            &[9_000_000],
        )?;
        for at in [0, 4_194_300, 8_388_600, 8_999_992] {
            all.push(long.narrow(0, at, 8)?);
        }
        all.push(Tensor::arange(s, 0.0, 100.0, 1.0, DType::I64)?);
        Ok(all)
    });
}

#[test]
fn an_index_out_of_range_is_said_when_something_is_read() {
    let _shared = CARD.read().unwrap_or_else(PoisonError::into_inner);
    let Some(s) = card() else { return };
    let table = normal(&s, &[10, 3]);
    let wrong = Tensor::from_u32(&s, vec![1, 12, 3], &[3]).unwrap();
    let rows = table.index_select(0, &wrong).unwrap();
    let text = rows.to_f32().unwrap_err().to_string();
    assert_eq!(
        text,
        "tensor.index-select: index 12 is out of range: there are 10 entries, counted from 0"
    );
    assert!(table.to_f32().is_ok(), "it is said once");
    let negative = Tensor::from_f32(&s, vec![-1.0], &[1])
        .unwrap()
        .cast(DType::I64)
        .unwrap();
    let picked = nn::embedding(&negative, &table).unwrap();
    assert!(
        picked
            .to_f32()
            .unwrap_err()
            .to_string()
            .contains("nn.embedding: index -1 is out of range")
    );
}

/// What is wrong in one session is neither said in another nor learned from.
#[test]
fn an_index_out_of_range_is_the_sessions_own() {
    let _shared = CARD.read().unwrap_or_else(PoisonError::into_inner);
    let (Some(wrong), Some(right)) = (card(), card()) else {
        return;
    };
    let table = |s: &Session| autograd::parameter(s, "table", &normal(s, &[10, 3])).unwrap();
    let step = |s: &Session, table: &Tensor, index: u32| {
        let mut adam = Optimizer::adam(&[table], AdamOptions::default()).unwrap();
        let rows = nn::embedding(&Tensor::from_u32(s, vec![1, index], &[2]).unwrap(), table).unwrap();
        adam.minimize(&rows.square().unwrap().sum(&[], false).unwrap()).unwrap();
    };
    let (theirs, ours) = (table(&wrong), table(&right));
    let before = theirs.to_f32().unwrap();
    step(&wrong, &theirs, 12);
    let started = ours.to_f32().unwrap();
    step(&right, &ours, 2);
    assert_ne!(ours.to_f32().unwrap(), started, "the other session goes on");
    let text = theirs.to_f32().unwrap_err().to_string();
    assert!(text.contains("nn.embedding: index 12 is out of range"), "{text}");
    assert_eq!(theirs.to_f32().unwrap(), before, "no step is made from it");
}

#[test]
fn a_tensor_that_candle_cannot_count_is_refused() {
    let _shared = CARD.read().unwrap_or_else(PoisonError::into_inner);
    if card().is_none() {
        return;
    }
    let s = Session::new(SessionOptions {
        memory: 1 << 50,
        ..device::options()
    })
    .unwrap();
    let error = Tensor::full(&s, &[1 << 16, 1 << 16], 0.0, DType::U8).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    assert!(error.to_string().contains("4294966272"), "{error}");
    assert_eq!(s.used_bytes(), 0);
}

#[test]
fn memory_is_booked_refused_and_given_back() {
    let _alone = CARD.write().unwrap_or_else(PoisonError::into_inner);
    let Some(s) = card() else { return };
    // Kernels are loaded at their first launch, and take memory of the card.
    let warm = Tensor::full(&s, &[10], 2.0, DType::F32).unwrap();
    assert_eq!(warm.sum(&[], false).unwrap().item().unwrap(), 20.0);
    drop(warm);
    let before = s.card().unwrap();
    {
        let limited = Session::new(SessionOptions {
            memory: 1 << 20,
            ..device::options()
        })
        .unwrap();
        let x = Tensor::full(&limited, &[100_000], 1.0, DType::F32).unwrap();
        assert_eq!(limited.used_bytes(), 400_000);
        let error = Tensor::full(&limited, &[200_000], 1.0, DType::F32).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
        assert_eq!(
            x.sum(&[], false).unwrap().item().unwrap(),
            100_000.0,
            "the session goes on"
        );
    }
    // More than the card has, though the budget would allow it: the driver refuses, and the session goes on.
    {
        let generous = Session::new(SessionOptions {
            memory: 1 << 50,
            ..device::options()
        })
        .unwrap();
        let count = before.total_bytes as usize / 4 + 1;
        let error = Tensor::full(&generous, &[count], 0.0, DType::F32).unwrap_err();
        assert!(
            matches!(&error, Error::OutOfMemory(limit) if limit.limit == "card memory"),
            "{error}"
        );
        let x = Tensor::full(&generous, &[10], 2.0, DType::F32).unwrap();
        assert_eq!(x.sum(&[], false).unwrap().item().unwrap(), 20.0);
        assert!(generous.failure().is_none());
    }
    drop(s);
    let free = Session::new(device::options()).unwrap().card().unwrap().free_bytes;
    // Others may use a real card as well.
    let slack = match std::env::var_os("TRAINYARD_TEST_CUDA_EMULATOR") {
        Some(_) => 0,
        None => 64 << 20,
    };
    assert!(
        free + slack >= before.free_bytes,
        "all of it is given back: {} bytes are not",
        before.free_bytes - free
    );
}

/// A thousand jobs, one after the other: what the card has free at the end is what it had after the first.
#[test]
fn a_thousand_jobs_leave_nothing_behind() {
    let _alone = CARD.write().unwrap_or_else(PoisonError::into_inner);
    if card().is_none() {
        return;
    }
    let job = |seed: u64| {
        let s = Session::new(SessionOptions {
            seed,
            ..device::options()
        })
        .unwrap();
        let (x, y) = (normal(&s, &[64, 16]), normal(&s, &[64, 1]));
        let w1 = autograd::parameter(&s, "w1", &normal(&s, &[32, 16])).unwrap();
        let w2 = autograd::parameter(&s, "w2", &normal(&s, &[1, 32])).unwrap();
        let mut adam = Optimizer::adam(&[&w1, &w2], AdamOptions::default()).unwrap();
        for _ in 0..2 {
            let hidden = nn::relu(&nn::linear(&x, &w1, None).unwrap()).unwrap();
            adam.minimize(&nn::mse_loss(&nn::linear(&hidden, &w2, None).unwrap(), &y).unwrap())
                .unwrap();
        }
        assert!(w1.sum(&[], false).unwrap().item().unwrap().is_finite());
        s
    };
    let free = |s: Session| {
        let report = s.card().unwrap();
        report.free_bytes
    };
    let after_one = {
        drop(job(0));
        free(Session::new(device::options()).unwrap())
    };
    (1..1000).for_each(|seed| drop(job(seed)));
    assert_eq!(free(Session::new(device::options()).unwrap()), after_one);
}

/// While a plugin reads nothing, a training step neither waits for the card nor copies anything from it. Only the emulator counts.
#[cfg(feature = "cuda")]
#[test]
fn a_steady_step_waits_for_nothing() {
    let _alone = CARD.write().unwrap_or_else(PoisonError::into_inner);
    let Some(folder) = std::env::var_os("TRAINYARD_TEST_CUDA_EMULATOR") else {
        println!("skipped: only the CUDA emulator counts what is asked of a card");
        return;
    };
    let Some(s) = card() else { return };
    // SAFETY: the emulator's library, which the session has loaded already.
    let library = unsafe { libloading::Library::new(std::path::Path::new(&folder).join("libcuda.so.1")) }.unwrap();
    let count = |what: &std::ffi::CStr| {
        // SAFETY: the function's type is the one in the emulator's README.
        unsafe {
            let count = library.get::<unsafe extern "C" fn(*const std::ffi::c_char) -> u64>(b"cuda_emulator_count\0");
            (count.unwrap())(what.as_ptr())
        }
    };
    let parameter = |name: &str, shape: &[usize]| {
        let start = normal(&s, shape).mul_scalar(0.1).unwrap();
        autograd::parameter(&s, name, &start).unwrap()
    };
    let (table, position) = (parameter("table", &[20, 8]), parameter("position", &[6, 8]));
    let (wx, wh, b) = (
        parameter("wx", &[32, 8]),
        parameter("wh", &[32, 8]),
        parameter("b", &[32]),
    );
    let (gain, shift) = (parameter("gain", &[8]), parameter("shift", &[8]));
    let (kernel, out) = (parameter("kernel", &[8, 6, 3]), parameter("out", &[5, 8]));
    let all = [&table, &position, &wx, &wh, &b, &gain, &shift, &kernel, &out];
    let mut adam = Optimizer::adamw(&all, AdamOptions::default()).unwrap();
    let tokens = Tensor::from_u32(&s, (0..24).map(|i| i * 7 % 20).collect(), &[4, 6]).unwrap();
    let classes = Tensor::from_u32(&s, vec![0, 4, 2, 1], &[4]).unwrap();
    let mut step = || -> Result<()> {
        let x = nn::embedding(&tokens, &table)?.add(&position)?;
        let x = nn::layer_norm(&nn::conv1d(&x, &kernel, None, CONV)?, Some(&gain), Some(&shift), 1e-5)?;
        let x = nn::dropout(&nn::gelu(&nn::attention(&x, &x, &x, None, true, None)?)?, 0.1)?;
        let weights = RnnWeights {
            input: &wx,
            hidden: &wh,
            input_bias: Some(&b),
            hidden_bias: None,
        };
        let (_, h, _) = nn::lstm(&x, None, &weights)?;
        let loss = nn::cross_entropy(&nn::linear(&h, &out, None)?, &classes, 0.1)?;
        adam.minimize(&loss)
    };
    (0..2).for_each(|_| step().unwrap());
    let counted = || [c"synchronize", c"dtoh", c"launch", c"gemm", c"htod", c"alloc"].map(count);
    let before = counted();
    (0..5).for_each(|_| step().unwrap());
    let after = counted();
    let [launches, products, uploads, allocations] = [2, 3, 4, 5].map(|i| (after[i] - before[i]) / 5);
    println!("a step: {launches} launches, {products} products, {uploads} uploads, {allocations} allocations");
    assert_eq!(after[..2], before[..2], "waits and copies from the card");
    assert!(
        after[2] > before[2] && after[3] > before[3],
        "the emulator counts at all"
    );
}

/// A window of three over a sequence as long as its result.
#[cfg(feature = "cuda")]
const CONV: ConvOptions = ConvOptions {
    stride: 1,
    padding: 1,
    dilation: 1,
    groups: 1,
};
