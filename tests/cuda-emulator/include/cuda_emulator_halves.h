// The two 16-bit floating-point types. Each operation is computed in float (or double, where that matters) and rounded once,
// to nearest, ties to even: what the device's own instructions give.

#pragma once

#include "cuda_emulator.h"

namespace cuda_emulator {

inline uint16_t half_bits(double value) {
    uint64_t bits = bits_of(value);
    uint16_t sign = uint16_t((bits >> 48) & 0x8000);
    int exponent = int((bits >> 52) & 0x7ff) - 1023;
    uint64_t fraction = bits & 0xfffffffffffffull;
    if (exponent == 1024)
        return fraction ? uint16_t(0x7fff) : uint16_t(sign | 0x7c00);
    if (exponent < -25)
        return sign;
    // 53 bits with the leading one, of which 11 stay, or fewer below the smallest normal number.
    uint64_t significand = fraction | (1ull << 52);
    int drop = exponent < -14 ? 42 + (-14 - exponent) : 42;
    uint64_t kept = significand >> drop, rest = significand & ((1ull << drop) - 1), middle = 1ull << (drop - 1);
    if (rest > middle || (rest == middle && (kept & 1)))
        kept++;
    // A carry runs into the exponent by itself.
    uint64_t result = exponent < -14 ? kept : (uint64_t(exponent + 14) << 10) + kept;
    return result >= 0x7c00 ? uint16_t(sign | 0x7c00) : uint16_t(sign | result);
}

inline float half_value(uint16_t bits) {
    uint32_t sign = uint32_t(bits & 0x8000) << 16, exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
    if (exponent == 0x1f)
        return of_bits<float>(sign | 0x7f800000u | (fraction << 13));
    if (exponent != 0)
        return of_bits<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
    float value = float(fraction) * 5.9604644775390625e-8f;
    return sign ? -value : value;
}

inline uint16_t bfloat16_bits(float value) {
    uint32_t bits = uint32_t(bits_of(value));
    if (value != value)
        return 0x7fff;
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
/// From double without rounding twice.
inline uint16_t bfloat16_bits(double value) {
    float near = float(value);
    if (double(near) != value && std::isfinite(near)) {
        // Round to odd first.
        uint32_t bits = uint32_t(bits_of(near));
        if (std::fabs(double(near)) > std::fabs(value))
            bits--;
        near = of_bits<float>(bits | 1);
    }
    return bfloat16_bits(near);
}
inline float bfloat16_value(uint16_t bits) { return of_bits<float>(uint32_t(bits) << 16); }

} // namespace cuda_emulator

struct __half_raw {
    unsigned short x;
};
struct __nv_bfloat16_raw {
    unsigned short x;
};

struct alignas(2) __half {
    unsigned short __x;

    __half() = default;
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
    __half(T value) : __x(cuda_emulator::half_bits(double(value))) {}
    __half(__half_raw raw) : __x(raw.x) {}
    operator float() const { return cuda_emulator::half_value(__x); }
    operator __half_raw() const { return {__x}; }
    static __half of(unsigned short bits) { return __half(__half_raw{bits}); }
};

struct alignas(2) __nv_bfloat16 {
    unsigned short __x;

    __nv_bfloat16() = default;
    __nv_bfloat16(float value) : __x(cuda_emulator::bfloat16_bits(value)) {}
    __nv_bfloat16(double value) : __x(cuda_emulator::bfloat16_bits(value)) {}
    template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>, typename = void>
    __nv_bfloat16(T value) : __x(cuda_emulator::bfloat16_bits(double(value))) {}
    __nv_bfloat16(__nv_bfloat16_raw raw) : __x(raw.x) {}
    explicit __nv_bfloat16(__half value) : __nv_bfloat16(float(value)) {}
    operator float() const { return cuda_emulator::bfloat16_value(__x); }
    operator __nv_bfloat16_raw() const { return {__x}; }
    static __nv_bfloat16 of(unsigned short bits) { return __nv_bfloat16(__nv_bfloat16_raw{bits}); }
};

typedef __half half;
typedef __half __nv_half;
typedef __nv_bfloat16 nv_bfloat16;

#define CUDA_EMULATOR_PAIR(pair, type, make, low, high)                                                                        \
    struct alignas(4) pair {                                                                                                   \
        type x, y;                                                                                                             \
        pair() = default;                                                                                                      \
        pair(type x, type y) : x(x), y(y) {}                                                                                   \
    };                                                                                                                         \
    static inline pair make(type x, type y) { return pair(x, y); }                                                             \
    static inline type low(pair p) { return p.x; }                                                                             \
    static inline type high(pair p) { return p.y; }
CUDA_EMULATOR_PAIR(__half2, __half, __halves2half2, __low2half, __high2half)
CUDA_EMULATOR_PAIR(__nv_bfloat162, __nv_bfloat16, __halves2bfloat162, __low2bfloat16, __high2bfloat16)
#undef CUDA_EMULATOR_PAIR
typedef __half2 half2;
typedef __nv_bfloat162 nv_bfloat162;
static inline __half2 make_half2(__half x, __half y) { return __half2(x, y); }
static inline __nv_bfloat162 make_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return __nv_bfloat162(x, y); }
static inline float __low2float(__half2 p) { return float(p.x); }
static inline float __high2float(__half2 p) { return float(p.y); }
static inline float __low2float(__nv_bfloat162 p) { return float(p.x); }
static inline float __high2float(__nv_bfloat162 p) { return float(p.y); }

// What both types have. An operation on floats, rounded: exact for + - * / and the root, since a float has more than twice
// as many digits.
#define CUDA_EMULATOR_OPERATIONS(T, T2)                                                                                        \
    static inline T operator+(const T &a, const T &b) { return T(float(a) + float(b)); }                                       \
    static inline T operator-(const T &a, const T &b) { return T(float(a) - float(b)); }                                       \
    static inline T operator*(const T &a, const T &b) { return T(float(a) * float(b)); }                                       \
    static inline T operator/(const T &a, const T &b) { return T(float(a) / float(b)); }                                       \
    static inline T &operator+=(T &a, const T &b) { return a = a + b; }                                                        \
    static inline T &operator-=(T &a, const T &b) { return a = a - b; }                                                        \
    static inline T &operator*=(T &a, const T &b) { return a = a * b; }                                                        \
    static inline T &operator/=(T &a, const T &b) { return a = a / b; }                                                        \
    static inline T &operator++(T &a) { return a = a + T(1); }                                                                 \
    static inline T &operator--(T &a) { return a = a - T(1); }                                                                 \
    static inline T operator+(const T &a) { return a; }                                                                        \
    static inline T operator-(const T &a) { return T::of((unsigned short)(a.__x ^ 0x8000)); }                                  \
    static inline bool operator==(const T &a, const T &b) { return float(a) == float(b); }                                     \
    static inline bool operator!=(const T &a, const T &b) { return float(a) != float(b); }                                     \
    static inline bool operator<(const T &a, const T &b) { return float(a) < float(b); }                                       \
    static inline bool operator>(const T &a, const T &b) { return float(a) > float(b); }                                       \
    static inline bool operator<=(const T &a, const T &b) { return float(a) <= float(b); }                                     \
    static inline bool operator>=(const T &a, const T &b) { return float(a) >= float(b); }                                     \
    static inline T2 operator+(const T2 &a, const T2 &b) { return T2(a.x + b.x, a.y + b.y); }                                  \
    static inline T2 operator-(const T2 &a, const T2 &b) { return T2(a.x - b.x, a.y - b.y); }                                  \
    static inline T2 operator*(const T2 &a, const T2 &b) { return T2(a.x * b.x, a.y * b.y); }                                  \
    static inline T2 operator/(const T2 &a, const T2 &b) { return T2(a.x / b.x, a.y / b.y); }                                  \
    static inline T __hadd(T a, T b) { return a + b; }                                                                         \
    static inline T __hsub(T a, T b) { return a - b; }                                                                         \
    static inline T __hmul(T a, T b) { return a * b; }                                                                         \
    static inline T __hdiv(T a, T b) { return a / b; }                                                                         \
    static inline T __hneg(T a) { return -a; }                                                                                 \
    static inline T __habs(T a) { return T::of((unsigned short)(a.__x & 0x7fff)); }                                            \
    static inline T __hfma(T a, T b, T c) { return T(std::fma(double(float(a)), double(float(b)), double(float(c)))); }        \
    static inline bool __hisnan(T a) { return float(a) != float(a); }                                                          \
    static inline int __hisinf(T a) { return std::isinf(float(a)) ? (float(a) < 0 ? -1 : 1) : 0; }                             \
    static inline bool __heq(T a, T b) { return a == b; }                                                                      \
    static inline bool __hne(T a, T b) { return !__hisnan(a) && !__hisnan(b) && a != b; }                                      \
    static inline bool __hlt(T a, T b) { return a < b; }                                                                       \
    static inline bool __hgt(T a, T b) { return a > b; }                                                                       \
    static inline bool __hle(T a, T b) { return a <= b; }                                                                      \
    static inline bool __hge(T a, T b) { return a >= b; }                                                                      \
    static inline T __hmax(T a, T b) { return __hisnan(a) ? b : __hisnan(b) ? a : a < b ? b : a; }                             \
    static inline T __hmin(T a, T b) { return __hisnan(a) ? b : __hisnan(b) ? a : b < a ? b : a; }                             \
    static inline T __hmax_nan(T a, T b) { return __hisnan(a) || __hisnan(b) ? T::of(0x7fff) : __hmax(a, b); }                 \
    static inline T __hmin_nan(T a, T b) { return __hisnan(a) || __hisnan(b) ? T::of(0x7fff) : __hmin(a, b); }                 \
    static inline T2 __hadd2(T2 a, T2 b) { return a + b; }                                                                     \
    static inline T2 __hsub2(T2 a, T2 b) { return a - b; }                                                                     \
    static inline T2 __hmul2(T2 a, T2 b) { return a * b; }                                                                     \
    static inline T2 __h2div(T2 a, T2 b) { return a / b; }                                                                     \
    static inline T2 __hfma2(T2 a, T2 b, T2 c) { return T2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)); }                    \
    static inline T hsqrt(T a) { return T(std::sqrt(float(a))); }                                                              \
    static inline T hrsqrt(T a) { return T(rsqrtf(float(a))); }                                                                \
    static inline T hrcp(T a) { return T(1.0f / float(a)); }                                                                   \
    static inline T hexp(T a) { return T(std::exp(float(a))); }                                                                \
    static inline T hexp2(T a) { return T(std::exp2(float(a))); }                                                              \
    static inline T hexp10(T a) { return T(std::pow(10.0f, float(a))); }                                                       \
    static inline T hlog(T a) { return T(std::log(float(a))); }                                                                \
    static inline T hlog2(T a) { return T(std::log2(float(a))); }                                                              \
    static inline T hlog10(T a) { return T(std::log10(float(a))); }                                                            \
    static inline T hsin(T a) { return T(std::sin(float(a))); }                                                                \
    static inline T hcos(T a) { return T(std::cos(float(a))); }                                                                \
    static inline T htanh(T a) { return T(std::tanh(float(a))); }                                                              \
    static inline T hceil(T a) { return T(std::ceil(float(a))); }                                                              \
    static inline T hfloor(T a) { return T(std::floor(float(a))); }                                                            \
    static inline T hrint(T a) { return T(std::nearbyint(float(a))); }                                                         \
    static inline T htrunc(T a) { return T(std::trunc(float(a))); }                                                            \
    CUDA_EMULATOR_ATOMIC(atomicAdd, T, old + value)                                                                            \
    static inline T2 atomicAdd(T2 *address, T2 value) {                                                                        \
        return T2(atomicAdd(&address->x, value.x), atomicAdd(&address->y, value.y));                                           \
    }
CUDA_EMULATOR_OPERATIONS(__half, __half2)
CUDA_EMULATOR_OPERATIONS(__nv_bfloat16, __nv_bfloat162)
#undef CUDA_EMULATOR_OPERATIONS

// ---- Conversions -----------------------------------------------------------------------------------------------------------

static inline __half __float2half(float x) { return __half(x); }
static inline __half __float2half_rn(float x) { return __half(x); }
static inline __half __double2half(double x) { return __half(x); }
static inline float __half2float(__half x) { return float(x); }
static inline __half __int2half_rn(int x) { return __half(x); }
static inline __half __uint2half_rn(unsigned int x) { return __half(x); }
static inline int __half2int_rn(__half x) { return __float2int_rn(float(x)); }
static inline int __half2int_rz(__half x) { return __float2int_rz(float(x)); }
static inline unsigned int __half2uint_rn(__half x) { return __float2uint_rn(float(x)); }
static inline __half __ushort_as_half(unsigned short x) { return __half::of(x); }
static inline __half __short_as_half(short x) { return __half::of((unsigned short)x); }
static inline unsigned short __half_as_ushort(__half x) { return x.__x; }
static inline short __half_as_short(__half x) { return short(x.__x); }
static inline __half2 __float2half2_rn(float x) { return __half2(__half(x), __half(x)); }
static inline __half2 __floats2half2_rn(float x, float y) { return __half2(__half(x), __half(y)); }
static inline __half2 __half2half2(__half x) { return __half2(x, x); }
static inline float2 __half22float2(__half2 p) { return make_float2(float(p.x), float(p.y)); }
static inline __half2 __float22half2_rn(float2 p) { return __half2(__half(p.x), __half(p.y)); }

static inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
static inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
static inline __nv_bfloat16 __double2bfloat16(double x) { return __nv_bfloat16(x); }
static inline float __bfloat162float(__nv_bfloat16 x) { return float(x); }
static inline __nv_bfloat16 __int2bfloat16_rn(int x) { return __nv_bfloat16(double(x)); }
static inline __nv_bfloat16 __uint2bfloat16_rn(unsigned int x) { return __nv_bfloat16(double(x)); }
static inline int __bfloat162int_rn(__nv_bfloat16 x) { return __float2int_rn(float(x)); }
static inline int __bfloat162int_rz(__nv_bfloat16 x) { return __float2int_rz(float(x)); }
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short x) { return __nv_bfloat16::of(x); }
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.__x; }
static inline __nv_bfloat162 __float2bfloat162_rn(float x) { return __nv_bfloat162(__nv_bfloat16(x), __nv_bfloat16(x)); }
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return __nv_bfloat162(__nv_bfloat16(x), __nv_bfloat16(y)); }
static inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 x) { return __nv_bfloat162(x, x); }
static inline float2 __bfloat1622float2(__nv_bfloat162 p) { return make_float2(float(p.x), float(p.y)); }
static inline __nv_bfloat162 __float22bfloat162_rn(float2 p) { return __nv_bfloat162(__nv_bfloat16(p.x), __nv_bfloat16(p.y)); }
