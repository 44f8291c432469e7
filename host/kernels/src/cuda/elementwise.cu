// Functions of one and of two tensors element by element, their derivatives, dropout, and the optimisers' and losses'
// elementwise parts. The numbers of the functions are those of `gpu::elementwise`.
#include "common.cuh"
#include "philox.cuh"

template <class C> __device__ __forceinline__ C sigmoid(C x) { return C(1) / (C(1) + exp(-x)); }

enum {
    RELU, LEAKY_RELU, ELU, GELU, GELU_TANH, SILU, SOFTPLUS, SIGMOID, TANH, EXP, LOG, LOG1P, EXPM1, ERF,
    POW, POW_SLOPE, CLAMP, INSIDE, ROUND, FINITE_OR_ZERO,
};

template <class C> __device__ C function(unsigned f, C x, C a, C b) {
    const C half = C(0.5), root = C(0.70710678118654752440), factor = C(0.79788456080286535588), cubic = C(0.044715);
    switch (f) {
    case RELU: return x < C(0) ? C(0) : x;
    case LEAKY_RELU: return x > C(0) ? x : a * x;
    case ELU: return x > C(0) ? x : a * expm1(x);
    case GELU: return half * x * (C(1) + erf(x * root));
    case GELU_TANH: return half * x * (C(1) + tanh(factor * (x + cubic * x * x * x)));
    case SILU: return x * sigmoid(x);
    case SOFTPLUS: return x > C(20) ? x : log1p(exp(x));
    case SIGMOID: return sigmoid(x);
    case TANH: return tanh(x);
    case EXP: return exp(x);
    case LOG: return log(x);
    case LOG1P: return log1p(x);
    case EXPM1: return expm1(x);
    case ERF: return erf(x);
    case POW: return pow(x, a);
    case POW_SLOPE: return a == C(0) ? C(0) : a * pow(x, a - C(1));
    case CLAMP: return x < a ? a : (x > b ? b : x);
    case INSIDE: return a < x && x < b ? C(1) : C(0);
    case ROUND: return rint(x);
    case FINITE_OR_ZERO: return isfinite(x) ? x : C(0);
    }
    return x;
}

// From the gradient d and what was kept: the input or the output, as in `cpu::activation`.
template <class C> __device__ C slope(unsigned f, C s, C d, C a) {
    const C half = C(0.5), root = C(0.70710678118654752440), factor = C(0.79788456080286535588), cubic = C(0.044715);
    const C density = C(0.39894228040143267794), of_erf = C(1.12837916709551257390);
    switch (f) {
    case RELU: return s <= C(0) ? C(0) : d;
    case LEAKY_RELU: return s > C(0) ? d : a * d;
    case ELU: return s > C(0) ? d : d * a * exp(s);
    case GELU: return d * (half * (C(1) + erf(s * root)) + s * density * exp(-half * s * s));
    case GELU_TANH: {
        C t = tanh(factor * (s + cubic * s * s * s));
        return d * half * (C(1) + t + s * (C(1) - t * t) * (factor * (C(1) + C(3) * cubic * s * s)));
    }
    case SILU: {
        C y = sigmoid(s);
        return d * y * (C(1) + s * (C(1) - y));
    }
    case SOFTPLUS: return s > C(20) ? d : d * sigmoid(s);
    case SIGMOID: return d * s * (C(1) - s);
    case TANH: return d * (C(1) - s * s);
    case EXP: return d * s;
    case LOG: return d / s;
    case LOG1P: return d / (C(1) + s);
    case EXPM1: return d * (s + C(1));
    case ERF: return d * of_erf * exp(-s * s);
    }
    return d;
}

enum { POW2, POW_BY_BASE, POW_BY_EXPONENT, SHARE_LARGER, SHARE_SMALLER, EQUAL };

template <class C> __device__ C function2(unsigned f, C x, C y) {
    switch (f) {
    case POW2: return pow(x, y);
    case POW_BY_BASE: return y == C(0) ? C(0) : y * pow(x, y - C(1));
    // x is the power, y its base.
    case POW_BY_EXPONENT: return y == C(0) ? C(0) : x * log(y);
    case SHARE_LARGER: return x > y ? C(1) : (x == y ? C(0.5) : C(0));
    case SHARE_SMALLER: return x < y ? C(1) : (x == y ? C(0.5) : C(0));
    case EQUAL: return x == y ? C(1) : C(0);
    }
    return x;
}

#define UNARY(T, NAME)                                                                                                 \
    extern "C" __global__ void unary_##NAME(size_t n, unsigned f, double a, double b, const T *x, T *y) {              \
        typedef Computed<T>::type C;                                                                                   \
        EACH(i, n) y[i] = Store<T>::of(function<C>(f, load(x[i]), (C)a, (C)b));                                        \
    }                                                                                                                  \
    extern "C" __global__ void unary_backward_##NAME(size_t n, unsigned f, double a, const T *kept, const T *d, T *dx) { \
        typedef Computed<T>::type C;                                                                                   \
        EACH(i, n) dx[i] = Store<T>::of(slope<C>(f, load(kept[i]), load(d[i]), (C)a));                                 \
    }                                                                                                                  \
    extern "C" __global__ void binary_##NAME(size_t n, unsigned f, const T *x, const T *y, T *out) {                   \
        typedef Computed<T>::type C;                                                                                   \
        EACH(i, n) out[i] = Store<T>::of(function2<C>(f, load(x[i]), load(y[i])));                                     \
    }                                                                                                                  \
    extern "C" __global__ void accumulate_##NAME(size_t n, T *x, const T *more) {                                      \
        EACH(i, n) x[i] = Store<T>::of(load(x[i]) + load(more[i]));                                                    \
    }                                                                                                                  \
    extern "C" __global__ void finite_##NAME(size_t n, const T *x, uint8_t *out) {                                     \
        EACH(i, n) out[i] = isfinite(load(x[i])) ? 1 : 0;                                                              \
    }                                                                                                                  \
    /* Each of the rows becomes this one. */                                                                           \
    extern "C" __global__ void fill_rows_##NAME(size_t n, Size width, const T *row, T *out) {                          \
        EACH(i, n) out[i] = row[i % width];                                                                            \
    }                                                                                                                  \
    /* Adds bias[c] to out[batch, c, positions]. */                                                                    \
    extern "C" __global__ void add_channels_##NAME(size_t n, Size channels, Size positions, const T *bias, T *out) {     \
        EACH(i, n) out[i] = Store<T>::of(load(out[i]) + load(bias[i / positions % channels]));                         \
    }                                                                                                                  \
    extern "C" __global__ void dropout_##NAME(size_t n, uint64_t seed, uint64_t offset, unsigned threshold, double factor, \
                                              const T *x, T *out) {                                                    \
        typedef Computed<T>::type C;                                                                                   \
        /* A thread takes the four words of a counter: elements 32 b + 8 w + j of counter 8 b + j. */                  \
        EACH(c, (n + 31) / 32 * 8) {                                                                                   \
            Words words = philox(seed, offset + c);                                                                    \
            for (int w = 0; w < 4; w++) {                                                                              \
                size_t i = c / 8 * 32 + 8 * w + c % 8;                                                                 \
                if (i < n) out[i] = Store<T>::of(words.word[w] < threshold ? C(0) : load(x[i]) * (C)factor);           \
            }                                                                                                          \
        }                                                                                                              \
    }
ALL_FLOATS(UNARY)

// 1 where column - row <= diagonal (lower), or >= diagonal.
extern "C" __global__ void triangle_u8(size_t rows, Size columns, long long diagonal, int lower, uint8_t *out) {
    EACH(i, rows * columns) {
        long long distance = (long long)(i % columns) - (long long)(i / columns);
        out[i] = lower ? distance <= diagonal : distance >= diagonal;
    }
}

// Numbers are drawn as f64: element 16 b + 8 h + j comes from the 64-bit word h of counter 8 b + j.
extern "C" __global__ void uniform_f64(size_t n, uint64_t seed, uint64_t offset, double low, double high, double last,
                                       double *out) {
    EACH(c, (n + 15) / 16 * 8) {
        Words words = philox(seed, offset + c);
        for (int h = 0; h < 2; h++) {
            size_t i = c / 8 * 16 + 8 * h + c % 8;
            // As the processor rounds it: the product by itself, and then the sum.
            double value = __dadd_rn(low, __dmul_rn(high - low, unit(words, h)));
            if (i < n) out[i] = value >= high ? last : value;
        }
    }
}

extern "C" __global__ void normal_f64(size_t n, uint64_t seed, uint64_t offset, double mean, double deviation,
                                      double *out) {
    EACH(c, (n + 15) / 16 * 8) {
        Words words = philox(seed, offset + c);
        double radius = sqrt(-2.0 * log(1.0 - unit(words, 0))) * deviation;
        double angle = 6.28318530717958647692 * unit(words, 1);
        size_t i = c / 8 * 16 + c % 8;
        if (i < n) out[i] = mean + radius * cos(angle);
        if (i + 8 < n) out[i + 8] = mean + radius * sin(angle);
    }
}
