/* The rule sets of the passes; one file each. */
#ifndef PASSES_RULES_H
#define PASSES_RULES_H

#include "passes/rewrite.h"

extern const ebb_rule_set ebb_rules_canonicalize;
extern const ebb_rule_set ebb_rules_simplify; /* algebra, element by element */
extern const ebb_rule_set ebb_rules_shapes;   /* views and reductions; a part of simplify */
extern const ebb_rule_set ebb_rules_fold;
extern const ebb_rule_set ebb_rules_stabilize;
extern const ebb_rule_set ebb_rules_views;
extern const ebb_rule_set ebb_rules_anchors; /* not in the pipeline: ebb_compile runs it */
extern const ebb_rule_set ebb_rules_freeze;  /* not in the pipeline: ebb_model_freeze runs it */

#endif
