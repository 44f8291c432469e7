// What nvcc gives a kernel, for g++: included before everything else when a kernel is compiled for the processor.
//
// The words of the language (`__shared__`, `__global__`) are read by the build, which rewrites them before the compiler sees
// them. The rest is here: indices, barriers, warps, atomics, types and the mathematics of a device.

#pragma once

#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

// The card that is stood in for: the oldest that the program is built for.
#define __CUDA_ARCH__ 800
#define __CUDACC__ 1
#define __NVCC__ 1
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define CUDART_VERSION 13000

#define __device__
#define __host__
#define __constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
// The stand-in libraries include headers that have this word as the compiler's own.
#ifndef CUDA_EMULATOR_LIBRARY
#define __noinline__ __attribute__((noinline))
#endif
#define __align__(bytes) alignas(bytes)
#define __grid_constant__
#ifndef __restrict__
#define __restrict__ __restrict
#endif

/// Of functions whose accesses are not looked at: not inlined either, since what they become part of is.
#define CUDA_EMULATOR_UNCHECKED __attribute__((noinline, no_sanitize("address", "kernel-address", "alignment")))

#undef assert
#define assert(condition) ((condition) ? (void)0 : ::cuda_emulator::assertion(#condition, __FILE__, __LINE__, __func__))

// ---- Types -----------------------------------------------------------------------------------------------------------------

#define CUDA_EMULATOR_VECTOR(name, type, align1, align2, align4)                                                               \
    struct name##1 {                                                                                                           \
        type x;                                                                                                                \
    };                                                                                                                         \
    struct alignas(align2) name##2 {                                                                                           \
        type x, y;                                                                                                             \
    };                                                                                                                         \
    struct name##3 {                                                                                                           \
        type x, y, z;                                                                                                          \
    };                                                                                                                         \
    struct alignas(align4) name##4 {                                                                                           \
        type x, y, z, w;                                                                                                       \
    };                                                                                                                         \
    static inline name##1 make_##name##1(type x) { return {x}; }                                                               \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                                    \
    static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                                         \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

CUDA_EMULATOR_VECTOR(char, signed char, 1, 2, 4)
CUDA_EMULATOR_VECTOR(uchar, unsigned char, 1, 2, 4)
CUDA_EMULATOR_VECTOR(short, short, 2, 4, 8)
CUDA_EMULATOR_VECTOR(ushort, unsigned short, 2, 4, 8)
CUDA_EMULATOR_VECTOR(int, int, 4, 8, 16)
CUDA_EMULATOR_VECTOR(uint, unsigned int, 4, 8, 16)
CUDA_EMULATOR_VECTOR(long, long, 8, 16, 16)
CUDA_EMULATOR_VECTOR(ulong, unsigned long, 8, 16, 16)
CUDA_EMULATOR_VECTOR(longlong, long long, 8, 16, 16)
CUDA_EMULATOR_VECTOR(ulonglong, unsigned long long, 8, 16, 16)
CUDA_EMULATOR_VECTOR(float, float, 4, 8, 16)
CUDA_EMULATOR_VECTOR(double, double, 8, 16, 16)
#undef CUDA_EMULATOR_VECTOR

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

typedef struct CUstream_st *cudaStream_t;

// ---- Where a thread is -----------------------------------------------------------------------------------------------------

struct alignas(64) CudaEmulatorIndices {
    uint3 thread, block, block_size, grid_size;
};
extern "C" CudaEmulatorIndices cuda_emulator_indices;
#define threadIdx (::cuda_emulator_indices.thread)
#define blockIdx (::cuda_emulator_indices.block)
#define blockDim (::cuda_emulator_indices.block_size)
#define gridDim (::cuda_emulator_indices.grid_size)
static constexpr int warpSize = 32;

namespace cuda_emulator {

/// A line of a kernel's source.
struct Place {
    const char *file;
    int line;
};

enum class Vote : int { sync, all, any, ballot, match_any, add, min, max, bits_and, bits_or, bits_xor };
enum class Sum : int { none, count, all, any };

// In libcuda_emulator.so.
[[noreturn]] void assertion(const char *condition, const char *file, int line, const char *function);
int block_barrier(Place place, Sum sum, int predicate);
uint64_t warp_exchange(Place place, unsigned mask, uint64_t value, int source);
uint64_t warp_vote(Place place, Vote vote, bool is_signed, unsigned mask, uint64_t value);
unsigned warp_lane();
void *dynamic_shared();
/// Where a block's variable is; `slot` is what the variable's declaration remembers between blocks.
struct SharedSlot {
    unsigned long launch = 0;
    void *address = nullptr;
    const char *name = nullptr;
    size_t size = 0;
};
void *shared_variable(SharedSlot &slot, const char *name, size_t size, size_t align);
void atomic_access(const volatile void *address, size_t size);

template <typename T> inline T &shared(SharedSlot &slot, const char *name, size_t align) {
    return *static_cast<T *>(shared_variable(slot, name, sizeof(T), align > alignof(T) ? align : alignof(T)));
}

/// How a kernel is called: its name, and what unpacks the arguments.
struct Kernel {
    const char *name;
    void (*call)(void **arguments);
    unsigned arguments;
    /// Per argument: its size, and whether it is a pointer.
    const unsigned *sizes;
    const bool *pointers;
    /// From `__launch_bounds__`; 1024 without.
    unsigned max_threads;
};

template <auto function> struct Call;
template <typename... A, void (*function)(A...)> struct Call<function> {
    static constexpr unsigned count = sizeof...(A);
    static constexpr unsigned sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
    static constexpr bool pointers[sizeof...(A) + 1] = {std::is_pointer_v<A>..., false};
    CUDA_EMULATOR_UNCHECKED static void call(void **arguments) { unpack(arguments, std::index_sequence_for<A...>{}); }
    // The arguments themselves are the caller's memory.
    template <size_t... I> CUDA_EMULATOR_UNCHECKED static void unpack(void **arguments, std::index_sequence<I...>) {
        (void)arguments;
        function(*static_cast<std::remove_reference_t<A> *>(arguments[I])...);
    }
};
template <auto function> constexpr Kernel kernel(const char *name, unsigned max_threads) {
    using C = Call<function>;
    return {name, &C::call, C::count, C::sizes, C::pointers, max_threads};
}

// ---- Warps -----------------------------------------------------------------------------------------------------------------

template <typename T> inline uint64_t bits_of(T value) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "a shuffle moves at most eight bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    return bits;
}
template <typename T> inline T of_bits(uint64_t bits) {
    T value;
    memcpy(&value, &bits, sizeof(T));
    return value;
}

// The lane a value comes from; -1: its own.
template <typename T> inline T shuffle(Place place, unsigned mask, T value, int lane, int width = 32) {
    int start = int(warp_lane()) & ~(width - 1);
    return of_bits<T>(warp_exchange(place, mask, bits_of(value), start | (lane & (width - 1))));
}
template <typename T> inline T shuffle_up(Place place, unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = int(warp_lane()), start = lane & ~(width - 1), from = lane - int(delta);
    return of_bits<T>(warp_exchange(place, mask, bits_of(value), from < start ? lane : from));
}
template <typename T> inline T shuffle_down(Place place, unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = int(warp_lane()), end = lane | (width - 1), from = lane + int(delta);
    return of_bits<T>(warp_exchange(place, mask, bits_of(value), from > end ? lane : from));
}
template <typename T> inline T shuffle_xor(Place place, unsigned mask, T value, int bits, int width = 32) {
    int lane = int(warp_lane()), end = lane | (width - 1), from = lane ^ bits;
    return of_bits<T>(warp_exchange(place, mask, bits_of(value), from > end ? lane : from));
}
inline int vote(Place place, Vote kind, unsigned mask, int predicate) {
    return int(warp_vote(place, kind, false, mask, predicate != 0));
}
template <typename T> inline T reduce(Place place, Vote kind, unsigned mask, T value) {
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>, "a warp reduces int and unsigned");
    return T(warp_vote(place, kind, std::is_signed_v<T>, mask, uint64_t(int64_t(value))));
}
template <typename T> inline unsigned match_any(Place place, unsigned mask, T value) {
    return unsigned(warp_vote(place, Vote::match_any, false, mask, bits_of(value)));
}

} // namespace cuda_emulator

#define CUDA_EMULATOR_PLACE (::cuda_emulator::Place{__FILE__, __LINE__})

#define __syncthreads() ((void)::cuda_emulator::block_barrier(CUDA_EMULATOR_PLACE, ::cuda_emulator::Sum::none, 0))
#define __syncthreads_count(predicate) (::cuda_emulator::block_barrier(CUDA_EMULATOR_PLACE, ::cuda_emulator::Sum::count, (predicate) != 0))
#define __syncthreads_and(predicate) (::cuda_emulator::block_barrier(CUDA_EMULATOR_PLACE, ::cuda_emulator::Sum::all, (predicate) != 0))
#define __syncthreads_or(predicate) (::cuda_emulator::block_barrier(CUDA_EMULATOR_PLACE, ::cuda_emulator::Sum::any, (predicate) != 0))
#define __syncwarp(...)                                                                                                        \
    ((void)::cuda_emulator::warp_vote(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::sync, false,                                 \
                                      ::cuda_emulator::mask_of(__VA_ARGS__), 0))
#define __shfl_sync(...) (::cuda_emulator::shuffle(CUDA_EMULATOR_PLACE, __VA_ARGS__))
#define __shfl_up_sync(...) (::cuda_emulator::shuffle_up(CUDA_EMULATOR_PLACE, __VA_ARGS__))
#define __shfl_down_sync(...) (::cuda_emulator::shuffle_down(CUDA_EMULATOR_PLACE, __VA_ARGS__))
#define __shfl_xor_sync(...) (::cuda_emulator::shuffle_xor(CUDA_EMULATOR_PLACE, __VA_ARGS__))
#define __all_sync(mask, predicate) (::cuda_emulator::vote(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::all, mask, (predicate) != 0))
#define __any_sync(mask, predicate) (::cuda_emulator::vote(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::any, mask, (predicate) != 0))
#define __ballot_sync(mask, predicate) (unsigned(::cuda_emulator::vote(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::ballot, mask, (predicate) != 0)))
#define __match_any_sync(mask, value) (::cuda_emulator::match_any(CUDA_EMULATOR_PLACE, mask, value))
#define __reduce_add_sync(mask, value) (::cuda_emulator::reduce(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::add, mask, value))
#define __reduce_min_sync(mask, value) (::cuda_emulator::reduce(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::min, mask, value))
#define __reduce_max_sync(mask, value) (::cuda_emulator::reduce(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::max, mask, value))
#define __reduce_and_sync(mask, value) (::cuda_emulator::reduce(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::bits_and, mask, value))
#define __reduce_or_sync(mask, value) (::cuda_emulator::reduce(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::bits_or, mask, value))
#define __reduce_xor_sync(mask, value) (::cuda_emulator::reduce(CUDA_EMULATOR_PLACE, ::cuda_emulator::Vote::bits_xor, mask, value))
namespace cuda_emulator {
inline unsigned mask_of(unsigned mask = 0xffffffffu) { return mask; }
} // namespace cuda_emulator

// Which threads run together is the card's affair; that it is this one alone is always a right answer.
static inline unsigned __activemask() { return 1u << cuda_emulator::warp_lane(); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}
static inline void __nanosleep(unsigned) {}
[[noreturn]] static inline void __trap() { cuda_emulator::assertion("__trap()", "", 0, ""); }
extern "C" long long cuda_emulator_clock();
static inline long long clock64() { return cuda_emulator_clock(); }

// ---- Atomics: one thread runs at a time -------------------------------------------------------------------------------------

#undef CUDA_EMULATOR_ATOMIC
#define CUDA_EMULATOR_ATOMIC(name, type, expression)                                                                           \
    CUDA_EMULATOR_UNCHECKED static inline type name(type *address, type value) {                        \
        ::cuda_emulator::atomic_access(address, sizeof(type));                                                                 \
        type old = *address;                                                                                                   \
        *address = (expression);                                                                                               \
        return old;                                                                                                            \
    }                                                                                                                          \
    static inline type name##_block(type *address, type value) { return name(address, value); }                                \
    static inline type name##_system(type *address, type value) { return name(address, value); }
#define CUDA_EMULATOR_INTEGER_ATOMICS(type)                                                                                    \
    CUDA_EMULATOR_ATOMIC(atomicMin, type, value < old ? value : old)                                                           \
    CUDA_EMULATOR_ATOMIC(atomicMax, type, value > old ? value : old)                                                           \
    CUDA_EMULATOR_ATOMIC(atomicAnd, type, old &value)                                                                          \
    CUDA_EMULATOR_ATOMIC(atomicOr, type, old | value)                                                                          \
    CUDA_EMULATOR_ATOMIC(atomicXor, type, old ^ value)
#define CUDA_EMULATOR_CAS(type)                                                                                                \
    CUDA_EMULATOR_UNCHECKED static inline type atomicCAS(type *address, type compare, type value) {     \
        ::cuda_emulator::atomic_access(address, sizeof(type));                                                                 \
        type old = *address;                                                                                                   \
        if (old == compare)                                                                                                    \
            *address = value;                                                                                                  \
        return old;                                                                                                            \
    }
CUDA_EMULATOR_ATOMIC(atomicAdd, int, old + value)
CUDA_EMULATOR_ATOMIC(atomicAdd, unsigned int, old + value)
CUDA_EMULATOR_ATOMIC(atomicAdd, unsigned long long, old + value)
CUDA_EMULATOR_ATOMIC(atomicAdd, float, old + value)
CUDA_EMULATOR_ATOMIC(atomicAdd, double, old + value)
CUDA_EMULATOR_ATOMIC(atomicSub, int, old - value)
CUDA_EMULATOR_ATOMIC(atomicSub, unsigned int, old - value)
CUDA_EMULATOR_ATOMIC(atomicExch, int, value)
CUDA_EMULATOR_ATOMIC(atomicExch, unsigned int, value)
CUDA_EMULATOR_ATOMIC(atomicExch, unsigned long long, value)
CUDA_EMULATOR_ATOMIC(atomicExch, float, value)
CUDA_EMULATOR_ATOMIC(atomicInc, unsigned int, old >= value ? 0 : old + 1)
CUDA_EMULATOR_ATOMIC(atomicDec, unsigned int, (old == 0 || old > value) ? value : old - 1)
CUDA_EMULATOR_INTEGER_ATOMICS(int)
CUDA_EMULATOR_INTEGER_ATOMICS(unsigned int)
CUDA_EMULATOR_INTEGER_ATOMICS(long long)
CUDA_EMULATOR_INTEGER_ATOMICS(unsigned long long)
CUDA_EMULATOR_CAS(int)
CUDA_EMULATOR_CAS(unsigned int)
CUDA_EMULATOR_CAS(unsigned long long)
CUDA_EMULATOR_CAS(unsigned short)

// ---- Mathematics -----------------------------------------------------------------------------------------------------------

using std::abs;
using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;

// Of two types, as the device has them: the common one; NaN gives way to a number.
template <typename A, typename B, typename = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>>>
static inline std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>)
        return std::fmin(T(a), T(b));
    else
        return T(b) < T(a) ? T(b) : T(a);
}
template <typename A, typename B, typename = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>>>
static inline std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>)
        return std::fmax(T(a), T(b));
    else
        return T(a) < T(b) ? T(b) : T(a);
}

static inline float rsqrtf(float x) { return float(1.0 / std::sqrt(double(x))); }
static inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
static inline float rsqrt(float x) { return rsqrtf(x); }
static inline float rcbrtf(float x) { return 1.0f / cbrtf(x); }
static inline double rcbrt(double x) { return 1.0 / cbrt(x); }
static inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752440f); }
static inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
static inline float sinpif(float x) { return float(std::sin(3.14159265358979323846 * std::fmod(double(x), 2.0))); }
static inline float cospif(float x) { return float(std::cos(3.14159265358979323846 * std::fmod(double(x), 2.0))); }
static inline double sinpi(double x) { return std::sin(3.14159265358979323846 * std::fmod(x, 2.0)); }
static inline double cospi(double x) { return std::cos(3.14159265358979323846 * std::fmod(x, 2.0)); }
static inline float fdividef(float a, float b) { return a / b; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float x) { return x != x ? 0.0f : x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x; }

// The C library declares functions of these names for itself.
namespace cuda_emulator {
inline float exp_fast(float x) { return std::exp(x); }
inline float exp10_fast(float x) { return std::pow(10.0f, x); }
inline float log_fast(float x) { return std::log(x); }
inline float log2_fast(float x) { return std::log2(x); }
inline float log10_fast(float x) { return std::log10(x); }
inline float pow_fast(float x, float y) { return std::pow(x, y); }
inline float sin_fast(float x) { return std::sin(x); }
inline float cos_fast(float x) { return std::cos(x); }
inline float tan_fast(float x) { return std::tan(x); }
} // namespace cuda_emulator
#define __expf(x) (::cuda_emulator::exp_fast(x))
#define __exp10f(x) (::cuda_emulator::exp10_fast(x))
#define __logf(x) (::cuda_emulator::log_fast(x))
#define __log2f(x) (::cuda_emulator::log2_fast(x))
#define __log10f(x) (::cuda_emulator::log10_fast(x))
#define __powf(x, y) (::cuda_emulator::pow_fast(x, y))
#define __sinf(x) (::cuda_emulator::sin_fast(x))
#define __cosf(x) (::cuda_emulator::cos_fast(x))
#define __tanf(x) (::cuda_emulator::tan_fast(x))

// As nvcc, the compiler makes one operation of a product and a sum, but for these, which are rounded by themselves.
namespace cuda_emulator {
template <typename F> inline F apart(F x) {
#if defined(__x86_64__)
    asm("" : "+x"(x));
#else
    asm("" : "+w"(x));
#endif
    return x;
}
} // namespace cuda_emulator
static inline float __fadd_rn(float a, float b) { return cuda_emulator::apart(a) + cuda_emulator::apart(b); }
static inline float __fsub_rn(float a, float b) { return cuda_emulator::apart(a) - cuda_emulator::apart(b); }
static inline float __fmul_rn(float a, float b) { return cuda_emulator::apart(a * b); }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frsqrt_rn(float a) { return rsqrtf(a); }
static inline double __dadd_rn(double a, double b) { return cuda_emulator::apart(a) + cuda_emulator::apart(b); }
static inline double __dsub_rn(double a, double b) { return cuda_emulator::apart(a) - cuda_emulator::apart(b); }
static inline double __dmul_rn(double a, double b) { return cuda_emulator::apart(a * b); }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline double __drcp_rn(double a) { return 1.0 / a; }
static inline double __dsqrt_rn(double a) { return sqrt(a); }

namespace cuda_emulator {
/// A float as an integer: outside of its range the nearest end, and NaN is zero, as the device's own conversions do.
template <typename I, typename F> inline I saturate(F x) {
    if (x != x)
        return 0;
    if (x <= F(std::numeric_limits<I>::min()))
        return std::numeric_limits<I>::min();
    if (x >= F(std::numeric_limits<I>::max()))
        return std::numeric_limits<I>::max();
    return I(x);
}
} // namespace cuda_emulator
#define CUDA_EMULATOR_TO_INTEGER(from, to, source, target)                                                                     \
    static inline target __##from##2##to##_rn(source x) { return cuda_emulator::saturate<target>(std::nearbyint(x)); }         \
    static inline target __##from##2##to##_rz(source x) { return cuda_emulator::saturate<target>(std::trunc(x)); }             \
    static inline target __##from##2##to##_rd(source x) { return cuda_emulator::saturate<target>(std::floor(x)); }             \
    static inline target __##from##2##to##_ru(source x) { return cuda_emulator::saturate<target>(std::ceil(x)); }
CUDA_EMULATOR_TO_INTEGER(float, int, float, int)
CUDA_EMULATOR_TO_INTEGER(float, uint, float, unsigned int)
CUDA_EMULATOR_TO_INTEGER(float, ll, float, long long)
CUDA_EMULATOR_TO_INTEGER(float, ull, float, unsigned long long)
CUDA_EMULATOR_TO_INTEGER(double, int, double, int)
CUDA_EMULATOR_TO_INTEGER(double, uint, double, unsigned int)
CUDA_EMULATOR_TO_INTEGER(double, ll, double, long long)
CUDA_EMULATOR_TO_INTEGER(double, ull, double, unsigned long long)
#undef CUDA_EMULATOR_TO_INTEGER
static inline float __int2float_rn(int x) { return float(x); }
static inline float __uint2float_rn(unsigned int x) { return float(x); }
static inline float __ll2float_rn(long long x) { return float(x); }
static inline float __ull2float_rn(unsigned long long x) { return float(x); }
static inline double __int2double_rn(int x) { return double(x); }
static inline double __uint2double_rn(unsigned int x) { return double(x); }
static inline double __ll2double_rn(long long x) { return double(x); }
static inline double __ull2double_rn(unsigned long long x) { return double(x); }
static inline float __double2float_rn(double x) { return float(x); }

static inline int __float_as_int(float x) { return cuda_emulator::of_bits<int>(cuda_emulator::bits_of(x)); }
static inline unsigned int __float_as_uint(float x) { return cuda_emulator::of_bits<unsigned int>(cuda_emulator::bits_of(x)); }
static inline float __int_as_float(int x) { return cuda_emulator::of_bits<float>(cuda_emulator::bits_of(x)); }
static inline float __uint_as_float(unsigned int x) { return cuda_emulator::of_bits<float>(cuda_emulator::bits_of(x)); }
static inline long long __double_as_longlong(double x) { return cuda_emulator::of_bits<long long>(cuda_emulator::bits_of(x)); }
static inline double __longlong_as_double(long long x) { return cuda_emulator::of_bits<double>(cuda_emulator::bits_of(x)); }
static inline int __double2hiint(double x) { return int(cuda_emulator::bits_of(x) >> 32); }
static inline int __double2loint(double x) { return int(cuda_emulator::bits_of(x)); }
static inline double __hiloint2double(int high, int low) {
    return cuda_emulator::of_bits<double>((uint64_t(unsigned(high)) << 32) | unsigned(low));
}

static inline int __popc(unsigned int x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
static inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)(x)); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned int __brev(unsigned int x) {
    unsigned int y = 0;
    for (int i = 0; i < 32; i++)
        y |= ((x >> i) & 1u) << (31 - i);
    return y;
}
static inline unsigned int __umulhi(unsigned int a, unsigned int b) { return (unsigned int)((uint64_t(a) * b) >> 32); }
static inline int __mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)(a)*b) >> 64);
}
static inline long long __mul64hi(long long a, long long b) { return (long long)(((__int128)(a)*b) >> 64); }
static inline int __mul24(int a, int b) { return ((a << 8) >> 8) * ((b << 8) >> 8); }
static inline unsigned int __umul24(unsigned int a, unsigned int b) { return (a & 0xffffffu) * (b & 0xffffffu); }
static inline unsigned int __funnelshift_l(unsigned int low, unsigned int high, unsigned int shift) {
    return (unsigned int)((((uint64_t(high) << 32) | low) << (shift & 31)) >> 32);
}
static inline unsigned int __funnelshift_r(unsigned int low, unsigned int high, unsigned int shift) {
    return (unsigned int)(((uint64_t(high) << 32) | low) >> (shift & 31));
}
static inline unsigned int __byte_perm(unsigned int x, unsigned int y, unsigned int selector) {
    uint64_t bytes = (uint64_t(y) << 32) | x;
    unsigned int result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned int choice = (selector >> (4 * i)) & 0xf;
        unsigned int byte = (unsigned int)((bytes >> (8 * (choice & 7))) & 0xff);
        if (choice & 8)
            byte = (byte & 0x80) ? 0xff : 0;
        result |= byte << (8 * i);
    }
    return result;
}
static inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++)
        c += int(int8_t(a >> (8 * i))) * int(int8_t(b >> (8 * i)));
    return c;
}

template <typename T> static inline T __ldg(const T *address) { return *address; }
template <typename T> static inline T __ldcs(const T *address) { return *address; }
template <typename T> static inline T __ldcg(const T *address) { return *address; }
template <typename T> static inline T __ldca(const T *address) { return *address; }
template <typename T> static inline T __ldcv(const T *address) { return *address; }
template <typename T> static inline T __ldlu(const T *address) { return *address; }
template <typename T> static inline void __stcs(T *address, T value) { *address = value; }
template <typename T> static inline void __stcg(T *address, T value) { *address = value; }
template <typename T> static inline void __stwb(T *address, T value) { *address = value; }
template <typename T> static inline void __stwt(T *address, T value) { *address = value; }
