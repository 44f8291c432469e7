//! What tensors of a job share: memory, names, the wish to stop; and what a graph of derivatives does when it is misused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod device;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use trainyard_kernels::optim::{AdamOptions, Optimizer, SgdOptions};
use trainyard_kernels::{Cancel, DType, Device, Error, Session, SessionOptions, Tensor, autograd, nn};

/// Counts the bytes that are really allocated on this thread.
struct Counting;

thread_local! {
    static LIVE: AtomicI64 = const { AtomicI64::new(0) };
}

fn count(bytes: i64) {
    // A thread that is ending has no counter any more.
    let _ = LIVE.try_with(|live| live.fetch_add(bytes, Relaxed));
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> i64 {
    LIVE.with(|live| live.load(Relaxed))
}

fn session() -> Session {
    Session::new(device::options()).unwrap()
}

fn limited(memory: u64) -> Session {
    Session::new(SessionOptions {
        memory,
        ..device::options()
    })
    .unwrap()
}

fn numbers(s: &Session, shape: &[usize]) -> Tensor {
    Tensor::random_normal(s, shape, 0.0, 1.0, DType::F32).unwrap()
}

#[test]
fn booked_bytes_are_the_bytes_of_living_tensors() {
    let s = session();
    let x = Tensor::full(&s, &[1000], 1.0, DType::F32).unwrap();
    assert_eq!(s.used_bytes(), 4000);
    let view = x
        .reshape(&[10, 100])
        .unwrap()
        .transpose(0, 1)
        .unwrap()
        .narrow(0, 5, 3)
        .unwrap();
    assert_eq!(s.used_bytes(), 4000, "views share");
    drop(x);
    assert_eq!(s.used_bytes(), 4000, "the view keeps the elements");
    let copy = view.copy().unwrap();
    assert_eq!(s.used_bytes(), 4000 + 30 * 4);
    drop((view, copy));
    assert_eq!(s.used_bytes(), 0);
    assert!(s.peak_bytes() >= 4120);
}

#[test]
fn booked_bytes_agree_with_the_allocator_through_a_training_step() {
    if device::device() != Device::Cpu {
        println!("skipped: the allocator knows the processor's memory alone");
        return;
    }
    let s = session();
    let before = live();
    let x = numbers(&s, &[512, 256]);
    let y = numbers(&s, &[512, 64]);
    let w1 = autograd::parameter(&s, "w1", &numbers(&s, &[512, 256])).unwrap();
    let w2 = autograd::parameter(&s, "w2", &numbers(&s, &[64, 512])).unwrap();
    let mut adam = Optimizer::adam(&[&w1, &w2], AdamOptions::default()).unwrap();
    let agree = |what: &str| {
        let (booked, real) = (s.used_bytes() as i64, live() - before);
        assert!(
            (booked - real).abs() < 64 << 10,
            "{what}: {booked} bytes booked, {real} allocated"
        );
        booked
    };
    agree("parameters");
    let hidden = nn::relu(&nn::linear(&x, &w1, None).unwrap()).unwrap();
    let loss = nn::mse_loss(&nn::linear(&hidden, &w2, None).unwrap(), &y).unwrap();
    let with_graph = agree("with the graph");
    drop(hidden);
    agree("the graph keeps what the backward pass needs");
    adam.minimize(&loss).unwrap();
    drop(loss);
    let after = agree("after the step");
    assert!(
        after < with_graph + 4 * 1024 * 1024,
        "the graph is gone, gradients and moments are there"
    );
    drop((x, y, w1, w2, adam));
    assert_eq!(s.used_bytes(), 0);
}

#[test]
fn what_exceeds_the_budget_is_refused_and_changes_nothing() {
    let s = limited(10_000);
    let x = Tensor::full(&s, &[1000], 1.0, DType::F64).unwrap();
    let error = x.copy().unwrap_err();
    let Error::OutOfMemory(limit) = &error else {
        panic!("{error}")
    };
    assert_eq!((limit.allowed, limit.used, limit.requested), (10_000, 8_000, 8_000));
    assert_eq!(
        error.to_string(),
        "tensor.copy: out of tensor memory: 7.8 KiB asked for with 7.8 KiB of 9.8 KiB in use"
    );
    assert_eq!(s.used_bytes(), 8_000);
    assert!(
        Tensor::full(&s, &[200], 1.0, DType::F64).is_ok(),
        "what fits still fits"
    );
}

#[test]
fn a_shape_whose_product_overflows_is_out_of_memory_not_a_crash() {
    let s = session();
    let huge = usize::MAX / 2;
    assert!(matches!(
        Tensor::full(&s, &[huge, huge], 0.0, DType::F32),
        Err(Error::OutOfMemory(_))
    ));
    assert!(matches!(Tensor::eye(&s, huge, DType::F32), Err(Error::OutOfMemory(_))));
    assert!(matches!(
        Tensor::arange(&s, 0.0, 1e300, 1.0, DType::F32),
        Err(Error::OutOfMemory(_))
    ));
    let x = Tensor::full(&s, &[1], 0.0, DType::F32).unwrap();
    assert!(matches!(x.repeat(0, huge), Err(Error::OutOfMemory(_))));
    assert!(matches!(x.pad(0, huge, huge, 0.0), Err(Error::OutOfMemory(_))));
    assert!(matches!(x.broadcast_to(&[huge, huge]), Err(Error::Shape(_))));
    let wide = x.broadcast_to(&[huge / 8]).unwrap();
    assert!(
        matches!(wide.copy(), Err(Error::OutOfMemory(_))),
        "a view of many elements is fine until it is copied"
    );
    assert_eq!(s.used_bytes(), 4);
}

#[test]
fn a_step_without_a_gradient_names_the_parameter_and_changes_none() {
    let s = session();
    let a = autograd::parameter(&s, "used", &numbers(&s, &[3])).unwrap();
    let b = autograd::parameter(&s, "layer.forgotten", &numbers(&s, &[3])).unwrap();
    let before = a.to_f32().unwrap();
    let mut sgd = Optimizer::sgd(
        &[&a, &b],
        SgdOptions {
            learning_rate: 0.1,
            ..Default::default()
        },
    )
    .unwrap();
    let error = sgd.minimize(&a.square().unwrap().sum(&[], false).unwrap()).unwrap_err();
    assert_eq!(error, Error::MissingGradient("layer.forgotten".into()));
    assert_eq!(a.to_f32().unwrap(), before);
    autograd::set_trainable(&b, false).unwrap();
    sgd.minimize(&a.square().unwrap().sum(&[], false).unwrap()).unwrap();
    assert_ne!(a.to_f32().unwrap(), before, "a frozen parameter needs none");
}

#[test]
fn what_a_backward_pass_kept_must_not_have_changed() {
    let s = session();
    let w = autograd::parameter(&s, "w", &numbers(&s, &[3])).unwrap();
    let loss = w.square().unwrap().sum(&[], false).unwrap();
    w.assign(&numbers(&s, &[3])).unwrap();
    let error = autograd::backward(&loss).unwrap_err();
    assert!(error.to_string().contains("changed in place"), "{error}");
}

#[test]
fn a_second_pass_over_a_graph_is_an_error_and_gradients_of_two_graphs_add_up() {
    let s = session();
    let w = autograd::parameter(&s, "w", &Tensor::full(&s, &[2], 3.0, DType::F32).unwrap()).unwrap();
    let loss = w.square().unwrap().sum(&[], false).unwrap();
    autograd::backward(&loss).unwrap();
    let error = autograd::backward(&loss).unwrap_err();
    assert!(error.to_string().contains("compute the loss anew"), "{error}");
    autograd::backward(&w.square().unwrap().sum(&[], false).unwrap()).unwrap();
    assert_eq!(autograd::gradient(&w).unwrap().unwrap().to_f32().unwrap(), [12.0, 12.0]);
    autograd::clear_gradient(&w).unwrap();
    assert!(autograd::gradient(&w).unwrap().is_none());
}

#[test]
fn a_long_chain_of_operations_can_be_taken_back_and_dropped() {
    let s = session();
    let w = autograd::parameter(&s, "w", &Tensor::full(&s, &[1], 1.0, DType::F32).unwrap()).unwrap();
    for backward in [true, false] {
        let mut y = w.clone();
        for _ in 0..200_000 {
            y = y.add_scalar(1.0).unwrap();
        }
        if backward {
            autograd::backward(&y).unwrap();
            assert_eq!(autograd::gradient(&w).unwrap().unwrap().item().unwrap(), 1.0);
        }
    }
}

#[test]
fn a_graph_of_nothing_but_views_is_within_the_budget_too() {
    let s = limited(1 << 20);
    let w = autograd::parameter(&s, "w", &Tensor::full(&s, &[2], 1.0, DType::F32).unwrap()).unwrap();
    let mut y = w.clone();
    let steps = (0..1_000_000).take_while(|i| match y.reshape(&[1 + i % 2, 2 - i % 2]) {
        Ok(next) => {
            y = next;
            true
        }
        Err(error) => {
            assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
            false
        }
    });
    assert!(steps.count() < 10_000);
}

#[test]
fn nothing_is_recorded_where_recording_is_off_or_nothing_is_trainable() {
    let s = session();
    let w = autograd::parameter(&s, "w", &numbers(&s, &[3])).unwrap();
    assert!(s.set_recording(false));
    let loss = w.square().unwrap().sum(&[], false).unwrap();
    assert!(!s.set_recording(true));
    let error = autograd::backward(&loss).unwrap_err();
    assert!(
        error.to_string().contains("does not depend on any trainable parameter"),
        "{error}"
    );
    let error = autograd::backward(&w.square().unwrap()).unwrap_err();
    assert!(error.to_string().contains("must be a single number"), "{error}");
}

#[test]
fn names_of_living_parameters_are_unique() {
    let s = session();
    let w = autograd::parameter(&s, "w", &numbers(&s, &[3])).unwrap();
    let error = autograd::parameter(&s, "w", &numbers(&s, &[3])).unwrap_err();
    assert!(
        error.to_string().contains("there is a parameter `w` already"),
        "{error}"
    );
    drop(w);
    assert!(autograd::parameter(&s, "w", &numbers(&s, &[3])).is_ok());
}

#[test]
fn a_cancelled_session_ends_long_work() {
    let cancel = Cancel::new();
    let s = Session::new(SessionOptions {
        cancel: cancel.clone(),
        ..device::options()
    })
    .unwrap();
    let w = autograd::parameter(&s, "w", &numbers(&s, &[8, 8])).unwrap();
    let loss = w.matmul(&w).unwrap().sum(&[], false).unwrap();
    cancel.cancel();
    assert_eq!(autograd::backward(&loss).unwrap_err(), Error::Cancelled);
    assert_eq!(w.matmul(&w).unwrap_err(), Error::Cancelled);
}

#[test]
fn an_optimiser_goes_on_from_its_stored_state() {
    let step = |w: &Tensor, adam: &mut Optimizer| adam.minimize(&w.square().unwrap().sum(&[], false).unwrap()).unwrap();
    let s = session();
    let start = numbers(&s, &[5]);
    let whole = autograd::parameter(&s, "w", &start).unwrap();
    let mut adam = Optimizer::adam(&[&whole], AdamOptions::default()).unwrap();
    (0..6).for_each(|_| step(&whole, &mut adam));

    let other = session();
    let start = Tensor::from_f32(&other, start.to_f32().unwrap(), &[5]).unwrap();
    let first = autograd::parameter(&other, "w", &start).unwrap();
    let mut adam = Optimizer::adam(&[&first], AdamOptions::default()).unwrap();
    (0..3).for_each(|_| step(&first, &mut adam));
    let (state, values) = (adam.state().unwrap(), first.detach().unwrap().copy().unwrap());
    drop((first, adam));
    let second = autograd::parameter(&other, "w", &values).unwrap();
    let mut adam = Optimizer::adam(&[&second], AdamOptions::default()).unwrap();
    let state: Vec<(String, &Tensor)> = state.iter().map(|(name, t)| (name.clone(), t)).collect();
    adam.load_state(&state).unwrap();
    (0..3).for_each(|_| step(&second, &mut adam));
    assert_eq!(second.to_f32().unwrap(), whole.to_f32().unwrap());
}

#[test]
fn random_numbers_follow_from_the_seed_alone() {
    let with = |seed| {
        Session::new(SessionOptions {
            seed,
            ..device::options()
        })
        .unwrap()
    };
    let draw = |s: &Session, dtype| {
        Tensor::random_normal(s, &[100_000], 2.0, 3.0, dtype)
            .unwrap()
            .to_f64()
            .unwrap()
    };
    let (a, b) = (with(1), with(1));
    assert_eq!(draw(&a, DType::F32), draw(&b, DType::F32));
    assert_ne!(
        draw(&a, DType::F32),
        draw(&with(1), DType::F32),
        "the second draw of a session is another"
    );
    let exact = draw(&with(1), DType::F64);
    let rounded: Vec<f64> = exact.iter().map(|&v| f64::from(v as f32)).collect();
    assert_eq!(draw(&with(1), DType::F32), rounded, "every type sees the same numbers");
    let mean = exact.iter().sum::<f64>() / exact.len() as f64;
    let variance = exact.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / exact.len() as f64;
    assert!(
        (mean - 2.0).abs() < 0.05 && (variance - 9.0).abs() < 0.2,
        "{mean} {variance}"
    );
    let mut places = Tensor::random_permutation(&with(3), 1000).unwrap().to_u32().unwrap();
    assert_ne!(places, (0..1000).collect::<Vec<u32>>());
    places.sort_unstable();
    assert_eq!(places, (0..1000).collect::<Vec<u32>>());
}

#[test]
fn an_error_names_operation_shapes_and_types() {
    let s = session();
    let a = Tensor::full(&s, &[2, 3], 1.0, DType::F32).unwrap();
    let b = Tensor::full(&s, &[4, 5], 1.0, DType::F32).unwrap();
    // A card says what was wrong with the values of an index when something is read.
    let text = |r: trainyard_kernels::Result<Tensor>| r.and_then(|t| t.to_f64()).unwrap_err().to_string();
    assert_eq!(
        text(a.matmul(&b)),
        "tensor.matmul: the inner sizes differ: a [2, 3] matrix times a [4, 5] matrix (got f32[2, 3], f32[4, 5])"
    );
    assert!(
        text(a.add(&b))
            .starts_with("tensor.add: the shapes do not broadcast: sizes 2 and 4 differ in dimension 0 of 2")
    );
    let integers = b.cast(DType::I64).unwrap();
    assert!(text(a.add(&integers)).contains("must have one element type"));
    assert!(text(integers.exp()).contains("needs floating-point tensors"));
    assert!(text(a.sum(&[2], false)).contains("there is no dimension 2: use -2 to 1"));
    assert!(text(a.reshape(&[4, -1])).contains("6 elements do not fit the shape [4, -1]"));
    let index = Tensor::from_u32(&s, vec![0, 7], &[2]).unwrap();
    assert!(text(a.index_select(1, &index)).contains("index 7 is out of range: there are 3 entries"));
    assert!(text(nn::cross_entropy(&a, &index, 0.0)).contains("index 7 is out of range"));
    assert!(text(Tensor::full(&s, &[1], 300.0, DType::U8)).contains("300 is not a value of type u8"));
}
