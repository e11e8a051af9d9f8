/* Reductions of values in programs. */
#include "backends/native/tile_folds.h"
#include "ops/build.h"
#include <string.h>

enum {
    LEAST_DIRECT = 32, /* results, so that parts of whole runs can be shared out */
    ROWS_IN_T = 32     /* rows that are added up before their sum goes on as doubles */
};

bool ebb_tile_fold_make(const ebb_instruction *instruction, ebb_dtype dtype, const ebb_shape *shape,
                        const ebb_vector_isa *isa, ebb_tile_fold *fold)
{
    const ebb_reduce_attrs *attrs = instruction->attrs;
    const unsigned mask = ebb_axes_mask(&attrs->axes, shape->rank);
    int64_t dims[3] = { 1, 1, 1 }; /* from the last one: run, kept, a */
    int at = 0;
    *fold = (ebb_tile_fold){ .kind = ebb_reduce_kind_of(instruction->op), .dtype = dtype };
    if (!fold->kind || fold->kind->is_pair || !ebb_dtype_is_float(dtype))
        return false;
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (shape->dims[i] == 1)
            continue;
        const bool is_reduced = mask & 1u << i;
        if (is_reduced != (at % 2 == 0) && ++at == 3)
            return false;
        dims[at] *= shape->dims[i];
    }
    fold->run = dims[0];
    fold->kept = dims[1];
    fold->divisor = (double)(dims[0] * dims[2]);
    fold->table = dtype == EBB_F32 ? isa->reduce_f32 : isa->reduce_f64;
    fold->is_direct = dims[2] == 1 && fold->kept >= LEAST_DIRECT;
    if (fold->run > 1 && fold->run <= EBB_TILE_SHORT_RUN &&
        (!fold->is_direct || fold->kind->fold != EBB_REDUCE_SUM))
        return false;
    return fold->divisor > 1;
}

void ebb_tile_fold_begin(ebb_tile_fold_at *at, char *partials, int64_t part)
{
    const ebb_tile_fold *f = at->fold;
    const int64_t n = f->is_direct ? 1 : f->kept;
    at->sums = f->is_direct ? &at->sum : (double *)(void *)(partials + f->offset) + part * n;
    for (int64_t k = 0; k < n; k++)
        at->sums[k] = f->kind->start;
    at->n_rows = 0;
}

/* ---- columns ---- */

static void add_rows(const ebb_tile_fold *f, const char *x, int64_t n_rows, int64_t n, double *sums)
{
    for (int64_t begin = 0; begin < n; begin += EBB_REDUCE_COLUMNS) {
        const int64_t width = n - begin < EBB_REDUCE_COLUMNS ? n - begin : EBB_REDUCE_COLUMNS;
        f->table->rows[f->kind->fold](n_rows, n_rows == 1 ? 0 : f->kept, width,
                                      x + (size_t)begin * ebb_dtype_bytes(f->dtype), sums + begin);
    }
}

/* Columns column, column + 1, .. of one row: added up in T first. */
static void add_part_of_row(ebb_tile_fold_at *at, const char *x, int64_t column, int64_t n)
{
    const ebb_tile_fold *f = at->fold;
    const size_t bytes = ebb_dtype_bytes(f->dtype);
    char *rows = at->rows + (size_t)column * bytes;
    if (at->n_rows == 0)
        memcpy(rows, x, (size_t)n * bytes);
    else
        f->add(n, rows, (const void *const[]){ rows, x, NULL });
    if (column + n == f->kept && ++at->n_rows == ROWS_IN_T)
        ebb_tile_fold_end(at);
}

static void fold_columns(ebb_tile_fold_at *at, const char *x, int64_t begin, int64_t n)
{
    const ebb_tile_fold *f = at->fold;
    const size_t bytes = ebb_dtype_bytes(f->dtype);
    while (n > 0) {
        const int64_t column = begin % f->kept;
        int64_t length = f->kept - column < n ? f->kept - column : n;
        if (f->add) {
            add_part_of_row(at, x, column, length);
        } else if (column == 0 && n >= f->kept) {
            length = n / f->kept * f->kept;
            add_rows(f, x, n / f->kept, f->kept, at->sums);
        } else {
            add_rows(f, x, 1, length, at->sums + column);
        }
        begin += length;
        x += (size_t)length * bytes;
        n -= length;
    }
}

/* ---- runs ---- */

/* Dense whole runs. */
static void fold_short_runs(ebb_tile_fold_at *at, const char *x, int64_t first, int64_t n)
{
    const ebb_tile_fold *f = at->fold;
    char *to = (char *)at->results + (size_t)first * ebb_dtype_bytes(f->dtype);
    f->table->short_sum_rows(n, f->run, x, to);
    if (f->kind->op != &ebb_op_reduce_mean)
        return;
    for (int64_t i = 0; i < n; i++)
        ebb_reduce_write(f->kind, f->dtype, f->divisor,
                         f->dtype == EBB_F32 ? (double)((float *)(void *)to)[i]
                                             : ((double *)(void *)to)[i],
                         0, to, i);
}

static void fold_runs(ebb_tile_fold_at *at, const char *x, int64_t begin, int64_t n)
{
    const ebb_tile_fold *f = at->fold;
    const size_t bytes = ebb_dtype_bytes(f->dtype);
    int64_t run = begin / f->run, in_run = begin % f->run;
    if (f->run <= EBB_TILE_SHORT_RUN && in_run == 0 && n % f->run == 0 && f->is_direct) {
        fold_short_runs(at, x, run, n / f->run);
        return;
    }
    while (n > 0) {
        const int64_t left = f->run - in_run, length = left < n ? left : n;
        double *sum = f->is_direct ? at->sums : &at->sums[run % f->kept];
        *sum = ebb_reduce_combine(f->kind, *sum, f->table->run[f->kind->fold](length, x));
        if (f->is_direct && length == left) {
            ebb_reduce_write(f->kind, f->dtype, f->divisor, *sum, 0, at->results, run);
            *sum = f->kind->start;
        }
        x += (size_t)length * bytes;
        n -= length;
        in_run = 0;
        run++;
    }
}

void ebb_tile_fold_run(int64_t n, void *nothing, const void *const *inputs)
{
    ebb_tile_fold_at *at = (ebb_tile_fold_at *)(uintptr_t)inputs[1];
    (void)nothing;
    if (at->fold->run == 1 && at->fold->kept > 1)
        fold_columns(at, inputs[0], *at->position, n);
    else
        fold_runs(at, inputs[0], *at->position, n);
}

void ebb_tile_fold_end(ebb_tile_fold_at *at)
{
    if (at->n_rows > 0)
        add_rows(at->fold, at->rows, 1, at->fold->kept, at->sums);
    at->n_rows = 0;
}

void ebb_tile_fold_combine(const ebb_tile_fold *fold, const char *partials, int64_t n_parts,
                           int64_t begin, int64_t end, void *results)
{
    const double *sums = (const double *)(const void *)(partials + fold->offset);
    for (int64_t k = begin; k < end; k++) {
        double sum = sums[k];
        for (int64_t part = 1; part < n_parts; part++)
            sum = ebb_reduce_combine(fold->kind, sum, sums[part * fold->kept + k]);
        ebb_reduce_write(fold->kind, fold->dtype, fold->divisor, sum, 0, results, k);
    }
}
