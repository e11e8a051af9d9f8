/* Threads for kernels, through libgomp's own entry points. */
#include "backends/parallel.h"

/* What gcc itself emits for `#pragma omp parallel` (GOMP_4.0), and the OpenMP API. */
extern void GOMP_parallel(void (*function)(void *), void *data, unsigned n_threads, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int n_threads);

typedef struct region {
    void (*body)(void *context, int index, int n);
    void *context;
} region;

static void enter_region(void *data)
{
    const region *entered = data;
    entered->body(entered->context, omp_get_thread_num(), omp_get_num_threads());
}

void ebb_parallel(int n_threads, void (*body)(void *context, int index, int n), void *context)
{
    if (n_threads <= 1) {
        body(context, 0, 1);
        return;
    }
    region entered = { body, context };
    GOMP_parallel(enter_region, &entered, (unsigned)n_threads, 0);
}

int ebb_threads_default(void)
{
    return omp_get_max_threads();
}

int ebb_threads_exchange(int n_threads)
{
    int before = omp_get_max_threads();
    if (before != n_threads)
        omp_set_num_threads(n_threads);
    return before;
}
