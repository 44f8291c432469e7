// libcurand.so.10: numbers that are reproducible and well distributed, and not those of the library.

#define CUDA_EMULATOR_LIBRARY
#include "../include/cuda_emulator.h"
#include "emulator.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

using namespace cuda_emulator;

namespace {

enum Status : int { OK = 0, NOT_READY = 101, WRONG_LENGTH = 105, LAUNCH_FAILURE = 201, FAILED = 203 };

struct Generator {
    int card;
    uint64_t seed = 0, drawn = 0;
    void *stream = nullptr;
};

/// Splitmix64 of the seed and a counter.
uint64_t draw(Generator &generator) {
    uint64_t z = generator.seed * 0x9e3779b97f4a7c15ull + ++generator.drawn * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
/// In (0, 1].
double unit(Generator &generator) { return double((draw(generator) >> 11) + 1) / 9007199254740992.0; }
double normal(Generator &generator) {
    double radius = std::sqrt(-2.0 * std::log(unit(generator)));
    return radius * std::cos(6.28318530717958647692 * unit(generator));
}

template <typename T, typename F> int generate(Generator *generator, T *out, size_t count, bool pairs, F next) {
    if (!generator)
        return NOT_READY;
    if (enter(generator->card))
        return LAUNCH_FAILURE;
    if (generator->card != current_card())
        die("curand: the generator belongs to the context of card %d, and the thread's context is that of card %d", generator->card, current_card());
    auto stream = stream_of(generator->stream, generator->card);
    if (!stream)
        die("curand: the generator's stream has been destroyed");
    Plan plan = planned_launch(generator->card);
    if (plan.refused)
        return LAUNCH_FAILURE;
    if (pairs && count % 2 != 0)
        return WRONG_LENGTH;
    auto check = [=] {
        if (count > 0 && !allocated(out, count * sizeof(T)))
            die("curand: %zu numbers are written to %p, which is %s", count, static_cast<void *>(out), describe(out).c_str());
    };
    check();
    // Drawn at once, and written when the stream comes to it.
    auto numbers = std::make_shared<std::vector<T>>(count);
    for (T &number : *numbers)
        number = next(*generator);
    cuda_emulator::count("launch");
    trace("random %zu numbers", count);
    launch_in_order(stream, plan, [=] {
        check();
        memcpy(out, numbers->data(), count * sizeof(T));
    });
    return OK;
}

} // namespace

extern "C" {
int curandCreateGenerator(Generator **generator, int) {
    if (enter() || current_card() < 0)
        return FAILED;
    *generator = new Generator{current_card()};
    return OK;
}
int curandDestroyGenerator(Generator *generator) {
    delete generator;
    return OK;
}
int curandSetStream(Generator *generator, void *stream) {
    if (!generator)
        return NOT_READY;
    generator->stream = stream;
    return OK;
}
int curandSetPseudoRandomGeneratorSeed(Generator *generator, unsigned long long seed) {
    if (!generator)
        return NOT_READY;
    generator->seed = seed;
    generator->drawn = 0;
    return OK;
}
int curandSetGeneratorOffset(Generator *generator, unsigned long long offset) {
    if (!generator)
        return NOT_READY;
    generator->drawn = offset;
    return OK;
}
int curandGenerate(Generator *generator, unsigned *out, size_t count) {
    return generate(generator, out, count, false, [](Generator &g) { return unsigned(draw(g) >> 32); });
}
int curandGenerateLongLong(Generator *generator, unsigned long long *out, size_t count) {
    return generate(generator, out, count, false, [](Generator &g) { return (unsigned long long)draw(g); });
}
int curandGenerateUniform(Generator *generator, float *out, size_t count) {
    return generate(generator, out, count, false, [](Generator &g) { return std::fmax(float(unit(g)), 1.17549435e-38f); });
}
int curandGenerateUniformDouble(Generator *generator, double *out, size_t count) {
    return generate(generator, out, count, false, [](Generator &g) { return unit(g); });
}
int curandGenerateNormal(Generator *generator, float *out, size_t count, float mean, float deviation) {
    return generate(generator, out, count, true, [=](Generator &g) { return float(mean + deviation * normal(g)); });
}
int curandGenerateNormalDouble(Generator *generator, double *out, size_t count, double mean, double deviation) {
    return generate(generator, out, count, true, [=](Generator &g) { return mean + deviation * normal(g); });
}
int curandGenerateLogNormal(Generator *generator, float *out, size_t count, float mean, float deviation) {
    return generate(generator, out, count, true, [=](Generator &g) { return float(std::exp(mean + deviation * normal(g))); });
}
int curandGenerateLogNormalDouble(Generator *generator, double *out, size_t count, double mean, double deviation) {
    return generate(generator, out, count, true, [=](Generator &g) { return std::exp(mean + deviation * normal(g)); });
}
}
