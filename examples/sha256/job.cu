// SHA-256 of a file, and of each of its pieces, where a piece's digest is hashed again `rounds` times (key stretching).
//
// One thread hashes the file, which is a chain; the pieces are independent, one thread each.

typedef unsigned char u8;
typedef unsigned int u32;

__constant__ u32 K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static __device__ u32 rotate(u32 x, int by) { return (x >> by) | (x << (32 - by)); }

static __device__ void start(u32 state[8]) {
    const u32 H[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (int i = 0; i < 8; i++) state[i] = H[i];
}

static __device__ void compress(u32 state[8], const u32 block[16]) {
    u32 w[64];
    for (int i = 0; i < 16; i++) w[i] = block[i];
    for (int i = 16; i < 64; i++) {
        u32 s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
        u32 s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    u32 a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        u32 s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        u32 t1 = h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i];
        u32 s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        u32 t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static __device__ u32 byte_at(const u8 *data, u32 length, u32 i) { return i < length ? data[i] : i == length ? 0x80 : 0; }

static __device__ void digest(const u8 *data, u32 length, u32 state[8]) {
    u32 blocks = (length + 8) / 64 + 1;
    start(state);
    for (u32 block = 0; block < blocks; block++) {
        u32 words[16];
        for (u32 i = 0; i < 16; i++) {
            u32 at = block * 64 + i * 4;
            words[i] = byte_at(data, length, at) << 24 | byte_at(data, length, at + 1) << 16 | byte_at(data, length, at + 2) << 8 |
                       byte_at(data, length, at + 3);
        }
        if (block == blocks - 1) {
            words[14] = length >> 29;
            words[15] = length << 3;
        }
        compress(state, words);
    }
}

static __device__ void digest_again(u32 state[8]) {
    u32 words[16] = {0};
    for (int i = 0; i < 8; i++) words[i] = state[i];
    words[8] = 0x80000000;
    words[15] = 256;
    start(state);
    compress(state, words);
}

static __device__ void store(const u32 state[8], u8 bytes[32]) {
    for (int i = 0; i < 32; i++) bytes[i] = (u8)(state[i / 4] >> (24 - i % 4 * 8));
}

/// One thread: the digest of the whole file.
extern "C" __global__ void sha256_file(const u8 *data, u32 length, u8 *out) {
    u32 state[8];
    digest(data, length, state);
    store(state, out);
}

/// A thread per piece. `params`: u32 piece length, u32 rounds.
extern "C" __global__ void sha256_pieces(const u8 *data, u32 length, const u32 *params, u8 *out) {
    u32 piece = blockIdx.x * blockDim.x + threadIdx.x;
    if (piece >= (length + params[0] - 1) / params[0]) return;
    u32 at = piece * params[0];
    u32 left = length - at;
    u32 state[8];
    digest(data + at, left < params[0] ? left : params[0], state);
    for (u32 round = 0; round < params[1]; round++) digest_again(state);
    store(state, out + piece * 32);
}
