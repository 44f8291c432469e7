// Random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011), the same as `cpu::random`.
#pragma once

#include "common.cuh"

struct Words {
    uint32_t word[4];
};

__device__ __forceinline__ Words philox(uint64_t seed, uint64_t counter) {
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c0, p1 = (uint64_t)0xcd9e8d57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    Words words = {{c0, c1, c2, c3}};
    return words;
}

// The 64-bit word h, as a number from [0, 1) by its upper 53 bits.
__device__ __forceinline__ double unit(const Words &words, int h) {
    uint64_t word = (uint64_t)words.word[2 * h] | (uint64_t)words.word[2 * h + 1] << 32;
    return (double)(word >> 11) * (1.0 / 9007199254740992.0);
}
