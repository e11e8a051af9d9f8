/* Taking the time of the ways in which backends can compute a region. Each runs on the same random
 * values; one whose results differ from those of the way taken by default by more than rounding, or
 * for inexact ones than the bound that the user gave, is out. The rest run in turns, so that what
 * else the machine does hits all of them, and the least time counts. */
#include "runtime/tune.h"
#include "graph/text.h"
#include "runtime/profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Sums in another order differ by 2e-7 to 5e-7 (relative rms, F32); more is a wrong result. */
#define EXACT_ERROR 1e-5
/* Another way must be faster than the default by so much: less is noise. */
#define LEAST_GAIN 0.03

enum {
    MAX_CHOICES = 24, /* of one backend */
    MAX_WAYS = 2 * MAX_CHOICES,
    MAX_ROUNDS = 12,
    LEAST_ROUNDS = 3,
    MOST_NS = 300 * 1000 * 1000, /* for all rounds of a region */
    LEAST_TURN_NS = 200 * 1000   /* short kernels run several times in a turn */
};

#define OWN_WAY "default"

/* OWN_WAY: what the backend does by itself. */
typedef struct tune_way {
    int backend;
    ebb_choice choice;
    char name[EBB_CHOICE_BYTES]; /* in the file: of a backend that scores less, with its name */
} tune_way;

/* One way, while it competes. */
typedef struct entrant {
    const tune_way *way;
    ebb_kernel kernel;
    void *packed;
    int64_t least_ns;
    bool is_in;
} entrant;

typedef struct contest {
    const ebb_allocator *allocator;
    const ebb_executable *e;
    const ebb_region *region;
    ebb_arena arena; /* states of kernels */
    ebb_error error; /* of the last kernel */
    entrant entrants[MAX_WAYS];
    int n;
    void **blocks; /* inputs, then expected results, then results */
    size_t *sizes;
    int n_blocks;
    void **pointers; /* of a call: inputs, then results */
    void *scratch;
    size_t scratch_bytes;
} contest;

/* ---- memory ---- */

static void *allocate_state(void *context, size_t size_bytes)
{
    contest *c = context;
    void *block = ebb_arena_allocate(&c->arena, size_bytes, EBB_ALIGNMENT);
    if (block)
        memset(block, 0, size_bytes);
    return block;
}

/* Elements between the first and the last one in memory; *first: where element [0,0,..] stands. */
static int64_t find_extent(const ebb_operand *operand, int64_t *first)
{
    const ebb_shape *shape = &operand->type->shape;
    int64_t low = 0, high = 0;
    *first = 0;
    if (operand->layout.n_blocks)
        return ebb_shape_elements(shape);
    for (int i = 0; i < shape->rank; i++) {
        const int64_t reach = (shape->dims[i] - 1) * operand->layout.strides[i];
        *(reach < 0 ? &low : &high) += reach;
    }
    *first = -low;
    return high - low + 1;
}

/* Uniform in [-1, 1) by a linear congruential generator (Numerical Recipes), and zeros where a
 * value could be an index. */
static void fill_block(void *block, size_t bytes, ebb_dtype dtype, uint32_t seed)
{
    memset(block, 0, bytes);
    float *values = block;
    for (size_t i = 0; dtype == EBB_F32 && i < bytes / sizeof *values; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 8) / 8388608.0f - 1;
    }
}

static int n_operands(const contest *c)
{
    return c->region->n_inputs + c->region->n_results;
}

static bool open_contest(contest *c)
{
    const ebb_region *region = c->region;
    const size_t n = (size_t)n_operands(c) + (size_t)region->n_results;
    ebb_arena_init(&c->arena, c->allocator);
    c->blocks = ebb_allocate(c->allocator, n * sizeof *c->blocks);
    c->sizes = ebb_allocate(c->allocator, n * sizeof *c->sizes);
    c->pointers = ebb_allocate(c->allocator, n * sizeof *c->pointers);
    if (!c->blocks || !c->sizes || !c->pointers)
        return false;
    for (size_t i = 0; i < n; i++) {
        const size_t n_inputs = (size_t)region->n_inputs, n_results = (size_t)region->n_results;
        const ebb_operand *operand =
            i < n_inputs ? &region->inputs[i] : &region->results[(i - n_inputs) % n_results];
        int64_t first = 0;
        size_t bytes = ebb_type_bytes(operand->type);
        if (i < n_inputs)
            bytes = (size_t)find_extent(operand, &first) * ebb_dtype_bytes(operand->type->dtype);
        c->blocks[i] = ebb_allocate(c->allocator, bytes);
        if (!c->blocks[i])
            return false;
        c->sizes[i] = bytes;
        c->n_blocks++;
        fill_block(c->blocks[i], bytes, operand->type->dtype, (uint32_t)i);
        if (i < n_inputs)
            c->pointers[i] =
                (char *)c->blocks[i] + (size_t)first * ebb_dtype_bytes(operand->type->dtype);
    }
    return true;
}

static void close_contest(contest *c)
{
    const size_t n = (size_t)n_operands(c) + (size_t)c->region->n_results;
    for (int i = 0; i < c->n; i++) {
        entrant *one = &c->entrants[i];
        if (one->packed)
            ebb_release(c->allocator, one->packed, one->kernel.packed_bytes);
        if (one->kernel.destroy)
            one->kernel.destroy(one->kernel.state);
    }
    for (int i = 0; i < c->n_blocks; i++)
        ebb_release(c->allocator, c->blocks[i], c->sizes[i]);
    if (c->scratch)
        ebb_release(c->allocator, c->scratch, c->scratch_bytes);
    ebb_release(c->allocator, c->pointers, n * sizeof *c->pointers);
    ebb_release(c->allocator, c->sizes, n * sizeof *c->sizes);
    ebb_release(c->allocator, c->blocks, n * sizeof *c->blocks);
    ebb_arena_finish(&c->arena);
}

/* ---- kernels ---- */

/* By another name what the default is. */
static bool is_own_way(const contest *c, const tune_way *way, const ebb_kernel *kernel)
{
    const ebb_kernel *own = &c->entrants[0].kernel;
    return way->backend == c->entrants[0].way->backend &&
           strcmp(kernel->implementation, own->implementation) == 0 &&
           kernel->scratch_bytes == own->scratch_bytes && kernel->packed_bytes == own->packed_bytes;
}

/* A way that is not possible is left out. */
static ebb_status add_entrant(contest *c, const tune_way *way)
{
    entrant *one = &c->entrants[c->n];
    const ebb_backend *backend = c->e->backends[way->backend];
    const bool is_first = c->n == 0, is_own = strcmp(way->choice.name, OWN_WAY) == 0;
    const ebb_compile_env env = { .allocate = allocate_state,
                                  .context = c,
                                  .error = &c->error,
                                  .choice = is_own ? NULL : way->choice.name };
    *one = (entrant){ .way = way, .is_in = true };
    ebb_status status = backend->compile(backend, c->region, &env, &one->kernel);
    if (status)
        return status == EBB_OUT_OF_MEMORY || is_first ? status : EBB_OK;
    const ebb_kernel *kernel = &one->kernel;
    if (!is_first && is_own_way(c, way, kernel)) {
        if (kernel->destroy)
            kernel->destroy(kernel->state);
        return EBB_OK;
    }
    c->n++;
    if (kernel->scratch_bytes > c->scratch_bytes)
        c->scratch_bytes = kernel->scratch_bytes;
    if (!kernel->packed_bytes)
        return EBB_OK;
    one->packed = ebb_allocate(c->allocator, kernel->packed_bytes);
    if (!one->packed)
        return EBB_OUT_OF_MEMORY;
    return kernel->pack(kernel->state, c->pointers[kernel->packed_input], one->packed);
}

/* The time of `n_times` runs; negative: one failed. */
static int64_t run_entrant(contest *c, const entrant *one, int64_t n_times)
{
    const ebb_region *region = c->region;
    const int index = (int)(one - c->entrants);
    void *plain = NULL;
    ebb_call call = { one->kernel.state, c->pointers, c->pointers + region->n_inputs, c->scratch,
                      &c->error };
    for (int r = 0; r < region->n_results; r++)
        call.results[r] = c->blocks[n_operands(c) + r - (index ? 0 : region->n_results)];
    void **input = &c->pointers[one->kernel.packed_input];
    if (one->packed) {
        plain = *input;
        *input = one->packed;
    }
    ebb_status status = EBB_OK;
    const int64_t start = ebb_now_ns();
    for (int64_t i = 0; i < n_times && !status; i++)
        status = one->kernel.run(&call);
    const int64_t taken = ebb_now_ns() - start;
    if (one->packed)
        *input = plain;
    return status ? -1 : taken;
}

/* Relative rms difference of all F32 results to those of the first entrant. */
static double compare_results(const contest *c)
{
    double difference = 0, all = 0;
    for (int r = 0; r < c->region->n_results; r++) {
        if (c->region->results[r].type->dtype != EBB_F32)
            continue;
        const float *want = c->blocks[c->region->n_inputs + r],
                    *have = c->blocks[n_operands(c) + r];
        for (int64_t i = 0; i < ebb_shape_elements(&c->region->results[r].type->shape); i++) {
            const double d = (double)have[i] - (double)want[i];
            difference += d * d;
            all += (double)want[i] * (double)want[i];
        }
    }
    return difference == 0 ? 0 : sqrt(difference / all);
}

/* The first runs: who computes the right thing, and how long it takes about. What is several times
 * as slow, even for a first run, gets no second one. What is twice as slow is out, if it is so more
 * than once: something else may have run in between. */
static void qualify(contest *c)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < c->n; i++) {
        entrant *one = &c->entrants[i];
        const int64_t first_ns = run_entrant(c, one, 1);
        one->is_in = first_ns >= 0 && first_ns / 4 < least;
        if (one->is_in && i > 0) {
            const double error = compare_results(c), bound = one->way->choice.is_inexact
                                                                 ? c->e->tuner->conv_error
                                                                 : EXACT_ERROR;
            one->is_in = error <= bound;
            if (!one->is_in)
                ebb_tuner_log(c->e->tuner, EBB_LOG_INFO, "autotune: %s: error %.2g is above %.2g",
                              one->way->name, error, bound);
        }
        if (one->is_in)
            one->least_ns = run_entrant(c, one, 1);
        if (one->is_in && one->least_ns < least)
            least = one->least_ns;
    }
    for (int i = 1; i < c->n; i++) {
        entrant *one = &c->entrants[i];
        for (int again = 0; one->is_in && again < 2 && one->least_ns >= 2 * least; again++) {
            const int64_t taken = run_entrant(c, one, 1);
            one->least_ns = taken < one->least_ns ? taken : one->least_ns;
        }
        one->is_in = one->is_in && one->least_ns < 2 * least;
    }
}

static void take_turns(contest *c)
{
    const int64_t end = ebb_now_ns() + MOST_NS;
    for (int round = 0; round < MAX_ROUNDS && (round < LEAST_ROUNDS || ebb_now_ns() < end);
         round++) {
        for (int i = 0; i < c->n; i++) {
            entrant *one = &c->entrants[i];
            if (!one->is_in)
                continue;
            const int64_t n_times = 1 + LEAST_TURN_NS / (one->least_ns + 1);
            const int64_t taken = run_entrant(c, one, n_times) / n_times;
            one->least_ns = taken < one->least_ns ? taken : one->least_ns;
        }
    }
}

static const entrant *find_fastest(const contest *c)
{
    const entrant *best = &c->entrants[0];
    for (int i = 1; i < c->n; i++)
        if (c->entrants[i].is_in && c->entrants[i].least_ns < best->least_ns)
            best = &c->entrants[i];
    const double own = (double)c->entrants[0].least_ns;
    return (double)best->least_ns <= own * (1 - LEAST_GAIN) ? best : &c->entrants[0];
}

/* *fastest: one of the ways, of which the first is the default. */
static ebb_status hold_contest(const ebb_executable *e, const ebb_region *region,
                               const tune_way *ways, int n_ways, const tune_way **fastest)
{
    const ebb_tuner *tuner = e->tuner;
    contest *c = ebb_allocate(tuner->allocator, sizeof *c);
    if (!c)
        return EBB_OUT_OF_MEMORY;
    *c = (contest){ .allocator = tuner->allocator, .e = e, .region = region };
    ebb_status status = open_contest(c) ? EBB_OK : EBB_OUT_OF_MEMORY;
    for (int i = 0; i < n_ways && !status; i++)
        if (!ways[i].choice.is_inexact || tuner->conv_error > 0)
            status = add_entrant(c, &ways[i]);
    if (!status && c->scratch_bytes && !(c->scratch = ebb_allocate(c->allocator, c->scratch_bytes)))
        status = EBB_OUT_OF_MEMORY;
    if (c->scratch) /* else the first run would wait for its pages */
        memset(c->scratch, 0, c->scratch_bytes);
    if (!status && c->n > 1) {
        qualify(c);
        take_turns(c);
    }
    if (!status) {
        const entrant *best = find_fastest(c);
        *fastest = best->way;
        ebb_tuner_log(tuner, EBB_LOG_INFO,
                      "autotune: %s, %d ways: %s, %.1f us; by itself (%s) %.1f us",
                      region->op->name, c->n, best->way->name, (double)best->least_ns * 1e-3,
                      c->entrants[0].kernel.implementation, (double)c->entrants[0].least_ns * 1e-3);
    }
    close_contest(c);
    ebb_release(tuner->allocator, c, sizeof *c);
    return status;
}

/* ---- choosing ---- */

static void write_operand(FILE *out, const ebb_operand *operand)
{
    char text[EBB_TYPE_TEXT_BYTES];
    fprintf(out, " %s:", ebb_type_text(operand->type, text));
    for (int i = 0; i < operand->type->shape.rank; i++)
        fprintf(out, "%s%lld", i ? "," : "", (long long)operand->layout.strides[i]);
    for (int b = 0; b < operand->layout.n_blocks; b++)
        fprintf(out, "/%d:%lld", operand->layout.blocks[b].axis,
                (long long)operand->layout.blocks[b].size);
    if (operand->is_steady)
        fputs(" steady", out);
}

/* False: it is too long. */
static bool write_key(const ebb_tuner *tuner, const ebb_backend *backend, const ebb_region *region,
                      char key[EBB_TUNE_KEY_BYTES])
{
    FILE *out = fmemopen(key, EBB_TUNE_KEY_BYTES, "w");
    if (!out)
        return false;
    fprintf(out, "%s %s", backend->name, region->op->name);
    ebb_text_print_attrs(out, region->op, region->attrs, EBB_TUNE_KEY_BYTES);
    for (int i = 0; i < region->n_inputs; i++)
        write_operand(out, &region->inputs[i]);
    fputs(" ->", out);
    for (int r = 0; r < region->n_results; r++)
        write_operand(out, &region->results[r]);
    fprintf(out, " threads=%d error=%g", region->n_threads, tuner->conv_error);
    const bool fits = fflush(out) == 0 && ftell(out) < EBB_TUNE_KEY_BYTES - 1;
    return fclose(out) == 0 && fits;
}

/* The default, what else that backend knows, and the ways of other backends that have choices. */
static int list_ways(const ebb_executable *e, int first, const ebb_region *region,
                     tune_way ways[MAX_WAYS])
{
    ebb_choice choices[MAX_CHOICES];
    int n = 0;
    ways[n++] = (tune_way){ first, { OWN_WAY, false }, OWN_WAY };
    for (int k = 0; k < e->n_backends; k++) {
        const int b = k == 0 ? first : k - (k <= first); /* `first` before the others */
        const ebb_backend *backend = e->backends[b];
        if (!backend->choices || backend->score(backend, region) == EBB_SCORE_NONE)
            continue;
        const int n_choices = backend->choices(backend, region, choices, MAX_CHOICES);
        for (int i = b == first ? 0 : -1; i < n_choices && n < MAX_WAYS; i++) {
            tune_way *added = &ways[n];
            *added = (tune_way){ b, { OWN_WAY, false }, "" };
            if (i >= 0)
                added->choice = choices[i];
            const int length =
                snprintf(added->name, sizeof added->name, "%s%s%s", b == first ? "" : backend->name,
                         b == first ? "" : ":", added->choice.name);
            n += length > 0 && (size_t)length < sizeof added->name;
        }
    }
    return n;
}

/* NULL: none of that name, or one that is not allowed: a file could say anything. */
static const tune_way *find_way(const ebb_tuner *tuner, const char *name, const tune_way *ways,
                                int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, ways[i].name) == 0)
            return !ways[i].choice.is_inexact || tuner->conv_error > 0 ? &ways[i] : NULL;
    return NULL;
}

ebb_status ebb_tuner_choose(ebb_executable *e, const ebb_region *region, int *backend,
                            const char **choice)
{
    ebb_tuner *tuner = e->tuner;
    char key[EBB_TUNE_KEY_BYTES];
    tune_way ways[MAX_WAYS];
    *choice = NULL;
    const int n = list_ways(e, *backend, region, ways);
    if (n == 1 || !write_key(tuner, e->backends[*backend], region, key))
        return EBB_OK;
    const ebb_tune_line *line = ebb_tuner_find(tuner, key);
    const tune_way *found = line ? find_way(tuner, line->choice, ways, n) : NULL;
    if (line && !found)
        ebb_tuner_log(tuner, EBB_LOG_WARNING, "autotune: %s is no choice for this %s", line->choice,
                      region->op->name);
    if (!found && !tuner->may_time)
        return EBB_OK;
    if (!found) {
        ebb_status status = hold_contest(e, region, ways, n, &found);
        if (status && status != EBB_OUT_OF_MEMORY)
            return EBB_OK; /* compiling it will say why */
        if (status || !ebb_tuner_set(tuner, key, found->name))
            return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "autotune: out of memory");
        tuner->is_changed = true;
        line = ebb_tuner_find(tuner, key);
    }
    *backend = found->backend;
    if (strcmp(found->choice.name, OWN_WAY) == 0)
        return EBB_OK;
    const char *colon = *backend == ways[0].backend ? NULL : strchr(line->choice, ':');
    *choice = colon ? colon + 1 : line->choice;
    return EBB_OK;
}
