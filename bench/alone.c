/* Convolutions and matrix products in Ebb, and by oneDNN alone on the same shapes: GFLOP/s of both
 * and their ratio. Alone, oneDNN may lay everything out as it likes; what Ebb does around the
 * primitive, inside of its step, counts against Ebb. Both take turns; times are the best of many
 * runs.
 *
 *     alone [threads] */
#include "backends/onednn/compat.h"
#include "backends/parallel.h"

#include <ebb/ebb.h>
#include <ebb/memory.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 12, PARTS = 3 };

static void die(const char *what, const char *message)
{
    fprintf(stderr, "alone: %s: %s\n", what, message);
    exit(1);
}

static void need(dnnl_status_t status, const char *what)
{
    if (status != dnnl_success)
        die(what, "oneDNN refused");
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- cases ---- */

typedef struct shape_case {
    const char *name;
    int64_t batch, channels, size, filters, window, stride; /* window 0: a product of [batch,
                                                               channels] and [channels, filters] */
} shape_case;

static const shape_case cases[] = {
    { "conv 3x3 64 -> 64, 56x56, batch 8", 8, 64, 56, 64, 3, 1 },
    { "conv 3x3 128 -> 128, 28x28, batch 8", 8, 128, 28, 128, 3, 1 },
    { "conv 3x3 256 -> 256, 14x14, batch 8", 8, 256, 14, 256, 3, 1 },
    { "conv 3x3 512 -> 512, 7x7, batch 8", 8, 512, 7, 512, 3, 1 },
    { "conv 3x3 64 -> 64, 32x32, batch 32", 32, 64, 32, 64, 3, 1 },
    { "conv 3x3 64 -> 128 stride 2, 56x56, batch 8", 8, 64, 56, 128, 3, 2 },
    { "conv 1x1 256 -> 64, 56x56, batch 8", 8, 256, 56, 64, 1, 1 },
    { "conv 1x1 64 -> 256, 56x56, batch 8", 8, 64, 56, 256, 1, 1 },
    { "conv 7x7 3 -> 64 stride 2, 224x224, batch 4", 4, 3, 224, 64, 7, 2 },
    { "matmul 128 x 784 x 512", 128, 784, 0, 512, 0, 0 },
    { "matmul 512 x 512 x 512", 512, 512, 0, 512, 0, 0 },
    { "matmul 1024 x 1024 x 1024", 1024, 1024, 0, 1024, 0, 0 },
};

static int64_t output_size(const shape_case *c)
{
    return (c->size + 2 * (c->window / 2) - c->window) / c->stride + 1;
}

/* Of each part: forward, gradient to x, gradient to w. */
static double count_flops(const shape_case *c)
{
    if (!c->window)
        return 2.0 * (double)c->batch * (double)c->channels * (double)c->filters;
    const double out = (double)output_size(c);
    return 2.0 * (double)c->batch * out * out * (double)c->filters * (double)c->channels *
           (double)(c->window * c->window);
}

/* ---- oneDNN ---- */

typedef struct primitive {
    dnnl_primitive_t p;
    dnnl_exec_arg_t args[4];
    void *blocks[4];
    size_t bytes[4];
    int n;
} primitive;

static void add_argument(primitive *p, dnnl_engine_t engine, dn_view view, int name)
{
    const size_t bytes = dn_view_bytes(view);
    void *block = ebb_allocate(NULL, bytes + 64);
    if (!block)
        die("oneDNN", "out of memory");
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        ((float *)block)[i] = 0.5f;
    p->blocks[p->n] = block;
    p->bytes[p->n] = bytes + 64;
    p->args[p->n].arg = name;
    need(dnnl_memory_create(&p->args[p->n].memory, view, engine, block), "memory");
    p->n++;
}

/* Takes the descriptor. */
static void finish_primitive(primitive *p, dnnl_engine_t engine, dnnl_primitive_desc_t pd)
{
    if (dn_view_bytes(dn_query(pd, dnnl_query_scratchpad_md)))
        add_argument(p, engine, dn_query(pd, dnnl_query_scratchpad_md), DNNL_ARG_SCRATCHPAD);
    need(dnnl_primitive_create(&p->p, pd), "primitive");
    dnnl_primitive_desc_destroy(pd);
}

static void make_conv(primitive parts[PARTS], const shape_case *c, dnnl_engine_t engine,
                      const_dnnl_primitive_attr_t attr)
{
    const int64_t out = output_size(c), pad = c->window / 2;
    const dnnl_dims_t x_dims = { c->batch, c->channels, c->size, c->size },
                      w_dims = { c->filters, c->channels, c->window, c->window },
                      y_dims = { c->batch, c->filters, out, out };
    const dn_window window = { .strides = { c->stride, c->stride },
                               .begin = { pad, pad },
                               .end = { out * c->stride - c->stride + c->window - c->size - pad,
                                        out * c->stride - c->stride + c->window - c->size - pad } };
    dn_desc x, w, y;
    need(dn_desc_tagged(&x, 4, x_dims, dnnl_f32, dnnl_format_tag_any), "x");
    need(dn_desc_tagged(&w, 4, w_dims, dnnl_f32, dnnl_format_tag_any), "w");
    need(dn_desc_tagged(&y, 4, y_dims, dnnl_f32, dnnl_format_tag_any), "y");
    const dn_view vx = dn_desc_view(&x), vw = dn_desc_view(&w), vy = dn_desc_view(&y);
    dnnl_primitive_desc_t forward, data, weights;
    need(dn_conv_forward(&forward, engine, dnnl_forward_training, dnnl_convolution_direct, vx, vw,
                         NULL, vy, &window, attr),
         "conv");
    need(dn_conv_backward_data(&data, engine, dnnl_convolution_direct, vx, vw, vy, &window, forward,
                               attr),
         "conv data");
    need(dn_conv_backward_weights(&weights, engine, dnnl_convolution_direct, vx, vw, NULL, vy,
                                  &window, forward, attr),
         "conv weights");
    add_argument(&parts[0], engine, dn_query(forward, dnnl_query_src_md), DNNL_ARG_SRC);
    add_argument(&parts[0], engine, dn_query(forward, dnnl_query_weights_md), DNNL_ARG_WEIGHTS);
    add_argument(&parts[0], engine, dn_query(forward, dnnl_query_dst_md), DNNL_ARG_DST);
    add_argument(&parts[1], engine, dn_query(data, dnnl_query_diff_src_md), DNNL_ARG_DIFF_SRC);
    add_argument(&parts[1], engine, dn_query(data, dnnl_query_weights_md), DNNL_ARG_WEIGHTS);
    add_argument(&parts[1], engine, dn_query(data, dnnl_query_diff_dst_md), DNNL_ARG_DIFF_DST);
    add_argument(&parts[2], engine, dn_query(weights, dnnl_query_src_md), DNNL_ARG_SRC);
    add_argument(&parts[2], engine, dn_query(weights, dnnl_query_diff_weights_md),
                 DNNL_ARG_DIFF_WEIGHTS);
    add_argument(&parts[2], engine, dn_query(weights, dnnl_query_diff_dst_md), DNNL_ARG_DIFF_DST);
    finish_primitive(&parts[1], engine, data);
    finish_primitive(&parts[2], engine, weights);
    finish_primitive(&parts[0], engine, forward);
    dn_desc_finish(&x);
    dn_desc_finish(&w);
    dn_desc_finish(&y);
}

/* c = a b with the rows of a matrix one after the other, or with its columns (a transpose). */
static void make_product(primitive *p, int64_t m, int64_t k, int64_t n, bool turn_a, bool turn_b,
                         dnnl_engine_t engine, const_dnnl_primitive_attr_t attr)
{
    const dnnl_dims_t a_dims = { m, k }, b_dims = { k, n }, c_dims = { m, n };
    const dnnl_dims_t a_strides = { turn_a ? 1 : k, turn_a ? m : 1 },
                      b_strides = { turn_b ? 1 : n, turn_b ? k : 1 }, c_strides = { n, 1 };
    dn_desc a, b, c;
    dnnl_primitive_desc_t pd;
    need(dn_desc_strided(&a, 2, a_dims, dnnl_f32, a_strides), "a");
    need(dn_desc_strided(&b, 2, b_dims, dnnl_f32, b_strides), "b");
    need(dn_desc_strided(&c, 2, c_dims, dnnl_f32, c_strides), "c");
    need(dn_matmul(&pd, engine, dn_desc_view(&a), dn_desc_view(&b), NULL, dn_desc_view(&c), attr),
         "matmul");
    add_argument(p, engine, dn_desc_view(&a), DNNL_ARG_SRC);
    add_argument(p, engine, dn_desc_view(&b), DNNL_ARG_WEIGHTS);
    add_argument(p, engine, dn_desc_view(&c), DNNL_ARG_DST);
    finish_primitive(p, engine, pd);
    dn_desc_finish(&a);
    dn_desc_finish(&b);
    dn_desc_finish(&c);
}

static double time_primitive(const primitive *p, dnnl_stream_t stream)
{
    const double start = seconds();
    need(dnnl_primitive_execute(p->p, stream, p->n, p->args), "execute");
    need(dnnl_stream_wait(stream), "wait");
    return seconds() - start;
}

static void drop_primitive(primitive *p)
{
    dnnl_primitive_destroy(p->p);
    for (int i = 0; i < p->n; i++) {
        dnnl_memory_destroy(p->args[i].memory);
        ebb_release(NULL, p->blocks[i], p->bytes[i]);
    }
}

/* ---- Ebb: x and w are variables that a run exchanges for their gradients ---- */

typedef struct ebb_side {
    ebb_graph *graph;
    ebb_store *store;
    ebb_executable *executable;
} ebb_side;

static ebb_side make_ebb(const shape_case *c, int n_threads)
{
    ebb_side side = { .graph = ebb_graph_create("alone"), .store = ebb_store_create(NULL) };
    const ebb_init init = { .kind = EBB_INIT_NORMAL, .b = 0.01, .seed = 1 };
    ebb_node x, w, y, gradients[2];
    if (c->window) {
        x = ebb_variable(side.graph, "x", EBB_F32,
                         EBB_SHAPE(c->batch, c->channels, c->size, c->size), &init);
        w = ebb_variable(side.graph, "w", EBB_F32,
                         EBB_SHAPE(c->filters, c->channels, c->window, c->window), &init);
        y = ebb_conv2d(x, w, EBB_NONE,
                       (ebb_conv_attrs){ .stride = EBB_INTS(c->stride, c->stride),
                                         .padding = EBB_INTS(c->window / 2, c->window / 2) });
    } else {
        x = ebb_variable(side.graph, "x", EBB_F32, EBB_SHAPE(c->batch, c->channels), &init);
        w = ebb_variable(side.graph, "w", EBB_F32, EBB_SHAPE(c->channels, c->filters), &init);
        y = ebb_matmul(x, w);
    }
    ebb_node xs[2] = { x, w };
    if (ebb_gradients(ebb_reduce_sum(ebb_square(y), (ebb_axes){ 0 }, false), xs, 2, gradients))
        die(c->name, ebb_graph_message(side.graph));
    ebb_update(x, ebb_mul(gradients[0], ebb_full_like(gradients[0], 1e-6)));
    ebb_update(w, ebb_mul(gradients[1], ebb_full_like(gradients[1], 1e-6)));
    ebb_compile_options options = { .store = side.store, .n_threads = n_threads, .profile = true };
    if (ebb_compile(side.graph, &options, &side.executable))
        die(c->name, ebb_graph_message(side.graph));
    return side;
}

static void run_ebb(ebb_side *side)
{
    if (ebb_run(side->executable, NULL, 0, NULL, 0))
        die("run", ebb_executable_message(side->executable));
}

/* The best seconds of the steps with arithmetic, in the order of `parts`. */
static void read_ebb(const ebb_side *side, const shape_case *c, double best[PARTS])
{
    ebb_step_info info;
    ebb_step_profile profile;
    int n_products = 0;
    for (int64_t i = 0; ebb_executable_step(side->executable, i, &info); i++) {
        ebb_profile_step(side->executable, i, &profile);
        if (profile.flops < 0.99 * count_flops(c))
            continue;
        int part = !strcmp(info.op, "conv")               ? 0
                   : !strcmp(info.op, "conv_input_grad")  ? 1
                   : !strcmp(info.op, "conv_weight_grad") ? 2
                                                          : n_products++;
        if (part < PARTS)
            best[part] = profile.least_seconds;
    }
}

static void drop_ebb(ebb_side *side)
{
    ebb_executable_destroy(side->executable);
    ebb_store_destroy(side->store);
    ebb_graph_destroy(side->graph);
}

int main(int argc, char **argv)
{
    const int n_threads = argc > 1 ? atoi(argv[1]) : 1;
    static const char *const names[PARTS] = { "forward", "to x", "to w" };
    if (n_threads < 1)
        die("threads", "1 or more");
    ebb_threads_exchange(n_threads);
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr;
    need(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    need(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "stream");
    need(dnnl_primitive_attr_create(&attr), "attributes");
    need(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "scratchpad");
    printf("| %d thread%s | part | oneDNN alone, GFLOP/s | Ebb, GFLOP/s | Ebb / alone |\n",
           n_threads, n_threads > 1 ? "s" : "");
    puts("|---|---|---|---|---|");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const shape_case *c = &cases[i];
        primitive parts[PARTS] = { { .n = 0 } };
        if (c->window) {
            make_conv(parts, c, engine, attr);
        } else {
            make_product(&parts[0], c->batch, c->channels, c->filters, false, false, engine, attr);
            make_product(&parts[1], c->batch, c->filters, c->channels, false, true, engine, attr);
            make_product(&parts[2], c->channels, c->batch, c->filters, true, false, engine, attr);
        }
        ebb_side side = make_ebb(c, n_threads);
        double alone[PARTS] = { 1e9, 1e9, 1e9 }, ebb[PARTS] = { 1e9, 1e9, 1e9 };
        for (int round = 0; round < ROUNDS; round++) {
            run_ebb(&side);
            for (int part = 0; part < PARTS; part++) {
                const double taken = time_primitive(&parts[part], stream);
                alone[part] = taken < alone[part] ? taken : alone[part];
            }
        }
        read_ebb(&side, c, ebb);
        for (int part = 0; part < PARTS; part++)
            printf("| %s | %s | %.0f | %.0f | %.2f |\n", c->name, names[part],
                   count_flops(c) / alone[part] * 1e-9, count_flops(c) / ebb[part] * 1e-9,
                   alone[part] / ebb[part]);
        fflush(stdout);
        drop_ebb(&side);
        for (int part = 0; part < PARTS; part++)
            drop_primitive(&parts[part]);
    }
    dnnl_primitive_attr_destroy(attr);
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 0;
}
