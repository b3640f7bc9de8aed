// Devices, their contexts and their queues.
#include "device.h"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <thread>

namespace driver {

std::mutex &lock = *new std::mutex;
std::condition_variable &progress = *new std::condition_variable;
driver::counters counted = {};

namespace {

thread_local device *here = nullptr;

/// How many there are: `CAPA_EMULATED_DEVICES`, else what the folder of this library is called, `devices-<n>`, as the
/// environment of a job's process is empty. One where neither says more.
unsigned count_devices() {
    const char *told = getenv("CAPA_EMULATED_DEVICES");
    std::string folder;
    Dl_info self;
    if (!told && dladdr(reinterpret_cast<void *>(&count_devices), &self)) {
        folder = self.dli_fname;
        folder = folder.substr(0, folder.rfind('/'));
        size_t name = folder.rfind("/devices-");
        if (name != std::string::npos) told = folder.c_str() + name + strlen("/devices-");
    }
    return told ? std::clamp(static_cast<unsigned>(strtoul(told, nullptr, 10)), 1u, 16u) : 1;
}

/// The devices that this process sees: all, or those that `CUDA_VISIBLE_DEVICES` lists, up to the first unknown one.
std::vector<device> &devices() {
    static auto &all = *[] {
        std::vector<int> seen;
        int count = static_cast<int>(count_devices());
        if (const char *list = getenv("CUDA_VISIBLE_DEVICES")) {
            for (char *end; *list; list = *end ? end + 1 : end) {
                long number = strtol(list, &end, 10);
                if (end == list || number < 0 || number >= count) break;
                seen.push_back(static_cast<int>(number));
            }
        } else {
            for (int number = 0; number < count; number++) seen.push_back(number);
        }
        auto *made = new std::vector<device>(seen.size());
        for (size_t i = 0; i < made->size(); i++) (*made)[i].number = seen[i];
        return made;
    }();
    return all;
}

device *find(int number) {
    bool known = number >= 0 && static_cast<size_t>(number) < devices().size();
    return known ? &devices()[static_cast<size_t>(number)] : nullptr;
}

/// The thread of a device.
void work(device &on) {
    std::unique_lock<std::mutex> held(lock);
    for (;;) {
        progress.wait(held, [&] { return !on.queue.empty(); });
        operation next = std::move(on.queue.front());
        on.queue.pop_front();
        if (next.run && !on.fault) {
            held.unlock();
            int left = next.run();
            held.lock();
            if (left) on.fault = left;
        }
        if (next.event) {
            next.event->at = std::chrono::steady_clock::now();
            next.event->pending--;
        }
        if (next.stream) next.stream->pending--;
        on.pending--;
        progress.notify_all();
    }
}

/// Destroys all that lives in a context.
void reset(device &on, std::unique_lock<std::mutex> &held) {
    drain(on, held);
    release_memory(on);
    on.streams.clear();
    on.events.clear();
    on.fault = SUCCESS;
}

} // namespace

device *current() { return here; }

int drain(device &on, std::unique_lock<std::mutex> &held) {
    progress.wait(held, [&] { return on.pending == 0; });
    if (on.reserved > on.release_threshold) trim(on, on.release_threshold);
    return on.fault;
}

void enqueue(device &on, operation asked) {
    if (!on.has_thread) {
        // It runs until the process ends: a kernel may never return.
        std::thread(work, std::ref(on)).detach();
        on.has_thread = true;
    }
    if (asked.stream) asked.stream->pending++;
    if (asked.event) {
        asked.event->recorded = true;
        asked.event->pending++;
    }
    on.pending++;
    on.queue.push_back(std::move(asked));
    progress.notify_all();
}

} // namespace driver

using namespace driver;

DRIVER int cuInit(unsigned) { return SUCCESS; }

DRIVER int cuDriverGetVersion(int *version) {
    *version = 13000;
    return SUCCESS;
}

/// NVRTC looks for private tables of the real driver, and does without.
DRIVER int cuGetExportTable(const void **table, const void *) {
    *table = nullptr;
    return NOT_FOUND;
}

DRIVER int cuGetErrorName(int error, const char **name) {
    *name = error == SUCCESS ? "CUDA_SUCCESS" : "CUDA_ERROR_EMULATED";
    return SUCCESS;
}

DRIVER int cuGetErrorString(int error, const char **text) {
    switch (error) {
    case SUCCESS: *text = "no error"; break;
    case INVALID_VALUE: *text = "invalid argument"; break;
    case OUT_OF_MEMORY: *text = "out of memory"; break;
    case INVALID_DEVICE: *text = "invalid device ordinal"; break;
    case INVALID_CONTEXT: *text = "invalid device context"; break;
    case INVALID_PTX: *text = "a PTX JIT compilation failed"; break;
    case INVALID_HANDLE: *text = "invalid resource handle"; break;
    case NOT_FOUND: *text = "named symbol not found"; break;
    case ILLEGAL_ADDRESS: *text = "an illegal memory access was encountered"; break;
    case LAUNCH_FAILED: *text = "unspecified launch failure"; break;
    default: *text = "error of the emulated device";
    }
    return SUCCESS;
}

DRIVER int cuDeviceGetCount(int *count) {
    *count = static_cast<int>(devices().size());
    return SUCCESS;
}

DRIVER int cuDeviceGet(int *handle, int number) {
    if (!find(number)) return INVALID_DEVICE;
    *handle = number;
    return SUCCESS;
}

DRIVER int cuDeviceGetName(char *name, int length, int) {
    strncpy(name, "emulated", static_cast<size_t>(length));
    return SUCCESS;
}

/// Sixteen bytes that only the emulation gives: its name, and the device's number.
DRIVER int cuDeviceGetUuid_v2(char *uuid, int number) {
    device *on = find(number);
    if (!on) return INVALID_DEVICE;
    memset(uuid, 0, 16);
    strcpy(uuid, "emulated");
    uuid[15] = static_cast<char>(on->number);
    return SUCCESS;
}

DRIVER int cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = MEMORY;
    return SUCCESS;
}

DRIVER int cuDeviceGetAttribute(int *value, int attribute, int) {
    static const std::map<int, int> values = {{1, MAX_THREADS}, {2, 1024},  {3, 1024},  {4, 64}, {5, 0x7fffffff},
                                              {6, 65535},       {7, 65535}, {16, 1},    {39, 2048}, {75, 9}, {115, 1}};
    auto found = values.find(attribute);
    *value = found == values.end() ? 0 : found->second;
    return SUCCESS;
}

DRIVER int cuDevicePrimaryCtxRetain(void **context, int number) {
    std::lock_guard<std::mutex> held(lock);
    device *on = find(number);
    if (!on) return INVALID_DEVICE;
    if (int failed = open_memory(*on)) return failed;
    on->retained++;
    *context = on;
    return SUCCESS;
}

DRIVER int cuDevicePrimaryCtxRelease_v2(int number) {
    std::unique_lock<std::mutex> held(lock);
    device *on = find(number);
    if (!on || on->retained == 0) return INVALID_CONTEXT;
    if (--on->retained == 0) reset(*on, held);
    return SUCCESS;
}

DRIVER int cuDevicePrimaryCtxReset_v2(int number) {
    std::unique_lock<std::mutex> held(lock);
    device *on = find(number);
    if (!on) return INVALID_DEVICE;
    reset(*on, held);
    return SUCCESS;
}

DRIVER int cuCtxSetCurrent(void *context) {
    here = static_cast<device *>(context);
    return SUCCESS;
}

DRIVER int cuCtxGetCurrent(void **context) {
    *context = here;
    return SUCCESS;
}

DRIVER int cuCtxSetLimit(unsigned which, size_t value) {
    IN_CONTEXT;
    if (which >= 8) return INVALID_VALUE;
    on->limits[which] = value;
    return SUCCESS;
}

DRIVER int cuCtxGetLimit(size_t *value, unsigned which) {
    IN_CONTEXT;
    if (which >= 8) return INVALID_VALUE;
    *value = on->limits[which];
    return SUCCESS;
}

DRIVER int cuCtxSynchronize() {
    IN_CONTEXT;
    return drain(*on, held);
}

/// For tests alone: what happened so far, in all devices.
DRIVER void emulated_counters(driver::counters *told) {
    std::lock_guard<std::mutex> held(lock);
    counted.live_bytes = counted.pooled_bytes = 0;
    for (const device &on : devices()) {
        counted.live_bytes += on.used;
        counted.pooled_bytes += on.reserved - on.used;
    }
    *told = counted;
}
