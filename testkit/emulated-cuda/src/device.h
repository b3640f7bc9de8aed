// What the parts of the emulated driver share.
//
// A device works off one queue, in the order in which its streams were fed, on a thread of its own: launches, copies
// and frees happen after the call that asks for them has returned, as on a GPU. Errors of kernels show up later, too.
#pragma once

#include "emulated_cuda.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define DRIVER extern "C" __attribute__((visibility("default")))

namespace driver {

enum result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_PTX = 218,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    ALREADY_REGISTERED = 712,
    NOT_REGISTERED = 713,
    LAUNCH_FAILED = 719,
};

constexpr size_t MEMORY = size_t(1) << 30;
constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned MAX_SHARED = 227 << 10;

using moment = std::chrono::steady_clock::time_point;

struct stream {
    size_t pending = 0;
};

struct event {
    size_t pending = 0;
    bool recorded = false;
    moment at;
};

/// Device memory, which ends at a guard: a write past its end is a fault, as it is on a GPU.
struct block {
    char *map;
    size_t room;
    /// Where it lies in the device's memory, if processes share that.
    size_t offset;
};

/// A kernel with the values that it is called with, copied when the launch was asked for.
struct launch {
    const emulated::kernel *kernel;
    emulated::index3 grid, threads;
    std::vector<unsigned char> values;
    std::vector<size_t> offsets;
};

struct operation {
    std::function<int()> run;
    std::shared_ptr<driver::stream> stream;
    std::shared_ptr<driver::event> event;
};

struct device {
    int number;
    unsigned retained = 0;
    /// The error that a kernel left; every call fails with it until the context is reset.
    int fault = SUCCESS;
    std::deque<operation> queue;
    /// Operations queued or under way.
    size_t pending = 0;
    bool has_thread = false;
    std::map<uintptr_t, block> memory;
    /// The memory that all processes on this device share, or -1; and which parts of it this process has.
    int shared = -1;
    std::map<size_t, size_t> taken;
    /// Freed in stream order and kept, with what was written there.
    std::vector<block> pool;
    size_t reserved = 0;
    size_t used = 0;
    uint64_t release_threshold = 0;
    size_t limits[8] = {1024, 1 << 20, 8 << 20};
    std::map<void *, std::shared_ptr<driver::stream>> streams;
    std::map<void *, std::shared_ptr<driver::event>> events;
};

/// What tests ask about; `lib.rs` reads these by their order.
struct counters {
    uint64_t launches, graph_launches, module_loads, live_bytes, pooled_bytes, pinned_bytes, pageable_bytes, dirty_frees;
};

/// Guards everything in the driver but the memory that kernels use. Never destroyed: threads outlive `main`.
extern std::mutex &lock;
extern std::condition_variable &progress;
extern driver::counters counted;

/// The device whose context is current on this thread, or null.
device *current();

/// Waits, with the lock given up meanwhile, until a device has done all that was queued; returns its fault.
int drain(device &on, std::unique_lock<std::mutex> &held);

/// Queues an operation behind all others.
void enqueue(device &on, operation asked);

/// Gives unused memory back until only this much is reserved.
void trim(device &on, size_t keep);

/// Gets hold of a device's memory where processes share it; an error if that cannot be had.
int open_memory(device &on);

/// Frees all memory of a device.
void release_memory(device &on);

/// Whether these bytes of device memory were handed out.
bool is_mine(device &on, uintptr_t at, size_t length);

/// Calls a kernel for every thread of its grid; returns the error that it left.
int run(const launch &asked);

/// Copies a launch's values; an error if it cannot be made.
int prepare(const emulated::kernel *kernel, const unsigned (&grid)[3], const unsigned (&block)[3], unsigned shared,
            void **parameters, launch &prepared);

/// Machine code for PTX: an ELF image with the names of its kernels. The log says what is wrong where it returns none.
std::vector<char> assemble(const std::string &text, std::string &log);

} // namespace driver

/// Begins a call of the API that needs a context: holds the lock, and fails as the context does.
#define IN_CONTEXT                                                                                                     \
    std::unique_lock<std::mutex> held(driver::lock);                                                         \
    driver::device *on = driver::current();                                                                            \
    if (!on) return driver::INVALID_CONTEXT;                                                                           \
    if (on->fault) return on->fault
