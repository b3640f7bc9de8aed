// How a heated plate cools: the 2-D heat equation by explicit steps, its border kept at its temperature.
//
// A thread per point. Two grids take turns, so that every point is computed from the step before.

typedef unsigned char u8;
typedef unsigned int u32;

struct params {
    u32 width, height, start, steps;
    float diffusion;
};

/// Reads the picture as temperatures.
extern "C" __global__ void heat_load(const u8 *picture, const params *p, float *grid) {
    u32 x = blockIdx.x * blockDim.x + threadIdx.x;
    u32 y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= p->width || y >= p->height) return;
    u32 i = y * p->width + x;
    grid[i] = (float)picture[p->start + i];
}

/// One step in time.
extern "C" __global__ void heat_step(const params *p, const float *from, float *to) {
    u32 x = blockIdx.x * blockDim.x + threadIdx.x;
    u32 y = blockIdx.y * blockDim.y + threadIdx.y;
    u32 width = p->width, height = p->height;
    if (x >= width || y >= height) return;
    u32 i = y * width + x;
    float here = from[i];
    if (x > 0 && y > 0 && x + 1 < width && y + 1 < height) {
        float around = (from[i - width] + from[i + width]) + (from[i - 1] + from[i + 1]);
        here = here + p->diffusion * (around - 4.0f * here);
    }
    to[i] = here;
}
