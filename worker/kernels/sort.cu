// Stable radix sort of unsigned keys, four bits at a time from the lowest (Satish, Harris, Garland: "Designing efficient
// sorting algorithms for manycore GPUs", 2009).
//
// A block takes a tile of keys. For each digit of four bits: `sort_count` counts every tile's keys by digit, the three
// `sort_scan` kernels turn the counts into the places where each tile's keys of each digit go, and `sort_scatter` sorts
// each tile in shared memory and writes its runs there. Equal keys keep their order, so the result is one alone.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define THREADS 256
#define PER_THREAD 8
#define TILE (THREADS * PER_THREAD)
#define DIGITS 16

static __device__ __forceinline__ u32 tile_length(u64 count, u64 start) {
    return count - start < TILE ? (u32)(count - start) : TILE;
}

/// The sum of what the threads before this one in its block bring; `total` becomes that of all.
static __device__ u32 sum_before(u32 mine, u32 *total) {
    __shared__ u32 sums[THREADS];
    u32 thread = threadIdx.x;
    sums[thread] = mine;
    __syncthreads();
    for (u32 distance = 1; distance < THREADS; distance *= 2) {
        u32 other = thread >= distance ? sums[thread - distance] : 0;
        __syncthreads();
        sums[thread] += other;
        __syncthreads();
    }
    *total = sums[THREADS - 1];
    u32 before = sums[thread] - mine;
    __syncthreads();
    return before;
}

/// `counts`: how many keys of each digit each tile has, all tiles of a digit together.
template <typename K> static __device__ __forceinline__ void count(const K *keys, u64 keys_count, u32 shift, u32 *counts) {
    __shared__ u32 digits[DIGITS];
    u64 start = (u64)blockIdx.x * TILE;
    u32 length = tile_length(keys_count, start);
    if (threadIdx.x < DIGITS) digits[threadIdx.x] = 0;
    __syncthreads();
    for (u32 i = threadIdx.x; i < length; i += THREADS)
        atomicAdd(&digits[(u32)(keys[start + i] >> shift) % DIGITS], 1u);
    __syncthreads();
    if (threadIdx.x < DIGITS) counts[(u64)threadIdx.x * gridDim.x + blockIdx.x] = digits[threadIdx.x];
}

/// Sorts a tile by one digit and writes it to the places that `offsets` tells for it.
template <typename K>
static __device__ __forceinline__ void scatter(const K *keys, K *sorted, u64 keys_count, u32 shift, const u32 *offsets) {
    __shared__ K tile[TILE];
    __shared__ u16 ranks[DIGITS * THREADS];
    __shared__ u32 starts[DIGITS];
    u32 thread = threadIdx.x;
    u64 start = (u64)blockIdx.x * TILE;
    u32 length = tile_length(keys_count, start);
    for (u32 i = thread; i < length; i += THREADS) tile[i] = keys[start + i];
    for (u32 digit = 0; digit < DIGITS; digit++) ranks[digit * THREADS + thread] = 0;
    __syncthreads();

    // A thread ranks eight neighbours, so that order among equal keys is kept.
    K mine[PER_THREAD];
    u32 rank[PER_THREAD];
    for (u32 i = 0; i < PER_THREAD; i++) {
        u32 at = thread * PER_THREAD + i;
        if (at >= length) break;
        mine[i] = tile[at];
        rank[i] = ranks[(u32)(mine[i] >> shift) % DIGITS * THREADS + thread]++;
    }
    __syncthreads();

    u32 sum = 0, total;
    for (u32 i = 0; i < DIGITS; i++) sum += ranks[thread * DIGITS + i];
    u32 before = sum_before(sum, &total);
    for (u32 i = 0; i < DIGITS; i++) {
        u16 own = ranks[thread * DIGITS + i];
        ranks[thread * DIGITS + i] = (u16)before;
        before += own;
    }
    __syncthreads();

    for (u32 i = 0; i < PER_THREAD; i++) {
        if (thread * PER_THREAD + i >= length) break;
        tile[ranks[(u32)(mine[i] >> shift) % DIGITS * THREADS + thread] + rank[i]] = mine[i];
    }
    if (thread < DIGITS) starts[thread] = ranks[thread * THREADS];
    __syncthreads();

    for (u32 i = thread; i < length; i += THREADS) {
        u32 digit = (u32)(tile[i] >> shift) % DIGITS;
        sorted[offsets[(u64)digit * gridDim.x + blockIdx.x] + i - starts[digit]] = tile[i];
    }
}

extern "C" __global__ void sort_count_u32(const u32 *keys, u64 keys_count, u32 shift, u32 *counts) {
    count<u32>(keys, keys_count, shift, counts);
}

extern "C" __global__ void sort_count_u64(const u64 *keys, u64 keys_count, u32 shift, u32 *counts) {
    count<u64>(keys, keys_count, shift, counts);
}

extern "C" __global__ void sort_scatter_u32(const u32 *keys, u32 *sorted, u64 keys_count, u32 shift, const u32 *offsets) {
    scatter<u32>(keys, sorted, keys_count, shift, offsets);
}

extern "C" __global__ void sort_scatter_u64(const u64 *keys, u64 *sorted, u64 keys_count, u32 shift, const u32 *offsets) {
    scatter<u64>(keys, sorted, keys_count, shift, offsets);
}

/// The sum of each tile of numbers.
extern "C" __global__ void sort_scan_sums(const u32 *numbers, u32 count, u32 *sums) {
    u32 from = blockIdx.x * TILE + threadIdx.x * PER_THREAD, sum = 0, total;
    for (u32 i = 0; i < PER_THREAD; i++) sum += from + i < count ? numbers[from + i] : 0;
    sum_before(sum, &total);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

/// Replaces each number by the sum of those before it, in one block.
extern "C" __global__ void sort_scan_tops(u32 *numbers, u32 count) {
    u32 carried = 0;
    for (u32 start = 0; start < count; start += THREADS) {
        u32 at = start + threadIdx.x, own = at < count ? numbers[at] : 0, total;
        u32 before = sum_before(own, &total);
        if (at < count) numbers[at] = carried + before;
        carried += total;
    }
}

/// Replaces each number by the sum of those before it; `sums` tells the sum of all tiles before each tile.
extern "C" __global__ void sort_scan_tiles(u32 *numbers, u32 count, const u32 *sums) {
    u32 from = blockIdx.x * TILE + threadIdx.x * PER_THREAD, sum = 0, total;
    for (u32 i = 0; i < PER_THREAD; i++) sum += from + i < count ? numbers[from + i] : 0;
    u32 before = sums[blockIdx.x] + sum_before(sum, &total);
    for (u32 i = 0; i < PER_THREAD && from + i < count; i++) {
        u32 own = numbers[from + i];
        numbers[from + i] = before;
        before += own;
    }
}
