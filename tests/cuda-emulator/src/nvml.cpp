// libnvidia-ml.so.1: what a card does, as its driver tells. Memory and processes are those of all that share the card.

#define CUDA_EMULATOR_LIBRARY
#include "emulator.h"

#include <cstdio>
#include <cstring>
#include <strings.h>
#include <time.h>

using namespace cuda_emulator;

namespace {

enum Status : int {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID = 2,
    UNSUPPORTED = 3,
    NOT_THERE = 6,
    TOO_SMALL = 7,
    LOST = 15,
    NO_DATA = 21,
};

constexpr int MOST_PROCESSES = 256;
constexpr unsigned TEMPERATURE = 40, MILLIWATTS = 60'000, LIMIT = 300'000, BUSY = 50;

int users = 0;

/// A card is the address of its number here, so that null is none.
struct Device {
    int card;
} devices[MAX_CARDS];

int checked(Device *device) {
    hang();
    if (users == 0)
        return UNINITIALIZED;
    if (device < devices || device >= devices + cards())
        return INVALID;
    return lost(device->card) ? LOST : OK;
}

int text(char *out, unsigned length, const char *value) {
    if (strlen(value) + 1 > length)
        return TOO_SMALL;
    strcpy(out, value);
    return OK;
}

unsigned long long microseconds() {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (unsigned long long)now.tv_sec * 1'000'000 + (unsigned long long)now.tv_nsec / 1000;
}

struct ProcessInfo {
    unsigned process;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
};
struct Sample {
    unsigned process;
    unsigned long long time;
    unsigned sm, memory, encoder, decoder;
};
struct Memory {
    unsigned long long total, free, used;
};
struct MemoryV2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};
struct Utilization {
    unsigned gpu, memory;
};
struct Pci {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char text[32];
};

} // namespace

extern "C" {

int nvmlInit_v2() {
    hang();
    for (int card = 0; card < MAX_CARDS; card++)
        devices[card].card = card;
    users++;
    return OK;
}
int nvmlInitWithFlags(unsigned) { return nvmlInit_v2(); }
int nvmlShutdown() {
    hang();
    if (users == 0)
        return UNINITIALIZED;
    users--;
    return OK;
}
const char *nvmlErrorString(int status) {
    switch (status) {
    case OK: return "The operation was successful";
    case UNINITIALIZED: return "NVML was not first initialized with nvmlInit()";
    case INVALID: return "A supplied argument is invalid";
    case UNSUPPORTED: return "The requested operation is not available on target device";
    case NOT_THERE: return "A query to find an object was unsuccessful";
    case TOO_SMALL: return "An input argument is not large enough";
    case LOST: return "The GPU has fallen off the bus or has otherwise become inaccessible";
    default: return "An internal driver error occurred";
    }
}
int nvmlSystemGetDriverVersion(char *out, unsigned length) {
    hang();
    return text(out, length, "580.65.06");
}
int nvmlSystemGetNVMLVersion(char *out, unsigned length) {
    hang();
    return text(out, length, "13.580.65.06");
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    hang();
    *version = 13000;
    return OK;
}
int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    hang();
    if (users == 0)
        return UNINITIALIZED;
    *count = unsigned(cards());
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    hang();
    if (users == 0)
        return UNINITIALIZED;
    if (index >= unsigned(cards()))
        return INVALID;
    *device = &devices[index];
    return lost(int(index)) ? LOST : OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    hang();
    if (users == 0)
        return UNINITIALIZED;
    for (int card = 0; card < cards(); card++)
        if (strcasecmp(uuid, uuid_of(card).c_str()) == 0) {
            *device = &devices[card];
            return lost(card) ? LOST : OK;
        }
    return NOT_THERE;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, Device **device) {
    hang();
    if (users == 0)
        return UNINITIALIZED;
    for (int card = 0; card < cards(); card++) {
        char known[32];
        snprintf(known, sizeof known, "0000:%02X:00.0", unsigned(card) + 1);
        size_t length = strlen(bus), wanted = strlen(known);
        // The domain has four digits or eight.
        if (length >= wanted && strcasecmp(bus + (length - wanted), known) == 0) {
            *device = &devices[card];
            return lost(card) ? LOST : OK;
        }
    }
    return NOT_THERE;
}

int nvmlDeviceGetName(Device *device, char *out, unsigned length) {
    int status = checked(device);
    return status ? status : text(out, length, "Emulated card");
}
int nvmlDeviceGetUUID(Device *device, char *out, unsigned length) {
    if (int status = checked(device))
        return status;
    return text(out, length, uuid_of(device->card).c_str());
}
int nvmlDeviceGetIndex(Device *device, unsigned *index) {
    if (int status = checked(device))
        return status;
    *index = unsigned(device->card);
    return OK;
}
int nvmlDeviceGetPciInfo_v3(Device *device, Pci *pci) {
    if (int status = checked(device))
        return status;
    memset(pci, 0, sizeof *pci);
    pci->bus = unsigned(device->card) + 1;
    pci->id = 0x233010de;
    snprintf(pci->text, sizeof pci->text, "00000000:%02X:00.0", pci->bus);
    snprintf(pci->legacy, sizeof pci->legacy, "0000:%02X:00.0", pci->bus & 0xff);
    return OK;
}
int nvmlDeviceGetCudaComputeCapability(Device *device, int *major, int *minor) {
    if (int status = checked(device))
        return status;
    *major = 9;
    *minor = 0;
    return OK;
}

int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
    if (int status = checked(device))
        return status;
    unsigned long long used = used_memory(device->card), total = card_memory();
    *memory = {total, used < total ? total - used : 0, used};
    return OK;
}
int nvmlDeviceGetMemoryInfo_v2(Device *device, MemoryV2 *memory) {
    Memory first;
    if (int status = nvmlDeviceGetMemoryInfo(device, &first))
        return status;
    *memory = {memory->version, first.total, 0, first.free, first.used};
    return OK;
}
int nvmlDeviceGetUtilizationRates(Device *device, Utilization *utilization) {
    if (int status = checked(device))
        return status;
    unsigned busy = processes(device->card, nullptr, 0) > 0 ? BUSY : 0;
    *utilization = {busy, busy / 2};
    return OK;
}
int nvmlDeviceGetTemperature(Device *device, int, unsigned *temperature) {
    if (int status = checked(device))
        return status;
    *temperature = TEMPERATURE;
    return OK;
}
int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    if (int status = checked(device))
        return status;
    *milliwatts = MILLIWATTS;
    return OK;
}
int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *milliwatts) {
    if (int status = checked(device))
        return status;
    *milliwatts = LIMIT;
    return OK;
}
int nvmlDeviceGetPowerManagementLimit(Device *device, unsigned *milliwatts) { return nvmlDeviceGetEnforcedPowerLimit(device, milliwatts); }

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, ProcessInfo *infos) {
    if (int status = checked(device))
        return status;
    Use uses[MOST_PROCESSES];
    int found = processes(device->card, uses, MOST_PROCESSES);
    unsigned room = *count;
    *count = unsigned(found);
    if (room < unsigned(found) || (found > 0 && !infos))
        return TOO_SMALL;
    for (int i = 0; i < found; i++)
        infos[i] = {unsigned(uses[i].process), uses[i].bytes, ~0u, ~0u};
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *count, ProcessInfo *infos) {
    return nvmlDeviceGetComputeRunningProcesses_v3(device, count, infos);
}
int nvmlDeviceGetProcessUtilization(Device *device, Sample *samples, unsigned *count, unsigned long long since) {
    if (int status = checked(device))
        return status;
    Use uses[MOST_PROCESSES];
    int found = processes(device->card, uses, MOST_PROCESSES);
    unsigned long long now = microseconds();
    if (found == 0 || now <= since)
        return NOT_THERE;
    unsigned room = *count;
    *count = unsigned(found);
    if (!samples || room < unsigned(found))
        return TOO_SMALL;
    for (int i = 0; i < found; i++)
        samples[i] = {unsigned(uses[i].process), now, BUSY / unsigned(found), 0, 0, 0};
    return OK;
}
}
