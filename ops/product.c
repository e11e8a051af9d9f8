/* The gradient of a product: for each factor the product of the others, by multiplications alone,
 * so that it is right where factors are 0, at any order.
 *
 * Products are taken in levels: n factors in groups of f, the smallest prime that divides n, then
 * the n / f products of these, and so on. Inside a group, the others are f rows of the group, in
 * which row i has a 1 in place of factor i. That costs n f multiplications a level; for a large
 * prime n it is as many as n^2. */
#define EBB_NO_LOCATIONS
#include "ops/reduce.h"

enum { MAX_LEVELS = 62 };

static int64_t smallest_prime_factor(int64_t n)
{
    for (int64_t f = 2; f <= n / f; f++)
        if (n % f == 0)
            return f;
    return n;
}

static ebb_node product_of_last(ebb_node x)
{
    return ebb_reduce_prod(x, EBB_AXES(-1), false);
}

/* [k, m, f] -> [k, m, f] */
static ebb_node products_of_others(ebb_node groups)
{
    const ebb_shape *shape = &ebb_node_type(groups)->shape;
    const int64_t k = shape->dims[0], m = shape->dims[1], f = shape->dims[2];
    ebb_node row = ebb_iota(groups.graph, EBB_I64, EBB_SHAPE(f, f), 0);
    ebb_node column = ebb_iota(groups.graph, EBB_I64, EBB_SHAPE(f, f), 1);
    ebb_node one = ebb_scalar(groups.graph, ebb_node_type(groups)->dtype, 1);
    ebb_node rows =
        ebb_broadcast_to(ebb_reshape(groups, EBB_SHAPE(k, m, 1, f)), EBB_SHAPE(k, m, f, f));
    return product_of_last(ebb_select(ebb_equal(row, column), one, rows));
}

/* x [k, n], g [k] -> the gradient [k, n] */
static ebb_node rows_gradient(ebb_node x, ebb_node g, int64_t k, int64_t n)
{
    ebb_node levels[MAX_LEVELS]; /* [k, m, f] each; at the last one m is 1 */
    int n_levels = 0;
    while (n > 1) {
        int64_t f = smallest_prime_factor(n);
        n /= f;
        levels[n_levels] = ebb_reshape(x, EBB_SHAPE(k, n, f));
        x = product_of_last(levels[n_levels++]);
    }
    int64_t m = 1;
    for (int level = n_levels - 1; level >= 0; level--) {
        ebb_node others = products_of_others(levels[level]);
        g = ebb_mul(ebb_reshape(g, EBB_SHAPE(k, m, 1)), others);
        m *= ebb_node_type(others)->shape.dims[2];
    }
    return g;
}

void ebb_reduce_vjp_product(const ebb_vjp *v)
{
    if (!ebb_reduce_wants_gradient(v))
        return;
    const ebb_reduce_attrs *attrs = v->attrs;
    const ebb_node x = v->inputs[0], g = v->cotangents[0];
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    const ebb_reduction plan = ebb_reduce_plan(shape, attrs);
    if (plan.n_terms <= 1) { /* itself, or nothing */
        v->gradients[0] = ebb_reduce_spread(x, attrs, g);
        return;
    }
    const unsigned mask = ebb_axes_mask(&attrs->axes, shape->rank);
    ebb_axes there = { 0 }, back = { 0 }; /* the reduced dimensions go to the end, and back */
    ebb_shape moved = EBB_SCALAR;
    for (int reduced = 0; reduced < 2; reduced++)
        for (int i = 0; i < shape->rank; i++)
            if (!(mask & 1u << i) == !reduced) {
                back.axes[i] = there.n;
                there.axes[there.n++] = i;
                moved.dims[moved.rank++] = shape->dims[i];
            }
    back.n = there.n;
    const int64_t k = plan.n_results, n = plan.n_terms;
    ebb_node rows = ebb_reshape(ebb_transpose(x, there), EBB_SHAPE(k, n));
    ebb_node gradient = rows_gradient(rows, ebb_reshape(g, EBB_SHAPE(k)), k, n);
    v->gradients[0] = ebb_transpose(ebb_reshape(gradient, moved), back);
}
