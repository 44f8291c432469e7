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

const FLOATS: [(DType, f64); 4] = [
    (DType::F32, 1e-5),
    (DType::F64, 1e-12),
    (DType::F16, 1e-2),
    (DType::BF16, 5e-2),
];

/// Numbers that go up and down, of this shape.
fn wave(shape: &[usize], device: &Device) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    Tensor::from_vec(values, shape, device)
}

#[test]
fn tensors_go_to_a_card_and_come_back() {
    for (dtype, _) in FLOATS {
        same("copy", 0.0, |device| wave(&[3, 5], device)?.to_dtype(dtype));
    }
    same("whole numbers", 0.0, |device| Tensor::arange(0i64, 1000, device));
}

#[test]
fn elements_are_computed() {
    for (dtype, tolerance) in FLOATS {
        same("affine", tolerance, |device| {
            wave(&[40, 50], device)?.to_dtype(dtype)?.affine(2.5, -1.0)
        });
        same("broadcast_add", tolerance, |device| {
            let rows = wave(&[30, 7], device)?.to_dtype(dtype)?;
            rows.broadcast_add(&wave(&[7], device)?.to_dtype(dtype)?)
        });
        same("a transposed operand", tolerance, |device| {
            let x = wave(&[6, 9], device)?.to_dtype(dtype)?;
            let y = wave(&[9, 6], device)?.to_dtype(dtype)?.t()?;
            ((&x * &y)? - &x)?.div(&(y.abs()? + 1.0)?)
        });
        same("exp, tanh, sqrt, erf", tolerance, |device| {
            let x = wave(&[500], device)?.to_dtype(dtype)?;
            ((x.exp()? + x.tanh()?)? + (x.abs()?.sqrt()? + x.erf()?)?)?.gelu_erf()
        });
        same("where", tolerance, |device| {
            let x = wave(&[4, 25], device)?.to_dtype(dtype)?;
            x.ge(0.0)?.where_cond(&x, &x.zeros_like()?)
        });
        same("maximum and powf", tolerance, |device| {
            let x = wave(&[64], device)?.to_dtype(dtype)?;
            x.maximum(&x.neg()?)?.powf(1.5)
        });
    }
}

#[test]
fn products_of_matrices_are_computed() {
    for (dtype, tolerance) in FLOATS {
        same("matmul", tolerance * 10.0, |device| {
            wave(&[17, 33], device)?
                .to_dtype(dtype)?
                .matmul(&wave(&[33, 9], device)?.to_dtype(dtype)?)
        });
        same("matmul of a transposed one", tolerance * 10.0, |device| {
            wave(&[33, 17], device)?
                .t()?
                .to_dtype(dtype)?
                .matmul(&wave(&[9, 33], device)?.to_dtype(dtype)?.t()?)
        });
        same("matmul of batches", tolerance * 10.0, |device| {
            wave(&[5, 4, 8], device)?
                .to_dtype(dtype)?
                .matmul(&wave(&[5, 8, 3], device)?.to_dtype(dtype)?)
        });
    }
}

#[test]
fn rows_are_reduced() {
    for (dtype, tolerance) in FLOATS {
        same("sum of the last dimension", tolerance * 20.0, |device| {
            wave(&[13, 700], device)?.to_dtype(dtype)?.sum(1)
        });
        same("sum of the first dimension", tolerance * 20.0, |device| {
            wave(&[70, 13], device)?.to_dtype(dtype)?.sum(0)
        });
        same("max", 0.0, |device| wave(&[13, 70], device)?.to_dtype(dtype)?.max(1));
        same("argmin", 0.0, |device| {
            wave(&[13, 70], device)?.to_dtype(dtype)?.argmin(1)
        });
    }
    same("sum of all", 1e-4, |device| wave(&[100_000], device)?.sum_all());
}

#[test]
fn elements_are_found_by_index() {
    for (dtype, tolerance) in FLOATS {
        same("index_select", 0.0, |device| {
            let rows = Tensor::new(&[3u32, 0, 2, 2], device)?;
            wave(&[5, 6], device)?.to_dtype(dtype)?.index_select(&rows, 0)
        });
        same("gather", 0.0, |device| {
            let columns = Tensor::new(&[[1u32, 0], [5, 5], [2, 3]], device)?;
            wave(&[3, 6], device)?.to_dtype(dtype)?.gather(&columns, 1)
        });
        same("index_add", tolerance, |device| {
            let rows = Tensor::new(&[1u32, 1, 0], device)?;
            let x = wave(&[4, 6], device)?.to_dtype(dtype)?;
            x.index_add(&rows, &x.narrow(0, 1, 3)?.contiguous()?, 0)
        });
        same("argsort", 0.0, |device| {
            wave(&[4, 100], device)?.to_dtype(dtype)?.arg_sort_last_dim(true)
        });
        same("cat", 0.0, |device| {
            let x = wave(&[4, 6], device)?.to_dtype(dtype)?;
            Tensor::cat(&[&x, &x.narrow(1, 2, 4)?.pad_with_zeros(1, 1, 1)?], 0)
        });
    }
}

#[test]
fn images_are_convolved() {
    for dtype in [DType::F32, DType::F64] {
        same("conv1d", 1e-4, |device| {
            let kernel = wave(&[4, 3, 5], device)?.to_dtype(dtype)?;
            wave(&[2, 3, 30], device)?.to_dtype(dtype)?.conv1d(&kernel, 2, 1, 1, 1)
        });
        same("conv2d", 1e-4, |device| {
            let kernel = wave(&[4, 3, 3, 3], device)?.to_dtype(dtype)?;
            wave(&[2, 3, 10, 12], device)?
                .to_dtype(dtype)?
                .conv2d(&kernel, 1, 2, 1, 1)
        });
        same("max_pool2d", 0.0, |device| {
            wave(&[2, 3, 10, 12], device)?.to_dtype(dtype)?.max_pool2d(2)
        });
        same("avg_pool2d", 1e-5, |device| {
            wave(&[2, 3, 10, 12], device)?.to_dtype(dtype)?.avg_pool2d((3, 2))
        });
    }
}
