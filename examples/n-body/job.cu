// The motion of a star cluster under its own gravity: every body pulls every other, softened, by equal time steps.
//
// A thread per body. A block stages the bodies in shared memory, a tile at a time; each thread adds the pulls in the
// order of the bodies, so the sums do not depend on the size of the tile.

typedef unsigned int u32;

struct params {
    u32 bodies, steps;
    float time_step, softening;
};

struct place {
    float x, y, z, mass;
};

#define TILE 128

/// Splits the input into places and velocities.
extern "C" __global__ void nbody_load(const float *input, const params *p, place *places, float *velocities) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= p->bodies) return;
    const float *body = input + 7 * i;
    place here = {body[1], body[2], body[3], body[0]};
    places[i] = here;
    for (u32 k = 0; k < 3; k++) velocities[3 * i + k] = body[4 + k];
}

/// One step in time; blocks of TILE threads.
extern "C" __global__ void nbody_step(const params *p, const place *from, place *to, float *velocities) {
    __shared__ place tile[TILE];
    u32 bodies = p->bodies;
    u32 i = blockIdx.x * TILE + threadIdx.x;
    place here = {0.0f, 0.0f, 0.0f, 0.0f};
    if (i < bodies) here = from[i];
    float ax = 0.0f, ay = 0.0f, az = 0.0f;
    for (u32 first = 0; first < bodies; first += TILE) {
        if (first + threadIdx.x < bodies) tile[threadIdx.x] = from[first + threadIdx.x];
        __syncthreads();
        u32 count = bodies - first < TILE ? bodies - first : TILE;
        for (u32 j = 0; j < count; j++) {
            float dx = tile[j].x - here.x, dy = tile[j].y - here.y, dz = tile[j].z - here.z;
            float square = ((dx * dx + dy * dy) + dz * dz) + p->softening;
            float inverse = 1.0f / sqrtf(square);
            float pull = tile[j].mass * (inverse * inverse * inverse);
            ax += dx * pull, ay += dy * pull, az += dz * pull;
        }
        __syncthreads();
    }
    if (i >= bodies) return;
    float *v = velocities + 3 * i;
    v[0] += ax * p->time_step, v[1] += ay * p->time_step, v[2] += az * p->time_step;
    here.x += v[0] * p->time_step, here.y += v[1] * p->time_step, here.z += v[2] * p->time_step;
    to[i] = here;
}

/// Joins places and velocities.
extern "C" __global__ void nbody_store(const params *p, const place *places, const float *velocities, float *output) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= p->bodies) return;
    float *body = output + 6 * i;
    body[0] = places[i].x, body[1] = places[i].y, body[2] = places[i].z;
    for (u32 k = 0; k < 3; k++) body[3 + k] = velocities[3 * i + k];
}
