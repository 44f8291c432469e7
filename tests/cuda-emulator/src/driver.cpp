// libcuda.so.1: the driver's functions that cudarc calls, by the names of CUDA 13. When what streams are given is done, streams.cpp says.

#define CUDA_EMULATOR_LIBRARY
#include "../include/cuda_emulator.h"
#include "emulator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

using namespace cuda_emulator;

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct Context *CUcontext;
typedef void *CUstream;
typedef struct Event *CUevent;
typedef struct Module *CUmodule;
typedef struct Function *CUfunction;
typedef struct Pool *CUmemoryPool;
struct CUuuid {
    unsigned char bytes[16];
};

struct Context {
    int card;
};
struct Event {
    int card;
    std::mutex mutex;
    Mark mark;
    /// When it came to pass; zero before.
    std::shared_ptr<std::atomic<long long>> time = std::make_shared<std::atomic<long long>>(0);
};
struct Function {
    const Kernel *kernel;
    int dynamic_shared = -1;
};
struct Module {
    /// Of one library, or of all where the text does not say which.
    std::string source;
    std::set<std::string> entries;
    std::map<std::string, std::unique_ptr<Function>> functions;
};
struct Pool {
    int card;
};

namespace {

constexpr unsigned MAX_THREADS = 1024, MAX_BLOCK[3] = {1024, 1024, 64}, MAX_GRID[3] = {2147483647u, 65535, 65535};
constexpr int PROCESSORS = 132;

std::atomic<bool> initialized{false};
Context contexts[MAX_CARDS];
Pool pools[MAX_CARDS];
thread_local CUcontext current_context = nullptr;

/// A file of kernels that was compiled for the processor.
struct Library {
    std::string source;
    std::map<std::string, const Kernel *> kernels;
};
std::vector<Library> libraries;

/// Loads all kernels at once: a process may shut itself in after the card is opened.
void load_kernels() {
    Dl_info info;
    if (!dladdr(reinterpret_cast<void *>(&load_kernels), &info))
        die("libcuda.so.1 does not know where it is");
    std::string folder = info.dli_fname;
    folder = folder.substr(0, folder.rfind('/') + 1) + "kernels";
    DIR *files = opendir(folder.c_str());
    if (!files)
        die("there is no folder %s; build the emulator with cargo xtask emulator", folder.c_str());
    std::set<std::string> names;
    while (dirent *entry = readdir(files)) {
        std::string name = entry->d_name;
        if (name.size() > 3 && name.substr(name.size() - 3) == ".so")
            names.insert(name);
    }
    closedir(files);
    for (const std::string &name : names) {
        void *library = dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!library)
            die("%s", dlerror());
        auto *kernels = static_cast<const Kernel *>(dlsym(library, "cuda_emulator_kernels"));
        auto *source = static_cast<const char *>(dlsym(library, "cuda_emulator_source"));
        if (!kernels || !source)
            die("%s/%s lists no kernels", folder.c_str(), name.c_str());
        Library loaded{source, {}};
        for (; kernels->name; kernels++)
            loaded.kernels[kernels->name] = kernels;
        libraries.push_back(loaded);
        // A kernel's constants lie in its library.
        link_map *map = nullptr;
        dlinfo(library, RTLD_DI_LINKMAP, &map);
        dl_iterate_phdr(
            [](dl_phdr_info *info, size_t, void *wanted) {
                if (!wanted || info->dlpi_addr != static_cast<link_map *>(wanted)->l_addr)
                    return 0;
                for (int i = 0; i < info->dlpi_phnum; i++)
                    if (info->dlpi_phdr[i].p_type == PT_LOAD)
                        allow(reinterpret_cast<void *>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr), info->dlpi_phdr[i].p_memsz);
                return 1;
            },
            map);
    }
}

const Kernel *find_kernel(const Module &module, const char *name) {
    if (!module.entries.empty() && !module.entries.count(name))
        return nullptr;
    for (const Library &library : libraries) {
        if (!module.source.empty() && library.source != module.source)
            continue;
        auto found = library.kernels.find(name);
        if (found != library.kernels.end())
            return found->second;
    }
    return nullptr;
}

/// The card that a number of the driver's stands for; -1: none.
int card_of_device(CUdevice device) { return device >= 0 && size_t(device) < visible().size() ? visible()[size_t(device)] : -1; }

CUdevice device_of_card(int card) { return int(std::find(visible().begin(), visible().end(), card) - visible().begin()); }

/// What stands in the way of a call about a card, whose number this becomes. Zero, or the result to give.
CUresult blocked_on(CUdevice device, int *card) {
    *card = card_of_device(device);
    CUresult result = enter(*card);
    return result ? result : !initialized ? int(NOT_INITIALIZED) : *card < 0 ? int(INVALID_DEVICE) : int(SUCCESS);
}

void *pointer(CUdeviceptr address) { return reinterpret_cast<void *>(address); }

/// What stands in the way of any call that needs a context. Zero, or the result to give.
CUresult blocked() {
    if (CUresult result = enter())
        return result;
    if (!initialized)
        return NOT_INITIALIZED;
    return current_context && has_context(current_context->card) ? SUCCESS : INVALID_CONTEXT;
}

struct Known {
    int code;
    const char *name, *text;
};
constexpr Known RESULTS[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {220, "CUDA_ERROR_NVLINK_UNCORRECTABLE", "uncorrectable NVLink error detected during the execution"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {401, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {710, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
    {714, "CUDA_ERROR_HARDWARE_STACK_ERROR", "hardware stack error"},
    {715, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "an illegal instruction was encountered"},
    {716, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {800, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

/// The same for what goes into a stream.
CUresult blocked(CUstream handle, std::shared_ptr<Stream> *stream) {
    if (CUresult result = blocked())
        return result;
    *stream = stream_of(handle, current_context->card);
    return *stream ? SUCCESS : INVALID_HANDLE;
}

/// What an event waits for.
Mark mark_of(Event &event) {
    std::lock_guard<std::mutex> guard(event.mutex);
    return event.mark;
}

/// Page-locked memory of the processor: what a card reads and writes by itself, whenever it comes to that.
std::mutex locking;
std::map<uintptr_t, size_t> &locked_memory() {
    static auto *map = new std::map<uintptr_t, size_t>;
    return *map;
}

bool is_locked(const void *address, size_t size) {
    std::lock_guard<std::mutex> guard(locking);
    auto at = reinterpret_cast<uintptr_t>(address);
    auto after = locked_memory().upper_bound(at);
    if (after == locked_memory().begin())
        return false;
    auto [start, bytes] = *std::prev(after);
    return at + size <= start + bytes;
}

/// What is done late may find that its memory is gone.
void still_there(const char *what, CUdeviceptr address, size_t size) {
    if (!allocated(pointer(address), size))
        die("a %s of %zu bytes begins at %p, which is %s by now", what, size, pointer(address), describe(pointer(address)).c_str());
}
void still_locked(const char *what, const void *address, size_t size) {
    if (!is_locked(address, size))
        die("a %s of %zu bytes uses page-locked memory that was freed before the copy was done", what, size);
}

/// From the processor. `waits`: the call does not come back before what it is given may be changed.
CUresult to_card(CUdeviceptr target, const void *source, size_t size, CUstream handle, bool waits) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    if (size == 0)
        return SUCCESS;
    if (!allocated(pointer(target), size))
        return INVALID_VALUE;
    count("htod");
    trace("htod %zu bytes", size);
    if (!late()) {
        memcpy(pointer(target), source, size);
        return SUCCESS;
    }
    if (waits)
        finish(mark_of(stream));
    if (is_locked(source, size)) {
        in_order(stream, [=] {
            still_there("copy", target, size);
            still_locked("copy to the card", source, size);
            memcpy(pointer(target), source, size);
        });
        if (waits)
            finish(mark_of(stream));
        return SUCCESS;
    }
    // Other memory is read at once, by the driver, and the card has it later: even where the call waits.
    auto *bytes = static_cast<const char *>(source);
    auto kept = std::make_shared<std::vector<char>>(bytes, bytes + size);
    in_order(stream, [=] {
        still_there("copy", target, size);
        memcpy(pointer(target), kept->data(), size);
    });
    return SUCCESS;
}

/// To the processor. Only into page-locked memory, and where nobody waits, does that happen later.
CUresult from_card(void *target, CUdeviceptr source, size_t size, CUstream handle, bool waits) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    if (size == 0)
        return SUCCESS;
    if (!allocated(pointer(source), size))
        return INVALID_VALUE;
    count("dtoh");
    trace("dtoh %zu bytes", size);
    bool locked = is_locked(target, size);
    in_order(stream, [=] {
        still_there("copy", source, size);
        if (locked)
            still_locked("copy from the card", target, size);
        memcpy(target, pointer(source), size);
    });
    if (waits || !locked)
        finish(mark_of(stream));
    // What went wrong on the way there is said by the call that waits.
    return waits || !locked ? enter() : int(SUCCESS);
}

CUresult copy_between(CUdeviceptr target, CUdeviceptr source, size_t size, CUstream handle) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    if (size == 0)
        return SUCCESS;
    if (!allocated(pointer(target), size) || !allocated(pointer(source), size))
        return INVALID_VALUE;
    count("dtod");
    trace("dtod %zu bytes", size);
    in_order(stream, [=] {
        still_there("copy", target, size);
        still_there("copy", source, size);
        memmove(pointer(target), pointer(source), size);
    });
    return SUCCESS;
}

template <typename T> CUresult fill(CUdeviceptr target, T value, size_t times, CUstream handle) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    if (times == 0)
        return SUCCESS;
    if (!allocated(pointer(target), times * sizeof(T)) || target % sizeof(T) != 0)
        return INVALID_VALUE;
    count("memset");
    trace("memset %zu bytes", times * sizeof(T));
    in_order(stream, [=] {
        still_there("memset", target, times * sizeof(T));
        std::fill_n(static_cast<T *>(pointer(target)), times, value);
    });
    return SUCCESS;
}

CUresult allocation(CUdeviceptr *address, size_t size, bool pooled) {
    if (CUresult result = blocked())
        return result;
    void *memory = nullptr;
    CUresult result = allocate(current_context->card, size, pooled, &memory);
    *address = reinterpret_cast<CUdeviceptr>(memory);
    trace("alloc %zu bytes: %d", size, result);
    return result;
}

/// The memory may be had at once, and is given back when the stream comes to it.
CUresult allocation(CUdeviceptr *address, size_t size, CUstream handle) {
    std::shared_ptr<Stream> stream;
    CUresult result = blocked(handle, &stream);
    return result ? result : allocation(address, size, true);
}
CUresult freeing(CUdeviceptr address, CUstream handle) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    if (address == 0)
        return SUCCESS;
    if (!will_be_freed(pointer(address)))
        return INVALID_VALUE;
    in_order(stream, [=] { free_memory(pointer(address)); });
    return SUCCESS;
}

CUresult synchronized(const char *what) {
    count("synchronize");
    trace("synchronize %s", what);
    return enter();
}

/// A kernel's arguments, apart from where the caller had them.
struct Arguments {
    std::vector<std::max_align_t> bytes;
    std::vector<void *> addresses;

    Arguments(const Kernel &kernel, void **given) {
        constexpr size_t unit = sizeof(std::max_align_t);
        std::vector<size_t> places;
        size_t all = 0;
        for (unsigned i = 0; i < kernel.arguments; i++) {
            places.push_back(all);
            all += (kernel.sizes[i] + unit - 1) / unit;
        }
        bytes.resize(all + 1);
        for (unsigned i = 0; i < kernel.arguments; i++) {
            addresses.push_back(&bytes[places[i]]);
            memcpy(addresses.back(), given[i], kernel.sizes[i]);
        }
    }
};

// ---- What cuInit does to its own process -----------------------------------------------------------------------------------

/// Gives a thread of this process a name, as drivers do since 570: by the file of its name.
bool name_thread(int thread, const char *name) {
    std::string path = "/proc/self/task/" + std::to_string(thread) + "/comm";
    int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    bool named = file >= 0 && write(file, name, strlen(name)) == ssize_t(strlen(name));
    if (file >= 0)
        close(file);
    return named;
}

/// A thread of the driver's own. It does what goes wrong in a process that has shut itself in and forgotten the driver's threads: it
/// gives itself a name some time after the card was opened.
class Helper {
    static constexpr std::chrono::milliseconds LATER{200};
    std::mutex mutex;
    std::condition_variable changed;
    int number = 0;
    bool ends = false;
    std::thread thread;

    void live() {
        std::unique_lock<std::mutex> guard(mutex);
        number = int(syscall(SYS_gettid));
        changed.notify_all();
        if (!changed.wait_for(guard, LATER, [&] { return ends; }) && !name_thread(number, "cuda-emulator"))
            trace("the driver's thread may not name itself");
        changed.wait(guard, [&] { return ends; });
    }

  public:
    CUresult start() {
        try {
            thread = std::thread([this] { live(); });
        } catch (const std::system_error &) {
            return OPERATING_SYSTEM;
        }
        std::unique_lock<std::mutex> guard(mutex);
        changed.wait(guard, [&] { return number != 0; });
        return name_thread(number, "cuda-EvtHandlr") ? SUCCESS : OPERATING_SYSTEM;
    }
    ~Helper() {
        {
            std::lock_guard<std::mutex> guard(mutex);
            ends = true;
        }
        changed.notify_all();
        if (thread.joinable())
            thread.join();
    }
} helper;

} // namespace

extern "C" {

// ---- Errors, version, cards ------------------------------------------------------------------------------------------------

CUresult cuGetErrorName(CUresult error, const char **text) {
    *text = nullptr;
    for (const Known &known : RESULTS)
        if (known.code == error) {
            *text = known.name;
            return SUCCESS;
        }
    return INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = nullptr;
    for (const Known &known : RESULTS)
        if (known.code == error) {
            *text = known.text;
            return SUCCESS;
        }
    return INVALID_VALUE;
}

CUresult cuInit(unsigned) {
    if (CUresult result = planned_failure("init", -1))
        return result;
    if (CUresult result = enter(-1))
        return result;
    if (visible().empty())
        return NO_DEVICE;
    static std::once_flag once;
    static CUresult outcome = SUCCESS;
    std::call_once(once, [] {
        for (int card = 0; card < MAX_CARDS; card++)
            contexts[card].card = pools[card].card = card;
        load_kernels();
        outcome = helper.start();
        initialized = outcome == SUCCESS;
    });
    return outcome;
}

CUresult cuDriverGetVersion(int *version) {
    hang();
    *version = 13000;
    return SUCCESS;
}

CUresult cuDeviceGetCount(int *number) {
    if (CUresult result = enter(-1))
        return result;
    if (!initialized)
        return NOT_INITIALIZED;
    *number = int(visible().size());
    return SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    int card;
    if (CUresult result = blocked_on(ordinal, &card))
        return result;
    *device = ordinal;
    return SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    hang();
    if (card_of_device(device) < 0)
        return INVALID_DEVICE;
    snprintf(name, size_t(length), "Emulated card");
    return SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    hang();
    int card = card_of_device(device);
    if (card < 0)
        return INVALID_DEVICE;
    // The name in NVML's words, as bytes.
    std::string text = uuid_of(card).substr(4);
    text.erase(std::remove(text.begin(), text.end(), '-'), text.end());
    for (size_t i = 0; i < sizeof uuid->bytes; i++)
        uuid->bytes[i] = (unsigned char)strtoul(text.substr(2 * i, 2).c_str(), nullptr, 16);
    return SUCCESS;
}
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) { return cuDeviceGetUuid_v2(uuid, device); }

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    hang();
    if (card_of_device(device) < 0)
        return INVALID_DEVICE;
    *bytes = card_memory();
    return SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
    hang();
    int card = card_of_device(device);
    if (card < 0)
        return INVALID_DEVICE;
    snprintf(text, size_t(length), "0000:%02x:00.0", unsigned(card) + 1);
    return SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    int card;
    if (CUresult result = blocked_on(device, &card))
        return result;
    // Of a card as an H100 is.
    static const std::map<int, int> values = {
        {1, int(MAX_THREADS)},
        {2, int(MAX_BLOCK[0])},
        {3, int(MAX_BLOCK[1])},
        {4, int(MAX_BLOCK[2])},
        {5, int(MAX_GRID[0])},
        {6, int(MAX_GRID[1])},
        {7, int(MAX_GRID[2])},
        {8, int(SHARED_MEMORY_BY_DEFAULT)},
        {9, 65536},
        {10, 32},
        {12, 65536},
        {13, 1755000},
        {16, PROCESSORS},
        {36, 2619000},
        {37, 5120},
        {38, 50 << 20},
        {39, 2048},
        {40, 3},
        {41, 1},
        {75, 9},
        {76, 0},
        {78, 1},
        {81, 228 << 10},
        {82, 65536},
        {97, int(SHARED_MEMORY)},
        {106, 32},
        {111, 1024},
        // Memory pools.
        {115, 1},
    };
    auto found = values.find(attribute);
    *value = attribute == 33 ? card + 1 : found == values.end() ? 0 : found->second;
    return SUCCESS;
}

// ---- Contexts --------------------------------------------------------------------------------------------------------------

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    int card;
    if (CUresult result = blocked_on(device, &card))
        return result;
    retain(card);
    *context = &contexts[card];
    return SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    hang();
    int card = card_of_device(device);
    if (card < 0)
        return INVALID_DEVICE;
    bool released = release(card);
    if (CUresult result = enter(card))
        return result;
    return released ? SUCCESS : INVALID_CONTEXT;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    if (CUresult result = enter(context ? context->card : -1))
        return result;
    current_context = context;
    set_current_card(context ? context->card : -1);
    return SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
    // What is wrong with the context it does not say.
    if (CUresult result = enter(-1))
        return result;
    if (!initialized)
        return NOT_INITIALIZED;
    *context = current_context;
    return SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
    if (CUresult result = blocked())
        return result;
    *device = device_of_card(current_context->card);
    return SUCCESS;
}

CUresult cuCtxSynchronize() {
    if (CUresult result = blocked())
        return result;
    finish_card(current_context->card);
    return synchronized("context");
}
CUresult cuCtxSetFlags(unsigned) { return blocked(); }
CUresult cuCtxGetLimit(size_t *value, int) {
    *value = 1024;
    return blocked();
}
CUresult cuCtxSetLimit(int, size_t) { return blocked(); }
CUresult cuCtxGetCacheConfig(int *config) {
    *config = 0;
    return blocked();
}
CUresult cuCtxSetCacheConfig(int) { return blocked(); }
CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return blocked();
}
CUresult cuCtxEnablePeerAccess(CUcontext, unsigned) { return NOT_SUPPORTED; }
CUresult cuDeviceCanAccessPeer(int *can, CUdevice, CUdevice) {
    *can = 0;
    return SUCCESS;
}

// ---- Streams and events ----------------------------------------------------------------------------------------------------

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int) {
    if (CUresult result = blocked())
        return result;
    *stream = create_stream(current_context->card, flags);
    return SUCCESS;
}
CUresult cuStreamCreate(CUstream *stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

CUresult cuStreamDestroy_v2(CUstream stream) {
    if (!destroy_stream(static_cast<Stream *>(stream)))
        return INVALID_HANDLE;
    return enter();
}

CUresult cuStreamSynchronize(CUstream handle) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    finish(mark_of(stream));
    return synchronized("stream");
}
CUresult cuStreamQuery(CUstream handle) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    // Who asks again and again is to see it done at last.
    bool done = come_nearer(mark_of(stream));
    CUresult result = enter();
    return result ? result : done ? SUCCESS : NOT_FINISHED;
}
CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    std::lock_guard<std::mutex> guard(event->mutex);
    wait_for(stream, event->mark);
    return SUCCESS;
}
CUresult cuStreamGetPriority(CUstream, int *priority) {
    *priority = 0;
    return blocked();
}
CUresult cuStreamGetFlags(CUstream handle, unsigned *flags) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    *flags = flags_of(*stream);
    return SUCCESS;
}
CUresult cuStreamAttachMemAsync(CUstream, CUdeviceptr, size_t, unsigned) { return blocked(); }
CUresult cuStreamIsCapturing(CUstream, int *status) {
    *status = 0;
    return blocked();
}
CUresult cuStreamGetCaptureInfo_v3(CUstream, int *status, unsigned long long *, void *, const void **, const void **, size_t *) {
    *status = 0;
    return blocked();
}
CUresult cuStreamBeginCapture_v2(CUstream, int) { return NOT_SUPPORTED; }
CUresult cuStreamEndCapture(CUstream, void **) { return NOT_SUPPORTED; }

CUresult cuLaunchHostFunc(CUstream handle, void (*function)(void *), void *argument) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    in_order(stream, [=] { function(argument); });
    return SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned) {
    if (CUresult result = blocked())
        return result;
    *event = new Event;
    (*event)->card = current_context->card;
    return SUCCESS;
}
CUresult cuEventDestroy_v2(CUevent event) {
    int card = event->card;
    delete event;
    return enter(card);
}
CUresult cuEventRecord(CUevent event, CUstream handle) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    if (event->card != current_context->card)
        return INVALID_HANDLE;
    auto time = std::make_shared<std::atomic<long long>>(0);
    in_order(stream, [time] { *time = cuda_emulator_clock(); });
    std::lock_guard<std::mutex> guard(event->mutex);
    event->time = time;
    event->mark = mark_of(stream);
    return SUCCESS;
}
CUresult cuEventQuery(CUevent event) {
    if (CUresult result = blocked())
        return result;
    bool done = come_nearer(mark_of(*event));
    CUresult result = enter();
    return result ? result : done ? SUCCESS : NOT_FINISHED;
}
CUresult cuEventSynchronize(CUevent event) {
    if (CUresult result = blocked())
        return result;
    finish(mark_of(*event));
    count("wait");
    trace("synchronize event");
    return enter();
}
CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
    if (CUresult result = blocked())
        return result;
    if (!reached(mark_of(*start)) || !reached(mark_of(*end)))
        return NOT_FINISHED;
    *milliseconds = float(double(*end->time - *start->time) / 1e6);
    return SUCCESS;
}
CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) { return cuEventElapsedTime_v2(milliseconds, start, end); }

// ---- Memory ----------------------------------------------------------------------------------------------------------------

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) { return size == 0 ? INVALID_VALUE : allocation(address, size, false); }
CUresult cuMemAllocAsync(CUdeviceptr *address, size_t size, CUstream stream) { return allocation(address, size, stream); }
CUresult cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t size, CUmemoryPool, CUstream stream) { return allocation(address, size, stream); }
CUresult cuMemAllocManaged(CUdeviceptr *address, size_t size, unsigned) { return cuMemAlloc_v2(address, size); }
CUresult cuMemFree_v2(CUdeviceptr address) {
    if (CUresult result = blocked())
        return result;
    if (address == 0)
        return SUCCESS;
    if (!will_be_freed(pointer(address)))
        return INVALID_VALUE;
    finish_card(current_context->card);
    return free_memory(pointer(address));
}
CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) { return freeing(address, stream); }

CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    if (CUresult result = blocked())
        return result;
    uint64_t used = used_memory(current_context->card);
    *total = card_memory();
    *free = used < *total ? *total - used : 0;
    return SUCCESS;
}

CUresult cuMemHostAlloc(void **address, size_t size, unsigned) {
    if (CUresult result = blocked())
        return result;
    *address = nullptr;
    if (posix_memalign(address, 4096, size ? size : 1) != 0)
        return OUT_OF_MEMORY;
    std::lock_guard<std::mutex> guard(locking);
    locked_memory()[reinterpret_cast<uintptr_t>(*address)] = size;
    return SUCCESS;
}
CUresult cuMemAllocHost_v2(void **address, size_t size) { return cuMemHostAlloc(address, size, 0); }
CUresult cuMemFreeHost(void *address) {
    {
        std::lock_guard<std::mutex> guard(locking);
        if (locked_memory().erase(reinterpret_cast<uintptr_t>(address)) == 0)
            return INVALID_VALUE;
    }
    free(address);
    return enter();
}
CUresult cuMemHostRegister_v2(void *address, size_t size, unsigned) {
    if (CUresult result = blocked())
        return result;
    std::lock_guard<std::mutex> guard(locking);
    locked_memory()[reinterpret_cast<uintptr_t>(address)] = size;
    return SUCCESS;
}
CUresult cuMemHostUnregister(void *address) {
    {
        std::lock_guard<std::mutex> guard(locking);
        if (locked_memory().erase(reinterpret_cast<uintptr_t>(address)) == 0)
            return INVALID_VALUE;
    }
    return blocked();
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr target, const void *source, size_t size) { return to_card(target, source, size, nullptr, true); }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t size, CUstream stream) {
    return to_card(target, source, size, stream, false);
}
CUresult cuMemcpyDtoH_v2(void *target, CUdeviceptr source, size_t size) { return from_card(target, source, size, nullptr, true); }
CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t size, CUstream stream) {
    return from_card(target, source, size, stream, false);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr target, CUdeviceptr source, size_t size) { return copy_between(target, source, size, nullptr); }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream) {
    return copy_between(target, source, size, stream);
}
CUresult cuMemcpyPeerAsync(CUdeviceptr target, CUcontext, CUdeviceptr source, CUcontext, size_t size, CUstream stream) {
    return copy_between(target, source, size, stream);
}
CUresult cuMemsetD8_v2(CUdeviceptr target, unsigned char value, size_t times) { return fill(target, value, times, nullptr); }
CUresult cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t times, CUstream stream) { return fill(target, value, times, stream); }
CUresult cuMemsetD16Async(CUdeviceptr target, unsigned short value, size_t times, CUstream stream) { return fill(target, value, times, stream); }
CUresult cuMemsetD32_v2(CUdeviceptr target, unsigned value, size_t times) { return fill(target, value, times, nullptr); }
CUresult cuMemsetD32Async(CUdeviceptr target, unsigned value, size_t times, CUstream stream) { return fill(target, value, times, stream); }

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
    int card;
    if (CUresult result = blocked_on(device, &card))
        return result;
    *pool = &pools[card];
    return SUCCESS;
}
CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) { return cuDeviceGetDefaultMemPool(pool, device); }
CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool) {
    int card;
    return blocked_on(device, &card);
}
CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t bytes) {
    if (CUresult result = enter(pool->card))
        return result;
    trim_pool(pool->card, bytes);
    return SUCCESS;
}
CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void *value) {
    // 4: how much a pool keeps.
    if (attribute == 4)
        set_pool_threshold(pool->card, *static_cast<unsigned long long *>(value));
    return enter(pool->card);
}
CUresult cuMemPoolGetAttribute(CUmemoryPool pool, int attribute, void *value) {
    uint64_t has = own_memory(pool->card), kept = kept_by_pool(pool->card);
    switch (attribute) {
    case 4: *static_cast<uint64_t *>(value) = pool_threshold(pool->card); break;
    // What it has, and what of that is in use.
    case 5: case 6: *static_cast<uint64_t *>(value) = has; break;
    case 7: case 8: *static_cast<uint64_t *>(value) = has - kept; break;
    default: *static_cast<int *>(value) = 1;
    }
    return enter(pool->card);
}

CUresult cuPointerGetAttribute(void *value, int attribute, CUdeviceptr address) {
    hang();
    if (!allocated(pointer(address), 1))
        return INVALID_VALUE;
    // 2: whose memory it is; 9: which card's.
    if (attribute == 2)
        *static_cast<unsigned *>(value) = 2;
    else if (attribute == 9)
        *static_cast<int *>(value) = device_of_card(card_of(pointer(address)));
    else
        return NOT_SUPPORTED;
    return SUCCESS;
}

// ---- Kernels ---------------------------------------------------------------------------------------------------------------

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    if (CUresult result = blocked())
        return result;
    auto *text = static_cast<const char *>(image);
    auto loaded = std::make_unique<Module>();
    // The text of the stand-in for nvcc names its source, that of nvcc itself its kernels. Anything else has all of them.
    const char *mark = "// CUDA emulator: ";
    if (strncmp(text, mark, strlen(mark)) == 0) {
        text += strlen(mark);
        loaded->source = std::string(text, strcspn(text, "\n"));
        bool known = false;
        for (const Library &library : libraries)
            known |= library.source == loaded->source;
        if (!known)
            die("the emulator has not been built with %s; build it again with cargo xtask emulator", loaded->source.c_str());
    } else if (text[0] == '/' || text[0] == '.' || text[0] == '\n') {
        for (const char *at = text; (at = strstr(at, ".entry "));) {
            at += 7;
            loaded->entries.insert(std::string(at, strcspn(at, "(\n ")));
        }
        // Two files may have kernels of one name.
        for (const Library &library : libraries) {
            bool all = !loaded->entries.empty();
            for (const std::string &entry : loaded->entries)
                all = all && library.kernels.count(entry);
            if (all)
                loaded->source = library.source;
        }
    }
    *module = loaded.release();
    return SUCCESS;
}
CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, void *, void **) { return cuModuleLoadData(module, image); }
CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image) { return cuModuleLoadData(module, image); }

CUresult cuModuleUnload(CUmodule module) {
    delete module;
    return enter();
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    if (CUresult result = blocked())
        return result;
    const Kernel *kernel = find_kernel(*module, name);
    if (!kernel)
        return NOT_FOUND;
    static std::mutex mutex;
    std::lock_guard<std::mutex> guard(mutex);
    auto &made = module->functions[name];
    if (!made)
        made.reset(new Function{kernel});
    *function = made.get();
    return SUCCESS;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *, size_t *, CUmodule, const char *) { return NOT_FOUND; }

CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction function) {
    if (CUresult result = blocked())
        return result;
    switch (attribute) {
    case 0: *value = int(function->kernel->max_threads); break;
    case 1: *value = int(static_shared(function->kernel)); break;
    case 4: *value = 32; break;
    case 5: *value = 80; break;
    case 6: *value = 90; break;
    case 8: *value = function->dynamic_shared >= 0 ? function->dynamic_shared : int(SHARED_MEMORY_BY_DEFAULT); break;
    default: *value = 0;
    }
    return SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
    if (CUresult result = blocked())
        return result;
    if (attribute == 8) {
        if (value < 0 || uint64_t(value) + static_shared(function->kernel) > SHARED_MEMORY)
            return INVALID_VALUE;
        function->dynamic_shared = value;
    }
    return SUCCESS;
}
CUresult cuFuncSetCacheConfig(CUfunction, int) { return blocked(); }
CUresult cuFuncGetName(const char **name, CUfunction function) {
    *name = function->kernel->name;
    return SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                        unsigned block_z, unsigned shared, CUstream handle, void **arguments, void **extra) {
    std::shared_ptr<Stream> stream;
    if (CUresult result = blocked(handle, &stream))
        return result;
    const Kernel &kernel = *function->kernel;
    Launch launch{current_context->card, &kernel, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, arguments};
    for (int i = 0; i < 3; i++)
        if (launch.grid[i] == 0 || launch.grid[i] > MAX_GRID[i] || launch.block[i] == 0 || launch.block[i] > MAX_BLOCK[i])
            return INVALID_VALUE;
    uint64_t threads = uint64_t(block_x) * block_y * block_z;
    if (threads > MAX_THREADS || extra || (kernel.arguments > 0 && !arguments))
        return INVALID_VALUE;
    if (threads > kernel.max_threads)
        return LAUNCH_OUT_OF_RESOURCES;
    uint64_t variables = static_shared(&kernel);
    uint64_t most = function->dynamic_shared >= 0 ? std::max(uint64_t(function->dynamic_shared), SHARED_MEMORY_BY_DEFAULT - variables)
                                                  : SHARED_MEMORY_BY_DEFAULT - variables;
    if (shared > most || shared + variables > SHARED_MEMORY)
        return INVALID_VALUE;
    Plan plan = planned_launch(launch.card);
    if (plan.refused)
        return plan.refused;
    count("launch");
    trace("launch %s grid (%u, %u, %u) block (%u, %u, %u) shared %u", kernel.name, grid_x, grid_y, grid_z, block_x, block_y, block_z,
          shared);
    // What a kernel is given is read now.
    auto given = std::make_shared<Arguments>(kernel, arguments);
    launch_in_order(stream, plan, [=]() mutable {
        const Kernel &kernel = *launch.kernel;
        launch.arguments = given->addresses.data();
        // As on a card: what goes wrong in a kernel is said by the calls after it.
        if (CUresult result = run(launch))
            stick(launch.card, result);
        std::string name = std::string("kernel ") + kernel.name;
        for (unsigned i = 0; i < kernel.arguments; i++)
            if (kernel.pointers[i])
                check_bounds(*static_cast<void **>(launch.arguments[i]), name.c_str());
        if (shared + static_shared(&kernel) > most + variables)
            die("kernel %s has %u bytes of shared variables, so that a launch may ask for %llu more, not %u", kernel.name,
                static_shared(&kernel), (unsigned long long)(most + variables - static_shared(&kernel)), shared);
    });
    return SUCCESS;
}

CUresult cuLaunchCooperativeKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **) {
    return NOT_SUPPORTED;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function, int block, size_t shared, unsigned) {
    if (CUresult result = blocked())
        return result;
    if (block <= 0 || block > int(MAX_THREADS))
        return INVALID_VALUE;
    uint64_t each = shared + static_shared(function->kernel) + 1024;
    *blocks = int(std::min({uint64_t(32), uint64_t(2048 / ((block + 31) / 32 * 32)), uint64_t(228 << 10) / each}));
    return SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block, size_t shared) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block, shared, 0);
}
CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction function, int blocks, int) {
    if (CUresult result = blocked())
        return result;
    if (blocks <= 0)
        return INVALID_VALUE;
    uint64_t each = (228ull << 10) / uint64_t(blocks), taken = 1024 + static_shared(function->kernel);
    *bytes = std::min<uint64_t>(SHARED_MEMORY, each > taken ? each - taken : 0);
    return SUCCESS;
}
CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction function, size_t (*)(int), size_t, int limit, unsigned) {
    if (CUresult result = blocked())
        return result;
    *block = int(function->kernel->max_threads);
    if (limit > 0)
        *block = std::min(*block, limit);
    *grid = PROCESSORS * (2048 / *block);
    return SUCCESS;
}
CUresult cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction function, size_t (*shared_of)(int), size_t shared, int limit) {
    return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, function, shared_of, shared, limit, 0);
}

CUresult cuProfilerStart() { return SUCCESS; }
CUresult cuProfilerStop() { return SUCCESS; }
}
