// Reductions of [outer, n, inner] over n, the sums behind losses and norms, and running sums. Sums are added up in f64.
//
// Where there are few results and much to reduce, n is cut into chunks whose results a second launch joins: always the
// same chunks, so that a sum does not depend on the order in which blocks run.
#include "common.cuh"

// inner is 1: a row of threads for a row, chunks along y of the grid. out [rows, chunks], times scale.
template <class Join, class C, class In, class Out>
__device__ void rows_of(size_t rows, size_t n, C nothing, double scale, const In *x, Out *out) {
    size_t row = row_of_thread();
    if (row >= rows) return;
    Part part = part_of(n, gridDim.y, blockIdx.y);
    C sum = nothing;
    for (size_t i = part.first + threadIdx.x; i < part.end; i += blockDim.x) sum = Join::of(sum, (C)x[row * n + i]);
    sum = join_row<Join>(sum);
    if (threadIdx.x == 0) out[row * gridDim.y + blockIdx.y] = (Out)(scale == 1.0 ? sum : sum * (C)scale);
}

// Any inner: threads along x take neighbouring columns, those along y parts of n. Blocks are (32, 8); the grid is
// (outer times blocks of columns, chunks). out [outer, chunks, inner], times scale.
template <class Join, class C, class In, class Out>
__device__ void columns_of(size_t n, Size inner, C nothing, double scale, const In *x, Out *out) {
    __shared__ C of_threads[8][32];
    size_t blocks = (inner + 31) / 32, outer = blockIdx.x / blocks;
    size_t column = blockIdx.x % blocks * 32 + threadIdx.x;
    Part part = part_of(n, gridDim.y, blockIdx.y);
    C sum = nothing;
    if (column < inner) {
        for (size_t i = part.first + threadIdx.y; i < part.end; i += 8) {
            sum = Join::of(sum, (C)x[(outer * n + i) * inner + column]);
        }
    }
    of_threads[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < inner) {
        for (int y = 1; y < 8; y++) sum = Join::of(sum, of_threads[y][threadIdx.x]);
        out[(outer * gridDim.y + blockIdx.y) * inner + column] = (Out)(scale == 1.0 ? sum : sum * (C)scale);
    }
}

struct Smaller {
    template <class C> static __device__ __forceinline__ C of(C a, C b) { return a != a || a < b ? a : b; }
};

#define REDUCE(T, NAME)                                                                                                \
    extern "C" __global__ void sum_rows_##NAME(size_t rows, size_t n, double scale, const T *x, T *out) {              \
        rows_of<Sum>(rows, n, 0.0, scale, x, out);                                                                     \
    }                                                                                                                  \
    extern "C" __global__ void sum_rows_part_##NAME(size_t rows, size_t n, double scale, const T *x, double *out) {    \
        rows_of<Sum>(rows, n, 0.0, scale, x, out);                                                                     \
    }                                                                                                                  \
    extern "C" __global__ void sum_rows_join_##NAME(size_t rows, size_t n, double scale, const double *x, T *out) {    \
        rows_of<Sum>(rows, n, 0.0, scale, x, out);                                                                     \
    }                                                                                                                  \
    extern "C" __global__ void sum_columns_##NAME(size_t n, Size inner, double scale, const T *x, T *out) {            \
        columns_of<Sum>(n, inner, 0.0, scale, x, out);                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void sum_columns_part_##NAME(size_t n, Size inner, double scale, const T *x, double *out) {   \
        columns_of<Sum>(n, inner, 0.0, scale, x, out);                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void sum_columns_join_##NAME(size_t n, Size inner, double scale, const double *x, T *out) {   \
        columns_of<Sum>(n, inner, 0.0, scale, x, out);                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void max_rows_##NAME(size_t rows, size_t n, double scale, const T *x, T *out) {              \
        rows_of<Larger>(rows, n, (T)-INFINITY, scale, x, out);                                                         \
    }                                                                                                                  \
    extern "C" __global__ void min_rows_##NAME(size_t rows, size_t n, double scale, const T *x, T *out) {              \
        rows_of<Smaller>(rows, n, (T)INFINITY, scale, x, out);                                                         \
    }                                                                                                                  \
    extern "C" __global__ void max_columns_##NAME(size_t n, Size inner, double scale, const T *x, T *out) {            \
        columns_of<Larger>(n, inner, (T)-INFINITY, scale, x, out);                                                     \
    }                                                                                                                  \
    extern "C" __global__ void min_columns_##NAME(size_t n, Size inner, double scale, const T *x, T *out) {            \
        columns_of<Smaller>(n, inner, (T)INFINITY, scale, x, out);                                                     \
    }                                                                                                                  \
    /* The place of the extreme along n; of equal ones the first, and NaN before all. A warp for a result. */          \
    extern "C" __global__ void place_##NAME(size_t results, size_t n, Size inner, int largest, const T *x,             \
                                            uint32_t *out) {                                                           \
        size_t result = row_of_thread();                                                                               \
        if (result >= results) return;                                                                                 \
        const T *from = x + result / inner * n * inner + result % inner;                                               \
        T best = 0;                                                                                                    \
        uint32_t place = 0xffffffffu;                                                                                  \
        for (size_t i = threadIdx.x; i < n; i += 32) {                                                                 \
            T value = from[i * inner];                                                                                 \
            if (place == 0xffffffffu || takes_over(value, (uint32_t)i, best, place, largest)) {                        \
                best = value;                                                                                          \
                place = (uint32_t)i;                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
        for (int distance = 16; distance > 0; distance /= 2) {                                                         \
            T value = __shfl_xor_sync(0xffffffffu, best, distance);                                                    \
            uint32_t at = __shfl_xor_sync(0xffffffffu, place, distance);                                               \
            if (at != 0xffffffffu && (place == 0xffffffffu || takes_over(value, at, best, place, largest))) {          \
                best = value;                                                                                          \
                place = at;                                                                                            \
            }                                                                                                          \
        }                                                                                                              \
        if (threadIdx.x == 0) out[result] = place;                                                                     \
    }                                                                                                                  \
    /* The running sum along n, from the end if backward: a warp for each 32 neighbouring lanes. */                    \
    extern "C" __global__ void cumsum_##NAME(size_t lanes, size_t n, Size inner, int backward, const T *x, T *out) {   \
        EACH(lane, lanes) {                                                                                            \
            size_t at = lane / inner * n * inner + lane % inner;                                                       \
            double sum = 0.0;                                                                                          \
            for (size_t k = 0; k < n; k++) {                                                                           \
                size_t i = at + (backward ? n - 1 - k : k) * inner;                                                    \
                sum += x[i];                                                                                           \
                out[i] = (T)sum;                                                                                       \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    /* The running sum along rows: a warp for each row, 32 elements at a time. */                                      \
    extern "C" __global__ void cumsum_rows_##NAME(size_t rows, size_t n, int backward, const T *x, T *out) {           \
        size_t row = row_of_thread();                                                                                  \
        if (row >= rows) return;                                                                                       \
        double before = 0.0;                                                                                           \
        for (size_t start = 0; start < n; start += 32) {                                                               \
            size_t k = start + threadIdx.x;                                                                            \
            size_t i = row * n + (backward ? n - 1 - k : k);                                                           \
            double sum = k < n ? (double)x[i] : 0.0;                                                                   \
            for (int distance = 1; distance < 32; distance *= 2) {                                                     \
                double earlier = __shfl_up_sync(0xffffffffu, sum, distance);                                           \
                if (threadIdx.x >= distance) sum += earlier;                                                           \
            }                                                                                                          \
            sum += before;                                                                                             \
            if (k < n) out[i] = (T)sum;                                                                                \
            before = __shfl_sync(0xffffffffu, sum, 31);                                                                \
        }                                                                                                              \
    }

template <class T>
__device__ __forceinline__ bool takes_over(T value, uint32_t at, T best, uint32_t place, int largest) {
    bool value_nan = value != value, best_nan = best != best;
    if (value_nan != best_nan) return value_nan;
    if (!value_nan && value != best) return largest ? value > best : value < best;
    return at < place;
}

FLOATS(REDUCE)

enum { MSE, L1, HUBER, QUANTILE, BCE };

template <class C> __device__ __forceinline__ C loss_of(unsigned f, C p, C t, C number) {
    C d = p - t, size = d < C(0) ? -d : d;
    switch (f) {
    case MSE: return d * d;
    case L1: return size;
    case HUBER: return size > number ? number * (size - C(0.5) * number) : C(0.5) * d * d;
    case QUANTILE: return -d * (-d > C(0) ? number : number - C(1));
    // p is the logit.
    case BCE: return (p > C(0) ? p : C(0)) - p * t + log1p(exp(p < C(0) ? p : -p));
    }
    return d;
}

// By the prediction, times scale.
template <class C> __device__ __forceinline__ C loss_slope(unsigned f, C p, C t, C number, C scale) {
    C d = p - t;
    switch (f) {
    case MSE: return C(2) * scale * d;
    case L1: return d > C(0) ? scale : (d < C(0) ? -scale : d);
    case HUBER: {
        C most = d > number ? number : d;
        return scale * (most < -number ? -number : most);
    }
    case QUANTILE: return d < C(0) ? -number * scale : (d > C(0) ? (C(1) - number) * scale : (C(0.5) - number) * scale + d);
    case BCE: return scale * (C(1) / (C(1) + exp(-p)) - t);
    }
    return d;
}

#define LOSS(T, NAME)                                                                                                  \
    /* The sum of each block's part, in parts [gridDim.x]. */                                                          \
    extern "C" __global__ void loss_##NAME(size_t n, unsigned f, double number, const T *p, const T *t, double *parts) { \
        double sum = 0.0;                                                                                              \
        EACH(i, n) sum += (double)loss_of<T>(f, p[i], t[i], (T)number);                                                \
        sum = join_row<Sum>(sum);                                                                                      \
        if (threadIdx.x == 0) parts[blockIdx.x] = sum;                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void loss_backward_##NAME(size_t n, unsigned f, double number, double share, const T *d,     \
                                                    const T *p, const T *t, T *dp) {                                   \
        T scale = (T)((double)*d * share);                                                                             \
        EACH(i, n) dp[i] = loss_slope<T>(f, p[i], t[i], (T)number, scale);                                             \
    }                                                                                                                  \
    /* The gradient of the target of a cross-entropy: -scale x. */                                                     \
    extern "C" __global__ void scaled_##NAME(size_t n, double share, const T *d, const T *x, T *out) {                 \
        T scale = (T)((double)*d * share);                                                                             \
        EACH(i, n) out[i] = scale * x[i];                                                                              \
    }                                                                                                                  \
    /* The sum of squares of each block's part. */                                                                     \
    extern "C" __global__ void squares_##NAME(size_t n, const T *x, double *parts) {                                   \
        double sum = 0.0;                                                                                              \
        EACH(i, n) sum += (double)x[i] * (double)x[i];                                                                 \
        sum = join_row<Sum>(sum);                                                                                      \
        if (threadIdx.x == 0) parts[blockIdx.x] = sum;                                                                 \
    }
FLOATS(LOSS)
