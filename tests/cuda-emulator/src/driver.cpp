// libcuda.so.1: the driver's functions that cudarc calls, by the names of CUDA 13. Everything is done when it is asked for.

#define CUDA_EMULATOR_LIBRARY
#include "../include/cuda_emulator.h"
#include "emulator.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <time.h>

using namespace cuda_emulator;

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct Context *CUcontext;
typedef struct Stream *CUstream;
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
struct Stream {
    unsigned flags;
};
struct Event {
    long long recorded = 0;
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
    unsigned long long threshold = 0;
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

bool valid(CUdevice device) { return device >= 0 && device < cards(); }

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

CUresult copy(const char *kind, CUdeviceptr device, const void *host_source, void *host_target, size_t size) {
    if (CUresult result = blocked())
        return result;
    if (size == 0)
        return SUCCESS;
    if (!allocated(pointer(device), size))
        return INVALID_VALUE;
    if (host_source)
        memcpy(pointer(device), host_source, size);
    else
        memcpy(host_target, pointer(device), size);
    count(kind);
    trace("%s %zu bytes", kind, size);
    return SUCCESS;
}

CUresult copy_between(CUdeviceptr target, CUdeviceptr source, size_t size) {
    if (CUresult result = blocked())
        return result;
    if (size == 0)
        return SUCCESS;
    if (!allocated(pointer(target), size) || !allocated(pointer(source), size))
        return INVALID_VALUE;
    memmove(pointer(target), pointer(source), size);
    count("dtod");
    trace("dtod %zu bytes", size);
    return SUCCESS;
}

template <typename T> CUresult fill(CUdeviceptr target, T value, size_t times) {
    if (CUresult result = blocked())
        return result;
    if (times == 0)
        return SUCCESS;
    if (!allocated(pointer(target), times * sizeof(T)) || target % sizeof(T) != 0)
        return INVALID_VALUE;
    for (size_t i = 0; i < times; i++)
        static_cast<T *>(pointer(target))[i] = value;
    count("memset");
    trace("memset %zu bytes", times * sizeof(T));
    return SUCCESS;
}

CUresult allocation(CUdeviceptr *address, size_t size) {
    if (CUresult result = blocked())
        return result;
    void *memory = nullptr;
    CUresult result = allocate(current_context->card, size, &memory);
    *address = reinterpret_cast<CUdeviceptr>(memory);
    trace("alloc %zu bytes: %d", size, result);
    return result;
}

CUresult freeing(CUdeviceptr address) {
    if (CUresult result = blocked())
        return result;
    return free_memory(pointer(address));
}

CUresult synchronized(const char *what) {
    if (CUresult result = blocked())
        return result;
    count("synchronize");
    trace("synchronize %s", what);
    return SUCCESS;
}

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
    if (CUresult result = planned_failure("init"))
        return result;
    if (CUresult result = enter())
        return result;
    if (cards() == 0)
        return NO_DEVICE;
    static std::once_flag once;
    std::call_once(once, [] {
        for (int card = 0; card < MAX_CARDS; card++)
            contexts[card].card = card;
        load_kernels();
        initialized = true;
    });
    return SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
    *version = 13000;
    return SUCCESS;
}

CUresult cuDeviceGetCount(int *number) {
    if (!initialized)
        return NOT_INITIALIZED;
    if (CUresult result = enter())
        return result;
    *number = cards();
    return SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    if (!initialized)
        return NOT_INITIALIZED;
    if (CUresult result = enter())
        return result;
    if (!valid(ordinal))
        return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    if (!valid(device))
        return INVALID_DEVICE;
    snprintf(name, size_t(length), "Emulated card");
    return SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    if (!valid(device))
        return INVALID_DEVICE;
    memset(uuid->bytes, 0, sizeof uuid->bytes);
    memcpy(uuid->bytes, "emulated", 8);
    uuid->bytes[15] = (unsigned char)device;
    return SUCCESS;
}
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) { return cuDeviceGetUuid_v2(uuid, device); }

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    if (!valid(device))
        return INVALID_DEVICE;
    *bytes = card_memory();
    return SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
    if (!valid(device))
        return INVALID_DEVICE;
    snprintf(text, size_t(length), "0000:%02x:00.0", unsigned(device) + 1);
    return SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    if (!valid(device))
        return INVALID_DEVICE;
    if (CUresult result = enter())
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
    *value = attribute == 33 ? device + 1 : found == values.end() ? 0 : found->second;
    return SUCCESS;
}

// ---- Contexts --------------------------------------------------------------------------------------------------------------

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    if (!initialized)
        return NOT_INITIALIZED;
    if (CUresult result = enter())
        return result;
    if (!valid(device))
        return INVALID_DEVICE;
    retain(device);
    *context = &contexts[device];
    return SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    if (!valid(device))
        return INVALID_DEVICE;
    bool released = release(device);
    if (CUresult result = enter())
        return result;
    return released ? SUCCESS : INVALID_CONTEXT;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    if (CUresult result = enter())
        return result;
    current_context = context;
    set_current_card(context ? context->card : -1);
    return SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
    if (!initialized)
        return NOT_INITIALIZED;
    if (CUresult result = enter())
        return result;
    *context = current_context;
    return SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
    if (CUresult result = blocked())
        return result;
    *device = current_context->card;
    return SUCCESS;
}

CUresult cuCtxSynchronize() { return synchronized("context"); }
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
    *stream = new Stream{flags};
    return SUCCESS;
}
CUresult cuStreamCreate(CUstream *stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

CUresult cuStreamDestroy_v2(CUstream stream) {
    // The first three are names of the streams that there always are.
    if (reinterpret_cast<uintptr_t>(stream) > 2)
        delete stream;
    return enter();
}

CUresult cuStreamSynchronize(CUstream) { return synchronized("stream"); }
CUresult cuStreamQuery(CUstream) { return blocked(); }
CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned) { return blocked(); }
CUresult cuStreamGetPriority(CUstream, int *priority) {
    *priority = 0;
    return blocked();
}
CUresult cuStreamGetFlags(CUstream stream, unsigned *flags) {
    *flags = reinterpret_cast<uintptr_t>(stream) > 2 ? stream->flags : 0;
    return blocked();
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

CUresult cuLaunchHostFunc(CUstream, void (*function)(void *), void *argument) {
    if (CUresult result = blocked())
        return result;
    function(argument);
    return SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned) {
    if (CUresult result = blocked())
        return result;
    *event = new Event;
    return SUCCESS;
}
CUresult cuEventDestroy_v2(CUevent event) {
    delete event;
    return enter();
}
CUresult cuEventRecord(CUevent event, CUstream) {
    if (CUresult result = blocked())
        return result;
    event->recorded = cuda_emulator_clock();
    return SUCCESS;
}
CUresult cuEventQuery(CUevent) { return blocked(); }
CUresult cuEventSynchronize(CUevent) {
    if (CUresult result = blocked())
        return result;
    count("wait");
    trace("synchronize event");
    return SUCCESS;
}
CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
    if (CUresult result = blocked())
        return result;
    *milliseconds = float(double(end->recorded - start->recorded) / 1e6);
    return SUCCESS;
}
CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) { return cuEventElapsedTime_v2(milliseconds, start, end); }

// ---- Memory ----------------------------------------------------------------------------------------------------------------

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) { return size == 0 ? INVALID_VALUE : allocation(address, size); }
CUresult cuMemAllocAsync(CUdeviceptr *address, size_t size, CUstream) { return allocation(address, size); }
CUresult cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t size, CUmemoryPool, CUstream) { return allocation(address, size); }
CUresult cuMemAllocManaged(CUdeviceptr *address, size_t size, unsigned) { return cuMemAlloc_v2(address, size); }
CUresult cuMemFree_v2(CUdeviceptr address) { return freeing(address); }
CUresult cuMemFreeAsync(CUdeviceptr address, CUstream) { return freeing(address); }

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
    return posix_memalign(address, 4096, size ? size : 1) == 0 ? SUCCESS : OUT_OF_MEMORY;
}
CUresult cuMemAllocHost_v2(void **address, size_t size) { return cuMemHostAlloc(address, size, 0); }
CUresult cuMemFreeHost(void *address) {
    free(address);
    return enter();
}
CUresult cuMemHostRegister_v2(void *, size_t, unsigned) { return blocked(); }
CUresult cuMemHostUnregister(void *) { return blocked(); }

CUresult cuMemcpyHtoD_v2(CUdeviceptr target, const void *source, size_t size) { return copy("htod", target, source, nullptr, size); }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t size, CUstream) {
    return copy("htod", target, source, nullptr, size);
}
CUresult cuMemcpyDtoH_v2(void *target, CUdeviceptr source, size_t size) { return copy("dtoh", source, nullptr, target, size); }
CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t size, CUstream) {
    return copy("dtoh", source, nullptr, target, size);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr target, CUdeviceptr source, size_t size) { return copy_between(target, source, size); }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t size, CUstream) { return copy_between(target, source, size); }
CUresult cuMemcpyPeerAsync(CUdeviceptr target, CUcontext, CUdeviceptr source, CUcontext, size_t size, CUstream) {
    return copy_between(target, source, size);
}
CUresult cuMemsetD8_v2(CUdeviceptr target, unsigned char value, size_t times) { return fill(target, value, times); }
CUresult cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t times, CUstream) { return fill(target, value, times); }
CUresult cuMemsetD16Async(CUdeviceptr target, unsigned short value, size_t times, CUstream) { return fill(target, value, times); }
CUresult cuMemsetD32_v2(CUdeviceptr target, unsigned value, size_t times) { return fill(target, value, times); }
CUresult cuMemsetD32Async(CUdeviceptr target, unsigned value, size_t times, CUstream) { return fill(target, value, times); }

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
    if (!valid(device))
        return INVALID_DEVICE;
    *pool = &pools[device];
    return enter();
}
CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) { return cuDeviceGetDefaultMemPool(pool, device); }
CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool) { return valid(device) ? enter() : int(INVALID_DEVICE); }
CUresult cuMemPoolTrimTo(CUmemoryPool, size_t) { return enter(); }
CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void *value) {
    // 4: how much a pool keeps. Nothing is kept here.
    if (attribute == 4)
        pool->threshold = *static_cast<unsigned long long *>(value);
    return enter();
}
CUresult cuMemPoolGetAttribute(CUmemoryPool pool, int attribute, void *value) {
    unsigned long long used = used_memory(int(pool - pools));
    switch (attribute) {
    case 4: *static_cast<unsigned long long *>(value) = pool->threshold; break;
    case 5: case 6: case 7: case 8: *static_cast<unsigned long long *>(value) = used; break;
    default: *static_cast<int *>(value) = 1;
    }
    return enter();
}

CUresult cuPointerGetAttribute(void *value, int attribute, CUdeviceptr address) {
    if (!allocated(pointer(address), 1))
        return INVALID_VALUE;
    // 2: whose memory it is; 9: which card's.
    if (attribute == 2)
        *static_cast<unsigned *>(value) = 2;
    else if (attribute == 9)
        *static_cast<int *>(value) = current_context ? current_context->card : 0;
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
                        unsigned block_z, unsigned shared, CUstream, void **arguments, void **extra) {
    if (CUresult result = blocked())
        return result;
    const Kernel &kernel = *function->kernel;
    Launch launch{&kernel, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, arguments};
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
    if (CUresult result = planned_failure("launch"))
        return result;
    count("launch");
    trace("launch %s grid (%u, %u, %u) block (%u, %u, %u) shared %u", kernel.name, grid_x, grid_y, grid_z, block_x, block_y, block_z,
          shared);
    // As on a card: what goes wrong in a kernel is said by the calls after it.
    if (CUresult result = run(launch))
        stick(result);
    std::string name = std::string("kernel ") + kernel.name;
    for (unsigned i = 0; i < kernel.arguments; i++)
        if (kernel.pointers[i])
            check_bounds(*static_cast<void **>(arguments[i]), name.c_str());
    if (shared + static_shared(&kernel) > most + variables)
        die("kernel %s has %u bytes of shared variables, so that a launch may ask for %llu more, not %u", kernel.name,
            static_shared(&kernel), (unsigned long long)(most + variables - static_shared(&kernel)), shared);
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
