// Elements by index, in windows, sorted and padded; pooling and the unrolling of convolutions. Elements that only move
// are copied by their size in bytes: NAME_1, NAME_2, NAME_4, NAME_8.
#include "common.cuh"

// Indices as u32, each checked to lie below `size`. One that does not is noted with the number of the operation in
// `fault`: {operation + 1, index (low, high), size (low, high)}, the first of them only, and counts as 0.
template <class I>
__device__ void check_indices(Size n, long long size, unsigned operation, const I *in, uint32_t *out, uint32_t *fault) {
    EACH(i, n) {
        long long index = (long long)in[i];
        bool fits = index >= 0 && index < size;
        out[i] = fits ? (uint32_t)index : 0;
        if (!fits && atomicCAS(fault, 0u, operation + 1) == 0u) {
            fault[1] = (uint32_t)index;
            fault[2] = (uint32_t)((unsigned long long)index >> 32);
            fault[3] = (uint32_t)size;
            fault[4] = (uint32_t)((unsigned long long)size >> 32);
        }
    }
}
extern "C" __global__ void indices_u32(Size n, long long size, unsigned operation, const uint32_t *in, uint32_t *out,
                                       uint32_t *fault) {
    check_indices(n, size, operation, in, out, fault);
}
extern "C" __global__ void indices_i64(Size n, long long size, unsigned operation, const long long *in, uint32_t *out,
                                       uint32_t *fault) {
    check_indices(n, size, operation, in, out, fault);
}

// Where the elements of a tensor lie; see `gpu::Strides`.
struct Strides {
    uint32_t rank, sizes[8], strides[8];
};

#define MOVE(T, NAME)                                                                                                  \
    /* The elements of x, which may lie anyhow, in row-major order. */                                                 \
    extern "C" __global__ void gather_strided_##NAME(size_t total, Strides s, const T *x, T *out) {                    \
        EACH(i, total) {                                                                                               \
            uint32_t rest = (uint32_t)i;                                                                               \
            size_t at = 0;                                                                                             \
            for (uint32_t d = s.rank; d-- > 0;) {                                                                      \
                uint32_t before = rest / s.sizes[d];                                                                   \
                at += (size_t)(rest - before * s.sizes[d]) * s.strides[d];                                             \
                rest = before;                                                                                         \
            }                                                                                                          \
            out[i] = x[at];                                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    /* out [outer, windows, inner, size] = x [outer, window step + k, inner] */                                        \
    extern "C" __global__ void unfold_##NAME(size_t total, Size n, Size inner, Size windows, Size size,                \
                                             Size step, const T *x, T *out) {                                          \
        EACH(i, total) {                                                                                               \
            size_t k = i % size, c = i / size % inner, w = i / size / inner % windows, o = i / size / inner / windows; \
            out[i] = x[(o * n + w * step + k) * inner + c];                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    /* out [outer, before + n + after, inner], the edges repeated. */                                                  \
    extern "C" __global__ void pad_edge_##NAME(size_t total, Size n, Size inner, size_t before, Size width,            \
                                               const T *x, T *out) {                                                   \
        EACH(i, total) {                                                                                               \
            size_t c = i % inner, j = i / inner % width, o = i / inner / width;                                        \
            size_t from = j < before ? 0 : (j - before < n ? j - before : n - 1);                                      \
            out[i] = x[(o * n + from) * inner + c];                                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    /* The order along n turned round. */                                                                              \
    extern "C" __global__ void flip_##NAME(size_t total, Size n, Size inner, const T *x, T *out) {                     \
        EACH(i, total) {                                                                                               \
            size_t c = i % inner, j = i / inner % n, o = i / inner / n;                                                \
            out[i] = x[(o * n + (n - 1 - j)) * inner + c];                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    /* out [outer, indices, inner] = x [outer, n, inner] at checked indices. */                                        \
    extern "C" __global__ void select_##NAME(size_t total, Size n, Size count, Size inner,                             \
                                             const uint32_t *indices, const T *x, T *out) {                            \
        EACH(i, total) {                                                                                               \
            size_t c = i % inner, j = i / inner % count, o = i / inner / count;                                        \
            out[i] = x[(o * n + indices[j]) * inner + c];                                                              \
        }                                                                                                              \
    }
MOVE(uint8_t, 1)
MOVE(uint16_t, 2)
MOVE(uint32_t, 4)
MOVE(uint64_t, 8)

// Sorting: each lane of [outer, n, inner] is copied into a row of a power of two of (value, place), which bitonic steps
// bring into order; equal values stay in the order of their places, NaN and what fills the row up come last.
extern "C" __global__ void sort_load_f64(size_t total, Size n, Size inner, Size width, const double *x,
                                         double *keys, uint32_t *places) {
    EACH(i, total) {
        size_t j = i % width, lane = i / width;
        keys[i] = j < n ? x[lane / inner * n * inner + j * inner + lane % inner] : NAN;
        places[i] = (uint32_t)j;
    }
}
__device__ __forceinline__ bool comes_after(double a, uint32_t a_place, double b, uint32_t b_place, int descending) {
    bool a_nan = a != a, b_nan = b != b;
    if (a_nan != b_nan) return a_nan;
    if (!a_nan && a != b) return descending ? a < b : a > b;
    return a_place > b_place;
}
extern "C" __global__ void sort_step_f64(size_t total, Size width, size_t block, size_t distance, int descending,
                                         double *keys, uint32_t *places) {
    EACH(i, total) {
        size_t other = i ^ distance;
        if (other <= i) continue;
        bool upwards = ((i % width) & block) == 0;
        if (comes_after(keys[i], places[i], keys[other], places[other], descending) == upwards) {
            double key = keys[i];
            uint32_t place = places[i];
            keys[i] = keys[other];
            places[i] = places[other];
            keys[other] = key;
            places[other] = place;
        }
    }
}
extern "C" __global__ void sort_store_f64(size_t total, Size n, Size inner, Size width, const uint32_t *places,
                                          uint32_t *out) {
    EACH(i, total) {
        size_t c = i % inner, j = i / inner % n, o = i / inner / n;
        out[i] = places[(o * inner + c) * width + j];
    }
}

// Shapes of a convolution as `cpu::conv::Conv`, by value.
struct Conv {
    Size batch, inputs, outputs, groups, height, width, kernel_height, kernel_width, stride_height, stride_width,
        padding_height, padding_width, dilation_height, dilation_width, out_height, out_width;
};

#define COMPUTE(T, NAME)                                                                                               \
    /* The derivative of unfold, each element by itself. */                                                            \
    extern "C" __global__ void fold_##NAME(size_t total, Size n, Size inner, Size windows, Size size,                  \
                                           Size step, const T *d, T *dx) {                                             \
        EACH(i, total) {                                                                                               \
            size_t c = i % inner, j = i / inner % n, o = i / inner / n;                                                \
            size_t first = j + 1 > size ? (j + 1 - size + step - 1) / step : 0;                                        \
            T sum = 0;                                                                                                 \
            for (size_t w = first; w < windows && w * step <= j; w++) {                                                \
                sum += d[((o * windows + w) * inner + c) * size + (j - w * step)];                                     \
            }                                                                                                          \
            dx[i] = sum;                                                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void pad_edge_backward_##NAME(size_t total, Size n, Size inner, size_t before,               \
                                                        Size width, const T *d, T *dx) {                               \
        EACH(i, total) {                                                                                               \
            size_t c = i % inner, j = i / inner % n, o = i / inner / n;                                                \
            size_t first = j == 0 ? 0 : before + j, end = j + 1 == n ? width : before + j + 1;                         \
            T sum = 0;                                                                                                 \
            for (size_t k = first; k < end; k++) sum += d[(o * width + k) * inner + c];                                \
            dx[i] = sum;                                                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    /* Adds rows d [outer, count, inner] at their indices to dx [outer, n, inner]. */                                  \
    extern "C" __global__ void select_backward_##NAME(size_t total, Size n, Size count, Size inner,                    \
                                                      const uint32_t *indices, const T *d, T *dx) {                    \
        EACH(i, total) {                                                                                               \
            size_t c = i % inner, j = i / inner % count, o = i / inner / count;                                        \
            atomicAdd(dx + (o * n + indices[j]) * inner + c, d[i]);                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    /* Adds source [outer, count, inner] to out [outer, n, inner] at indices of the source's shape. */                 \
    extern "C" __global__ void scatter_add_##NAME(size_t total, Size n, Size count, Size inner,                        \
                                                  const uint32_t *indices, const T *source, T *out) {                  \
        EACH(i, total) {                                                                                               \
            size_t c = i % inner, o = i / inner / count;                                                               \
            atomicAdd(out + (o * n + indices[i]) * inner + c, source[i]);                                              \
        }                                                                                                              \
    }                                                                                                                  \
    /* Windows over planes [height, width]; what lies in the padding counts as nothing. */                             \
    extern "C" __global__ void max_pool_##NAME(size_t total, Conv w, const T *x, T *y, uint32_t *places) {             \
        EACH(i, total) {                                                                                               \
            size_t column = i % w.out_width, row = i / w.out_width % w.out_height, plane = i / w.out_width / w.out_height; \
            const T *from = x + plane * w.height * w.width;                                                            \
            T best = (T)-INFINITY;                                                                                     \
            size_t place = (size_t)-1;                                                                                 \
            for (size_t a = 0; a < w.kernel_height; a++) {                                                             \
                size_t r = row * w.stride_height + a - w.padding_height;                                               \
                if (r >= w.height) continue;                                                                           \
                for (size_t b = 0; b < w.kernel_width; b++) {                                                          \
                    size_t c = column * w.stride_width + b - w.padding_width;                                          \
                    if (c >= w.width) continue;                                                                        \
                    T value = from[r * w.width + c];                                                                   \
                    if (place == (size_t)-1) place = r * w.width + c;                                                  \
                    if (value > best || value != value) {                                                              \
                        best = value;                                                                                  \
                        place = r * w.width + c;                                                                       \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
            y[i] = best;                                                                                               \
            places[i] = (uint32_t)place;                                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    /* Each element looks through the windows that hold it. */                                                         \
    extern "C" __global__ void pool_backward_##NAME(size_t total, Conv w, const uint32_t *places, const T *d, T *dx) { \
        T share = (T)(1.0 / (double)(w.kernel_height * w.kernel_width));                                               \
        EACH(i, total) {                                                                                               \
            size_t c = i % w.width, r = i / w.width % w.height, plane = i / w.width / w.height;                        \
            size_t at = plane * w.out_height * w.out_width;                                                            \
            size_t below = r + w.padding_height, right = c + w.padding_width;                                          \
            size_t row = below + 1 > w.kernel_height ? (below - w.kernel_height) / w.stride_height + 1 : 0;            \
            size_t start = right + 1 > w.kernel_width ? (right - w.kernel_width) / w.stride_width + 1 : 0;             \
            T sum = 0;                                                                                                 \
            for (; row < w.out_height && row * w.stride_height <= below; row++) {                                      \
                for (size_t column = start; column < w.out_width && column * w.stride_width <= right; column++) {      \
                    size_t window = at + row * w.out_width + column;                                                   \
                    if (!places) {                                                                                     \
                        sum += d[window] * share;                                                                      \
                    } else if (places[window] == r * w.width + c) {                                                    \
                        sum += d[window];                                                                              \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
            dx[i] = sum;                                                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void avg_pool_##NAME(size_t total, Conv w, const T *x, T *y) {                               \
        T share = (T)(1.0 / (double)(w.kernel_height * w.kernel_width));                                               \
        EACH(i, total) {                                                                                               \
            size_t column = i % w.out_width, row = i / w.out_width % w.out_height, plane = i / w.out_width / w.out_height; \
            const T *from = x + plane * w.height * w.width;                                                            \
            T sum = 0;                                                                                                 \
            for (size_t a = 0; a < w.kernel_height; a++) {                                                             \
                size_t r = row * w.stride_height + a - w.padding_height;                                               \
                for (size_t b = 0; r < w.height && b < w.kernel_width; b++) {                                          \
                    size_t c = column * w.stride_width + b - w.padding_width;                                          \
                    if (c < w.width) sum += from[r * w.width + c];                                                     \
                }                                                                                                      \
            }                                                                                                          \
            y[i] = sum * share;                                                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    /* x of the samples from `first` on, unrolled: columns [inputs, kernel, samples, positions], zero in the padding.  \
       Rows of all groups lie one after the other. */                                                                  \
    extern "C" __global__ void unroll_##NAME(size_t total, Conv w, size_t first, Size samples, const T *x,             \
                                             T *columns) {                                                             \
        Size positions = {w.out_height * w.out_width}, taps = {w.kernel_height * w.kernel_width};                        \
        EACH(i, total) {                                                                                               \
            size_t position = i % positions, sample = i / positions % samples, row = i / positions / samples;          \
            size_t tap = row % taps, channel = row / taps;                                                             \
            size_t r = position / w.out_width * w.stride_height + tap / w.kernel_width * w.dilation_height -           \
                       w.padding_height;                                                                               \
            size_t c = position % w.out_width * w.stride_width + tap % w.kernel_width * w.dilation_width -             \
                       w.padding_width;                                                                                \
            bool inside = r < w.height && c < w.width;                                                                 \
            columns[i] =                                                                                               \
                inside ? x[(((first + sample) * w.inputs + channel) * w.height + r) * w.width + c] : (T)0;             \
        }                                                                                                              \
    }                                                                                                                  \
    /* The derivative of unroll: each element of dx sums its places in the columns. */                                 \
    extern "C" __global__ void roll_##NAME(size_t total, Conv w, size_t first, Size samples, const T *columns,         \
                                           T *dx) {                                                                    \
        Size positions = {w.out_height * w.out_width}, taps = {w.kernel_height * w.kernel_width};                        \
        EACH(i, total) {                                                                                               \
            size_t c = i % w.width, r = i / w.width % w.height;                                                        \
            size_t channel = i / w.width / w.height % w.inputs, sample = i / w.width / w.height / w.inputs;            \
            T sum = 0;                                                                                                 \
            for (size_t tap = 0; tap < taps; tap++) {                                                                  \
                size_t below = r + w.padding_height - tap / w.kernel_width * w.dilation_height;                        \
                size_t right = c + w.padding_width - tap % w.kernel_width * w.dilation_width;                          \
                /* What is negative has become large. */                                                               \
                if (below % w.stride_height || right % w.stride_width) continue;                                       \
                size_t row = below / w.stride_height, column = right / w.stride_width;                                 \
                if (row >= w.out_height || column >= w.out_width) continue;                                            \
                sum += columns[((channel * taps + tap) * samples + sample) * positions + row * w.out_width + column];  \
            }                                                                                                          \
            dx[first * w.inputs * w.height * w.width + i] = sum;                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    /* y [samples of the whole, outputs, positions] from `first` on = y' [outputs, samples, positions] + bias. */      \
    extern "C" __global__ void to_batch_##NAME(size_t total, Conv w, size_t first, Size samples,         \
                                                             const T *turned, const T *bias, T *y) {                   \
        Size positions = {w.out_height * w.out_width};                                                                 \
        EACH(i, total) {                                                                                               \
            size_t position = i % positions, channel = i / positions % w.outputs, sample = i / positions / w.outputs;  \
            T value = turned[(channel * samples + sample) * positions + position];                                     \
            y[first * w.outputs * positions + i] = bias ? value + bias[channel] : value;                               \
        }                                                                                                              \
    }                                                                                                                  \
    /* The reverse, without the bias. */                                                                               \
    extern "C" __global__ void to_channels_##NAME(size_t total, Conv w, size_t first, Size samples,         \
                                                             const T *y, T *turned) {                                  \
        Size positions = {w.out_height * w.out_width};                                                                 \
        EACH(i, total) {                                                                                               \
            size_t position = i % positions, sample = i / positions % samples, channel = i / positions / samples;      \
            turned[i] = y[((first + sample) * w.outputs + channel) * positions + position];                            \
        }                                                                                                              \
    }
FLOATS(COMPUTE)
