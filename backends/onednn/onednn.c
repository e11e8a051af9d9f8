/* The oneDNN backend: its table of op families, and what all its kernels share.
 *
 * Every kernel has an engine and a stream of its own. A CPU engine holds no memory pool and no
 * threads, and engine and stream together take 0.2 us to make; so there is no shared state to
 * guard, and kernels of different executables may run side by side. oneDNN keeps compiled code in
 * its own cache, which engines of the same kind share. */
#include "backends/onednn/onednn.h"
#include "backends/backends.h"
#include "backends/parallel.h"
#include "ops/descriptors.h"
#include <oneapi/dnnl/dnnl_debug.h>
#include <stdio.h>
#include <string.h>

#define CONV                                                                                       \
    ebb_onednn_score_conv, ebb_onednn_threads_conv, ebb_onednn_compile_conv,                       \
        ebb_onednn_layouts_conv, ebb_onednn_choice_layouts_conv, ebb_onednn_choices_conv,          \
        ebb_onednn_home_conv
static const ebb_onednn_family families[] = {
    { &ebb_op_conv, CONV },
    { &ebb_op_conv_epilogue, CONV },
    { &ebb_op_conv_input_grad, CONV },
    { &ebb_op_conv_weight_grad, CONV },
    { &ebb_op_conv_weight_bias_grad, CONV },
    { &ebb_op_matmul, ebb_onednn_score_matmul, ebb_onednn_threads_matmul, ebb_onednn_compile_matmul,
      NULL, NULL, NULL, NULL },
    { &ebb_op_matmul_epilogue, ebb_onednn_score_matmul, ebb_onednn_threads_matmul,
      ebb_onednn_compile_matmul, NULL, NULL, NULL, NULL },
    { &ebb_op_softmax, ebb_onednn_score_softmax, ebb_onednn_threads_softmax,
      ebb_onednn_compile_softmax, NULL, NULL, NULL, NULL },
    { &ebb_op_copy, ebb_onednn_score_copy, ebb_onednn_threads_copy, ebb_onednn_compile_copy, NULL,
      NULL, NULL, NULL },
};

static const ebb_onednn_family *find_family(const ebb_op *op)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (families[i].op == op)
            return &families[i];
    return NULL;
}

ebb_status ebb_onednn_check(dnnl_status_t status, const char *what, ebb_error *error)
{
    switch (status) {
    case dnnl_success:
        return EBB_OK;
    case dnnl_out_of_memory:
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "oneDNN %s: %s", what, dnnl_status2str(status));
    case dnnl_unimplemented:
        return ebb_fail(error, EBB_UNSUPPORTED, "oneDNN %s: %s", what, dnnl_status2str(status));
    default:
        return ebb_fail(error, EBB_BACKEND, "oneDNN %s: %s", what, dnnl_status2str(status));
    }
}

static void EBB_PRINTF(2, 3) log_info(const ebb_compile_env *env, const char *format, ...)
{
    if (!env->log.write)
        return;
    char text[EBB_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    env->log.write(env->log.context, EBB_LOG_INFO, text);
}

ebb_status ebb_onednn_bind(const ebb_onednn_state *state, ebb_onednn_primitive *primitive, int arg,
                           dn_view desc, ebb_onednn_place place, size_t index, void *pointer,
                           ebb_error *error)
{
    int i = primitive->n_args;
    if (i == EBB_ONEDNN_MAX_ARGS)
        return ebb_fail(error, EBB_INTERNAL, "oneDNN: more than %d arguments", i);
    dnnl_memory_t memory;
    ebb_status status = ebb_onednn_check(dnnl_memory_create(&memory, desc, state->engine, pointer),
                                         "memory", error);
    if (status)
        return status;
    primitive->args[i] = (dnnl_exec_arg_t){ arg, memory };
    primitive->origins[i].place = place;
    primitive->origins[i].index = index;
    primitive->origins[i].pointer = pointer;
    primitive->n_args++;
    return EBB_OK;
}

/* Plain loops, 100 to 400 times slower than the others; the word may stand anywhere in the name. */
static bool is_reference(const char *implementation)
{
    return strstr(implementation, "ref");
}

ebb_status ebb_onednn_make(ebb_onednn_state *state, dnnl_primitive_desc_t pd, const char *what,
                           const ebb_compile_env *env, ebb_kernel *kernel)
{
    const char *implementation = dn_implementation(pd);
    if (is_reference(implementation)) {
        log_info(env, "oneDNN would compute this %s by %s: refused", what, implementation);
        return ebb_fail(env->error, EBB_UNSUPPORTED, "oneDNN %s: only a reference implementation",
                        what);
    }
    snprintf(state->implementation, sizeof state->implementation, "%s", implementation);
    dn_view scratchpad = dn_query(pd, dnnl_query_scratchpad_md);
    size_t scratch_bytes = dn_view_bytes(scratchpad);
    if (scratch_bytes > 0) {
        ebb_status status = ebb_onednn_bind(state, &state->main, DNNL_ARG_SCRATCHPAD, scratchpad,
                                            EBB_ONEDNN_SCRATCH, 0, NULL, env->error);
        if (status)
            return status;
        kernel->scratch_bytes = scratch_bytes;
    }
    return ebb_onednn_check(dnnl_primitive_create(&state->main.handle, pd), what, env->error);
}

ebb_status ebb_onednn_make_reorder(ebb_onednn_state *state, ebb_onednn_primitive *reorder,
                                   dn_view from, dn_view to, size_t *scratch_bytes,
                                   ebb_error *error)
{
    dnnl_primitive_desc_t pd = NULL;
    ebb_status status =
        ebb_onednn_check(dn_reorder(&pd, state->engine, from, to, state->attr), "reorder", error);
    if (status)
        return status;
    dn_view scratchpad = dn_query(pd, dnnl_query_scratchpad_md);
    const size_t bytes = dn_view_bytes(scratchpad), start = (*scratch_bytes + 63) / 64 * 64;
    if (bytes > 0) {
        status = ebb_onednn_bind(state, reorder, DNNL_ARG_SCRATCHPAD, scratchpad,
                                 EBB_ONEDNN_SCRATCH, start, NULL, error);
        *scratch_bytes = start + bytes;
    }
    if (!status)
        status = ebb_onednn_check(dnnl_primitive_create(&reorder->handle, pd), "reorder", error);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

static ebb_status run_pack(void *opaque, const void *input, void *packed)
{
    ebb_onednn_state *state = opaque;
    void *from = (void *)(uintptr_t)input; /* only read */
    return ebb_onednn_execute(state, &state->pack, &from, &packed, NULL, NULL);
}

ebb_status ebb_onednn_make_pack(ebb_onednn_state *state, dn_view from, dn_view to, int index,
                                const ebb_compile_env *env, ebb_kernel *kernel)
{
    dnnl_primitive_desc_t pd = NULL;
    ebb_onednn_primitive *pack = &state->pack;
    ebb_status status = ebb_onednn_check(dn_reorder(&pd, state->engine, from, to, state->attr),
                                         "reorder", env->error);
    if (status)
        return status;
    /* There is no scratch when values are packed. */
    dn_view scratchpad = dn_query(pd, dnnl_query_scratchpad_md);
    size_t scratch_bytes = dn_view_bytes(scratchpad);
    if (scratch_bytes > 0) {
        void *scratch = env->allocate(env->context, scratch_bytes);
        status = scratch ? ebb_onednn_bind(state, pack, DNNL_ARG_SCRATCHPAD, scratchpad,
                                           EBB_ONEDNN_FIXED, 0, scratch, env->error)
                         : ebb_fail(env->error, EBB_OUT_OF_MEMORY, "oneDNN reorder: scratch");
    }
    if (!status)
        status = ebb_onednn_bind(state, pack, DNNL_ARG_FROM, from, EBB_ONEDNN_INPUT, 0, NULL,
                                 env->error);
    if (!status)
        status =
            ebb_onednn_bind(state, pack, DNNL_ARG_TO, to, EBB_ONEDNN_RESULT, 0, NULL, env->error);
    if (!status)
        status = ebb_onednn_check(dnnl_primitive_create(&pack->handle, pd), "reorder", env->error);
    dnnl_primitive_desc_destroy(pd);
    if (status)
        return status;
    kernel->packed_input = index;
    kernel->packed_bytes = dn_view_bytes(to);
    kernel->pack = run_pack;
    return EBB_OK;
}

/* Memory objects are told only of pointers that changed: oneDNN 2.x writes the padding of a blocked
 * layout each time. */
static dnnl_status_t point_arguments(ebb_onednn_primitive *primitive, void *const *inputs,
                                     void *const *results, void *scratch)
{
    for (int i = 0; i < primitive->n_args; i++) {
        void *pointer = NULL;
        switch (primitive->origins[i].place) {
        case EBB_ONEDNN_INPUT:
            pointer = inputs[primitive->origins[i].index];
            break;
        case EBB_ONEDNN_RESULT:
            pointer = results[primitive->origins[i].index];
            break;
        case EBB_ONEDNN_SCRATCH:
            pointer = (char *)scratch + primitive->origins[i].index;
            break;
        case EBB_ONEDNN_FIXED:
            continue;
        }
        if (pointer == primitive->origins[i].pointer)
            continue;
        dnnl_status_t status = dnnl_memory_set_data_handle(primitive->args[i].memory, pointer);
        if (status != dnnl_success)
            return status;
        primitive->origins[i].pointer = pointer;
    }
    return dnnl_success;
}

ebb_status ebb_onednn_execute(ebb_onednn_state *state, ebb_onednn_primitive *primitive,
                              void *const *inputs, void *const *results, void *scratch,
                              ebb_error *error)
{
    int before = ebb_threads_exchange(state->n_threads);
    dnnl_status_t status = point_arguments(primitive, inputs, results, scratch);
    if (status == dnnl_success)
        status = dnnl_primitive_execute(primitive->handle, state->stream, primitive->n_args,
                                        primitive->args);
    if (status == dnnl_success)
        status = dnnl_stream_wait(state->stream);
    ebb_threads_exchange(before);
    return status == dnnl_success ? EBB_OK
                                  : ebb_fail(error, EBB_BACKEND, "oneDNN %s: %s",
                                             state->implementation, dnnl_status2str(status));
}

dnnl_status_t ebb_onednn_epilogue_attr(const ebb_onednn_state *state, const ebb_epilogue *epilogue,
                                       dnnl_primitive_attr_t *attr)
{
    dnnl_status_t status = dnnl_primitive_attr_clone(attr, state->attr);
    if (status != dnnl_success || (!epilogue->residual && !epilogue->relu))
        return status;
    return dn_append(*attr, epilogue->residual, epilogue->relu);
}

static void copy_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const ebb_onednn_state *state = call->state;
    const float *from = call->inputs[state->residual.input];
    int64_t begin, end;
    ebb_parallel_part(state->residual.n, index, n, &begin, &end);
    memcpy((float *)call->results[0] + begin, from + begin, (size_t)(end - begin) * sizeof *from);
}

void ebb_onednn_place_residual(const ebb_onednn_state *state, const ebb_call *call)
{
    if (state->residual.n && call->results[0] != call->inputs[state->residual.input])
        ebb_parallel(state->n_threads, copy_part, (void *)(uintptr_t)call);
}

static ebb_status run_main(const ebb_call *call)
{
    ebb_onednn_state *state = call->state;
    ebb_onednn_place_residual(state, call);
    return ebb_onednn_execute(state, &state->main, call->inputs, call->results, call->scratch,
                              call->error);
}

static void clear_primitive(ebb_onednn_primitive *primitive)
{
    if (primitive->handle)
        dnnl_primitive_destroy(primitive->handle);
    for (int i = 0; i < primitive->n_args; i++)
        dnnl_memory_destroy(primitive->args[i].memory);
    *primitive = (ebb_onednn_primitive){ 0 };
}

void ebb_onednn_clear(ebb_onednn_state *state)
{
    clear_primitive(&state->main);
    clear_primitive(&state->pack);
    for (int i = 0; i < EBB_ONEDNN_MAX_BEFORE; i++)
        clear_primitive(&state->before[i]);
    clear_primitive(&state->after);
}

static void destroy_state(void *opaque)
{
    ebb_onednn_state *state = opaque;
    ebb_onednn_clear(state);
    if (state->attr)
        dnnl_primitive_attr_destroy(state->attr);
    if (state->stream)
        dnnl_stream_destroy(state->stream);
    if (state->engine)
        dnnl_engine_destroy(state->engine);
}

static ebb_status open_state(ebb_onednn_state *state, ebb_error *error)
{
    dnnl_status_t status = dnnl_engine_create(&state->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&state->stream, state->engine, dnnl_stream_default_flags);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_create(&state->attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(state->attr, dnnl_scratchpad_mode_user);
    return ebb_onednn_check(status, "engine", error);
}

static int score_region(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    const ebb_onednn_family *family = find_family(region->op);
    return family ? family->score(region) : EBB_SCORE_NONE;
}

static bool wish_layouts(const ebb_backend *backend, const ebb_region *region, ebb_layout *inputs,
                         ebb_layout *results)
{
    (void)backend;
    const ebb_onednn_family *family = find_family(region->op);
    return family && family->layouts && family->layouts(region, inputs, results);
}

static bool takes_blocks(const ebb_backend *backend, const ebb_op *op)
{
    (void)backend;
    const ebb_onednn_family *family = find_family(op);
    return family && family->layouts;
}

static bool wish_for_choice(const ebb_backend *backend, const ebb_region *region,
                            const char *choice, ebb_layout *inputs, ebb_layout *results)
{
    (void)backend;
    const ebb_onednn_family *family = find_family(region->op);
    return family && family->choice_layouts &&
           family->choice_layouts(region, choice, inputs, results);
}

static int list_choices(const ebb_backend *backend, const ebb_region *region, ebb_choice *choices,
                        int max)
{
    const ebb_onednn_family *family = find_family(region->op);
    if (!family || !family->choices || score_region(backend, region) == EBB_SCORE_NONE)
        return 0;
    ebb_onednn_state state = { .n_threads = family->n_threads(region) };
    int n = 0, before = ebb_threads_exchange(state.n_threads);
    if (!open_state(&state, NULL))
        n = family->choices(region, &state, choices, max);
    ebb_threads_exchange(before);
    destroy_state(&state);
    return n;
}

static bool find_home(const ebb_backend *backend, const ebb_region *region, int input,
                      ebb_layout *layout)
{
    const ebb_onednn_family *family = find_family(region->op);
    if (!family || !family->home || score_region(backend, region) == EBB_SCORE_NONE)
        return false;
    ebb_onednn_state state = { .n_threads = family->n_threads(region) };
    const int before = ebb_threads_exchange(state.n_threads);
    const bool found = !open_state(&state, NULL) && family->home(region, input, &state, layout);
    ebb_threads_exchange(before);
    destroy_state(&state);
    return found;
}

static void describe_library(const ebb_backend *backend, char *text, size_t text_bytes)
{
    (void)backend;
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, text_bytes, "oneDNN %d.%d.%d isa %#x", version->major, version->minor,
             version->patch, (unsigned)dnnl_get_effective_cpu_isa());
}

static ebb_status compile_region(const ebb_backend *backend, const ebb_region *region,
                                 const ebb_compile_env *env, ebb_kernel *kernel)
{
    if (score_region(backend, region) == EBB_SCORE_NONE)
        return ebb_fail(env->error, EBB_UNSUPPORTED, "oneDNN does not take this %s",
                        region->op->name);
    const ebb_onednn_family *family = find_family(region->op);
    ebb_onednn_state *state = env->allocate(env->context, sizeof *state);
    if (!state)
        return ebb_fail(env->error, EBB_OUT_OF_MEMORY, "oneDNN %s: state of a kernel",
                        region->op->name);
    state->n_threads = family->n_threads(region);
    *kernel = (ebb_kernel){
        .run = run_main,
        .state = state,
        .destroy = destroy_state,
        .implementation = state->implementation,
        .n_threads = state->n_threads,
        .never_fails = true, /* whatever could be refused or lacking was so when it was made */
    };
    int before = ebb_threads_exchange(state->n_threads);
    ebb_status status = open_state(state, env->error);
    if (!status)
        status = family->compile(region, env, state, kernel);
    ebb_threads_exchange(before);
    if (status) {
        destroy_state(state);
        *kernel = (ebb_kernel){ 0 };
    }
    return status;
}

const ebb_backend ebb_backend_onednn = {
    .name = "onednn",
    .score = score_region,
    .compile = compile_region,
    .layouts = wish_layouts,
    .takes_blocks = takes_blocks,
    .choice_layouts = wish_for_choice,
    .home_layout = find_home,
    .choices = list_choices,
    .describe = describe_library,
};
