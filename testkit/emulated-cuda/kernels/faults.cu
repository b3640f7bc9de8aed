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
