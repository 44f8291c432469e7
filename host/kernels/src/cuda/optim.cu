// Optimisers' steps: one launch over as many parameters as a table holds. Formulas are those of `cpu::optim`.
#include "common.cuh"

// Parameters in one launch, and elements that a block of 256 threads takes.
#define TENSORS 40
#define CHUNK 4096

// The blocks first_block[i] .. first_block[i + 1] work on tensor i. Factors are the rule's, for each tensor by itself.
struct Table {
    void *parameter[TENSORS];
    void *gradient[TENSORS];
    // f32 copies of f16 and bf16 parameters, where the steps add up.
    void *master[TENSORS];
    void *first[TENSORS];
    void *second[TENSORS];
    size_t count[TENSORS];
    double a[TENSORS];
    double b[TENSORS];
    uint32_t first_block[TENSORS + 1];
};

// The tensor that this block works on, and which of its elements.
struct Share {
    unsigned tensor;
    size_t start, end;
};
__device__ __forceinline__ Share share_of_block(const Table &table) {
    unsigned tensor = 0;
    while (blockIdx.x >= table.first_block[tensor + 1]) tensor++;
    size_t start = (size_t)(blockIdx.x - table.first_block[tensor]) * CHUNK, n = table.count[tensor];
    Share share = {tensor, start, start + CHUNK < n ? start + CHUNK : n};
    return share;
}
#define SHARE(i, share) for (size_t i = share.start + threadIdx.x; i < share.end; i += blockDim.x)

// P: of parameter and gradient; M: of master and moments, in which it is computed.
template <class P, class M>
__device__ void adam(const Table &table, const uint32_t *fault, double beta1, double beta2, double epsilon_, double added_, double kept_,
                     double unscale) {
    // Gradients of operands that an operation before this has refused mean nothing.
    if (*fault) return;
    Share share = share_of_block(table);
    unsigned t = share.tensor;
    P *parameter = (P *)table.parameter[t];
    const P *gradient = (const P *)table.gradient[t];
    M *master = (M *)table.master[t], *m = (M *)table.first[t], *v = (M *)table.second[t];
    // a: learning rate over the correction of the mean; b: root of the correction of the squares.
    const M rate = (M)table.a[t], root = (M)table.b[t], fresh1 = (M)(1.0 - beta1), b2 = (M)beta2;
    const M fresh2 = (M)(1.0 - beta2), epsilon = (M)epsilon_, added = (M)added_, kept = (M)kept_, scale = (M)unscale;
    SHARE(i, share) {
        M p = master ? master[i] : (M)load(parameter[i]);
        M g = (M)load(gradient[i]) * scale + added * p;
        M mean = m[i] + fresh1 * (g - m[i]), square = b2 * v[i] + fresh2 * g * g;
        p = kept * p - rate * mean / (sqrt(square) / root + epsilon);
        m[i] = mean;
        v[i] = square;
        if (master) master[i] = p;
        parameter[i] = Store<P>::of(p);
    }
}

template <class P, class M>
__device__ void sgd(const Table &table, const uint32_t *fault, double rate_, double decay_, double of_gradient_,
                    double of_buffer_, double unscale) {
    if (*fault) return;
    Share share = share_of_block(table);
    unsigned t = share.tensor;
    P *parameter = (P *)table.parameter[t];
    const P *gradient = (const P *)table.gradient[t];
    M *master = (M *)table.master[t], *buffer = (M *)table.first[t];
    // a: what is kept of the buffer; b: what the gradient adds to it.
    const M rate = (M)rate_, decay = (M)decay_, kept = (M)table.a[t], fresh = (M)table.b[t], scale = (M)unscale;
    const M of_gradient = (M)of_gradient_, of_buffer = (M)of_buffer_;
    SHARE(i, share) {
        M p = master ? master[i] : (M)load(parameter[i]);
        M g = (M)load(gradient[i]) * scale + decay * p, step = g;
        if (buffer) {
            M b = kept * buffer[i] + fresh * g;
            buffer[i] = b;
            step = of_gradient * g + of_buffer * b;
        }
        p -= rate * step;
        if (master) master[i] = p;
        parameter[i] = Store<P>::of(p);
    }
}

#define OPTIMISER(P, M, NAME)                                                                                          \
    extern "C" __global__ void adam_##NAME(Table table, const uint32_t *fault, double beta1, double beta2,             \
                                           double epsilon, double added, double kept, double unscale) {                \
        adam<P, M>(table, fault, beta1, beta2, epsilon, added, kept, unscale);                                         \
    }                                                                                                                  \
    extern "C" __global__ void sgd_##NAME(Table table, const uint32_t *fault, double rate, double decay,               \
                                          double of_gradient, double of_buffer, double unscale) {                      \
        sgd<P, M>(table, fault, rate, decay, of_gradient, of_buffer, unscale);                                         \
    }                                                                                                                  \
    /* The sum of the squares of each block's part of the gradients; an infinite or NaN element makes it so. */        \
    extern "C" __global__ void gradient_squares_##NAME(Table table, double *parts) {                                   \
        Share share = share_of_block(table);                                                                           \
        unsigned t = share.tensor;                                                                                     \
        const P *gradient = (const P *)table.gradient[t];                                                              \
        double sum = 0.0;                                                                                              \
        SHARE(i, share) {                                                                                              \
            double g = (double)load(gradient[i]);                                                                      \
            sum += g * g;                                                                                              \
        }                                                                                                              \
        sum = join_row<Sum>(sum);                                                                                      \
        if (threadIdx.x == 0) parts[blockIdx.x] = sum;                                                                 \
    }                                                                                                                  \
    /* Each gradient times a factor, in place. */                                                                      \
    extern "C" __global__ void scale_##NAME(Table table, double factor_) {                                             \
        Share share = share_of_block(table);                                                                           \
        unsigned t = share.tensor;                                                                                     \
        P *x = (P *)table.gradient[t];                                                                                 \
        const M factor = (M)factor_;                                                                                   \
        SHARE(i, share) x[i] = Store<P>::of(load(x[i]) * factor);                                                      \
    }                                                                                                                  \
    /* Each element of the gradients into -limit .. limit, in place; NaN stays. */                                     \
    extern "C" __global__ void limit_##NAME(Table table, double limit_) {                                              \
        Share share = share_of_block(table);                                                                           \
        unsigned t = share.tensor;                                                                                     \
        P *x = (P *)table.gradient[t];                                                                                 \
        const M limit = (M)limit_;                                                                                     \
        SHARE(i, share) {                                                                                              \
            M value = load(x[i]);                                                                                      \
            value = value < -limit ? -limit : value;                                                                   \
            x[i] = Store<P>::of(value > limit ? limit : value);                                                        \
        }                                                                                                              \
    }
OPTIMISER(float, float, f32)
OPTIMISER(double, double, f64)
OPTIMISER(__half, float, f16)
OPTIMISER(__nv_bfloat16, float, bf16)
