"""Random words by their number, inlined into their user."""

# Philox4x32-7 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a counter
# of four 32-bit words, under a key of two, into four random ones. The counter is made of the number of a block and of
# the number of a draw: so nothing depends on the order in which blocks are computed.

from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    ROUNDS = 7


cdef inline void random_words(uint64_t key, uint64_t draw, uint64_t block, int blocks, uint32_t* words) noexcept nogil:
    """Write the words of so many blocks from one on, the four of a block `blocks` apart: loops that become vectors."""
    cdef uint32_t* first = words
    cdef uint32_t* second = words + blocks
    cdef uint32_t* third = words + 2 * blocks
    cdef uint32_t* fourth = words + 3 * blocks
    cdef uint32_t key_low = <uint32_t>key, key_high = <uint32_t>(key >> 32)
    cdef uint64_t a, b
    cdef int i, _round
    for i in range(blocks):
        first[i] = <uint32_t>(block + i)
        second[i] = <uint32_t>((block + i) >> 32)
        third[i] = <uint32_t>draw
        fourth[i] = <uint32_t>(draw >> 32)
    for _round in range(ROUNDS):
        for i in range(blocks):
            a = <uint64_t>first[i] * <uint64_t>0xD2511F53u
            b = <uint64_t>third[i] * <uint64_t>0xCD9E8D57u
            first[i] = <uint32_t>(b >> 32) ^ second[i] ^ key_low
            second[i] = <uint32_t>b
            third[i] = <uint32_t>(a >> 32) ^ fourth[i] ^ key_high
            fourth[i] = <uint32_t>a
        key_low += 0x9E3779B9u
        key_high += 0xBB67AE85u
