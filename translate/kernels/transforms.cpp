// The four transforms of a fast 3x3 convolution, each M x M^T for small matrices x and a matrix M of constants. native.py
// puts EVALUATE (6 x 6), INTERPOLATE (4 x 6) and EVALUATE_TRANSPOSED, INTERPOLATE_TRANSPOSED above these lines.

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int64_t LANES = 16;
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));

// Where a number lies, in floats: row i and column j of the small matrix that belongs to a tile in some row and column
// of an image. Channels lie side by side.
struct Strides {
    int64_t image, row, column, i, j;
};

// As native.py sends it.
struct Call {
    Strides from, to;
    int64_t images, rows, columns, channels, threads;
};

template <int TO, int FROM>
using Matrix = float[TO][FROM];

template <int TO, int FROM>
inline void times(const Matrix<TO, FROM>& matrix, const Lanes* from, Lanes* to, int step) {
#pragma GCC unroll 6
    for (int i = 0; i < TO; i++) {
        Lanes sum = {};
#pragma GCC unroll 6
        for (int j = 0; j < FROM; j++)
            if (matrix[i][j] != 0) sum += matrix[i][j] * from[j];
        to[i * step] = sum;
    }
}

template <int TO, int FROM>
inline void one(const Matrix<TO, FROM>& matrix, const float* from, Strides f, float* to, Strides t, size_t bytes) {
    Lanes half[FROM][TO], column[FROM], made[TO];
#pragma GCC unroll 6
    for (int j = 0; j < FROM; j++) {
#pragma GCC unroll 6
        for (int i = 0; i < FROM; i++) {
            column[i] = Lanes{};
            std::memcpy(&column[i], from + i * f.i + j * f.j, bytes);
        }
        times<TO, FROM>(matrix, column, half[j], 1);
    }
#pragma GCC unroll 6
    for (int i = 0; i < TO; i++) {
        Lanes row[FROM];
#pragma GCC unroll 6
        for (int j = 0; j < FROM; j++) row[j] = half[j][i];
        times<TO, FROM>(matrix, row, made, 1);
#pragma GCC unroll 6
        for (int j = 0; j < TO; j++) std::memcpy(to + i * t.i + j * t.j, &made[j], bytes);
    }
}

template <int TO, int FROM>
void all(const Matrix<TO, FROM>& matrix, const float* from, float* to, const Call& call) {
    const Strides f = call.from, t = call.to;
    auto some = [&](int64_t first, int64_t last) {
        for (int64_t line = first; line < last; line++)
            for (int64_t column = 0; column < call.columns; column++) {
                const int64_t image = line / call.rows, row = line % call.rows;
                const float* source = from + image * f.image + row * f.row + column * f.column;
                float* target = to + image * t.image + row * t.row + column * t.column;
                int64_t channel = 0;
                for (; channel + LANES <= call.channels; channel += LANES)
                    one<TO, FROM>(matrix, source + channel, f, target + channel, t, sizeof(Lanes));
                const int64_t left = call.channels - channel;
                if (left) one<TO, FROM>(matrix, source + channel, f, target + channel, t, left * sizeof(float));
            }
    };
    const int64_t lines = call.images * call.rows, threads = call.threads;
    std::vector<std::thread> others;
    for (int64_t part = 1; part < threads; part++)
        others.emplace_back(some, lines * part / threads, lines * (part + 1) / threads);
    some(0, lines / threads);
    for (auto& other : others) other.join();
}

}  // namespace

extern "C" {

void from_patches(const float* from, float* to, const Call* call) { all<6, 6>(EVALUATE, from, to, *call); }
void to_patches(const float* from, float* to, const Call* call) { all<6, 6>(EVALUATE_TRANSPOSED, from, to, *call); }
void to_tiles(const float* from, float* to, const Call* call) { all<4, 6>(INTERPOLATE, from, to, *call); }
void from_tiles(const float* from, float* to, const Call* call) { all<6, 4>(INTERPOLATE_TRANSPOSED, from, to, *call); }
}
