// What `capa-worker bench` launches to learn what a launch costs: a kernel that does next to nothing.

/// Counts its calls, so that each depends on the one before.
extern "C" __global__ void tick(unsigned *count) { *count += 1; }
