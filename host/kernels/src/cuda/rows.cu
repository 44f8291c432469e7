// What works on rows [rows, n] as a whole: softmax, normalisation, cross-entropy, and the softmax of attention. A row of
// threads takes a row, a warp or a block as the launch says; means and variances are added up in f64.
#include "common.cuh"

#define ROW(n_)                                                                                                        \
    size_t row = row_of_thread();                                                                                      \
    if (row >= rows) return;                                                                                           \
    size_t at = row * (n_);
#define ALONG(i, n) for (size_t i = threadIdx.x; i < (n); i += blockDim.x)

template <class T> __device__ __forceinline__ T largest_of(const T *x, size_t n) {
    T most = (T)-INFINITY;
    ALONG(i, n) most = Larger::of(x[i], most);
    return join_row<Larger>(most);
}

// The sum over the 8 threads of a column in a block of (32, 8). All of the block must call; all get it.
__device__ __forceinline__ double join_column(double value, double (*of_threads)[32]) {
    __syncthreads();
    of_threads[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    value = of_threads[0][threadIdx.x];
    for (int y = 1; y < 8; y++) value += of_threads[y][threadIdx.x];
    return value;
}

#define ROWS(T, NAME)                                                                                                  \
    extern "C" __global__ void softmax_##NAME(size_t rows, Size n, int logarithm, const T *x, T *y) {                  \
        ROW(n)                                                                                                         \
        T most = largest_of(x + at, n);                                                                                \
        double sum = 0.0;                                                                                              \
        ALONG(i, n) sum += (double)exp(x[at + i] - most);                                                              \
        sum = join_row<Sum>(sum);                                                                                      \
        T shift = (T)log(sum), factor = (T)(1.0 / sum);                                                                \
        ALONG(i, n) y[at + i] = logarithm ? (x[at + i] - most) - shift : exp(x[at + i] - most) * factor;               \
    }                                                                                                                  \
    extern "C" __global__ void softmax_backward_##NAME(size_t rows, Size n, int logarithm, const T *y, const T *d,     \
                                                       T *dx) {                                                        \
        ROW(n)                                                                                                         \
        double sum = 0.0;                                                                                              \
        ALONG(i, n) sum += (double)d[at + i] * (logarithm ? 1.0 : (double)y[at + i]);                                  \
        T along = (T)join_row<Sum>(sum);                                                                               \
        ALONG(i, n) dx[at + i] =                                                                                       \
            logarithm ? d[at + i] - exp(y[at + i]) * along : y[at + i] * (d[at + i] - along);                          \
    }                                                                                                                  \
    /* mean is absent for the root mean square. */                                                                     \
    extern "C" __global__ void norm_##NAME(size_t rows, Size n, double epsilon, const T *x, const T *weight,           \
                                           const T *bias, T *y, T *mean, T *rstd) {                                    \
        ROW(n)                                                                                                         \
        double centre = 0.0, squares = 0.0;                                                                            \
        if (mean) {                                                                                                    \
            ALONG(i, n) centre += (double)x[at + i];                                                                   \
            centre = join_row<Sum>(centre) / (double)n;                                                                \
        }                                                                                                              \
        ALONG(i, n) {                                                                                                  \
            double distance = (double)x[at + i] - centre;                                                              \
            squares += distance * distance;                                                                            \
        }                                                                                                              \
        squares = join_row<Sum>(squares);                                                                              \
        T m = (T)centre, r = (T)(1.0 / sqrt(squares / (double)n + epsilon));                                           \
        if (threadIdx.x == 0) {                                                                                        \
            if (mean) mean[row] = m;                                                                                   \
            rstd[row] = r;                                                                                             \
        }                                                                                                              \
        ALONG(i, n) {                                                                                                  \
            T value = (x[at + i] - m) * r;                                                                             \
            if (weight) value *= weight[i];                                                                            \
            if (bias) value += bias[i];                                                                                \
            y[at + i] = value;                                                                                         \
        }                                                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void norm_backward_##NAME(size_t rows, Size n, const T *x, const T *weight, const T *mean,   \
                                                    const T *rstd, const T *d, T *dx) {                                \
        ROW(n)                                                                                                         \
        T m = mean ? mean[row] : (T)0, r = rstd[row];                                                                  \
        double sum = 0.0, along = 0.0;                                                                                 \
        ALONG(i, n) {                                                                                                  \
            T g = weight ? d[at + i] * weight[i] : d[at + i];                                                          \
            sum += (double)g;                                                                                          \
            along += (double)(g * ((x[at + i] - m) * r));                                                              \
        }                                                                                                              \
        T shift = mean ? (T)(join_row<Sum>(sum) / (double)n) : (T)0;                                                   \
        T slope = (T)(join_row<Sum>(along) / (double)n);                                                               \
        ALONG(i, n) {                                                                                                  \
            T g = weight ? d[at + i] * weight[i] : d[at + i];                                                          \
            dx[at + i] = r * (g - shift - (x[at + i] - m) * r * slope);                                                \
        }                                                                                                              \
    }                                                                                                                  \
    /* Of weight and bias: sums over the rows of each chunk, dw and db [chunks, n]. Blocks are (32, 8). */             \
    extern "C" __global__ void norm_weights_##NAME(size_t rows, Size n, const T *x, const T *mean, const T *rstd,      \
                                                   const T *d, double *dw, double *db) {                               \
        __shared__ double of_threads[8][32];                                                                           \
        size_t column = (size_t)blockIdx.x * 32 + threadIdx.x;                                                         \
        Part part = part_of(rows, gridDim.y, blockIdx.y);                                                              \
        double along = 0.0, sum = 0.0;                                                                                 \
        if (column < n) {                                                                                              \
            for (size_t row = part.first + threadIdx.y; row < part.end; row += 8) {                                    \
                T g = d[row * n + column], m = mean ? mean[row] : (T)0;                                                \
                along += (double)(g * ((x[row * n + column] - m) * rstd[row]));                                        \
                sum += (double)g;                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        along = join_column(along, of_threads);                                                                        \
        sum = join_column(sum, of_threads);                                                                            \
        if (threadIdx.y == 0 && column < n) {                                                                          \
            if (dw) dw[blockIdx.y * n + column] = along;                                                               \
            if (db) db[blockIdx.y * n + column] = sum;                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void cross_entropy_##NAME(size_t rows, Size n, double smoothing, const T *x,                 \
                                                    const uint32_t *target, T *lse, double *loss) {                    \
        ROW(n)                                                                                                         \
        T most = largest_of(x + at, n);                                                                                \
        double sum = 0.0, all = 0.0;                                                                                   \
        ALONG(i, n) sum += (double)exp(x[at + i] - most);                                                              \
        double l = (double)most + log(join_row<Sum>(sum));                                                             \
        if (smoothing > 0.0) {                                                                                         \
            ALONG(i, n) all += (double)x[at + i];                                                                      \
            all = join_row<Sum>(all);                                                                                  \
        }                                                                                                              \
        if (threadIdx.x == 0) {                                                                                        \
            lse[row] = (T)l;                                                                                           \
            double value = (1.0 - smoothing) * (l - (double)x[at + target[row]]);                                      \
            loss[row] = smoothing > 0.0 ? value + smoothing * (l - all / (double)n) : value;                           \
        }                                                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void cross_entropy_backward_##NAME(size_t rows, Size n, double smoothing, double share,      \
                                                             const T *d, const T *x, const T *lse,                     \
                                                             const uint32_t *target, T *dx) {                          \
        T scale = (T)((double)*d * share), spread = (T)(smoothing / (double)n);                                        \
        T chosen = (T)((1.0 - smoothing) * ((double)*d * share));                                                      \
        EACH(i, rows * n) {                                                                                            \
            size_t row = i / n;                                                                                        \
            T value = scale * (exp(x[i] - lse[row]) - spread);                                                         \
            dx[i] = i % n == target[row] ? value - chosen : value;                                                     \
        }                                                                                                              \
    }                                                                                                                  \
    /* Scores [heads, queries, n] of a block of queries, the first of them being query `first`, become probabilities:  \
       softmax(scale scores + mask), where causal hides what comes after the query. lse [heads, all queries]. */       \
    extern "C" __global__ void attend_##NAME(size_t rows, Size n, Size queries, size_t first, size_t all,              \
                                             double scale, int causal, const T *mask, size_t of_head, T *scores, T *lse) { \
        ROW(n)                                                                                                         \
        size_t head = row / queries, query = first + row % queries;                                                    \
        size_t seen = causal && query + 1 < n ? query + 1 : n;                                                         \
        T *s = scores + at;                                                                                            \
        const T *added = mask ? mask + head * of_head + query * n : 0;                                                 \
        ALONG(i, seen) s[i] = added ? s[i] * (T)scale + added[i] : s[i] * (T)scale;                                    \
        T most = largest_of(s, seen);                                                                                  \
        bool nothing = most == (T)-INFINITY;                                                                           \
        double sum = 0.0;                                                                                              \
        ALONG(i, seen) {                                                                                               \
            s[i] = nothing ? (T)0 : exp(s[i] - most);                                                                  \
            sum += (double)s[i];                                                                                       \
        }                                                                                                              \
        sum = join_row<Sum>(sum);                                                                                      \
        T factor = nothing ? (T)0 : (T)(1.0 / sum);                                                                    \
        ALONG(i, n) s[i] = i < seen ? s[i] * factor : (T)0;                                                            \
        if (threadIdx.x == 0) lse[head * all + query] = nothing ? most : most + log((T)sum);                           \
    }                                                                                                                  \
    /* Scores become probabilities again, and dp = d_out v^T becomes ds = p (dp - d_out out). */                       \
    extern "C" __global__ void attend_backward_##NAME(size_t rows, Size n, Size queries, size_t first, size_t all,     \
                                                      double scale, int causal, const T *mask, size_t of_head,         \
                                                      const T *lse, size_t width, const T *out, const T *d_out,        \
                                                      T *scores, T *dp) {                                              \
        ROW(n)                                                                                                         \
        size_t head = row / queries, query = first + row % queries;                                                    \
        size_t seen = causal && query + 1 < n ? query + 1 : n;                                                         \
        T l = lse[head * all + query];                                                                                 \
        if (l == (T)-INFINITY) seen = 0;                                                                               \
        const T *added = mask ? mask + head * of_head + query * n : 0;                                                 \
        size_t of_query = (head * all + query) * width;                                                                \
        double sum = 0.0;                                                                                              \
        ALONG(i, width) sum += (double)(out[of_query + i] * d_out[of_query + i]);                                      \
        T along = (T)join_row<Sum>(sum);                                                                               \
        ALONG(i, n) {                                                                                                  \
            T score = added && i < seen ? scores[at + i] * (T)scale + added[i] : scores[at + i] * (T)scale;            \
            T p = i < seen ? exp(score - l) : (T)0;                                                                    \
            scores[at + i] = p;                                                                                        \
            dp[at + i] = i < seen ? p * (dp[at + i] - along) : (T)0;                                                   \
        }                                                                                                              \
    }                                                                                                                  \
    /* Mean and sum of squared distances from it of each channel of x [batch, channels, inner] in one of the parts of  \
       its elements: parts [chunks, 2, channels]. The grid is (channels, chunks). */                                   \
    extern "C" __global__ void batch_norm_part_##NAME(size_t batch, Size channels, Size inner, const T *x,             \
                                                      double *parts) {                                                 \
        size_t channel = blockIdx.x, count = batch * inner;                                                            \
        Part part = part_of(count, gridDim.y, blockIdx.y);                                                             \
        double mean = 0.0, squares = 0.0;                                                                              \
        for (size_t i = part.first + threadIdx.x; i < part.end; i += blockDim.x) {                                     \
            mean += (double)x[(i / inner * channels + channel) * inner + i % inner];                                   \
        }                                                                                                              \
        mean = join_row<Sum>(mean) / (double)(part.end - part.first);                                                  \
        for (size_t i = part.first + threadIdx.x; i < part.end; i += blockDim.x) {                                     \
            double distance = (double)x[(i / inner * channels + channel) * inner + i % inner] - mean;                  \
            squares += distance * distance;                                                                            \
        }                                                                                                              \
        squares = join_row<Sum>(squares);                                                                              \
        if (threadIdx.x == 0) {                                                                                        \
            parts[2 * blockIdx.y * channels + channel] = mean;                                                         \
            parts[(2 * blockIdx.y + 1) * channels + channel] = squares;                                                \
        }                                                                                                              \
    }                                                                                                                  \
    /* The same where inner is 1: threads along x take neighbouring channels. Blocks are (32, 8). */                   \
    extern "C" __global__ void batch_norm_part_columns_##NAME(size_t batch, Size channels, const T *x, double *parts) {\
        __shared__ double of_threads[8][32];                                                                           \
        size_t channel = (size_t)blockIdx.x * 32 + threadIdx.x;                                                        \
        Part part = part_of(batch, gridDim.y, blockIdx.y);                                                             \
        double mean = 0.0, squares = 0.0;                                                                              \
        if (channel < channels) {                                                                                      \
            for (size_t i = part.first + threadIdx.y; i < part.end; i += 8) mean += (double)x[i * channels + channel]; \
        }                                                                                                              \
        mean = join_column(mean, of_threads) / (double)(part.end - part.first);                                        \
        if (channel < channels) {                                                                                      \
            for (size_t i = part.first + threadIdx.y; i < part.end; i += 8) {                                          \
                double distance = (double)x[i * channels + channel] - mean;                                            \
                squares += distance * distance;                                                                        \
            }                                                                                                          \
        }                                                                                                              \
        squares = join_column(squares, of_threads);                                                                    \
        if (threadIdx.y == 0 && channel < channels) {                                                                  \
            parts[2 * blockIdx.y * channels + channel] = mean;                                                         \
            parts[(2 * blockIdx.y + 1) * channels + channel] = squares;                                                \
        }                                                                                                              \
    }                                                                                                                  \
    /* Mean and 1 / deviation of each channel: from the parts of `count` elements (Chan et al. 1979), by which the running\
       statistics move; without parts, from the running statistics. */                                                 \
    extern "C" __global__ void batch_norm_join_##NAME(size_t channels, size_t chunks, size_t count, double momentum,   \
                                                      double epsilon, const uint32_t *fault, const double *parts,      \
                                                      T *running_mean, T *running_variance, T *mean, T *rstd) {        \
        EACH(channel, channels) {                                                                                      \
            if (!parts) {                                                                                              \
                mean[channel] = running_mean[channel];                                                                 \
                rstd[channel] = (T)(1.0 / sqrt((double)running_variance[channel] + epsilon));                          \
                continue;                                                                                              \
            }                                                                                                          \
            double centre = 0.0, squares = 0.0, seen = 0.0;                                                            \
            for (size_t chunk = 0; chunk < chunks; chunk++) {                                                          \
                Part part = part_of(count, chunks, chunk);                                                             \
                double more = (double)(part.end - part.first);                                                         \
                double distance = parts[2 * chunk * channels + channel] - centre, all = seen + more;                   \
                centre += distance * (more / all);                                                                     \
                squares += parts[(2 * chunk + 1) * channels + channel] + distance * distance * (seen * more / all);    \
                seen = all;                                                                                            \
            }                                                                                                          \
            mean[channel] = (T)centre;                                                                                 \
            rstd[channel] = (T)(1.0 / sqrt(squares / (double)count + epsilon));                                        \
            if (*fault) continue;                                                                                      \
            running_mean[channel] = (T)((1.0 - momentum) * (double)running_mean[channel] + momentum * centre);         \
            running_variance[channel] = (T)((1.0 - momentum) * (double)running_variance[channel] +                     \
                                            momentum * (squares / ((double)count - 1.0)));                             \
        }                                                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void batch_norm_apply_##NAME(Size n, Size channels, Size inner, const T *x,                  \
                                                       const T *weight, const T *bias, const T *mean, const T *rstd,   \
                                                       T *y) {                                                         \
        EACH(i, n) {                                                                                                   \
            size_t c = i / inner % channels;                                                                           \
            T factor = weight ? rstd[c] * weight[c] : rstd[c];                                                         \
            y[i] = (x[i] - mean[c]) * factor + (bias ? bias[c] : (T)0);                                                \
        }                                                                                                              \
    }                                                                                                                  \
    /* The gradients of weight and bias in one of the parts of each channel's elements: parts [chunks, 2, channels]. */\
    extern "C" __global__ void batch_norm_sums_##NAME(size_t batch, Size channels, Size inner, const T *x,             \
                                                      const T *mean, const T *rstd, const T *d, double *parts) {       \
        size_t channel = blockIdx.x, count = batch * inner;                                                            \
        Part part = part_of(count, gridDim.y, blockIdx.y);                                                             \
        T m = mean[channel], r = rstd[channel];                                                                        \
        double along = 0.0, sum = 0.0;                                                                                 \
        for (size_t i = part.first + threadIdx.x; i < part.end; i += blockDim.x) {                                     \
            size_t at = (i / inner * channels + channel) * inner + i % inner;                                          \
            along += (double)(d[at] * ((x[at] - m) * r));                                                              \
            sum += (double)d[at];                                                                                      \
        }                                                                                                              \
        along = join_row<Sum>(along);                                                                                  \
        sum = join_row<Sum>(sum);                                                                                      \
        if (threadIdx.x == 0) {                                                                                        \
            parts[2 * blockIdx.y * channels + channel] = along;                                                        \
            parts[(2 * blockIdx.y + 1) * channels + channel] = sum;                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void batch_norm_sums_columns_##NAME(size_t batch, Size channels, const T *x, const T *mean,  \
                                                              const T *rstd, const T *d, double *parts) {              \
        __shared__ double of_threads[8][32];                                                                           \
        size_t channel = (size_t)blockIdx.x * 32 + threadIdx.x;                                                        \
        Part part = part_of(batch, gridDim.y, blockIdx.y);                                                             \
        double along = 0.0, sum = 0.0;                                                                                 \
        if (channel < channels) {                                                                                      \
            T m = mean[channel], r = rstd[channel];                                                                    \
            for (size_t i = part.first + threadIdx.y; i < part.end; i += 8) {                                          \
                size_t at = i * channels + channel;                                                                    \
                along += (double)(d[at] * ((x[at] - m) * r));                                                          \
                sum += (double)d[at];                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
        along = join_column(along, of_threads);                                                                        \
        sum = join_column(sum, of_threads);                                                                            \
        if (threadIdx.y == 0 && channel < channels) {                                                                  \
            parts[2 * blockIdx.y * channels + channel] = along;                                                        \
            parts[(2 * blockIdx.y + 1) * channels + channel] = sum;                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void batch_norm_backward_##NAME(Size n, Size channels, Size inner, int training,             \
                                                          double count, const T *x, const T *weight, const T *mean,    \
                                                          const T *rstd, const T *dw, const T *db, const T *d, T *dx) { \
        EACH(i, n) {                                                                                                   \
            size_t c = i / inner % channels;                                                                           \
            T factor = weight ? rstd[c] * weight[c] : rstd[c];                                                         \
            T shift = training ? (T)((double)db[c] / count) : (T)0;                                                    \
            T slope = training ? (T)((double)dw[c] / count) : (T)0;                                                    \
            dx[i] = factor * (d[i] - shift - (x[i] - mean[c]) * rstd[c] * slope);                                      \
        }                                                                                                              \
    }
FLOATS(ROWS)
