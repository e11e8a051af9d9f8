/* Runs ops as kernels of backends and compares with the reference kernels at F64. */
#include "tests/support/kernels.h"
#include "graph/interpret.h"
#include "runtime/layout.h"
#include "tests/support/runner.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS = EBB_MAX_SAMPLE_INPUTS, MAX_BLOCKS = 32, GUARD_BYTES = 256, GUARD = 0xA5 };

/* ---- memory ---- */

typedef struct kernel_memory {
    void *blocks[MAX_BLOCKS];
    int n_blocks, fail_at;
} kernel_memory;

static void *get_block(size_t n_bytes)
{
    void *block = aligned_alloc(64, (n_bytes + 64) / 64 * 64);
    REQUIRE(block, "out of memory");
    memset(block, 0, n_bytes);
    return block;
}

static void *allocate_block(void *context, size_t n_bytes)
{
    kernel_memory *memory = context;
    if (memory->n_blocks == memory->fail_at)
        return NULL;
    REQUIRE(memory->n_blocks < MAX_BLOCKS, "too many blocks for one kernel");
    return memory->blocks[memory->n_blocks++] = get_block(n_bytes);
}

static void free_blocks(kernel_memory *memory)
{
    while (memory->n_blocks > 0)
        free(memory->blocks[--memory->n_blocks]);
}

/* A buffer with a guard at either side, so that stray writes are found. */
static char *guarded_block(size_t n_bytes)
{
    char *block = get_block(n_bytes + 2 * GUARD_BYTES);
    memset(block, GUARD, n_bytes + 2 * GUARD_BYTES);
    return block + GUARD_BYTES;
}

static void check_guards(const char *data, size_t n_bytes, const char *label)
{
    for (int i = 1; i <= GUARD_BYTES; i++)
        REQUIRE((unsigned char)data[-i] == GUARD &&
                    (unsigned char)data[n_bytes + (size_t)i - 1] == GUARD,
                "%s: wrote outside its result", label);
}

static void free_guarded(char *data)
{
    free(data - GUARD_BYTES);
}

/* ---- types and expected values ---- */

ebb_status infer_results(const ebb_op *op, const void *attrs, const ebb_tensor *inputs,
                         int n_inputs, ebb_type *results, ebb_error *error)
{
    const ebb_type *types[MAX_INPUTS] = { NULL };
    for (int i = 0; i < n_inputs; i++)
        types[i] = &inputs[i].type;
    ebb_infer infer = { op, attrs, n_inputs, types, results, error };
    return op->infer(&infer);
}

/* The values of `tensor` as F64; integers as they are. */
static ebb_tensor widen(const ebb_tensor *tensor)
{
    ebb_tensor wide;
    ebb_type type = tensor->type;
    if (ebb_dtype_is_float(type.dtype))
        type.dtype = EBB_F64;
    REQUIRE(!ebb_tensor_init(&wide, type, NULL), "out of memory");
    if (type.dtype == tensor->type.dtype) {
        memcpy(wide.data, tensor->data, ebb_tensor_bytes(tensor));
        return wide;
    }
    for (int64_t i = 0; i < ebb_shape_elements(&type.shape); i++)
        ebb_tensor_set(&wide, i, ebb_tensor_get(tensor, i));
    return wide;
}

static void expect_results(const kernel_case *c, const ebb_tensor *inputs, ebb_tensor *expected)
{
    ebb_error error = { 0 };
    ebb_tensor wide[MAX_INPUTS];
    ebb_type types[EBB_MAX_RESULTS];
    for (int i = 0; i < c->n_inputs; i++)
        wide[i] = widen(&inputs[i]);
    REQUIRE(!infer_results(c->op, c->attrs, wide, c->n_inputs, types, &error), "%s: %s", c->label,
            error.message);
    for (int i = 0; i < c->op->n_results; i++)
        REQUIRE(!ebb_tensor_init(&expected[i], types[i], NULL), "out of memory");
    ebb_eval eval = { c->op, c->attrs, c->n_inputs, c->op->n_results, wide, expected, &error };
    REQUIRE(!c->op->eval(&eval), "%s: %s", c->label, error.message);
    for (int i = 0; i < c->n_inputs; i++)
        ebb_tensor_finish(&wide[i]);
}

static void compare(const kernel_case *c, const char *what, const ebb_type *type, const char *data,
                    const ebb_tensor *expected)
{
    const ebb_tensor got = { .type = *type, .data = (void *)(uintptr_t)data };
    const int64_t n = ebb_shape_elements(&type->shape);
    const bool is_float = ebb_dtype_is_float(type->dtype), is_f32 = type->dtype == EBB_F32;
    const double tolerance = is_f32 ? (c->tolerance > 0 ? c->tolerance : 1e-5) : 1e-12;
    double scale = 0;
    REQUIRE(ebb_shape_equal(&type->shape, &expected->type.shape), "%s: another shape", c->label);
    if (!is_float) { /* a 64-bit integer does not fit a double */
        REQUIRE(type->dtype == expected->type.dtype, "%s: another dtype", c->label);
        REQUIRE(n == 0 || memcmp(data, expected->data, ebb_type_bytes(type)) == 0,
                "%s: %s: integers differ", c->label, what);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        double x = fabs(ebb_tensor_get(expected, i));
        if (isfinite(x))
            scale = fmax(scale, x);
    }
    for (int64_t i = 0; i < n; i++) {
        double x = ebb_tensor_get(&got, i), y = ebb_tensor_get(expected, i);
        if (is_f32)
            y = isfinite((float)y) ? y : (double)(float)y;
        bool agrees = isnan(y) ? isnan(x) : isinf(y) ? x == y : fabs(x - y) <= tolerance * scale;
        REQUIRE(agrees, "%s: %s: element %lld is %.9g, not %.9g", c->label, what, (long long)i, x,
                y);
    }
}

/* ---- inputs as they lie in memory ---- */

typedef struct placed_input {
    void *buffer;
    char *first; /* element [0,0,..] */
    ebb_layout layout;
} placed_input;

static placed_input place_input(const ebb_tensor *tensor, layout_kind kind)
{
    const ebb_shape *shape = &tensor->type.shape;
    const int rank = shape->rank;
    const int64_t n = ebb_shape_elements(shape);
    const size_t bytes = ebb_dtype_bytes(tensor->type.dtype);
    placed_input placed = { .layout = ebb_layout_dense(shape) };
    ebb_layout *layout = &placed.layout;
    int64_t n_buffer = n, stride = 1;
    switch (kind) {
    case LAYOUT_OFFSET:
        layout->offset = 5;
        n_buffer = n + 5;
        break;
    case LAYOUT_TRANSPOSED:
        for (int i = 0; i < rank; i++) {
            layout->strides[i] = stride;
            stride *= shape->dims[i];
        }
        break;
    case LAYOUT_REVERSED:
        for (int i = 0; i < rank; i++) {
            layout->offset += layout->strides[i] * (shape->dims[i] - 1);
            layout->strides[i] = -layout->strides[i];
        }
        layout->offset = n > 0 ? layout->offset : 0;
        break;
    case LAYOUT_GAPS:
        for (int i = 0; i < rank; i++)
            layout->strides[i] *= 2;
        n_buffer = 2 * n;
        break;
    case LAYOUT_REPEATED:
        if (rank > 0)
            layout->strides[0] = 0;
        break;
    case LAYOUT_SINGLE:
        memset(layout->strides, 0, sizeof layout->strides);
        break;
    default:
        break;
    }
    placed.buffer = get_block((size_t)(n_buffer + 1) * bytes);
    placed.first = (char *)placed.buffer + (size_t)layout->offset * bytes;
    int64_t index[EBB_MAX_RANK] = { 0 }, at = 0;
    for (int64_t i = 0; i < n; i++) {
        memcpy(placed.first + at * (int64_t)bytes, (char *)tensor->data + (size_t)i * bytes, bytes);
        for (int d = rank - 1; d >= 0; d--) {
            at += layout->strides[d];
            if (++index[d] < shape->dims[d])
                break;
            at -= layout->strides[d] * shape->dims[d];
            index[d] = 0;
        }
    }
    return placed;
}

/* A copy of `tensor` whose values repeat as the layout will. */
static ebb_tensor repeat_values(const ebb_tensor *tensor, layout_kind kind)
{
    ebb_tensor copy;
    REQUIRE(!ebb_tensor_init(&copy, tensor->type, NULL), "out of memory");
    size_t bytes = ebb_tensor_bytes(tensor), period = bytes;
    const ebb_shape *shape = &tensor->type.shape;
    if (kind == LAYOUT_REPEATED && shape->rank > 0 && shape->dims[0] > 0)
        period = bytes / (size_t)shape->dims[0];
    else if (kind == LAYOUT_SINGLE)
        period = ebb_dtype_bytes(tensor->type.dtype);
    for (size_t at = 0; at < bytes; at += period)
        memcpy((char *)copy.data + at, tensor->data, period);
    return copy;
}

/* ---- running ---- */

static ebb_status execute(const ebb_kernel *kernel, void **inputs, void **results, ebb_error *error)
{
    void *scratch = get_block(kernel->scratch_bytes), *packed = NULL, *unpacked = NULL;
    memset(scratch, 0xFF, kernel->scratch_bytes); /* NaN: contents are undefined */
    ebb_status status = EBB_OK;
    if (kernel->packed_bytes > 0) {
        packed = get_block(kernel->packed_bytes);
        unpacked = inputs[kernel->packed_input];
        status = kernel->pack(kernel->state, unpacked, packed);
        inputs[kernel->packed_input] = packed;
    }
    ebb_call call = { kernel->state, inputs, results, scratch, error };
    if (!status)
        status = kernel->run(&call);
    if (packed)
        inputs[kernel->packed_input] = unpacked;
    free(packed);
    free(scratch);
    return status;
}

/* Runs a kernel on inputs and results that lie as in the region. */
static ebb_status execute_laid_out(const kernel_case *c, const ebb_region *region,
                                   const ebb_kernel *kernel, ebb_tensor *results, ebb_error *error)
{
    kernel_memory memory = { .fail_at = -1 };
    void *inputs[MAX_INPUTS], *outputs[EBB_MAX_RESULTS];
    for (int i = 0; i < c->n_inputs; i++) {
        const ebb_type *type = &c->inputs[i].type;
        inputs[i] = allocate_block(&memory, ebb_type_bytes(type));
        ebb_layout_write(inputs[i], c->inputs[i].data, &region->inputs[i].layout, type);
    }
    for (int r = 0; r < region->n_results; r++)
        outputs[r] = allocate_block(&memory, ebb_type_bytes(region->results[r].type));
    const ebb_status status = execute(kernel, inputs, outputs, error);
    for (int r = 0; r < region->n_results && !status; r++)
        ebb_layout_read(results[r].data, outputs[r], &region->results[r].layout,
                        region->results[r].type);
    free_blocks(&memory);
    return status;
}

ebb_status run_placed_kernel(const kernel_case *c, const kernel_placement *placement,
                             const ebb_backend *backend, int n_threads, int fail_at,
                             ebb_tensor *results, ebb_kernel *kernel, ebb_error *error)
{
    ebb_operand inputs[MAX_INPUTS], operands[EBB_MAX_RESULTS];
    ebb_type types[EBB_MAX_RESULTS];
    REQUIRE(!infer_results(c->op, c->attrs, c->inputs, c->n_inputs, types, error), "%s: %s",
            c->label, error->message);
    for (int i = 0; i < c->n_inputs; i++)
        inputs[i] = (ebb_operand){ .type = &c->inputs[i].type,
                                   .layout = ebb_layout_dense(&c->inputs[i].type.shape) };
    for (int i = 0; i < c->op->n_results; i++)
        operands[i] =
            (ebb_operand){ .type = &types[i], .layout = ebb_layout_dense(&types[i].shape) };
    for (int i = 0; i < c->n_inputs && placement; i++) {
        inputs[i].layout = placement->layouts[i];
        inputs[i].is_steady = placement->steady >> i & 1;
    }
    for (int i = 0; i < c->op->n_results && placement; i++)
        operands[i].layout = placement->layouts[c->n_inputs + i];
    ebb_region region = { c->op,  c->attrs, c->n_inputs, c->op->n_results,
                          inputs, operands, n_threads };
    if (backend->score(backend, &region) == EBB_SCORE_NONE)
        return EBB_NOT_FOUND;
    kernel_memory memory = { .fail_at = fail_at };
    ebb_compile_env env = { .allocate = allocate_block, .context = &memory, .error = error };
    ebb_kernel made = { 0 };
    ebb_status status = backend->compile(backend, &region, &env, &made);
    if (!status) {
        for (int i = 0; i < c->op->n_results; i++)
            REQUIRE(!ebb_tensor_init(&results[i], types[i], NULL), "out of memory");
        status = execute_laid_out(c, &region, &made, results, error);
        if (status)
            for (int i = 0; i < c->op->n_results; i++)
                ebb_tensor_finish(&results[i]);
        if (made.destroy)
            made.destroy(made.state);
        if (kernel) {
            *kernel = made;
            kernel->state = NULL;
        }
    }
    free_blocks(&memory);
    return status;
}

ebb_status run_kernel(const kernel_case *c, const ebb_backend *backend, int n_threads, int fail_at,
                      ebb_tensor *results, ebb_kernel *kernel, ebb_error *error)
{
    return run_placed_kernel(c, NULL, backend, n_threads, fail_at, results, kernel, error);
}

typedef struct attempt {
    const kernel_case *c;
    const ebb_backend *backend;
    ebb_region *region;
    const placed_input *placed;
    const ebb_tensor *expected;
    const char *what;
    kernel_counts *counts;
} attempt;

/* Runs the region; the results stay in result_data. False if the backend refuses it. */
static bool try_region(const attempt *a, char **result_data)
{
    const kernel_case *c = a->c;
    ebb_region *region = a->region;
    if (a->backend->score(a->backend, region) == EBB_SCORE_NONE) {
        a->counts->n_refused++;
        return false;
    }
    kernel_memory memory = { .fail_at = -1 };
    ebb_error error = { 0 };
    ebb_compile_env env = { .allocate = allocate_block, .context = &memory, .error = &error };
    ebb_kernel kernel = { 0 };
    ebb_status status = a->backend->compile(a->backend, region, &env, &kernel);
    REQUIRE(!status, "%s: %s: compile: %s", c->label, a->what, error.message);
    REQUIRE(kernel.n_threads >= 1 && kernel.n_threads <= region->n_threads, "%s: %s: %d threads",
            c->label, a->what, kernel.n_threads);
    REQUIRE(kernel.implementation, "%s: %s: no name", c->label, a->what);
    void *inputs[MAX_INPUTS], *results[EBB_MAX_RESULTS];
    for (int i = 0; i < c->n_inputs; i++)
        inputs[i] = a->placed[i].first;
    for (int i = 0; i < region->n_results; i++)
        results[i] = result_data[i];
    status = execute(&kernel, inputs, results, &error);
    REQUIRE(!status, "%s: %s: run: %s", c->label, a->what, error.message);
    for (int i = 0; i < region->n_results; i++) {
        const ebb_type *type = region->results[i].type;
        check_guards(result_data[i], ebb_type_bytes(type), c->label);
        compare(c, a->what, type, result_data[i], &a->expected[i]);
    }
    a->counts->n_runs++;
    a->counts->n_threaded += kernel.n_threads > 1;
    /* Again, and in place: the same bits. */
    const size_t n_bytes = ebb_type_bytes(region->results[0].type);
    char *again = guarded_block(n_bytes);
    for (int input = -1; input < c->n_inputs; input++) {
        void *moved = input < 0 ? NULL : inputs[input];
        if (input >= 0) {
            if (!(kernel.inplace_inputs & 1u << input))
                continue;
            memcpy(again, moved, n_bytes);
            inputs[input] = again;
            a->counts->n_inplace++;
        }
        results[0] = again;
        status = execute(&kernel, inputs, results, &error);
        REQUIRE(!status, "%s: %s: second run: %s", c->label, a->what, error.message);
        REQUIRE(memcmp(again, result_data[0], n_bytes) == 0, "%s: %s: %s differs", c->label,
                a->what, input < 0 ? "the second run" : "the run in place");
        if (input >= 0)
            inputs[input] = moved;
    }
    check_guards(again, n_bytes, c->label);
    free_guarded(again);
    if (kernel.destroy)
        kernel.destroy(kernel.state);
    free_blocks(&memory);
    return true;
}

/* All backends and thread counts for one choice of layouts. */
static void check_layouts(const kernel_case *c, const ebb_backend *const *backends, int n_backends,
                          const char *repeatable, layout_kind kind, unsigned mask,
                          kernel_counts *counts)
{
    ebb_tensor values[MAX_INPUTS], expected[EBB_MAX_RESULTS];
    placed_input placed[MAX_INPUTS];
    ebb_operand inputs[MAX_INPUTS], results[EBB_MAX_RESULTS];
    ebb_type types[EBB_MAX_RESULTS];
    ebb_error error = { 0 };
    char what[100];
    for (int i = 0; i < c->n_inputs; i++) {
        layout_kind own = mask & 1u << i ? kind : LAYOUT_DENSE;
        values[i] = repeat_values(&c->inputs[i], own);
        placed[i] = place_input(&values[i], own);
        inputs[i] = (ebb_operand){ .type = &values[i].type, .layout = placed[i].layout };
    }
    expect_results(c, values, expected);
    REQUIRE(!infer_results(c->op, c->attrs, values, c->n_inputs, types, &error), "%s: %s", c->label,
            error.message);
    for (int i = 0; i < c->op->n_results; i++)
        results[i] =
            (ebb_operand){ .type = &types[i], .layout = ebb_layout_dense(&types[i].shape) };
    bool is_taken = false;
    for (int b = 0; b < n_backends; b++) {
        char *bits[2][EBB_MAX_RESULTS];
        bool taken = false;
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            ebb_region region = { c->op,  c->attrs, c->n_inputs, c->op->n_results,
                                  inputs, results,  n_threads };
            snprintf(what, sizeof what, "%s, layout %d of inputs %#x, %d threads",
                     backends[b]->name, (int)kind, mask, n_threads);
            attempt a = { c, backends[b], &region, placed, expected, what, counts };
            for (int i = 0; i < c->op->n_results; i++)
                bits[n_threads - 1][i] = guarded_block(ebb_type_bytes(&types[i]));
            taken = try_region(&a, bits[n_threads - 1]);
        }
        for (int i = 0; i < c->op->n_results; i++) {
            if (taken && repeatable && strcmp(backends[b]->name, repeatable) == 0)
                REQUIRE(memcmp(bits[0][i], bits[1][i], ebb_type_bytes(&types[i])) == 0,
                        "%s: %s: another result than with one thread", c->label, what);
            free_guarded(bits[0][i]);
            free_guarded(bits[1][i]);
        }
        is_taken = is_taken || taken;
    }
    if (kind == LAYOUT_DENSE)
        REQUIRE(is_taken, "%s: no backend takes it", c->label);
    for (int i = 0; i < c->n_inputs; i++) {
        free(placed[i].buffer);
        ebb_tensor_finish(&values[i]);
    }
    for (int i = 0; i < c->op->n_results; i++)
        ebb_tensor_finish(&expected[i]);
}

kernel_counts check_kernels(const kernel_case *c, const ebb_backend *const *backends,
                            int n_backends, const char *repeatable)
{
    kernel_counts counts = { 0 };
    check_layouts(c, backends, n_backends, repeatable, LAYOUT_DENSE, 0, &counts);
    for (int kind = LAYOUT_DENSE + 1; kind < N_LAYOUTS; kind++)
        for (unsigned mask = 1; mask < 1u << c->n_inputs; mask++)
            check_layouts(c, backends, n_backends, repeatable, (layout_kind)kind, mask, &counts);
    return counts;
}
