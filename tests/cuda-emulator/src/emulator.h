// What the stand-in libraries share: the cards, their memory, what is to go wrong, and what has been done.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

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
    OPERATING_SYSTEM = 304,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_FINISHED = 600,
    LAUNCH_OUT_OF_RESOURCES = 701,
    ASSERT = 710,
    NOT_SUPPORTED = 801,
    UNKNOWN = 999,
};

constexpr int MAX_CARDS = 16;
constexpr uint64_t SHARED_MEMORY = 227 << 10, SHARED_MEMORY_BY_DEFAULT = 48 << 10;

/// How many cards the machine has, and the memory of each. A card's number is the machine's, but where a function of the driver
/// counts those that it sees.
int cards();
uint64_t card_memory();
/// The cards that this process sees, in its order: what CUDA_VISIBLE_DEVICES says.
const std::vector<int> &visible();
/// A card's name for ever, as NVML writes it.
std::string uuid_of(int card);

/// Every call of a library comes by here. It waits while the driver hangs; then zero, or what the call has to give because the
/// card is lost or broken. `card`: -1 where the call is about none.
int enter(int card);
/// Waits while the file of CUDA_EMULATOR_HANG exists.
void hang();
/// The card is lost now: a file of CUDA_EMULATOR_LOST exists, or it did while this process used the card. -1: all of them are.
bool lost(int card);
/// From now on every call about the card gives this.
void stick(int card, int result);
/// Whether the card does nothing any more: it is lost, or a kernel has broken it.
bool broken(int card);
/// Whether this call (the N-th "init" or "alloc") is to fail. Zero, or the result.
int planned_failure(const char *kind, int card);
/// What is to go wrong with a launch: refused at once, or what calls give after it, or it never ends.
struct Plan {
    int refused = 0, afterwards = 0;
    bool hangs = false;
};
Plan planned_launch(int card);

/// The card of the calling thread's context; -1 without one.
int current_card();
void set_current_card(int card);
inline int enter() { return enter(current_card()); }
void retain(int card);
/// False where the context was not retained.
bool release(int card);
bool has_context(int card);

/// Memory of a card. The pointer is null, and the result not zero, where it cannot be had. `pooled`: from the card's pool.
int allocate(int card, size_t size, bool pooled, void **address);
/// What is freed stays with the pool if that is where it came from, as far as the pool keeps.
int free_memory(void *address);
/// An allocation is to be freed when its stream comes to it; false where there is none, or that has been said before.
bool will_be_freed(void *address);
/// How much a card's pool keeps of what is freed, what it has kept so far, and that it gives back all but so many bytes.
void set_pool_threshold(int card, uint64_t bytes);
uint64_t pool_threshold(int card);
uint64_t kept_by_pool(int card);
void trim_pool(int card, uint64_t bytes);
/// Of this process, with what the pool keeps.
uint64_t own_memory(int card);
/// Of all processes that share the card.
uint64_t used_memory(int card);
/// Whether these bytes lie in one allocation.
bool allocated(const void *address, size_t size);
/// Aborts with what has been written outside of the allocation that this address is in, if there is one and it has been.
void check_bounds(const void *address, const char *by);
/// The allocation that an address is in or near, in words.
std::string describe(const void *address);
/// The card that an address is on; -1 where it is on none.
int card_of(const void *address);
/// The allocation that these bytes lie in.
struct Range {
    uintptr_t start, end;
    int card;
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

/// Whether streams do what they are given late: when somebody waits for it. Without, everything is done at once.
bool late();
/// A stream is the address of this; the flags are the driver's.
struct Stream;
Stream *create_stream(int card, unsigned flags);
/// False where there is no such stream. What it has been given is done all the same.
bool destroy_stream(Stream *stream);
/// The stream that a call names by this handle; null where the card has none such.
std::shared_ptr<Stream> stream_of(void *handle, int card);
unsigned flags_of(const Stream &stream);
/// Does this after all that the stream has been given so far.
void in_order(const std::shared_ptr<Stream> &stream, std::function<void()> work);
void launch_in_order(const std::shared_ptr<Stream> &stream, const Plan &plan, std::function<void()> work);
/// All that a stream has been given until now.
struct Mark {
    std::shared_ptr<Stream> stream;
    uint64_t position = 0;
};
Mark mark_of(const std::shared_ptr<Stream> &stream);
/// Before the stream goes on, all up to the mark is done.
void wait_for(const std::shared_ptr<Stream> &stream, const Mark &mark);
bool reached(const Mark &mark);
/// Does all up to the mark; all that a card has been given; or one thing of it, for who asks again and again.
void finish(const Mark &mark);
void finish_card(int card);
bool come_nearer(const Mark &mark);

struct Kernel;
struct Launch {
    int card;
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
