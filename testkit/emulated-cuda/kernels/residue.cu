// Leaves something in the device's memory, for tests of the worker.

/// Writes a word all over a buffer of `length` words, from its end to its start, and never returns.
extern "C" __global__ void write_and_stay(volatile unsigned *out, unsigned length, unsigned word) {
    for (unsigned i = length; i > 0; i--) out[i - 1] = word;
    while (out[length - 1] == word) __nanosleep(1000000);
}
