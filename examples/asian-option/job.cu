// Price of an arithmetic Asian call option by Monte Carlo: what the right to buy at `strike` is worth, where the price
// paid out is the average over the option's life, and the asset moves as a geometric Brownian motion.
//
// A thread per path. Payoffs are added as integers, so the order in which threads come does not matter.

typedef unsigned int u32;
typedef unsigned long long u64;

struct params {
    double spot, strike, rate, volatility, maturity;
    u32 paths, steps;
    u64 seed;
};

static __device__ u64 bits_of(double x) { return (u64)__double_as_longlong(x); }

static __device__ double from_bits(u64 bits) { return __longlong_as_double((long long)bits); }

/// A random 64-bit number for each counter (SplitMix64).
static __device__ u64 random_bits(u64 seed, u64 counter) {
    u64 z = seed + (counter + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/// exp(x) for moderate x, by additions and multiplications alone, so that every machine gives the same bits.
static __device__ double exponential(double x) {
    int k = (int)(x * 1.4426950408889634 + (x < 0.0 ? -0.5 : 0.5));
    double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
    double sum = 1.0;
    for (int i = 13; i > 0; i--) sum = 1.0 + r * sum / (double)i;
    return sum * from_bits((u64)(1023 + k) << 52);
}

/// log(x) for positive normal x, in the same way.
static __device__ double logarithm(double x) {
    u64 bits = bits_of(x);
    int k = (int)(bits >> 52) - 1023;
    double m = from_bits((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
    if (m > 1.4142135623730951) m = m * 0.5, k = k + 1;
    double s = (m - 1.0) / (m + 1.0), square = s * s, sum = 0.0;
    for (int i = 23; i > 0; i -= 2) sum = sum * square + 1.0 / (double)i;
    return 2.0 * s * sum + k * 0.6931471805599453;
}

static __device__ double polynomial(const double *c, double x) {
    double sum = c[7];
    for (int i = 6; i >= 0; i--) sum = sum * x + c[i];
    return sum;
}

/// The normal deviate below which a share p of the distribution lies (Wichura's algorithm AS 241).
static __device__ double normal(double p) {
    const double A[8] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
                         4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3};
    const double B[8] = {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                         2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3};
    const double C[8] = {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
                         1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4};
    const double D[8] = {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                         1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9};
    const double E[8] = {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
                         2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7};
    const double F[8] = {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                         7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15};
    double q = p - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        double r = 0.180625 - q * q;
        return q * polynomial(A, r) / polynomial(B, r);
    }
    double r = sqrt(-logarithm(q < 0.0 ? p : 1.0 - p));
    double tail = r <= 5.0 ? polynomial(C, r - 1.6) / polynomial(D, r - 1.6) : polynomial(E, r - 5.0) / polynomial(F, r - 5.0);
    return q < 0.0 ? -tail : tail;
}

/// What one path pays, in units of 2^-24.
static __device__ u64 payoff_of(const params *p, u32 path) {
    double dt = p->maturity / (double)p->steps;
    double drift = (p->rate - 0.5 * p->volatility * p->volatility) * dt;
    double width = p->volatility * sqrt(dt);
    double price = p->spot, sum = 0.0;
    for (u32 step = 0; step < p->steps; step++) {
        u64 bits = random_bits(p->seed, (u64)path * p->steps + step);
        double uniform = ((double)(bits >> 11) + 0.5) * 0x1p-53;
        price = price * exponential(drift + width * normal(uniform));
        sum = sum + price;
    }
    double payoff = sum / (double)p->steps - p->strike;
    return payoff > 0.0 ? (u64)(payoff * 16777216.0) : 0;
}

/// `sums`: payoffs in units of 2^-24, paths that paid out, paths.
extern "C" __global__ void asian_paths(const params *p, u64 *sums) {
    u32 path = blockIdx.x * blockDim.x + threadIdx.x;
    if (path >= p->paths) return;
    u64 payoff = payoff_of(p, path);
    atomicAdd(&sums[0], payoff);
    atomicAdd(&sums[1], (u64)(payoff > 0));
    atomicAdd(&sums[2], (u64)1);
}
