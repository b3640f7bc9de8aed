// Streams, events, and graphs of launches.
#include "device.h"

#include <algorithm>

namespace driver {
namespace {

struct graph;

struct node {
    const graph *of;
    launch asked;
};

struct graph {
    std::vector<std::unique_ptr<node>> nodes;
};

using recorded = std::vector<launch>;

std::set<graph *> graphs;
std::map<void *, std::shared_ptr<recorded>> executables;

std::shared_ptr<stream> stream_of(device &on, void *handle) {
    auto found = on.streams.find(handle);
    return found == on.streams.end() ? nullptr : found->second;
}

/// The null stream is always there.
bool exists(device &on, void *handle) { return !handle || on.streams.count(handle); }

event *event_of(device &on, void *handle) {
    auto found = on.events.find(handle);
    return found == on.events.end() ? nullptr : found->second.get();
}

} // namespace
} // namespace driver

using namespace driver;

DRIVER int cuStreamCreate(void **created, unsigned) {
    IN_CONTEXT;
    auto made = std::make_shared<stream>();
    *created = made.get();
    on->streams[made.get()] = made;
    return SUCCESS;
}

DRIVER int cuStreamDestroy_v2(void *destroyed) {
    IN_CONTEXT;
    return on->streams.erase(destroyed) ? SUCCESS : INVALID_HANDLE;
}

DRIVER int cuStreamQuery(void *queried) {
    IN_CONTEXT;
    if (!exists(*on, queried)) return INVALID_HANDLE;
    size_t pending = queried ? on->streams[queried]->pending : on->pending;
    return pending ? NOT_READY : SUCCESS;
}

DRIVER int cuStreamSynchronize(void *waited_for) {
    IN_CONTEXT;
    if (!exists(*on, waited_for)) return INVALID_HANDLE;
    return drain(*on, held);
}

/// The queue is in order over all streams, so there is nothing to wait for.
DRIVER int cuStreamWaitEvent(void *waiting, void *waited_for, unsigned) {
    IN_CONTEXT;
    return exists(*on, waiting) && event_of(*on, waited_for) ? SUCCESS : INVALID_HANDLE;
}

DRIVER int cuEventCreate(void **created, unsigned) {
    IN_CONTEXT;
    auto made = std::make_shared<event>();
    *created = made.get();
    on->events[made.get()] = made;
    return SUCCESS;
}

DRIVER int cuEventDestroy_v2(void *destroyed) {
    IN_CONTEXT;
    return on->events.erase(destroyed) ? SUCCESS : INVALID_HANDLE;
}

DRIVER int cuEventRecord(void *asked, void *in) {
    IN_CONTEXT;
    if (!event_of(*on, asked) || !exists(*on, in)) return INVALID_HANDLE;
    enqueue(*on, {nullptr, stream_of(*on, in), on->events[asked]});
    return SUCCESS;
}

DRIVER int cuEventQuery(void *asked) {
    IN_CONTEXT;
    event *queried = event_of(*on, asked);
    if (!queried) return INVALID_HANDLE;
    return queried->pending ? NOT_READY : SUCCESS;
}

DRIVER int cuEventSynchronize(void *asked) {
    IN_CONTEXT;
    event *waited_for = event_of(*on, asked);
    if (!waited_for) return INVALID_HANDLE;
    progress.wait(held, [&] { return waited_for->pending == 0; });
    return on->fault;
}

DRIVER int cuEventElapsedTime_v2(float *milliseconds, void *from, void *to) {
    IN_CONTEXT;
    event *start = event_of(*on, from), *end = event_of(*on, to);
    if (!start || !end || !start->recorded || !end->recorded) return INVALID_HANDLE;
    if (start->pending || end->pending) return NOT_READY;
    *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
    return SUCCESS;
}

/// For the emulated cuBLASLt: runs this when all that is in the queue is done. The order is destroyed after it.
DRIVER int emulated_queue(const std::function<void()> &order, void *in) {
    IN_CONTEXT;
    if (!exists(*on, in)) return INVALID_HANDLE;
    enqueue(*on, {[order] {
                      order();
                      return int(SUCCESS);
                  },
                  stream_of(*on, in), nullptr});
    return SUCCESS;
}

namespace {

/// As the driver's CUDA_KERNEL_NODE_PARAMS_v2.
struct kernel_node {
    const emulated::kernel *function;
    unsigned grid[3], block[3], shared;
    void **parameters;
    void **extra;
    void *kernel;
    void *context;
};

} // namespace

DRIVER int cuGraphCreate(graph **created, unsigned) {
    IN_CONTEXT;
    *created = new graph;
    graphs.insert(*created);
    return SUCCESS;
}

DRIVER int cuGraphDestroy(graph *destroyed) {
    std::lock_guard<std::mutex> held(lock);
    if (!graphs.erase(destroyed)) return INVALID_VALUE;
    delete destroyed;
    return SUCCESS;
}

DRIVER int cuGraphAddKernelNode_v2(node **added, graph *to, node *const *after, size_t count, const kernel_node *asked) {
    IN_CONTEXT;
    if (!graphs.count(to)) return INVALID_VALUE;
    // Only chains are emulated: a node that waits for anything but the one before would run in another order.
    bool chained = to->nodes.empty() ? count == 0 : count == 1 && after[0] == to->nodes.back().get();
    if (!chained) return INVALID_VALUE;
    auto made = std::make_unique<node>();
    made->of = to;
    int failed = prepare(asked->function, asked->grid, asked->block, asked->shared, asked->parameters, made->asked);
    if (failed) return failed;
    *added = made.get();
    to->nodes.push_back(std::move(made));
    return SUCCESS;
}

DRIVER int cuGraphInstantiateWithFlags(void **instantiated, graph *of, unsigned long long) {
    IN_CONTEXT;
    if (!graphs.count(of)) return INVALID_VALUE;
    auto made = std::make_shared<recorded>();
    for (const auto &node : of->nodes) made->push_back(node->asked);
    *instantiated = made.get();
    executables[made.get()] = made;
    return SUCCESS;
}

DRIVER int cuGraphExecDestroy(void *destroyed) {
    std::lock_guard<std::mutex> held(lock);
    return executables.erase(destroyed) ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuGraphLaunch(void *launched, void *in) {
    IN_CONTEXT;
    auto found = executables.find(launched);
    if (found == executables.end() || !exists(*on, in)) return INVALID_VALUE;
    counted.graph_launches++;
    enqueue(*on, {[launches = found->second] {
                      for (const auto &asked : *launches)
                          if (int failed = run(asked)) return failed;
                      return int(SUCCESS);
                  },
                  stream_of(*on, in), nullptr});
    return SUCCESS;
}

DRIVER int cuLaunchKernel(const emulated::kernel *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                          unsigned by, unsigned bz, unsigned shared, void *in, void **parameters, void **) {
    IN_CONTEXT;
    if (!exists(*on, in)) return INVALID_HANDLE;
    auto asked = std::make_shared<launch>();
    if (int failed = prepare(function, {gx, gy, gz}, {bx, by, bz}, shared, parameters, *asked)) return failed;
    counted.launches++;
    enqueue(*on, {[asked] { return run(*asked); }, stream_of(*on, in), nullptr});
    return SUCCESS;
}
