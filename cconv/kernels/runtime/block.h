/* Aligned memory from the system, with large pages where it offers them. */
#ifndef CCONV_BLOCK_H
#define CCONV_BLOCK_H

#include <stddef.h>
#include <stdlib.h>

#define CCONV_ALIGNMENT ((size_t)64) /* a cache line, and the widest vector */
#define CCONV_LARGE_PAGE ((size_t)2 << 20)

#ifdef _WIN32
#include <malloc.h>

static void *cconv_block_new(size_t size) { return _aligned_malloc(size, CCONV_ALIGNMENT); }
static void cconv_block_free(void *data) { _aligned_free(data); }

#else
#ifdef __linux__
#include <sys/mman.h>
#endif

/* A fresh page costs its fault when it is first touched, some 0.1 us a KiB, and every later visit a translation, which
 * a processor keeps for some 12 MB of small pages: beyond that, a training step on a virtual machine took 3.1 ms in
 * some processes and 5.3 ms in others, and 3.1 ms in all with large pages. An array takes as many whole ones as it
 * fills, the last one at least to three quarters. */
static void *cconv_block_new(size_t size)
{
    const size_t large = (size + CCONV_LARGE_PAGE / 4) & ~(CCONV_LARGE_PAGE - 1);
    void *data = NULL;
    if (large < size && size - large > CCONV_LARGE_PAGE) return NULL; /* the sum has overflowed */
    if (posix_memalign(&data, large ? CCONV_LARGE_PAGE : CCONV_ALIGNMENT, size < large ? large : size) != 0)
        return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (large) (void)madvise(data, large, MADV_HUGEPAGE);
#endif
    return data;
}
static void cconv_block_free(void *data) { free(data); }

#endif
#endif
