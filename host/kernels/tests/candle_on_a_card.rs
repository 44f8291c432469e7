//! candle's own operations on a card, against the same on the processor. Where there is no card, `cargo xtask test --cuda` runs them
//! on the emulator of `tests/cuda-emulator`, which this checks as well.
#![cfg(feature = "cuda")]

use candle_core::{DType, Device, Result, Tensor};

/// The card, where this run has one.
fn card() -> Option<Device> {
    let name = std::env::var("TRAINYARD_TEST_DEVICE").ok()?;
    let number = name.strip_prefix("cuda:")?.parse().ok()?;
    Some(Device::new_cuda(number).expect("the card that TRAINYARD_TEST_DEVICE names can be opened"))
}

/// Computes on the processor and on the card, and compares.
fn same(name: &str, tolerance: f64, compute: impl Fn(&Device) -> Result<Tensor>) {
    let Some(card) = card() else {
        eprintln!("TRAINYARD_TEST_DEVICE names no card: nothing is tested");
        return;
    };
    let numbers = |device: &Device| {
        compute(device)
            .and_then(|tensor| tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>())
            .unwrap_or_else(|error| panic!("{name} on {device:?}: {error}"))
    };
    let (expected, found) = (numbers(&Device::Cpu), numbers(&card));
    assert_eq!(expected.len(), found.len(), "{name}");
    assert!(
        expected.iter().any(|&number| number.is_finite() && number != 0.0),
        "{name}: nothing is compared"
    );
    for (place, (expected, found)) in expected.iter().zip(&found).enumerate() {
        let distance = (expected - found).abs();
        assert!(
            distance <= tolerance * expected.abs().max(1.0)
                || expected == found
                || (expected.is_nan() && found.is_nan()),
            "{name}: element {place} is {found}, not {expected}"
        );
    }
}

/// With how far numbers of a type may be apart, relatively: short ones are some roundings.
const FLOATS: [(DType, f64); 4] = [
    (DType::F32, 1e-5),
    (DType::F64, 1e-12),
    (DType::F16, 2e-3),
    (DType::BF16, 1.6e-2),
];

/// Numbers that go up and down, of this shape.
fn wave(shape: &[usize], device: &Device) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    Tensor::from_vec(values, shape, device)
}

const WHOLE: [DType; 3] = [DType::U8, DType::U32, DType::I64];

/// The same in this type; on the processor, which does not multiply all of them, rounded to it.
fn given(shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    let rounded = wave(shape, device)?.to_dtype(dtype)?;
    let short = matches!(dtype, DType::F16 | DType::BF16);
    if device.is_cpu() && short {
        rounded.to_dtype(DType::F32)
    } else {
        Ok(rounded)
    }
}

fn every_type() -> impl Iterator<Item = (DType, f64)> {
    FLOATS.into_iter().chain(WHOLE.map(|dtype| (dtype, 0.0)))
}

/// Small whole numbers in any type.
fn counts(shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let values: Vec<u32> = (0..count).map(|i| (i * 7 % 11) as u32 + 1).collect();
    Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
}

#[test]
fn tensors_go_to_a_card_and_come_back() {
    for (dtype, _) in every_type() {
        same("copy", 0.0, |device| counts(&[3, 5], dtype, device));
        same("a part that is not contiguous", 0.0, |device| {
            counts(&[6, 7, 3], dtype, device)?
                .narrow(1, 2, 4)?
                .transpose(0, 2)?
                .contiguous()
        });
        same("fill", 0.0, |device| {
            Tensor::full(3f32, (4, 5), device)?.to_dtype(dtype)?.ones_like()
        });
        same("const_set", 0.0, |device| {
            let x = Tensor::zeros((4, 6), dtype, device)?;
            x.one_set()?;
            Ok(x)
        });
    }
}

#[test]
fn every_type_becomes_every_other() {
    for (from, _) in every_type() {
        for (to, _) in every_type() {
            // candle has no kernels for these pairs.
            let short = |dtype| matches!(dtype, DType::F16 | DType::BF16);
            if (short(from) && to == DType::I64) || (from == DType::I64 && short(to)) {
                continue;
            }
            same(&format!("{from:?} to {to:?}"), 0.0, |device| {
                counts(&[5, 9], from, device)?.to_dtype(to)
            });
            same(&format!("{from:?} to {to:?}, transposed"), 0.0, |device| {
                counts(&[5, 9], from, device)?.t()?.to_dtype(to)
            });
        }
    }
}

#[test]
fn elements_are_computed() {
    for (dtype, tolerance) in every_type() {
        same("affine", tolerance, |device| {
            counts(&[40, 50], dtype, device)?.affine(2.0, 1.0)
        });
        same("broadcast_add", tolerance, |device| {
            counts(&[30, 7], dtype, device)?.broadcast_add(&counts(&[7], dtype, device)?)
        });
        same("four operations", tolerance, |device| {
            let (x, y) = (counts(&[9, 6], dtype, device)?, counts(&[6, 9], dtype, device)?.t()?);
            (((&x * &y)? + &x)? - &x)?.div(&y)
        });
        same("minimum and maximum", 0.0, |device| {
            let (x, y) = (counts(&[64], dtype, device)?, counts(&[64], dtype, device)?.flip(&[0])?);
            x.maximum(&y)? + x.minimum(&y)?
        });
        same("comparisons", 0.0, |device| {
            let (x, y) = (counts(&[64], dtype, device)?, counts(&[64], dtype, device)?.flip(&[0])?);
            let found = [x.eq(&y)?, x.ne(&y)?, x.lt(&y)?, x.le(&y)?, x.gt(&y)?, x.ge(&y)?];
            Tensor::cat(&found, 0)
        });
        for of in WHOLE {
            same("where", 0.0, |device| {
                let x = counts(&[4, 25], dtype, device)?;
                let chosen = (counts(&[25, 4], DType::U8, device)?.ge(5u8)?).to_dtype(of)?.t()?;
                chosen.where_cond(&x, &x.zeros_like()?)
            });
        }
    }
    type Unary = fn(&Tensor) -> Result<Tensor>;
    let unary: [(&str, Unary); 20] = [
        ("exp", Tensor::exp),
        ("log", |x| (x.abs()? + 0.5)?.log()),
        ("sin", Tensor::sin),
        ("cos", Tensor::cos),
        ("tanh", Tensor::tanh),
        ("abs", Tensor::abs),
        ("neg", Tensor::neg),
        ("recip", |x| (x.abs()? + 0.5)?.recip()),
        ("sqr", Tensor::sqr),
        ("sqrt", |x| x.abs()?.sqrt()),
        ("gelu", Tensor::gelu),
        ("gelu_erf", Tensor::gelu_erf),
        ("erf", Tensor::erf),
        ("relu", Tensor::relu),
        ("silu", Tensor::silu),
        ("ceil", Tensor::ceil),
        ("floor", Tensor::floor),
        ("round", |x| (x * 1.26)?.round()),
        ("sign", Tensor::sign),
        ("elu", |x| x.elu(0.7)),
    ];
    for (dtype, tolerance) in FLOATS {
        for (name, compute) in unary {
            same(name, tolerance, |device| {
                compute(&wave(&[31, 17], device)?.to_dtype(dtype)?)
            });
            same(&format!("{name}, transposed"), tolerance, |device| {
                compute(&wave(&[31, 17], device)?.to_dtype(dtype)?.t()?)
            });
        }
        same("powf", tolerance, |device| {
            wave(&[64], device)?.to_dtype(dtype)?.abs()?.powf(1.5)
        });
    }
}

#[test]
fn products_of_matrices_are_computed() {
    for (dtype, tolerance) in FLOATS {
        same("matmul", tolerance, |device| {
            given(&[17, 33], dtype, device)?.matmul(&given(&[33, 9], dtype, device)?)
        });
        same("matmul of a transposed one", tolerance, |device| {
            let (x, y) = (given(&[33, 17], dtype, device)?, given(&[9, 33], dtype, device)?);
            x.t()?.matmul(&y.t()?)
        });
        same("matmul of batches", tolerance, |device| {
            given(&[5, 4, 8], dtype, device)?.matmul(&given(&[5, 8, 3], dtype, device)?)
        });
        same("a row and a column", tolerance, |device| {
            given(&[1, 300], dtype, device)?.matmul(&given(&[300, 1], dtype, device)?)
        });
    }
}

#[test]
fn rows_are_reduced() {
    for (dtype, tolerance) in every_type() {
        // Bytes are summed in bytes, and short numbers on the processor in themselves.
        let short = matches!(dtype, DType::U8 | DType::F16 | DType::BF16);
        let columns = if short { 30 } else { 700 };
        same("sum of the last dimension", tolerance, |device| {
            counts(&[13, columns], dtype, device)?.sum(1)
        });
        same("sum of the first dimension", tolerance, |device| {
            counts(&[20, 13], dtype, device)?.sum(0)
        });
        same("max", 0.0, |device| counts(&[13, 70], dtype, device)?.max(1));
        same("min", 0.0, |device| counts(&[70, 13], dtype, device)?.min(0));
        // Of equal ones either may be found first; here there are none.
        same("argmin", 0.0, |device| counts(&[13, 10], dtype, device)?.argmin(1));
        same("argmax", 0.0, |device| counts(&[13, 10], dtype, device)?.argmax(1));
    }
    same("sum of all", 1e-4, |device| wave(&[100_000], device)?.sum_all());
    same("mean and variance", 1e-4, |device| {
        let x = wave(&[40, 60], device)?;
        x.mean(1)? + x.var(1)?
    });
}

#[test]
fn elements_are_found_by_index() {
    for (dtype, tolerance) in every_type() {
        for of in WHOLE {
            same("index_select", 0.0, |device| {
                let rows = Tensor::new(&[3u32, 0, 2, 2], device)?.to_dtype(of)?;
                counts(&[5, 6], dtype, device)?.index_select(&rows, 0)
            });
            same("gather", 0.0, |device| {
                let columns = Tensor::new(&[[1u32, 0], [5, 5], [2, 3]], device)?.to_dtype(of)?;
                counts(&[3, 6], dtype, device)?.gather(&columns, 1)
            });
            same("index_add", tolerance, |device| {
                let rows = Tensor::new(&[1u32, 1, 0], device)?.to_dtype(of)?;
                let x = counts(&[4, 6], dtype, device)?;
                x.index_add(&rows, &x.narrow(0, 1, 3)?.contiguous()?, 0)
            });
            same("scatter_add", tolerance, |device| {
                let columns = Tensor::new(&[[1u32, 0], [5, 5], [2, 3]], device)?.to_dtype(of)?;
                counts(&[3, 6], dtype, device)?.scatter_add(&columns, &counts(&[3, 2], dtype, device)?, 1)
            });
            same("scatter", 0.0, |device| {
                let columns = Tensor::new(&[[1u32, 0], [5, 4], [2, 3]], device)?.to_dtype(of)?;
                counts(&[3, 6], dtype, device)?.scatter(&columns, &counts(&[3, 2], dtype, device)?, 1)
            });
        }
        same("argsort", 0.0, |device| {
            counts(&[4, 11], dtype, device)?.arg_sort_last_dim(true)
        });
        same("argsort, the largest first", 0.0, |device| {
            counts(&[4, 11], dtype, device)?.arg_sort_last_dim(false)
        });
        same("cat", 0.0, |device| {
            let x = counts(&[4, 6], dtype, device)?;
            Tensor::cat(&[&x, &x.narrow(1, 2, 4)?.pad_with_zeros(1, 1, 1)?], 0)
        });
        same("cat along rows", 0.0, |device| {
            let x = counts(&[4, 6], dtype, device)?;
            Tensor::cat(&[&x, &x.narrow(1, 2, 4)?], 1)
        });
    }
}

#[test]
fn images_are_convolved() {
    for (dtype, tolerance) in FLOATS {
        same("conv1d", tolerance, |device| {
            let kernel = given(&[4, 3, 5], dtype, device)?;
            given(&[2, 3, 30], dtype, device)?.conv1d(&kernel, 2, 1, 1, 1)
        });
        same("conv2d", tolerance, |device| {
            let kernel = given(&[4, 3, 3, 3], dtype, device)?;
            given(&[2, 3, 10, 12], dtype, device)?.conv2d(&kernel, 1, 2, 1, 1)
        });
        same("conv_transpose1d", tolerance, |device| {
            let kernel = given(&[3, 4, 5], dtype, device)?;
            given(&[2, 3, 12], dtype, device)?.conv_transpose1d(&kernel, 1, 0, 2, 1, 1)
        });
        same("conv_transpose1d by columns", tolerance, |device| {
            // Of more than one sample, candle on the processor gets all but the first wrong.
            let kernel = given(&[3, 4, 2], dtype, device)?;
            given(&[1, 3, 12], dtype, device)?.conv_transpose1d(&kernel, 0, 0, 2, 1, 1)
        });
        same("conv_transpose2d", tolerance, |device| {
            let kernel = given(&[3, 4, 3, 3], dtype, device)?;
            given(&[2, 3, 5, 6], dtype, device)?.conv_transpose2d(&kernel, 1, 1, 2, 1)
        });
    }
    for (dtype, tolerance) in FLOATS {
        same("max_pool2d", 0.0, |device| {
            wave(&[2, 3, 10, 12], device)?.to_dtype(dtype)?.max_pool2d(2)
        });
        same("avg_pool2d", tolerance, |device| {
            wave(&[2, 3, 10, 12], device)?.to_dtype(dtype)?.avg_pool2d((2, 2))
        });
        same("upsample_nearest2d", 0.0, |device| {
            wave(&[2, 3, 4, 5], device)?.to_dtype(dtype)?.upsample_nearest2d(9, 7)
        });
        same("upsample_bilinear2d", tolerance, |device| {
            wave(&[2, 3, 4, 5], device)?
                .to_dtype(dtype)?
                .upsample_bilinear2d(9, 7, true)
        });
    }
}

#[test]
fn random_numbers_are_drawn() {
    let Some(card) = card() else { return };
    for dtype in [DType::F32, DType::F64] {
        card.set_seed(7).expect("a seed");
        let numbers = |tensor: Result<Tensor>| {
            tensor
                .and_then(|tensor| tensor.to_dtype(DType::F64)?.to_vec1::<f64>())
                .expect("random numbers")
        };
        let uniform = numbers(Tensor::rand(2f64, 4f64, 1001, &card).and_then(|x| x.to_dtype(dtype)));
        assert!(uniform.iter().all(|x| (2.0..=4.0).contains(x)));
        let normal = numbers(Tensor::randn(1f64, 2f64, 20_001, &card).and_then(|x| x.to_dtype(dtype)));
        let mean = normal.iter().sum::<f64>() / 20_001.0;
        let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_001.0;
        assert!(
            (mean - 1.0).abs() < 0.1 && (variance - 4.0).abs() < 0.3,
            "{mean}, {variance}"
        );
        card.set_seed(7).expect("a seed");
        let again = numbers(Tensor::rand(2f64, 4f64, 1001, &card).and_then(|x| x.to_dtype(dtype)));
        assert_eq!(uniform, again);
    }
}
