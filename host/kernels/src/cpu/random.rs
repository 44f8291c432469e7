//! Random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy
//! as 1, 2, 3"), the same on every machine and any number of threads.
//!
//! A call reads the counters `offset .. offset + n` under the key `seed`, where n is what [`counters`] (or
//! [`dropout_counters`]) gives for its number of elements; the caller then moves its offset on by n. A counter gives
//! four words of 32 bits, that is two of 64. Counters are taken in blocks of eight: element 16 b + 8 h + j of a call
//! comes from the 64-bit word h of counter 8 b + j, element 32 b + 8 w + j of a dropout from its 32-bit word w.
//! Logarithms and angles of the normal distribution are computed in `f64` by the `libm` crate, not by the system's
//! library.

use rayon::prelude::*;

use super::Real;
use super::par::{CHUNK, parallel, wide};

/// Counters whose words interleave.
const BLOCK: usize = 8;
/// Counters computed side by side: some blocks, so that the compiler leaves the loop to its vectoriser.
const SIDE: usize = 4 * BLOCK;

/// Words 0 to 3 of each counter.
type Words = [[u32; SIDE]; 4];

/// Counters that a call for so many uniform, normal or permuted elements uses up.
pub const fn counters(elements: usize) -> u64 {
    elements.div_ceil(2 * BLOCK) as u64 * BLOCK as u64
}

/// Counters that a dropout of so many elements uses up.
pub const fn dropout_counters(elements: usize) -> u64 {
    elements.div_ceil(4 * BLOCK) as u64 * BLOCK as u64
}

/// Ten rounds on counters of four words, lowest first.
#[inline(always)]
fn philox(mut c: Words, mut key: [u32; 2]) -> Words {
    for _ in 0..10 {
        let mut next = [[0; SIDE]; 4];
        for j in 0..SIDE {
            let p0 = 0xd251_1f53 * u64::from(c[0][j]);
            let p1 = 0xcd9e_8d57 * u64::from(c[2][j]);
            next[0][j] = (p1 >> 32) as u32 ^ c[1][j] ^ key[0];
            next[1][j] = p1 as u32;
            next[2][j] = (p0 >> 32) as u32 ^ c[3][j] ^ key[1];
            next[3][j] = p0 as u32;
        }
        c = next;
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// The counters from `first` on.
#[inline(always)]
fn words(seed: u64, first: u64) -> Words {
    let mut c = [[0; SIDE]; 4];
    let [low, high, ..] = &mut c;
    for (j, (low, high)) in low.iter_mut().zip(high).enumerate() {
        let counter = first.wrapping_add(j as u64);
        *low = counter as u32;
        *high = (counter >> 32) as u32;
    }
    philox(c, [seed as u32, (seed >> 32) as u32])
}

/// The 64-bit words of the counters from `first` on, in the order of elements.
fn long_words(seed: u64, first: u64) -> [u64; 2 * SIDE] {
    let words = wide(
        #[inline(always)]
        || words(seed, first),
    );
    std::array::from_fn(|i| {
        let (h, j) = (i / BLOCK % 2, i / (2 * BLOCK) * BLOCK + i % BLOCK);
        u64::from(words[2 * h][j]) | u64::from(words[2 * h + 1][j]) << 32
    })
}

/// Calls `fill(up to 2 BLOCK elements, their 64-bit words)` for all of `out`.
fn fill<T: Real>(seed: u64, offset: u64, out: &mut [T], fill: impl Fn(&mut [T], &[u64]) + Sync) {
    let run = |first: u64, out: &mut [T]| {
        for (i, out) in out.chunks_mut(2 * SIDE).enumerate() {
            let words = long_words(seed, first.wrapping_add((i * SIDE) as u64));
            for (out, words) in out.chunks_mut(2 * BLOCK).zip(words.chunks_exact(2 * BLOCK)) {
                fill(out, words);
            }
        }
    };
    if parallel(out.len()) {
        let chunks = out.par_chunks_mut(CHUNK).enumerate();
        chunks.for_each(|(i, out)| run(offset.wrapping_add((i * CHUNK / 2) as u64), out));
    } else {
        run(offset, out);
    }
}

/// From [0, 1), by the upper 53 bits.
#[inline(always)]
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Uniform in [low, high). `f32` results are the rounded `f64` ones.
pub fn fill_uniform<T: Real>(seed: u64, offset: u64, low: f64, high: f64, out: &mut [T]) {
    // Rounding may reach the upper end, which does not belong to the interval.
    let limit = T::from_f64(high);
    let last = if low < high { limit.next_down() } else { limit };
    fill(seed, offset, out, |out, words| {
        for (out, &word) in out.iter_mut().zip(words) {
            let value = T::from_f64(low + (high - low) * unit(word));
            *out = if value >= limit { last } else { value };
        }
    });
}

/// Normal with this mean and standard deviation (Box and Muller 1958). `f32` results are the rounded `f64` ones.
pub fn fill_normal<T: Real>(seed: u64, offset: u64, mean: f64, std: f64, out: &mut [T]) {
    fill(seed, offset, out, |out, words| {
        for j in 0..BLOCK.min(out.len()) {
            // 1 - u lies in (0, 1], so that its logarithm is finite.
            let radius = (-2.0 * libm::log(1.0 - unit(words[j]))).sqrt() * std;
            let (sine, cosine) = libm::sincos(std::f64::consts::TAU * unit(words[BLOCK + j]));
            out[j] = T::from_f64(mean + radius * cosine);
            if let Some(out) = out.get_mut(BLOCK + j) {
                *out = T::from_f64(mean + radius * sine);
            }
        }
    });
}

/// 0 .. out.len() in random order (Fisher and Yates; the bias is below out.len() / 2^64).
///
/// # Panics
/// If there are more elements than `u32` can count.
pub fn permutation(seed: u64, offset: u64, out: &mut [u32]) {
    assert!(u32::try_from(out.len()).is_ok(), "too many elements for u32");
    for (i, out) in out.iter_mut().enumerate() {
        *out = i as u32;
    }
    let mut words = [0; 2 * SIDE];
    for i in (1..out.len()).rev() {
        let drawn = out.len() - 1 - i;
        if drawn.is_multiple_of(2 * SIDE) {
            words = long_words(seed, offset.wrapping_add((drawn / 2) as u64));
        }
        let other = (u128::from(words[drawn % (2 * SIDE)]) * (i as u128 + 1)) >> 64;
        out.swap(i, other as usize);
    }
}

/// Each element of x becomes zero with `probability`, the others grow by 1 / (1 - probability).
///
/// The backward pass is the same call on the gradient: the mask follows from seed and offset, so nothing is saved.
pub fn dropout<T: Real>(seed: u64, offset: u64, probability: f64, x: &[T], out: &mut [T]) {
    assert_eq!(x.len(), out.len());
    // A word below the threshold drops; all of them when the probability rounds to one.
    let threshold = (probability.clamp(0.0, 1.0) * 4_294_967_296.0).round() as u64;
    let Ok(threshold) = u32::try_from(threshold) else {
        out.fill(T::ZERO);
        return;
    };
    let factor = T::from_f64(1.0 / (1.0 - probability));
    let run = |first: u64, x: &[T], out: &mut [T]| {
        wide(
            #[inline(always)]
            move || {
                for (i, (x, out)) in x.chunks(4 * SIDE).zip(out.chunks_mut(4 * SIDE)).enumerate() {
                    let words = words(seed, first.wrapping_add((i * SIDE) as u64));
                    let blocks = x.chunks(4 * BLOCK).zip(out.chunks_mut(4 * BLOCK));
                    for (b, (x, out)) in blocks.enumerate() {
                        for (w, (x, out)) in x.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).enumerate() {
                            let words = &words[w][b * BLOCK..][..BLOCK];
                            for ((&x, out), &word) in x.iter().zip(out).zip(words) {
                                *out = if word < threshold { T::ZERO } else { x * factor };
                            }
                        }
                    }
                }
            },
        );
    };
    if parallel(x.len()) {
        let chunks = out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).enumerate();
        chunks.for_each(|(i, (out, x))| run(offset.wrapping_add((i * CHUNK / 4) as u64), x, out));
    } else {
        run(offset, x, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::same_with_one_and_two_threads;
    use super::*;

    /// The known answers published with Random123.
    #[test]
    fn philox_gives_the_published_numbers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, want) in cases {
            let words = philox(counter.map(|word| [word; SIDE]), key);
            assert_eq!(words, want.map(|word: u32| [word; SIDE]));
        }
    }

    #[test]
    fn a_call_can_be_split_where_the_counters_say() {
        let mut whole = vec![0.0f64; 100];
        fill_uniform(7, 3, -1.0, 1.0, &mut whole);
        let mut parts = vec![0.0f64; 100];
        let (first, second) = parts.split_at_mut(48);
        fill_uniform(7, 3, -1.0, 1.0, first);
        fill_uniform(7, 3 + counters(48), -1.0, 1.0, second);
        assert_eq!(whole, parts);
        let mut narrow = vec![0.0f32; 100];
        fill_uniform(7, 3, -1.0, 1.0, &mut narrow);
        assert!(narrow.iter().zip(&whole).all(|(&a, &b)| a == b as f32));
    }

    #[test]
    fn uniform_numbers_fill_their_interval_evenly() {
        let x = same_with_one_and_two_threads(|| {
            let mut x = vec![0.0f32; 200_000];
            fill_uniform(1, 0, 2.0, 4.0, &mut x);
            x
        });
        assert!(x.iter().all(|x| (2.0..4.0).contains(x)));
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
        assert!((mean - 3.0).abs() < 0.01, "{mean}");
        let mut point = vec![0.0f32; 5];
        fill_uniform(1, 0, 2.0, 2.0, &mut point);
        assert_eq!(point, [2.0; 5]);
    }

    #[test]
    fn normal_numbers_have_the_moments_of_their_distribution() {
        let x = same_with_one_and_two_threads(|| {
            let mut x = vec![0.0f64; 200_001];
            fill_normal(5, 1 << 40, 1.0, 2.0, &mut x);
            x
        });
        let moment = |k| x.iter().map(|x| ((x - 1.0) / 2.0).powi(k)).sum::<f64>() / x.len() as f64;
        for (k, want) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
            assert!((moment(k) - want).abs() < 0.05, "moment {k} is {}", moment(k));
        }
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut x = vec![0; 1000];
        permutation(3, 0, &mut x);
        assert!(x.iter().enumerate().filter(|(i, x)| *i as u32 == **x).count() < 10);
        x.sort_unstable();
        assert!(x.iter().enumerate().all(|(i, x)| i as u32 == *x));
        let mut seen = [0; 6];
        for offset in 0..6000 {
            let mut x = [0; 3];
            permutation(3, offset * counters(3), &mut x);
            seen[match x {
                [0, 1, 2] => 0,
                [0, 2, 1] => 1,
                [1, 0, 2] => 2,
                [1, 2, 0] => 3,
                [2, 0, 1] => 4,
                _ => 5,
            }] += 1;
        }
        assert!(seen.iter().all(|seen| (850..1150).contains(seen)), "{seen:?}");
    }

    #[test]
    fn dropout_keeps_the_mean_and_repeats_its_mask() {
        let x = vec![1.0f32; 100_003];
        let y = same_with_one_and_two_threads(|| {
            let mut y = vec![0.0; x.len()];
            dropout(9, 4, 0.25, &x, &mut y);
            y
        });
        let kept = y.iter().filter(|&&y| y != 0.0).count() as f64 / y.len() as f64;
        assert!((kept - 0.75).abs() < 0.01, "{kept}");
        assert!(y.iter().all(|&y| y == 0.0 || y == 1.0 / 0.75));
        let mut all = vec![0.0; 8];
        dropout(9, 4, 1.0, &x[..8], &mut all);
        assert_eq!(all, [0.0; 8]);
        dropout(9, 4, 0.0, &x[..8], &mut all);
        assert_eq!(all, [1.0; 8]);
    }
}
