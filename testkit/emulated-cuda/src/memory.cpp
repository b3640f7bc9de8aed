// Memory of the device, and pinned memory of the host.
//
// New memory is handed out dirty, and memory taken back keeps what was written there: nothing here clears it.
//
// A process has its memory for itself, unless `CAPA_EMULATED_MEMORY` names a socket: whoever listens there sends a file
// descriptor of memory for each device that it is asked for by one byte. What one process leaves there the next one is
// handed, as on the worst of GPUs. A process locks the parts that it has, and the kernel unlocks them when it ends.
#include "device.h"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace driver {
namespace {

constexpr size_t PAGE = 4096;
constexpr size_t GUARD = size_t(1) << 20;
/// What addresses are a multiple of.
constexpr size_t ALIGNMENT = 256;
/// Copies from this length on show whether the worker pins what it copies.
constexpr size_t LARGE = size_t(1) << 20;
/// Memory from this length on is dirty at both ends only, and not looked at: nobody has time for all of it.
constexpr size_t HUGE = size_t(64) << 20;

/// Host memory that copies reach without a detour, by its start.
std::map<uintptr_t, size_t> pinned;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

bool is_pinned(const void *start, size_t length) {
    auto at = reinterpret_cast<uintptr_t>(start);
    auto next = pinned.upper_bound(at);
    if (next == pinned.begin()) return false;
    auto [first, size] = *std::prev(next);
    return at - first <= size && length <= size - (at - first);
}

/// The block that is at least this large and wastes least.
bool take_pooled(device &on, size_t room, block &taken) {
    auto best = on.pool.end();
    for (auto at = on.pool.begin(); at != on.pool.end(); ++at)
        if (at->room >= room && (best == on.pool.end() || at->room < best->room)) best = at;
    if (best == on.pool.end()) return false;
    taken = *best;
    on.pool.erase(best);
    return true;
}

void make_dirty(char *start, size_t room) {
    if (room < HUGE) {
        memset(start, 0xa5, room);
        return;
    }
    memset(start, 0xa5, LARGE);
    memset(start + room - LARGE, 0xa5, LARGE);
}

/// The first part of shared memory behind `from` that some process has, with its end; or the end of the memory.
size_t next_taken(const device &on, size_t from, size_t &end) {
    size_t start = end = MEMORY;
    auto own = on.taken.lower_bound(from);
    if (own != on.taken.end()) start = own->first, end = own->first + own->second;
    struct flock other = {};
    other.l_type = F_WRLCK;
    other.l_start = static_cast<off_t>(from);
    other.l_len = static_cast<off_t>(MEMORY - from);
    bool is_there = from < MEMORY && fcntl(on.shared, F_GETLK, &other) == 0 && other.l_type != F_UNLCK;
    if (is_there && static_cast<size_t>(other.l_start) < start) {
        start = std::max(from, static_cast<size_t>(other.l_start));
        end = static_cast<size_t>(other.l_start + other.l_len);
    }
    return start;
}

/// How much memory no process has.
size_t count_free(const device &on) {
    if (on.shared < 0) return MEMORY - on.reserved;
    size_t sum = 0, end = 0;
    for (size_t from = 0; from < MEMORY; from = end) sum += next_taken(on, from, end) - from;
    return sum;
}

bool set_lock(const device &on, short type, size_t offset, size_t room) {
    struct flock part = {};
    part.l_type = type;
    part.l_start = static_cast<off_t>(offset);
    part.l_len = static_cast<off_t>(room);
    return fcntl(on.shared, F_SETLK, &part) == 0;
}

/// Takes the first part of shared memory that is this large and that no process has.
bool take_room(device &on, size_t room, size_t &offset) {
    size_t end = 0;
    for (offset = 0; offset < MEMORY; offset = end) {
        // Another process may have been faster, and then it is looked for again.
        while (next_taken(on, offset, end) - offset >= room) {
            if (!set_lock(on, F_WRLCK, offset, room)) continue;
            on.taken[offset] = room;
            return true;
        }
    }
    return false;
}

void give_room(device &on, size_t offset) {
    set_lock(on, F_UNLCK, offset, on.taken[offset]);
    on.taken.erase(offset);
}

int map_new(device &on, size_t room, block &mapped) {
    if (room > MEMORY - on.reserved) return OUT_OF_MEMORY;
    size_t offset = 0;
    void *map = mmap(nullptr, room + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return OUT_OF_MEMORY;
    if (on.shared >= 0 && !take_room(on, room, offset)) {
        munmap(map, room + GUARD);
        return OUT_OF_MEMORY;
    }
    if (on.shared >= 0) {
        auto at = static_cast<off_t>(offset);
        if (mmap(map, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, on.shared, at) == MAP_FAILED) {
            give_room(on, offset);
            munmap(map, room + GUARD);
            return OUT_OF_MEMORY;
        }
    } else {
        mprotect(map, room, PROT_READ | PROT_WRITE);
        make_dirty(static_cast<char *>(map), room);
    }
    mapped = {static_cast<char *>(map), room, offset};
    on.reserved += room;
    return SUCCESS;
}

void unmap(device &on, const block &freed) {
    munmap(freed.map, freed.room + GUARD);
    on.reserved -= freed.room;
    if (on.shared >= 0) give_room(on, freed.offset);
}

/// Writes zeros, over whole pages by giving them back.
void write_zeros(char *start, size_t bytes, bool shared) {
    auto from = reinterpret_cast<char *>(round_up(reinterpret_cast<uintptr_t>(start), PAGE));
    auto to = reinterpret_cast<char *>(reinterpret_cast<uintptr_t>(start + bytes) / PAGE * PAGE);
    bool given = bytes >= LARGE && madvise(from, static_cast<size_t>(to - from), shared ? MADV_REMOVE : MADV_DONTNEED) == 0;
    if (!given) {
        memset(start, 0, bytes);
        return;
    }
    memset(start, 0, static_cast<size_t>(from - start));
    memset(to, 0, static_cast<size_t>(start + bytes - to));
}

/// `pooled`: memory that was freed before will do.
int allocate(device &on, size_t bytes, bool pooled, uintptr_t *address) {
    if (bytes == 0) return INVALID_VALUE;
    if (bytes > MEMORY) return OUT_OF_MEMORY;
    size_t room = round_up(bytes, PAGE);
    block taken;
    if (!pooled || !take_pooled(on, room, taken))
        if (int failed = map_new(on, room, taken)) return failed;
    // At the end of its room, next to the guard.
    *address = reinterpret_cast<uintptr_t>(taken.map) + taken.room - round_up(bytes, ALIGNMENT);
    on.memory[*address] = taken;
    on.used += taken.room;
    return SUCCESS;
}

/// Whether something is left of what was written there: neither zeros nor the dirt that it was handed out with.
bool is_written(const block &freed) {
    if (freed.room >= HUGE) return false;
    for (size_t i = 0; i < freed.room; i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, freed.map + i, sizeof word);
        if (word != 0 && word != 0xa5a5a5a5a5a5a5a5) return true;
    }
    return false;
}

/// Takes memory out of use, so that nothing queued later can name it.
bool take_back(device &on, uintptr_t address, block &taken) {
    auto found = on.memory.find(address);
    if (found == on.memory.end()) return false;
    taken = found->second;
    on.used -= taken.room;
    on.memory.erase(found);
    return true;
}

std::shared_ptr<stream> queue_of(device &on, void *handle) {
    auto found = on.streams.find(handle);
    return found == on.streams.end() ? nullptr : found->second;
}

int fill(device &on, uintptr_t address, unsigned char value, size_t bytes, void *in) {
    if (!is_mine(on, address, bytes)) return INVALID_VALUE;
    auto order = [=, shared = on.shared >= 0] {
        auto start = reinterpret_cast<char *>(address);
        if (value == 0) write_zeros(start, bytes, shared);
        else memset(start, value, bytes);
        return int(SUCCESS);
    };
    enqueue(on, {order, queue_of(on, in), nullptr});
    return SUCCESS;
}

void copy(device &on, void *to, const void *from, size_t bytes, void *in) {
    auto order = [=] {
        memcpy(to, from, bytes);
        return int(SUCCESS);
    };
    enqueue(on, {order, queue_of(on, in), nullptr});
}

/// Pageable memory is read at once, as the driver does; pinned memory when the copy's turn has come.
int copy_in(device &on, uintptr_t address, const void *from, size_t bytes, void *in) {
    if (!is_mine(on, address, bytes)) return INVALID_VALUE;
    void *to = reinterpret_cast<void *>(address);
    if (is_pinned(from, bytes)) {
        copy(on, to, from, bytes, in);
        return SUCCESS;
    }
    if (bytes >= LARGE) counted.pageable_bytes += bytes;
    auto start = static_cast<const char *>(from);
    auto order = [to, kept = std::vector<char>(start, start + bytes)] {
        memcpy(to, kept.data(), kept.size());
        return int(SUCCESS);
    };
    enqueue(on, {order, queue_of(on, in), nullptr});
    return SUCCESS;
}

int copy_out(device &on, void *to, uintptr_t address, size_t bytes, void *in) {
    if (!is_mine(on, address, bytes)) return INVALID_VALUE;
    if (bytes >= LARGE && !is_pinned(to, bytes)) counted.pageable_bytes += bytes;
    copy(on, to, reinterpret_cast<const void *>(address), bytes, in);
    return SUCCESS;
}

} // namespace

bool is_mine(device &on, uintptr_t at, size_t length) {
    auto next = on.memory.upper_bound(at);
    if (next == on.memory.begin()) return false;
    auto &[start, held] = *std::prev(next);
    size_t size = reinterpret_cast<uintptr_t>(held.map) + held.room - start;
    return at - start <= size && length <= size - (at - start);
}

void trim(device &on, size_t keep) {
    while (!on.pool.empty() && on.reserved > keep) {
        unmap(on, on.pool.back());
        on.pool.pop_back();
    }
}

int open_memory(device &on) {
    const char *path = getenv("CAPA_EMULATED_MEMORY");
    if (!path || on.shared >= 0) return SUCCESS;
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    int to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto number = static_cast<char>(on.number);
    iovec bytes = {&number, 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))];
    msghdr answer = {};
    answer.msg_iov = &bytes;
    answer.msg_iovlen = 1;
    answer.msg_control = room;
    answer.msg_controllen = sizeof room;
    if (connect(to, reinterpret_cast<sockaddr *>(&name), sizeof name) == 0 && send(to, &number, 1, MSG_NOSIGNAL) == 1 &&
        recvmsg(to, &answer, MSG_CMSG_CLOEXEC) == 1) {
        cmsghdr *told = CMSG_FIRSTHDR(&answer);
        if (told && told->cmsg_type == SCM_RIGHTS) memcpy(&on.shared, CMSG_DATA(told), sizeof on.shared);
    }
    close(to);
    return on.shared >= 0 ? SUCCESS : NOT_INITIALIZED;
}

void release_memory(device &on) {
    for (auto &[start, held] : on.memory) unmap(on, held);
    on.memory.clear();
    on.used = 0;
    trim(on, 0);
}

} // namespace driver

using namespace driver;

/// For the emulated cuBLASLt, which is a library of its own.
DRIVER bool emulated_memory_holds(uintptr_t at, size_t length) {
    std::lock_guard<std::mutex> held(lock);
    device *on = current();
    return on && is_mine(*on, at, length);
}

DRIVER int cuMemAlloc_v2(uintptr_t *address, size_t bytes) {
    IN_CONTEXT;
    return allocate(*on, bytes, false, address);
}

DRIVER int cuMemFree_v2(uintptr_t address) {
    IN_CONTEXT;
    if (int fault = drain(*on, held)) return fault;
    block freed;
    if (!take_back(*on, address, freed)) return INVALID_VALUE;
    counted.dirty_frees += is_written(freed);
    unmap(*on, freed);
    return SUCCESS;
}

DRIVER int cuMemAllocAsync(uintptr_t *address, size_t bytes, void *) {
    IN_CONTEXT;
    return allocate(*on, bytes, true, address);
}

DRIVER int cuMemFreeAsync(uintptr_t address, void *in) {
    IN_CONTEXT;
    block freed;
    if (!take_back(*on, address, freed)) return INVALID_VALUE;
    // Whoever is handed it next uses it behind this in the queue.
    on->pool.push_back(freed);
    enqueue(*on, {[freed] {
                      bool written = is_written(freed);
                      std::lock_guard<std::mutex> held(lock);
                      counted.dirty_frees += written;
                      return int(SUCCESS);
                  },
                  queue_of(*on, in), nullptr});
    return SUCCESS;
}

DRIVER int cuDeviceGetDefaultMemPool(void **pool, int number) {
    *pool = reinterpret_cast<void *>(static_cast<intptr_t>(number) + 1);
    return SUCCESS;
}

DRIVER int cuMemPoolSetAttribute(void *, unsigned attribute, void *value) {
    IN_CONTEXT;
    constexpr unsigned RELEASE_THRESHOLD = 4;
    if (attribute == RELEASE_THRESHOLD) memcpy(&on->release_threshold, value, sizeof on->release_threshold);
    return SUCCESS;
}

DRIVER int cuMemPoolTrimTo(void *, size_t keep) {
    IN_CONTEXT;
    if (int fault = drain(*on, held)) return fault;
    trim(*on, keep);
    return SUCCESS;
}

DRIVER int cuMemGetInfo_v2(size_t *free, size_t *total) {
    IN_CONTEXT;
    *free = count_free(*on);
    *total = MEMORY;
    return SUCCESS;
}

DRIVER int cuMemsetD8Async(uintptr_t address, unsigned char value, size_t bytes, void *in) {
    IN_CONTEXT;
    return fill(*on, address, value, bytes, in);
}

DRIVER int cuMemsetD8_v2(uintptr_t address, unsigned char value, size_t bytes) {
    IN_CONTEXT;
    if (int failed = fill(*on, address, value, bytes, nullptr)) return failed;
    return drain(*on, held);
}

DRIVER int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t bytes, void *in) {
    IN_CONTEXT;
    return copy_in(*on, to, from, bytes, in);
}

DRIVER int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t bytes, void *in) {
    IN_CONTEXT;
    if (int failed = copy_out(*on, to, from, bytes, in)) return failed;
    return is_pinned(to, bytes) ? SUCCESS : drain(*on, held);
}

DRIVER int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t bytes) {
    IN_CONTEXT;
    if (int failed = copy_in(*on, to, from, bytes, nullptr)) return failed;
    return drain(*on, held);
}

DRIVER int cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t bytes) {
    IN_CONTEXT;
    if (int failed = copy_out(*on, to, from, bytes, nullptr)) return failed;
    return drain(*on, held);
}

DRIVER int cuMemHostAlloc(void **start, size_t bytes, unsigned) {
    IN_CONTEXT;
    if (bytes == 0) return INVALID_VALUE;
    void *made = aligned_alloc(PAGE, round_up(bytes, PAGE));
    if (!made) return OUT_OF_MEMORY;
    memset(made, 0xa5, bytes);
    pinned[reinterpret_cast<uintptr_t>(made)] = bytes;
    counted.pinned_bytes += bytes;
    *start = made;
    return SUCCESS;
}

DRIVER int cuMemFreeHost(void *start) {
    IN_CONTEXT;
    drain(*on, held);
    auto found = pinned.find(reinterpret_cast<uintptr_t>(start));
    if (found == pinned.end()) return INVALID_VALUE;
    counted.pinned_bytes -= found->second;
    pinned.erase(found);
    free(start);
    return SUCCESS;
}

DRIVER int cuMemHostRegister_v2(void *start, size_t bytes, unsigned) {
    IN_CONTEXT;
    if (bytes == 0) return INVALID_VALUE;
    auto at = reinterpret_cast<uintptr_t>(start);
    auto next = pinned.lower_bound(at + bytes);
    if (next != pinned.begin() && std::prev(next)->first + std::prev(next)->second > at) return ALREADY_REGISTERED;
    pinned[at] = bytes;
    counted.pinned_bytes += bytes;
    return SUCCESS;
}

DRIVER int cuMemHostUnregister(void *start) {
    IN_CONTEXT;
    drain(*on, held);
    auto found = pinned.find(reinterpret_cast<uintptr_t>(start));
    if (found == pinned.end()) return NOT_REGISTERED;
    counted.pinned_bytes -= found->second;
    pinned.erase(found);
    return SUCCESS;
}
