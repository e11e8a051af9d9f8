/* fuse: element-wise nodes of one shape become programs (op fused).
 *
 * Every needed node gets a level such that it rises along each edge that leaves a fusible node
 * without being a link (both ends fusible, of one shape), and never falls. Nodes of one level that
 * links connect are a group. A way out of a group and back would have to rise, so groups can be
 * computed as a whole; so can the pieces of a group that is too large, cut in the order of ids.
 * Levels start as low as they can be. A node whose readers are all on higher levels, as the factors
 * in gradients are, moves up to the first of them if it then holds little in memory: it is computed
 * there again from what is there anyway. Linear in nodes and edges. */
#define EBB_NO_LOCATIONS
#include "passes/fuse.h"
#include "graph/graph_build.h"
#include "passes/constants.h"

#include <string.h>

/* What is known of a node of the old graph, by id. */
typedef struct record {
    uint32_t uses;   /* by needed nodes, outputs, updates */
    uint32_t level;  /* see above */
    uint32_t latest; /* highest level that its readers allow */
    uint32_t group;  /* while groups are found: towards the group's first node */
    uint32_t piece;  /* place in pieces, plus one; 0: none */
    uint32_t stamp;  /* of the piece that met it last */
    uint32_t number; /* of its value in that piece */
    uint32_t left;   /* uses outside the piece that is being made */
    bool is_needed, is_fusible;
    bool is_near; /* a reader that could be in its group is on `latest` */
} record;

typedef struct piece {
    uint32_t first, n; /* in members */
} piece;

/* What is being emitted: a node, or the piece whose last member it is. */
typedef struct pending {
    uint32_t id;
    uint32_t member; /* of the piece, and input of it, to look at next */
    int32_t input;
} pending;

typedef struct fusing {
    const ebb_graph *from;
    ebb_graph *to;
    const ebb_allocator *allocator;
    const ebb_fuse *options;
    record *records;
    size_t n_ids;
    uint32_t *members; /* fusible nodes, by group, ascending */
    uint32_t n_members;
    piece *pieces;
    uint32_t n_pieces;
    pending *stack;
    uint32_t *map;
    ebb_node *inputs; /* of the node at hand */
    size_t most_inputs;
    ebb_instruction *instructions;
    uint32_t stamp;
    int64_t n_programs;
} fusing;

static ebb_node node_at(const fusing *f, uint32_t id)
{
    return ebb_graph_node(f->from, id);
}

static const ebb_shape *shape_of(const fusing *f, uint32_t id)
{
    return &ebb_node_type(node_at(f, id))->shape;
}

/* ---- marking ---- */

static ebb_status mark_needed(fusing *f, const ebb_node *outputs, int64_t n_outputs)
{
    const size_t bytes = f->n_ids * sizeof(uint32_t);
    uint32_t *uses = ebb_allocate(f->allocator, bytes);
    uint8_t *used = ebb_allocate(f->allocator, f->n_ids);
    const bool done = uses && used;
    if (done) {
        memset(uses, 0, bytes);
        memset(used, 0, f->n_ids);
        ebb_graph_mark_kept(f->from, outputs, n_outputs, f->options->keep_updates, used, uses);
        for (size_t id = 1; id < f->n_ids; id++) {
            f->records[id].uses = uses[id];
            f->records[id].is_needed = used[id];
        }
    }
    ebb_release(f->allocator, used, f->n_ids);
    ebb_release(f->allocator, uses, bytes);
    return done ? EBB_OK : EBB_OUT_OF_MEMORY;
}

static bool may_fuse(const fusing *f, ebb_node node)
{
    return ebb_op_is_instruction(ebb_node_op(node)) &&
           (!f->options->may_fuse || f->options->may_fuse(f->options->context, node));
}

static void look_at_nodes(fusing *f)
{
    for (uint32_t id = 1; id < f->n_ids; id++) {
        if (!f->records[id].is_needed)
            continue;
        const ebb_node node = node_at(f, id);
        const uint32_t *inputs = ebb_node_input_ids(node);
        const int n = ebb_node_n_inputs(node);
        if ((size_t)n > f->most_inputs)
            f->most_inputs = (size_t)n;
        for (int i = 0; i < n; i++)
            f->records[inputs[i]].uses++;
        f->records[id].is_fusible = may_fuse(f, node);
    }
}

/* ---- levels ---- */

/* Both could be in one group: `a` is an input of `b`. */
static bool is_link(const fusing *f, uint32_t a, uint32_t b)
{
    return f->records[a].is_fusible && f->records[b].is_fusible &&
           ebb_shape_equal(shape_of(f, a), shape_of(f, b));
}

static uint32_t rise_of(const fusing *f, uint32_t from, uint32_t to)
{
    return f->records[from].is_fusible && !is_link(f, from, to);
}

static void find_lowest_levels(fusing *f)
{
    for (uint32_t id = 1; id < f->n_ids; id++) {
        record *r = &f->records[id];
        r->latest = UINT32_MAX;
        if (!r->is_needed)
            continue;
        const ebb_node node = node_at(f, id);
        const uint32_t *inputs = ebb_node_input_ids(node);
        for (int i = 0; i < ebb_node_n_inputs(node); i++) {
            const uint32_t level = f->records[inputs[i]].level + rise_of(f, inputs[i], id);
            if (level > r->level)
                r->level = level;
        }
    }
}

/* True if a reader of this value does not keep memory busy by waiting: it is there all the time, or
 * takes next to none, or would wait in its place. */
static bool is_cheap_to_keep(const fusing *f, uint32_t id, uint32_t reader)
{
    const ebb_op *op = ebb_node_op(node_at(f, id));
    return (op->traits & EBB_TRAIT_SOURCE) || op == &ebb_op_broadcast_to ||
           (f->records[id].uses == 1 && is_link(f, id, reader));
}

static bool may_wait(const fusing *f, uint32_t id)
{
    const record *r = &f->records[id];
    if (!r->is_fusible || !r->is_near || r->latest == UINT32_MAX || r->latest <= r->level)
        return false;
    const ebb_node node = node_at(f, id);
    const uint32_t *inputs = ebb_node_input_ids(node);
    uint32_t kept = 0;
    for (int i = 0; i < ebb_node_n_inputs(node); i++) {
        if (inputs[i] == kept || is_cheap_to_keep(f, inputs[i], id))
            continue;
        if (kept)
            return false;
        kept = inputs[i];
    }
    return true;
}

/* Readers first. */
static void raise_levels(fusing *f)
{
    for (uint32_t id = (uint32_t)f->n_ids - 1; id >= 1; id--) {
        record *r = &f->records[id];
        if (!r->is_needed)
            continue;
        if (may_wait(f, id))
            r->level = r->latest;
        const ebb_node node = node_at(f, id);
        const uint32_t *inputs = ebb_node_input_ids(node);
        for (int i = 0; i < ebb_node_n_inputs(node); i++) {
            record *input = &f->records[inputs[i]];
            const uint32_t rise = rise_of(f, inputs[i], id), latest = r->level - rise;
            if (latest < input->latest) {
                input->latest = latest;
                input->is_near = false;
            }
            if (latest == input->latest && is_link(f, inputs[i], id))
                input->is_near = true;
        }
    }
}

/* ---- groups ---- */

static uint32_t find_group(const fusing *f, uint32_t id)
{
    while (f->records[id].group != id) {
        f->records[id].group = f->records[f->records[id].group].group;
        id = f->records[id].group;
    }
    return id;
}

static void find_groups(fusing *f)
{
    for (uint32_t id = 1; id < f->n_ids; id++) {
        f->records[id].group = id;
        if (!f->records[id].is_needed || !f->records[id].is_fusible)
            continue;
        f->n_members++;
        const ebb_node node = node_at(f, id);
        const uint32_t *inputs = ebb_node_input_ids(node);
        for (int i = 0; i < ebb_node_n_inputs(node); i++) {
            if (f->records[inputs[i]].level != f->records[id].level || !is_link(f, inputs[i], id))
                continue;
            const uint32_t a = find_group(f, inputs[i]), b = find_group(f, id);
            f->records[a < b ? b : a].group = a < b ? a : b;
        }
    }
}

/* Fills members: groups one behind the other, in the order of their first nodes. `number` of a
 * first node counts the members of its group, then is the place of the next one. */
static void list_members(fusing *f)
{
    for (uint32_t id = 1; id < f->n_ids; id++)
        if (f->records[id].is_needed && f->records[id].is_fusible)
            f->records[find_group(f, id)].number++;
    uint32_t at = 0;
    for (uint32_t id = 1; id < f->n_ids; id++) {
        const record *r = &f->records[id];
        if (!r->is_needed || !r->is_fusible || r->group != id)
            continue;
        const uint32_t n = r->number;
        f->records[id].number = at;
        at += n;
    }
    for (uint32_t id = 1; id < f->n_ids; id++)
        if (f->records[id].is_needed && f->records[id].is_fusible)
            f->members[f->records[find_group(f, id)].number++] = id;
}

/* ---- pieces ---- */

/* A piece while members are added to it, one after the other. */
typedef struct growth {
    uint32_t n_instructions, n_inputs, n_open; /* open: has uses outside */
} growth;

static void add_member(fusing *f, growth *g, uint32_t id)
{
    const ebb_node node = node_at(f, id);
    const uint32_t *inputs = ebb_node_input_ids(node);
    for (int i = 0; i < ebb_node_n_inputs(node); i++) {
        const ebb_node splat = ebb_splat_behind(node_at(f, inputs[i]));
        record *r = &f->records[splat.id ? splat.id : inputs[i]];
        if (r->stamp != f->stamp) {
            r->stamp = f->stamp;
            r->left = UINT32_MAX; /* no member */
            g->n_instructions += splat.id != 0;
            g->n_inputs += splat.id == 0;
        } else if (r->left != UINT32_MAX) {
            r->left--;
            g->n_open -= r->left == 0;
        }
    }
    record *own = &f->records[id];
    own->stamp = f->stamp;
    own->left = own->uses;
    g->n_instructions++;
    g->n_open += own->uses > 0;
}

/* Cuts the group whose members stand in [begin, end) into pieces within the limits. As many members
 * as possible are tried, although between its ends a piece may have too many open values; where
 * that fails early, the members that were tried in vain are not tried so again. */
static void cut_group(fusing *f, uint32_t begin, uint32_t end)
{
    const ebb_fuse_limits *most = &f->options->limits;
    uint32_t strict_end = begin;
    while (begin < end) {
        growth g = { 0 };
        uint32_t at = begin, good = begin;
        f->stamp++;
        for (; at < end; at++) {
            add_member(f, &g, f->members[at]);
            const bool fits = g.n_instructions <= most->instructions && g.n_inputs <= most->inputs;
            if (at > begin && (!fits || (g.n_open > most->results && at < strict_end)))
                break;
            if (at == begin || g.n_open <= most->results)
                good = at + 1;
        }
        if (at > strict_end && good - begin < (at - begin) / 2)
            strict_end = at;
        if (good - begin > 1 && g.n_inputs > 0) {
            for (uint32_t i = begin; i < good; i++)
                f->records[f->members[i]].piece = f->n_pieces + 1;
            f->pieces[f->n_pieces++] = (piece){ begin, good - begin };
        }
        begin = good;
    }
}

static void cut_groups(fusing *f)
{
    for (size_t id = 1; id < f->n_ids; id++)
        f->records[id].stamp = 0;
    uint32_t begin = 0;
    while (begin < f->n_members) {
        const uint32_t group = find_group(f, f->members[begin]);
        uint32_t end = begin + 1;
        while (end < f->n_members && find_group(f, f->members[end]) == group)
            end++;
        cut_group(f, begin, end);
        begin = end;
    }
}

/* ---- the new graph ---- */

/* The number of a value that the piece reads; new ones are added as constants or inputs. */
static int32_t number_of(fusing *f, uint32_t id, ebb_program *program)
{
    const ebb_node splat = ebb_splat_behind(node_at(f, id));
    record *r = &f->records[splat.id ? splat.id : id];
    if (r->stamp == f->stamp)
        return (int32_t)r->number;
    r->stamp = f->stamp;
    if (splat.id) {
        const ebb_constant_attrs *attrs = ebb_node_attrs(splat);
        ebb_instruction *i = &f->instructions[program->n_instructions];
        *i = (ebb_instruction){ .dtype = attrs->type.dtype };
        memcpy(&i->bits, attrs->data, ebb_dtype_bytes(attrs->type.dtype));
        r->number = (uint32_t)(program->n_inputs + program->n_instructions++);
    }
    return (int32_t)r->number;
}

/* Numbers the inputs of a piece, and counts for each member the uses outside. */
static void number_inputs(fusing *f, const piece *p, ebb_program *program)
{
    f->stamp++;
    for (uint32_t m = 0; m < p->n; m++) {
        record *own = &f->records[f->members[p->first + m]];
        own->left = own->uses;
    }
    const uint32_t this_piece = f->records[f->members[p->first]].piece;
    for (uint32_t m = 0; m < p->n; m++) {
        const ebb_node node = node_at(f, f->members[p->first + m]);
        const uint32_t *inputs = ebb_node_input_ids(node);
        for (int i = 0; i < ebb_node_n_inputs(node); i++) {
            record *r = &f->records[inputs[i]];
            if (r->piece == this_piece) {
                r->left--;
            } else if (r->stamp != f->stamp && !ebb_splat_behind(node_at(f, inputs[i])).id) {
                r->stamp = f->stamp;
                r->number = (uint32_t)program->n_inputs;
                f->inputs[program->n_inputs++] = ebb_graph_node(f->to, f->map[inputs[i]]);
            }
        }
    }
}

static void emit_piece(fusing *f, const piece *p)
{
    int32_t numbers[EBB_MAX_RESULTS];
    uint32_t ids[EBB_MAX_RESULTS];
    ebb_program program = { .instructions = f->instructions, .results = numbers };
    const ebb_fused_attrs attrs = { &program };
    number_inputs(f, p, &program);
    for (uint32_t m = 0; m < p->n; m++) {
        const uint32_t id = f->members[p->first + m];
        const ebb_node node = node_at(f, id);
        const uint32_t *inputs = ebb_node_input_ids(node);
        ebb_instruction made = { .op = ebb_node_op(node) };
        if (made.op->attrs_bytes)
            made.attrs = ebb_node_attrs(node);
        for (int i = 0; i < ebb_node_n_inputs(node); i++)
            made.inputs[i] = number_of(f, inputs[i], &program);
        record *own = &f->records[id];
        own->stamp = f->stamp;
        own->number = (uint32_t)(program.n_inputs + program.n_instructions);
        f->instructions[program.n_instructions++] = made;
        if (own->left) {
            ids[program.n_results] = id;
            numbers[program.n_results++] = (int32_t)own->number;
        }
    }
    ebb_node results[EBB_MAX_RESULTS];
    ebb_graph_stand_at(f->to, node_at(f, ids[program.n_results - 1]));
    if (!ebb_emit(f->to, ebb_fused_op(program.n_results), f->inputs, program.n_inputs, &attrs,
                  results)
             .id)
        return;
    for (int r = 0; r < program.n_results; r++) {
        const ebb_node old = node_at(f, ids[r]);
        f->map[ids[r]] = results[r].id;
        if (!*ebb_node_name(old))
            continue;
        ebb_graph_stand_at(f->to, old);
        ebb_named(results[r], ebb_node_name(old));
    }
    f->n_programs++;
}

static void emit_node(fusing *f, ebb_node old)
{
    const ebb_op *op = ebb_node_op(old);
    const uint32_t *inputs = ebb_node_input_ids(old);
    ebb_node results[EBB_MAX_RESULTS];
    for (int i = 0; i < ebb_node_n_inputs(old); i++)
        f->inputs[i] = ebb_graph_node(f->to, f->map[inputs[i]]);
    ebb_graph_copy_node(f->to, old, f->inputs, results);
    for (int r = 0; r < op->n_results && !ebb_graph_status(f->to); r++)
        f->map[old.id + (uint32_t)r] = results[r].id;
}

/* What must be emitted so that this value is there. */
static uint32_t source_of(const fusing *f, uint32_t id)
{
    const ebb_node node = node_at(f, id);
    if (ebb_node_op(node) == &ebb_op_result)
        return ebb_node_input_ids(node)[0];
    if (!f->records[id].piece)
        return id;
    const piece *p = &f->pieces[f->records[id].piece - 1];
    return f->members[p->first + p->n - 1];
}

/* The next input that is not there yet; 0: all are. */
static uint32_t next_missing(const fusing *f, pending *p)
{
    const uint32_t in_piece = f->records[p->id].piece;
    const piece alone = { 0, 1 }, *whole = in_piece ? &f->pieces[in_piece - 1] : &alone;
    for (; p->member < whole->n; p->member++, p->input = 0) {
        const ebb_node node = node_at(f, in_piece ? f->members[whole->first + p->member] : p->id);
        const uint32_t *inputs = ebb_node_input_ids(node);
        while (p->input < ebb_node_n_inputs(node)) {
            const uint32_t id = inputs[p->input++];
            if (!f->map[id] && !(in_piece && f->records[id].piece == in_piece))
                return source_of(f, id);
        }
    }
    return 0;
}

/* In the order of ids, a piece at the place of its last member; what it or another node needs
 * earlier comes earlier. */
static void emit_all(fusing *f)
{
    for (uint32_t id = 1; id < f->n_ids && !ebb_graph_status(f->to); id++) {
        if (!f->records[id].is_needed || f->map[id] || source_of(f, id) != id)
            continue;
        uint32_t depth = 0;
        f->stack[depth++] = (pending){ .id = id };
        while (depth > 0 && !ebb_graph_status(f->to)) {
            pending *top = &f->stack[depth - 1];
            const uint32_t missing = next_missing(f, top);
            if (missing) {
                f->stack[depth++] = (pending){ .id = missing };
                continue;
            }
            const uint32_t in_piece = f->records[top->id].piece;
            if (in_piece)
                emit_piece(f, &f->pieces[in_piece - 1]);
            else
                emit_node(f, node_at(f, top->id));
            depth--;
        }
    }
    const int64_t n_updates = f->options->keep_updates ? ebb_graph_n_updates(f->from) : 0;
    for (int64_t i = 0; i < n_updates && !ebb_graph_status(f->to); i++) {
        ebb_node variable, value;
        ebb_graph_update(f->from, i, &variable, &value);
        ebb_update(ebb_graph_node(f->to, f->map[variable.id]),
                   ebb_graph_node(f->to, f->map[value.id]));
    }
}

/* ---- all ---- */

static ebb_status make_graph(fusing *f, ebb_error *error)
{
    const size_t inputs =
        f->most_inputs > EBB_MAX_PROGRAM_INPUTS ? f->most_inputs : EBB_MAX_PROGRAM_INPUTS;
    /* No item waits twice at once. */
    f->stack = ebb_allocate(f->allocator, f->n_ids * sizeof *f->stack);
    f->inputs = ebb_allocate(f->allocator, inputs * sizeof *f->inputs);
    f->instructions = ebb_allocate(f->allocator, EBB_MAX_INSTRUCTIONS * sizeof *f->instructions);
    f->to = ebb_graph_create_like(f->from);
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (f->stack && f->inputs && f->instructions && f->to) {
        memset(f->map, 0, f->n_ids * sizeof *f->map);
        emit_all(f);
        status = ebb_graph_status(f->to);
        if (status && status != EBB_OUT_OF_MEMORY)
            ebb_fail(error, status == EBB_LIMIT ? status : EBB_INTERNAL, "pass fuse: %s",
                     ebb_graph_message(f->to));
    }
    ebb_release(f->allocator, f->stack, f->n_ids * sizeof *f->stack);
    ebb_release(f->allocator, f->inputs, inputs * sizeof *f->inputs);
    ebb_release(f->allocator, f->instructions, EBB_MAX_INSTRUCTIONS * sizeof *f->instructions);
    return status;
}

static bool limits_are_valid(const ebb_fuse_limits *l)
{
    return l->inputs >= EBB_MAX_INSTRUCTION_INPUTS && l->inputs <= EBB_MAX_PROGRAM_INPUTS &&
           l->instructions > EBB_MAX_INSTRUCTION_INPUTS &&
           l->instructions <= EBB_MAX_INSTRUCTIONS && l->results >= 1 &&
           l->results <= EBB_MAX_RESULTS;
}

ebb_status ebb_fuse_run(const ebb_fuse *options, const ebb_graph *graph, const ebb_node *outputs,
                        int64_t n_outputs, ebb_graph **result, uint32_t *map, int64_t *n_programs,
                        ebb_error *error)
{
    const size_t n_ids = (size_t)ebb_graph_n_nodes(graph) + 1;
    fusing f = { .from = graph,
                 .allocator = ebb_graph_allocator(graph),
                 .options = options,
                 .n_ids = n_ids,
                 .map = map };
    *result = NULL;
    *n_programs = 0;
    if (!limits_are_valid(&options->limits))
        return ebb_fail(error, EBB_BAD_ARGUMENT, "pass fuse: limits out of range");
    f.records = ebb_allocate(f.allocator, n_ids * sizeof *f.records);
    ebb_status status = f.records ? EBB_OK : EBB_OUT_OF_MEMORY;
    if (!status) {
        memset(f.records, 0, n_ids * sizeof *f.records);
        status = mark_needed(&f, outputs, n_outputs);
    }
    size_t n_members = 0;
    if (!status) {
        look_at_nodes(&f);
        find_lowest_levels(&f);
        raise_levels(&f);
        find_groups(&f);
        n_members = f.n_members;
        f.members = ebb_allocate(f.allocator, n_members * sizeof *f.members);
        f.pieces = ebb_allocate(f.allocator, n_members * sizeof *f.pieces);
        status = f.members && f.pieces ? EBB_OK : EBB_OUT_OF_MEMORY;
    }
    if (!status) {
        list_members(&f);
        cut_groups(&f);
        if (f.n_pieces > 0)
            status = make_graph(&f, error);
    }
    if (status == EBB_OUT_OF_MEMORY)
        ebb_fail(error, status, "pass fuse: out of memory");
    ebb_release(f.allocator, f.pieces, n_members * sizeof *f.pieces);
    ebb_release(f.allocator, f.members, n_members * sizeof *f.members);
    ebb_release(f.allocator, f.records, n_ids * sizeof *f.records);
    *n_programs = f.n_programs;
    if (status)
        ebb_graph_destroy(f.to);
    else
        *result = f.to;
    return status;
}
