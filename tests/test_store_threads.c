/* A store in the hands of several threads: runs that only read, runs that update what nobody else
 * uses, and views of values. */
#include "runtime/layout.h"
#include "runtime/store.h"
#include "support/runtime.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_THREADS = 4 };

/* Counts blocks, from any thread. */
typedef struct counter {
    atomic_long n_live;
    ebb_allocator allocator;
} counter;

static void *count_block(void *context, size_t size_bytes)
{
    void *block = ebb_allocate(NULL, size_bytes);
    atomic_fetch_add(&((counter *)context)->n_live, block ? 1 : 0);
    return block;
}

static void discount_block(void *context, void *block, size_t size_bytes)
{
    atomic_fetch_sub(&((counter *)context)->n_live, block ? 1 : 0);
    ebb_release(NULL, block, size_bytes);
}

static void counter_init(counter *c)
{
    atomic_init(&c->n_live, 0);
    c->allocator = (ebb_allocator){ count_block, discount_block, c };
}

typedef struct worker worker;
/* Threads only count what is wrong: Check's assertions belong to the thread of the test. */
struct worker {
    int index, n_wrong;
    void (*work)(worker *);
    void *shared;
    pthread_barrier_t *barrier;
    pthread_t thread;
};

static void expect(worker *w, bool is_right)
{
    w->n_wrong += !is_right;
}

static void *begin_work(void *context)
{
    worker *w = context;
    w->work(w);
    return NULL;
}

/* All threads begin before any of them goes on behind its first barrier. */
static void work_in_threads(void (*work)(worker *), void *shared)
{
    worker workers[N_THREADS];
    pthread_barrier_t barrier;
    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, N_THREADS), 0);
    for (int i = 0; i < N_THREADS; i++) {
        workers[i] = (worker){ .index = i, .work = work, .shared = shared, .barrier = &barrier };
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, begin_work, &workers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        ck_assert_msg(workers[i].n_wrong == 0, "thread %d saw %d wrong values", i,
                      workers[i].n_wrong);
    }
    pthread_barrier_destroy(&barrier);
}

/* ---- who uses what ---- */

enum { N_HOLDS = 200000, N_ROWS = 32, N_COLUMNS = 48, N_ENTRIES = 64 };

/* Columns one after the other. */
static ebb_layout turned(void)
{
    return (ebb_layout){ .strides = { 1, N_ROWS } };
}

static void fill_entry(ebb_store *store, const char *name, ebb_store_entry **entry)
{
    float data[N_ROWS * N_COLUMNS];
    for (int i = 0; i < N_ROWS * N_COLUMNS; i++)
        data[i] = (float)i;
    const ebb_tensor value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(N_ROWS, N_COLUMNS), data);
    ck_assert_int_eq(ebb_store_set(store, name, &value), EBB_OK);
    *entry = ebb_store_find(store, name);
}

typedef struct held {
    ebb_store *store;
    ebb_store_entry *entries[N_ENTRIES];
    atomic_uintptr_t views[N_ENTRIES];
} held;

static void hold_and_leave(worker *w)
{
    held *h = w->shared;
    const ebb_layout layout = turned();
    ebb_error error;
    ebb_store_enter(h->store);
    pthread_barrier_wait(w->barrier);
    if (w->index == 0)
        ebb_store_destroy(h->store); /* lives on, as all threads have entered */
    for (int i = 0; i < N_HOLDS; i++) {
        ebb_store_enter(h->store);
        expect(w, ebb_store_bind(h->store, h->entries[0], &layout, &error) == EBB_OK);
        ebb_store_unbind(h->store, h->entries[0]);
        ebb_store_leave(h->store);
    }
    pthread_barrier_wait(w->barrier);
    expect(w, h->entries[0]->n_bound == 0);
    pthread_barrier_wait(w->barrier);
    ebb_store_leave(h->store);
}

START_TEST(every_hold_counts)
{
    counter c;
    counter_init(&c);
    held h = { .store = ebb_store_create(&c.allocator) };
    fill_entry(h.store, "w", &h.entries[0]);
    work_in_threads(hold_and_leave, &h);
    ck_assert_int_eq(atomic_load(&c.n_live), 0);
}
END_TEST

/* The first view of a value that lies otherwise is a copy of it, and the only one. */
static void look_first(worker *w)
{
    held *h = w->shared;
    for (int k = 0; k < N_ENTRIES; k++) {
        ebb_tensor seen;
        pthread_barrier_wait(w->barrier);
        expect(w, ebb_store_get(h->store, h->entries[k]->name, &seen) == EBB_OK);
        uintptr_t none = 0;
        if (!atomic_compare_exchange_strong(&h->views[k], &none, (uintptr_t)seen.data))
            expect(w, none == (uintptr_t)seen.data);
        for (int i = 0; i < N_ROWS * N_COLUMNS; i++)
            expect(w, ((const float *)seen.data)[i] == (float)i);
    }
}

START_TEST(first_views_are_one)
{
    counter c;
    counter_init(&c);
    held h = { .store = ebb_store_create(&c.allocator) };
    const ebb_layout layout = turned();
    ebb_error error;
    for (int k = 0; k < N_ENTRIES; k++) {
        char name[32];
        snprintf(name, sizeof name, "w%d", k);
        fill_entry(h.store, name, &h.entries[k]);
        ck_assert_int_eq(ebb_store_bind(h.store, h.entries[k], &layout, &error), EBB_OK);
    }
    const long before = atomic_load(&c.n_live);
    work_in_threads(look_first, &h);
    ck_assert_int_eq(atomic_load(&c.n_live), before + N_ENTRIES);
    ebb_store_destroy(h.store);
    ck_assert_int_eq(atomic_load(&c.n_live), 0);
}
END_TEST

/* ---- executables ---- */

enum { N_ROUNDS = 12, N_RUNS = 5, WEIGHTS = 16 * 16 * 9, PIXELS = 16 * 6 * 6 };

/* Each thread has a graph with the weights of all and a count of its own. */
typedef struct user {
    ebb_graph *graph;
    ebb_node x, y;
    ebb_executable *executable;
    char count[32]; /* the variable's name */
} user;

typedef struct users {
    ebb_store *store;
    user users[N_THREADS];
    float weights[N_ROUNDS][WEIGHTS], x[PIXELS], expected[N_ROUNDS][PIXELS];
} users;

static void make_user(users *all, int index)
{
    user *u = &all->users[index];
    u->graph = ebb_graph_create("user");
    u->x = ebb_input(u->graph, "x", EBB_F32, EBB_SHAPE(1, 16, 6, 6));
    u->y =
        ebb_nn_conv(u->x, 16,
                    &(ebb_nn_conv_options){
                        .name = "c", .window = { 1, { 3 } }, .conv = { .padding = { 1, { 1 } } } });
    snprintf(u->count, sizeof u->count, "count%d", index);
    const ebb_node count =
        ebb_variable(u->graph, u->count, EBB_F32, EBB_SHAPE(7), &(ebb_init){ .a = 0 });
    ebb_update(count, ebb_add(count, ebb_scalar(u->graph, EBB_F32, 1)));
    u->executable = compile_with(
        u->graph, &(ebb_compile_options){
                      .fetches = &u->y, .n_fetches = 1, .store = all->store, .n_threads = 1 });
}

static ebb_status set_weights(users *all, int round)
{
    const ebb_tensor value =
        ebb_tensor_borrow(EBB_F32, EBB_SHAPE(16, 16, 3, 3), all->weights[round]);
    return ebb_store_set(all->store, "c/w", &value);
}

/* Between two barriers nobody writes the weights. */
static void run_and_look(worker *w)
{
    users *all = w->shared;
    user *u = &all->users[w->index];
    float y[PIXELS];
    for (int round = 0; round < N_ROUNDS; round++) {
        if (w->index == round % N_THREADS)
            expect(w, set_weights(all, round) == EBB_OK);
        pthread_barrier_wait(w->barrier);
        for (int i = 0; i < N_RUNS; i++) {
            ebb_tensor seen;
            memset(y, 0, sizeof y);
            expect(w, ebb_run(u->executable, &FEED(u->x, all->x), 1, &FETCH(u->y, y), 1) == EBB_OK);
            expect(w, memcmp(y, all->expected[round], sizeof y) == 0);
            expect(w, ebb_store_get(all->store, "c/w", &seen) == EBB_OK);
            expect(w, memcmp(seen.data, all->weights[round], sizeof all->weights[round]) == 0);
            expect(w, ebb_store_get(all->store, u->count, &seen) == EBB_OK);
            for (int k = 0; k < 7; k++)
                expect(w, ebb_tensor_get(&seen, k) == round * N_RUNS + i + 1);
        }
        pthread_barrier_wait(w->barrier);
    }
    ebb_executable_destroy(u->executable);
}

START_TEST(executables_share_weights)
{
    counter c;
    counter_init(&c);
    users *all = calloc(1, sizeof *all);
    all->store = ebb_store_create(&c.allocator);
    for (int i = 0; i < PIXELS; i++)
        all->x[i] = (float)(i % 23) / 8 - 1;
    for (int i = 0; i < N_ROUNDS * WEIGHTS; i++)
        all->weights[i / WEIGHTS][i % WEIGHTS] = (float)(i % 31) / 16 - 1;
    for (int i = 0; i < N_THREADS; i++)
        make_user(all, i);
    /* The oracle: each round alone, with a store of its own. */
    users *alone = calloc(1, sizeof *alone);
    memcpy(alone->weights, all->weights, sizeof all->weights);
    alone->store = ebb_store_create(NULL);
    make_user(alone, 0);
    for (int round = 0; round < N_ROUNDS; round++) {
        const user *u = &alone->users[0];
        ck_assert_int_eq(set_weights(alone, round), EBB_OK);
        run(u->executable, &FEED(u->x, all->x), 1, &FETCH(u->y, all->expected[round]), 1);
    }
    work_in_threads(run_and_look, all);
    ebb_store_destroy(all->store);
    ck_assert_int_eq(atomic_load(&c.n_live), 0);
    for (int i = 0; i < N_THREADS; i++)
        ebb_graph_destroy(all->users[i].graph);
    ebb_executable_destroy(alone->users[0].executable);
    ebb_graph_destroy(alone->users[0].graph);
    ebb_store_destroy(alone->store);
    free(alone);
    free(all);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_threads");
    TCase *tests = tcase_create("store_threads");
    tcase_add_test(tests, every_hold_counts);
    tcase_add_test(tests, first_views_are_one);
    tcase_add_test(tests, executables_share_weights);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
