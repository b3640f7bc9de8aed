// Payoffs of an option on an asset that moves as a geometric Brownian motion, by Monte Carlo.
//
// All arithmetic is on integers, so that every machine gives the same bits: a real number x in format Qn is the integer
// nearest to x 2^n, and each product is rounded down. The formulas and their errors are in docs/builtins.md; the same
// steps stand in worker/src/execute/builtin/reference/montecarlo.rs.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

/// 1 / d in Q31, rounded.
#define INVERSE_Q31(d) ((i64)(((1ll << 32) / (d) + 1) / 2))

const i64 ONE_Q31 = 1ll << 31;
const i64 LN2_Q31 = 1488522236;
const i64 LN2_Q48 = 195103586505167;
const i64 INVERSE_LN2_Q20 = 1512775;
const i64 PI_Q29 = 1686629713;
const u64 SQRT2_Q32 = 6074001000;

struct words {
    u32 w[4];
};

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
static __device__ words philox(u64 seed, u64 path, u32 block) {
    u32 c0 = (u32)path, c1 = (u32)(path >> 32), c2 = block, c3 = 0, k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
    for (u32 round = 0; round < 10; round++) {
        u64 left = (u64)c0 * 0xd2511f53u, right = (u64)c2 * 0xcd9e8d57u;
        c0 = (u32)(right >> 32) ^ c1 ^ k0;
        c1 = (u32)right;
        c2 = (u32)(left >> 32) ^ c3 ^ k1;
        c3 = (u32)left;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return {{c0, c1, c2, c3}};
}

/// The largest integer whose square is at most n. The float only finds where to start.
static __device__ u64 square_root(u64 n) {
    if (n == 0) return 0;
    u64 root = (u64)sqrtf((float)n);
    // One step of Newton's method in integers leaves a root that is too large by at most a few.
    root = (root + n / root) / 2 + 1;
    if (root > 0xffffffffull) root = 0xffffffffull;
    while (root * root > n) root--;
    while (root < 0xffffffffull && (root + 1) * (root + 1) <= n) root++;
    return root;
}

/// -ln((2 x + 1) / 2^33) in Q31, by the series of artanh.
static __device__ i64 minus_log(u32 x) {
    u64 v = 2 * (u64)x + 1;
    int k = 63 - __clzll((i64)v);
    u64 m = v << (32 - k), c = 1ull << 32;
    if (m > SQRT2_Q32) c = 1ull << 33, k = k + 1;
    i64 s = (((i64)m - (i64)c) * ONE_Q31) / (i64)(m + c), square = (s * s) >> 31;
    i64 sum = INVERSE_Q31(13);
    sum = INVERSE_Q31(11) + ((sum * square) >> 31);
    sum = INVERSE_Q31(9) + ((sum * square) >> 31);
    sum = INVERSE_Q31(7) + ((sum * square) >> 31);
    sum = INVERSE_Q31(5) + ((sum * square) >> 31);
    sum = INVERSE_Q31(3) + ((sum * square) >> 31);
    sum = ONE_Q31 + ((sum * square) >> 31);
    return (33 - k) * LN2_Q31 - ((s * sum) >> 30);
}

/// Two independent normal deviates in Q60 (Box and Muller, 1958).
static __device__ void normal_pair(u32 x, u32 y, i64 *first, i64 *second) {
    // The radius sqrt(-2 ln u) in Q29.
    i64 radius = (i64)square_root((u64)minus_log(x) << 28);
    // The angle 2 pi y / 2^32 as a quadrant, and an angle of at most pi / 4 on either side of its axis, in Q31.
    u32 turned = y + (1u << 29), quadrant = turned >> 30;
    i64 within = (i64)(turned & 0x3fffffffu) - (1ll << 29);
    i64 angle = ((2 * within + 1) * PI_Q29) >> 30, square = (angle * angle) >> 31;
    i64 sine = -INVERSE_Q31(39916800);
    sine = INVERSE_Q31(362880) + ((sine * square) >> 31);
    sine = -INVERSE_Q31(5040) + ((sine * square) >> 31);
    sine = INVERSE_Q31(120) + ((sine * square) >> 31);
    sine = -INVERSE_Q31(6) + ((sine * square) >> 31);
    sine = ONE_Q31 + ((sine * square) >> 31);
    sine = (angle * sine) >> 31;
    i64 cosine = -INVERSE_Q31(3628800);
    cosine = INVERSE_Q31(40320) + ((cosine * square) >> 31);
    cosine = -INVERSE_Q31(720) + ((cosine * square) >> 31);
    cosine = INVERSE_Q31(24) + ((cosine * square) >> 31);
    cosine = -INVERSE_Q31(2) + ((cosine * square) >> 31);
    cosine = ONE_Q31 + ((cosine * square) >> 31);
    i64 along = quadrant & 1 ? -sine : cosine, across = quadrant & 1 ? cosine : sine;
    *first = radius * (quadrant & 2 ? -along : along);
    *second = radius * (quadrant & 2 ? -across : across);
}

/// exp(x) in Q32 for x in Q48; at most 2^16.
static __device__ u64 exponential(i64 x) {
    const u64 LARGEST = (1ull << 48) - 1;
    if (x >= 16 * LN2_Q48) return LARGEST;
    if (x < -33 * LN2_Q48) return 0;
    i64 n = ((x >> 16) * INVERSE_LN2_Q20 + (1ll << 51)) >> 52;
    i64 rest = (x - n * LN2_Q48) >> 17;
    i64 sum = INVERSE_Q31(3628800);
    sum = INVERSE_Q31(362880) + ((sum * rest) >> 31);
    sum = INVERSE_Q31(40320) + ((sum * rest) >> 31);
    sum = INVERSE_Q31(5040) + ((sum * rest) >> 31);
    sum = INVERSE_Q31(720) + ((sum * rest) >> 31);
    sum = INVERSE_Q31(120) + ((sum * rest) >> 31);
    sum = INVERSE_Q31(24) + ((sum * rest) >> 31);
    sum = INVERSE_Q31(6) + ((sum * rest) >> 31);
    sum = INVERSE_Q31(2) + ((sum * rest) >> 31);
    sum = ONE_Q31 + ((sum * rest) >> 31);
    sum = ONE_Q31 + ((sum * rest) >> 31);
    if (n < 0) return (u64)sum >> (-n - 1);
    u64 value = (u64)sum << (n + 1);
    return value < LARGEST ? value : LARGEST;
}

struct walk {
    /// What the logarithm of the price gains in a step, in Q48.
    i64 drift;
    /// Standard deviation of that, in Q60.
    i64 width;
    /// Strike as a share of the spot price, in Q32.
    u64 strike;
    u64 seed;
    u32 steps;
    /// 1 for a right to sell.
    u32 put;
};

/// What the option pays on is either the price at the end, or the mean of the prices after each step.
template <bool MEAN> static __device__ __forceinline__ u64 payoff_of(const walk *w, u64 path) {
    i64 logarithm = 0;
    u64 sum = 0;
    for (u32 step = 0; step < w->steps; step += 4) {
        words random = philox(w->seed, path, step / 4);
        i64 deviates[4];
        normal_pair(random.w[0], random.w[1], &deviates[0], &deviates[1]);
        normal_pair(random.w[2], random.w[3], &deviates[2], &deviates[3]);
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            if (step + i < w->steps) {
                logarithm += w->drift + (__mul64hi(w->width, deviates[i]) >> 8);
                if (MEAN) sum += exponential(logarithm);
            }
        }
    }
    u64 price = MEAN ? sum / w->steps : exponential(logarithm);
    if (w->put) return w->strike > price ? w->strike - price : 0;
    return price > w->strike ? price - w->strike : 0;
}

/// Adds up payoffs (Q32) and their squares (Q32), each in two halves of 32 bits, which cannot overflow 64 bits.
template <bool MEAN> static __device__ __forceinline__ void add_paths(const walk *w, u64 first, u64 count, u64 *sums) {
    u64 mine[4] = {0, 0, 0, 0};
    u64 stride = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        u64 payoff = payoff_of<MEAN>(w, first + i);
        u64 square = (__umul64hi(payoff, payoff) << 32) | ((payoff * payoff) >> 32);
        mine[0] += (u32)payoff;
        mine[1] += payoff >> 32;
        mine[2] += (u32)square;
        mine[3] += square >> 32;
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++)
        if (mine[i]) atomicAdd(&sums[i], mine[i]);
}

extern "C" __global__ void montecarlo_european(const walk *w, u64 first, u64 count, u64 *sums) {
    add_paths<false>(w, first, count, sums);
}

extern "C" __global__ void montecarlo_asian(const walk *w, u64 first, u64 count, u64 *sums) {
    add_paths<true>(w, first, count, sums);
}
