/* The matcher and the driver of rewriting. */
#define EBB_NO_LOCATIONS
#include "passes/rewrite.h"

#include "passes/constants.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- matching ---- */

static int count_inputs(const ebb_pattern *pattern)
{
    int n = 0;
    while (n < EBB_MAX_PATTERN_INPUTS && pattern->inputs[n])
        n++;
    return n;
}

/* Commutative ops in the pattern; each doubles the number of ways to try. Patterns are a few levels
 * deep. */
static int count_swaps(const ebb_pattern *pattern)
{
    if (pattern->kind != EBB_PATTERN_OP)
        return 0;
    int n = (pattern->op->traits & EBB_TRAIT_COMMUTATIVE) ? 1 : 0;
    for (int i = 0; i < count_inputs(pattern); i++)
        n += count_swaps(pattern->inputs[i]);
    return n;
}

/* One way to try: bit i of `swaps` exchanges the inputs of the i-th commutative op, depth first. */
typedef struct match_attempt {
    ebb_match *match;
    unsigned bound; /* bit i: operand i has a node */
    unsigned swaps;
} match_attempt;

static bool bind_operand(match_attempt *attempt, int operand, ebb_node node)
{
    unsigned bit = 1u << operand;
    if (attempt->bound & bit)
        return attempt->match->operands[operand].id == node.id;
    attempt->bound |= bit;
    attempt->match->operands[operand] = node;
    return true;
}

static bool match_node(match_attempt *attempt, const ebb_pattern *pattern, ebb_node node);

static bool match_inputs(match_attempt *attempt, const ebb_pattern *pattern, const ebb_node *inputs)
{
    int n = count_inputs(pattern);
    bool swap = false;
    if (pattern->op->traits & EBB_TRAIT_COMMUTATIVE) {
        swap = attempt->swaps & 1;
        attempt->swaps >>= 1;
    }
    for (int i = 0; i < n; i++) {
        if (!match_node(attempt, pattern->inputs[i], inputs[swap ? n - 1 - i : i]))
            return false;
    }
    return true;
}

static bool match_node(match_attempt *attempt, const ebb_pattern *pattern, ebb_node node)
{
    double value;
    switch (pattern->kind) {
    case EBB_PATTERN_OPERAND:
        return bind_operand(attempt, pattern->operand, node);
    case EBB_PATTERN_CONSTANT:
        return ebb_constant_behind(node).id && bind_operand(attempt, pattern->operand, node);
    case EBB_PATTERN_ANY_SPLAT:
        return ebb_splat_behind(node).id && bind_operand(attempt, pattern->operand, node);
    case EBB_PATTERN_SPLAT:
        return ebb_splat_value(node, &value) && value == pattern->value &&
               !signbit(value) == !signbit(pattern->value);
    case EBB_PATTERN_OP:
        break;
    }
    if (ebb_node_op(node) != pattern->op)
        return false;
    const uint32_t *ids = ebb_node_input_ids(node);
    ebb_node inputs[EBB_MAX_PATTERN_INPUTS];
    int n = ebb_node_n_inputs(node);
    if (n != count_inputs(pattern))
        return false;
    for (int i = 0; i < n; i++)
        inputs[i] = (ebb_node){ node.graph, ids[i] };
    return match_inputs(attempt, pattern, inputs);
}

bool ebb_match_is_only_use(const ebb_match *match, ebb_node node)
{
    return node.id >= match->n_uses || match->uses[node.id] <= 1;
}

bool ebb_match_pays(const ebb_match *match, const ebb_op *op, const void *attrs,
                    const ebb_node *inputs, int n_inputs, ebb_node instead)
{
    const ebb_rewrite *r = match->rewrite;
    return !r->pays || r->pays(r->context, op, attrs, inputs, n_inputs, instead);
}

static bool dtype_allows(unsigned when, const ebb_match *match, bool fast_math)
{
    if ((when & EBB_ALWAYS) == EBB_ALWAYS)
        return true;
    const ebb_type *type =
        match->n_inputs > 0 ? ebb_node_type(match->inputs[match->n_inputs - 1]) : match->type;
    if (!ebb_dtype_is_float(type->dtype))
        return when & EBB_WHEN_INTEGER;
    return (when & (EBB_WHEN_FLOAT | EBB_WHEN_STABLE)) || (fast_math && (when & EBB_WHEN_FAST));
}

static bool match_rule(const ebb_rule *rule, int n_swaps, bool fast_math, ebb_match *match)
{
    if (!dtype_allows(rule->when, match, fast_math))
        return false;
    if (!rule->lhs)
        return (match->op->traits & rule->traits) == rule->traits &&
               (!rule->guard || rule->guard(match));
    if (match->n_inputs != count_inputs(rule->lhs))
        return false;
    for (unsigned swaps = 0; swaps < 1u << n_swaps; swaps++) {
        match_attempt attempt = { match, 0, swaps };
        if (match_inputs(&attempt, rule->lhs, match->inputs) &&
            (!rule->guard || rule->guard(match)))
            return true;
    }
    return false;
}

/* The replacement out of a tree, a few levels deep. */
static ebb_node emit_pattern(const ebb_pattern *pattern, const ebb_match *match)
{
    if (pattern->kind == EBB_PATTERN_SPLAT)
        return ebb_full(match->graph, match->type->dtype, match->type->shape, pattern->value);
    if (pattern->kind != EBB_PATTERN_OP)
        return match->operands[pattern->operand];
    ebb_node inputs[EBB_MAX_PATTERN_INPUTS];
    int n = count_inputs(pattern);
    for (int i = 0; i < n; i++)
        inputs[i] = emit_pattern(pattern->inputs[i], match);
    return ebb_emit(match->graph, pattern->op, inputs, n, NULL, NULL);
}

bool ebb_names_have(const char *names, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = names; at && *at;) {
        const size_t n = strcspn(at, ",");
        if (n == length && !memcmp(at, name, n))
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

/* ---- rules by root op ---- */

#define INDEX_BITS 9
#define INDEX_SLOTS (1 << INDEX_BITS)

typedef struct rule_index {
    struct index_slot {
        const ebb_op *op;
        int first; /* -1 ends a chain */
    } slots[INDEX_SLOTS];
    int any; /* chain of rules without a root op */
    int n_rules;
    struct indexed_rule {
        const ebb_rule *rule;
        int next, n_swaps;
    } rules[EBB_MAX_RULES];
} rule_index;

static struct index_slot *find_slot(rule_index *index, const ebb_op *op)
{
    uint64_t hash = (uint64_t)(uintptr_t)op * UINT64_C(0x9E3779B97F4A7C15);
    size_t at = (size_t)(hash >> (64 - INDEX_BITS));
    while (index->slots[at].op && index->slots[at].op != op)
        at = (at + 1) % INDEX_SLOTS;
    return &index->slots[at];
}

/* False if the sets have more rules than the index holds. */
static bool index_rules(rule_index *index, const ebb_rewrite *rewrite)
{
    memset(index->slots, 0, sizeof index->slots);
    index->any = -1;
    index->n_rules = 0;
    for (int s = 0; s < rewrite->n_sets; s++) {
        for (int r = 0; r < rewrite->sets[s]->n_rules; r++) {
            const ebb_rule *rule = &rewrite->sets[s]->rules[r];
            int n_swaps = rule->lhs ? count_swaps(rule->lhs) : 0;
            if (index->n_rules == EBB_MAX_RULES || n_swaps > EBB_MAX_PATTERN_SWAPS)
                return false;
            index->rules[index->n_rules++] = (struct indexed_rule){ rule, -1, n_swaps };
        }
    }
    for (int i = index->n_rules - 1; i >= 0; i--) { /* backwards, so that chains keep the order */
        if (ebb_names_have(rewrite->skip, index->rules[i].rule->name))
            continue;
        const ebb_pattern *lhs = index->rules[i].rule->lhs;
        int *first = &index->any;
        if (lhs) {
            struct index_slot *slot = find_slot(index, lhs->op);
            if (!slot->op)
                *slot = (struct index_slot){ lhs->op, -1 };
            first = &slot->first;
        }
        index->rules[i].next = *first;
        *first = i;
    }
    return true;
}

/* ---- the driver ---- */

/* Marks of needed nodes: any but 0. */
#define IS_OUTPUT 2

typedef struct driver {
    const ebb_rewrite *rewrite;
    const ebb_graph *from;
    ebb_graph *to;
    const ebb_allocator *allocator;
    size_t n_ids;   /* ids of `from`, 0 included */
    uint8_t *used;  /* by id of `from` */
    uint32_t *uses; /* by id of `from`: inputs, outputs, updates */
    uint32_t *map;
    uint32_t *new_uses; /* by id of `to`: uses of what it stands for */
    uint32_t n_new_uses, new_uses_capacity;
    ebb_node *inputs; /* of the node at hand */
    size_t inputs_capacity;
    ebb_rewrite_counts *counts;
    ebb_node old; /* the node at hand */
    rule_index index;
} driver;

static void mark_needed(driver *d, const ebb_node *outputs, int64_t n_outputs)
{
    ebb_graph_mark_kept(d->from, outputs, n_outputs, d->rewrite->keep_updates, d->used, d->uses);
    for (size_t id = 1; id < d->n_ids; id++)
        if (d->uses[id])
            d->used[id] = IS_OUTPUT;
}

/* Counts uses, and the longest list of inputs. Returns the number of nodes that are needed. */
static size_t count_uses(driver *d)
{
    size_t n_used = 0;
    for (size_t id = 1; id < d->n_ids; id++) {
        if (!d->used[id])
            continue;
        n_used++;
        ebb_node node = ebb_graph_node(d->from, (uint32_t)id);
        const uint32_t *inputs = ebb_node_input_ids(node);
        int n_inputs = ebb_node_n_inputs(node);
        if ((size_t)n_inputs > d->inputs_capacity)
            d->inputs_capacity = (size_t)n_inputs;
        if (ebb_node_op(node) == &ebb_op_result)
            continue;
        for (int i = 0; i < n_inputs; i++)
            d->uses[inputs[i]]++;
    }
    return n_used;
}

/* The first rule at or behind `number` in its chain that matches; -1 if none does. */
static int find_match(const driver *d, int number, ebb_match *match)
{
    for (; number >= 0; number = d->index.rules[number].next) {
        const struct indexed_rule *indexed = &d->index.rules[number];
        if (match_rule(indexed->rule, indexed->n_swaps, d->rewrite->fast_math, match))
            return number;
    }
    return -1;
}

/* True if a rule could apply to a node of the old graph. */
static bool find_work(driver *d)
{
    for (size_t id = 1; id < d->n_ids; id++) {
        ebb_node node = ebb_graph_node(d->from, (uint32_t)id);
        const ebb_op *op = ebb_node_op(node);
        if (!d->used[id] || op->n_results != 1 || op == &ebb_op_result)
            continue;
        int n_inputs = ebb_node_n_inputs(node);
        const uint32_t *ids = ebb_node_input_ids(node);
        for (int i = 0; i < n_inputs; i++)
            d->inputs[i] = ebb_graph_node(d->from, ids[i]);
        ebb_match match = { .graph = node.graph,
                            .op = op,
                            .attrs = ebb_node_attrs(node),
                            .type = ebb_node_type(node),
                            .n_inputs = n_inputs,
                            .inputs = d->inputs,
                            .is_output = d->used[id] == IS_OUTPUT,
                            .uses = d->uses,
                            .n_uses = (uint32_t)d->n_ids,
                            .rewrite = d->rewrite };
        const struct index_slot *slot = find_slot(&d->index, op);
        if (find_match(d, slot->op ? slot->first : -1, &match) >= 0 ||
            find_match(d, d->index.any, &match) >= 0)
            return true;
    }
    return false;
}

/* Tries a chain of rules; the replacement, or none. */
static ebb_node apply_chain(driver *d, int first, ebb_match *match)
{
    for (int number = find_match(d, first, match); number >= 0;
         number = find_match(d, d->index.rules[number].next, match)) {
        const ebb_rule *rule = d->index.rules[number].rule;
        ebb_graph_stand_at(d->to, d->old);
        ebb_node node = rule->rhs ? emit_pattern(rule->rhs, match) : rule->build(match);
        if (node.id && !ebb_type_equal(ebb_node_type(node), match->type))
            return ebb_graph_fail(d->to, EBB_INTERNAL, "rule %s changes the type", rule->name);
        if (node.id) {
            d->counts->total++;
            d->counts->hits[number]++;
        }
        if (node.id || ebb_graph_status(d->to))
            return node;
    }
    return EBB_NONE;
}

/* Applies rules to the root in `match` until none does. The replacement, or none: the root stays.
 */
static ebb_node apply_rules(driver *d, ebb_match *match)
{
    int budget = d->rewrite->budget ? d->rewrite->budget : EBB_REWRITE_BUDGET;
    uint32_t n_before = ebb_graph_n_nodes(d->to);
    ebb_node node = EBB_NONE, inputs[EBB_MAX_PATTERN_INPUTS];
    const char *rule_op = match->op->name;
    for (;;) {
        const struct index_slot *slot = find_slot(&d->index, match->op);
        ebb_node next = slot->op ? apply_chain(d, slot->first, match) : EBB_NONE;
        if (!next.id && !ebb_graph_status(d->to))
            next = apply_chain(d, d->index.any, match);
        if (!next.id)
            return node;
        node = next;
        if (node.id <= n_before) /* was there, and has been looked at */
            return node;
        if (--budget <= 0)
            break;
        const ebb_op *op = ebb_node_op(node);
        const uint32_t *ids = ebb_node_input_ids(node);
        int n_inputs = ebb_node_n_inputs(node);
        if (op->n_results != 1 || op == &ebb_op_result || n_inputs > EBB_MAX_PATTERN_INPUTS)
            return node;
        for (int i = 0; i < n_inputs; i++)
            inputs[i] = (ebb_node){ d->to, ids[i] };
        match->op = op;
        match->attrs = ebb_node_attrs(node);
        match->type = ebb_node_type(node);
        match->n_inputs = n_inputs;
        match->inputs = inputs;
    }
    d->counts->n_exhausted++;
    if (d->rewrite->log.write) {
        char text[EBB_NODE_TEXT_BYTES], message[EBB_NODE_TEXT_BYTES + 100];
        snprintf(message, sizeof message, "pass %.40s: rules at %.40s %s do not come to an end",
                 d->rewrite->pass, rule_op, ebb_node_text(node, text));
        d->rewrite->log.write(d->rewrite->log.context, EBB_LOG_WARNING, message);
    }
    return node;
}

/* Room for the uses of every node of the new graph. */
static bool extend_new_uses(driver *d)
{
    uint32_t needed = ebb_graph_n_nodes(d->to) + 1;
    if (needed > d->new_uses_capacity) {
        uint32_t capacity = needed > UINT32_MAX / 2 ? UINT32_MAX : 2 * needed;
        uint32_t *grown = ebb_allocate(d->allocator, capacity * sizeof *grown);
        if (!grown)
            return false;
        if (d->n_new_uses)
            memcpy(grown, d->new_uses, d->n_new_uses * sizeof *grown);
        ebb_release(d->allocator, d->new_uses, d->new_uses_capacity * sizeof *grown);
        d->new_uses = grown;
        d->new_uses_capacity = capacity;
    }
    memset(d->new_uses + d->n_new_uses, 0, (needed - d->n_new_uses) * sizeof *d->new_uses);
    d->n_new_uses = needed;
    return true;
}

static void copy_node(driver *d, ebb_node old)
{
    const ebb_op *op = ebb_node_op(old);
    const uint32_t *ids = ebb_node_input_ids(old);
    int n_inputs = ebb_node_n_inputs(old);
    for (int i = 0; i < n_inputs; i++)
        d->inputs[i] = (ebb_node){ d->to, d->map[ids[i]] };
    ebb_node node = EBB_NONE;
    if (op->n_results == 1 && d->index.n_rules > 0) {
        ebb_match match = { .graph = d->to,
                            .op = op,
                            .attrs = ebb_node_attrs(old),
                            .type = ebb_node_type(old),
                            .n_inputs = n_inputs,
                            .inputs = d->inputs,
                            .is_output = d->used[old.id] == IS_OUTPUT,
                            .uses = d->new_uses,
                            .n_uses = d->n_new_uses,
                            .rewrite = d->rewrite };
        d->old = old;
        node = apply_rules(d, &match);
        const char *name = ebb_node_name(old);
        if (node.id && *name) {
            ebb_graph_stand_at(d->to, old);
            ebb_named(node, name);
        }
    }
    ebb_node results[EBB_MAX_RESULTS] = { node };
    if (!node.id && !ebb_graph_status(d->to))
        ebb_graph_copy_node(d->to, old, d->inputs, results);
    if (ebb_graph_status(d->to))
        return;
    if (!extend_new_uses(d)) {
        ebb_graph_fail(d->to, EBB_OUT_OF_MEMORY, "out of memory");
        return;
    }
    for (int r = 0; r < op->n_results; r++) {
        d->map[old.id + (uint32_t)r] = results[r].id;
        d->new_uses[results[r].id] += d->uses[old.id + (uint32_t)r];
    }
}

static ebb_status copy_all(driver *d, ebb_error *error)
{
    memset(d->map, 0, d->n_ids * sizeof *d->map);
    for (size_t id = 1; id < d->n_ids && !ebb_graph_status(d->to); id++) {
        ebb_node old = ebb_graph_node(d->from, (uint32_t)id);
        if (d->used[id] && ebb_node_op(old) != &ebb_op_result)
            copy_node(d, old);
    }
    int64_t n_updates = d->rewrite->keep_updates ? ebb_graph_n_updates(d->from) : 0;
    for (int64_t i = 0; i < n_updates; i++) {
        ebb_node variable, value;
        ebb_graph_update(d->from, i, &variable, &value);
        ebb_update(ebb_graph_node(d->to, d->map[variable.id]),
                   ebb_graph_node(d->to, d->map[value.id]));
    }
    ebb_status status = ebb_graph_status(d->to);
    if (!status)
        return EBB_OK;
    bool expected = status == EBB_OUT_OF_MEMORY || status == EBB_LIMIT;
    return ebb_fail(error, expected ? status : EBB_INTERNAL, "pass %s: %s", d->rewrite->pass,
                    ebb_graph_message(d->to));
}

static ebb_status check_arguments(const ebb_graph *graph, const ebb_node *outputs,
                                  int64_t n_outputs, ebb_error *error)
{
    ebb_status status = ebb_graph_status(graph);
    if (status)
        return ebb_fail(error, status, "%s", ebb_graph_message(graph));
    for (int64_t i = 0; i < n_outputs; i++) {
        if (!ebb_graph_owns(graph, outputs[i])) {
            char text[EBB_NODE_TEXT_BYTES];
            return ebb_fail(error, EBB_BAD_NODE, "output %lld (%s) is no node of graph \"%s\"",
                            (long long)i, ebb_node_text(outputs[i], text), ebb_graph_name(graph));
        }
    }
    return EBB_OK;
}

ebb_status ebb_rewrite_run(const ebb_rewrite *rewrite, const ebb_graph *graph,
                           const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                           uint32_t *map, ebb_rewrite_counts *counts, ebb_error *error)
{
    *result = NULL;
    ebb_status status = check_arguments(graph, outputs, n_outputs, error);
    if (status)
        return status;
    const ebb_allocator *allocator = ebb_graph_allocator(graph);
    size_t n_ids = (size_t)ebb_graph_n_nodes(graph) + 1;
    driver d = { .rewrite = rewrite,
                 .from = graph,
                 .allocator = allocator,
                 .n_ids = n_ids,
                 .map = map,
                 .counts = counts,
                 .inputs_capacity = EBB_MAX_PATTERN_INPUTS };
    size_t inputs_bytes = 0;
    if (!index_rules(&d.index, rewrite))
        return ebb_fail(error, EBB_INTERNAL, "pass %s has too many rules", rewrite->pass);
    d.used = ebb_allocate(allocator, n_ids * sizeof *d.used);
    d.uses = ebb_allocate(allocator, n_ids * sizeof *d.uses);
    status = EBB_OUT_OF_MEMORY;
    if (!d.used || !d.uses)
        goto done;
    memset(d.used, 0, n_ids * sizeof *d.used);
    memset(d.uses, 0, n_ids * sizeof *d.uses);
    mark_needed(&d, outputs, n_outputs);
    size_t n_used = count_uses(&d);
    inputs_bytes = d.inputs_capacity * sizeof *d.inputs;
    d.inputs = ebb_allocate(allocator, inputs_bytes);
    if (!d.inputs)
        goto done;
    status = EBB_OK;
    if (rewrite->lazy && !(rewrite->sweep && n_used + 1 < n_ids) && !find_work(&d))
        goto done;
    d.to = ebb_graph_create_like(graph);
    status = d.to ? copy_all(&d, error) : EBB_OUT_OF_MEMORY;
    if (!status)
        *result = d.to;
    else
        ebb_graph_destroy(d.to);

done:
    if (status == EBB_OUT_OF_MEMORY)
        ebb_fail(error, status, "pass %s: out of memory", rewrite->pass);
    ebb_release(allocator, d.used, n_ids * sizeof *d.used);
    ebb_release(allocator, d.uses, n_ids * sizeof *d.uses);
    ebb_release(allocator, d.inputs, inputs_bytes);
    ebb_release(allocator, d.new_uses, d.new_uses_capacity * sizeof *d.new_uses);
    return status;
}

/* ---- text ---- */

static size_t write_pattern(const ebb_pattern *pattern, char *text, size_t bytes)
{
    static const char letters[] = "abcd";
    switch (pattern->kind) {
    case EBB_PATTERN_OPERAND:
        return (size_t)snprintf(text, bytes, "%c", letters[pattern->operand]);
    case EBB_PATTERN_CONSTANT:
        return (size_t)snprintf(text, bytes, "const %c", letters[pattern->operand]);
    case EBB_PATTERN_ANY_SPLAT:
        return (size_t)snprintf(text, bytes, "splat %c", letters[pattern->operand]);
    case EBB_PATTERN_SPLAT:
        return (size_t)snprintf(text, bytes, "%g", pattern->value);
    case EBB_PATTERN_OP:
        break;
    }
    size_t at = (size_t)snprintf(text, bytes, "%s(", pattern->op->name);
    for (int i = 0; i < count_inputs(pattern) && at < bytes; i++) {
        at += (size_t)snprintf(text + at, bytes - at, i ? ", " : "");
        if (at < bytes)
            at += write_pattern(pattern->inputs[i], text + at, bytes - at);
    }
    if (at < bytes)
        at += (size_t)snprintf(text + at, bytes - at, ")");
    return at;
}

const char *ebb_pattern_text(const ebb_pattern *pattern, char text[EBB_PATTERN_TEXT_BYTES])
{
    write_pattern(pattern, text, EBB_PATTERN_TEXT_BYTES);
    return text;
}
