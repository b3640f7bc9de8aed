// How a heated plate cools: the 2-D heat equation by explicit steps, its border kept at its temperature.
//
// Input 0: a picture (PGM, a byte per point). Input 1: u32 width, u32 height, u32 where the points start in the file,
// u32 steps (even), f32 diffusion number. Output 0: f32 temperatures, row by row.
#include "../capa.h"

struct params {
    u32 width, height, start, steps;
    float diffusion;
};

#define MOST_POINTS (1 << 18)
static u8 picture[MOST_POINTS];
static float even[MOST_POINTS], odd[MOST_POINTS];

static void step(const struct params *p, const float *from, float *to) {
    u32 width = p->width, height = p->height;
    for (u32 y = 0; y < height; y++) {
        for (u32 x = 0; x < width; x++) {
            u32 i = y * width + x;
            float here = from[i];
            if (x > 0 && y > 0 && x + 1 < width && y + 1 < height) {
                float around = (from[i - width] + from[i + width]) + (from[i - 1] + from[i + 1]);
                here = here + p->diffusion * (around - 4.0f * here);
            }
            to[i] = here;
        }
    }
}

CAPA_EXPORT(run) int run(void) {
    struct params p;
    if (input_read(1, 0, &p, sizeof p) != sizeof p || p.width > MOST_POINTS || p.height > MOST_POINTS) return 1;
    u64 points = (u64)p.width * p.height;
    if (points > MOST_POINTS || input_read(0, p.start, picture, (u32)points) != (int)points) return 2;

    for (u32 i = 0; i < points; i++) even[i] = (float)picture[i];
    for (u32 done = 0; done < p.steps; done += 2) {
        step(&p, even, odd);
        step(&p, odd, even);
    }
    return output_write(0, 0, even, (u32)points * 4);
}
