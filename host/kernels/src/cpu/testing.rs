//! What the tests of several families share.

use super::Real;

/// Numbers between -1 and 1 that look random and are the same every time.
pub(super) fn numbers<T: Real>(n: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            T::from_f64((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
        })
        .collect()
}

/// Fails unless every element of `got` is within `tolerance` (relative to 1 and the value) of `want`.
#[track_caller]
pub(super) fn assert_close<T: Real>(got: &[T], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let got = got.to_f64();
        assert!(
            (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "element {i}: {got}, not {want}"
        );
    }
}

/// Checks `gradient` of the scalar function `f` at `x` by central differences in f64.
#[track_caller]
pub(super) fn check_gradient(x: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), gradient.len());
    let mut x = x.to_vec();
    for i in 0..x.len() {
        let (kept, step) = (x[i], 1e-5);
        x[i] = kept + step;
        let above = f(&x);
        x[i] = kept - step;
        let below = f(&x);
        x[i] = kept;
        let want = (above - below) / (2.0 * step);
        let got = gradient[i];
        assert!(
            (got - want).abs() <= 1e-6 * (1.0 + want.abs()),
            "derivative {i}: {got}, not {want}"
        );
    }
}

/// Runs `f` in pools of one and of two threads; the results must be equal to the bit.
#[track_caller]
pub(super) fn same_with_one_and_two_threads<R: PartialEq + Send + std::fmt::Debug>(f: impl Fn() -> R + Sync) -> R {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&f)
    };
    let one = run(1);
    assert!(one == run(2), "two threads give another result than one");
    one
}

/// The dot product in f64.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
