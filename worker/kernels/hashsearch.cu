// The counter for which keccak-256 of a prefix and that counter is smallest.
//
// A thread takes every `stride`-th counter and keeps its best; `hashsearch_fold` then makes one of all threads' best.
// The message is one block of 136 bytes: the prefix, the counter as 8 bytes (big-endian), and the padding.

typedef unsigned int u32;
typedef unsigned long long u64;

#define LANES 17

__constant__ u64 ROUND_CONSTANTS[24] = {
    0x0000000000000001ull, 0x0000000000008082ull, 0x800000000000808aull, 0x8000000080008000ull, 0x000000000000808bull,
    0x0000000080000001ull, 0x8000000080008081ull, 0x8000000000008009ull, 0x000000000000008aull, 0x0000000000000088ull,
    0x0000000080008009ull, 0x000000008000000aull, 0x000000008000808bull, 0x800000000000008bull, 0x8000000000008089ull,
    0x8000000000008003ull, 0x8000000000008002ull, 0x8000000000000080ull, 0x000000000000800aull, 0x800000008000000aull,
    0x8000000080008081ull, 0x8000000000008080ull, 0x0000000080000001ull, 0x8000000080008008ull};

static __device__ __forceinline__ u64 rotate(u64 x, u32 bits) { return (x << bits) | (x >> (64 - bits)); }

static __device__ __forceinline__ u64 reverse_bytes(u64 x) {
    x = ((x & 0x00ff00ff00ff00ffull) << 8) | ((x >> 8) & 0x00ff00ff00ff00ffull);
    x = ((x & 0x0000ffff0000ffffull) << 16) | ((x >> 16) & 0x0000ffff0000ffffull);
    return (x << 32) | (x >> 32);
}

/// The permutation of Keccak, on 25 lanes (FIPS 202, section 3).
static __device__ __forceinline__ void keccak_f(u64 *a) {
    // Where each lane goes in the steps rho and pi, and by how much it is rotated on the way.
    const u32 TO[24] = {10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1};
    const u32 BY[24] = {1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44};
    for (u32 round = 0; round < 24; round++) {
        u64 column[5];
#pragma unroll
        for (u32 x = 0; x < 5; x++) column[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
#pragma unroll
        for (u32 x = 0; x < 5; x++) {
            u64 mixed = column[(x + 4) % 5] ^ rotate(column[(x + 1) % 5], 1);
#pragma unroll
            for (u32 y = 0; y < 25; y += 5) a[x + y] ^= mixed;
        }
        u64 moved = a[1];
#pragma unroll
        for (u32 i = 0; i < 24; i++) {
            u64 next = a[TO[i]];
            a[TO[i]] = rotate(moved, BY[i]);
            moved = next;
        }
#pragma unroll
        for (u32 y = 0; y < 25; y += 5) {
            u64 row[5];
#pragma unroll
            for (u32 x = 0; x < 5; x++) row[x] = a[y + x];
#pragma unroll
            for (u32 x = 0; x < 5; x++) a[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
        }
        a[0] ^= ROUND_CONSTANTS[round];
    }
}

/// A hash as four numbers whose order is that of its bytes, and its counter.
struct candidate {
    u64 hash[4];
    u64 counter;
};

static __device__ __forceinline__ bool comes_before(const candidate *a, const candidate *b) {
#pragma unroll
    for (u32 i = 0; i < 4; i++)
        if (a->hash[i] != b->hash[i]) return a->hash[i] < b->hash[i];
    return a->counter < b->counter;
}

/// `block`: the message with a counter of zero. `offset`: where in it the counter stands, in bytes. `best`: for each
/// thread of the grid, its best so far.
///
/// Two blocks of 256 threads share a multiprocessor, if a thread has at most 128 registers.
extern "C" __global__ void __launch_bounds__(256, 2)
hashsearch_scan(const u64 *block, u32 offset, u64 start, u64 count, candidate *best) {
    u64 thread = (u64)blockIdx.x * blockDim.x + threadIdx.x, stride = (u64)gridDim.x * blockDim.x;
    u32 lane = offset / 8, bits = offset % 8 * 8;
    candidate mine = best[thread];
    for (u64 i = thread; i < count; i += stride) {
        u64 counter = reverse_bytes(start + i), low = counter << bits, high = bits ? counter >> (64 - bits) : 0;
        u64 a[25];
#pragma unroll
        for (u32 l = 0; l < 25; l++) {
            a[l] = l < LANES ? block[l] : 0;
            if (l == lane) a[l] ^= low;
            if (l == lane + 1) a[l] ^= high;
        }
        keccak_f(a);
        candidate found;
#pragma unroll
        for (u32 l = 0; l < 4; l++) found.hash[l] = reverse_bytes(a[l]);
        found.counter = start + i;
        if (comes_before(&found, &mine)) mine = found;
    }
    best[thread] = mine;
}

/// Leaves the best of `count` candidates in the first `width` of them. Thread i reads those that are congruent to i.
extern "C" __global__ void hashsearch_fold(candidate *best, u32 count, u32 width) {
    u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= width) return;
    candidate mine = best[thread];
    for (u32 i = thread + width; i < count; i += width)
        if (comes_before(&best[i], &mine)) mine = best[i];
    best[thread] = mine;
}
