/* Fold: what depends on constants only is computed now, by the ops' reference kernels. */
#define EBB_NO_LOCATIONS
#include "passes/constants.h"
#include "passes/rules.h"

#include <string.h>

#include "passes/pattern.h"

static bool can_fold(const ebb_match *match)
{
    return ebb_fold_is_possible(match->op, match->attrs, match->type, match->inputs,
                                match->n_inputs);
}

static ebb_node build_folded(const ebb_match *match)
{
    return ebb_fold_op(match->graph, match->op, match->attrs, match->type, match->inputs,
                       match->n_inputs);
}

/* A large constant with one value everywhere. */
static bool is_splat_in_full(const ebb_match *match)
{
    if (match->op != &ebb_op_constant)
        return false;
    size_t item = ebb_dtype_bytes(match->type->dtype), bytes = ebb_type_bytes(match->type);
    const char *data = ((const ebb_constant_attrs *)match->attrs)->data;
    return bytes > item && memcmp(data, data + item, bytes - item) == 0;
}

static ebb_node build_splat(const ebb_match *match)
{
    return ebb_emit_constant(match->graph, match->type,
                             ((const ebb_constant_attrs *)match->attrs)->data);
}

/* clang-format off */
static const ebb_rule rules[] = {
    RULE_TRAIT("constants", 0, "f(const, ...)", "const", ALWAYS, can_fold, build_folded,
               "f computes, is not random nor a broadcast; the result is small or no larger than "
               "the constants; the computation is small"),
    RULE_TRAIT("splat", EBB_TRAIT_SOURCE, "const", "broadcast_to(const)", ALWAYS, is_splat_in_full,
               build_splat, "every element has the same bits"),
};
/* clang-format on */

const ebb_rule_set ebb_rules_fold = RULE_SET("fold", rules);
