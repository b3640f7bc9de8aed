// The motion of a star cluster under its own gravity: every body pulls every other, softened, by equal time steps.
//
// Input 0: per body seven f32: mass, position (3), velocity (3). Input 1: u32 bodies, u32 steps (even), f32 time step,
// f32 square of the softening length. Output 0: per body six f32: position, velocity.
#include "../capa.h"

struct params {
    u32 bodies, steps;
    float time_step, softening;
};

#define MOST_BODIES 4096
struct place {
    float x, y, z, mass;
};
static float input[MOST_BODIES][7], output[MOST_BODIES][6];
static struct place even[MOST_BODIES], odd[MOST_BODIES];
static float velocity[MOST_BODIES][3];

static void step(const struct params *p, const struct place *from, struct place *to) {
    for (u32 i = 0; i < p->bodies; i++) {
        struct place here = from[i];
        float ax = 0.0f, ay = 0.0f, az = 0.0f;
        for (u32 j = 0; j < p->bodies; j++) {
            float dx = from[j].x - here.x, dy = from[j].y - here.y, dz = from[j].z - here.z;
            float square = ((dx * dx + dy * dy) + dz * dz) + p->softening;
            float inverse = 1.0f / __builtin_sqrtf(square);
            float pull = from[j].mass * (inverse * inverse * inverse);
            ax += dx * pull, ay += dy * pull, az += dz * pull;
        }
        float *v = velocity[i];
        v[0] += ax * p->time_step, v[1] += ay * p->time_step, v[2] += az * p->time_step;
        here.x += v[0] * p->time_step, here.y += v[1] * p->time_step, here.z += v[2] * p->time_step;
        to[i] = here;
    }
}

CAPA_EXPORT(run) int run(void) {
    struct params p;
    if (input_read(1, 0, &p, sizeof p) != sizeof p || p.bodies > MOST_BODIES) return 1;
    int length = (int)(p.bodies * sizeof input[0]);
    if (input_read(0, 0, input, (u32)length) != length) return 2;

    for (u32 i = 0; i < p.bodies; i++) {
        float *body = input[i];
        even[i] = (struct place){body[1], body[2], body[3], body[0]};
        velocity[i][0] = body[4], velocity[i][1] = body[5], velocity[i][2] = body[6];
    }
    for (u32 done = 0; done < p.steps; done += 2) {
        step(&p, even, odd);
        step(&p, odd, even);
    }
    for (u32 i = 0; i < p.bodies; i++) {
        output[i][0] = even[i].x, output[i][1] = even[i].y, output[i][2] = even[i].z;
        output[i][3] = velocity[i][0], output[i][4] = velocity[i][1], output[i][5] = velocity[i][2];
    }
    return output_write(0, 0, output, p.bodies * (u32)sizeof output[0]);
}
