//! Every operation of the contract's `tensor`, `nn` and `linalg` is either in the table of derivatives below, checked by finite
//! differences in f64, or in the list of those that have none. An operation that is in neither fails the first test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod device;

use std::collections::BTreeSet;
use trainyard_kernels::nn::{self, ConvOptions, RnnWeights};
use trainyard_kernels::{DType, Result, Session, SessionOptions, Tensor, autograd, linalg};

type Function = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>>;

/// One operation on some inputs, all of which are differentiated.
struct Case {
    op: &'static str,
    inputs: Vec<Tensor>,
    f: Function,
}

/// What has no derivative, and why.
const WITHOUT: &[(&str, &[&str])] = &[
    (
        "creates a tensor from nothing",
        &[
            "tensor.from-f32",
            "tensor.from-f64",
            "tensor.from-u32",
            "tensor.full",
            "tensor.arange",
            "tensor.eye",
            "tensor.random-uniform",
            "tensor.random-normal",
            "tensor.random-permutation",
        ],
    ),
    (
        "reads a tensor",
        &[
            "tensor.shape",
            "tensor.dtype",
            "tensor.item",
            "tensor.to-f32",
            "tensor.to-f64",
            "tensor.to-u32",
            "tensor.to-bytes",
        ],
    ),
    (
        "gives truth values or places",
        &[
            "tensor.eq",
            "tensor.ne",
            "tensor.lt",
            "tensor.le",
            "tensor.gt",
            "tensor.ge",
            "tensor.logical-and",
            "tensor.logical-or",
            "tensor.logical-not",
            "tensor.is-finite",
            "tensor.argmax",
            "tensor.argmin",
        ],
    ),
    ("draws anew each time: has a test of its own below", &["nn.dropout"]),
    (
        "is there to cut the derivative off, or to change state",
        &["tensor.detach", "tensor.assign"],
    ),
];

/// Deterministic numbers in [low, high), no two alike and none near a bound of a piecewise function.
fn numbers(seed: u64, count: usize, low: f64, high: f64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            low + (high - low) * (z >> 11) as f64 / (1u64 << 53) as f64
        })
        .collect()
}

fn session() -> Session {
    Session::new(SessionOptions {
        seed: 7,
        ..device::options()
    })
    .unwrap()
}

fn table(s: &Session) -> Vec<Case> {
    let within = |seed: u64, shape: &[usize], low: f64, high: f64| {
        Tensor::from_f64(s, numbers(seed, shape.iter().product(), low, high), shape).unwrap()
    };
    let any = |seed, shape: &[usize]| within(seed, shape, -1.5, 1.5);
    let positive = |seed, shape: &[usize]| within(seed, shape, 0.3, 2.0);
    let indices = |values: &[u32], shape: &[usize]| Tensor::from_u32(s, values.to_vec(), shape).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    macro_rules! case {
        ($op:literal, [$($input:expr),+], |$x:ident| $body:expr) => {
            cases.push(Case { op: $op, inputs: vec![$($input),+], f: Box::new(move |$x| Ok(vec![$body?])) })
        };
    }
    macro_rules! many {
        ($op:literal, [$($input:expr),+], |$x:ident| $body:expr) => {
            cases.push(Case { op: $op, inputs: vec![$($input),+], f: Box::new(move |$x| $body) })
        };
    }

    for (a, b) in [
        (vec![2, 3, 4], vec![2, 3, 4]),
        (vec![2, 3, 4], vec![3, 1]),
        (vec![1, 4], vec![2, 3, 1]),
        (vec![], vec![3]),
    ] {
        case!("tensor.add", [any(1, &a), any(2, &b)], |x| x[0].add(&x[1]));
        case!("tensor.sub", [any(1, &a), any(2, &b)], |x| x[0].sub(&x[1]));
        case!("tensor.mul", [any(1, &a), any(2, &b)], |x| x[0].mul(&x[1]));
        case!("tensor.div", [any(1, &a), positive(2, &b)], |x| x[0].div(&x[1]));
        case!("tensor.pow", [positive(1, &a), any(2, &b)], |x| x[0].pow(&x[1]));
        case!("tensor.maximum", [any(1, &a), any(2, &b)], |x| x[0].maximum(&x[1]));
        case!("tensor.minimum", [any(1, &a), any(2, &b)], |x| x[0].minimum(&x[1]));
    }
    let one = [3, 5];
    case!("tensor.add-scalar", [any(3, &one)], |x| x[0].add_scalar(1.5));
    case!("tensor.mul-scalar", [any(3, &one)], |x| x[0].mul_scalar(-2.5));
    case!("tensor.pow-scalar", [positive(3, &one)], |x| x[0].pow_scalar(2.7));
    case!("tensor.pow-scalar", [any(3, &one)], |x| x[0].pow_scalar(3.0));
    case!("tensor.clamp", [any(3, &one)], |x| x[0].clamp(Some(-0.5), Some(0.7)));
    case!("tensor.clamp", [any(3, &one)], |x| x[0].clamp(None, Some(0.2)));
    case!("tensor.neg", [any(3, &one)], |x| x[0].neg());
    case!("tensor.abs", [any(3, &one)], |x| x[0].abs());
    case!("tensor.sign", [any(3, &one)], |x| x[0].sign());
    case!("tensor.floor", [any(3, &one)], |x| x[0].floor());
    case!("tensor.ceil", [any(3, &one)], |x| x[0].ceil());
    case!("tensor.round", [any(3, &one)], |x| x[0].round());
    case!("tensor.exp", [any(3, &one)], |x| x[0].exp());
    case!("tensor.log", [positive(3, &one)], |x| x[0].log());
    case!("tensor.log1p", [positive(3, &one)], |x| x[0].log1p());
    case!("tensor.expm1", [any(3, &one)], |x| x[0].expm1());
    case!("tensor.sqrt", [positive(3, &one)], |x| x[0].sqrt());
    case!("tensor.rsqrt", [positive(3, &one)], |x| x[0].rsqrt());
    case!("tensor.square", [any(3, &one)], |x| x[0].square());
    case!("tensor.reciprocal", [positive(3, &one)], |x| x[0].reciprocal());
    case!("tensor.sin", [any(3, &one)], |x| x[0].sin());
    case!("tensor.cos", [any(3, &one)], |x| x[0].cos());
    case!("tensor.tanh", [any(3, &one)], |x| x[0].tanh());
    case!("tensor.sigmoid", [any(3, &one)], |x| x[0].sigmoid());
    case!("tensor.erf", [any(3, &one)], |x| x[0].erf());
    case!("tensor.where", [any(3, &[3, 1]), any(4, &[5])], |x| {
        let mask = Tensor::from_u32(
            x[0].session(),
            vec![1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0],
            &[3, 5],
        )?
        .cast(DType::U8)?;
        mask.where_(&x[0], &x[1])
    });

    let cube = [2, 3, 4];
    for (dims, keep) in [
        (vec![], false),
        (vec![1], false),
        (vec![-1], true),
        (vec![0, 2], false),
        (vec![0, 1], true),
        (vec![0], false),
    ] {
        let d = dims.clone();
        case!("tensor.sum", [any(5, &cube)], |x| x[0].sum(&d, keep));
        let d = dims.clone();
        case!("tensor.mean", [any(5, &cube)], |x| x[0].mean(&d, keep));
        let d = dims.clone();
        case!("tensor.variance", [any(5, &cube)], |x| x[0].variance(&d, 1.0, keep));
        let d = dims.clone();
        case!("tensor.variance", [any(5, &cube)], |x| x[0].variance(&d, 0.0, keep));
        let d = dims.clone();
        case!("tensor.max", [any(5, &cube)], |x| x[0].max(&d, keep));
        let d = dims.clone();
        case!("tensor.min", [any(5, &cube)], |x| x[0].min(&d, keep));
        let d = dims.clone();
        case!("tensor.logsumexp", [any(5, &cube)], |x| x[0].logsumexp(&d, keep));
    }
    for dim in [0, 1, -1] {
        case!("tensor.cumsum", [any(5, &cube)], |x| x[0].cumsum(dim));
        case!("tensor.sort", [any(5, &cube)], |x| x[0]
            .sort(dim, dim == 1)
            .map(|(values, _)| values));
        case!("tensor.unfold", [any(5, &[4, 5, 6])], |x| x[0].unfold(dim, 3, 1));
        case!("tensor.unfold", [any(5, &[4, 5, 6])], |x| x[0].unfold(dim, 2, 2));
        case!("tensor.flip", [any(5, &cube)], |x| x[0].flip(&[dim]));
        case!("tensor.pad", [any(5, &cube)], |x| x[0].pad(dim, 2, 1, 3.5));
        case!("tensor.pad-edge", [any(5, &cube)], |x| x[0].pad_edge(dim, 2, 3));
        case!("tensor.repeat", [any(5, &cube)], |x| x[0].repeat(dim, 3));
        case!("tensor.narrow", [any(5, &cube)], |x| x[0].narrow(dim, 1, 1));
        case!("tensor.slice", [any(5, &[5, 6, 7])], |x| x[0].slice(dim, 1, 5, 2));
        case!("tensor.unsqueeze", [any(5, &cube)], |x| x[0].unsqueeze(dim));
        case!(
            "tensor.concat",
            [any(5, &[2, 2, 2]), any(6, &[2, 2, 2]), any(7, &[2, 2, 2])],
            |x| Tensor::concat(&[&x[0], &x[1], &x[2], &x[0]], dim)
        );
        case!("tensor.stack", [any(5, &[2, 3]), any(6, &[2, 3])], |x| Tensor::stack(
            &[&x[0], &x[1]],
            dim
        ));
    }
    case!("tensor.reshape", [any(5, &cube)], |x| x[0].reshape(&[4, -1]));
    case!("tensor.reshape", [any(5, &cube)], |x| x[0]
        .transpose(0, 2)?
        .reshape(&[6, 4]));
    case!("tensor.transpose", [any(5, &cube)], |x| x[0].transpose(0, -1));
    case!("tensor.permute", [any(5, &cube)], |x| x[0].permute(&[2, 0, 1]));
    case!("tensor.squeeze", [any(5, &[2, 1, 4])], |x| x[0].squeeze(1));
    case!("tensor.broadcast-to", [any(5, &[3, 1])], |x| x[0]
        .broadcast_to(&[2, 3, 4]));
    case!("tensor.tril", [any(5, &[2, 4, 4])], |x| x[0].tril(-1));
    case!("tensor.triu", [any(5, &[3, 5])], |x| x[0].triu(1));
    case!("tensor.copy", [any(5, &cube)], |x| x[0].copy());
    case!("tensor.cast", [any(5, &cube)], |x| x[0]
        .cast(DType::F64)?
        .mul_scalar(2.0));
    let picks = indices(&[2, 0, 2, 1], &[4]);
    case!("tensor.index-select", [any(5, &[2, 3, 4])], |x| x[0]
        .index_select(1, &picks));
    let places = indices(&[1, 0, 2, 2, 1, 1], &[2, 3]);
    case!("tensor.gather", [any(5, &[2, 3])], |x| x[0].gather(1, &places));
    let places = indices(&[1, 0, 2, 2, 1, 1], &[2, 3]);
    case!("tensor.scatter-add", [any(5, &[2, 3]), any(6, &[2, 3])], |x| x[0]
        .scatter_add(1, &places, &x[1]));
    for (a, b) in [
        (vec![3, 4], vec![4, 2]),
        (vec![2, 3, 4], vec![4, 2]),
        (vec![2, 3, 4], vec![2, 4, 2]),
        (vec![3, 4], vec![2, 4, 2]),
        (vec![2, 1, 3, 4], vec![3, 4, 2]),
        (vec![4], vec![4]),
        (vec![4], vec![4, 2]),
        (vec![2, 3, 4], vec![4]),
    ] {
        case!("tensor.matmul", [any(8, &a), any(9, &b)], |x| x[0].matmul(&x[1]));
    }
    case!("tensor.matmul", [any(8, &[4, 3]), any(9, &[2, 4])], |x| x[0]
        .transpose(0, 1)?
        .matmul(&x[1].transpose(0, 1)?));

    case!("nn.linear", [any(1, &[4, 3]), any(2, &[2, 3]), any(3, &[2])], |x| {
        nn::linear(&x[0], &x[1], Some(&x[2]))
    });
    case!("nn.linear", [any(1, &[2, 4, 3]), any(2, &[2, 3])], |x| nn::linear(
        &x[0], &x[1], None
    ));
    case!("nn.linear", [any(1, &[2, 3, 4]), any(2, &[3, 2])], |x| nn::linear(
        &x[0].transpose(1, 2)?,
        &x[1].transpose(0, 1)?,
        None
    ));
    for (stride, padding, dilation, groups) in [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 1), (2, 1, 1, 2)] {
        let options = ConvOptions {
            stride,
            padding,
            dilation,
            groups,
        };
        case!(
            "nn.conv1d",
            [any(1, &[2, 4, 9]), any(2, &[6, 4 / groups, 3]), any(3, &[6])],
            |x| nn::conv1d(&x[0], &x[1], Some(&x[2]), options)
        );
        case!(
            "nn.conv2d",
            [any(1, &[2, 2, 5, 6]), any(2, &[4, 2 / groups, 3, 2]), any(3, &[4])],
            |x| nn::conv2d(&x[0], &x[1], Some(&x[2]), options)
        );
        case!(
            "nn.conv-transpose1d",
            [any(1, &[2, 4, 5]), any(2, &[4, 6 / groups, 3]), any(3, &[6])],
            |x| { nn::conv_transpose1d(&x[0], &x[1], Some(&x[2]), options, stride - 1) }
        );
    }
    case!("nn.max-pool1d", [any(1, &[2, 3, 9])], |x| nn::max_pool1d(
        &x[0], 3, 2, 1
    ));
    case!("nn.avg-pool1d", [any(1, &[2, 3, 9])], |x| nn::avg_pool1d(
        &x[0], 3, 2, 1
    ));
    case!("nn.max-pool2d", [any(1, &[2, 2, 5, 6])], |x| nn::max_pool2d(
        &x[0], 2, 2, 0
    ));
    case!("nn.avg-pool2d", [any(1, &[2, 2, 5, 6])], |x| nn::avg_pool2d(
        &x[0], 3, 1, 1
    ));
    let ids = indices(&[2, 0, 2, 3], &[2, 2]);
    case!("nn.embedding", [any(1, &[4, 3])], |x| nn::embedding(&ids, &x[0]));
    case!("nn.layer-norm", [any(1, &[2, 3, 5]), any(2, &[5]), any(3, &[5])], |x| {
        nn::layer_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-5)
    });
    case!("nn.layer-norm", [any(1, &[4, 5])], |x| nn::layer_norm(
        &x[0], None, None, 1e-5
    ));
    case!("nn.rms-norm", [any(1, &[2, 3, 5]), any(2, &[5])], |x| nn::rms_norm(
        &x[0],
        Some(&x[1]),
        1e-5
    ));
    for training in [true, false] {
        case!("nn.batch-norm", [any(1, &[4, 3, 2]), any(2, &[3]), any(3, &[3])], |x| {
            let mean = Tensor::from_f64(x[0].session(), vec![0.1, -0.2, 0.3], &[3])?;
            let variance = Tensor::from_f64(x[0].session(), vec![1.1, 0.8, 1.3], &[3])?;
            nn::batch_norm(&x[0], Some(&x[1]), Some(&x[2]), &mean, &variance, training, 0.1, 1e-5)
        });
    }
    for bias in [true, false] {
        many!(
            "nn.lstm",
            [
                any(1, &[2, 4, 3]),
                any(2, &[2, 5]),
                any(3, &[2, 5]),
                any(4, &[20, 3]),
                any(5, &[20, 5]),
                any(6, &[20]),
                any(7, &[20])
            ],
            |x| {
                let weights = RnnWeights {
                    input: &x[3],
                    hidden: &x[4],
                    input_bias: bias.then_some(&x[5]),
                    hidden_bias: bias.then_some(&x[6]),
                };
                let (y, h, c) = nn::lstm(&x[0], Some((&x[1], &x[2])), &weights)?;
                Ok(vec![y, h, c])
            }
        );
        many!(
            "nn.gru",
            [
                any(1, &[2, 4, 3]),
                any(2, &[2, 5]),
                any(4, &[15, 3]),
                any(5, &[15, 5]),
                any(6, &[15]),
                any(7, &[15])
            ],
            |x| {
                let weights = RnnWeights {
                    input: &x[2],
                    hidden: &x[3],
                    input_bias: bias.then_some(&x[4]),
                    hidden_bias: bias.then_some(&x[5]),
                };
                let (y, h) = nn::gru(&x[0], Some(&x[1]), &weights)?;
                Ok(vec![y, h])
            }
        );
    }
    many!(
        "nn.lstm",
        [any(1, &[2, 4, 3]), any(4, &[20, 3]), any(5, &[20, 5])],
        |x| {
            let (_, h, _) = nn::lstm(
                &x[0],
                None,
                &RnnWeights {
                    input: &x[1],
                    hidden: &x[2],
                    input_bias: None,
                    hidden_bias: None,
                },
            )?;
            Ok(vec![h])
        }
    );
    for causal in [false, true] {
        case!(
            "nn.attention",
            [any(1, &[2, 2, 4, 3]), any(2, &[2, 2, 4, 3]), any(3, &[2, 2, 4, 5])],
            |x| nn::attention(&x[0], &x[1], &x[2], None, causal, None)
        );
        case!(
            "nn.attention",
            [
                any(1, &[2, 3, 3]),
                any(2, &[2, 5, 3]),
                any(3, &[2, 5, 2]),
                any(4, &[3, 5])
            ],
            |x| { nn::attention(&x[0], &x[1], &x[2], Some(&x[3]), causal, Some(0.7)) }
        );
    }
    case!("nn.relu", [any(3, &one)], |x| nn::relu(&x[0]));
    case!("nn.leaky-relu", [any(3, &one)], |x| nn::leaky_relu(&x[0], 0.1));
    case!("nn.elu", [any(3, &one)], |x| nn::elu(&x[0], 1.3));
    case!("nn.gelu", [any(3, &one)], |x| nn::gelu(&x[0]));
    case!("nn.gelu-tanh", [any(3, &one)], |x| nn::gelu_tanh(&x[0]));
    case!("nn.silu", [any(3, &one)], |x| nn::silu(&x[0]));
    case!("nn.softplus", [any(3, &one)], |x| nn::softplus(&x[0]));
    for dim in [0, 1, -1] {
        case!("nn.softmax", [any(5, &cube)], |x| nn::softmax(&x[0], dim));
        case!("nn.log-softmax", [any(5, &cube)], |x| nn::log_softmax(&x[0], dim));
    }
    case!("nn.mse-loss", [any(1, &one), any(2, &one)], |x| nn::mse_loss(
        &x[0], &x[1]
    ));
    case!("nn.l1-loss", [any(1, &one), any(2, &one)], |x| nn::l1_loss(
        &x[0], &x[1]
    ));
    case!("nn.huber-loss", [any(1, &one), any(2, &one)], |x| nn::huber_loss(
        &x[0], &x[1], 0.6
    ));
    case!("nn.quantile-loss", [any(1, &one), any(2, &one)], |x| nn::quantile_loss(
        &x[0], &x[1], 0.8
    ));
    case!(
        "nn.binary-cross-entropy-with-logits",
        [any(1, &one), within(2, &one, 0.0, 1.0)],
        |x| nn::binary_cross_entropy_with_logits(&x[0], &x[1])
    );
    for smoothing in [0.0, 0.1] {
        let target = indices(&[0, 2, 1, 2], &[4]);
        case!("nn.cross-entropy", [any(1, &[4, 3])], |x| nn::cross_entropy(
            &x[0], &target, smoothing
        ));
    }
    let target = indices(&[0, 2, 1, 2], &[4]);
    case!("nn.nll-loss", [any(1, &[4, 3])], |x| nn::nll_loss(&x[0], &target));

    let regular = |seed: u64, n: usize| {
        any(seed, &[n, n])
            .add(&Tensor::eye(s, n, DType::F64).unwrap().mul_scalar(3.0).unwrap())
            .unwrap()
    };
    case!("linalg.solve", [regular(1, 4), any(2, &[4, 2])], |x| linalg::solve(
        &x[0], &x[1]
    ));
    case!("linalg.solve", [regular(1, 4), any(2, &[4])], |x| linalg::solve(
        &x[0], &x[1]
    ));
    case!("linalg.cholesky", [regular(1, 4)], |x| linalg::cholesky(
        &x[0].matmul(&x[0].transpose(0, 1)?)?
    ));
    many!("linalg.qr", [any(1, &[5, 3])], |x| linalg::qr(&x[0])
        .map(|(q, r)| vec![q, r]));
    many!("linalg.qr", [regular(1, 3)], |x| linalg::qr(&x[0])
        .map(|(q, r)| vec![q, r]));
    for shape in [[5, 3], [3, 5], [4, 4]] {
        many!("linalg.svd", [any(1, &shape)], |x| linalg::svd(&x[0])
            .map(|(u, s, vt)| vec![u, s, vt]));
    }
    many!("linalg.eigh", [any(1, &[4, 4])], |x| linalg::eigh(
        &x[0].add(&x[0].transpose(0, 1)?)?
    )
    .map(|(w, v)| vec![w, v]));
    case!("linalg.lstsq", [any(1, &[6, 3]), any(2, &[6, 2])], |x| linalg::lstsq(
        &x[0], &x[1]
    ));
    case!("linalg.lstsq", [any(1, &[6, 3]), any(2, &[6])], |x| linalg::lstsq(
        &x[0], &x[1]
    ));
    cases
}

/// The functions of an interface, as the contract's text spells them.
fn contract(interface: &str) -> BTreeSet<String> {
    let path = format!("{}/../../wit/{interface}.wit", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let (name, rest) = line.split_once(": ")?;
            let is_function = rest.starts_with("func(") || rest.starts_with("static func(");
            is_function.then(|| format!("{interface}.{name}"))
        })
        .collect()
}

#[test]
fn every_operation_of_the_contract_is_checked_or_has_no_derivative() {
    let named: BTreeSet<String> = ["tensor", "nn", "linalg"].iter().flat_map(|i| contract(i)).collect();
    assert!(
        named.len() > 120,
        "the contract's text was not understood: {} operations",
        named.len()
    );
    let checked: BTreeSet<String> = table(&session()).iter().map(|c| c.op.to_string()).collect();
    let without: BTreeSet<String> = WITHOUT
        .iter()
        .flat_map(|(_, ops)| ops.iter().map(|o| o.to_string()))
        .collect();
    let covered: BTreeSet<String> = checked.union(&without).cloned().collect();
    let missing: Vec<_> = named.difference(&covered).collect();
    assert!(
        missing.is_empty(),
        "no derivative is checked for {missing:?}: add a case to the table"
    );
    let unknown: Vec<_> = covered.difference(&named).collect();
    assert!(unknown.is_empty(), "the contract has no {unknown:?}");
    assert!(
        checked.is_disjoint(&without),
        "an operation is both in the table and in the list without derivatives"
    );
}

/// A scalar of all outputs, with a weight of its own for each element.
fn weigh(outputs: &[Tensor]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (i, y) in outputs.iter().enumerate() {
        let weights = Tensor::from_f64(y.session(), numbers(100 + i as u64, y.count(), 0.5, 1.5), y.shape())?;
        let part = y.mul(&weights)?.sum(&[], false)?;
        sum = Some(match sum {
            Some(sum) => sum.add(&part)?,
            None => part,
        });
    }
    Ok(sum.expect("an operation has an output"))
}

#[test]
fn derivatives_agree_with_finite_differences() {
    let s = session();
    let mut wrong = Vec::new();
    for (i, case) in table(&s).into_iter().enumerate() {
        let parameters: Vec<Tensor> = case
            .inputs
            .iter()
            .enumerate()
            .map(|(j, x)| autograd::parameter(&s, &format!("{i}/{j}"), x).unwrap())
            .collect();
        let outcome = (case.f)(&parameters)
            .and_then(|y| weigh(&y))
            .and_then(|loss| autograd::backward(&loss));
        if let Err(e) = outcome {
            wrong.push(format!("{} (case {i}): {e}", case.op));
            continue;
        }
        for (j, (x, parameter)) in case.inputs.iter().zip(&parameters).enumerate() {
            let gradient = match autograd::gradient(parameter).unwrap() {
                Some(g) => {
                    assert_eq!(
                        g.shape(),
                        x.shape(),
                        "{} (case {i}): the gradient of input {j} has another shape",
                        case.op
                    );
                    g.to_f64().unwrap()
                }
                // An input that this case leaves out: the differences must be zero.
                None => vec![0.0; x.count()],
            };
            let values = x.to_f64().unwrap();
            for k in 0..values.len() {
                let step = 1e-5;
                let at = |delta: f64| {
                    let mut moved = values.clone();
                    moved[k] += delta;
                    let mut inputs = case.inputs.clone();
                    inputs[j] = Tensor::from_f64(&s, moved, x.shape()).unwrap();
                    weigh(&(case.f)(&inputs).unwrap()).unwrap().item().unwrap()
                };
                let expected = (at(step) - at(-step)) / (2.0 * step);
                if (gradient[k] - expected).abs() > 1e-6 * (1.0 + expected.abs()) {
                    wrong.push(format!(
                        "{} (case {i}): input {j}, element {k}: {} but differences give {expected}",
                        case.op, gradient[k]
                    ));
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_derivative_of_dropout_is_the_mask_that_it_drew() {
    let s = session();
    let x = autograd::parameter(&s, "x", &Tensor::full(&s, &[1000], 1.0, DType::F64).unwrap()).unwrap();
    let y = nn::dropout(&x, 0.4).unwrap();
    autograd::backward(&y.sum(&[], false).unwrap()).unwrap();
    let (y, g) = (
        y.to_f64().unwrap(),
        autograd::gradient(&x).unwrap().unwrap().to_f64().unwrap(),
    );
    assert_eq!(y, g);
    let dropped = y.iter().filter(|&&v| v == 0.0).count();
    assert!((340..460).contains(&dropped), "{dropped} of 1000 dropped");
    assert!(y.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.6).abs() < 1e-12));
}

#[test]
fn f32_agrees_with_f64_and_half_types_come_close() {
    let s = session();
    let mut wrong = Vec::new();
    for (i, case) in table(&s).into_iter().enumerate() {
        if case.op == "tensor.cast" || case.op.starts_with("nn.batch-norm") {
            continue;
        }
        let exact: Vec<Vec<f64>> = (case.f)(&case.inputs)
            .unwrap()
            .iter()
            .map(|y| y.to_f64().unwrap())
            .collect();
        for (dtype, tolerance) in [(DType::F32, 2e-4), (DType::BF16, 0.3), (DType::F16, 0.05)] {
            if dtype != DType::F32
                && (case.op.starts_with("linalg.") || case.op == "tensor.floor" || case.op == "tensor.ceil")
            {
                continue;
            }
            let inputs: Vec<Tensor> = case.inputs.iter().map(|x| x.cast(dtype).unwrap()).collect();
            match (case.f)(&inputs) {
                Ok(outputs) => {
                    for (y, exact) in outputs.iter().zip(&exact) {
                        if y.dtype() != dtype {
                            wrong.push(format!("{} (case {i}): {dtype} in, {} out", case.op, y.dtype()));
                        }
                        let far = y
                            .to_f64()
                            .unwrap()
                            .iter()
                            .zip(exact)
                            .any(|(a, b)| (a - b).abs() > tolerance * (1.0 + b.abs()));
                        if far {
                            wrong.push(format!("{} (case {i}): {dtype} is too far from f64", case.op));
                        }
                    }
                }
                Err(e) => wrong.push(format!("{} (case {i}) in {dtype}: {e}", case.op)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
