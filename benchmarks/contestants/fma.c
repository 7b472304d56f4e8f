/* Multiply-adds that never leave the registers: what the processor can do at most.

   BYTES is the width of a vector at the CPU level. Twelve chains hide the latency of two units that take four cycles. */

#define CHAINS 12

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
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) chain[i] = chain[i] * factor + term;             \
        }                                                                                                              \
        for (int i = 0; i < CHAINS; i++)                                                                               \
            total += chain[i][0];                                                                                      \
        return total;                                                                                                  \
    }

DEFINE(float)
DEFINE(double)
