// libcublas.so.13: products of matrices. Sums are kept in float (in double for double), whatever the elements are.

#define CUDA_EMULATOR_LIBRARY
#include "../include/cuda_emulator_halves.h"
#include "emulator.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <unordered_set>
#include <vector>

using namespace cuda_emulator;

namespace {

enum Status : int { OK = 0, NOT_READY = 1, INVALID = 7, FAILED = 13, UNSUPPORTED = 15 };
enum Operation : int { PLAIN = 0, TRANSPOSED = 1, CONJUGATED = 2 };
enum Type : int { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };
enum Compute : int {
    COMPUTE_16F = 64,
    COMPUTE_16F_PEDANTIC = 65,
    COMPUTE_32F = 68,
    COMPUTE_32F_PEDANTIC = 69,
    COMPUTE_32F_FAST_16F = 74,
    COMPUTE_32F_FAST_16BF = 75,
    COMPUTE_32F_FAST_TF32 = 77,
    COMPUTE_64F = 70,
    COMPUTE_64F_PEDANTIC = 71,
};
constexpr int TF32_MATH = 3;

struct Handle {
    int card;
    int mode = 0;
    void *stream = nullptr;
    int pointers = 0;
};

// What the last product was computed with, for tests.
std::atomic<int> last_mode{-1}, last_compute{-1};
std::atomic<uint64_t> products_in_tf32{0};

/// Ten digits after the point instead of 23: what a tensor core takes of a float.
float tf32(float value) {
    if (!std::isfinite(value))
        return value;
    return of_bits<float>((uint32_t(bits_of(value)) + 0x1000) & ~0x1fffu);
}

size_t size_of(int type) { return type == F64 ? 8 : type == F32 ? 4 : 2; }

double element(const void *at, int type, size_t index) {
    switch (type) {
    case F32: return static_cast<const float *>(at)[index];
    case F64: return static_cast<const double *>(at)[index];
    case F16: return float(static_cast<const __half *>(at)[index]);
    default: return float(static_cast<const __nv_bfloat16 *>(at)[index]);
    }
}

void store(void *at, int type, size_t index, double value) {
    switch (type) {
    case F32: static_cast<float *>(at)[index] = float(value); break;
    case F64: static_cast<double *>(at)[index] = value; break;
    case F16: static_cast<__half *>(at)[index] = __half(float(value)); break;
    default: static_cast<__nv_bfloat16 *>(at)[index] = __nv_bfloat16(float(value));
    }
}

/// A matrix as it lies in memory, by columns; `transposed`: as it is used.
struct Matrix {
    const void *data;
    int type, leading;
    bool transposed;
};

/// Rows x columns of what is used, one column after the other.
template <typename T> std::vector<T> packed(const Matrix &m, int rows, int columns, bool to_tf32) {
    std::vector<T> out(size_t(rows) * columns);
    for (int column = 0; column < columns; column++)
        for (int row = 0; row < rows; row++) {
            size_t index = m.transposed ? size_t(row) * m.leading + column : size_t(column) * m.leading + row;
            T value = T(element(m.data, m.type, index));
            out[size_t(column) * rows + row] = to_tf32 ? T(tf32(float(value))) : value;
        }
    return out;
}

#if defined(__x86_64__)
#define CUDA_EMULATOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CUDA_EMULATOR_CLONES
#endif

/// c[m] += the columns of a [m, k] times b[k].
template <typename T> inline __attribute__((always_inline)) void column(int m, int k, const T *__restrict a, const T *__restrict b, T *__restrict c) {
    int p = 0;
    for (; p + 4 <= k; p += 4) {
        const T *a0 = a + size_t(p) * m, *a1 = a0 + m, *a2 = a1 + m, *a3 = a2 + m;
        T b0 = b[p], b1 = b[p + 1], b2 = b[p + 2], b3 = b[p + 3];
        for (int i = 0; i < m; i++)
            c[i] = (((c[i] + a0[i] * b0) + a1[i] * b1) + a2[i] * b2) + a3[i] * b3;
    }
    for (; p < k; p++)
        for (int i = 0; i < m; i++)
            c[i] += a[size_t(p) * m + i] * b[p];
}
CUDA_EMULATOR_CLONES void column_f32(int m, int k, const float *a, const float *b, float *c) { column(m, k, a, b, c); }
CUDA_EMULATOR_CLONES void column_f64(int m, int k, const double *a, const double *b, double *c) { column(m, k, a, b, c); }

template <typename T>
void product(int m, int n, int k, double alpha, const Matrix &a, const Matrix &b, double beta, void *c, int type, int leading, bool to_tf32) {
    std::vector<T> left = packed<T>(a, m, k, to_tf32), right = packed<T>(b, k, n, to_tf32), sums(size_t(std::max(m, 1)));
    // So many columns of the left side that they stay in the cache.
    for (int j = 0; j < n; j++) {
        std::fill(sums.begin(), sums.end(), T(0));
        if constexpr (sizeof(T) == 8)
            column_f64(m, k, left.data(), right.data() + size_t(j) * k, sums.data());
        else
            column_f32(m, k, left.data(), right.data() + size_t(j) * k, sums.data());
        for (int i = 0; i < m; i++) {
            size_t index = size_t(j) * leading + i;
            // What is to be multiplied by zero is not looked at: it may be anything.
            double value = alpha * double(sums[size_t(i)]);
            if (beta != 0.0)
                value += beta * element(c, type, index);
            store(c, type, index, T(value));
        }
    }
}

/// The elements from a matrix's first to its last.
size_t extent(int rows, int columns, int leading) {
    return rows == 0 || columns == 0 ? 0 : size_t(columns - 1) * leading + rows;
}

void inside(const char *function, const char *name, const void *data, size_t elements, int type) {
    size_t bytes = elements * size_of(type);
    if (bytes > 0 && !allocated(data, bytes))
        die("%s: matrix %s takes %zu bytes from %p, which is %s", function, name, bytes, data, describe(data).c_str());
    if (bytes > 0 && reinterpret_cast<uintptr_t>(data) % size_of(type) != 0)
        die("%s: matrix %s begins at %p, which is not aligned to its elements", function, name, data);
}

/// What cublasGemmEx takes, by its table in NVIDIA's documentation. A and B are of one type.
bool takes(int compute, int in, int out) {
    switch (compute) {
    case COMPUTE_16F:
    case COMPUTE_16F_PEDANTIC: return in == F16 && out == F16;
    case COMPUTE_32F:
    case COMPUTE_32F_PEDANTIC: return (in == F16 || in == BF16 || in == F32) && (out == in || out == F32);
    case COMPUTE_32F_FAST_16F:
    case COMPUTE_32F_FAST_16BF:
    case COMPUTE_32F_FAST_TF32: return in == F32 && out == F32;
    case COMPUTE_64F:
    case COMPUTE_64F_PEDANTIC: return in == F64 && out == F64;
    default: return false;
    }
}

/// What stands in the way of any call that computes. Zero, or the status to give.
int blocked(const char *function, const Handle *handle, std::shared_ptr<Stream> *stream) {
    if (!handle)
        return NOT_READY;
    if (enter(handle->card))
        return FAILED;
    if (handle->card != current_card())
        die("%s: the handle belongs to the context of card %d, and the thread's context is that of card %d", function, handle->card, current_card());
    if (handle->pointers != 0)
        die("%s: factors in the card's memory (CUBLAS_POINTER_MODE_DEVICE) are not emulated", function);
    *stream = stream_of(handle->stream, handle->card);
    if (!*stream)
        die("%s: the stream of its handle has been destroyed", function);
    return OK;
}

/// The matrices of a product, one after the other, as they lie in memory.
struct Batch {
    const char *name;
    const void *data;
    int type, rows, columns, leading;
    long long stride;
    int count;

    const char *at(int i) const { return static_cast<const char *>(data) + i * stride * (long long)size_of(type); }
    size_t bytes() const { return extent(rows, columns, leading) * size_of(type); }
    void check(const char *function) const {
        for (int i : {0, count - 1})
            inside(function, name, at(i), extent(rows, columns, leading), type);
    }
    /// Each of the runs of bytes that lie side by side.
    template <typename F> void each_column(F f) const {
        for (int i = 0; i < (stride == 0 ? 1 : count); i++)
            for (int column = 0; column < columns && rows > 0; column++)
                f(at(i) + size_t(column) * leading * size_of(type), size_t(rows) * size_of(type));
    }
};

/// The result may not lie over what it is computed from.
void apart(const char *function, const Batch &in, const Batch &out) {
    auto ends = [](const Batch &batch) {
        auto first = reinterpret_cast<uintptr_t>(batch.at(0)), last = reinterpret_cast<uintptr_t>(batch.at(batch.count - 1));
        return std::make_pair(std::min(first, last), std::max(first, last) + batch.bytes());
    };
    auto [in_start, in_end] = ends(in);
    auto [out_start, out_end] = ends(out);
    if (in.bytes() == 0 || out.bytes() == 0 || in_end <= out_start || out_end <= in_start)
        return;
    // They may be columns of one and the same matrix.
    std::unordered_set<const char *> written;
    size_t step = std::min(size_of(in.type), size_of(out.type));
    out.each_column([&](const char *start, size_t bytes) {
        for (size_t i = 0; i < bytes; i += step)
            written.insert(start + i);
    });
    in.each_column([&](const char *start, size_t bytes) {
        for (size_t i = 0; i < bytes; i += step)
            if (written.count(start + i))
                die("%s: matrix C lies over matrix %s", function, in.name);
    });
}

int gemm(const char *function, Handle *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
         long long stride_a, const void *b, int b_type, int ldb, long long stride_b, const void *beta, void *c, int c_type, int ldc,
         long long stride_c, int batch, int compute) {
    std::shared_ptr<Stream> stream;
    if (int status = blocked(function, handle, &stream))
        return status;
    if (a_type != b_type || !takes(compute, a_type, c_type))
        return UNSUPPORTED;
    int rows_a = op_a == PLAIN ? m : k, columns_a = op_a == PLAIN ? k : m, rows_b = op_b == PLAIN ? k : n, columns_b = op_b == PLAIN ? n : k;
    if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < std::max(1, rows_a) || ldb < std::max(1, rows_b) || ldc < std::max(1, m) ||
        op_a < 0 || op_a > 2 || op_b < 0 || op_b > 2)
        return INVALID;
    bool wide = compute == COMPUTE_64F || compute == COMPUTE_64F_PEDANTIC;
    // The compute type says what the factors are.
    double by, add;
    if (wide) {
        by = *static_cast<const double *>(alpha);
        add = *static_cast<const double *>(beta);
    } else if (compute == COMPUTE_16F || compute == COMPUTE_16F_PEDANTIC) {
        by = float(*static_cast<const __half *>(alpha));
        add = float(*static_cast<const __half *>(beta));
    } else {
        by = *static_cast<const float *>(alpha);
        add = *static_cast<const float *>(beta);
    }
    if (m == 0 || n == 0 || batch == 0)
        return OK;
    Plan plan = planned_launch(handle->card);
    if (plan.refused)
        return FAILED;
    bool in_tf32 = a_type == F32 && compute != COMPUTE_32F_PEDANTIC && (compute == COMPUTE_32F_FAST_TF32 || (handle->mode & 7) == TF32_MATH);
    last_mode = handle->mode;
    last_compute = compute;
    if (in_tf32)
        products_in_tf32++;
    Batch left{"A", a, a_type, rows_a, columns_a, lda, stride_a, batch}, right{"B", b, b_type, rows_b, columns_b, ldb, stride_b, batch};
    Batch out{"C", c, c_type, m, n, ldc, stride_c, batch};
    for (const Batch &one : {left, right, out})
        one.check(function);
    if (batch > 1 && stride_c >= 0 && size_t(stride_c) < extent(m, n, ldc) && ldc == m)
        die("%s: the products of a batch lie over each other (stride %lld, %zu elements each)", function, stride_c, extent(m, n, ldc));
    apart(function, left, out);
    apart(function, right, out);
    count("gemm");
    trace("gemm %s m %d n %d k %d batch %d type %d compute %d tf32 %d", function, m, n, k, batch, c_type, compute, in_tf32);
    launch_in_order(stream, plan, [=] {
        for (const Batch &one : {left, right, out})
            one.check(function);
        for (int i = 0; i < batch; i++) {
            Matrix first{left.at(i), a_type, lda, op_a != PLAIN}, second{right.at(i), b_type, ldb, op_b != PLAIN};
            void *to = const_cast<char *>(out.at(i));
            if (wide)
                product<double>(m, n, k, by, first, second, add, to, c_type, ldc, false);
            else
                product<float>(m, n, k, by, first, second, add, to, c_type, ldc, in_tf32);
        }
    });
    return OK;
}

template <typename T>
int gemv(const char *function, Handle *handle, int op, int m, int n, const T *alpha, const T *a, int lda, const T *x, int step_x, const T *beta,
         T *y, int step_y) {
    std::shared_ptr<Stream> stream;
    if (int status = blocked(function, handle, &stream))
        return status;
    if (m < 0 || n < 0 || lda < std::max(1, m) || step_x <= 0 || step_y <= 0)
        return step_x < 0 || step_y < 0 ? UNSUPPORTED : INVALID;
    int in = op == PLAIN ? n : m, out = op == PLAIN ? m : n, type = sizeof(T) == 8 ? F64 : F32;
    if (out == 0)
        return OK;
    Plan plan = planned_launch(handle->card);
    if (plan.refused)
        return FAILED;
    bool in_tf32 = type == F32 && (handle->mode & 7) == TF32_MATH;
    last_mode = handle->mode;
    last_compute = type == F64 ? COMPUTE_64F : COMPUTE_32F;
    Batch matrix{"A", a, type, m, n, lda, 0, 1}, from{"x", x, type, 1, in, step_x, 0, 1}, to{"y", y, type, 1, out, step_y, 0, 1};
    for (const Batch &one : {matrix, from, to})
        one.check(function);
    count("gemm");
    trace("gemm %s m %d n %d type %d tf32 %d", function, m, n, type, in_tf32);
    launch_in_order(stream, plan, [=, by = *alpha, add = *beta] {
        for (const Batch &one : {matrix, from, to})
            one.check(function);
        for (int i = 0; i < out; i++) {
            T sum = 0;
            for (int p = 0; p < in; p++)
                sum += (op == PLAIN ? a[size_t(p) * lda + i] : a[size_t(i) * lda + p]) * x[size_t(p) * step_x];
            T value = by * sum;
            if (add != 0)
                value += add * y[size_t(i) * step_y];
            y[size_t(i) * step_y] = value;
        }
    });
    return OK;
}

} // namespace

extern "C" {

/// For tests: the mode of the last product's handle, its compute type, and how many have been computed in TF32.
int cublas_emulator_last_math_mode() { return last_mode; }
int cublas_emulator_last_compute_type() { return last_compute; }
uint64_t cublas_emulator_tf32_count() { return products_in_tf32; }

int cublasCreate_v2(Handle **handle) {
    if (enter() || current_card() < 0)
        return NOT_READY;
    *handle = new Handle{current_card()};
    return OK;
}
int cublasDestroy_v2(Handle *handle) {
    delete handle;
    return OK;
}
int cublasSetStream_v2(Handle *handle, void *stream) {
    if (!handle)
        return NOT_READY;
    handle->stream = stream;
    return OK;
}
int cublasGetStream_v2(Handle *handle, void **stream) {
    *stream = handle->stream;
    return OK;
}
int cublasSetWorkspace_v2(Handle *handle, void *, size_t) { return handle ? OK : NOT_READY; }
int cublasSetMathMode(Handle *handle, int mode) {
    if (!handle)
        return NOT_READY;
    handle->mode = mode;
    return OK;
}
int cublasGetMathMode(Handle *handle, int *mode) {
    if (!handle)
        return NOT_READY;
    *mode = handle->mode;
    return OK;
}
int cublasSetPointerMode_v2(Handle *handle, int mode) {
    if (!handle)
        return NOT_READY;
    handle->pointers = mode;
    return OK;
}
int cublasGetPointerMode_v2(Handle *handle, int *mode) {
    *mode = handle->pointers;
    return OK;
}
int cublasSetAtomicsMode(Handle *handle, int) { return handle ? OK : NOT_READY; }
int cublasGetVersion_v2(Handle *, int *version) {
    *version = 130000;
    return OK;
}
const char *cublasGetStatusString(int status) {
    switch (status) {
    case OK: return "success";
    case NOT_READY: return "the library was not initialized";
    case INVALID: return "an unsupported value or parameter was passed to the function";
    case FAILED: return "the function failed to launch on the GPU";
    case UNSUPPORTED: return "the functionality requested is not supported";
    default: return "an internal operation failed";
    }
}

int cublasGemmStridedBatchedEx(Handle *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
                               long long stride_a, const void *b, int b_type, int ldb, long long stride_b, const void *beta, void *c, int c_type,
                               int ldc, long long stride_c, int batch, int compute, int) {
    return gemm("cublasGemmStridedBatchedEx", handle, op_a, op_b, m, n, k, alpha, a, a_type, lda, stride_a, b, b_type, ldb, stride_b, beta, c,
                c_type, ldc, stride_c, batch, compute);
}
int cublasGemmEx(Handle *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda, const void *b,
                 int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int) {
    return gemm("cublasGemmEx", handle, op_a, op_b, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta, c, c_type, ldc, 0, 1, compute);
}

#define CUBLAS_EMULATOR_GEMM(letter, T, type, compute)                                                                         \
    int cublas##letter##gemm_v2(Handle *handle, int op_a, int op_b, int m, int n, int k, const T *alpha, const T *a, int lda,  \
                                const T *b, int ldb, const T *beta, T *c, int ldc) {                                           \
        return gemm("cublas" #letter "gemm", handle, op_a, op_b, m, n, k, alpha, a, type, lda, 0, b, type, ldb, 0, beta, c,    \
                    type, ldc, 0, 1, compute);                                                                                 \
    }                                                                                                                          \
    int cublas##letter##gemmStridedBatched(Handle *handle, int op_a, int op_b, int m, int n, int k, const T *alpha,            \
                                           const T *a, int lda, long long stride_a, const T *b, int ldb, long long stride_b,   \
                                           const T *beta, T *c, int ldc, long long stride_c, int batch) {                      \
        return gemm("cublas" #letter "gemmStridedBatched", handle, op_a, op_b, m, n, k, alpha, a, type, lda, stride_a, b,      \
                    type, ldb, stride_b, beta, c, type, ldc, stride_c, batch, compute);                                        \
    }
CUBLAS_EMULATOR_GEMM(S, float, F32, COMPUTE_32F)
CUBLAS_EMULATOR_GEMM(D, double, F64, COMPUTE_64F)
CUBLAS_EMULATOR_GEMM(H, __half, F16, COMPUTE_16F)

int cublasSgemv_v2(Handle *handle, int op, int m, int n, const float *alpha, const float *a, int lda, const float *x, int step_x,
                   const float *beta, float *y, int step_y) {
    return gemv("cublasSgemv", handle, op, m, n, alpha, a, lda, x, step_x, beta, y, step_y);
}
int cublasDgemv_v2(Handle *handle, int op, int m, int n, const double *alpha, const double *a, int lda, const double *x, int step_x,
                   const double *beta, double *y, int step_y) {
    return gemv("cublasDgemv", handle, op, m, n, alpha, a, lda, x, step_x, beta, y, step_y);
}
}
