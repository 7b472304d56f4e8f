/* Aligned memory from the system, with large pages where it offers them. */
#ifndef CCONV_BLOCK_H
#define CCONV_BLOCK_H

#include <stddef.h>
#include <stdlib.h>

#define CCONV_ALIGNMENT ((size_t)64)             /* a cache line, and the widest vector */
#define CCONV_LARGE_PAGE ((size_t)2 << 20)

#ifdef _WIN32
#include <malloc.h>

static void *cconv_block_new(size_t size) { return _aligned_malloc(size, CCONV_ALIGNMENT); }
static void cconv_block_free(void *data) { _aligned_free(data); }

#else
#ifdef __linux__
#include <sys/mman.h>
#endif

/* A fresh page costs its fault when it is first touched, some 0.1 us a KiB: large pages cut that several times. */
static void *cconv_block_new(size_t size) {
    void *data = NULL;
    if (posix_memalign(&data, size >= 2 * CCONV_LARGE_PAGE ? CCONV_LARGE_PAGE : CCONV_ALIGNMENT, size) != 0)
        return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (size >= 2 * CCONV_LARGE_PAGE) (void)madvise(data, size & ~(CCONV_LARGE_PAGE - 1), MADV_HUGEPAGE);
#endif
    return data;
}
static void cconv_block_free(void *data) { free(data); }

#endif
#endif
