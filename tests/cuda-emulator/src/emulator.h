// What the stand-in libraries share: the cards, their memory, what is to go wrong, and what has been done.

#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

namespace cuda_emulator {

// Results of the driver's functions, by the driver's numbers.
enum Result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    LAUNCH_OUT_OF_RESOURCES = 701,
    ASSERT = 710,
    NOT_SUPPORTED = 801,
    UNKNOWN = 999,
};

constexpr int MAX_CARDS = 16;
constexpr uint64_t SHARED_MEMORY = 227 << 10, SHARED_MEMORY_BY_DEFAULT = 48 << 10;

/// How many cards there are, and the memory of each.
int cards();
uint64_t card_memory();

/// Every call of a library comes by here: whether the card is lost or broken. Zero, or what the call has to give.
int enter();
/// The card is lost now: the file of CUDA_EMULATOR_LOST exists, or it did while this process used a card.
bool lost();
/// From now on every call gives this.
void stick(int result);
/// Whether this call (one of its kind: "init", "alloc", "launch") is to fail. Zero, or the result.
int planned_failure(const char *kind);

/// The card of the calling thread's context; -1 without one.
int current_card();
void set_current_card(int card);
void retain(int card);
/// False where the context was not retained.
bool release(int card);
bool has_context(int card);

/// Memory of a card. The pointer is null, and the result not zero, where it cannot be had.
int allocate(int card, size_t size, void **address);
int free_memory(void *address);
/// Of all processes that share the card.
uint64_t used_memory(int card);
/// Whether these bytes lie in one allocation.
bool allocated(const void *address, size_t size);
/// Aborts with what has been written outside of the allocation that this address is in, if there is one and it has been.
void check_bounds(const void *address, const char *by);
/// The allocation that an address is in or near, in words.
std::string describe(const void *address);
/// The allocation that these bytes lie in.
struct Range {
    uintptr_t start, end;
};
bool range_of(uintptr_t address, size_t size, Range *range);

/// What a process does with a card, for the library that watches cards.
struct Use {
    int process;
    uint64_t bytes;
};
/// The processes with a context on a card; gives how many there are, of which `uses` gets at most `room`.
int processes(int card, Use *uses, int room);

void count(const char *what, uint64_t times = 1);
/// Appends a line to the file of CUDA_EMULATOR_TRACE.
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool tracing();
/// Says what went wrong and ends the process: for what only a bug does.
[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// Fresh memory holds NaN in each of the floating-point types, and large integers.
void poison(void *address, size_t size);

struct Kernel;
struct Launch {
    const Kernel *kernel;
    unsigned grid[3], block[3];
    unsigned dynamic_shared;
    void **arguments;
};
/// Runs a kernel to its end. The result is what later calls give, as launches do not wait for it on a card.
int run(const Launch &launch);
/// The static shared memory that a kernel has been seen to use.
unsigned static_shared(const Kernel *kernel);
/// Kernels may read these: a loaded library's own data.
void allow(const void *start, size_t size);

} // namespace cuda_emulator
