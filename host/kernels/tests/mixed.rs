//! Training in `f16` and `bf16`: master copies, loss scaling, and going on from a checkpoint.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod device;

use trainyard_kernels::optim::{AdamOptions, LossScale, Optimizer, SgdOptions};
use trainyard_kernels::{DType, Error, Session, SessionOptions, Tensor, autograd, nn};

fn session() -> Session {
    Session::new(device::options()).unwrap()
}

fn parameter(s: &Session, name: &str, values: &[f64], dtype: DType) -> Tensor {
    let value = Tensor::from_f64(s, values.to_vec(), &[values.len()]).unwrap();
    autograd::parameter(s, name, &value.cast(dtype).unwrap()).unwrap()
}

/// A loss in `f32` whose derivative with respect to `p` is `slope`.
fn sloping(p: &Tensor, slope: f64) -> Tensor {
    let wide = p.cast(DType::F32).unwrap();
    wide.mul_scalar(slope).unwrap().sum(&[], false).unwrap()
}

fn sgd(p: &Tensor, learning_rate: f64) -> Optimizer {
    let options = SgdOptions {
        learning_rate,
        ..Default::default()
    };
    Optimizer::sgd(&[p], options).unwrap()
}

fn dynamic(initial: f64, growth_interval: u32) -> Option<LossScale> {
    Some(LossScale {
        initial,
        growth_interval,
        ..Default::default()
    })
}

fn entry(optimizer: &Optimizer, name: &str) -> Option<Vec<f64>> {
    let state = optimizer.state().unwrap();
    let found = state.iter().find(|(entry, _)| entry == name);
    found.map(|(_, t)| t.to_f64().unwrap())
}

#[test]
fn steps_too_small_for_the_short_number_add_up_in_the_master_copy() {
    let s = session();
    // At 1 the next smaller number of bf16 is 2^-8 away: 0.0004 alone would never change it.
    let p = parameter(&s, "p", &[1.0], DType::BF16);
    let mut optimizer = sgd(&p, 1.0);
    for _ in 0..25 {
        optimizer.minimize(&sloping(&p, 0.0004)).unwrap();
    }
    let master = entry(&optimizer, "p/master").unwrap()[0];
    assert!((master - 0.99).abs() < 1e-4, "{master}");
    assert_eq!(p.to_f64().unwrap(), [0.98828125], "what bf16 makes of 0.99");
}

#[test]
fn gradients_of_a_millionth_are_learned_from_in_f16_only_with_scaling() {
    let moved = |scaling: Option<LossScale>| {
        let s = session();
        let p = parameter(&s, "p", &[0.0, 0.0], DType::F16);
        let mut optimizer = sgd(&p, 1e4);
        optimizer.set_loss_scaling(scaling).unwrap();
        // 1e-8 is less than half of the smallest number that f16 has.
        optimizer.minimize(&sloping(&p, 1e-8)).unwrap();
        entry(&optimizer, "p/master").unwrap()[0]
    };
    assert_eq!(moved(None), 0.0);
    for scaling in [Some(LossScale::fixed(1024.0)), Some(LossScale::default())] {
        let master = moved(scaling);
        assert!((master + 1e-4).abs() < 2e-7, "{scaling:?}: {master}");
    }
    // A millionth has but four bits left without scaling.
    let s = session();
    let p = parameter(&s, "p", &[0.0], DType::F16);
    let mut optimizer = sgd(&p, 1.0);
    optimizer.minimize(&sloping(&p, 1e-6)).unwrap();
    let plain = entry(&optimizer, "p/master").unwrap()[0];
    optimizer.set_loss_scaling(dynamic(65_536.0, 2_000)).unwrap();
    optimizer.minimize(&sloping(&p, 1e-6)).unwrap();
    let scaled = entry(&optimizer, "p/master").unwrap()[0] - plain;
    assert!((plain + 1e-6).abs() > 1e-8, "{plain}");
    assert!((scaled + 1e-6).abs() < 5e-10, "{scaled}");
}

#[test]
fn an_overflow_skips_the_step_and_halves_the_scale() {
    let s = session();
    let p = parameter(&s, "p", &[1.0, 2.0], DType::F16);
    let mut adam = Optimizer::adamw(&[&p], AdamOptions::default()).unwrap();
    adam.set_loss_scaling(dynamic(65_536.0, 2)).unwrap();
    // 2 * 65536 is beyond f16, 2 * 32768 as well, 2 * 16384 is not.
    for (scale, skipped) in [(32_768.0, 1), (16_384.0, 2)] {
        adam.minimize(&sloping(&p, 2.0)).unwrap();
        assert_eq!((adam.loss_scale(), adam.skipped_steps()), (scale, skipped));
        assert_eq!(p.to_f64().unwrap(), [1.0, 2.0]);
        assert_eq!(entry(&adam, "p/steps"), Some(vec![0.0]));
        assert_eq!(entry(&adam, "p/mean"), None, "no moments were made");
    }
    adam.minimize(&sloping(&p, 2.0)).unwrap();
    assert_eq!(entry(&adam, "p/steps"), Some(vec![1.0]));
    assert!(p.to_f64().unwrap()[0] < 1.0);
    let before = p.to_f64().unwrap();
    adam.minimize(&sloping(&p, 2.0)).unwrap();
    assert_eq!(adam.loss_scale(), 32_768.0, "two good steps");
    let mean = entry(&adam, "p/mean");
    adam.minimize(&sloping(&p, f64::NAN)).unwrap();
    assert_eq!(adam.skipped_steps(), 3);
    assert_eq!(entry(&adam, "p/mean"), mean);
    assert_eq!(entry(&adam, "p/steps"), Some(vec![2.0]));
    assert_ne!(p.to_f64().unwrap(), before);
}

#[test]
fn a_loss_of_f16_is_scaled_as_far_as_its_derivative_bears() {
    let s = session();
    let p = parameter(&s, "p", &[1.0], DType::F16);
    let mut optimizer = sgd(&p, 0.25);
    let loss = || p.sum(&[], false).unwrap();
    assert_eq!(loss().dtype(), DType::F16);
    optimizer.set_loss_scaling(Some(LossScale::default())).unwrap();
    let scaled = optimizer.scale_loss(&loss()).unwrap();
    assert_eq!((scaled.dtype(), scaled.item().unwrap()), (DType::F32, 65_536.0));
    optimizer.minimize(&loss()).unwrap();
    assert_eq!((optimizer.loss_scale(), optimizer.skipped_steps()), (32_768.0, 1));
    optimizer.minimize(&loss()).unwrap();
    assert_eq!((p.item().unwrap(), optimizer.skipped_steps()), (0.75, 1));
    optimizer.set_loss_scaling(Some(LossScale::fixed(1e6))).unwrap();
    let error = optimizer.minimize(&loss()).unwrap_err().to_string();
    assert!(error.contains("cast the prediction to f32 before the loss"), "{error}");
}

#[test]
fn a_training_that_has_run_away_ends_with_an_error() {
    let s = session();
    let p = parameter(&s, "p", &[1.0], DType::F32);
    let mut optimizer = sgd(&p, 0.1);
    optimizer.set_loss_scaling(Some(LossScale::default())).unwrap();
    let error = (0..100)
        .find_map(|_| optimizer.minimize(&sloping(&p, f64::NAN)).err())
        .unwrap();
    assert!(matches!(error, Error::Numerical(_)), "{error}");
    assert!(error.to_string().contains("try a smaller learning rate"), "{error}");
    assert_eq!(p.item().unwrap(), 1.0);
}

#[test]
fn who_goes_backward_alone_scales_the_loss_and_clips_what_is_not_scaled() {
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let s = session();
        let plain = parameter(&s, "plain", &[1.0, 1.0], dtype);
        let scaled = parameter(&s, "scaled", &[1.0, 1.0], dtype);
        let (mut without, mut with) = (sgd(&plain, 0.5), sgd(&scaled, 0.5));
        with.set_loss_scaling(Some(LossScale::fixed(256.0))).unwrap();
        for clip in [None, Some(0.5), Some(100.0)] {
            for (p, optimizer) in [(&plain, &mut without), (&scaled, &mut with)] {
                optimizer.clear_gradients().unwrap();
                let loss = sloping(p, 3.0);
                autograd::backward(&optimizer.scale_loss(&loss).unwrap()).unwrap();
                if let Some(most) = clip {
                    let norm = optimizer.clip_gradient_norm(most).unwrap();
                    assert!((norm - 3.0 * 2f64.sqrt()).abs() < 1e-9, "{dtype}: {norm}");
                    optimizer.clip_gradient_value(0.25).unwrap();
                }
                optimizer.step().unwrap();
            }
            let (plain, scaled) = (plain.to_f64().unwrap(), scaled.to_f64().unwrap());
            assert_eq!(plain, scaled, "{dtype} {clip:?}");
        }
        assert_eq!(with.skipped_steps(), 0);
    }
}

#[test]
fn clipping_does_not_hide_an_overflow_from_the_step() {
    let s = session();
    let p = parameter(&s, "p", &[1.0, 1.0], DType::F16);
    let mut optimizer = sgd(&p, 0.5);
    optimizer.set_loss_scaling(dynamic(65_536.0, 2_000)).unwrap();
    for skipped in 1..=2 {
        optimizer.clear_gradients().unwrap();
        autograd::backward(&optimizer.scale_loss(&sloping(&p, 4.0)).unwrap()).unwrap();
        if skipped == 1 {
            optimizer.clip_gradient_value(1.0).unwrap();
        } else {
            assert!(!optimizer.clip_gradient_norm(1.0).unwrap().is_finite());
        }
        optimizer.step().unwrap();
        assert_eq!(optimizer.skipped_steps(), skipped);
        assert_eq!(p.to_f64().unwrap(), [1.0, 1.0]);
    }
    // Gradients that are given up take their overflow with them.
    autograd::backward(&optimizer.scale_loss(&sloping(&p, 1e6)).unwrap()).unwrap();
    optimizer.clip_gradient_value(1.0).unwrap();
    optimizer.minimize(&sloping(&p, 0.5)).unwrap();
    assert_eq!(p.to_f64().unwrap(), [0.75, 0.75]);
}

/// Two layers on a line with noise, in any type; the loss is computed in `f32`.
struct Net {
    weights: Vec<Tensor>,
    dtype: DType,
}

impl Net {
    fn new(s: &Session, dtype: DType) -> Self {
        let shapes: [(&str, &[usize]); 4] = [("w1", &[16, 4]), ("b1", &[16]), ("w2", &[1, 16]), ("b2", &[1])];
        let make = |(name, shape): (&str, &[usize])| {
            let value = Tensor::random_uniform(s, shape, -0.4, 0.4, dtype).unwrap();
            autograd::parameter(s, name, &value).unwrap()
        };
        Net {
            weights: shapes.map(make).into(),
            dtype,
        }
    }

    fn adamw(&self, scaling: Option<LossScale>) -> Optimizer {
        let options = AdamOptions {
            learning_rate: 0.01,
            weight_decay: 0.01,
            ..Default::default()
        };
        let mut optimizer = Optimizer::adamw(&self.weights.iter().collect::<Vec<_>>(), options).unwrap();
        optimizer.set_loss_scaling(scaling).unwrap();
        optimizer
    }

    fn loss(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let [w1, b1, w2, b2] = &self.weights[..] else {
            panic!("four")
        };
        let hidden = nn::linear(&x.cast(self.dtype).unwrap(), w1, Some(b1)).unwrap();
        let out = nn::linear(&nn::gelu(&hidden).unwrap(), w2, Some(b2)).unwrap();
        nn::mse_loss(&out.cast(DType::F32).unwrap(), y).unwrap()
    }

    fn bits(&self) -> Vec<Vec<u8>> {
        self.weights.iter().map(|w| w.to_bytes().unwrap()).collect()
    }
}

fn task(s: &Session) -> (Tensor, Tensor) {
    let x = Tensor::random_normal(s, &[256, 4], 0.0, 1.0, DType::F32).unwrap();
    let y = x.sum(&[1], true).unwrap().sin().unwrap();
    (x, y)
}

#[test]
fn a_network_learns_as_well_in_the_short_types_as_in_f32() {
    let learned = |dtype, scaling| {
        let s = session();
        let (net, (x, y)) = (Net::new(&s, dtype), task(&s));
        let mut optimizer = net.adamw(scaling);
        let first = net.loss(&x, &y).item().unwrap();
        for _ in 0..300 {
            optimizer.minimize(&net.loss(&x, &y)).unwrap();
        }
        let last = net.loss(&x, &y).item().unwrap();
        assert!(last < first / 4.0, "{dtype}: from {first} to {last}");
        last
    };
    let full = learned(DType::F32, None);
    for (dtype, scaling) in [
        (DType::BF16, None),
        (DType::BF16, Some(LossScale::default())),
        (DType::F16, Some(LossScale::default())),
        (DType::F16, Some(LossScale::fixed(128.0))),
    ] {
        let short = learned(dtype, scaling);
        assert!(
            short < full * 1.1 + 0.005,
            "{dtype} {scaling:?}: {short}, and {full} in f32"
        );
    }
}

#[test]
fn what_goes_on_from_a_checkpoint_ends_with_the_same_bits() {
    for (dtype, scaling) in [
        (DType::BF16, None),
        (DType::F16, dynamic(2f64.powi(20), 3)),
        (DType::F32, dynamic(2f64.powi(100), 4)),
    ] {
        let s = session();
        let (net, (x, y)) = (Net::new(&s, dtype), task(&s));
        let mut optimizer = net.adamw(scaling);
        for _ in 0..20 {
            optimizer.minimize(&net.loss(&x, &y)).unwrap();
        }
        let (weights, state) = (net.bits(), optimizer.state().unwrap());
        let shapes: Vec<Vec<usize>> = net.weights.iter().map(|w| w.shape().to_vec()).collect();
        let go_on = |net: &Net, optimizer: &mut Optimizer| {
            (0..20).for_each(|_| optimizer.minimize(&net.loss(&x, &y)).unwrap());
            (net.bits(), optimizer.loss_scale(), optimizer.skipped_steps())
        };
        let expected = go_on(&net, &mut optimizer);
        drop((net, optimizer));
        for parameters_first in [true, false] {
            let net = Net::new(&s, dtype);
            let mut optimizer = net.adamw(scaling);
            let load = |optimizer: &mut Optimizer| {
                let state: Vec<_> = state.iter().map(|(name, t)| (name.clone(), t)).collect();
                optimizer.load_state(&state).unwrap();
            };
            if !parameters_first {
                load(&mut optimizer);
            }
            for ((weight, bytes), shape) in net.weights.iter().zip(&weights).zip(&shapes) {
                weight
                    .assign(&Tensor::from_bytes(&s, bytes, shape, dtype).unwrap())
                    .unwrap();
            }
            if parameters_first {
                load(&mut optimizer);
            }
            assert_eq!(go_on(&net, &mut optimizer), expected, "{dtype} {parameters_first}");
        }
    }
}

#[test]
fn a_parameter_that_was_assigned_is_what_the_next_step_changes() {
    let s = session();
    let p = parameter(&s, "p", &[1.0, 1.0], DType::BF16);
    let mut optimizer = sgd(&p, 1.0);
    optimizer.minimize(&sloping(&p, 0.001)).unwrap();
    let master = entry(&optimizer, "p/master").unwrap();
    // The second element is set to what it was rounded to: its master copy is still right.
    let now = Tensor::from_f64(&s, vec![3.0, p.to_f64().unwrap()[1]], &[2]).unwrap();
    p.assign(&now.cast(DType::BF16).unwrap()).unwrap();
    optimizer.minimize(&sloping(&p, 0.001)).unwrap();
    let after = entry(&optimizer, "p/master").unwrap();
    assert!((after[0] - 2.999).abs() < 1e-4, "{after:?}");
    assert!((after[1] - (master[1] - 0.001)).abs() < 1e-6, "{after:?}");
    assert_ne!(master[1], p.to_f64().unwrap()[1]);
}

#[test]
fn master_copies_and_moments_are_booked() {
    let s = session();
    let p = parameter(&s, "p", &[0.5; 1000], DType::BF16);
    assert!(s.used_bytes() < 2_000 + 400);
    let before = s.used_bytes();
    let mut adam = Optimizer::adam(&[&p], AdamOptions::default()).unwrap();
    adam.minimize(&sloping(&p, 1.0)).unwrap();
    adam.clear_gradients().unwrap();
    assert_eq!(
        s.used_bytes() - before,
        3 * 4_000,
        "master, mean and mean square in f32"
    );

    let small = Session::new(SessionOptions {
        memory: 14_000,
        ..device::options()
    })
    .unwrap();
    let p = parameter(&small, "p", &[0.5; 1000], DType::BF16);
    let mut adam = Optimizer::adam(&[&p], AdamOptions::default()).unwrap();
    autograd::backward(&p.sum(&[], false).unwrap()).unwrap();
    let error = adam.step().unwrap_err();
    assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
    assert_eq!(p.to_f64().unwrap(), [0.5; 1000]);
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let s = session();
    let p = parameter(&s, "p", &[0.5], DType::F16);
    let mut adam = Optimizer::adam(&[&p], AdamOptions::default()).unwrap();
    adam.set_loss_scaling(dynamic(8.0, 10)).unwrap();
    adam.minimize(&sloping(&p, 1.0)).unwrap();
    let state = adam.state().unwrap();
    for (name, expected) in [
        ("p/master", "another shape or type"),
        ("loss-scale", "a positive scale"),
    ] {
        let wrong = Tensor::from_f64(&s, vec![0.0], &[1]).unwrap();
        let changed: Vec<_> = state
            .iter()
            .map(|(entry, t)| (entry.clone(), if entry == name { &wrong } else { t }))
            .collect();
        let error = adam.load_state(&changed).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn many_gradients_of_one_row_add_up_in_f32() {
    let s = session();
    let indices = Tensor::full(&s, &[10_000], 1.0, DType::U32).unwrap();
    for dtype in [DType::BF16, DType::F16] {
        let table = parameter(&s, "table", &[0.5; 3], dtype);
        // In the short type alone the sum of ones would stay at 256 or 2048.
        let rows = table.index_select(0, &indices).unwrap();
        autograd::backward(&rows.cast(DType::F32).unwrap().sum(&[], false).unwrap()).unwrap();
        let gradient = autograd::gradient(&table).unwrap().unwrap();
        assert_eq!(gradient.dtype(), dtype);
        let [zero, all, rest] = gradient.to_f64().unwrap()[..] else {
            panic!("three elements")
        };
        assert_eq!((zero, rest), (0.0, 0.0));
        assert!((all / 10_000.0 - 1.0).abs() < 4e-3, "{dtype:?}: {all}");

        let scattered = table.scatter_add(0, &indices, &Tensor::full(&s, &[10_000], 1.0, dtype).unwrap());
        let all = scattered.unwrap().to_f64().unwrap()[1];
        assert!((all / 10_000.5 - 1.0).abs() < 4e-3, "{dtype:?}: {all}");
        let picked = table.gather(0, &indices).unwrap();
        autograd::clear_gradient(&table).unwrap();
        autograd::backward(&picked.cast(DType::F32).unwrap().sum(&[], false).unwrap()).unwrap();
        let all = autograd::gradient(&table).unwrap().unwrap().to_f64().unwrap()[1];
        assert!((all / 10_000.0 - 1.0).abs() < 4e-3, "{dtype:?}: {all}");
    }
}

#[test]
fn a_mean_is_finite_where_the_sum_is_not() {
    let s = session();
    let values = Tensor::from_f64(&s, vec![100.0; 1_000], &[1_000]).unwrap();
    let mean = values.cast(DType::F16).unwrap().mean(&[], false).unwrap();
    assert_eq!((mean.dtype(), mean.to_f64().unwrap()), (DType::F16, vec![100.0]));
}
