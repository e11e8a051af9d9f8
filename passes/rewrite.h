/* Rewriting: rules as rows (`lhs => rhs`, constant trees at file scope), and the driver that
 * applies them while it copies a graph. Equal nodes are shared when they are emitted, and only what
 * the outputs need is copied: so common subexpressions and dead code go in every run. */
#ifndef PASSES_REWRITE_H
#define PASSES_REWRITE_H

#include "graph/graph_build.h"

/* ---- patterns ---- */

#define EBB_MAX_PATTERN_INPUTS 3
#define EBB_MAX_OPERANDS 4
/* Commutative ops in one pattern: both orders of each are tried. */
#define EBB_MAX_PATTERN_SWAPS 5

typedef enum ebb_pattern_kind {
    EBB_PATTERN_OPERAND,   /* anything; the same operand twice is the same node */
    EBB_PATTERN_CONSTANT,  /* an operand that is a constant, perhaps seen through views */
    EBB_PATTERN_ANY_SPLAT, /* an operand that is a constant with one value everywhere */
    EBB_PATTERN_SPLAT,     /* a constant with this value everywhere; 0 is not -0 */
    EBB_PATTERN_OP         /* an op with one result, whatever its attributes */
} ebb_pattern_kind;

typedef struct ebb_pattern ebb_pattern;
struct ebb_pattern {
    ebb_pattern_kind kind;
    int operand;
    double value;
    const ebb_op *op;
    const ebb_pattern *inputs[EBB_MAX_PATTERN_INPUTS]; /* up to the first NULL */
};

/* ---- rules ---- */

/* Where a rule gives the same bits (any NaN is as good as any other), by the dtype of the root's
 * last input. BOOL counts as integer. */
enum {
    EBB_WHEN_FLOAT = 1 << 0,   /* floats */
    EBB_WHEN_INTEGER = 1 << 1, /* integers */
    EBB_WHEN_FAST = 1 << 2,    /* floats under fast_math: rounding, -0, NaN or Inf may change */
    EBB_WHEN_STABLE =
        1 << 3 /* floats: rounding changes, never for the worse, and overflow goes away */
};
#define EBB_ALWAYS (EBB_WHEN_FLOAT | EBB_WHEN_INTEGER)

/* What a rule is being tried on: the root (not necessarily emitted yet) and its inputs, nodes of
 * `graph`. */
typedef struct ebb_match {
    ebb_graph *graph;
    const ebb_op *op;
    const void *attrs;
    const ebb_type *type;
    int n_inputs;
    const ebb_node *inputs;
    ebb_node operands[EBB_MAX_OPERANDS];
    bool is_output;       /* of the graph, or the value of an update */
    const uint32_t *uses; /* by id */
    uint32_t n_uses;
    const struct ebb_rewrite *rewrite;
} ebb_match;

typedef struct ebb_rule {
    const char *name;       /* unique: "x+(-y)" */
    const ebb_pattern *lhs; /* NULL: any op with `traits` and one result */
    unsigned traits;
    const ebb_pattern
        *rhs; /* NULL: `build` makes it. Constants in it are splats of the root's type */
    unsigned when;
    bool (*guard)(const ebb_match *match); /* only looks; NULL: true */
    /* Emits the replacement, of the root's type, into match->graph. None: the rule does not apply
     * after all. */
    ebb_node (*build)(const ebb_match *match);
    const char *left, *right; /* for docs, where there is no tree */
    const char *condition;    /* the guard in words */
} ebb_rule;

typedef struct ebb_rule_set {
    const char *name;
    const ebb_rule *rules;
    int n_rules;
} ebb_rule_set;

/* True if only the node that is being rewritten uses `node`, as far as is known. */
bool ebb_match_is_only_use(const ebb_match *match, ebb_node node);

/* True if it is as well to compute such a node in the place of `instead`, a node with a result of
 * the same type: what ebb_rewrite.pays says. */
bool ebb_match_pays(const ebb_match *match, const ebb_op *op, const void *attrs,
                    const ebb_node *inputs, int n_inputs, ebb_node instead);

/* True if `name` is one of `names`, which commas separate; NULL: none. */
bool ebb_names_have(const char *names, const char *name);

/* ---- the driver ---- */

#define EBB_MAX_RULES 256
#define EBB_REWRITE_BUDGET 32

typedef struct ebb_rewrite {
    const char *pass;
    const ebb_rule_set *const *sets; /* tried in this order */
    int n_sets;
    bool fast_math;
    bool keep_updates;
    /* Looking for work costs much less than copying: with `lazy`, *result stays NULL (and map
     * untouched) if no rule can apply anywhere, unless with `sweep` some node is not needed. */
    bool lazy, sweep;
    int budget;       /* applications at one node; 0: EBB_REWRITE_BUDGET */
    const char *skip; /* names of rules that do not apply, separated by commas; NULL: none */
    ebb_logger log;
    /* For rules that ask (ebb_match_pays); NULL: always. */
    bool (*pays)(void *context, const ebb_op *op, const void *attrs, const ebb_node *inputs,
                 int n_inputs, ebb_node instead);
    void *context;
} ebb_rewrite;

typedef struct ebb_rewrite_counts {
    int64_t total;
    int64_t hits[EBB_MAX_RULES]; /* by rule, one set after the other */
    int64_t n_exhausted;         /* nodes at which the budget was used up */
} ebb_rewrite_counts;

/* Copies what `outputs` (and updates) need into *result, rewriting. map[id] for ids 0..n_nodes of
 * `graph` becomes the id in *result, 0 where there is none. Adds to `counts`. Every node is visited
 * once; a replacement is looked at again until no rule applies or the budget is used up, the
 * insides of a replacement only in the next run. BAD_NODE, OUT_OF_MEMORY, LIMIT; what the graph's
 * sticky error says. */
ebb_status ebb_rewrite_run(const ebb_rewrite *rewrite, const ebb_graph *graph,
                           const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                           uint32_t *map, ebb_rewrite_counts *counts, ebb_error *error);

/* ---- for tests and docs ---- */

#define EBB_PATTERN_TEXT_BYTES 200
/* "add(a, neg(b))". Returns `text`. */
const char *ebb_pattern_text(const ebb_pattern *pattern, char text[EBB_PATTERN_TEXT_BYTES]);

#endif
