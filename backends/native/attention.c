/* attention and its gradient, F32. Scores are computed for a block of queries of one head at a
 * time, turned into probabilities and multiplied while they lie in the second-level cache; what a
 * causal block cannot see is not computed. The gradient computes the probabilities again. A head is
 * one place in the leading dimensions. */
#include "backends/native/native.h"
#include <math.h>
#include <string.h>

enum {
    BLOCK = 32, /* queries at a time: long enough for the sums over them in the gradient */
    PANEL = 64, /* keys side by side in a packed k or v */
    DEPTH =
        128, /* keys that are summed over at a time: such a part of v stays in the first cache */
    N_MATRICES = 7
};

/* [..., rows, columns] with any strides but 1 along a row. */
typedef struct matrices {
    int64_t leading[EBB_MAX_RANK], row;
} matrices;

/* In the order of inputs, then results. */
enum { Q, K, V, Y_OR_DY, DQ, DK, DV };

typedef struct attention_state {
    const ebb_vector_isa *isa;
    bool is_gradient, is_causal;
    float scale;
    int n_leading, n_threads;
    int64_t dims[EBB_MAX_RANK];
    int64_t n_heads, n_queries, n_keys, dim, n_values, n_blocks;
    matrices of[N_MATRICES];
    size_t thread_floats; /* of the scratch of a thread */
} attention_state;

/* What a thread works on: one head. */
typedef struct head {
    const attention_state *state;
    int64_t number;             /* -1: none yet */
    float *at[N_MATRICES];      /* of this head; NULL: not wanted */
    float *k_packed, *v_packed; /* [panel, dim, PANEL]; v only in the gradient */
    const float *k_or_v;        /* in panels of columns: of which rows are added up */
    float *rows_packed;
    float *scores, *cotangents; /* [BLOCK, keys] */
} head;

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* keys 0 .. this - 1 are seen by some query up to `end`. */
static int64_t count_seen(const attention_state *s, int64_t end)
{
    return s->is_causal && end < s->n_keys ? end : s->n_keys;
}

/* ---- packing ---- */

static size_t packed_floats(const attention_state *s, int64_t n_columns)
{
    return (size_t)(divide_up(s->n_keys, PANEL) * PANEL * n_columns);
}

/* from[keys, n_columns] to [panel, n_columns, PANEL] */
static void pack_transposed(const attention_state *s, const float *from, int64_t row,
                            int64_t n_columns, float *to)
{
    for (int64_t key = 0; key < s->n_keys; key += PANEL, to += PANEL * n_columns)
        for (int64_t i = 0; i < n_columns; i += EBB_TRANSPOSED_NEAR) {
            const ebb_transposed t = {
                .from = from + key * row + i,
                .to = to + i * PANEL,
                .from_last = row,
                .to_near = PANEL,
                .n_near = n_columns - i < EBB_TRANSPOSED_NEAR ? n_columns - i : EBB_TRANSPOSED_NEAR,
                .n_last = s->n_keys - key < PANEL ? s->n_keys - key : PANEL,
            };
            s->isa->move->transpose(&t);
        }
}

/* from[keys, n_columns] as panels of columns, [keys, PANEL] each; the last one may be narrower. */
static const float *pack_rows(const attention_state *s, const float *from, int64_t row,
                              int64_t n_columns, float *packed)
{
    float *to = packed;
    if (n_columns <= PANEL && row == n_columns)
        return from;
    for (int64_t i = 0; i < n_columns; i += PANEL) {
        const int64_t width = n_columns - i < PANEL ? n_columns - i : PANEL;
        for (int64_t key = 0; key < s->n_keys; key++, to += width)
            memcpy(to, from + key * row + i, (size_t)width * sizeof *to);
    }
    return packed;
}

static void start_head(head *h, const ebb_call *call, int64_t number)
{
    const attention_state *s = h->state;
    if (h->number == number)
        return;
    h->number = number;
    const int n_inputs = s->is_gradient ? 4 : 3, n_results = s->is_gradient ? 3 : 1;
    for (int i = 0; i < n_inputs + n_results; i++) {
        float *data = i < n_inputs ? call->inputs[i] : call->results[i - n_inputs];
        int64_t rest = number;
        for (int d = s->n_leading - 1; d >= 0 && data; d--) {
            data += rest % s->dims[d] * s->of[i].leading[d];
            rest /= s->dims[d];
        }
        h->at[i] = data;
    }
    pack_transposed(s, h->at[K], s->of[K].row, s->dim, h->k_packed);
    if (s->is_gradient) {
        pack_transposed(s, h->at[V], s->of[V].row, s->n_values, h->v_packed);
        h->k_or_v = pack_rows(s, h->at[K], s->of[K].row, s->dim, h->rows_packed);
    } else
        h->k_or_v = pack_rows(s, h->at[V], s->of[V].row, s->n_values, h->rows_packed);
}

/* ---- products ---- */

/* to[n_rows, seen] = rows packed^T */
static void multiply_keys(const attention_state *s, int64_t n_rows, int64_t seen, const float *rows,
                          int64_t row, int64_t depth, const float *packed, float *to)
{
    for (int64_t key = 0; key < seen; key += PANEL) {
        const ebb_product product = { .m = n_rows,
                                      .n = seen - key < PANEL ? seen - key : PANEL,
                                      .k = depth,
                                      .a = rows,
                                      .a_m = row,
                                      .a_k = 1,
                                      .b = packed + key * depth,
                                      .b_k = PANEL,
                                      .c = to + key,
                                      .c_m = seen };
        s->isa->product_f32->multiply(&product);
    }
}

/* to[n_rows, n] = scores b, where b is packed in rows */
static void sum_over_keys(const attention_state *s, int64_t n_rows, int64_t seen,
                          const float *scores, const float *b, int64_t n, float *to, int64_t row)
{
    for (int64_t i = 0; i < n; i += PANEL) {
        const int64_t width = n - i < PANEL ? n - i : PANEL;
        for (int64_t key = 0; key < seen; key += DEPTH) {
            const ebb_product product = { .m = n_rows,
                                          .n = width,
                                          .k = seen - key < DEPTH ? seen - key : DEPTH,
                                          .a = scores + key,
                                          .a_m = seen,
                                          .a_k = 1,
                                          .b = b + i * s->n_keys + key * width,
                                          .b_k = width,
                                          .c = to + i,
                                          .c_m = row,
                                          .accumulate = key > 0 };
            s->isa->product_f32->multiply(&product);
        }
    }
}

/* to[seen, n] += scores^T b */
static void add_over_queries(const attention_state *s, int64_t n_rows, int64_t seen,
                             const float *scores, const float *b, int64_t b_row, int64_t n,
                             float *to, int64_t row)
{
    const ebb_product product = { .m = seen,
                                  .n = n,
                                  .k = n_rows,
                                  .a = scores,
                                  .a_m = 1,
                                  .a_k = seen,
                                  .b = b,
                                  .b_k = b_row,
                                  .c = to,
                                  .c_m = row,
                                  .accumulate = true };
    s->isa->product_f32->multiply(&product);
}

/* ---- blocks of queries ---- */

/* The probabilities of a block; how many keys it sees. */
static int64_t find_probabilities(const head *h, int64_t begin, int64_t n_rows)
{
    const attention_state *s = h->state;
    const int64_t seen = count_seen(s, begin + n_rows);
    multiply_keys(s, n_rows, seen, h->at[Q] + begin * s->of[Q].row, s->of[Q].row, s->dim,
                  h->k_packed, h->scores);
    s->isa->attention->scale_rows(n_rows, seen, s->is_causal ? begin + 1 : seen, s->scale,
                                  h->scores);
    s->isa->softmax_f32->rows(n_rows, seen, h->scores, h->scores, false);
    return seen;
}

static void run_block(const head *h, int64_t begin, int64_t n_rows)
{
    const attention_state *s = h->state;
    const int64_t seen = find_probabilities(h, begin, n_rows), row = s->of[Y_OR_DY].row;
    sum_over_keys(s, n_rows, seen, h->scores, h->k_or_v, s->n_values, h->at[Y_OR_DY] + begin * row,
                  row);
}

static void run_block_grad(const head *h, int64_t begin, int64_t n_rows)
{
    const attention_state *s = h->state;
    const int64_t seen = find_probabilities(h, begin, n_rows), row = s->of[Y_OR_DY].row;
    const float *dy = h->at[Y_OR_DY] + begin * row;
    if (h->at[DV])
        add_over_queries(s, n_rows, seen, h->scores, dy, row, s->n_values, h->at[DV],
                         s->of[DV].row);
    if (!h->at[DQ] && !h->at[DK])
        return;
    multiply_keys(s, n_rows, seen, dy, row, s->n_values, h->v_packed, h->cotangents);
    s->isa->attention->grad_rows(n_rows, seen, s->scale, h->scores, h->cotangents);
    if (h->at[DQ])
        sum_over_keys(s, n_rows, seen, h->cotangents, h->k_or_v, s->dim,
                      h->at[DQ] + begin * s->of[DQ].row, s->of[DQ].row);
    if (h->at[DK])
        add_over_queries(s, n_rows, seen, h->cotangents, h->at[Q] + begin * s->of[Q].row,
                         s->of[Q].row, s->dim, h->at[DK], s->of[DK].row);
}

static void clear_rows(float *rows, int64_t n, int64_t row, int64_t n_columns)
{
    for (int64_t i = 0; i < n && rows; i++)
        memset(rows + i * row, 0, (size_t)n_columns * sizeof *rows);
}

/* Tasks are blocks of queries, in the gradient whole heads, which add up over their queries. */
static void attention_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const attention_state *s = call->state;
    float *scratch = (float *)call->scratch + (size_t)index * s->thread_floats;
    head h = { .state = s, .number = -1 };
    h.k_packed = scratch;
    h.scores = h.k_packed + packed_floats(s, s->dim);
    h.rows_packed = h.scores + BLOCK * s->n_keys;
    h.cotangents = h.rows_packed + s->n_keys * (s->is_gradient ? s->dim : s->n_values);
    h.v_packed = h.cotangents + BLOCK * s->n_keys;
    const int64_t in_task = s->is_gradient ? s->n_blocks : 1;
    int64_t first, last;
    ebb_parallel_part(s->n_heads * s->n_blocks / in_task, index, n, &first, &last);
    for (int64_t i = first * in_task; i < last * in_task; i++) {
        const int64_t begin = i % s->n_blocks * BLOCK;
        const int64_t n_rows = s->n_queries - begin < BLOCK ? s->n_queries - begin : BLOCK;
        start_head(&h, call, i / s->n_blocks);
        if (s->is_gradient && begin == 0) {
            clear_rows(h.at[DK], s->n_keys, s->of[DK].row, s->dim);
            clear_rows(h.at[DV], s->n_keys, s->of[DV].row, s->n_values);
        }
        if (s->is_gradient)
            run_block_grad(&h, begin, n_rows);
        else
            run_block(&h, begin, n_rows);
    }
}

static ebb_status run_attention(const ebb_call *call)
{
    const attention_state *s = call->state;
    ebb_parallel(s->n_threads, attention_part, (void *)call);
    return EBB_OK;
}

/* ---- compile ---- */

static const ebb_operand *operand_at(const ebb_region *region, int i)
{
    return i < region->n_inputs ? &region->inputs[i] : &region->results[i - region->n_inputs];
}

static int count_operands(const ebb_region *region)
{
    return region->n_inputs + region->n_results;
}

static void read_region(const ebb_region *region, attention_state *s)
{
    const ebb_attention_attrs *attrs = region->attrs;
    const ebb_shape *q = &region->inputs[Q].type->shape, *v = &region->inputs[V].type->shape;
    const int last = q->rank - 1;
    s->is_gradient = region->op == &ebb_op_attention_grad;
    s->is_causal = attrs->causal;
    s->n_queries = q->dims[last - 1];
    s->dim = q->dims[last];
    s->n_keys = v->dims[last - 1];
    s->n_values = v->dims[last];
    s->scale = (float)(attrs->scale != 0 ? attrs->scale
                       : s->dim > 0      ? 1 / sqrt((double)s->dim)
                                         : 1);
    s->n_blocks = divide_up(s->n_queries, BLOCK);
    s->n_leading = last - 1;
    s->n_heads = 1;
    for (int d = 0; d < s->n_leading; d++)
        s->n_heads *= s->dims[d] = q->dims[d];
    for (int i = 0; i < count_operands(region); i++) {
        const int64_t *strides = operand_at(region, i)->layout.strides;
        memcpy(s->of[i].leading, strides, (size_t)s->n_leading * sizeof *strides);
        s->of[i].row = strides[last - 1];
    }
}

/* The input in whose order a result shall lie. */
static int model_of(const ebb_region *region, int result)
{
    return region->op == &ebb_op_attention_grad ? result : Q;
}

/* Dense, but with the dimensions before the last one in the order in which they lie in `model`.
 * False: that has no such order. */
static bool order_as(const ebb_operand *model, const ebb_shape *shape, ebb_layout *layout)
{
    const int last = shape->rank - 1;
    bool is_placed[EBB_MAX_RANK] = { false };
    int64_t size = shape->dims[last];
    *layout = ebb_layout_dense(shape);
    for (int n = 0; n < last; n++) { /* the least stride that is left; of equal ones the last */
        int least = -1;
        for (int d = last - 1; d >= 0; d--)
            if (!is_placed[d] &&
                (least < 0 || model->layout.strides[d] < model->layout.strides[least]))
                least = d;
        if (model->layout.strides[least] <= 0 && shape->dims[least] > 1)
            return false;
        is_placed[least] = true;
        layout->strides[least] = size;
        size *= shape->dims[least];
    }
    return true;
}

bool ebb_native_attention_wish(const ebb_region *region, ebb_layout *results)
{
    for (int r = 0; r < region->n_results; r++)
        if (!order_as(&region->inputs[model_of(region, r)], &region->results[r].type->shape,
                      &results[r]))
            return false;
    return true;
}

/* With few scores the parts are faster: oneDNN multiplies all heads at once, and their scores lie
 * in the caches as well. So they are with fewer heads than threads, as the gradient shares out
 * heads. Figures: docs/decisions/0013-attention.md. */
static bool pays(const ebb_region *region, const attention_state *s)
{
    enum { FEW_CAUSAL = 48 * 48, FEW = 256 * 256, LARGE = 512 * 512 };
    const double n_scores = (double)s->n_queries * (double)s->n_keys;
    if (s->dim == 0 || s->n_values == 0 || s->n_heads == 0)
        return false;
    return n_scores >= (s->is_causal ? FEW_CAUSAL : FEW) &&
           (!s->is_gradient || s->n_heads >= region->n_threads || n_scores < LARGE);
}

static int score_attention(const ebb_region *region)
{
    attention_state s = { 0 };
    ebb_layout wished;
    bool lie_well = true;
    read_region(region, &s);
    for (int i = 0; i < count_operands(region); i++) {
        const ebb_operand *operand = operand_at(region, i);
        const int last = operand->type->shape.rank - 1;
        if (operand->type->dtype != EBB_F32 || operand->layout.n_blocks ||
            (operand->type->shape.dims[last] > 1 && operand->layout.strides[last] != 1))
            return EBB_SCORE_NONE;
    }
    if (!pays(region, &s))
        return EBB_SCORE_NONE;
    for (int r = 0; r < region->n_results && lie_well; r++) {
        const ebb_operand *result = &region->results[r];
        lie_well = !order_as(&region->inputs[model_of(region, r)], &result->type->shape, &wished) ||
                   ebb_layout_agrees(&wished, &result->layout, &result->type->shape);
    }
    return lie_well ? EBB_SCORE_BEST : EBB_SCORE_NATIVE;
}

static ebb_status compile_attention(const ebb_region *region, const ebb_compile_env *env,
                                    ebb_kernel *kernel)
{
    attention_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    read_region(region, s);
    s->isa = ebb_native_isa(env);
    const int64_t n_tasks = s->is_gradient ? s->n_heads : s->n_heads * s->n_blocks;
    /* 64 keys of 64 elements for 32 queries take about 4 us. */
    s->n_threads = ebb_native_threads_for(
        region, n_tasks, s->n_heads * s->n_queries * s->n_keys * (s->dim + s->n_values) / 64,
        2 * BLOCK * PANEL);
    s->thread_floats = packed_floats(s, s->dim) + (size_t)(BLOCK * s->n_keys);
    if (s->is_gradient)
        s->thread_floats += packed_floats(s, s->n_values) + (size_t)((BLOCK + s->dim) * s->n_keys);
    else
        s->thread_floats += (size_t)(s->n_keys * s->n_values);
    s->thread_floats = ebb_native_round_up(s->thread_floats * sizeof(float)) / sizeof(float);
    kernel->scratch_bytes = (size_t)s->n_threads * s->thread_floats * sizeof(float);
    kernel->n_threads = s->n_threads;
    for (int r = 0; r < region->n_results; r++)
        if (s->is_gradient && region->results[r].is_unread)
            kernel->left_out |= 1u << r;
    kernel->run = run_attention;
    kernel->state = s;
    kernel->implementation = s->isa->name;
    return EBB_OK;
}

const ebb_native_kind ebb_native_attention = { score_attention, compile_attention };
