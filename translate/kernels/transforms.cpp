// The six transforms of a fast 3x3 convolution, each M x M^T for small matrices x and a matrix M of constants. native.py
// puts EVALUATE (6 x 6), WEIGHTS (6 x 3), INTERPOLATE (4 x 6) and what is called MATRIX_TRANSPOSED above these lines.

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

// OpenMP's runtime, where the process has one: torch's, whose threads wait busily for their next work and would keep
// threads of ours from the cores.
extern "C" {
__attribute__((weak)) void GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned flags);
__attribute__((weak)) int omp_get_thread_num();
__attribute__((weak)) int omp_get_num_threads();
}

namespace {

constexpr int64_t LANES = 16;
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));

// Where a number lies, in floats: row i and column j of the small matrix that belongs to a tile in some row and column
// of an image. The step from one channel to the next is a constant.
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

template <int STEP>
inline Lanes load(const float* from, int64_t channels) {
    Lanes lanes = {};
    if (STEP == 1)
        std::memcpy(&lanes, from, channels * sizeof(float));
    else
        for (int64_t lane = 0; lane < channels; lane++) lanes[lane] = from[lane * STEP];
    return lanes;
}

template <int STEP>
inline void store(Lanes lanes, float* to, int64_t channels) {
    if (STEP == 1)
        std::memcpy(to, &lanes, channels * sizeof(float));
    else
        for (int64_t lane = 0; lane < channels; lane++) to[lane * STEP] = lanes[lane];
}

template <int TO, int FROM, int TO_STEP, int FROM_STEP, bool ADD>
inline void one(const Matrix<TO, FROM>& matrix, const float* from, Strides f, float* to, Strides t, int64_t channels) {
    Lanes half[FROM][TO], column[FROM], made[TO];
#pragma GCC unroll 6
    for (int j = 0; j < FROM; j++) {
#pragma GCC unroll 6
        for (int i = 0; i < FROM; i++) column[i] = load<FROM_STEP>(from + i * f.i + j * f.j, channels);
        times<TO, FROM>(matrix, column, half[j], 1);
    }
#pragma GCC unroll 6
    for (int i = 0; i < TO; i++) {
        Lanes row[FROM];
#pragma GCC unroll 6
        for (int j = 0; j < FROM; j++) row[j] = half[j][i];
        times<TO, FROM>(matrix, row, made, 1);
#pragma GCC unroll 6
        for (int j = 0; j < TO; j++) {
            float* target = to + i * t.i + j * t.j;
            if (ADD) made[j] += load<TO_STEP>(target, channels);
            store<TO_STEP>(made[j], target, channels);
        }
    }
}

// Calls some(first, last) for parts of 0 to `lines`, each in a thread.
template <typename Some>
void in_parts(int64_t lines, int64_t threads, const Some& some) {
    if (threads > 1 && GOMP_parallel && omp_get_thread_num && omp_get_num_threads) {
        auto work = [lines, &some] {
            const int64_t part = omp_get_thread_num(), parts = omp_get_num_threads();
            some(lines * part / parts, lines * (part + 1) / parts);
        };
        GOMP_parallel([](void* data) { (*static_cast<decltype(work)*>(data))(); }, &work, threads, 0);
        return;
    }
    std::vector<std::thread> others;
    for (int64_t part = 1; part < threads; part++)
        others.emplace_back(some, lines * part / threads, lines * (part + 1) / threads);
    some(0, lines / threads);
    for (auto& other : others) other.join();
}

template <int TO, int FROM, int TO_STEP = 1, int FROM_STEP = 1, bool ADD = false>
void all(const Matrix<TO, FROM>& matrix, const float* from, float* to, const Call& call) {
    constexpr auto each = one<TO, FROM, TO_STEP, FROM_STEP, ADD>;
    const Strides f = call.from, t = call.to;
    auto some = [&](int64_t first, int64_t last) {
        for (int64_t line = first; line < last; line++)
            for (int64_t column = 0; column < call.columns; column++) {
                const int64_t image = line / call.rows, row = line % call.rows;
                const float* source = from + image * f.image + row * f.row + column * f.column;
                float* target = to + image * t.image + row * t.row + column * t.column;
                int64_t channel = 0;
                for (; channel + LANES <= call.channels; channel += LANES)
                    each(matrix, source + channel * FROM_STEP, f, target + channel * TO_STEP, t, LANES);
                const int64_t left = call.channels - channel;
                if (left) each(matrix, source + channel * FROM_STEP, f, target + channel * TO_STEP, t, left);
            }
    };
    in_parts(call.images * call.rows, call.threads, some);
}

}  // namespace

extern "C" {

void from_patches(const float* from, float* to, const Call* call) { all<6, 6>(EVALUATE, from, to, *call); }
void to_tiles(const float* from, float* to, const Call* call) { all<4, 6>(INTERPOLATE, from, to, *call); }
void from_tiles(const float* from, float* to, const Call* call) { all<6, 4>(INTERPOLATE_TRANSPOSED, from, to, *call); }

// Weights lie (K, C, 3, 3), their values (36, K, C): K rows of tiles.
void of_weights(const float* from, float* to, const Call* call) { all<6, 3, 1, 9>(WEIGHTS, from, to, *call); }
void to_weights(const float* from, float* to, const Call* call) { all<3, 6, 9, 1>(WEIGHTS_TRANSPOSED, from, to, *call); }

// Patches overlap: every second row of them, so that no two threads add to one number, then the others.
void to_patches(const float* from, float* to, const Call* call) {
    for (int64_t first = 0; first < 2; first++) {
        Call part = *call;
        part.from.row *= 2;
        part.to.row *= 2;
        part.rows = (call->rows + 1 - first) / 2;
        all<6, 6, 1, 1, true>(EVALUATE_TRANSPOSED, from + first * call->from.row, to + first * call->to.row, part);
    }
}
}
