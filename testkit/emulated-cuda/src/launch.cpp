// Kernels: the modules that name them, and what runs them.
#include "device.h"

#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <ucontext.h>

namespace driver {
namespace {

constexpr size_t STACK = size_t(64) << 10;
/// Dynamic shared memory that a kernel has without asking.
constexpr unsigned FREE_SHARED = 48 << 10;

struct fault {};

struct module {
    std::set<std::string> names;
};

struct variable {
    char *at;
    std::vector<char> initial;
};

std::map<std::string, emulated::kernel> &kernels() {
    static auto &all = *new std::map<std::string, emulated::kernel>;
    return all;
}

std::multimap<std::string, variable> &variables() {
    static auto &all = *new std::multimap<std::string, variable>;
    return all;
}

std::set<module *> modules;
std::map<const emulated::kernel *, unsigned> allowed_shared;

// Fibers: one per thread of a block, used again by the next block.
struct fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[STACK]};
    emulated::index3 index;
    bool done;
};

/// One kernel runs at a time, whatever the device: what follows is there once.
std::mutex &kernel_lock = *new std::mutex;
ucontext_t scheduler;
std::vector<fiber> &fibers = *new std::vector<fiber>;
fiber *running = nullptr;
const launch *launched = nullptr;
std::vector<void *> &arguments = *new std::vector<void *>;
bool trapped = false;

thread_local bool in_kernel = false;
sigjmp_buf after_kernel;
struct sigaction handler_before;

void fiber_main() {
    try {
        launched->kernel->call(arguments.data());
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
    if (launched->kernel->has_barriers) return run_fibers(threads);
    for (const auto &thread : threads) {
        emulated::thread_index = thread;
        launched->kernel->call(arguments.data());
    }
}

std::vector<emulated::index3> all_indices(const emulated::index3 &size) {
    std::vector<emulated::index3> all;
    for (unsigned z = 0; z < size.z; z++)
        for (unsigned y = 0; y < size.y; y++)
            for (unsigned x = 0; x < size.x; x++) all.push_back({x, y, z});
    return all;
}

/// A kernel that touched memory that is not its own ends with a fault; other code keeps the handler it had.
void on_bad_address(int signal, siginfo_t *what, void *context) {
    if (in_kernel) siglongjmp(after_kernel, 1);
    if (handler_before.sa_flags & SA_SIGINFO) return handler_before.sa_sigaction(signal, what, context);
    if (handler_before.sa_handler != SIG_DFL && handler_before.sa_handler != SIG_IGN)
        return handler_before.sa_handler(signal);
    // The instruction is tried again, and ends the process.
    ::signal(signal, SIG_DFL);
}

void catch_bad_addresses() {
    static bool done = [] {
        struct sigaction action = {};
        action.sa_sigaction = on_bad_address;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        return sigaction(SIGSEGV, &action, &handler_before) == 0;
    }();
    (void)done;
}

template <typename T> T read(const char *at) {
    T value;
    memcpy(&value, at, sizeof value);
    return value;
}

/// The strings of an ELF image's string tables, among them the names of its kernels and variables.
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

int run(const launch &asked) {
    std::lock_guard<std::mutex> alone(kernel_lock);
    launched = &asked;
    trapped = false;
    arguments.clear();
    for (size_t offset : asked.offsets) arguments.push_back(const_cast<unsigned char *>(asked.values.data()) + offset);
    emulated::grid_size = asked.grid;
    emulated::block_size = asked.threads;
    // Made here, as a jump out of a kernel runs no destructors.
    static auto &threads = *new std::vector<emulated::index3>, &blocks = *new std::vector<emulated::index3>;
    threads = all_indices(asked.threads);
    blocks = all_indices(asked.grid);
    int left = SUCCESS;
    in_kernel = true;
    if (sigsetjmp(after_kernel, 1) == 0) {
        try {
            for (const auto &block : blocks) {
                emulated::block_index = block;
                run_block(threads);
            }
        } catch (const fault &) {
            left = LAUNCH_FAILED;
        }
    } else {
        left = ILLEGAL_ADDRESS;
    }
    in_kernel = false;
    return left;
}

int prepare(const emulated::kernel *kernel, const unsigned (&grid)[3], const unsigned (&block)[3], unsigned shared,
            void **parameters, launch &prepared) {
    unsigned long long threads = 1ull * block[0] * block[1] * block[2];
    if (!grid[0] || !grid[1] || !grid[2] || threads == 0 || threads > MAX_THREADS) return INVALID_VALUE;
    auto most = allowed_shared.find(kernel);
    if (shared > (most == allowed_shared.end() ? FREE_SHARED : most->second)) return INVALID_VALUE;
    prepared = {kernel, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, {}, {}};
    for (size_t i = 0; i < kernel->parameters.size(); i++) {
        // Each value is aligned, as the kernel takes it by its type.
        size_t at = (prepared.values.size() + 15) / 16 * 16, size = kernel->parameters[i];
        prepared.values.resize(at + size);
        memcpy(prepared.values.data() + at, parameters[i], size);
        prepared.offsets.push_back(at);
    }
    return SUCCESS;
}

} // namespace driver

namespace emulated {

index3 thread_index, block_index, block_size, grid_size;

void barrier() { swapcontext(&driver::running->context, &driver::scheduler); }

void trap() { throw driver::fault{}; }

void sleep(unsigned nanoseconds) { std::this_thread::sleep_for(std::chrono::nanoseconds(nanoseconds)); }

void add_kernel(const std::string &name, kernel added) { driver::kernels()[name] = std::move(added); }

void add_variable(const std::string &name, void *at, size_t size) {
    char *start = static_cast<char *>(at);
    driver::variables().insert({name, {start, std::vector<char>(start, start + size)}});
}

} // namespace emulated

using namespace driver;

DRIVER int cuModuleLoadData(module **loaded, const void *image) {
    IN_CONTEXT;
    auto made = std::make_unique<module>();
    if (!read_names(static_cast<const char *>(image), made->names)) return INVALID_IMAGE;
    if (int fault = drain(*on, held)) return fault;
    catch_bad_addresses();
    // A module that is loaded has its variables as they were written in the source.
    for (auto &[name, kept] : variables())
        if (made->names.count(name)) memcpy(kept.at, kept.initial.data(), kept.initial.size());
    counted.module_loads++;
    *loaded = made.release();
    modules.insert(*loaded);
    return SUCCESS;
}

DRIVER int cuModuleUnload(module *loaded) {
    IN_CONTEXT;
    if (!modules.erase(loaded)) return INVALID_HANDLE;
    delete loaded;
    return SUCCESS;
}

DRIVER int cuModuleGetFunction(const emulated::kernel **function, module *loaded, const char *name) {
    IN_CONTEXT;
    if (!modules.count(loaded)) return INVALID_HANDLE;
    auto found = kernels().find(name);
    if (found == kernels().end() || !loaded->names.count(name)) return NOT_FOUND;
    *function = &found->second;
    return SUCCESS;
}

DRIVER int cuFuncGetParamInfo(const emulated::kernel *function, size_t index, size_t *offset, size_t *size) {
    IN_CONTEXT;
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
    IN_CONTEXT;
    *value = attribute == 0 ? static_cast<int>(MAX_THREADS) : 0;
    return SUCCESS;
}

DRIVER int cuFuncSetAttribute(const emulated::kernel *function, int attribute, int value) {
    IN_CONTEXT;
    constexpr int MAX_DYNAMIC_SHARED = 8;
    if (attribute != MAX_DYNAMIC_SHARED) return SUCCESS;
    if (value < 0 || static_cast<unsigned>(value) > MAX_SHARED) return INVALID_VALUE;
    allowed_shared[function] = static_cast<unsigned>(value);
    return SUCCESS;
}
