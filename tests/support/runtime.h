/* What the tests of compiling and running share. */
#ifndef TESTS_SUPPORT_RUNTIME_H
#define TESTS_SUPPORT_RUNTIME_H

#include "backends/backends.h"
#include "tests/support/runner.h"

#include <ebb/ebb.h>

#include <string.h>

/* A tensor around an array, of the type of a node. */
static inline ebb_tensor tensor_as(ebb_node node, const void *data)
{
    const ebb_type *type = ebb_node_type(node);
    return ebb_tensor_borrow(type->dtype, type->shape, data);
}
#define FEED(node, data) ((ebb_feed){ node, tensor_as(node, data) })
#define FETCH(node, data) ((ebb_fetch){ node, tensor_as(node, data) })

#define CHECK_TEXT(text, part)                                                                     \
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" does not say \"%s\"", text, part)

/* Tests that run in every way take its number. */
enum { N_WAYS = 4 };
static const struct compile_way {
    const char *backend;
    bool skip_passes;
} ways[N_WAYS] = {
    { "reference", false }, { "reference", true }, { "onednn", false }, { "onednn", true }
};

static inline ebb_executable *compile_with(ebb_graph *graph, const ebb_compile_options *options)
{
    ebb_executable *executable = NULL;
    ebb_status status = ebb_compile(graph, options, &executable);
    ck_assert_msg(status == EBB_OK, "%s: %s", ebb_status_name(status), ebb_graph_message(graph));
    return executable;
}

static inline ebb_executable *compile(ebb_graph *graph, int way, const ebb_node *fetches,
                                      int n_fetches, ebb_store *store)
{
    return compile_with(graph, &(ebb_compile_options){ .fetches = fetches,
                                                       .n_fetches = n_fetches,
                                                       .store = store,
                                                       .backend = ways[way].backend,
                                                       .skip_passes = ways[way].skip_passes });
}

static inline void run(ebb_executable *executable, const ebb_feed *feeds, int n_feeds,
                       const ebb_fetch *fetches, int n_fetches)
{
    ebb_status status = ebb_run(executable, feeds, n_feeds, fetches, n_fetches);
    ck_assert_msg(status == EBB_OK, "%s: %s", ebb_status_name(status),
                  ebb_executable_message(executable));
}

/* Compiles for the native backend while one allocation after the other fails: each time nothing is
 * left. Returns how many there are. */
static inline int64_t fail_allocations(ebb_graph *graph, const ebb_node *fetches, int n_fetches,
                                       ebb_store *store)
{
    const ebb_backend *const list[] = { &ebb_backend_native, &ebb_backend_reference };
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_status status = EBB_OUT_OF_MEMORY;
    int64_t n = 0;
    for (; status == EBB_OUT_OF_MEMORY; n++) {
        ebb_executable *e = NULL;
        ck_assert_int_lt(n, 5000);
        meter.fail_after = n;
        status = ebb_compile(graph,
                             &(ebb_compile_options){ .fetches = fetches,
                                                     .n_fetches = n_fetches,
                                                     .store = store,
                                                     .backends = list,
                                                     .n_backends = 2,
                                                     .allocator = &meter.allocator },
                             &e);
        meter.fail_after = -1;
        ck_assert_msg(status == EBB_OK || status == EBB_OUT_OF_MEMORY, "%s: %s",
                      ebb_status_name(status), ebb_graph_message(graph));
        ebb_executable_destroy(e);
        ck_assert_int_eq(meter.n_live, 0);
    }
    return n - 1;
}

/* The compilation must fail in this way, and leave nothing. */
static inline void refuse(ebb_graph *graph, const ebb_compile_options *options, ebb_status expected,
                          const char *part)
{
    ebb_executable *e = (ebb_executable *)(void *)graph;
    ebb_status status = ebb_compile(graph, options, &e);
    ck_assert_msg(status == expected, "%s: %s", ebb_status_name(status), ebb_graph_message(graph));
    ck_assert_ptr_null(e);
    CHECK_TEXT(ebb_graph_message(graph), part);
}

/* An element of a value in the store. */
static inline double stored(ebb_store *store, const char *name, int64_t index)
{
    ebb_tensor value;
    ck_assert_int_eq(ebb_store_get(store, name, &value), EBB_OK);
    return ebb_tensor_get(&value, index);
}

/* A graph with y = x * w + b, and updates of w and b by -x. w starts with 3, b with 1. */
typedef struct small {
    ebb_graph *graph;
    ebb_store *store;
    ebb_node x, w, b, y;
} small;

static inline small make_small(void)
{
    small s = { .graph = ebb_graph_create("small"), .store = ebb_store_create(NULL) };
    s.x = ebb_input(s.graph, "x", EBB_F32, EBB_SHAPE(2));
    s.w = ebb_variable(s.graph, "w", EBB_F32, EBB_SHAPE(2), &(ebb_init){ .a = 3 });
    s.b = ebb_variable(s.graph, "b", EBB_F32, EBB_SHAPE(2), &(ebb_init){ .a = 1 });
    s.y = ebb_named(ebb_add(ebb_mul(s.x, s.w), s.b), "y");
    ebb_update(s.w, ebb_sub(s.w, s.x));
    ebb_update(s.b, ebb_sub(s.b, s.x));
    return s;
}

static inline ebb_executable *compile_small(const small *s)
{
    return compile_with(
        s->graph, &(ebb_compile_options){ .fetches = &s->y, .n_fetches = 1, .store = s->store });
}

static inline void drop_small(small *s, ebb_executable *executable)
{
    ebb_executable_destroy(executable);
    ebb_store_destroy(s->store);
    ebb_graph_destroy(s->graph);
}

#endif
