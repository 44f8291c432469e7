// Runs a kernel: its blocks one after the other, the threads of a block in turn, each until it has to wait for others. In
// libcuda_emulator.so.
//
// A thread is a fiber once it waits; one that never waits runs on the stack that the last one has left. So a block's threads
// come in any order between two barriers, which is all that a card promises, and every access to memory is looked at.

#define CUDA_EMULATOR_LIBRARY
#include "../include/cuda_emulator.h"
#include "emulator.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <map>
#include <vector>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>

extern "C" {
CudaEmulatorIndices cuda_emulator_indices;

/// Keeps where this stack is in `from` and goes on where another one is.
void cuda_emulator_switch(void **from, void *to);
}

#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.globl cuda_emulator_switch
.hidden cuda_emulator_switch
.type cuda_emulator_switch, @function
cuda_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuda_emulator_switch, .-cuda_emulator_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.globl cuda_emulator_switch
.hidden cuda_emulator_switch
.type cuda_emulator_switch, @function
cuda_emulator_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size cuda_emulator_switch, .-cuda_emulator_switch
)");
#else
#error "the CUDA emulator knows x86-64 and aarch64"
#endif

namespace cuda_emulator {
namespace {

constexpr unsigned MAX_THREADS = 1024, WARP = 32, MAX_WARPS = MAX_THREADS / WARP;
constexpr size_t STACK = 256 << 10, PAGE = 4096;

enum class Wait : uint8_t { none, block, warp, done };

struct Fiber {
    void *place = nullptr;
    char *stack = nullptr;
};

struct Thread {
    uint3 index;
    unsigned number;
    Wait wait;
    Fiber *fiber;
    Place place;
    // At a barrier of the block: what is counted. In a warp: what is exchanged.
    int predicate;
    Sum sum;
    int vote;
    bool is_signed;
    unsigned mask;
    uint64_t value;
    int source;
    uint64_t result;
};

struct Shared {
    SharedSlot *slot;
    size_t offset, size;
};

// One kernel runs at a time.
std::mutex running;
const Launch *launch = nullptr;
unsigned long launch_number = 0;
int launch_result = 0;
bool abandoned = false;

Thread threads[MAX_THREADS];
/// Of each warp, the lanes that have not ended, and those that wait for others of their warp.
struct {
    unsigned live, waiting;
} warps[MAX_WARPS];
Fiber fibers[MAX_THREADS];
Fiber *idle[MAX_THREADS];
unsigned idle_count = 0;
Thread *ready[MAX_THREADS];
unsigned ready_first = 0, ready_count = 0;
unsigned thread_count = 0, started = 0, live = 0, waiting_for_block = 0;
Thread *current = nullptr;
void *scheduler = nullptr;
/// Where in a kernel the access is that is being looked at.
void *caller = nullptr;
char *stacks = nullptr;
bool backwards = false;

// A block's shared memory: what is asked for at the launch comes first and begins at the same address always; variables follow
// as they are met. Between them lie bytes that nobody may write.
constexpr size_t GAP = 64;
constexpr unsigned char GAP_BYTE = 0xfb;
constexpr size_t ARENA = SHARED_MEMORY + 64 * (GAP + 16) + 64 * 1024;
alignas(256) unsigned char arena[ARENA];
size_t arena_used = 0;
std::vector<Shared> variables;
std::map<const Kernel *, unsigned> &static_sizes() {
    static auto *map = new std::map<const Kernel *, unsigned>;
    return *map;
}

/// Constants of the kernels' libraries.
std::vector<Range> &readable() {
    static auto *list = new std::vector<Range>;
    return *list;
}

// ---- Saying what went wrong ------------------------------------------------------------------------------------------------

const char *kernel_name() { return launch ? launch->kernel->name : "?"; }

[[noreturn]] void kernel_died(const char *format, ...) {
    char text[700];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const uint3 &b = cuda_emulator_indices.block;
    if (current) {
        const uint3 &t = current->index;
        die("kernel %s, block (%u, %u, %u), thread (%u, %u, %u): %s", kernel_name(), b.x, b.y, b.z, t.x, t.y, t.z, text);
    }
    die("kernel %s, block (%u, %u, %u): %s", kernel_name(), b.x, b.y, b.z, text);
}

bool same_place(const Place &a, const Place &b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

const char *short_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// ---- Fibers ----------------------------------------------------------------------------------------------------------------

void fiber_main();
extern bool look_for_races;
extern uint32_t epoch;
extern uint32_t clocks[MAX_THREADS][WARP];
void settle_doubt();
bool in_doubt();

void prepare(Fiber &fiber) {
    // Not all at the same place of a page, or they would drive each other out of the cache.
    size_t shift = size_t(&fiber - fibers) % 16 * 256;
    auto *top = reinterpret_cast<void **>(fiber.stack + STACK - shift);
#if defined(__x86_64__)
    // Where a function begins, the stack is aligned but for the address to return to.
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(&fiber_main);
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
#else
    top -= 20;
    memset(top, 0, 160);
    top[11] = reinterpret_cast<void *>(&fiber_main);
#endif
    fiber.place = top;
}

void make_fibers() {
    size_t each = STACK + PAGE;
    void *memory = mmap(nullptr, each * MAX_THREADS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        die("no memory for the stacks of threads: %s", strerror(errno));
    stacks = static_cast<char *>(memory);
    for (unsigned i = 0; i < MAX_THREADS; i++) {
        // What overflows a stack must not write into the next one.
        mprotect(stacks + each * i, PAGE, PROT_NONE);
        fibers[i].stack = stacks + each * i + PAGE;
    }
    const char *order = getenv("CUDA_EMULATOR_ORDER");
    backwards = order && strcmp(order, "backwards") == 0;
    if (order && !backwards && strcmp(order, "forwards") != 0)
        die("CUDA_EMULATOR_ORDER is forwards or backwards, not `%s`", order);
    const char *races = getenv("CUDA_EMULATOR_RACES");
    look_for_races = !(races && strcmp(races, "off") == 0);
    if (races && look_for_races && strcmp(races, "on") != 0)
        die("CUDA_EMULATOR_RACES is on or off, not `%s`", races);
}

void all_fibers_idle() {
    idle_count = 0;
    for (unsigned i = MAX_THREADS; i-- > 0;) {
        fibers[i].place = nullptr;
        idle[idle_count++] = &fibers[i];
    }
}

void go_on(Thread *thread) {
    current = thread;
    cuda_emulator_indices.thread = thread->index;
}

void make_ready(Thread *thread) {
    thread->wait = Wait::none;
    ready[(ready_first + ready_count++) % MAX_THREADS] = thread;
}

/// Ends the launch where it is.
[[noreturn]] void abandon(int result) {
    launch_result = result;
    abandoned = true;
    void *nowhere;
    cuda_emulator_switch(&nowhere, scheduler);
    __builtin_unreachable();
}

/// The next thread that has not run yet.
Thread *next_thread() {
    Thread &thread = threads[backwards ? thread_count - 1 - started : started];
    started++;
    thread.wait = Wait::none;
    return &thread;
}

/// The thread that goes on now, if any can: one that has waited, else one that has not run yet.
Thread *choose() {
    Thread *thread;
    if (ready_count > 0) {
        thread = ready[ready_first];
        ready_first = (ready_first + 1) % MAX_THREADS;
        ready_count--;
    } else if (started < thread_count) {
        thread = next_thread();
        thread->fiber = idle[--idle_count];
        if (!thread->fiber->place)
            prepare(*thread->fiber);
    } else {
        return nullptr;
    }
    go_on(thread);
    return thread;
}

void suspend() {
    if (in_doubt())
        settle_doubt();
    Fiber *fiber = current->fiber;
    Thread *next = choose();
    cuda_emulator_switch(&fiber->place, next ? next->fiber->place : scheduler);
}

// ---- Barriers of a block ---------------------------------------------------------------------------------------------------

/// All threads that still run wait: lets them go on. `last`, if any, goes on by itself.
void open_barrier(Thread *last) {
    Thread *first = nullptr;
    int count = 0;
    for (unsigned i = 0; i < thread_count; i++) {
        Thread &thread = threads[i];
        if (thread.wait != Wait::block)
            continue;
        if (!first)
            first = &thread;
        if (!same_place(thread.place, first->place)) {
            current = &thread;
            kernel_died("threads of one block wait at different barriers: this one at %s:%d, thread (%u, %u, %u) at %s:%d",
                        short_name(thread.place.file), thread.place.line, first->index.x, first->index.y, first->index.z,
                        short_name(first->place.file), first->place.line);
        }
        count += thread.predicate;
    }
    for (unsigned n = 0; n < thread_count; n++) {
        Thread &thread = threads[backwards ? thread_count - 1 - n : n];
        if (thread.wait != Wait::block)
            continue;
        switch (thread.sum) {
        case Sum::none: thread.result = 0; break;
        case Sum::count: thread.result = uint64_t(count); break;
        case Sum::all: thread.result = unsigned(count) == live; break;
        case Sum::any: thread.result = count != 0; break;
        }
        if (&thread == last)
            thread.wait = Wait::none;
        else
            make_ready(&thread);
    }
    waiting_for_block = 0;
    epoch++;
}

// ---- Warps -----------------------------------------------------------------------------------------------------------------

constexpr int EXCHANGE = -1;

Thread *lane_of(unsigned warp, unsigned lane) {
    unsigned number = warp * WARP + lane;
    return number < thread_count ? &threads[number] : nullptr;
}

/// What these threads have done so far comes before all that they do from now on.
void join_clocks(unsigned warp, unsigned present) {
    uint32_t joint[WARP] = {};
    for (unsigned lane = 0; lane < WARP; lane++)
        if (present >> lane & 1) {
            uint32_t *own = clocks[warp * WARP + lane];
            own[lane]++;
            for (unsigned other = 0; other < WARP; other++)
                joint[other] = std::max(joint[other], own[other]);
        }
    for (unsigned lane = 0; lane < WARP; lane++)
        if (present >> lane & 1)
            memcpy(clocks[warp * WARP + lane], joint, sizeof joint);
}

/// Whether all threads of the mask that still run wait for this; lets them go on if so.
bool finish_in_warp(Thread *one, Thread *last) {
    unsigned warp = one->number / WARP, present = one->mask & warps[warp].live;
    if ((present & ~warps[warp].waiting) != 0)
        return false;
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (!(present >> lane & 1))
            continue;
        Thread *other = lane_of(warp, lane);
        if (other->mask != one->mask || other->vote != one->vote || !same_place(other->place, one->place))
            return false;
    }
    warps[warp].waiting &= ~present;
    // What is asked of all of them together.
    uint64_t sum = 0;
    bool first = true;
    unsigned ballot = 0;
    for (unsigned rest = one->vote > int(Vote::sync) ? present : 0; rest != 0; rest &= rest - 1) {
        unsigned lane = unsigned(__builtin_ctz(rest));
        uint64_t value = lane_of(warp, lane)->value;
        if (value)
            ballot |= 1u << lane;
        int64_t a = one->is_signed ? int32_t(sum) : int64_t(uint32_t(sum));
        int64_t b = one->is_signed ? int32_t(value) : int64_t(uint32_t(value));
        switch (first ? Vote::sync : Vote(one->vote)) {
        case Vote::sync: sum = value; break;
        case Vote::add: sum += value; break;
        case Vote::min: sum = uint64_t(std::min(a, b)); break;
        case Vote::max: sum = uint64_t(std::max(a, b)); break;
        case Vote::bits_and: sum &= value; break;
        case Vote::bits_or: sum |= value; break;
        case Vote::bits_xor: sum ^= value; break;
        default: break;
        }
        first = false;
    }
    if (one->vote == int(Vote::sync) && look_for_races)
        join_clocks(warp, present);
    for (unsigned rest = present; rest != 0;) {
        unsigned lane = backwards ? 31 - unsigned(__builtin_clz(rest)) : unsigned(__builtin_ctz(rest));
        rest &= ~(1u << lane);
        Thread *thread = lane_of(warp, lane);
        switch (thread->vote) {
        case EXCHANGE:
            // From a thread that has ended or does not take part comes nothing in particular.
            thread->result = present >> thread->source & 1 ? lane_of(warp, unsigned(thread->source))->value : 0x7fff7fff7fff7fffull;
            break;
        case int(Vote::all): thread->result = ballot == present; break;
        case int(Vote::any): thread->result = ballot != 0; break;
        case int(Vote::ballot): thread->result = ballot; break;
        case int(Vote::match_any):
            thread->result = 0;
            for (unsigned other = 0; other < WARP; other++)
                if (present >> other & 1 && lane_of(warp, other)->value == thread->value)
                    thread->result |= 1u << other;
            break;
        case int(Vote::sync): thread->result = 0; break;
        default: thread->result = sum;
        }
        if (thread == last)
            thread->wait = Wait::none;
        else
            make_ready(thread);
    }
    return true;
}

uint64_t in_warp(Place place, int vote, bool is_signed, unsigned mask, uint64_t value, int source) {
    if (in_doubt())
        settle_doubt();
    Thread *self = current;
    unsigned lane = self->number % WARP;
    if (!(mask >> lane & 1))
        kernel_died("%s:%d: the mask 0x%08x does not have the thread's own lane, %u", short_name(place.file), place.line, mask, lane);
    self->place = place;
    self->vote = vote;
    self->is_signed = is_signed;
    self->mask = mask;
    self->value = value;
    self->source = source;
    self->wait = Wait::warp;
    warps[self->number / WARP].waiting |= 1u << lane;
    if (!finish_in_warp(self, self))
        suspend();
    return self->result;
}

// ---- A block ---------------------------------------------------------------------------------------------------------------

void thread_ended(Thread *thread) {
    if (in_doubt())
        settle_doubt();
    thread->wait = Wait::done;
    live--;
    if (live > 0 && waiting_for_block == live)
        open_barrier(nullptr);
    unsigned warp = thread->number / WARP;
    warps[warp].live &= ~(1u << thread->number % WARP);
    for (unsigned lane = 0; warps[warp].waiting >> lane != 0; lane++) {
        if (warps[warp].waiting >> lane & 1)
            finish_in_warp(lane_of(warp, lane), nullptr);
        if (lane == WARP - 1)
            break;
    }
}

void fiber_main() {
    for (;;) {
        Thread *thread = current;
        Fiber *fiber = thread->fiber;
        launch->kernel->call(launch->arguments);
        thread_ended(thread);
        if (ready_count == 0 && started < thread_count) {
            // The stack serves the next thread at once.
            Thread *next = next_thread();
            next->fiber = fiber;
            go_on(next);
            continue;
        }
        Thread *next = ready_count > 0 ? choose() : nullptr;
        idle[idle_count++] = fiber;
        cuda_emulator_switch(&fiber->place, next ? next->fiber->place : scheduler);
    }
}

void check_gaps() {
    size_t dynamic = launch->dynamic_shared;
    auto check = [](size_t at, const char *name, size_t size) {
        for (size_t i = 0; i < GAP; i++)
            if (arena[at + i] != GAP_BYTE)
                kernel_died("wrote %zu bytes past the end of its shared memory %s (%zu bytes)", i, name, size);
    };
    current = nullptr;
    check(dynamic, "that the launch asked for", dynamic);
    for (const Shared &variable : variables)
        check(variable.offset + variable.size, variable.slot->name, variable.size);
}

[[noreturn]] void deadlock() {
    // Of each barrier that somebody waits at, one thread.
    std::string text;
    unsigned shown = 0;
    for (unsigned i = 0; i < thread_count && shown < 4; i++) {
        const Thread &thread = threads[i];
        if (thread.wait != Wait::block && thread.wait != Wait::warp)
            continue;
        bool said = false;
        for (unsigned j = 0; j < i && !said; j++)
            said = threads[j].wait == thread.wait && threads[j].place.line == thread.place.line && threads[j].mask == thread.mask;
        if (said)
            continue;
        unsigned same = 0;
        for (unsigned j = 0; j < thread_count; j++)
            same += threads[j].wait == thread.wait && threads[j].place.line == thread.place.line;
        char line[200];
        if (thread.wait == Wait::block)
            snprintf(line, sizeof line, "; %u wait for the block at %s:%d", same, short_name(thread.place.file), thread.place.line);
        else
            snprintf(line, sizeof line, "; %u wait for their warp (mask 0x%08x) at %s:%d", same, thread.mask,
                     short_name(thread.place.file), thread.place.line);
        text += line;
        shown++;
    }
    current = nullptr;
    kernel_died("its threads wait for each other for ever%s", text.c_str());
}

void run_block() {
    ready_first = ready_count = 0;
    started = waiting_for_block = 0;
    live = thread_count;
    epoch++;
    for (unsigned i = 0; i < thread_count; i++)
        threads[i].wait = Wait::none;
    for (unsigned warp = 0; warp * WARP < thread_count; warp++) {
        unsigned lanes = std::min(WARP, thread_count - warp * WARP);
        warps[warp] = {lanes == WARP ? ~0u : (1u << lanes) - 1, 0};
    }
    poison(arena, launch->dynamic_shared);
    for (const Shared &variable : variables)
        poison(arena + variable.offset, variable.size);
    while (live > 0 && !abandoned) {
        Thread *thread = choose();
        if (!thread)
            deadlock();
        cuda_emulator_switch(&scheduler, thread->fiber->place);
    }
    if (!abandoned)
        check_gaps();
    current = nullptr;
}

// ---- Faults ----------------------------------------------------------------------------------------------------------------

struct Handlers;
Handlers *installed = nullptr;

/// While a kernel runs, what the processor refuses is the kernel's doing; in other threads it is what it was.
struct Handlers {
    static constexpr int SIGNALS[4] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction before[4];
    pthread_t runner = pthread_self();

    Handlers() {
        installed = this;
        struct sigaction action = {};
        action.sa_sigaction = fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (int i = 0; i < 4; i++)
            sigaction(SIGNALS[i], &action, &before[i]);
    }
    ~Handlers() {
        for (int i = 0; i < 4; i++)
            sigaction(SIGNALS[i], &before[i], nullptr);
    }

    static void fault(int signal, siginfo_t *info, void *context) {
        if (pthread_equal(pthread_self(), installed->runner)) {
            if (signal == SIGFPE)
                kernel_died("divided an integer by zero, or by what its quotient does not fit");
            kernel_died("used the address %p, %s", info->si_addr, describe(info->si_addr).c_str());
        }
        for (int i = 0; i < 4; i++) {
            const struct sigaction &before = installed->before[i];
            if (SIGNALS[i] != signal)
                continue;
            if (before.sa_flags & SA_SIGINFO)
                return before.sa_sigaction(signal, info, context);
            if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
                return before.sa_handler(signal);
            // Done once more, it ends the process as it would have.
            sigaction(signal, &before, nullptr);
        }
    }
};
constexpr int Handlers::SIGNALS[4];

// ---- Accesses --------------------------------------------------------------------------------------------------------------

enum class Access { read, write, atomic };

/// Where in the sources the access is that is being looked at, from the line numbers that the kernel was compiled with.
std::string where() {
    Dl_info info;
    if (!caller || !dladdr(caller, &info) || !info.dli_fname)
        return "";
    char command[600], line[300] = "";
    snprintf(command, sizeof command, "addr2line -s -e '%s' %#zx 2>/dev/null", info.dli_fname,
             size_t(static_cast<char *>(caller) - static_cast<char *>(info.dli_fbase)) - 1);
    if (FILE *output = popen(command, "r")) {
        if (!fgets(line, sizeof line, output))
            line[0] = 0;
        pclose(output);
    }
    line[strcspn(line, "\n (")] = 0;
    return line[0] == 0 || line[0] == '?' ? "" : std::string(line) + ": ";
}

// What has been done to each byte of shared memory since the block's last barrier. Two threads that use a byte, one of them
// to write, have to be kept apart by a barrier, of the block or (in one warp) by __syncwarp.
struct Touch {
    uint32_t epoch;
    uint16_t thread;
    uint32_t clock;
};
struct Trace {
    Touch write, read, other_read;
    bool atomic;
};
Trace traces[ARENA];
uint32_t epoch = 0;
/// What each thread knows of the clocks of its warp's; its own at its own lane.
uint32_t clocks[MAX_THREADS][WARP];
bool look_for_races = true;

/// Whether what `touch` says was done before, for the running thread.
bool before_now(const Touch &touch) {
    if (touch.epoch != epoch || touch.thread == current->number)
        return true;
    if (touch.thread / WARP != current->number / WARP)
        return false;
    return clocks[current->number][touch.thread % WARP] > touch.clock;
}

// A second write counts once it is seen to have changed anything.
struct Doubtful {
    unsigned char *bytes = nullptr, old[16];
    size_t size;
    Touch other;
    void *caller;
} doubtful;

const Shared *variable_at(size_t at) {
    for (const Shared &variable : variables)
        if (at >= variable.offset && at < variable.offset + variable.size)
            return &variable;
    return nullptr;
}

[[noreturn]] void race(size_t at, const char *does, const char *did, unsigned other) {
    const Shared *variable = variable_at(at);
    const uint3 &t = threads[other].index;
    kernel_died("%s%s byte %zu of its shared memory %s, which thread (%u, %u, %u) %s with no barrier between them", where().c_str(), does,
                at - (variable ? variable->offset : 0), variable ? variable->slot->name : "that the launch asked for", t.x, t.y, t.z, did);
}

bool in_doubt() { return doubtful.bytes != nullptr; }

void settle_doubt() {
    unsigned char *bytes = doubtful.bytes;
    doubtful.bytes = nullptr;
    if (memcmp(bytes, doubtful.old, doubtful.size) == 0)
        return;
    caller = doubtful.caller;
    race(size_t(bytes - arena), "writes", "wrote", doubtful.other.thread);
}

void look_for_race(size_t at, size_t size, Access access) {
    Touch now{epoch, uint16_t(current->number), clocks[current->number][current->number % WARP]};
    for (size_t i = at; i < at + size; i++) {
        Trace &trace = traces[i];
        bool both_atomic = access == Access::atomic && trace.atomic;
        if (!both_atomic && !before_now(trace.write)) {
            if (access == Access::read)
                race(i, "reads", "wrote", trace.write.thread);
            if (doubtful.bytes == nullptr) {
                doubtful.bytes = arena + at;
                doubtful.size = std::min(size, sizeof doubtful.old);
                doubtful.other = trace.write;
                doubtful.caller = caller;
                memcpy(doubtful.old, arena + at, doubtful.size);
            }
        }
        if (access == Access::read) {
            if (trace.read.epoch != epoch || trace.read.thread == now.thread)
                trace.read = now;
            else
                trace.other_read = now;
            continue;
        }
        for (const Touch *read : {&trace.read, &trace.other_read})
            if (!before_now(*read))
                race(i, "writes", "read", read->thread);
        trace.write = now;
        trace.atomic = access == Access::atomic;
    }
}

__attribute__((noinline)) void shared_access(uintptr_t address, size_t size, Access access) {
    size_t at = address - reinterpret_cast<uintptr_t>(arena);
    const Shared *variable = variable_at(at);
    if (at + size <= launch->dynamic_shared || (variable && at + size <= variable->offset + variable->size)) {
        if (look_for_races)
            look_for_race(at, size, access);
        return;
    }
    const char *nearest = "that the launch asked for";
    size_t bytes = launch->dynamic_shared, from = at;
    for (const Shared &other : variables)
        if (at >= other.offset) {
            nearest = other.slot->name;
            bytes = other.size;
            from = at - other.offset;
        }
    kernel_died("%s%s %zu bytes at byte %zu of its shared memory %s, which has %zu", where().c_str(),
                access == Access::read ? "reads" : "writes", size, from, nearest, bytes);
}

// A kernel uses few allocations, again and again.
Range recent[4];
unsigned next_recent = 0;

__attribute__((noinline)) void rare_access(uintptr_t address, size_t size, Access access) {
    if (address - reinterpret_cast<uintptr_t>(arena) < ARENA)
        return shared_access(address, size, access);
    Range range;
    if (range_of(address, size, &range)) {
        if (range.card != launch->card)
            kernel_died("%s%s memory of card %d, and runs on card %d", where().c_str(), access == Access::read ? "reads" : "writes", range.card,
                        launch->card);
        recent[next_recent++ % 4] = range;
        return;
    }
    for (const Range &range : readable())
        if (address >= range.start && address + size <= range.end)
            return;
    auto *pointer = reinterpret_cast<void *>(address);
    kernel_died("%s%s %zu bytes at %p, %s", where().c_str(), access == Access::read ? "reads" : "writes", size, pointer,
                describe(pointer).c_str());
}

inline __attribute__((always_inline)) void checked_access(const volatile void *pointer, size_t size, Access access) {
    auto address = reinterpret_cast<uintptr_t>(pointer);
    if (address - reinterpret_cast<uintptr_t>(&cuda_emulator_indices) < sizeof cuda_emulator_indices)
        return;
    if (doubtful.bytes)
        settle_doubt();
    if (address - reinterpret_cast<uintptr_t>(stacks) < (STACK + PAGE) * MAX_THREADS)
        return;
    for (const Range &range : recent)
        if (address >= range.start && address + size <= range.end)
            return;
    caller = __builtin_return_address(0);
    rare_access(address, size, access);
}

} // namespace

// ---- What kernels call -----------------------------------------------------------------------------------------------------

int block_barrier(Place place, Sum sum, int predicate) {
    if (in_doubt())
        settle_doubt();
    Thread *self = current;
    self->place = place;
    self->sum = sum;
    self->predicate = predicate;
    self->wait = Wait::block;
    if (++waiting_for_block == live)
        open_barrier(self);
    else
        suspend();
    return int(self->result);
}

uint64_t warp_exchange(Place place, unsigned mask, uint64_t value, int source) {
    return in_warp(place, EXCHANGE, false, mask, value, source);
}

uint64_t warp_vote(Place place, Vote vote, bool is_signed, unsigned mask, uint64_t value) {
    return in_warp(place, int(vote), is_signed, mask, value, 0);
}

unsigned warp_lane() { return current->number % WARP; }

void *dynamic_shared() { return arena; }

void *shared_variable(SharedSlot &slot, const char *name, size_t size, size_t align) {
    if (slot.launch == launch_number)
        return slot.address;
    size_t offset = (arena_used + align - 1) / align * align;
    if (offset + size + GAP > ARENA)
        kernel_died("has too much shared memory");
    slot.launch = launch_number;
    slot.address = arena + offset;
    slot.name = name;
    slot.size = size;
    poison(arena + offset, size);
    memset(arena + offset + size, GAP_BYTE, GAP);
    variables.push_back({&slot, offset, size});
    arena_used = offset + size + GAP;
    size_t sum = 0;
    for (const Shared &variable : variables)
        sum += variable.size;
    unsigned &known = static_sizes()[launch->kernel];
    known = std::max(known, unsigned(sum));
    if (sum > SHARED_MEMORY_BY_DEFAULT)
        kernel_died("has %zu bytes of shared variables; nvcc refuses more than %zu", sum, size_t(SHARED_MEMORY_BY_DEFAULT));
    return slot.address;
}

void assertion(const char *condition, const char *file, int line, const char *function) {
    // As the driver prints it.
    const uint3 &b = cuda_emulator_indices.block, &t = current->index;
    fprintf(stderr, "%s:%d: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", file, line, function, b.x, b.y,
            b.z, t.x, t.y, t.z, condition);
    abandon(ASSERT);
}

void atomic_access(const volatile void *address, size_t size) {
    if (reinterpret_cast<uintptr_t>(address) % size != 0)
        kernel_died("an atomic operation on %zu bytes at %p, which is not aligned to them", size, const_cast<void *>(address));
    checked_access(address, size, Access::atomic);
}

// ---- Launches --------------------------------------------------------------------------------------------------------------

int run(const Launch &asked) {
    std::lock_guard<std::mutex> guard(running);
    if (!stacks)
        make_fibers();
    all_fibers_idle();
    launch = &asked;
    launch_number++;
    launch_result = 0;
    abandoned = false;
    variables.clear();
    memset(recent, 0, sizeof recent);
    size_t dynamic = asked.dynamic_shared;
    memset(arena + dynamic, GAP_BYTE, GAP);
    arena_used = dynamic + GAP;
    const unsigned *grid = asked.grid, *block = asked.block;
    thread_count = block[0] * block[1] * block[2];
    cuda_emulator_indices.block_size = {block[0], block[1], block[2]};
    cuda_emulator_indices.grid_size = {grid[0], grid[1], grid[2]};
    for (unsigned i = 0; i < thread_count; i++) {
        threads[i].number = i;
        threads[i].index = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
    }
    {
        Handlers handlers;
        uint64_t blocks = uint64_t(grid[0]) * grid[1] * grid[2];
        for (uint64_t i = 0; i < blocks && !abandoned; i++) {
            uint64_t n = backwards ? blocks - 1 - i : i;
            cuda_emulator_indices.block = {unsigned(n % grid[0]), unsigned(n / grid[0] % grid[1]), unsigned(n / grid[0] / grid[1])};
            run_block();
        }
    }
    launch = nullptr;
    return launch_result;
}

unsigned static_shared(const Kernel *kernel) {
    std::lock_guard<std::mutex> guard(running);
    auto found = static_sizes().find(kernel);
    return found == static_sizes().end() ? 0 : found->second;
}

void allow(const void *start, size_t size) {
    std::lock_guard<std::mutex> guard(running);
    auto at = reinterpret_cast<uintptr_t>(start);
    readable().push_back({at, at + size, -1});
}

} // namespace cuda_emulator

// ---- What the compiler puts before each access of a kernel (-fsanitize=kernel-address, alignment, bounds) -----------------------

using cuda_emulator::Access;
using cuda_emulator::checked_access;

extern "C" {
#define CUDA_EMULATOR_ACCESS(size)                                                                                             \
    void __asan_load##size##_noabort(const void *address) { checked_access(address, size, Access::read); }                            \
    void __asan_store##size##_noabort(const void *address) { checked_access(address, size, Access::write); }
CUDA_EMULATOR_ACCESS(1)
CUDA_EMULATOR_ACCESS(2)
CUDA_EMULATOR_ACCESS(4)
CUDA_EMULATOR_ACCESS(8)
CUDA_EMULATOR_ACCESS(16)
void __asan_loadN_noabort(const void *address, size_t size) { checked_access(address, size, Access::read); }
void __asan_storeN_noabort(const void *address, size_t size) { checked_access(address, size, Access::write); }
void __asan_handle_no_return() {}

struct SourceLocation {
    const char *file;
    uint32_t line, column;
};
struct TypeDescriptor {
    uint16_t kind, info;
    char name[1];
};
struct TypeMismatch {
    SourceLocation where;
    const TypeDescriptor *type;
    unsigned char log_alignment, kind;
};
struct OutOfBounds {
    SourceLocation where;
    const TypeDescriptor *array, *index;
};
void __ubsan_handle_type_mismatch_v1_abort(TypeMismatch *data, uintptr_t pointer) {
    cuda_emulator::kernel_died("%s:%u: a %s at %p, which is not aligned to %u bytes (%s)",
                               cuda_emulator::short_name(data->where.file), data->where.line, data->type->name,
                               reinterpret_cast<void *>(pointer), 1u << data->log_alignment,
                               cuda_emulator::describe(reinterpret_cast<void *>(pointer)).c_str());
}
void __ubsan_handle_out_of_bounds_abort(OutOfBounds *data, uintptr_t index) {
    cuda_emulator::kernel_died("%s:%u: index %lld of an array %s", cuda_emulator::short_name(data->where.file), data->where.line,
                               (long long)(index), data->array->name);
}
}
