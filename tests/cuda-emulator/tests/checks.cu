// Kernels that the emulator's own tests launch (host/kernels/tests/emulator.rs): some that are right, and some that are wrong in
// one way each.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

// ---- Right -----------------------------------------------------------------------------------------------------------------

// The sum of a block, by shuffles and by shared memory; threads beyond n have left.
extern "C" __global__ void sum_of_block(unsigned n, const float *in, float *out) {
    __shared__ float of_warp[32];
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float value = i < n ? in[i] : 0.0f;
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_down_sync(0xffffffffu, value, distance);
    if (lane == 0) of_warp[warp] = value;
    __syncthreads();
    if (warp > 0) return;
    value = lane < blockDim.x / 32 ? of_warp[lane] : 0.0f;
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    if (lane == 0) out[blockIdx.x] = value;
}

// What a shuffle of each kind gives, and each vote: nine rows of 32.
extern "C" __global__ void exchange(int *out) {
    int lane = threadIdx.x;
    out[lane] = __shfl_sync(0xffffffffu, lane * 10, 5);
    out[32 + lane] = __shfl_up_sync(0xffffffffu, lane, 3);
    out[64 + lane] = __shfl_down_sync(0xffffffffu, lane, 30);
    out[96 + lane] = __shfl_xor_sync(0xffffffffu, lane, 1, 8);
    out[128 + lane] = (int)__ballot_sync(0xffffffffu, lane % 2 == 1);
    out[160 + lane] = __any_sync(0xffffffffu, lane == 7) * 2 + __all_sync(0xffffffffu, lane < 31);
    out[192 + lane] = __reduce_max_sync(0xffffffffu, -lane);
    // Half of the warp alone.
    if (lane < 16) out[224 + lane] = __shfl_sync(0x0000ffffu, lane, lane + 1, 16);
    else out[224 + lane] = -1;
    out[256 + lane] = __syncthreads_count(lane < 5);
}

// Threads that have ended are not waited for.
extern "C" __global__ void early_return(unsigned n, int *out) {
    __shared__ int values[64];
    if (threadIdx.x >= n) return;
    values[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = values[n - 1 - threadIdx.x];
}

extern "C" __global__ void add_to(int *counter, float *sum, double *wide) {
    atomicAdd(counter, 1);
    atomicAdd(sum, 0.5f);
    atomicAdd(wide, 0.25);
    atomicMax(counter + 1, (int)(blockIdx.x * blockDim.x + threadIdx.x));
}

// Turns a row round in shared memory that the launch asks for.
extern "C" __global__ void turned_round(unsigned n, const float *in, float *out) {
    extern __shared__ __align__(16) float row[];
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) row[i] = in[i];
    __syncthreads();
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) out[i] = row[n - 1 - i];
}

// Steps that a warp takes by itself, kept apart by its own barrier.
extern "C" __global__ void steps_of_warp(int *out) {
    __shared__ int values[32];
    unsigned lane = threadIdx.x;
    values[lane] = lane;
    for (unsigned distance = 1; distance < 32; distance *= 2) {
        __syncwarp();
        int more = lane >= distance ? values[lane - distance] : 0;
        __syncwarp();
        values[lane] += more;
    }
    out[lane] = values[lane];
}

extern "C" __global__ void __launch_bounds__(64) halves(const float *in, uint16_t *as_half, uint16_t *as_bfloat) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    as_half[i] = __half_as_ushort(__float2half_rn(in[i]));
    as_bfloat[i] = __bfloat16_as_ushort(__float2bfloat16_rn(in[i]));
}

// Shared memory and the card's are not zero at first.
extern "C" __global__ void unwritten(float *out) {
    __shared__ float values[4];
    out[0] = values[1];
}

// The order in which blocks come.
extern "C" __global__ void order_of_blocks(int *counter, int *out) { out[blockIdx.x + gridDim.x * blockIdx.y] = atomicAdd(counter, 1); }

// A product and a sum as the compiler has them.
extern "C" __global__ void product_and_sum(float a, float b, float c, float *out) { out[0] = a * b + c; }

// Each rounded by itself.
extern "C" __global__ void product_then_sum(float a, float b, float c, float *out) {
    out[0] = __fadd_rn(__fmul_rn(a, b), c);
    out[1] = __fadd_rn(a * b, c);
    out[2] = __fmul_rn(a, b) + c;
    out[3] = (float)__dadd_rn(__dmul_rn(a, b), c);
}

struct Row {
    float *data;
    unsigned size;
    float factor;
};
extern "C" __global__ void scale_rows(Row row, bool twice) {
    unsigned i = threadIdx.x;
    if (i < row.size) row.data[i] *= twice ? 2 * row.factor : row.factor;
}

// ---- Wrong -----------------------------------------------------------------------------------------------------------------

extern "C" __global__ void writes_past_the_end(unsigned n, float *out) { out[n + threadIdx.x] = 1.0f; }

extern "C" __global__ void reads_past_the_end(unsigned n, const float *in, float *out) { out[0] = in[n]; }

extern "C" __global__ void reads_through_null(const float *none, float *out) { out[0] = none[3]; }

extern "C" __global__ void not_aligned(const float *in, float4 *out) { out[0] = *(const float4 *)(in + 1); }

extern "C" __global__ void past_shared(int *out) {
    __shared__ int values[32];
    values[threadIdx.x] = 0;
    __syncthreads();
    out[threadIdx.x] = values[threadIdx.x + 1];
}

extern "C" __global__ void past_asked_for(int *out) {
    extern __shared__ int row[];
    row[threadIdx.x] = 1;
    out[threadIdx.x] = row[threadIdx.x];
}

extern "C" __global__ void barrier_of_some(int *out) {
    if (threadIdx.x < 7) __syncthreads();
    else __shfl_sync(0xffffffffu, 1, 0);
    out[threadIdx.x] = 0;
}

extern "C" __global__ void two_barriers(int *out) {
    if (threadIdx.x < 7) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    out[threadIdx.x] = 0;
}

extern "C" __global__ void wrong_mask(int *out) { out[threadIdx.x] = __shfl_sync(0x1u, 1, 0); }

extern "C" __global__ void no_barrier(int *out) {
    __shared__ int values[64];
    values[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = values[63 - threadIdx.x];
}

extern "C" __global__ void no_barrier_before_the_next(int *out) {
    __shared__ int value;
    for (int i = 0; i < 2; i++) {
        if (threadIdx.x == 0) value = i;
        __syncthreads();
        out[threadIdx.x] = value;
    }
}

extern "C" __global__ void asserts(unsigned n, int *out) {
    assert(threadIdx.x < n);
    out[threadIdx.x] = 1;
}
