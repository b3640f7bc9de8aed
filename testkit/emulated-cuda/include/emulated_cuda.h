// CUDA C++ on the CPU, for tests: the part of the language that the sample jobs use.
//
// A launch runs its blocks one after another. The threads of a block run one after another too, unless the source has
// a barrier: then each is a fiber that hands over at every __syncthreads(). Races between threads do not show here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <math.h>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static
// Blocks run one at a time, so a block's shared memory can be static.
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace emulated {

struct index3 {
    unsigned x, y, z;
};

extern index3 thread_index, block_index, block_size, grid_size;

/// Hands over to the next thread of the block until all have come here.
void barrier();

/// Ends the launch as a fault of the device.
[[noreturn]] void trap();

/// Keeps the device busy for a while.
void sleep(unsigned nanoseconds);

struct kernel {
    std::vector<size_t> parameters;
    std::function<void(void **)> call;
    bool has_barriers;
};

void add_kernel(const std::string &name, kernel added);

/// A variable in device memory, which has its first value again whenever a module that names it is loaded.
void add_variable(const std::string &name, void *at, size_t size);

template <typename... A, size_t... I>
std::function<void(void **)> unpack(void (*function)(A...), std::index_sequence<I...>) {
    return [function](void **values) { function(*static_cast<A *>(values[I])...); };
}

struct registration {
    template <typename... A> registration(const char *name, void (*function)(A...), bool has_barriers) {
        add_kernel(name, {{sizeof(A)...}, unpack(function, std::index_sequence_for<A...>{}), has_barriers});
    }
};

struct variable {
    template <typename T> variable(const char *name, T &named) { add_variable(name, &named, sizeof named); }
};

} // namespace emulated

#define threadIdx emulated::thread_index
#define blockIdx emulated::block_index
#define blockDim emulated::block_size
#define gridDim emulated::grid_size

static inline void __syncthreads() { emulated::barrier(); }
static inline void __trap() { emulated::trap(); }
static inline void __nanosleep(unsigned nanoseconds) { emulated::sleep(nanoseconds); }

template <typename T> static inline T atomicAdd(T *at, T value) {
    T before = *at;
    *at = before + value;
    return before;
}

template <typename T> static inline T atomicMin(T *at, T value) {
    T before = *at;
    if (value < before) *at = value;
    return before;
}

template <typename T> static inline T atomicMax(T *at, T value) {
    T before = *at;
    if (value > before) *at = value;
    return before;
}

static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}

static inline long long __mul64hi(long long a, long long b) { return (long long)(((__int128)a * b) >> 64); }

static inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)x); }

static inline long long __double_as_longlong(double x) {
    long long bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double __longlong_as_double(long long bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
