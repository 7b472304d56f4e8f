/* The threads of a process that compute, and the jobs they share.
 *
 * A caller opens a job, a function that takes pieces (pieces.h) until none is left, and takes pieces itself. Workers
 * join open jobs. When no piece is left the caller closes the job and waits for the workers that are inside, that is
 * for pieces which somebody has begun. It never waits for a worker that has not come: where other programs want the
 * cores, one that is late would take milliseconds.
 *
 * The caller's slot is 0, a worker's slot is its number, from 1 on, and it joins jobs of more threads than that
 * alone. So slots tell threads apart, no more threads are busy than callers and the workers that the largest number of
 * threads stands for, and a worker comes back to the same part of the pieces and to the same scratch memory.
 *
 * Lifetime. What is about a job lies in a table that is never freed, apart from `job`, which may lie on the caller's
 * stack. One word, `state`, tells whether a job is open, for how many threads, and how many workers are inside. A
 * worker joins by changing that word from what it saw, open and for enough threads, to one more inside, and reads the
 * rest of the entry afterwards only. If the job that it saw was over meanwhile, and the next one in the same entry has
 * made the word the same again, it has joined that one, which is just as well: nothing that it read before matters.
 * While somebody is inside, the caller does not return and the entry does not change. A worker leaves by closing the
 * job, as no piece is left, and then counting itself out. After that it touches neither the job nor what is in the
 * entry, but for the condition on which the caller may be waiting: a later owner of the entry that is woken by mistake
 * looks at the word and waits on.
 *
 * Sleep. A worker that finds no open job looks for one for some microseconds, for the kernels of a training step
 * follow each other closely, and sleeps then. No wake-up is lost: it counts itself among the sleepers before it looks
 * at the number of jobs `published` for the last time; a caller raises that number before it looks for sleepers. All
 * these operations have one order, so that one of the two sees the other. A caller that waits does the same with
 * WAITING. To wake a worker takes a caller longer than many a small job: where there are pieces enough, it does so
 * between two of them, once the job has lasted for WAKE_AFTER.
 *
 * Company. Where other programs want the cores too, a worker is often on the caller's own core, where all that it does,
 * and be it to look for a job, is taken from the caller; or it is taken off its core in the middle of a piece, and the
 * caller waits for its next turn. Both are seen: a worker asks on which CPU the caller was, and a caller knows how long
 * a piece takes. A worker on the caller's core lets it go first, until the system has moved one of them to a core that is
 * idle; if that does not happen, there is none. Then, and after a long wait for a piece, callers compute alone: for a
 * millisecond at first, and for up to 0.4 s when it happens again soon after. Measured beside two busy
 * programs: a step takes 2.6 to 3.1 times as long as on an idle machine, where it took 4 times as long when workers went
 * on. Jobs for more threads than there are CPUs say nothing about other programs: their own threads are in each other's
 * way.
 *
 * CPUs. A thread begins with the CPUs that the thread which started it may use. A caller may since have got others: a
 * worker on the caller's core may from then on use all of the caller's too. It gives up none, as callers differ.
 *
 * Fork. A child has none of its parent's workers. It forgets them, and the jobs of the parent's other threads, and
 * starts its own at first use.
 */
#ifndef CCONV_THREADS_H
#define CCONV_THREADS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/atomics.h"
#include "runtime/denormals.h"
#include "runtime/pieces.h"

#if defined(_MSC_VER) && !defined(__clang__)
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

#define MOST_THREADS 1024

typedef void (*job_body)(void *job, struct shared_pieces *pieces, int slot);

/* The number of threads to use: the process's and, unless it is 0, the calling thread's own. */
static shared_word thread_count = 1;
static THREAD_LOCAL int own_thread_count = 0;

/* For other libraries, which find them by name. */
EXPORTED int cconv_get_num_threads(void) { return (int)word_get(&thread_count); }

EXPORTED void cconv_set_num_threads(int n)
{
    word_set(&thread_count, n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : (uint32_t)n);
}

static int set_own_thread_count(int n)
{
    const int before = own_thread_count;
    own_thread_count = n > MOST_THREADS ? MOST_THREADS : n;
    return before;
}

static int threads_to_use(void) { return own_thread_count > 0 ? own_thread_count : cconv_get_num_threads(); }

/* Run a job on the calling thread alone. */
static void run_alone(job_body body, void *job, ptrdiff_t count)
{
    struct shared_pieces pieces;
    deal_pieces(&pieces, count, 1);
    body(job, &pieces, 0);
}

#if defined(CCONV_SERIAL)

static int prepare_pool(int cpus, double delay)
{
    (void)cpus, (void)delay;
    return 0;
}

static void share_job(job_body body, void *job, ptrdiff_t count, int threads)
{
    const unsigned mode = cconv_ftz_on();
    (void)threads;
    run_alone(body, job, count);
    cconv_ftz_restore(mode);
}

#else

/* What the operating system gives: a lock, conditions, a clock, and threads. */

#if defined(CCONV_DEBUG)
#define STACK_BYTES (8 << 20) /* without optimisation, and under sanitizers, tiles take much of it */
#else
#define STACK_BYTES (256 << 10) /* large buffers come from scratch */
#endif

static void work(int number);

#if defined(_WIN32)
#include <windows.h>
#include <intrin.h>

typedef SRWLOCK lock_type;
typedef CONDITION_VARIABLE condition_type;

static void make_lock(lock_type *lock) { InitializeSRWLock(lock); }
static void make_condition(condition_type *condition) { InitializeConditionVariable(condition); }
static void acquire(lock_type *lock) { AcquireSRWLockExclusive(lock); }
static void release(lock_type *lock) { ReleaseSRWLockExclusive(lock); }
static void await(condition_type *condition, lock_type *lock)
{
    SleepConditionVariableSRW(condition, lock, INFINITE, 0);
}
static void signal_one(condition_type *condition) { WakeConditionVariable(condition); }
static void signal_all(condition_type *condition) { WakeAllConditionVariable(condition); }
static void yield_cpu(void) { SwitchToThread(); }
static void rest(int64_t nanoseconds) { Sleep((DWORD)(nanoseconds / 1000000)); }

static int64_t now(void)
{
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)((double)count.QuadPart * 1e9 / (double)frequency.QuadPart);
}

static DWORD WINAPI begin(LPVOID number)
{
    work((int)(intptr_t)number);
    return 0;
}

static int start_thread(int number)
{
    const LPVOID argument = (LPVOID)(intptr_t)number;
    HANDLE thread = CreateThread(NULL, STACK_BYTES, begin, argument, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (thread == NULL) return 0;
    CloseHandle(thread);
    return 1;
}

static int at_fork(void (*child)(void))
{
    (void)child;
    return 0;
}

#else
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

typedef pthread_mutex_t lock_type;
typedef pthread_cond_t condition_type;

static void make_lock(lock_type *lock) { pthread_mutex_init(lock, NULL); }
static void make_condition(condition_type *condition) { pthread_cond_init(condition, NULL); }
static void acquire(lock_type *lock) { pthread_mutex_lock(lock); }
static void release(lock_type *lock) { pthread_mutex_unlock(lock); }
static void await(condition_type *condition, lock_type *lock) { pthread_cond_wait(condition, lock); }
static void signal_one(condition_type *condition) { pthread_cond_signal(condition); }
static void signal_all(condition_type *condition) { pthread_cond_broadcast(condition); }

static void yield_cpu(void) { sched_yield(); }

static void rest(int64_t nanoseconds)
{
    const struct timespec time = {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
    nanosleep(&time, NULL);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void *begin(void *number)
{
    work((int)(intptr_t)number);
    return NULL;
}

static int start_thread(int number)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t blocked, before;
    int failed = EINVAL;
    if (pthread_attr_init(&attributes) != 0) return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* Signals are for threads of the program, apart from those that tell of an error in the thread itself. */
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    /* A stack also holds the thread-local variables of all libraries: where it is too small for them, a larger one. */
    for (size_t bytes = STACK_BYTES; failed == EINVAL && bytes <= 64 * STACK_BYTES; bytes *= 4) {
        pthread_attr_setstacksize(&attributes, bytes);
        failed = pthread_create(&thread, &attributes, begin, (void *)(intptr_t)number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

static int at_fork(void (*child)(void)) { return pthread_atfork(NULL, NULL, child); }

#endif

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

static THREAD_LOCAL uint32_t own_id; /* of the calling thread, or 0 where it was not asked for */

static uint32_t this_cpu(void) { return (uint32_t)sched_getcpu(); }

static uint32_t this_thread(void)
{
    if (own_id == 0) own_id = (uint32_t)syscall(SYS_gettid);
    return own_id;
}

static void forget_this_thread(void) { own_id = 0; }

/* Let this thread use the CPUs that another one may use, beside its own. */
static void add_cpus_of(uint32_t thread)
{
    cpu_set_t its, own, both;
    if (sched_getaffinity((pid_t)thread, sizeof(its), &its) != 0) return;
    if (sched_getaffinity(0, sizeof(own), &own) != 0) return;
    CPU_OR(&both, &its, &own);
    if (!CPU_EQUAL(&both, &own)) sched_setaffinity(0, sizeof(both), &both);
}
#else
static uint32_t this_cpu(void) { return UINT32_MAX; }
static uint32_t this_thread(void) { return 0; }
static void forget_this_thread(void) {}
static void add_cpus_of(uint32_t thread) { (void)thread; }
#endif
static int on_cpu(uint32_t cpu) { return cpu != UINT32_MAX && cpu == this_cpu(); }

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#if defined(__GNUC__)
    __builtin_ia32_pause();
#else
    _mm_pause();
#endif
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("isb"); /* a pause of some length, which `yield` is not */
#elif defined(_M_ARM64)
    __isb(_ARM64_BARRIER_SY);
#endif
}

#define JOBS 64             /* that can be open at once; what comes on top of them is computed by its caller alone */
/* Fits: `python -m benchmarks.tune --only waiting`. In nanoseconds: */
#define LONGEST_SPIN 200000 /* of a worker: between two kernels of a step there are up to 150 us of serial work, */
#define SHORTEST_SPIN 5000
#define LONGEST_PIECE 200000 /* for so long, at most, it spins while its last job is computed to the end */
#define CALLER_SPIN 50000
#define WAKE_AFTER 15000
#define LATE 1000000 /* a worker that is inside for so long after the caller's last piece was taken off its core */
#define CROWDED_FOR 8000000 /* with its caller on one core, from which on a worker takes it that no other is idle */
#define RETRY 1000000000    /* after which a thread is asked for again that could not be had */
/* In microseconds, for how long callers compute alone where sharing does not pay: */
#define SHORTEST_ALONE 1000
#define LONGEST_ALONE 400000
#define GONE_WELL 100000 /* sharing has, if it lasted for so long */

/* Bits of a job's state, which is 0 where an entry is free. Above them, the number of workers inside and of threads. */
enum { TAKEN = 1, OPEN = 2, WAITING = 4, INSIDE = 8, THREADS_SHIFT = 16 };
#define INSIDE_MASK (uint32_t)(INSIDE * (2 * MOST_THREADS - 1))

struct open_job {
    shared_word state;
    job_body body;
    void *job;
    condition_type finished;
    int threads;
    shared_word caller, cpu; /* which thread its caller is, and on which CPU it was */
    int64_t began;
    struct shared_pieces pieces;
};

static struct {
    struct open_job jobs[JOBS];
    shared_word used;      /* entries of the table that ever were */
    shared_word published; /* jobs so far */
    shared_word workers, sleepers;
    shared_word crowded; /* whether the last job was for more threads than there are CPUs */
    int cpus;
    shared_word alone, alone_until; /* for how long callers computed alone last, and until when, in microseconds */
    int64_t delay;                  /* nanoseconds by which a test lets workers come late, at most */
    lock_type lock;                 /* of what follows, and of all waiting */
    int64_t retry, woken;           /* when threads may be asked for again, and when workers were woken last */
    struct {
        int asleep;
        condition_type wake;
    } worker[MOST_THREADS];
} pool;

static int inside(uint32_t state) { return (state & INSIDE_MASK) != 0; }

static uint32_t microseconds(int64_t time) { return (uint32_t)(time / 1000); }

/* Whether callers are to compute alone. The word counts up to 71 minutes: an end that has passed does not come back for
 * longer than LONGEST_ALONE. */
static int is_alone(int64_t time) { return word_get(&pool.alone_until) - microseconds(time) - 1 < LONGEST_ALONE; }

/* Have callers compute alone for a while: for twice as long as last time, unless sharing has gone well since then. */
static void compute_alone(int64_t time)
{
    const uint32_t last = word_get(&pool.alone), since = microseconds(time) - word_get(&pool.alone_until);
    uint32_t alone = SHORTEST_ALONE;
    if (is_alone(time)) return;
    if (last > 0 && since < GONE_WELL) alone = 2 * last < LONGEST_ALONE ? 2 * last : LONGEST_ALONE;
    word_set(&pool.alone, alone);
    word_set(&pool.alone_until, microseconds(time) + alone);
}

/* What a worker knows of itself. */
struct worker {
    int number;
    uint32_t chance;  /* the state of its random numbers */
    int64_t together; /* for how long it was on the cores of callers whose jobs it wanted, since it last joined one */
};

/* On the core of a job's caller, let that go first until one of them is on another core; return whether that came. */
static int let_go_first(struct worker *self, struct open_job *one)
{
    const int64_t before = self->together, begin = now();
    add_cpus_of(word_get(&one->caller));
    while (word_get(&one->state) & OPEN) {
        yield_cpu();
        if (!on_cpu(word_get(&one->cpu))) return 1;
        self->together = before + now() - begin;
        if (self->together > CROWDED_FOR) {
            compute_alone(now());
            self->together = 0;
            return 0;
        }
    }
    return 0;
}

/* Join a job and compute; return it, or NULL. */
static struct open_job *help(struct worker *self)
{
    const int number = self->number;
    const int used = (int)word_get(&pool.used);
    for (int i = 0; i < used; i++) {
        struct open_job *const one = &pool.jobs[(number + i) % used];
        uint32_t state = word_get(&one->state);
        while ((state & OPEN) && number < (int)(state >> THREADS_SHIFT)) {
            if ((int)(state >> THREADS_SHIFT) <= pool.cpus && on_cpu(word_get(&one->cpu))) {
                if (!let_go_first(self, one)) break;
                state = word_get(&one->state);
                continue;
            }
            if (pool.delay > 0) {
                self->chance = self->chance * 1664525u + 1013904223u;
                rest((int64_t)((double)pool.delay * (self->chance >> 8) / (1 << 24)));
            }
            if (word_change(&one->state, state, state + INSIDE)) {
                self->together = 0;
                one->body(one->job, &one->pieces, number);
                word_and(&one->state, ~(uint32_t)OPEN);
                state = word_add(&one->state, (uint32_t)-INSIDE) - INSIDE;
                if ((state & WAITING) && !inside(state)) {
                    acquire(&pool.lock);
                    signal_all(&one->finished);
                    release(&pool.lock);
                }
                return one;
            }
            state = word_get(&one->state);
        }
    }
    return NULL;
}

/* Look for a job to be published; return whether there was one in time. `start` becomes the end of the last job, whose
 * caller may still compute a piece: before that ends there can be no other. */
static int look(uint32_t seen, struct open_job *last, int64_t *start, int64_t patience)
{
    const int64_t begin = *start;
    while (word_get(&pool.published) == seen) {
        for (int i = 0; i < 8; i++) relax();
        const int64_t time = now();
        if (is_alone(time)) return 0;
        if (last != NULL && time - begin < LONGEST_PIECE && word_get(&last->state) != 0)
            *start = time;
        else if (time - *start > patience)
            return 0;
    }
    return 1;
}

/* Sleep, unless a job was published; return when that was. */
static int64_t sleep_worker(int number, uint32_t seen)
{
    int64_t end;
    acquire(&pool.lock);
    pool.worker[number].asleep = 1;
    word_add(&pool.sleepers, 1);
    if (word_get(&pool.published) != seen) {
        pool.worker[number].asleep = 0;
        word_add(&pool.sleepers, (uint32_t)-1);
        pool.woken = now();
    }
    while (pool.worker[number].asleep) await(&pool.worker[number].wake, &pool.lock);
    end = pool.woken;
    release(&pool.lock);
    return end;
}

static void work(int number)
{
    struct worker self = {number, (uint32_t)number * 2654435761u, 0};
    int64_t patience = LONGEST_SPIN;
    struct open_job *last = NULL;
    cconv_ftz_on();
    for (;;) {
        const uint32_t seen = word_get(&pool.published);
        struct open_job *const joined = help(&self);
        int64_t start, end;
        if (joined != NULL) {
            last = joined;
            continue;
        }
        start = end = now();
        /* One that is in a caller's way does not look. */
        if (self.together > 0 || number >= pool.cpus || word_get(&pool.crowded) || !look(seen, last, &start, patience))
            end = sleep_worker(number, seen);
        /* The next gap will be about as long as this one, without the time it takes to wake up. */
        if (end - start < LONGEST_SPIN)
            patience = LONGEST_SPIN;
        else if (patience > SHORTEST_SPIN)
            patience /= 2;
    }
}

/* Have workers for so many threads, or fewer where the system gives no more. */
static void start_workers(int threads)
{
    if ((int)word_get(&pool.workers) >= threads - 1) return;
    acquire(&pool.lock);
    if (now() >= pool.retry) {
        for (int number = (int)word_get(&pool.workers) + 1; number < threads; number++) {
            if (!start_thread(number)) {
                pool.retry = now() + RETRY;
                break;
            }
            word_set(&pool.workers, (uint32_t)number);
        }
    }
    release(&pool.lock);
}

static void wake_workers(int threads, int64_t published)
{
    acquire(&pool.lock);
    pool.woken = published;
    for (int number = 1; number < threads; number++) {
        if (pool.worker[number].asleep) {
            pool.worker[number].asleep = 0;
            word_add(&pool.sleepers, (uint32_t)-1);
            signal_one(&pool.worker[number].wake);
        }
    }
    release(&pool.lock);
}

/* Before each piece of a caller: say on which core it is now, and wake workers that sleep. */
static void wake_late(struct shared_pieces *pieces)
{
    struct open_job *const one = (struct open_job *)((char *)pieces - offsetof(struct open_job, pieces));
    int64_t time;
    if (!on_cpu(word_get(&one->cpu))) word_set(&one->cpu, this_cpu());
    if (word_get(&pool.sleepers) == 0) return;
    time = now();
    if (time - one->began < WAKE_AFTER || is_alone(time)) return;
    wake_workers(one->threads, one->began);
    one->began = time;
}

/* A free entry of the table, now taken, or NULL. */
static struct open_job *take_entry(void)
{
    for (int i = 0; i < JOBS; i++) {
        if (word_get(&pool.jobs[i].state) == 0 && word_change(&pool.jobs[i].state, 0, TAKEN)) {
            uint32_t used = word_get(&pool.used);
            while ((int)used <= i && !word_change(&pool.used, used, (uint32_t)i + 1)) used = word_get(&pool.used);
            return &pool.jobs[i];
        }
    }
    return NULL;
}

/* Close a job, wait for the workers that are inside, and free its entry. */
static void finish(struct open_job *one, int spins, int64_t began, ptrdiff_t count)
{
    const int64_t start = inside(word_and(&one->state, ~(uint32_t)OPEN)) ? now() : 0;
    while (inside(word_get(&one->state))) {
        for (int i = 0; i < 8; i++) relax();
        if (!spins || now() - start > CALLER_SPIN) {
            acquire(&pool.lock);
            word_or(&one->state, WAITING);
            while (inside(word_get(&one->state))) await(&one->finished, &pool.lock);
            release(&pool.lock);
        }
    }
    if (start) {
        const int64_t end = now(), piece = (start - began) * one->threads / count; /* its length, at most */
        if (spins && end - start > LATE && end - start > 3 * piece) compute_alone(end);
    }
    word_set(&one->state, 0);
}

static void share_job(job_body body, void *job, ptrdiff_t count, int threads)
{
    const unsigned mode = cconv_ftz_on();
    struct open_job *one = NULL;
    int64_t began = 0;
    if (threads > count) threads = (int)count;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads > 1) {
        start_workers(threads);
        began = now();
        /* Workers may join a job of many pieces when the time to compute alone is over. */
        if (word_get(&pool.workers) > 0 && (count >= 4 * threads || !is_alone(began))) one = take_entry();
    }
    if (one == NULL) {
        run_alone(body, job, count);
    } else {
        const int crowded = threads > pool.cpus;
        if ((int)word_get(&pool.crowded) != crowded) word_set(&pool.crowded, (uint32_t)crowded);
        one->body = body;
        one->job = job;
        deal_pieces(&one->pieces, count, threads);
        one->threads = threads;
        one->began = began;
        word_set(&one->caller, this_thread());
        word_set(&one->cpu, this_cpu());
        word_set(&one->state, TAKEN | OPEN | (uint32_t)threads << THREADS_SHIFT);
        word_add(&pool.published, 1);
        if (count >= 4 * threads)
            one->pieces.before_piece = wake_late;
        else if (word_get(&pool.sleepers) > 0)
            wake_workers(threads, began);
        body(job, &one->pieces, 0);
        finish(one, !crowded, began, count);
    }
    cconv_ftz_restore(mode);
}

/* Make the pool of a process that has no workers yet: a new one, or a forked child. */
static void make_pool(void)
{
    make_lock(&pool.lock);
    for (int i = 0; i < JOBS; i++) {
        make_condition(&pool.jobs[i].finished);
        word_set(&pool.jobs[i].state, 0);
    }
    for (int i = 0; i < MOST_THREADS; i++) {
        make_condition(&pool.worker[i].wake);
        pool.worker[i].asleep = 0;
    }
    word_set(&pool.used, 0);
    word_set(&pool.workers, 0);
    word_set(&pool.sleepers, 0);
    word_set(&pool.alone, 0);
    word_set(&pool.alone_until, 0);
    pool.retry = 0;
    forget_this_thread();
}

/* Called once; return whether it failed. */
static int prepare_pool(int cpus, double delay)
{
    pool.cpus = cpus;
    pool.delay = (int64_t)(delay * 1e9);
    make_pool();
    return at_fork(make_pool);
}

#endif
#endif
