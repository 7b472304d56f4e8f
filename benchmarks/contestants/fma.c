/* Multiply-adds that never leave the registers, and sweeps that hardly compute: what processor and memory can do at most.

   BYTES is the width of a vector at the CPU level. Twelve chains hide the latency of two units that take four cycles. Each
   round goes through them several times: some processors decode the end of a loop slowly, by where it happens to lie, which
   once cost a third of a loop of twelve. */

#define CHAINS 12
#define TIMES 8

typedef float float_vector __attribute__((vector_size(BYTES)));
typedef double double_vector __attribute__((vector_size(BYTES)));

#define DEFINE(type)                                                                                                   \
    type type##_loop(long rounds, type factor, type term)                                                              \
    {                                                                                                                  \
        type##_vector chain[CHAINS];                                                                                   \
        type total = 0;                                                                                                \
        for (int i = 0; i < CHAINS; i++)                                                                               \
            chain[i] = (type##_vector){0} + (type)i;                                                                   \
        for (long round = 0; round < rounds; round++) {                                                                \
            _Pragma("GCC unroll 96") for (int i = 0; i < CHAINS * TIMES; i++)                                          \
                chain[i % CHAINS] = chain[i % CHAINS] * factor + term;                                                 \
        }                                                                                                              \
        for (int i = 0; i < CHAINS; i++)                                                                               \
            total += chain[i][0];                                                                                      \
        return total;                                                                                                  \
    }

DEFINE(float)
DEFINE(double)

/* Reads two of `count` arrays of `n` values, which lie one behind the other, and writes a third; each is written once in a
   round. */
void sweep(long rounds, long count, long n, float *arrays)
{
    for (long round = 0; round < rounds; round++)
        for (long k = 0; k < count; k++) {
            const float *restrict a = arrays + k * n, *restrict b = arrays + (k + 1) % count * n;
            float *restrict to = arrays + (k + 2) % count * n;
            for (long i = 0; i < n; i++) to[i] = 0.5f * (a[i] + b[i]);
        }
}
