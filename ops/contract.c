/* Contractions out of other builders: dot, outer, einsum. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include <ebb/ops.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* False if a builder before this one has failed, which it then says itself. */
static bool are_nodes(const ebb_node *nodes, int n)
{
    for (int i = 0; i < n; i++)
        if (ebb_node_is_none(nodes[i]))
            return false;
    return true;
}

static const ebb_shape *shape_of(ebb_node x)
{
    return &ebb_node_type(x)->shape;
}

/* ---- outer, dot ---- */

ebb_node(ebb_outer)(ebb_node a, ebb_node b)
{
    if (!are_nodes((ebb_node[]){ a, b }, 2))
        return ebb_mul(a, b);
    int64_t m = ebb_shape_elements(shape_of(a)), n = ebb_shape_elements(shape_of(b));
    return ebb_mul(ebb_reshape(a, EBB_SHAPE(m, 1)), ebb_reshape(b, EBB_SHAPE(1, n)));
}

/* The last dimension of a against the last but one of b; all others side by side. */
ebb_node(ebb_dot)(ebb_node a, ebb_node b)
{
    if (!are_nodes((ebb_node[]){ a, b }, 2) || a.graph != b.graph || shape_of(a)->rank == 0 ||
        shape_of(b)->rank == 0)
        return ebb_mul(a, b);
    const ebb_shape sa = *shape_of(a), sb = *shape_of(b);
    if (sb.rank <= 2 || sa.rank + sb.rank - 2 > EBB_MAX_RANK ||
        sa.dims[sa.rank - 1] != sb.dims[sb.rank - 2])
        return ebb_matmul(a, b);
    const int64_t depth = sa.dims[sa.rank - 1];
    ebb_axes order = { 1, { sb.rank - 2 } };
    ebb_shape result = ebb_shape_of(sa.rank - 1, sa.dims);
    int64_t m = 1, n = 1;
    for (int i = 0; i < sa.rank - 1; i++)
        m *= sa.dims[i];
    for (int i = 0; i < sb.rank; i++)
        if (i != sb.rank - 2) {
            order.axes[order.n++] = i;
            result.dims[result.rank++] = sb.dims[i];
            n *= sb.dims[i];
        }
    ebb_node rows = ebb_reshape(a, EBB_SHAPE(m, depth));
    ebb_node columns = ebb_reshape(ebb_transpose(b, order), EBB_SHAPE(depth, n));
    return ebb_reshape(ebb_matmul(rows, columns), result);
}

/* ---- einsum ---- */

enum { MAX_OPERANDS = 2, N_LETTERS = 52 };

typedef struct labels {
    int n;
    int letters[EBB_MAX_RANK]; /* 0..51 for a..z, A..Z */
} labels;

typedef struct contraction {
    ebb_graph *graph;
    const char *spec;
    int n_operands;
    labels operands[MAX_OPERANDS], result;
    int64_t sizes[N_LETTERS];
} contraction;

static bool refuse(const contraction *c, ebb_status status, const char *format, ...)
    EBB_PRINTF(3, 4);

static bool refuse(const contraction *c, ebb_status status, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ebb_graph_fail(c->graph, status, "einsum \"%.100s\": %s", c->spec, text);
    return false;
}

static char name_of(int letter)
{
    return (char)(letter < 26 ? 'a' + letter : 'A' + letter - 26);
}

static int letter_of(char c)
{
    static const char names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *at = c ? strchr(names, c) : NULL;
    return at ? (int)(at - names) : -1;
}

static bool has(const labels *l, int letter)
{
    for (int i = 0; i < l->n; i++)
        if (l->letters[i] == letter)
            return true;
    return false;
}

/* Positions in messages count from 1. */
static bool add_letter(const contraction *c, labels *to, int position)
{
    const char symbol = c->spec[position];
    int letter = letter_of(symbol);
    if (letter < 0)
        return refuse(c, EBB_BAD_ATTRIBUTE, "position %d: '%c' is no letter", position + 1,
                      symbol >= ' ' && symbol <= '~' ? symbol : '?');
    if (has(to, letter))
        return refuse(c, EBB_BAD_ATTRIBUTE,
                      "position %d: '%c' is repeated; diagonals are not taken", position + 1,
                      symbol);
    if (to->n == EBB_MAX_RANK)
        return refuse(c, EBB_BAD_ATTRIBUTE, "position %d: more than %d letters", position + 1,
                      EBB_MAX_RANK);
    to->letters[to->n++] = letter;
    return true;
}

/* Without an arrow: the letters that stand in one operand only, in alphabetical order (A to Z
 * first, as in ASCII). */
static bool imply_result(contraction *c)
{
    for (int i = 0; i < N_LETTERS; i++) {
        int letter = (i + 26) % N_LETTERS, n = 0;
        for (int k = 0; k < c->n_operands; k++)
            n += has(&c->operands[k], letter);
        if (n != 1)
            continue;
        if (c->result.n == EBB_MAX_RANK)
            return refuse(c, EBB_BAD_ATTRIBUTE, "the result has more than %d letters",
                          EBB_MAX_RANK);
        c->result.letters[c->result.n++] = letter;
    }
    return true;
}

static bool parse_spec(contraction *c, int n_given)
{
    bool in_result = false;
    c->n_operands = 1;
    for (int i = 0; c->spec[i]; i++) {
        const char symbol = c->spec[i];
        if (symbol == ' ')
            continue;
        if (symbol == '-' && c->spec[i + 1] == '>' && !in_result) {
            in_result = true;
            i++;
        } else if (symbol == ',' && !in_result) {
            if (c->n_operands == MAX_OPERANDS)
                return refuse(c, EBB_BAD_ATTRIBUTE, "position %d: more than %d operands", i + 1,
                              MAX_OPERANDS);
            c->n_operands++;
        } else if (in_result) {
            if (!add_letter(c, &c->result, i))
                return false;
            int letter = letter_of(symbol);
            if (!has(&c->operands[0], letter) && !has(&c->operands[1], letter))
                return refuse(c, EBB_BAD_ATTRIBUTE, "position %d: '%c' is in no operand", i + 1,
                              symbol);
        } else if (!add_letter(c, &c->operands[c->n_operands - 1], i)) {
            return false;
        }
    }
    if (c->n_operands != n_given)
        return refuse(c, EBB_BAD_ATTRIBUTE, "%d operands are written, %d are given", c->n_operands,
                      n_given);
    return in_result || imply_result(c);
}

static bool match_sizes(contraction *c, const ebb_node *operands)
{
    char text[EBB_NODE_TEXT_BYTES];
    bool known[N_LETTERS] = { false };
    for (int k = 0; k < c->n_operands; k++) {
        const ebb_shape *shape = shape_of(operands[k]);
        const labels *l = &c->operands[k];
        if (shape->rank != l->n)
            return refuse(c, EBB_BAD_SHAPE, "operand %d has %d letters and is %s", k + 1, l->n,
                          ebb_node_text(operands[k], text));
        for (int i = 0; i < l->n; i++) {
            int letter = l->letters[i];
            if (known[letter] && c->sizes[letter] != shape->dims[i])
                return refuse(c, EBB_BAD_SHAPE, "'%c' is %lld and, in operand %d, %lld",
                              name_of(letter), (long long)c->sizes[letter], k + 1,
                              (long long)shape->dims[i]);
            known[letter] = true;
            c->sizes[letter] = shape->dims[i];
        }
    }
    return true;
}

/* Sums over the letters of x that are neither in `a` nor in `b`, and takes them out of `l`. */
static ebb_node sum_others(ebb_node x, labels *l, const labels *a, const labels *b)
{
    ebb_axes axes = { 0 };
    labels left = { 0 };
    for (int i = 0; i < l->n; i++)
        if (has(a, l->letters[i]) || has(b, l->letters[i]))
            left.letters[left.n++] = l->letters[i];
        else
            axes.axes[axes.n++] = i;
    *l = left;
    return axes.n ? ebb_reduce_sum(x, axes, false) : x;
}

/* x, whose dimensions are `from`, with its dimensions in the order `to` (the same letters). */
static ebb_node reorder(ebb_node x, const labels *from, const labels *to)
{
    ebb_axes axes = { 0 };
    bool moved = false;
    for (int i = 0; i < to->n; i++) {
        int at = 0;
        while (from->letters[at] != to->letters[i])
            at++;
        moved = moved || at != i;
        axes.axes[axes.n++] = at;
    }
    return moved ? ebb_transpose(x, axes) : x;
}

/* Letters of `from` that are (or are not) in each of two others. */
static labels pick(const labels *from, const labels *a, bool in_a, const labels *b, bool in_b)
{
    labels picked = { 0 };
    for (int i = 0; i < from->n; i++)
        if (has(a, from->letters[i]) == in_a && has(b, from->letters[i]) == in_b)
            picked.letters[picked.n++] = from->letters[i];
    return picked;
}

static labels join(const labels *a, const labels *b)
{
    labels both = *a;
    for (int i = 0; i < b->n && both.n < EBB_MAX_RANK; i++)
        both.letters[both.n++] = b->letters[i];
    return both;
}

static int64_t size_of(const contraction *c, const labels *l)
{
    int64_t size = 1;
    for (int i = 0; i < l->n; i++)
        size *= c->sizes[l->letters[i]];
    return size;
}

static ebb_shape shape_of_labels(const contraction *c, const labels *l)
{
    ebb_shape shape = ebb_shape_of(0, NULL);
    for (int i = 0; i < l->n; i++)
        shape.dims[shape.rank++] = c->sizes[l->letters[i]];
    return shape;
}

/* x as [batch, rows, columns], or as [rows, columns] if there is no batch. */
static ebb_node as_matrices(const contraction *c, ebb_node x, const labels *from,
                            const labels *batch, const labels *rows, const labels *columns)
{
    labels order = join(batch, rows);
    order = join(&order, columns);
    x = reorder(x, from, &order);
    const int64_t m = size_of(c, rows), n = size_of(c, columns);
    return ebb_reshape(x, batch->n ? EBB_SHAPE(size_of(c, batch), m, n) : EBB_SHAPE(m, n));
}

static ebb_node contract_two(contraction *c, ebb_node a, ebb_node b)
{
    labels *la = &c->operands[0], *lb = &c->operands[1];
    const labels *lr = &c->result;
    a = sum_others(a, la, lb, lr);
    b = sum_others(b, lb, la, lr);
    const labels batch = pick(la, lb, true, lr, true), depth = pick(la, lb, true, lr, false);
    const labels rows = pick(la, lb, false, lr, true), columns = pick(lb, la, false, lr, true);
    labels order = join(&batch, &rows);
    order = join(&order, &columns);
    ebb_node product;
    if (depth.n == 0) { /* nothing to sum: any numbers */
        const labels one = { 0 };
        ebb_node left = as_matrices(c, a, la, &batch, &rows, &one);
        ebb_node right = as_matrices(c, b, lb, &batch, &one, &columns);
        product = ebb_mul(left, right);
    } else {
        product = ebb_matmul(as_matrices(c, a, la, &batch, &rows, &depth),
                             as_matrices(c, b, lb, &batch, &depth, &columns));
    }
    return reorder(ebb_reshape(product, shape_of_labels(c, &order)), &order, lr);
}

ebb_node(ebb_einsum)(ebb_graph *graph, const char *spec, const ebb_node *operands, int n_operands)
{
    contraction c = { .graph = graph, .spec = spec };
    if (!spec || !operands || n_operands < 1 || n_operands > MAX_OPERANDS)
        return ebb_graph_fail(graph, EBB_BAD_ARGUMENT,
                              "einsum: a specification and 1 or 2 "
                              "operands are wanted");
    for (int i = 0; i < n_operands; i++)
        if (!ebb_graph_owns(graph, operands[i]))
            return ebb_graph_fail(graph, EBB_BAD_NODE,
                                  "einsum \"%.100s\": operand %d is none or of another graph", spec,
                                  i + 1);
    if (!parse_spec(&c, n_operands) || !match_sizes(&c, operands))
        return (ebb_node){ graph, 0 };
    if (c.n_operands == 2)
        return contract_two(&c, operands[0], operands[1]);
    const labels nothing = { 0 };
    ebb_node sum = sum_others(operands[0], &c.operands[0], &c.result, &nothing);
    return reorder(sum, &c.operands[0], &c.result);
}
