// One step of a recurrent layer, forward and backward: what is left after the matrix products. Sequences are
// [batch, time, ..], gates [batch, time, 4 hidden] in the layouts of `cpu::rnn`.
#include "common.cuh"

template <class C> __device__ __forceinline__ C sigmoid(C x) { return C(1) / (C(1) + exp(-x)); }

#define STEP(T, NAME)                                                                                                  \
    /* Gates i, f, g, o from their arguments, in place; the cell and the output of step t. */                          \
    extern "C" __global__ void lstm_step_##NAME(size_t total, Size hidden, size_t time, size_t t, const T *c0,         \
                                                T *gates, T *cells, T *out) {                                          \
        EACH(index, total) {                                                                                           \
            size_t b = index / hidden, j = index % hidden, row = b * time + t;                                         \
            T *gate = gates + row * 4 * hidden + j;                                                                    \
            T i = sigmoid(gate[0]), f = sigmoid(gate[hidden]), g = tanh(gate[2 * hidden]), o = sigmoid(gate[3 * hidden]); \
            T cell = i * g;                                                                                            \
            if (t > 0) {                                                                                               \
                cell += f * cells[(row - 1) * hidden + j];                                                             \
            } else if (c0) {                                                                                           \
                cell += f * c0[index];                                                                                 \
            }                                                                                                          \
            gate[0] = i;                                                                                               \
            gate[hidden] = f;                                                                                          \
            gate[2 * hidden] = g;                                                                                      \
            gate[3 * hidden] = o;                                                                                      \
            cells[row * hidden + j] = cell;                                                                            \
            out[row * hidden + j] = o * tanh(cell);                                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    /* From dh and dc after step t, dh without the output's own gradient, to dc before it and the gates' gradients. */ \
    extern "C" __global__ void lstm_step_backward_##NAME(size_t total, Size hidden, size_t time, size_t t,             \
                                                         const T *c0, const T *gates, const T *cells, const T *d_out,  \
                                                         const T *dh, T *dc, T *d_gates) {                             \
        EACH(index, total) {                                                                                           \
            size_t b = index / hidden, j = index % hidden, row = b * time + t;                                         \
            const T *gate = gates + row * 4 * hidden + j;                                                              \
            T *d_gate = d_gates + row * 4 * hidden + j;                                                                \
            T i = gate[0], f = gate[hidden], g = gate[2 * hidden], o = gate[3 * hidden];                               \
            T h = d_out ? dh[index] + d_out[row * hidden + j] : dh[index];                                             \
            T y = tanh(cells[row * hidden + j]);                                                                       \
            T c = dc[index] + h * o * (T(1) - y * y);                                                                  \
            bool known = t > 0 || c0;                                                                                  \
            T past = t > 0 ? cells[(row - 1) * hidden + j] : (c0 ? c0[index] : T(0));                                  \
            d_gate[0] = c * g * i * (T(1) - i);                                                                        \
            d_gate[hidden] = known ? c * past * f * (T(1) - f) : T(0);                                                 \
            d_gate[2 * hidden] = c * i * (T(1) - g * g);                                                               \
            d_gate[3 * hidden] = h * y * o * (T(1) - o);                                                               \
            dc[index] = c * f;                                                                                         \
        }                                                                                                              \
    }                                                                                                                  \
    /* Gates n, r, z and U h + b' of n. */                                                                             \
    extern "C" __global__ void gru_step_##NAME(size_t total, Size hidden, size_t time, size_t t, const T *h0,          \
                                               T *gates, T *out) {                                                     \
        EACH(index, total) {                                                                                           \
            size_t b = index / hidden, j = index % hidden, row = b * time + t;                                         \
            T *gate = gates + row * 4 * hidden + j;                                                                    \
            T r = sigmoid(gate[hidden]), z = sigmoid(gate[2 * hidden]), n = tanh(gate[0] + r * gate[3 * hidden]);      \
            gate[0] = n;                                                                                               \
            gate[hidden] = r;                                                                                          \
            gate[2 * hidden] = z;                                                                                      \
            T h = n - z * n;                                                                                           \
            if (t > 0) {                                                                                               \
                h = n + z * (out[(row - 1) * hidden + j] - n);                                                         \
            } else if (h0) {                                                                                           \
                h = n + z * (h0[index] - n);                                                                           \
            }                                                                                                          \
            out[row * hidden + j] = h;                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    /* dh becomes the part of dh before step t that comes through z h alone. */                                        \
    extern "C" __global__ void gru_step_backward_##NAME(size_t total, Size hidden, size_t time, size_t t,              \
                                                        const T *h0, const T *gates, const T *out, const T *d_out,     \
                                                        T *dh, T *d_gates) {                                           \
        EACH(index, total) {                                                                                           \
            size_t b = index / hidden, j = index % hidden, row = b * time + t;                                         \
            const T *gate = gates + row * 4 * hidden + j;                                                              \
            T *d_gate = d_gates + row * 4 * hidden + j;                                                                \
            T n = gate[0], r = gate[hidden], z = gate[2 * hidden], from_hidden = gate[3 * hidden];                     \
            T h = d_out ? dh[index] + d_out[row * hidden + j] : dh[index];                                             \
            T past = t > 0 ? out[(row - 1) * hidden + j] : (h0 ? h0[index] : T(0));                                    \
            T dn = h * (T(1) - z) * (T(1) - n * n);                                                                    \
            d_gate[0] = dn;                                                                                            \
            d_gate[hidden] = dn * from_hidden * r * (T(1) - r);                                                        \
            d_gate[2 * hidden] = (past - n) * h * z * (T(1) - z);                                                      \
            d_gate[3 * hidden] = dn * r;                                                                               \
            dh[index] = h * z;                                                                                         \
        }                                                                                                              \
    }                                                                                                                  \
    /* The gates' biases into every row, before the products are added: columns `first` and on of a row of `width`. */ \
    extern "C" __global__ void fill_gates_##NAME(size_t total, Size columns, Size width, size_t first,                 \
                                                 const T *a, const T *b, T *gates) {                                   \
        EACH(i, total) {                                                                                               \
            size_t column = i % columns, row = i / columns;                                                            \
            T value = (a ? a[column] : T(0)) + (b ? b[column] : T(0));                                                 \
            gates[row * width + first + column] = value;                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    /* Zeros in the first step of each sample. */                                                                      \
    extern "C" __global__ void clear_first_##NAME(size_t total, size_t of_sample, Size width, T *d_gates) {            \
        EACH(i, total) d_gates[i / width * of_sample + i % width] = T(0);                                              \
    }
FLOATS(STEP)
