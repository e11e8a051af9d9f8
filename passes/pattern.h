/* Short names for rule tables. For files of rules only; include it last. */
#ifndef PASSES_PATTERN_H
#define PASSES_PATTERN_H

#include "ops/descriptors.h"
#include "passes/rewrite.h"

#define PATTERN(kind, operand, value)                                                              \
    (&(const ebb_pattern){ EBB_PATTERN_##kind, operand, value, NULL, { NULL } })

#define A PATTERN(OPERAND, 0, 0)
#define B PATTERN(OPERAND, 1, 0)
#define C PATTERN(OPERAND, 2, 0)
#define D PATTERN(OPERAND, 3, 0)
/* Operands that are constants; those that have one value everywhere. */
#define CONST_A PATTERN(CONSTANT, 0, 0)
#define CONST_B PATTERN(CONSTANT, 1, 0)
#define CONST_C PATTERN(CONSTANT, 2, 0)
#define SPLAT_A PATTERN(ANY_SPLAT, 0, 0)
#define SPLAT_B PATTERN(ANY_SPLAT, 1, 0)
#define SPLAT_C PATTERN(ANY_SPLAT, 2, 0)
#define SPLAT(value) PATTERN(SPLAT, 0, value)
#define OP(name, ...)                                                                              \
    (&(const ebb_pattern){ EBB_PATTERN_OP, 0, 0, &ebb_op_##name, { __VA_ARGS__ } })

#define ALWAYS EBB_ALWAYS
#define FLOAT EBB_WHEN_FLOAT
#define INTEGER EBB_WHEN_INTEGER
#define FAST EBB_WHEN_FAST
#define STABLE EBB_WHEN_STABLE

#define RULE(name, lhs, rhs, when)                                                                 \
    {                                                                                              \
        name, lhs, 0, rhs, when, NULL, NULL, NULL, NULL, NULL                                      \
    }
#define RULE_IF(name, lhs, rhs, when, guard, condition)                                            \
    {                                                                                              \
        name, lhs, 0, rhs, when, guard, NULL, NULL, NULL, condition                                \
    }
#define RULE_BUILD(name, lhs, right, when, guard, build, condition)                                \
    {                                                                                              \
        name, lhs, 0, NULL, when, guard, build, NULL, right, condition                             \
    }
/* For every op that has all of `traits`. */
#define RULE_TRAIT(name, traits, left, right, when, guard, build, condition)                       \
    {                                                                                              \
        name, NULL, traits, NULL, when, guard, build, left, right, condition                       \
    }
#define RULE_SET(name, rules)                                                                      \
    {                                                                                              \
        name, rules, (int)(sizeof(rules) / sizeof *(rules))                                        \
    }

#endif
