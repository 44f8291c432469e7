// What all kernels share. Kernels come in the element types of their names: NAME_f32, NAME_f64, and where they compute
// f16 and bf16 as well, NAME_f16 and NAME_bf16. Sizes are size_t; tensors are contiguous and row-major.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>
#include <stdint.h>

// The type that an element is computed in.
template <class T> struct Computed { typedef T type; };
template <> struct Computed<__half> { typedef float type; };
template <> struct Computed<__nv_bfloat16> { typedef float type; };

__device__ __forceinline__ float load(float x) { return x; }
__device__ __forceinline__ double load(double x) { return x; }
__device__ __forceinline__ float load(__half x) { return __half2float(x); }
__device__ __forceinline__ float load(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T> struct Store {
    template <class C> static __device__ __forceinline__ T of(C x) { return (T)x; }
};
template <> struct Store<__half> {
    static __device__ __forceinline__ __half of(float x) { return __float2half_rn(x); }
};
template <> struct Store<__nv_bfloat16> {
    static __device__ __forceinline__ __nv_bfloat16 of(float x) { return __float2bfloat16_rn(x); }
};

// A size that places are divided by. No tensor has 2^32 elements, and a card divides 32 bits several times faster than 64.
struct Size {
    size_t value;
    __device__ __forceinline__ operator size_t() const { return value; }
};
__device__ __forceinline__ size_t operator/(size_t a, Size b) { return (uint32_t)a / (uint32_t)b.value; }
__device__ __forceinline__ size_t operator%(size_t a, Size b) { return (uint32_t)a % (uint32_t)b.value; }
__device__ __forceinline__ size_t operator/(uint32_t a, Size b) { return a / (uint32_t)b.value; }
__device__ __forceinline__ size_t operator%(uint32_t a, Size b) { return a % (uint32_t)b.value; }

// The element of this thread, and the distance to its next.
__device__ __forceinline__ size_t first_element() { return (size_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ size_t all_threads() { return (size_t)gridDim.x * blockDim.x; }
#define EACH(i, n) for (size_t i = first_element(); i < (n); i += all_threads())

// The part of n that a block takes: n is cut as evenly as can be, so that none is empty where there are no more parts than elements.
struct Part {
    size_t first, end;
};
__device__ __forceinline__ Part part_of(size_t n, size_t chunks, size_t chunk) {
    Part part = {n * chunk / chunks, n * (chunk + 1) / chunks};
    return part;
}

struct Sum {
    template <class C> static __device__ __forceinline__ C of(C a, C b) { return a + b; }
};
struct Larger {
    // NaN wins.
    template <class C> static __device__ __forceinline__ C of(C a, C b) { return a != a || a > b ? a : b; }
};

// Joins a value of each of the threads of a row: a row of threads lies along x, and is one thread, one warp, or the
// whole block. All of them get the result, and all must call.
template <class Join, class C> __device__ __forceinline__ C join_row(C value) {
    if (blockDim.x == 1) return value;
    for (int distance = 16; distance > 0; distance /= 2) {
        value = Join::of(value, __shfl_xor_sync(0xffffffffu, value, distance));
    }
    if (blockDim.x == 32) return value;
    __shared__ C of_warp[32];
    unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warp[warp] = value;
    __syncthreads();
    value = of_warp[0];
    for (unsigned i = 1; i < warps; i++) value = Join::of(value, of_warp[i]);
    return value;
}

// The row of this thread where rows lie along the grid, with blockDim.y of them in a block.
__device__ __forceinline__ size_t row_of_thread() { return (size_t)blockIdx.x * blockDim.y + threadIdx.y; }

#define FLOATS(KERNEL) KERNEL(float, f32) KERNEL(double, f64)
#define ALL_FLOATS(KERNEL) FLOATS(KERNEL) KERNEL(__half, f16) KERNEL(__nv_bfloat16, bf16)
