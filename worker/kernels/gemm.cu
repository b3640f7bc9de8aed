// What cuBLASLt does not do: it multiplies signed bytes only if the columns of B are contiguous.

typedef unsigned int u32;
typedef unsigned long long u64;

#define SIDE 32

/// Turns a matrix of bytes (rows contiguous) into its transpose, in tiles. Blocks have SIDE x SIDE threads.
extern "C" __global__ void gemm_transpose(const signed char *from, signed char *to, u32 rows, u32 columns) {
    // The spare column keeps the threads of a warp in different banks of shared memory.
    __shared__ signed char tile[SIDE][SIDE + 1];
    u32 row = blockIdx.y * SIDE + threadIdx.y, column = blockIdx.x * SIDE + threadIdx.x;
    if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = from[(u64)row * columns + column];
    __syncthreads();
    row = blockIdx.y * SIDE + threadIdx.x;
    column = blockIdx.x * SIDE + threadIdx.y;
    if (row < rows && column < columns) to[(u64)column * rows + row] = tile[threadIdx.x][threadIdx.y];
}
