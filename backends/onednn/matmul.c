/* Matrix products, F32, alone and with what follows them. */
#include "backends/onednn/onednn.h"
#include "ops/descriptors.h"
#include "ops/matmul_epilogue.h"
#include <limits.h>

/* A batched product c = a b with everything that does not matter taken out: batch axes of size 1
 * are dropped, neighbors are merged, and a batch over one b becomes more rows. Strides in elements.
 */
typedef struct product {
    int n_batch;
    int64_t batch[EBB_MAX_RANK];
    int64_t a_batch[EBB_MAX_RANK], b_batch[EBB_MAX_RANK], c_batch[EBB_MAX_RANK]; /* 0: repeats */
    int64_t m, n, k;
    int64_t a_row, a_column, b_row, b_column, c_row;
    int64_t n_products;                 /* of the batch sizes */
    const ebb_operand *bias, *residual; /* NULL: none */
    ebb_epilogue epilogue;
} product;

/* How oneDNN computes it. */
typedef enum form {
    FORM_FIRST, /* the implementation that it prefers; on AVX-512 this is brgemm */
    FORM_GEMM,  /* its general matrix multiply */
    FORM_PACKED /* b in oneDNN's own layout, packed when its value changes */
} form;

/* Elements that do not stay in the second-level cache. */
enum { LARGE_RESULT = 1 << 18 };

static double count_multiplies(const product *p)
{
    return (double)p->n_products * (double)p->m * (double)p->n * (double)p->k;
}

/* oneDNN wants a matrix with a unit stride and no overlap. A dimension of size 1 takes whatever
 * stride is natural. */
static bool fix_strides(int64_t n_rows, int64_t n_columns, int64_t *row, int64_t *column)
{
    if (n_columns == 1)
        *column = 1;
    if (n_rows == 1)
        *row = *column == 1 ? n_columns : 1;
    return (*column == 1 && *row >= n_columns) || (*row == 1 && *column >= n_rows);
}

static int64_t batch_stride(const ebb_operand *operand, int from_right)
{
    const ebb_shape *shape = &operand->type->shape;
    int axis = shape->rank - 1 - from_right;
    return axis >= 0 && shape->dims[axis] != 1 ? operand->layout.strides[axis] : 0;
}

static bool is_dense(const ebb_operand *operand)
{
    return !operand || ebb_layout_is_dense(&operand->layout, &operand->type->shape);
}

/* The operands behind a and b. False if it is nothing for oneDNN. */
static bool read_epilogue(const ebb_region *region, product *p)
{
    if (region->op == &ebb_op_matmul)
        return true;
    p->epilogue = ((const ebb_matmul_epilogue_attrs *)region->attrs)->epilogue;
    p->residual = p->epilogue.residual ? &region->inputs[region->n_inputs - 1] : NULL;
    p->bias = region->n_inputs - p->epilogue.residual > 2 ? &region->inputs[2] : NULL;
    return is_dense(p->residual) && is_dense(p->bias);
}

/* False if it is nothing for oneDNN. */
static bool read_product(const ebb_region *region, product *p)
{
    const ebb_operand *a = &region->inputs[0], *b = &region->inputs[1], *c = &region->results[0];
    const ebb_matmul_attrs *attrs =
        region->op == &ebb_op_matmul ? region->attrs
                                     : &((const ebb_matmul_epilogue_attrs *)region->attrs)->matmul;
    if (a->type->dtype != EBB_F32 || b->type->dtype != EBB_F32 || c->type->dtype != EBB_F32)
        return false;
    int a_rank = a->type->shape.rank, b_rank = b->type->shape.rank, c_rank = c->type->shape.rank;
    if (ebb_shape_elements(&c->type->shape) == 0 || ebb_shape_elements(&a->type->shape) == 0)
        return false;
    int a_m = attrs->transpose_a ? a_rank - 1 : a_rank - 2, a_k = 2 * a_rank - 3 - a_m;
    int b_n = attrs->transpose_b ? b_rank - 2 : b_rank - 1, b_k = 2 * b_rank - 3 - b_n;
    *p = (product){
        .m = a->type->shape.dims[a_m],
        .n = b->type->shape.dims[b_n],
        .k = a->type->shape.dims[a_k],
        .a_row = a->layout.strides[a_m],
        .a_column = a->layout.strides[a_k],
        .b_row = b->layout.strides[b_k],
        .b_column = b->layout.strides[b_n],
        .n_products = 1,
    };
    p->c_row = p->n;
    if (!read_epilogue(region, p) || !fix_strides(p->m, p->k, &p->a_row, &p->a_column) ||
        !fix_strides(p->k, p->n, &p->b_row, &p->b_column))
        return false;
    int64_t c_stride = p->m * p->n;
    for (int i = 2; i < c_rank; i++) { /* from the innermost batch axis outwards */
        int64_t size = c->type->shape.dims[c_rank - 1 - i];
        int64_t a_stride = batch_stride(a, i), b_stride = batch_stride(b, i);
        if (size == 1)
            continue;
        if (a_stride < 0 || b_stride < 0 || (a_stride == 0 && b_stride == 0))
            return false; /* oneDNN repeats one side only */
        int last = p->n_batch - 1;
        if (last >= 0 && a_stride == p->a_batch[last] * p->batch[last] &&
            b_stride == p->b_batch[last] * p->batch[last]) {
            p->batch[last] *= size;
        } else if (last < 0 && b_stride == 0 && p->a_column == 1 && a_stride == p->m * p->a_row) {
            p->m *= size;
        } else {
            p->batch[p->n_batch] = size;
            p->a_batch[p->n_batch] = a_stride;
            p->b_batch[p->n_batch] = b_stride;
            p->c_batch[p->n_batch] = c_stride;
            p->n_batch++;
        }
        c_stride *= size;
    }
    for (int i = 0; i < p->n_batch; i++)
        p->n_products *= p->batch[i];
    int64_t limit = INT_MAX; /* inside, oneDNN computes with int in places */
    return p->m <= limit && p->n <= limit && p->k <= limit && p->n_products <= limit &&
           p->a_row <= limit && p->a_column <= limit && p->b_row <= limit && p->b_column <= limit;
}

/* Below 64^3 multiplications a second thread costs more than it saves. */
static int choose_threads(const product *p, const ebb_region *region)
{
    return count_multiplies(p) < 64.0 * 64 * 64 ? 1 : region->n_threads;
}

/* By measurement on AVX-512 with oneDNN 2.6.3 and 3.2. brgemm copies a plain b on every run, which
 * shows when b is large or the rows are few, and is slow at transposed a; general gemm is slow at
 * transposed b and at small work. A packed b pays up to about a hundred rows; but not for one row,
 * which general gemm multiplies as a vector, nor where columns do not fill brgemm's 64: there
 * general gemm takes as long with a plain b, and no second b is kept. inner_product runs the same
 * two kernels and is never faster. */
static form choose_form(const product *p, bool b_is_steady)
{
    bool a_is_transposed = p->a_column != 1, b_is_transposed = p->b_column != 1;
    double multiplies = (double)p->m * (double)p->n * (double)p->k;
    if (p->n_batch == 0 && p->n * p->k >= 64 * 64 &&
        (p->m == 1 || (!a_is_transposed && !b_is_transposed && p->m <= 32 && p->n % 64 != 0 &&
                       p->n * p->k >= 1 << 17)))
        return FORM_GEMM;
    if (b_is_steady && p->n_batch == 0 && !a_is_transposed && p->m <= 128 && p->n * p->k >= 64 * 64)
        return FORM_PACKED;
    /* General gemm goes over its result once more for what follows. */
    const bool has_more = p->bias || p->residual || p->epilogue.relu;
    if (has_more && p->n_products * p->m * p->n >= LARGE_RESULT)
        return FORM_FIRST;
    /* Columns of a transposed a that are 4 KiB apart fall on the same lines of the first-level
     * cache while general gemm packs them. */
    if (a_is_transposed && p->a_column % 1024 == 0 && p->n <= 512)
        return FORM_FIRST;
    if (!b_is_transposed &&
        ((a_is_transposed && multiplies >= 64.0 * 64 * 64) || p->n * p->k >= 1 << 17))
        return FORM_GEMM;
    return FORM_FIRST;
}

int ebb_onednn_threads_matmul(const ebb_region *region)
{
    product p;
    return read_product(region, &p) ? choose_threads(&p, region) : 1;
}

int ebb_onednn_score_matmul(const ebb_region *region)
{
    product p;
    if (!read_product(region, &p))
        return EBB_SCORE_NONE;
    /* Below, what it costs to execute a primitive at all shows; Ebb's own loops are faster. */
    return count_multiplies(&p) < 32.0 * 32 * 32 ? EBB_SCORE_GENERIC : EBB_SCORE_NATIVE;
}

/* The descriptor of a [batch..., rows, columns] operand. */
static dnnl_status_t describe(const product *p, const int64_t *batch_strides, int64_t n_rows,
                              int64_t n_columns, int64_t row, int64_t column, dn_desc *desc)
{
    dnnl_dims_t dims = { 0 }, strides = { 0 };
    int rank = p->n_batch + 2;
    for (int i = 0; i < p->n_batch; i++) {
        int from = p->n_batch - 1 - i; /* the product has its innermost batch axis first */
        bool repeats = batch_strides[from] == 0;
        dims[i] = repeats ? 1 : p->batch[from];
        strides[i] = repeats ? n_rows * n_columns : batch_strides[from];
    }
    dims[rank - 2] = n_rows;
    dims[rank - 1] = n_columns;
    strides[rank - 2] = row;
    strides[rank - 1] = column;
    return dn_desc_strided(desc, rank, dims, dnnl_f32, strides);
}

/* Descriptors of one matmul. */
typedef struct described {
    dn_desc a, b, c, bias, any; /* any: in the place of b, for oneDNN to choose */
    dnnl_primitive_attr_t attr; /* what follows */
    dnnl_primitive_desc_t pd;
} described;

static void finish_descriptors(described *d)
{
    if (d->pd)
        dnnl_primitive_desc_destroy(d->pd);
    if (d->attr)
        dnnl_primitive_attr_destroy(d->attr);
    dn_desc_finish(&d->any);
    dn_desc_finish(&d->bias);
    dn_desc_finish(&d->c);
    dn_desc_finish(&d->b);
    dn_desc_finish(&d->a);
    *d = (described){ 0 };
}

/* Makes the primitive, binds its operands, and with FORM_PACKED makes the reorder of b. */
static ebb_status make_product(const product *p, form chosen, const described *d,
                               const ebb_compile_env *env, ebb_onednn_state *state,
                               ebb_kernel *kernel)
{
    dn_view b = dn_desc_view(&d->b);
    dn_view weights = chosen == FORM_PACKED ? dn_query(d->pd, dnnl_query_weights_md) : b;
    ebb_onednn_primitive *main = &state->main;
    ebb_error *error = env->error;
    ebb_status status = ebb_onednn_make(state, d->pd, "matmul", env, kernel);
    if (!status)
        status = ebb_onednn_bind(state, main, DNNL_ARG_SRC, dn_desc_view(&d->a), EBB_ONEDNN_INPUT,
                                 0, NULL, error);
    if (!status)
        status = ebb_onednn_bind(state, main, DNNL_ARG_WEIGHTS, weights, EBB_ONEDNN_INPUT, 1, NULL,
                                 error);
    if (!status)
        status = ebb_onednn_bind(state, main, DNNL_ARG_DST, dn_desc_view(&d->c), EBB_ONEDNN_RESULT,
                                 0, NULL, error);
    if (!status && p->bias)
        status = ebb_onednn_bind(state, main, DNNL_ARG_BIAS, dn_desc_view(&d->bias),
                                 EBB_ONEDNN_INPUT, 2, NULL, error);
    if (!status && chosen == FORM_PACKED)
        status = ebb_onednn_make_pack(state, b, weights, 1, env, kernel);
    return status;
}

/* One row for all: [1..., columns]. */
static dnnl_status_t describe_bias(const product *p, dn_desc *desc)
{
    dnnl_dims_t dims = { 0 }, strides = { 0 };
    const int rank = p->n_batch + 2;
    for (int i = 0; i < rank; i++) {
        dims[i] = i == rank - 1 ? p->n : 1;
        strides[i] = i == rank - 1 ? 1 : p->n;
    }
    return dn_desc_strided(desc, rank, dims, dnnl_f32, strides);
}

static dnnl_status_t describe_product(const product *p, form chosen, const ebb_onednn_state *state,
                                      described *d)
{
    dnnl_status_t status = describe(p, p->a_batch, p->m, p->k, p->a_row, p->a_column, &d->a);
    if (status == dnnl_success)
        status = describe(p, p->b_batch, p->k, p->n, p->b_row, p->b_column, &d->b);
    if (status == dnnl_success)
        status = describe(p, p->c_batch, p->m, p->n, p->c_row, 1, &d->c);
    if (status == dnnl_success && chosen == FORM_PACKED)
        status =
            dn_desc_tagged(&d->any, 2, (dnnl_dims_t){ p->k, p->n }, dnnl_f32, dnnl_format_tag_any);
    if (status == dnnl_success && p->bias)
        status = describe_bias(p, &d->bias);
    if (status == dnnl_success)
        status = ebb_onednn_epilogue_attr(state, &p->epilogue, &d->attr);
    if (status == dnnl_success)
        status = dn_matmul(&d->pd, state->engine, dn_desc_view(&d->a),
                           dn_desc_view(chosen == FORM_PACKED ? &d->any : &d->b),
                           p->bias ? dn_desc_view(&d->bias) : NULL, dn_desc_view(&d->c), d->attr);
    if (status == dnnl_success && chosen == FORM_GEMM)
        status = dn_prefer(&d->pd, "gemm:jit");
    return status;
}

static ebb_status compile_form(const product *p, form chosen, const ebb_compile_env *env,
                               ebb_onednn_state *state, ebb_kernel *kernel)
{
    described d = { 0 };
    ebb_status status =
        ebb_onednn_check(describe_product(p, chosen, state, &d), "matmul", env->error);
    if (!status)
        status = make_product(p, chosen, &d, env, state, kernel);
    finish_descriptors(&d);
    return status;
}

ebb_status ebb_onednn_compile_matmul(const ebb_region *region, const ebb_compile_env *env,
                                     ebb_onednn_state *state, ebb_kernel *kernel)
{
    product p;
    if (!read_product(region, &p))
        return ebb_fail(env->error, EBB_UNSUPPORTED, "oneDNN does not take this matmul");
    form chosen = choose_form(&p, region->inputs[1].is_steady);
    ebb_status status = compile_form(&p, chosen, env, state, kernel);
    if (status == EBB_UNSUPPORTED && chosen != FORM_FIRST) {
        /* The special forms may be missing on another processor. */
        ebb_onednn_clear(state);
        status = compile_form(&p, FORM_FIRST, env, state, kernel);
    }
    if (p.residual) {
        state->residual.input = region->n_inputs - 1;
        state->residual.n = ebb_shape_elements(&p.residual->type->shape);
        kernel->inplace_inputs = 1u << state->residual.input;
    }
    return status;
}
