// Leaves something in the device's memory, for tests of the worker.

/// Writes a word all over a buffer of `length` words, and never returns.
extern "C" __global__ void write_and_stay(volatile unsigned *out, unsigned length, unsigned word) {
    for (unsigned i = 0; i < length; i++) out[i] = word;
    while (out[0] == word) __nanosleep(1000000);
}
