// As much of the 8-bit type as headers name: the card that is stood in for does not compute in it.
#pragma once
#include "cuda_emulator_halves.h"

enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };
typedef unsigned char __nv_fp8_storage_t;

namespace cuda_emulator {
inline float e4m3_value(uint8_t bits) {
    int exponent = (bits >> 3) & 0xf, fraction = bits & 7;
    float value = exponent == 0xf && fraction == 7 ? NAN
                  : exponent == 0                  ? std::ldexp(float(fraction), -9)
                                                   : std::ldexp(float(8 + fraction), exponent - 10);
    return bits & 0x80 ? -value : value;
}
/// Nearest, ties to even; what is too large becomes the largest.
inline uint8_t e4m3_bits(float value) {
    if (value != value)
        return 0x7f;
    uint8_t sign = std::signbit(value) ? 0x80 : 0;
    float size = std::fabs(value);
    if (size >= 448.0f)
        return uint8_t(sign | 0x7e);
    int exponent;
    std::frexp(size, &exponent);
    int scale = std::max(exponent - 4, -9);
    int steps = int(std::nearbyint(std::ldexp(size, -scale)));
    // Steps of 2^scale; sixteen of them are eight of the next.
    if (steps == 16) {
        steps = 8;
        scale++;
    }
    int stored = steps < 8 ? 0 : scale + 10;
    return uint8_t(sign | (stored << 3) | (steps & 7));
}
} // namespace cuda_emulator

struct __nv_fp8_e4m3 {
    __nv_fp8_storage_t __x;
    __nv_fp8_e4m3() = default;
    explicit __nv_fp8_e4m3(float value) : __x(cuda_emulator::e4m3_bits(value)) {}
    explicit __nv_fp8_e4m3(double value) : __x(cuda_emulator::e4m3_bits(float(value))) {}
    explicit __nv_fp8_e4m3(__half value) : __x(cuda_emulator::e4m3_bits(float(value))) {}
    explicit operator float() const { return cuda_emulator::e4m3_value(__x); }
};

static inline __half_raw __nv_cvt_fp8_to_halfraw(__nv_fp8_storage_t x, __nv_fp8_interpretation_t) {
    return __half_raw(__half(cuda_emulator::e4m3_value(x)));
}
static inline float __half2float(__half_raw x) { return float(__half(x)); }
