// The symbols of libcublasLt.so.13 that the worker resolves, over the memory of the emulated device.
//
// It multiplies matrices whose columns are contiguous, one product after another, and keeps to the library's contract
// where the worker relies on it: attributes have the sizes that they have there, memory is the device's, and signed bytes
// are taken only with A transposed, B not, and sizes that are multiples of four.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <math.h>

extern "C" bool emulated_memory_holds(uintptr_t at, size_t length);
extern "C" int emulated_queue(const std::function<void()> &order, void *stream);

namespace {

enum status : int { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum type : int { R_32F = 0, R_16F = 2, R_8I = 3, R_32I = 10, R_16BF = 14 };
enum compute : int { COMPUTE_32F = 68, COMPUTE_32I = 72 };
enum operation : int { NOT_TRANSPOSED = 0, TRANSPOSED = 1 };
enum attribute : int { TRANSPOSE_A = 3, TRANSPOSE_B = 4 };
enum preference : int { WORKSPACE_BYTES = 1, REDUCTION_SCHEMES = 3 };

constexpr size_t VERSION = 130000;

struct description {
    int compute, scale;
    int transposed_a = NOT_TRANSPOSED, transposed_b = NOT_TRANSPOSED;
};

struct layout {
    int type;
    uint64_t rows, columns;
    int64_t leading;
};

struct wishes {
    uint64_t workspace = 0;
    uint32_t reductions = 7;
};

struct algorithm {
    uint64_t data[8];
};

struct heuristic {
    algorithm chosen;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

size_t size_of(int type) { return type == R_8I ? 1 : type == R_16F || type == R_16BF ? 2 : 4; }

float from_half(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float magnitude = exponent == 0    ? ldexpf((float)fraction, -24)
                      : exponent == 31 ? (fraction ? NAN : INFINITY)
                                       : ldexpf((float)(fraction + 1024), exponent - 25);
    return bits >> 15 ? -magnitude : magnitude;
}

float from_bfloat(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/// An operand: element (row, column) after its transposition. Descriptions are the caller's, and copied.
struct operand {
    const void *at;
    layout of;
    bool transposed;

    size_t index(uint64_t row, uint64_t column) const {
        return transposed ? column + row * (size_t)of.leading : row + column * (size_t)of.leading;
    }
    uint64_t rows() const { return transposed ? of.columns : of.rows; }
    uint64_t columns() const { return transposed ? of.rows : of.columns; }
    int integer(uint64_t row, uint64_t column) const { return static_cast<const int8_t *>(at)[index(row, column)]; }
    float real(uint64_t row, uint64_t column) const {
        uint16_t bits = static_cast<const uint16_t *>(at)[index(row, column)];
        return of.type == R_16F ? from_half(bits) : from_bfloat(bits);
    }
};

/// Whether the library would have an algorithm for it.
bool is_supported(const description &d, const layout &a, const layout &b, const layout &c) {
    bool integers = a.type == R_8I && b.type == R_8I && c.type == R_32I && d.compute == COMPUTE_32I && d.scale == R_32I;
    bool reals = (a.type == R_16F || a.type == R_16BF) && b.type == a.type && c.type == R_32F &&
                 d.compute == COMPUTE_32F && d.scale == R_32F;
    if (integers)
        return d.transposed_a == TRANSPOSED && d.transposed_b == NOT_TRANSPOSED && a.leading % 4 == 0 &&
               b.leading % 4 == 0 && c.leading % 4 == 0 && c.rows % 4 == 0 && a.rows % 4 == 0;
    return reals;
}

bool is_whole(const void *at, const layout &of) {
    if (of.leading < (int64_t)of.rows || of.rows == 0 || of.columns == 0) return false;
    size_t elements = (of.columns - 1) * (size_t)of.leading + of.rows;
    return emulated_memory_holds(reinterpret_cast<uintptr_t>(at), elements * size_of(of.type));
}

void multiply(const operand &left, const operand &right, void *c, const layout &of) {
    for (uint64_t column = 0; column < of.columns; column++) {
        for (uint64_t row = 0; row < of.rows; row++) {
            size_t at = row + column * (size_t)of.leading;
            int integer = 0;
            float real = 0;
            for (uint64_t i = 0; i < left.columns(); i++) {
                if (of.type == R_32I) integer += left.integer(row, i) * right.integer(i, column);
                else real += left.real(row, i) * right.real(i, column);
            }
            if (of.type == R_32I) static_cast<int32_t *>(c)[at] = integer;
            else static_cast<float *>(c)[at] = real;
        }
    }
}

template <typename T> int set(T &field, const void *value, size_t size) {
    if (size != sizeof field) return INVALID_VALUE;
    memcpy(&field, value, size);
    return SUCCESS;
}

} // namespace

#define CUBLASLT extern "C" __attribute__((visibility("default")))

CUBLASLT size_t cublasLtGetVersion() { return VERSION; }

CUBLASLT int cublasLtCreate(void **handle) {
    *handle = new char;
    return SUCCESS;
}

CUBLASLT int cublasLtDestroy(void *handle) {
    delete static_cast<char *>(handle);
    return SUCCESS;
}

CUBLASLT int cublasLtMatmulDescCreate(description **made, int compute, int scale) {
    *made = new description{compute, scale};
    return SUCCESS;
}

CUBLASLT int cublasLtMatmulDescSetAttribute(description *d, int attribute, const void *value, size_t size) {
    if (attribute == TRANSPOSE_A) return set(d->transposed_a, value, size);
    if (attribute == TRANSPOSE_B) return set(d->transposed_b, value, size);
    return INVALID_VALUE;
}

CUBLASLT int cublasLtMatmulDescDestroy(description *d) {
    delete d;
    return SUCCESS;
}

CUBLASLT int cublasLtMatrixLayoutCreate(layout **made, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    *made = new layout{type, rows, columns, leading};
    return SUCCESS;
}

CUBLASLT int cublasLtMatrixLayoutDestroy(layout *l) {
    delete l;
    return SUCCESS;
}

CUBLASLT int cublasLtMatmulPreferenceCreate(wishes **made) {
    *made = new wishes;
    return SUCCESS;
}

CUBLASLT int cublasLtMatmulPreferenceSetAttribute(wishes *w, int attribute, const void *value, size_t size) {
    if (attribute == WORKSPACE_BYTES) return set(w->workspace, value, size);
    if (attribute == REDUCTION_SCHEMES) return set(w->reductions, value, size);
    return INVALID_VALUE;
}

CUBLASLT int cublasLtMatmulPreferenceDestroy(wishes *w) {
    delete w;
    return SUCCESS;
}

CUBLASLT int cublasLtMatmulAlgoGetHeuristic(void *, const description *d, const layout *a, const layout *b,
                                            const layout *c, const layout *, const wishes *, int wanted,
                                            heuristic *found, int *count) {
    *count = wanted > 0 && is_supported(*d, *a, *b, *c) ? 1 : 0;
    if (*count == 0) return NOT_SUPPORTED;
    *found = heuristic{};
    found->chosen.data[0] = 1;
    return SUCCESS;
}

CUBLASLT int cublasLtMatmul(void *, const description *d, const void *alpha, const void *a, const layout *la,
                            const void *b, const layout *lb, const void *beta, const void *, const layout *, void *c,
                            const layout *lc, const algorithm *chosen, void *workspace, size_t workspace_bytes,
                            void *stream) {
    if (!is_supported(*d, *la, *lb, *lc) || chosen->data[0] != 1) return NOT_SUPPORTED;
    if (workspace_bytes > 0 && !emulated_memory_holds(reinterpret_cast<uintptr_t>(workspace), workspace_bytes))
        return INVALID_VALUE;
    operand left{a, *la, d->transposed_a == TRANSPOSED}, right{b, *lb, d->transposed_b == TRANSPOSED};
    bool fits = is_whole(a, *la) && is_whole(b, *lb) && is_whole(c, *lc);
    if (!fits || left.rows() != lc->rows || right.columns() != lc->columns || left.columns() != right.rows())
        return INVALID_VALUE;
    // The worker asks for a plain product: one times A B, and nothing added.
    uint32_t one = 0, none = 0;
    memcpy(&one, alpha, sizeof one);
    memcpy(&none, beta, sizeof none);
    float real_one = 1.0f;
    if (none != 0 || (lc->type == R_32I ? one != 1 : memcmp(&one, &real_one, sizeof one) != 0)) return NOT_SUPPORTED;
    return emulated_queue([left, right, c, of = *lc] { multiply(left, right, c, of); }, stream);
}
