// The symbols of libcuda.so.1 that the worker resolves, over main memory.
//
// It keeps to the driver's contract where the worker relies on it: memory is handed out dirty, addresses and lengths
// are checked, a module knows only the kernels of its own machine code, and a fault makes every later call fail until
// the context is reset.
#include "emulated_cuda.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <ucontext.h>

namespace {

enum result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    NOT_FOUND = 500,
    NOT_READY = 600,
    LAUNCH_FAILED = 719,
};

constexpr size_t MEMORY = size_t(1) << 30;
constexpr size_t STACK = size_t(64) << 10;
constexpr unsigned MAX_THREADS = 1024;

struct fault {};

struct module {
    std::set<std::string> names;
};

using moment = std::chrono::steady_clock::time_point;

struct event {
    moment at;
};

std::recursive_mutex lock;
std::map<uintptr_t, size_t> memory;
size_t used = 0;
bool faulted = false;
// Kernels that sleep return at once, and keep the device busy until then.
moment busy_until;

moment now() { return std::chrono::steady_clock::now(); }

std::map<std::string, emulated::kernel> &kernels() {
    static std::map<std::string, emulated::kernel> all;
    return all;
}

/// Whether a range lies in memory that was handed out.
bool is_mine(uintptr_t at, size_t length) {
    auto next = memory.upper_bound(at);
    if (next == memory.begin()) return false;
    auto &[start, size] = *std::prev(next);
    return at - start <= size && length <= size - (at - start);
}

// Fibers: one per thread of a block, used again by the next block.
struct fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[STACK]};
    emulated::index3 index;
    bool done;
};

ucontext_t scheduler;
std::vector<fiber> fibers;
fiber *running = nullptr;
const emulated::kernel *launched = nullptr;
void **arguments = nullptr;
bool trapped = false;

void fiber_main() {
    try {
        launched->call(arguments);
    } catch (const fault &) {
        trapped = true;
    }
    running->done = true;
    swapcontext(&running->context, &scheduler);
}

void run_fibers(const std::vector<emulated::index3> &threads) {
    if (fibers.size() < threads.size()) fibers.resize(threads.size());
    for (size_t i = 0; i < threads.size(); i++) {
        fiber &f = fibers[i];
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get();
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = nullptr;
        f.index = threads[i];
        f.done = false;
        makecontext(&f.context, fiber_main, 0);
    }
    // Each turn takes every thread to its next barrier, or to its end.
    for (size_t left = threads.size(); left > 0 && !trapped;) {
        for (size_t i = 0; i < threads.size() && !trapped; i++) {
            if (fibers[i].done) continue;
            running = &fibers[i];
            emulated::thread_index = running->index;
            swapcontext(&scheduler, &running->context);
            if (running->done) left--;
        }
    }
    running = nullptr;
    if (trapped) throw fault{};
}

void run_block(const std::vector<emulated::index3> &threads) {
    if (launched->has_barriers) return run_fibers(threads);
    for (const auto &thread : threads) {
        emulated::thread_index = thread;
        launched->call(arguments);
    }
}

std::vector<emulated::index3> all_indices(const emulated::index3 &size) {
    std::vector<emulated::index3> all;
    for (unsigned z = 0; z < size.z; z++)
        for (unsigned y = 0; y < size.y; y++)
            for (unsigned x = 0; x < size.x; x++) all.push_back({x, y, z});
    return all;
}

template <typename T> T read(const char *at) {
    T value;
    memcpy(&value, at, sizeof value);
    return value;
}

/// The strings of an ELF image's string tables, among them the names of its kernels.
bool read_names(const char *image, std::set<std::string> &names) {
    constexpr unsigned STRING_TABLE = 3;
    if (memcmp(image, "\x7f""ELF\x02", 5) != 0) return false;
    const char *section = image + read<uint64_t>(image + 0x28);
    unsigned size = read<uint16_t>(image + 0x3a), count = read<uint16_t>(image + 0x3c);
    for (unsigned i = 0; i < count; i++, section += size) {
        if (read<uint32_t>(section + 4) != STRING_TABLE) continue;
        const char *at = image + read<uint64_t>(section + 0x18), *end = at + read<uint64_t>(section + 0x20);
        for (; at < end; at += strlen(at) + 1) names.insert(at);
    }
    return true;
}

} // namespace

namespace emulated {

index3 thread_index, block_index, block_size, grid_size;

void barrier() { swapcontext(&running->context, &scheduler); }

void trap() { throw fault{}; }

void sleep(unsigned nanoseconds) { busy_until = std::max(busy_until, now()) + std::chrono::nanoseconds(nanoseconds); }

void add_kernel(const std::string &name, kernel added) { kernels()[name] = std::move(added); }

} // namespace emulated

#define DRIVER extern "C" __attribute__((visibility("default")))
#define GUARD                                                                                                          \
    std::lock_guard<std::recursive_mutex> held(lock);                                                                  \
    if (faulted) return LAUNCH_FAILED
#define GUARD_AND_WAIT                                                                                                 \
    GUARD;                                                                                                             \
    std::this_thread::sleep_until(busy_until)

/// For the emulated cuBLASLt, which is a library of its own.
DRIVER bool emulated_memory_holds(uintptr_t at, size_t length) {
    std::lock_guard<std::recursive_mutex> held(lock);
    return is_mine(at, length);
}

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
    case NOT_FOUND: *text = "named symbol not found"; break;
    case LAUNCH_FAILED: *text = "unspecified launch failure"; break;
    default: *text = "error of the emulated device";
    }
    return SUCCESS;
}

DRIVER int cuDeviceGetCount(int *count) {
    *count = 1;
    return SUCCESS;
}

DRIVER int cuDeviceGet(int *device, int number) {
    *device = 0;
    return number == 0 ? SUCCESS : INVALID_DEVICE;
}

DRIVER int cuDeviceGetName(char *name, int length, int) {
    strncpy(name, "emulated", static_cast<size_t>(length));
    return SUCCESS;
}

DRIVER int cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = MEMORY;
    return SUCCESS;
}

DRIVER int cuDeviceGetAttribute(int *value, int attribute, int) {
    static const std::map<int, int> values = {{1, MAX_THREADS}, {2, 1024},  {3, 1024},  {4, 64},
                                              {5, 0x7fffffff},  {6, 65535}, {7, 65535}, {75, 9}};
    auto found = values.find(attribute);
    *value = found == values.end() ? 0 : found->second;
    return SUCCESS;
}

DRIVER int cuDevicePrimaryCtxRetain(void **context, int) {
    static int the_context;
    *context = &the_context;
    return SUCCESS;
}

DRIVER int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }

DRIVER int cuDevicePrimaryCtxReset_v2(int) {
    std::lock_guard<std::recursive_mutex> held(lock);
    for (auto &[start, size] : memory) free(reinterpret_cast<void *>(start));
    memory.clear();
    used = 0;
    faulted = false;
    busy_until = {};
    return SUCCESS;
}

DRIVER int cuCtxSetCurrent(void *) { return SUCCESS; }

DRIVER int cuStreamQuery(void *) {
    GUARD;
    return now() < busy_until ? NOT_READY : SUCCESS;
}

DRIVER int cuMemAlloc_v2(uintptr_t *address, size_t bytes) {
    GUARD;
    if (bytes == 0) return INVALID_VALUE;
    if (bytes > MEMORY - used) return OUT_OF_MEMORY;
    void *start = malloc(bytes);
    if (!start) return OUT_OF_MEMORY;
    memset(start, 0xa5, bytes);
    *address = reinterpret_cast<uintptr_t>(start);
    memory[*address] = bytes;
    used += bytes;
    return SUCCESS;
}

DRIVER int cuMemFree_v2(uintptr_t address) {
    GUARD_AND_WAIT;
    auto found = memory.find(address);
    if (found == memory.end()) return INVALID_VALUE;
    used -= found->second;
    free(reinterpret_cast<void *>(address));
    memory.erase(found);
    return SUCCESS;
}

DRIVER int cuMemsetD8_v2(uintptr_t address, unsigned char value, size_t bytes) {
    GUARD_AND_WAIT;
    if (!is_mine(address, bytes)) return INVALID_VALUE;
    memset(reinterpret_cast<void *>(address), value, bytes);
    return SUCCESS;
}

DRIVER int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t bytes) {
    GUARD_AND_WAIT;
    if (!is_mine(to, bytes)) return INVALID_VALUE;
    memcpy(reinterpret_cast<void *>(to), from, bytes);
    return SUCCESS;
}

DRIVER int cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t bytes) {
    GUARD_AND_WAIT;
    if (!is_mine(from, bytes)) return INVALID_VALUE;
    memcpy(to, reinterpret_cast<const void *>(from), bytes);
    return SUCCESS;
}

DRIVER int cuModuleLoadData(module **loaded, const void *image) {
    GUARD;
    auto made = std::make_unique<module>();
    if (!read_names(static_cast<const char *>(image), made->names)) return INVALID_IMAGE;
    *loaded = made.release();
    return SUCCESS;
}

DRIVER int cuModuleUnload(module *loaded) {
    delete loaded;
    return SUCCESS;
}

DRIVER int cuModuleGetFunction(const emulated::kernel **function, module *loaded, const char *name) {
    GUARD;
    auto found = kernels().find(name);
    if (found == kernels().end() || !loaded->names.count(name)) return NOT_FOUND;
    *function = &found->second;
    return SUCCESS;
}

DRIVER int cuFuncGetParamInfo(const emulated::kernel *function, size_t index, size_t *offset, size_t *size) {
    GUARD;
    size_t at = 0;
    if (index >= function->parameters.size()) return INVALID_VALUE;
    for (size_t i = 0; i <= index; i++) {
        *size = function->parameters[i];
        *offset = at = (at + *size - 1) / *size * *size;
        at += *size;
    }
    return SUCCESS;
}

DRIVER int cuFuncGetAttribute(int *value, int attribute, const emulated::kernel *) {
    GUARD;
    *value = attribute == 0 ? static_cast<int>(MAX_THREADS) : 0;
    return SUCCESS;
}

DRIVER int cuFuncSetAttribute(const emulated::kernel *, int, int value) {
    GUARD;
    return value <= 227 << 10 ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuEventCreate(event **created, unsigned) {
    GUARD;
    *created = new event{};
    return SUCCESS;
}

DRIVER int cuEventRecord(event *recorded, void *) {
    GUARD;
    recorded->at = std::max(now(), busy_until);
    return SUCCESS;
}

DRIVER int cuEventQuery(event *queried) {
    GUARD;
    return now() < queried->at ? NOT_READY : SUCCESS;
}

DRIVER int cuEventElapsedTime_v2(float *milliseconds, event *start, event *end) {
    GUARD;
    *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
    return SUCCESS;
}

DRIVER int cuEventDestroy_v2(event *destroyed) {
    delete destroyed;
    return SUCCESS;
}

DRIVER int cuLaunchKernel(const emulated::kernel *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                          unsigned by, unsigned bz, unsigned, void *, void **parameters, void **) {
    GUARD;
    launched = function;
    arguments = parameters;
    trapped = false;
    emulated::grid_size = {gx, gy, gz};
    emulated::block_size = {bx, by, bz};
    auto threads = all_indices(emulated::block_size);
    try {
        for (const auto &block : all_indices(emulated::grid_size)) {
            emulated::block_index = block;
            run_block(threads);
        }
    } catch (const fault &) {
        // A real launch fails later, at the next call that waits for it.
        faulted = true;
    }
    return SUCCESS;
}
