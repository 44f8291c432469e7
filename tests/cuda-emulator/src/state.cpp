// Cards, their memory and what is to go wrong with them, in libcuda_emulator.so.

#include "emulator.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace cuda_emulator {

// ---- What the environment says ---------------------------------------------------------------------------------------------

namespace {

struct Failure {
    std::string kind;
    uint64_t at = 1;
    int result = UNKNOWN;
};

struct Controls {
    uint64_t memory = 2ull << 30;
    int cards = 1;
    std::string share, lost, trace;
    std::vector<Failure> failures;

    Controls() {
        if (const char *text = getenv("CUDA_EMULATOR_MEMORY"))
            memory = number(text, "CUDA_EMULATOR_MEMORY");
        if (const char *text = getenv("CUDA_EMULATOR_CARDS"))
            cards = int(number(text, "CUDA_EMULATOR_CARDS"));
        if (cards > MAX_CARDS)
            die("CUDA_EMULATOR_CARDS is at most %d", MAX_CARDS);
        if (const char *text = getenv("CUDA_EMULATOR_SHARE"))
            share = text;
        if (const char *text = getenv("CUDA_EMULATOR_LOST"))
            lost = text;
        if (const char *text = getenv("CUDA_EMULATOR_TRACE"))
            trace = text;
        if (const char *text = getenv("CUDA_EMULATOR_FAIL")) {
            std::stringstream all(text);
            for (std::string one; std::getline(all, one, ',');) {
                std::stringstream parts(one);
                std::vector<std::string> words;
                for (std::string word; std::getline(parts, word, ':');)
                    words.push_back(word);
                bool counted = words.size() == 3 && (words[0] == "alloc" || words[0] == "launch");
                if (!counted && !(words.size() == 2 && words[0] == "init"))
                    die("CUDA_EMULATOR_FAIL takes init:CODE, alloc:N:CODE and launch:N:CODE, not `%s`", one.c_str());
                Failure failure{words[0]};
                if (counted)
                    failure.at = number(words[1].c_str(), "CUDA_EMULATOR_FAIL");
                failure.result = int(number(words.back().c_str(), "CUDA_EMULATOR_FAIL"));
                failures.push_back(failure);
            }
        }
    }

    static uint64_t number(const char *text, const char *name) {
        char *end = nullptr;
        uint64_t value = strtoull(text, &end, 10);
        if (*text < '0' || *text > '9' || *end != 0)
            die("%s takes a number, not `%s`", name, text);
        return value;
    }
};

Controls &controls() {
    static Controls *controls = new Controls;
    return *controls;
}

// ---- What processes share --------------------------------------------------------------------------------------------------

/// What one process holds. A process writes its own slot only, so that no lock is needed that a killed one could keep.
struct Slot {
    std::atomic<int32_t> process;
    std::atomic<uint64_t> started;
    std::atomic<uint64_t> bytes[MAX_CARDS];
    std::atomic<uint32_t> contexts[MAX_CARDS];
};
constexpr int SLOTS = 256;
struct Table {
    Slot slots[SLOTS];
};

/// When a process started, and whether it still runs; zero where that cannot be read.
uint64_t start_time(int process, bool *dead) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0)
        return 0;
    text[length] = 0;
    // The name in parentheses may hold anything.
    const char *rest = strrchr(text, ')');
    if (!rest || rest[1] == 0)
        return 0;
    *dead = rest[2] == 'Z' || rest[2] == 'X';
    uint64_t started = 0;
    int field = 2;
    for (const char *at = rest + 1; *at; at++)
        if (*at == ' ' && ++field == 22)
            started = strtoull(at + 1, nullptr, 10);
    return started;
}

bool is_dead(const Slot &slot) {
    int process = slot.process.load();
    if (process == getpid())
        return false;
    // A process that is shut in may not ask; then the other is taken to live.
    if (kill(process, 0) != 0 && errno == ESRCH)
        return true;
    bool dead = false;
    uint64_t started = start_time(process, &dead);
    return dead || (started != 0 && slot.started.load() != 0 && started != slot.started.load());
}

Table *table() {
    static Table *table = [] {
        void *memory = MAP_FAILED;
        const std::string &path = controls().share;
        if (path.empty()) {
            memory = mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        } else {
            int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
            if (file < 0 || ftruncate(file, sizeof(Table)) != 0)
                die("the file of CUDA_EMULATOR_SHARE, %s, cannot be used: %s", path.c_str(), strerror(errno));
            memory = mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            close(file);
        }
        if (memory == MAP_FAILED)
            die("no memory for the table of processes: %s", strerror(errno));
        return static_cast<Table *>(memory);
    }();
    return table;
}

std::atomic<Slot *> own{nullptr};

Slot *own_slot() {
    static std::mutex mutex;
    if (Slot *slot = own.load())
        return slot;
    std::lock_guard<std::mutex> guard(mutex);
    if (Slot *slot = own.load())
        return slot;
    bool dead = false;
    uint64_t started = start_time(getpid(), &dead);
    for (int turn = 0; turn < 2; turn++)
        for (Slot &slot : table()->slots) {
            int32_t holder = slot.process.load();
            if (holder != 0 && (turn == 0 || !is_dead(slot)))
                continue;
            if (!slot.process.compare_exchange_strong(holder, getpid()))
                continue;
            for (int card = 0; card < MAX_CARDS; card++) {
                slot.bytes[card] = 0;
                slot.contexts[card] = 0;
            }
            slot.started = started;
            own = &slot;
            return &slot;
        }
    die("more than %d processes share the card", SLOTS);
}

struct LeaveAtExit {
    ~LeaveAtExit() {
        if (Slot *slot = own.exchange(nullptr)) {
            for (int card = 0; card < MAX_CARDS; card++) {
                slot->bytes[card] = 0;
                slot->contexts[card] = 0;
            }
            slot->process = 0;
        }
    }
} leave_at_exit;

template <typename F> void each_living(F f) {
    for (Slot &slot : table()->slots)
        if (slot.process.load() != 0 && !is_dead(slot))
            f(slot);
}

// ---- Memory ----------------------------------------------------------------------------------------------------------------

constexpr size_t GUARD = 256, ALIGN = 256;
constexpr unsigned char GUARD_BYTE = 0xfb;

struct Allocation {
    uintptr_t start;
    size_t size;
    int card;
    unsigned long number;
    void *block;
};

std::mutex mutex;
std::map<uintptr_t, Allocation> &allocations() {
    static auto *map = new std::map<uintptr_t, Allocation>;
    return *map;
}

/// The last allocation that starts at or before an address.
const Allocation *before(uintptr_t address) {
    auto &map = allocations();
    auto after = map.upper_bound(address);
    return after == map.begin() ? nullptr : &std::prev(after)->second;
}

void check_guards(const Allocation &a, const char *by) {
    auto *start = reinterpret_cast<unsigned char *>(a.start);
    for (size_t i = 0; i < GUARD; i++) {
        if (start[-1 - ptrdiff_t(i)] != GUARD_BYTE)
            die("%s wrote %zu bytes before the start of an allocation (number %lu, %zu bytes)", by, i + 1, a.number, a.size);
        if (start[a.size + i] != GUARD_BYTE)
            die("%s wrote %zu bytes past the end of an allocation (number %lu, %zu bytes)", by, i, a.number, a.size);
    }
}

// ---- Counters --------------------------------------------------------------------------------------------------------------

std::mutex counting;
std::map<std::string, uint64_t> &counters() {
    static auto *map = new std::map<std::string, uint64_t>;
    return *map;
}

std::atomic<int> sticky{0};
std::atomic<bool> was_lost{false};
std::atomic<int> retained[MAX_CARDS];
std::atomic<uint64_t> launches{0}, allocs{0}, inits{0};
thread_local int current = -1;

} // namespace

int cards() { return controls().cards; }
uint64_t card_memory() { return controls().memory; }

bool lost() {
    if (was_lost.load())
        return true;
    const std::string &path = controls().lost;
    if (path.empty() || access(path.c_str(), F_OK) != 0)
        return false;
    // A context on a card that fell off the bus is never of use again; a process that had none may try later.
    for (auto &count : retained)
        if (count.load() > 0)
            was_lost = true;
    return true;
}

int enter() {
    if (lost())
        return UNKNOWN;
    return sticky.load();
}

void stick(int result) {
    int none = 0;
    sticky.compare_exchange_strong(none, result);
}

int planned_failure(const char *kind) {
    auto &counter = strcmp(kind, "alloc") == 0 ? allocs : strcmp(kind, "launch") == 0 ? launches : inits;
    uint64_t number = ++counter;
    for (const Failure &failure : controls().failures) {
        if (failure.kind != kind)
            continue;
        if (failure.kind == "init")
            return failure.result;
        if (number == failure.at) {
            if (failure.kind == "launch")
                stick(failure.result);
            return failure.result;
        }
    }
    return SUCCESS;
}

int current_card() { return current; }
void set_current_card(int card) { current = card; }
bool has_context(int card) { return retained[card].load() > 0; }

void retain(int card) {
    retained[card]++;
    own_slot()->contexts[card]++;
}

bool release(int card) {
    if (retained[card].load() == 0)
        return false;
    own_slot()->contexts[card]--;
    if (--retained[card] > 0)
        return true;
    // With the context goes what was allocated in it.
    std::vector<void *> left;
    {
        std::lock_guard<std::mutex> guard(mutex);
        for (auto &[start, a] : allocations())
            if (a.card == card)
                left.push_back(reinterpret_cast<void *>(start));
    }
    for (void *address : left)
        free_memory(address);
    return true;
}

int allocate(int card, size_t size, void **address) {
    *address = nullptr;
    if (int result = planned_failure("alloc"))
        return result;
    if (size == 0)
        return SUCCESS;
    // Booked first and looked at then: two processes may both be refused, but never both get the last of it.
    own_slot()->bytes[card] += size;
    void *block = nullptr;
    size_t rounded = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (size > controls().memory || used_memory(card) > controls().memory ||
        posix_memalign(&block, ALIGN, GUARD + rounded + GUARD) != 0) {
        own_slot()->bytes[card] -= size;
        return OUT_OF_MEMORY;
    }
    auto *start = static_cast<unsigned char *>(block) + GUARD;
    memset(block, GUARD_BYTE, GUARD);
    memset(start + size, GUARD_BYTE, rounded - size + GUARD);
    poison(start, size);
    std::lock_guard<std::mutex> guard(mutex);
    static unsigned long number = 0;
    auto at = reinterpret_cast<uintptr_t>(start);
    allocations()[at] = {at, size, card, ++number, block};
    *address = start;
    count("alloc");
    return SUCCESS;
}

int free_memory(void *address) {
    if (!address)
        return SUCCESS;
    Allocation a;
    {
        std::lock_guard<std::mutex> guard(mutex);
        auto found = allocations().find(reinterpret_cast<uintptr_t>(address));
        if (found == allocations().end())
            return INVALID_VALUE;
        a = found->second;
        check_guards(a, "something");
        allocations().erase(found);
    }
    poison(address, a.size);
    free(a.block);
    own_slot()->bytes[a.card] -= a.size;
    count("free");
    return SUCCESS;
}

uint64_t used_memory(int card) {
    uint64_t sum = 0;
    each_living([&](Slot &slot) { sum += slot.bytes[card].load(); });
    return sum;
}

bool allocated(const void *address, size_t size) {
    std::lock_guard<std::mutex> guard(mutex);
    auto at = reinterpret_cast<uintptr_t>(address);
    const Allocation *a = before(at);
    return a && at - a->start <= a->size && size <= a->size - (at - a->start);
}

void check_bounds(const void *address, const char *by) {
    std::lock_guard<std::mutex> guard(mutex);
    auto at = reinterpret_cast<uintptr_t>(address);
    const Allocation *a = before(at);
    if (a && at - a->start <= a->size)
        check_guards(*a, by);
}

std::string describe(const void *address) {
    std::lock_guard<std::mutex> guard(mutex);
    auto at = reinterpret_cast<uintptr_t>(address);
    char text[200];
    const Allocation *a = before(at);
    if (a && at - a->start < a->size) {
        snprintf(text, sizeof text, "byte %zu of an allocation of %zu bytes (number %lu)", size_t(at - a->start), a->size, a->number);
        return text;
    }
    if (a && at - a->start - a->size < (1u << 20)) {
        snprintf(text, sizeof text, "%zu bytes past the end of an allocation of %zu bytes (number %lu)",
                 size_t(at - a->start - a->size), a->size, a->number);
        return text;
    }
    auto after = allocations().upper_bound(at);
    if (after != allocations().end() && after->first - at < (1u << 20)) {
        snprintf(text, sizeof text, "%zu bytes before the start of an allocation of %zu bytes (number %lu)",
                 size_t(after->first - at), after->second.size, after->second.number);
        return text;
    }
    return "in or near no allocation";
}

bool range_of(uintptr_t address, size_t size, Range *range) {
    std::lock_guard<std::mutex> guard(mutex);
    const Allocation *a = before(address);
    if (!a || address + size > a->start + a->size)
        return false;
    *range = {a->start, a->start + a->size};
    return true;
}

int processes(int card, Use *uses, int room) {
    int found = 0;
    each_living([&](Slot &slot) {
        if (slot.contexts[card].load() == 0)
            return;
        if (found < room)
            uses[found] = {slot.process.load(), slot.bytes[card].load()};
        found++;
    });
    return found;
}

void count(const char *what, uint64_t times) {
    std::lock_guard<std::mutex> guard(counting);
    counters()[what] += times;
}

bool tracing() { return !controls().trace.empty(); }

void trace(const char *format, ...) {
    if (!tracing())
        return;
    static int file = open(controls().trace.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    length = std::min(length, int(sizeof line) - 2);
    line[length++] = '\n';
    // Whole lines, whoever else writes.
    if (file < 0 || write(file, line, size_t(length)) != length)
        die("the file of CUDA_EMULATOR_TRACE cannot be written: %s", strerror(errno));
}

void die(const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "CUDA emulator: %s\n", text);
    fflush(stderr);
    abort();
}

void poison(void *address, size_t size) {
    auto *bytes = static_cast<unsigned char *>(address);
    static const struct Pattern {
        unsigned char bytes[4096];
        Pattern() {
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = i % 2 ? 0x7f : 0xff;
        }
    } pattern;
    for (size_t done = 0; done < size; done += sizeof pattern.bytes)
        memcpy(bytes + done, pattern.bytes, std::min(sizeof pattern.bytes, size - done));
}

} // namespace cuda_emulator

// ---- For tests -------------------------------------------------------------------------------------------------------------

extern "C" {

/// How often something has been done in this process: launch, gemm, synchronize, htod, dtoh, dtod, memset, alloc, free.
uint64_t cuda_emulator_count(const char *what) {
    std::lock_guard<std::mutex> guard(cuda_emulator::counting);
    auto found = cuda_emulator::counters().find(what);
    return found == cuda_emulator::counters().end() ? 0 : found->second;
}

/// Sets all counters to zero.
void cuda_emulator_reset_counts() {
    std::lock_guard<std::mutex> guard(cuda_emulator::counting);
    cuda_emulator::counters().clear();
}

/// The bytes that all processes hold on a card.
uint64_t cuda_emulator_used_memory(int card) { return cuda_emulator::used_memory(card); }

long long cuda_emulator_clock() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}
}
