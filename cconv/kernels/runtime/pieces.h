/* Pieces of work that threads share.
 *
 * Each thread takes those of its own part first, the same ones in every call: what a core read or wrote then it finds
 * in its cache, and from another core's cache it would come slowly. When its part is done it takes what others have
 * not begun yet, for threads seldom run equally fast: a core may be of a slower kind, or busy with other programs, or
 * its hardware may run two threads at once, or a thread is late because it slept. Who computes a piece must not change
 * a bit of it.
 */
#ifndef CCONV_PIECES_H
#define CCONV_PIECES_H

#include <stddef.h>

#if !defined(__GNUC__)
#include <intrin.h>
#endif

#define PIECES_PARTS 64 /* more threads have their first pieces together with others */

/* Threads wait for each other that write one line of the cache, or read one that another thread writes. So what each
 * writes begins two lines behind the rest, wherever the structure lies. */
struct shared_pieces {
    int parts;
    void (*before_piece)(struct shared_pieces *pieces); /* called by the thread with slot 0 unless NULL */
    char apart[128 - sizeof(int) - sizeof(void *)];
    struct {
        ptrdiff_t next, end;
        char apart[128 - 2 * sizeof(ptrdiff_t)];
    } part[PIECES_PARTS];
};

static inline void deal_pieces(struct shared_pieces *pieces, ptrdiff_t count, int threads)
{
    const int parts = threads < PIECES_PARTS ? threads : PIECES_PARTS;
    pieces->parts = parts;
    pieces->before_piece = NULL;
    for (int i = 0; i < parts; i++) {
        pieces->part[i].next = i * count / parts;
        pieces->part[i].end = (i + 1) * count / parts;
    }
}

/* The next piece for the thread with a slot, or -1 where none is left. */
static inline ptrdiff_t take_piece(struct shared_pieces *pieces, int slot)
{
    if (slot == 0 && pieces->before_piece != NULL) pieces->before_piece(pieces);
    for (int i = 0; i < pieces->parts; i++) {
        ptrdiff_t *const next = &pieces->part[(slot + i) % pieces->parts].next;
        const ptrdiff_t end = pieces->part[(slot + i) % pieces->parts].end;
#if defined(__GNUC__)
        if (__atomic_load_n(next, __ATOMIC_RELAXED) >= end) continue;
        const ptrdiff_t piece = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
#elif defined(_WIN64)
        const ptrdiff_t piece = _InterlockedExchangeAdd64(next, 1);
#else
        const ptrdiff_t piece = _InterlockedExchangeAdd((volatile long *)next, 1);
#endif
        if (piece < end) return piece;
    }
    return -1;
}

#endif
