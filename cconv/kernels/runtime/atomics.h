/* Words of 32 bits that threads change at once, for GCC, Clang and MSVC.
 *
 * All operations are sequentially consistent, and those that change a word return what it was before.
 */
#ifndef CCONV_ATOMICS_H
#define CCONV_ATOMICS_H

#include <stdint.h>

#if defined(__GNUC__)

typedef uint32_t shared_word;

static inline uint32_t word_get(shared_word *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static inline void word_set(shared_word *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }
static inline uint32_t word_add(shared_word *word, uint32_t value)
{
    return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}
static inline uint32_t word_or(shared_word *word, uint32_t value)
{
    return __atomic_fetch_or(word, value, __ATOMIC_SEQ_CST);
}
static inline uint32_t word_and(shared_word *word, uint32_t value)
{
    return __atomic_fetch_and(word, value, __ATOMIC_SEQ_CST);
}

/* Change a word that is as expected; return whether it was. */
static inline int word_change(shared_word *word, uint32_t expected, uint32_t value)
{
    return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

#else
#include <intrin.h>

typedef volatile long shared_word;

static inline uint32_t word_get(shared_word *word) { return (uint32_t)_InterlockedOr(word, 0); }
static inline void word_set(shared_word *word, uint32_t value) { _InterlockedExchange(word, (long)value); }
static inline uint32_t word_add(shared_word *word, uint32_t value)
{
    return (uint32_t)_InterlockedExchangeAdd(word, (long)value);
}
static inline uint32_t word_or(shared_word *word, uint32_t value)
{
    return (uint32_t)_InterlockedOr(word, (long)value);
}
static inline uint32_t word_and(shared_word *word, uint32_t value)
{
    return (uint32_t)_InterlockedAnd(word, (long)value);
}
static inline int word_change(shared_word *word, uint32_t expected, uint32_t value)
{
    return _InterlockedCompareExchange(word, (long)value, (long)expected) == (long)expected;
}

#endif
#endif
