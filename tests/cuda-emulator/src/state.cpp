// Cards, their memory and what is to go wrong with them, in libcuda_emulator.so.

#include "emulator.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <strings.h>
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
    bool hangs = false;
    /// The card it is meant for; -1: all together.
    int card = -1;
    std::atomic<uint64_t> seen{0};
};

struct Controls {
    uint64_t memory = 2ull << 30;
    int cards = 1;
    std::string share, lost, hang, trace;
    std::vector<int> visible;
    std::deque<Failure> failures;

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
        if (const char *text = getenv("CUDA_EMULATOR_HANG"))
            hang = text;
        if (const char *text = getenv("CUDA_EMULATOR_TRACE"))
            trace = text;
        if (const char *text = getenv("CUDA_EMULATOR_FAIL")) {
            std::stringstream all(text);
            for (std::string one; std::getline(all, one, ',');)
                plan(one);
        }
        see(getenv("CUDA_VISIBLE_DEVICES"));
    }

    void plan(const std::string &one) {
        Failure &failure = failures.emplace_back();
        std::string text = one;
        if (size_t at = text.find('@'); at != std::string::npos) {
            failure.card = int(number(text.c_str() + at + 1, "CUDA_EMULATOR_FAIL, after @,"));
            text.resize(at);
        }
        std::stringstream parts(text);
        std::vector<std::string> words;
        for (std::string word; std::getline(parts, word, ':');)
            words.push_back(word);
        bool counted = words.size() == 3 && (words[0] == "alloc" || words[0] == "launch" || words[0] == "kernel");
        if (!counted && !(words.size() == 2 && words[0] == "init" && failure.card < 0))
            die("CUDA_EMULATOR_FAIL takes init:CODE, alloc:N:CODE, launch:N:CODE, launch:N:hang and kernel:N:CODE, not `%s`", one.c_str());
        failure.kind = words[0];
        if (counted)
            failure.at = number(words[1].c_str(), "CUDA_EMULATOR_FAIL");
        failure.hangs = words[0] == "launch" && words.back() == "hang";
        if (!failure.hangs)
            failure.result = int(number(words.back().c_str(), "CUDA_EMULATOR_FAIL"));
    }

    /// Numbers of cards or beginnings of their names, up to the first that is neither.
    void see(const char *text) {
        if (!text) {
            for (int card = 0; card < cards; card++)
                visible.push_back(card);
            return;
        }
        std::stringstream all(text);
        for (std::string one; std::getline(all, one, ',');) {
            one.erase(0, one.find_first_not_of(" \t"));
            one.erase(one.find_last_not_of(" \t") + 1);
            int found = -1, alike = 0;
            if (strncasecmp(one.c_str(), "GPU-", 4) == 0) {
                for (int card = 0; card < cards; card++)
                    if (strncasecmp(uuid_of(card).c_str(), one.c_str(), one.size()) == 0) {
                        found = card;
                        alike++;
                    }
            } else if (!one.empty() && one.size() < 6 && one.find_first_not_of("0123456789") == std::string::npos) {
                found = atoi(one.c_str());
                alike = 1;
            }
            bool twice = std::find(visible.begin(), visible.end(), found) != visible.end();
            if (alike != 1 || found >= cards || twice)
                return;
            visible.push_back(found);
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
/// What is freed is not used again before so many bytes more are: so an address that has been kept is seen to be freed.
constexpr size_t QUARANTINE = 64 << 20;

struct Allocation {
    uintptr_t start;
    size_t size;
    int card;
    unsigned long number;
    void *block;
    bool pooled, leaving;
};

std::mutex mutex;
std::map<uintptr_t, Allocation> &allocations() {
    static auto *map = new std::map<uintptr_t, Allocation>;
    return *map;
}

/// Freed ones, by their addresses and in the order in which they were freed.
std::map<uintptr_t, Allocation> &freed() {
    static auto *map = new std::map<uintptr_t, Allocation>;
    return *map;
}
std::deque<uintptr_t> &order_of_freed() {
    static auto *list = new std::deque<uintptr_t>;
    return *list;
}
size_t bytes_of_freed = 0;

/// Of each card, what its pool keeps: at most the threshold of what is freed.
struct Pool {
    uint64_t threshold = 0, kept = 0;
} pools[MAX_CARDS];

/// The last allocation that starts at or before an address.
const Allocation *before(uintptr_t address, std::map<uintptr_t, Allocation> &map = allocations()) {
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

std::atomic<int> sticky[MAX_CARDS];
std::atomic<bool> was_lost[MAX_CARDS];
std::atomic<int> retained[MAX_CARDS];
thread_local int current = -1;

bool exists(const std::string &path) { return access(path.c_str(), F_OK) == 0; }

} // namespace

int cards() { return controls().cards; }
uint64_t card_memory() { return controls().memory; }
const std::vector<int> &visible() { return controls().visible; }

std::string uuid_of(int card) {
    char text[64];
    snprintf(text, sizeof text, "GPU-656d756c-6174-6564-0000-%012x", unsigned(card));
    return text;
}

bool lost(int card) {
    if (card >= 0 && was_lost[card].load())
        return true;
    const std::string &path = controls().lost;
    if (path.empty())
        return false;
    bool all = exists(path), found = all || (card >= 0 && exists(path + "." + std::to_string(card)));
    // A context on a card that fell off the bus is never of use again; a process that had none may try later.
    for (int other = 0; other < MAX_CARDS; other++)
        if ((all || (found && other == card)) && retained[other].load() > 0)
            was_lost[other] = true;
    return found;
}

void hang() {
    const std::string &path = controls().hang;
    while (!path.empty() && exists(path))
        usleep(10'000);
}

int enter(int card) {
    hang();
    if (lost(card))
        return UNKNOWN;
    return card < 0 ? int(SUCCESS) : sticky[card].load();
}

void stick(int card, int result) {
    int none = 0;
    sticky[card].compare_exchange_strong(none, result);
}

bool broken(int card) { return lost(card) || sticky[card].load() != 0; }

namespace {

/// The failure that comes with this event of its kind, if one does.
Failure *planned(const char *kind, int card) {
    Failure *found = nullptr;
    for (Failure &failure : controls().failures)
        if (failure.kind == kind && (failure.card < 0 || failure.card == card) && (++failure.seen == failure.at || failure.kind == "init"))
            found = found ? found : &failure;
    return found;
}

} // namespace

int planned_failure(const char *kind, int card) {
    Failure *failure = planned(kind, card);
    return failure ? failure->result : int(SUCCESS);
}

Plan planned_launch(int card) {
    Plan plan;
    Failure *launch = planned("launch", card), *kernel = planned("kernel", card);
    if (launch && launch->hangs)
        plan.hangs = true;
    else if (launch)
        stick(card, plan.refused = launch->result);
    if (kernel)
        plan.afterwards = kernel->result;
    return plan;
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
    finish_card(card);
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
    trim_pool(card, 0);
    return true;
}

namespace {

/// Books what is allocated, if the card has so much: what the pool keeps first, for what comes from it.
bool book(int card, size_t size, bool pooled) {
    uint64_t from_pool = 0;
    if (pooled) {
        std::lock_guard<std::mutex> guard(mutex);
        from_pool = std::min<uint64_t>(pools[card].kept, size);
        pools[card].kept -= from_pool;
    }
    // Booked first and looked at then: two processes may both be refused, but never both get the last of it.
    own_slot()->bytes[card] += size - from_pool;
    if (size <= controls().memory && used_memory(card) <= controls().memory)
        return true;
    own_slot()->bytes[card] -= size - from_pool;
    std::lock_guard<std::mutex> guard(mutex);
    pools[card].kept += from_pool;
    return false;
}

} // namespace

int allocate(int card, size_t size, bool pooled, void **address) {
    *address = nullptr;
    if (int result = planned_failure("alloc", card))
        return result;
    if (size == 0)
        return SUCCESS;
    bool booked = book(card, size, pooled);
    if (!booked) {
        // What is still to be freed, and what is kept, is given up before anything is refused.
        finish_card(card);
        trim_pool(card, 0);
        booked = book(card, size, pooled);
    }
    void *block = nullptr;
    size_t rounded = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (!booked)
        return OUT_OF_MEMORY;
    if (posix_memalign(&block, ALIGN, GUARD + rounded + GUARD) != 0) {
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
    allocations()[at] = {at, size, card, ++number, block, pooled, false};
    *address = start;
    count("alloc");
    return SUCCESS;
}

bool will_be_freed(void *address) {
    std::lock_guard<std::mutex> guard(mutex);
    auto found = allocations().find(reinterpret_cast<uintptr_t>(address));
    if (found == allocations().end() || found->second.leaving)
        return false;
    found->second.leaving = true;
    return true;
}

int free_memory(void *address) {
    if (!address)
        return SUCCESS;
    Allocation a;
    uint64_t stays = 0;
    {
        std::lock_guard<std::mutex> guard(mutex);
        auto found = allocations().find(reinterpret_cast<uintptr_t>(address));
        if (found == allocations().end())
            return INVALID_VALUE;
        a = found->second;
        check_guards(a, "something");
        allocations().erase(found);
        Pool &pool = pools[a.card];
        if (a.pooled && pool.threshold > pool.kept)
            stays = std::min<uint64_t>(a.size, pool.threshold - pool.kept);
        pool.kept += stays;
    }
    poison(address, a.size);
    own_slot()->bytes[a.card] -= a.size - stays;
    count("free");
    std::lock_guard<std::mutex> guard(mutex);
    freed()[a.start] = a;
    order_of_freed().push_back(a.start);
    bytes_of_freed += a.size;
    while (bytes_of_freed > QUARANTINE) {
        auto oldest = freed().find(order_of_freed().front());
        order_of_freed().pop_front();
        bytes_of_freed -= oldest->second.size;
        free(oldest->second.block);
        freed().erase(oldest);
    }
    return SUCCESS;
}

void set_pool_threshold(int card, uint64_t bytes) {
    std::lock_guard<std::mutex> guard(mutex);
    pools[card].threshold = bytes;
}

uint64_t pool_threshold(int card) {
    std::lock_guard<std::mutex> guard(mutex);
    return pools[card].threshold;
}

uint64_t kept_by_pool(int card) {
    std::lock_guard<std::mutex> guard(mutex);
    return pools[card].kept;
}

void trim_pool(int card, uint64_t bytes) {
    std::lock_guard<std::mutex> guard(mutex);
    // What is in use counts as well.
    uint64_t used = 0, &kept = pools[card].kept;
    for (auto &[start, a] : allocations())
        used += a.card == card && a.pooled ? a.size : 0;
    uint64_t stays = std::min(kept, bytes > used ? bytes - used : 0);
    if (kept > stays)
        own_slot()->bytes[card] -= kept - stays;
    kept = stays;
}

uint64_t own_memory(int card) { return own_slot()->bytes[card]; }

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
    const Allocation *gone = before(at, freed());
    if (gone && at - gone->start < gone->size) {
        snprintf(text, sizeof text, "byte %zu of %zu bytes that have been freed (allocation number %lu)", size_t(at - gone->start), gone->size,
                 gone->number);
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

int card_of(const void *address) {
    std::lock_guard<std::mutex> guard(mutex);
    auto at = reinterpret_cast<uintptr_t>(address);
    const Allocation *a = before(at);
    return a && at - a->start < a->size ? a->card : -1;
}

bool range_of(uintptr_t address, size_t size, Range *range) {
    std::lock_guard<std::mutex> guard(mutex);
    const Allocation *a = before(address);
    if (!a || address + size > a->start + a->size)
        return false;
    *range = {a->start, a->start + a->size, a->card};
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
