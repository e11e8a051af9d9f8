/* Simplify: compositions of reshape, transpose, broadcast_to and reductions. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/slice.h"
#include "passes/rules.h"

#include <math.h>

#include "passes/pattern.h"

static const ebb_shape *shape_of(ebb_node node)
{
    return &ebb_node_type(node)->shape;
}

static bool a_has_root_type(const ebb_match *match)
{
    return ebb_type_equal(ebb_node_type(match->operands[0]), match->type);
}

/* ---- reshape ---- */

static ebb_node build_reshape(const ebb_match *match)
{
    return ebb_reshape(match->operands[0], match->type->shape);
}

static bool is_one_element(const ebb_shape *shape)
{
    return ebb_shape_elements(shape) == 1;
}

/* `shape` with ones in front, up to `rank`. */
static ebb_shape pad_shape(const ebb_shape *shape, int rank)
{
    ebb_shape padded = { .rank = rank };
    for (int i = 0; i < rank; i++) {
        int from = i - (rank - shape->rank);
        padded.dims[i] = from < 0 ? 1 : shape->dims[from];
    }
    return padded;
}

/* The shape for x such that reshape(broadcast_to(x)) = broadcast_to(reshape(x)): the root's
 * dimensions that are not 1 must be those of the broadcast, in the same order. */
static bool find_shape_before_broadcast(const ebb_match *match, ebb_shape *before)
{
    const ebb_shape *from = shape_of(match->inputs[0]), *to = &match->type->shape;
    if (is_one_element(shape_of(match->operands[0]))) {
        *before = EBB_SCALAR;
        return true;
    }
    ebb_shape padded = pad_shape(shape_of(match->operands[0]), from->rank);
    *before = (ebb_shape){ .rank = to->rank };
    int i = 0;
    for (int o = 0; o < to->rank; o++) {
        before->dims[o] = 1;
        if (to->dims[o] == 1)
            continue;
        while (i < from->rank && from->dims[i] == 1)
            i++;
        if (i == from->rank || from->dims[i] != to->dims[o])
            return false;
        before->dims[o] = padded.dims[i++];
    }
    while (i < from->rank && from->dims[i] == 1)
        i++;
    return i == from->rank;
}

static bool reshape_passes_broadcast(const ebb_match *match)
{
    ebb_shape before;
    return find_shape_before_broadcast(match, &before);
}

static ebb_node build_broadcast_of_reshape(const ebb_match *match)
{
    ebb_shape before;
    find_shape_before_broadcast(match, &before);
    return ebb_broadcast_to(ebb_reshape(match->operands[0], before), match->type->shape);
}

/* ---- broadcast_to ---- */

static ebb_node build_broadcast(const ebb_match *match)
{
    return ebb_broadcast_to(match->operands[0], match->type->shape);
}

static bool repeats_nothing(const ebb_match *match)
{
    return ebb_shape_elements(shape_of(match->operands[0])) ==
           ebb_shape_elements(&match->type->shape);
}

static int leading_ones(const ebb_shape *shape)
{
    int n = 0;
    while (n < shape->rank && shape->dims[n] == 1)
        n++;
    return n;
}

/* True if a reshape in front of a broadcast only adds or removes leading ones. */
static bool reshape_adds_leading_ones(const ebb_match *match)
{
    const ebb_shape *a = shape_of(match->operands[0]), *b = shape_of(match->inputs[0]);
    int at = leading_ones(a), bt = leading_ones(b);
    if (a->rank > match->type->shape.rank || a->rank - at != b->rank - bt)
        return false;
    for (int i = 0; i < a->rank - at; i++) {
        if (a->dims[at + i] != b->dims[bt + i])
            return false;
    }
    return true;
}

/* ---- transpose ---- */

static ebb_axes all_axes(const void *transpose_attrs, int rank)
{
    const ebb_axes *axes = &((const ebb_transpose_attrs *)transpose_attrs)->axes;
    ebb_axes full = { .n = rank };
    for (int i = 0; i < rank; i++)
        full.axes[i] = axes->n ? ebb_axis_of(axes->axes[i], rank) : rank - 1 - i;
    return full;
}

/* True if the dimensions that are not 1 stay in their order: the elements do too. */
static bool transpose_keeps_order(const ebb_match *match)
{
    const ebb_shape *from = shape_of(match->inputs[0]);
    ebb_axes axes = all_axes(match->attrs, from->rank);
    int last = -1;
    for (int i = 0; i < from->rank; i++) {
        if (from->dims[axes.axes[i]] == 1)
            continue;
        if (axes.axes[i] < last)
            return false;
        last = axes.axes[i];
    }
    return true;
}

static ebb_node build_one_transpose(const ebb_match *match)
{
    int rank = match->type->shape.rank;
    ebb_axes outer = all_axes(match->attrs, rank);
    ebb_axes inner = all_axes(ebb_node_attrs(match->inputs[0]), rank), both = { .n = rank };
    for (int i = 0; i < rank; i++)
        both.axes[i] = inner.axes[outer.axes[i]];
    return ebb_transpose(match->operands[0], both);
}

static ebb_node build_broadcast_of_transpose(const ebb_match *match)
{
    ebb_node x = match->operands[0];
    int rank = match->type->shape.rank;
    if (is_one_element(shape_of(x)))
        return ebb_broadcast_to(ebb_reshape(x, EBB_SCALAR), match->type->shape);
    x = ebb_reshape(x, pad_shape(shape_of(x), rank));
    return ebb_broadcast_to(ebb_transpose(x, all_axes(match->attrs, rank)), match->type->shape);
}

/* ---- reductions ---- */

static unsigned reduced_mask(const void *reduce_attrs, const ebb_shape *shape)
{
    return ebb_axes_mask(&((const ebb_reduce_attrs *)reduce_attrs)->axes, shape->rank);
}

static ebb_axes axes_of_mask(unsigned mask)
{
    ebb_axes axes = { 0 };
    for (int i = 0; i < EBB_MAX_RANK; i++) {
        if (mask & 1u << i)
            axes.axes[axes.n++] = i;
    }
    return axes;
}

static ebb_node emit_reduce(const ebb_match *match, ebb_node x, unsigned mask, bool keep)
{
    ebb_reduce_attrs attrs = { axes_of_mask(mask), keep };
    return ebb_emit(match->graph, match->op, &x, 1, &attrs, NULL);
}

static bool reduces_one_element_each(const ebb_match *match)
{
    return ebb_shape_elements(shape_of(match->inputs[0])) ==
               ebb_shape_elements(&match->type->shape) &&
           ebb_shape_elements(&match->type->shape) > 0;
}

/* The axes of two reductions, the inner one first, as one mask over the inner one's input. */
static void merge_masks(const ebb_match *match, unsigned *inner, unsigned *outer)
{
    const ebb_shape *x = shape_of(match->operands[0]);
    const ebb_reduce_attrs *first = ebb_node_attrs(match->inputs[0]);
    unsigned second = reduced_mask(match->attrs, shape_of(match->inputs[0]));
    *inner = reduced_mask(first, x);
    *outer = 0;
    for (int i = 0, at = 0; i < x->rank; i++) {
        if (!first->keep && (*inner & 1u << i))
            continue;
        if (second & 1u << at)
            *outer |= 1u << i;
        at++;
    }
}

static bool reductions_can_merge(const ebb_match *match)
{
    return ((const ebb_reduce_attrs *)match->attrs)->keep ==
               ((const ebb_reduce_attrs *)ebb_node_attrs(match->inputs[0]))->keep &&
           ebb_shape_elements(shape_of(match->operands[0])) > 0;
}

/* The inner axes lie behind the outer ones: one reduction meets the elements in the same order as
 * two. */
static bool reductions_merge_in_order(const ebb_match *match)
{
    unsigned inner, outer;
    merge_masks(match, &inner, &outer);
    outer &= ~inner;
    return reductions_can_merge(match) && (inner == 0 || outer < (inner & (~inner + 1)));
}

static ebb_node build_one_reduce(const ebb_match *match)
{
    unsigned inner, outer;
    merge_masks(match, &inner, &outer);
    if ((inner | outer) == 0)
        return match->inputs[0];
    return emit_reduce(match, match->operands[0], inner | outer,
                       ((const ebb_reduce_attrs *)match->attrs)->keep);
}

/* How often a reduction of a broadcast meets each element of what is broadcast; 0 if the value is
 * empty. */
static int64_t count_repeats(const ebb_match *match)
{
    const ebb_shape *from = shape_of(match->inputs[0]);
    ebb_shape padded = pad_shape(shape_of(match->operands[0]), from->rank);
    unsigned mask = reduced_mask(match->attrs, from);
    int64_t repeats = ebb_shape_elements(from) > 0;
    for (int i = 0; i < from->rank; i++) {
        if ((mask & 1u << i) && padded.dims[i] == 1)
            repeats *= from->dims[i];
    }
    return repeats;
}

static bool repeats_not_empty(const ebb_match *match)
{
    return count_repeats(match) > 0;
}

static bool repeats_once(const ebb_match *match)
{
    return count_repeats(match) == 1;
}

static bool repeats_fit_dtype(const ebb_match *match)
{
    int64_t repeats = count_repeats(match), most = (int64_t)1 << 53;
    if (match->type->dtype == EBB_U8)
        most = UINT8_MAX;
    else if (match->type->dtype == EBB_I32)
        most = INT32_MAX;
    return repeats > 0 && repeats <= most;
}

/* Reduces what is broadcast, with the dimensions of the broadcast, and broadcasts what is left. */
static ebb_node reduce_before_broadcast(const ebb_match *match, int64_t factor)
{
    const ebb_shape *from = shape_of(match->inputs[0]);
    const ebb_reduce_attrs *attrs = match->attrs;
    ebb_node x =
        ebb_reshape(match->operands[0], pad_shape(shape_of(match->operands[0]), from->rank));
    unsigned mask = reduced_mask(attrs, from);
    if (mask)
        x = emit_reduce(match, x, mask, attrs->keep);
    if (factor > 1)
        x = ebb_mul(x, ebb_full_like(x, (double)factor));
    return ebb_broadcast_to(x, match->type->shape);
}

static ebb_node build_reduce_of_broadcast(const ebb_match *match)
{
    return reduce_before_broadcast(match, 1);
}

static ebb_node build_sum_of_broadcast(const ebb_match *match)
{
    return reduce_before_broadcast(match, count_repeats(match));
}

static bool reduces_all(const ebb_match *match)
{
    const ebb_shape *from = shape_of(match->inputs[0]);
    return reduced_mask(match->attrs, from) == (1u << from->rank) - 1u &&
           match->type->shape.rank == 0;
}

static ebb_node build_reduce_all(const ebb_match *match)
{
    ebb_reduce_attrs attrs = { .keep = false };
    attrs.axes = axes_of_mask((1u << shape_of(match->operands[0])->rank) - 1u);
    return ebb_emit(match->graph, match->op, &match->operands[0], 1, &attrs, NULL);
}

/* The root reshapes a reduction into what the other value of `keep` gives. */
static bool reshape_turns_keep(const ebb_match *match)
{
    ebb_node reduction = match->inputs[0];
    const ebb_reduce_attrs *attrs = ebb_node_attrs(reduction);
    const ebb_shape *x = shape_of(match->operands[0]);
    unsigned mask = reduced_mask(attrs, x);
    ebb_shape turned = { 0 };
    for (int i = 0; i < x->rank; i++) {
        if (!(mask & 1u << i))
            turned.dims[turned.rank++] = x->dims[i];
        else if (!attrs->keep)
            turned.dims[turned.rank++] = 1;
    }
    return ebb_match_is_only_use(match, reduction) && ebb_shape_equal(&turned, &match->type->shape);
}

static ebb_node build_turned_reduce(const ebb_match *match)
{
    ebb_reduce_attrs attrs = *(const ebb_reduce_attrs *)ebb_node_attrs(match->inputs[0]);
    attrs.keep = !attrs.keep;
    return ebb_emit(match->graph, ebb_node_op(match->inputs[0]), &match->operands[0], 1, &attrs,
                    NULL);
}

/* ---- sums of slice_grads ---- */

enum { MOST_SLICES = 32 };

/* What a tree of sums adds: slice_grads that lie one behind the other along `axis`, in that order,
 * and at most one value more. */
typedef struct slice_sum {
    int n, axis;
    ebb_node slices[MOST_SLICES], other;
    int64_t starts[MOST_SLICES];
} slice_sum;

/* Puts a slice_grad in its place. False if it leaves more than one axis partly empty, or another
 * one than those before it. */
static bool add_slice(slice_sum *sum, ebb_node node)
{
    const ebb_slice_grad_attrs *attrs = ebb_node_attrs(node);
    ebb_slice_range ranges[EBB_MAX_RANK];
    ebb_slice_ranges(&attrs->slice, &attrs->shape, ranges);
    int axis = -1;
    for (int d = 0; d < attrs->shape.rank; d++) {
        if (ranges[d].step != 1)
            return false;
        if (ranges[d].n == attrs->shape.dims[d])
            continue;
        if (axis >= 0)
            return false;
        axis = d;
    }
    if (axis < 0 || (sum->n > 0 && sum->axis != axis) || sum->n == MOST_SLICES)
        return false;
    sum->axis = axis;
    int at = sum->n++;
    for (; at > 0 && sum->starts[at - 1] > ranges[axis].start; at--) {
        sum->starts[at] = sum->starts[at - 1];
        sum->slices[at] = sum->slices[at - 1];
    }
    sum->starts[at] = ranges[axis].start;
    sum->slices[at] = node;
    return true;
}

/* Sums and slice_grads that others use too are values like any. */
static bool find_slice_sum(const ebb_match *match, slice_sum *sum)
{
    ebb_node waiting[MOST_SLICES + 2];
    int n_waiting = 0;
    sum->n = 0;
    sum->other = EBB_NONE;
    waiting[n_waiting++] = match->inputs[0];
    waiting[n_waiting++] = match->inputs[1];
    while (n_waiting > 0) {
        const ebb_node node = waiting[--n_waiting];
        const bool is_ours = ebb_match_is_only_use(match, node);
        if (is_ours && ebb_node_op(node) == &ebb_op_add && n_waiting <= MOST_SLICES) {
            waiting[n_waiting++] = ebb_node_input(node, 0);
            waiting[n_waiting++] = ebb_node_input(node, 1);
        } else if (is_ours && ebb_node_op(node) == &ebb_op_slice_grad) {
            if (!add_slice(sum, node))
                return false;
        } else if (sum->other.id) {
            return false;
        } else {
            sum->other = node;
        }
    }
    int64_t end = 0;
    for (int i = 0; i < sum->n; i++) {
        if (sum->starts[i] != end)
            return false;
        end += shape_of(ebb_node_input(sum->slices[i], 0))->dims[sum->axis];
    }
    return sum->n > 1 && end == match->type->shape.dims[sum->axis];
}

static bool slices_tile(const ebb_match *match)
{
    slice_sum sum;
    return find_slice_sum(match, &sum);
}

static ebb_node build_concat(const ebb_match *match)
{
    slice_sum sum;
    ebb_node parts[MOST_SLICES];
    find_slice_sum(match, &sum);
    for (int i = 0; i < sum.n; i++)
        parts[i] = ebb_node_input(sum.slices[i], 0);
    const ebb_node all = ebb_concat(match->graph, parts, sum.n, sum.axis);
    return sum.other.id ? ebb_add(sum.other, all) : all;
}

#define ONLY_USE "nothing else uses the reduction, and its other `keep` has this shape"

/* clang-format off */
static const ebb_rule rules[] = {
    /* views */
    RULE_IF("reshape to the same", OP(reshape, A), A, ALWAYS, a_has_root_type,
            "a has that shape already"),
    RULE_IF("broadcast to the same", OP(broadcast_to, A), A, ALWAYS, a_has_root_type,
            "a has that shape already"),
    RULE_BUILD("reshape of reshape", OP(reshape, OP(reshape, A)), "reshape(a)", ALWAYS, NULL,
               build_reshape, NULL),
    RULE_BUILD("transpose of transpose", OP(transpose, OP(transpose, A)), "transpose(a), or a",
               ALWAYS, NULL, build_one_transpose, NULL),
    RULE_BUILD("transpose in order", OP(transpose, A), "reshape(a), or a", ALWAYS,
               transpose_keeps_order, build_reshape, "only dimensions of size 1 move"),
    RULE_BUILD("broadcast of broadcast", OP(broadcast_to, OP(broadcast_to, A)), "broadcast_to(a)",
               ALWAYS, NULL, build_broadcast, NULL),
    RULE_BUILD("broadcast of once", OP(broadcast_to, A), "reshape(a)", ALWAYS, repeats_nothing,
               build_reshape, "as many elements as before"),
    RULE_BUILD("broadcast of reshape", OP(broadcast_to, OP(reshape, A)), "broadcast_to(a)", ALWAYS,
               reshape_adds_leading_ones, build_broadcast,
               "the reshape adds or removes leading dimensions of size 1"),
    RULE_BUILD("reshape of broadcast", OP(reshape, OP(broadcast_to, A)), "broadcast_to(reshape(a))",
               ALWAYS, reshape_passes_broadcast, build_broadcast_of_reshape,
               "a has one element, or the reshape moves only dimensions of size 1"),
    RULE_BUILD("transpose of broadcast", OP(transpose, OP(broadcast_to, A)),
               "broadcast_to(transpose(a))", ALWAYS, NULL, build_broadcast_of_transpose, NULL),

    /* reductions of one element each; a sum starts at 0, and 0 + -0 is 0 */
    RULE_BUILD("sum of one", OP(reduce_sum, A), "reshape(a)", INTEGER | FAST,
               reduces_one_element_each, build_reshape, "the reduced axes have size 1"),
    RULE_BUILD("mean of one", OP(reduce_mean, A), "reshape(a)", FAST, reduces_one_element_each,
               build_reshape, "the reduced axes have size 1"),
    RULE_BUILD("max of one", OP(reduce_max, A), "reshape(a)", ALWAYS, reduces_one_element_each,
               build_reshape, "the reduced axes have size 1"),

    /* reductions of reductions */
    RULE_BUILD("sum of sum", OP(reduce_sum, OP(reduce_sum, A)), "reduce_sum(a)", INTEGER | FAST,
               reductions_can_merge, build_one_reduce, "both with the same `keep`"),
    RULE_BUILD("mean of mean", OP(reduce_mean, OP(reduce_mean, A)), "reduce_mean(a)", FAST,
               reductions_can_merge, build_one_reduce, "both with the same `keep`"),
    RULE_BUILD("max of max", OP(reduce_max, OP(reduce_max, A)), "reduce_max(a)", ALWAYS,
               reductions_merge_in_order, build_one_reduce,
               "both with the same `keep`; the inner axes behind the outer ones"),
    /* which of 0 and -0 is met first may change */
    RULE_BUILD("max of max, any order", OP(reduce_max, OP(reduce_max, A)), "reduce_max(a)",
               INTEGER | FAST, reductions_can_merge, build_one_reduce, "both with the same `keep`"),

    /* reductions of broadcasts */
    RULE_BUILD("sum beside broadcast", OP(reduce_sum, OP(broadcast_to, A)),
               "broadcast_to(reduce_sum(a))", ALWAYS, repeats_once, build_reduce_of_broadcast,
               "no reduced axis is repeated"),
    RULE_BUILD("mean beside broadcast", OP(reduce_mean, OP(broadcast_to, A)),
               "broadcast_to(reduce_mean(a))", ALWAYS, repeats_once, build_reduce_of_broadcast,
               "no reduced axis is repeated"),
    RULE_BUILD("sum of broadcast", OP(reduce_sum, OP(broadcast_to, A)),
               "broadcast_to(n * reduce_sum(a))", INTEGER | FAST, repeats_fit_dtype,
               build_sum_of_broadcast, "each element is met n > 0 times"),
    RULE_BUILD("mean of broadcast", OP(reduce_mean, OP(broadcast_to, A)),
               "broadcast_to(reduce_mean(a))", FAST, repeats_not_empty, build_reduce_of_broadcast,
               "not empty"),
    RULE_BUILD("max of broadcast", OP(reduce_max, OP(broadcast_to, A)),
               "broadcast_to(reduce_max(a))", ALWAYS, repeats_not_empty, build_reduce_of_broadcast,
               "not empty"),

    /* reductions and other views */
    RULE_BUILD("sum of reshape", OP(reduce_sum, OP(reshape, A)), "reduce_sum(a)", ALWAYS,
               reduces_all, build_reduce_all, "over all axes"),
    RULE_BUILD("mean of reshape", OP(reduce_mean, OP(reshape, A)), "reduce_mean(a)", ALWAYS,
               reduces_all, build_reduce_all, "over all axes"),
    RULE_BUILD("max of reshape", OP(reduce_max, OP(reshape, A)), "reduce_max(a)", ALWAYS,
               reduces_all, build_reduce_all, "over all axes"),
    RULE_BUILD("sum of transpose", OP(reduce_sum, OP(transpose, A)), "reduce_sum(a)",
               INTEGER | FAST, reduces_all, build_reduce_all, "over all axes"),
    RULE_BUILD("mean of transpose", OP(reduce_mean, OP(transpose, A)), "reduce_mean(a)", FAST,
               reduces_all, build_reduce_all, "over all axes"),
    RULE_BUILD("max of transpose", OP(reduce_max, OP(transpose, A)), "reduce_max(a)",
               INTEGER | FAST, reduces_all, build_reduce_all, "over all axes"),
    RULE_BUILD("reshape of sum", OP(reshape, OP(reduce_sum, A)), "reduce_sum(a)", ALWAYS,
               reshape_turns_keep, build_turned_reduce, ONLY_USE),
    RULE_BUILD("reshape of mean", OP(reshape, OP(reduce_mean, A)), "reduce_mean(a)", ALWAYS,
               reshape_turns_keep, build_turned_reduce, ONLY_USE),
    RULE_BUILD("reshape of max", OP(reshape, OP(reduce_max, A)), "reduce_max(a)", ALWAYS,
               reshape_turns_keep, build_turned_reduce, ONLY_USE),

    /* gradients of slices of one value; 0 + -0 is 0, and stays -0 here */
    RULE_BUILD("sum of slice_grads", OP(add, A, B), "concat(c, ...), or a + concat(c, ...)", STABLE,
               slices_tile, build_concat,
               "a sum of slice_grad(c) that nothing else uses, and of at most one value more; the "
               "slices, at most 32, lie one behind the other along an axis, all of it; a -0 in c "
               "stays one"),
};
/* clang-format on */

const ebb_rule_set ebb_rules_shapes = RULE_SET("shapes", rules);
