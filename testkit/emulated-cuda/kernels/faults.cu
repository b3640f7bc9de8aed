// Kernels that misbehave, for tests of the worker.

/// Fails as a kernel that touches memory that is not its own.
extern "C" __global__ void always_trap(unsigned *out) {
    if (out[0] == 0) __trap();
}

/// Is busy for as many turns as it is told, and counts its calls.
extern "C" __global__ void keep_busy(unsigned *out, unsigned turns) {
    unsigned x = out[0];
    for (unsigned i = 0; i < turns; i++) x = x * 1664525u + 1013904223u + (x >> 16);
    out[0] = x;
    out[1] += 1;
}

/// Returns after that many milliseconds.
extern "C" __global__ void take_time(unsigned *out, unsigned milliseconds) {
    for (unsigned i = 0; i < milliseconds; i++) __nanosleep(1000000);
    out[0] = milliseconds;
}

/// Never returns.
extern "C" __global__ void spin_forever(volatile unsigned *out) {
    while (out[0] == 0) __nanosleep(1000000);
}

/// Writes past the end of a buffer of `length` words, as far as `beyond`.
extern "C" __global__ void write_beyond(unsigned *out, unsigned length, unsigned beyond) {
    out[length + beyond] = 0xbad;
}

/// Adds up a buffer of `length` words, and counts its calls.
extern "C" __global__ void add_up(const unsigned *in, unsigned *out, unsigned length) {
    unsigned sum = 0;
    for (unsigned i = 0; i < length; i++) sum += in[i];
    out[0] = sum;
    out[1] += 1;
}

/// Writes a word that tells the device's rank.
extern "C" __global__ void tell_rank(unsigned *out, unsigned rank) {
    out[0] = rank * 16 + 7;
}

__device__ unsigned kept_count = 5;

/// Counts in a variable of the module, which no other job may find.
extern "C" __global__ void count_in_module(unsigned *out) {
    kept_count += 1;
    out[0] = kept_count;
}

/// Copies a buffer of `length` words.
extern "C" __global__ void copy_words(const unsigned *in, unsigned *out, unsigned length) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < length; i += gridDim.x * blockDim.x) out[i] = in[i];
}
