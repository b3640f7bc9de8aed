// Sum modulo 2^64, minimum or maximum of unsigned keys. The order of threads does not matter to any of the three.

typedef unsigned int u32;
typedef unsigned long long u64;

#define THREADS 256

#define SUM 0
#define MIN 1
#define MAX 2

template <u32 FOLD> static __device__ __forceinline__ u64 fold(u64 a, u64 b) {
    if (FOLD == SUM) return a + b;
    if (FOLD == MIN) return a < b ? a : b;
    return a > b ? a : b;
}

template <typename K, u32 FOLD> static __device__ __forceinline__ void reduce(const K *keys, u64 count, u64 *result) {
    __shared__ u64 partial[THREADS];
    u64 stride = (u64)gridDim.x * THREADS, mine = FOLD == MIN ? ~0ull : 0;
    for (u64 i = (u64)blockIdx.x * THREADS + threadIdx.x; i < count; i += stride) mine = fold<FOLD>(mine, keys[i]);
    partial[threadIdx.x] = mine;
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] = fold<FOLD>(partial[threadIdx.x], partial[threadIdx.x + half]);
    }
    if (threadIdx.x != 0) return;
    if (FOLD == SUM) atomicAdd(result, partial[0]);
    if (FOLD == MIN) atomicMin(result, partial[0]);
    if (FOLD == MAX) atomicMax(result, partial[0]);
}

/// Folds keys `from` to `from + count` into `result`.
template <typename K> static __device__ __forceinline__ void reduce_by(u32 how, const K *keys, u64 from, u64 count, u64 *result) {
    if (how == SUM) return reduce<K, SUM>(keys + from, count, result);
    if (how == MIN) return reduce<K, MIN>(keys + from, count, result);
    reduce<K, MAX>(keys + from, count, result);
}

extern "C" __global__ void reduce_u32(u32 how, const u32 *keys, u64 from, u64 count, u64 *result) {
    reduce_by<u32>(how, keys, from, count, result);
}

extern "C" __global__ void reduce_u64(u32 how, const u64 *keys, u64 from, u64 count, u64 *result) {
    reduce_by<u64>(how, keys, from, count, result);
}
