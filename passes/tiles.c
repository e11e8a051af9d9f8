/* tiles: programs of element-wise nodes (op fused; a single node counts as one) take in
 *
 * - the random numbers that they alone read: those have no other reader, and a counter that was
 *   there before them;
 * - the reductions of what they compute, which read nothing else.
 *
 * So no path can lead out of such a program and back into it. Linear. */
#define EBB_NO_LOCATIONS
#include "passes/tiles.h"
#include "ops/descriptors.h"
#include "passes/copying.h"

#include <string.h>

/* By id of the old graph. */
typedef struct record {
    uint32_t reader;   /* the last node that reads it */
    uint32_t n_reads;  /* by that node */
    uint32_t home;     /* the first result of what becomes the program that takes it in; 0: none */
    uint32_t next;     /* of a home its first reduction, of a reduction the next one; 0: none */
    uint32_t n_inside; /* readers of a result that go into the program */
    int n_asked;       /* of a home: reductions */
    bool is_home;
} record;

typedef struct tiles {
    ebb_copying c;
    const ebb_tiles *options;
    record *records;
    ebb_instruction *instructions; /* room for a program */
} tiles;

/* A program that is being made out of node `id`. Values are numbered anew: inputs, counters, random
 * numbers, then what was there. */
typedef struct growing {
    uint32_t id;
    ebb_program program;
    uint32_t inputs[EBB_MAX_PROGRAM_INPUTS]; /* old ids */
    int32_t results[EBB_MAX_RESULTS];
    uint32_t result_ids[EBB_MAX_RESULTS];    /* old ids */
    int32_t numbers[EBB_MAX_PROGRAM_VALUES]; /* of the old values */
} growing;

static const ebb_op *op_of(const tiles *t, uint32_t id)
{
    return ebb_node_op(ebb_copying_old(&t->c, id));
}

static const ebb_type *type_of(const tiles *t, uint32_t id)
{
    return ebb_node_type(ebb_copying_old(&t->c, id));
}

static bool may_start(const tiles *t, uint32_t id)
{
    const ebb_node node = ebb_copying_old(&t->c, id);
    if (ebb_op_has_program(ebb_node_op(node)))
        return true;
    return ebb_op_is_instruction(ebb_node_op(node)) &&
           (!t->options->may_fuse || t->options->may_fuse(t->options->join.context, node));
}

static bool is_wanted(const tiles *t, uint32_t id)
{
    return t->c.is_needed[id] &&
           ebb_op_instruction_kind(op_of(t, id)) == (ebb_instruction_kind)t->options->what;
}

/* ---- a program ---- */

/* The place of an old node among the inputs; -1: there is no room. */
static int32_t add_input(growing *g, uint32_t id)
{
    for (int i = 0; i < g->program.n_inputs; i++)
        if (g->inputs[i] == id)
            return i;
    if (g->program.n_inputs == EBB_MAX_PROGRAM_INPUTS)
        return -1;
    g->inputs[g->program.n_inputs] = id;
    return g->program.n_inputs++;
}

static bool is_taken_in(const tiles *t, const growing *g, uint32_t input)
{
    return t->options->what == EBB_TILES_RANDOM && t->records[input].home == g->id;
}

static int32_t add_instruction(const tiles *t, growing *g, const ebb_instruction *instruction)
{
    t->instructions[g->program.n_instructions] = *instruction;
    return g->program.n_inputs + g->program.n_instructions++;
}

/* Numbers the inputs, counters last, then makes the instructions of random numbers. False: there is
 * no room. */
static bool add_inputs(const tiles *t, growing *g)
{
    const ebb_node node = ebb_copying_old(&t->c, g->id);
    const uint32_t *ids = ebb_node_input_ids(node);
    const int n = ebb_node_n_inputs(node);
    for (int i = 0; i < n; i++)
        if (!is_taken_in(t, g, ids[i]) && (g->numbers[i] = add_input(g, ids[i])) < 0)
            return false;
    for (int i = 0; i < n; i++)
        if (is_taken_in(t, g, ids[i]) && add_input(g, ebb_copying_inputs(&t->c, ids[i])[0]) < 0)
            return false;
    for (int i = 0; i < n; i++) {
        int same = 0;
        while (ids[same] != ids[i])
            same++;
        if (same < i) {
            g->numbers[i] = g->numbers[same];
        } else if (is_taken_in(t, g, ids[i])) {
            const ebb_node random = ebb_copying_old(&t->c, ids[i]);
            const ebb_instruction made = {
                .op = ebb_node_op(random),
                .attrs = ebb_node_attrs(random),
                .inputs = { add_input(g, ebb_node_input_ids(random)[0]) },
            };
            if (g->program.n_instructions == EBB_MAX_INSTRUCTIONS)
                return false;
            g->numbers[i] = add_instruction(t, g, &made);
        }
    }
    return true;
}

/* The instruction for old value `value`, with its operands numbered anew. */
static bool add_element(const tiles *t, growing *g, const ebb_instruction *old, int32_t value)
{
    ebb_instruction made = *old;
    for (int i = 0; old->op && i < old->op->n_inputs; i++)
        made.inputs[i] = g->numbers[old->inputs[i]];
    if (g->program.n_instructions == EBB_MAX_INSTRUCTIONS)
        return false;
    g->numbers[value] = add_instruction(t, g, &made);
    return true;
}

/* What the node is made of, as a program: its own, or one of itself alone. */
static ebb_program program_of(const tiles *t, uint32_t id, ebb_instruction *alone, int32_t *result)
{
    const ebb_node node = ebb_copying_old(&t->c, id);
    const ebb_op *op = ebb_node_op(node);
    if (ebb_op_has_program(op))
        return *((const ebb_fused_attrs *)ebb_node_attrs(node))->program;
    *alone = (ebb_instruction){ .op = op, .attrs = op->attrs_bytes ? ebb_node_attrs(node) : NULL };
    for (int i = 0; i < op->n_inputs; i++)
        alone->inputs[i] = i;
    *result = op->n_inputs;
    return (ebb_program){ .n_inputs = op->n_inputs,
                          .n_instructions = 1,
                          .n_results = 1,
                          .instructions = alone,
                          .results = result };
}

/* A reduction and its value. */
typedef struct ending {
    uint32_t id;
    int32_t number;
} ending;

/* Reductions of the old node `id`, whose value is `number`. */
static bool add_reductions(const tiles *t, growing *g, uint32_t id, int32_t number, ending *endings,
                           int *n_endings)
{
    for (uint32_t at = t->records[g->id].next; at; at = t->records[at].next) {
        const ebb_node old = ebb_copying_old(&t->c, at);
        if (ebb_node_input_ids(old)[0] != id)
            continue;
        const ebb_instruction made = { .op = ebb_node_op(old),
                                       .attrs = ebb_node_attrs(old),
                                       .inputs = { number } };
        if (g->program.n_instructions == EBB_MAX_INSTRUCTIONS || *n_endings == EBB_MAX_RESULTS)
            return false;
        endings[(*n_endings)++] = (ending){ at, add_instruction(t, g, &made) };
    }
    return true;
}

static bool add_result(growing *g, uint32_t id, int32_t number)
{
    if (g->program.n_results == EBB_MAX_RESULTS)
        return false;
    g->result_ids[g->program.n_results] = id;
    g->results[g->program.n_results++] = number;
    return true;
}

/* The program of node `id` with all that is at home there; false: that is beyond the limits. */
static bool grow(const tiles *t, uint32_t id, growing *g)
{
    ebb_instruction alone;
    int32_t result;
    const ebb_program old = program_of(t, id, &alone, &result);
    g->id = id;
    g->program = (ebb_program){ .instructions = t->instructions, .results = g->results };
    if (!add_inputs(t, g))
        return false;
    ending endings[EBB_MAX_RESULTS];
    int n_endings = 0;
    for (int k = 0; k < old.n_instructions; k++) {
        const int32_t value = old.n_inputs + k;
        if (!add_element(t, g, &old.instructions[k], value))
            return false;
        for (int r = 0; r < old.n_results; r++)
            if (old.results[r] == value &&
                !add_reductions(t, g, id + (uint32_t)r, g->numbers[value], endings, &n_endings))
                return false;
    }
    for (int r = 0; r < old.n_results; r++) {
        const uint32_t result_id = id + (uint32_t)r;
        if (t->records[result_id].n_inside < t->c.uses[result_id] &&
            !add_result(g, result_id, g->numbers[old.results[r]]))
            return false;
    }
    for (int i = 0; i < n_endings; i++)
        if (!add_result(g, endings[i].id, endings[i].number))
            return false;
    return true;
}

static bool is_taken(const tiles *t, const growing *g)
{
    const ebb_join_options *join = &t->options->join;
    const ebb_fused_attrs attrs = { &g->program };
    const ebb_type *inputs[EBB_MAX_PROGRAM_INPUTS], *results[EBB_MAX_RESULTS];
    for (int i = 0; i < g->program.n_inputs; i++)
        inputs[i] = type_of(t, g->inputs[i]);
    for (int r = 0; r < g->program.n_results; r++)
        results[r] = type_of(t, g->result_ids[r]);
    return !join->takes || join->takes(join->context, ebb_tile_program_op(g->program.n_results),
                                       &attrs, g->program.n_inputs, inputs, results);
}

/* ---- finding ---- */

static void find_readers(tiles *t)
{
    for (uint32_t id = 1; id < t->c.n_ids; id++) {
        if (!t->c.is_needed[id] || op_of(t, id) == &ebb_op_result)
            continue;
        for (int i = 0; i < ebb_node_n_inputs(ebb_copying_old(&t->c, id)); i++) {
            record *r = &t->records[ebb_copying_inputs(&t->c, id)[i]];
            r->n_reads = r->reader == id ? r->n_reads + 1 : 1;
            r->reader = id;
        }
    }
}

/* Random numbers that one program alone reads. */
static bool find_random(tiles *t)
{
    bool any = false;
    for (uint32_t id = 1; id < t->c.n_ids; id++) {
        record *r = &t->records[id];
        if (!is_wanted(t, id) || !r->reader || r->n_reads != t->c.uses[id] ||
            !may_start(t, r->reader))
            continue;
        r->home = r->reader;
        t->records[r->home].is_home = true;
        any = true;
    }
    return any;
}

/* Reductions of what a program computes, if it is taken with them. Each is tried with those before
 * it; so that a program is not tried too often, no more than it could take. */
static bool find_reductions(tiles *t)
{
    bool any = false;
    growing g;
    for (uint32_t id = 1; id < t->c.n_ids; id++) {
        if (!is_wanted(t, id))
            continue;
        const uint32_t input = ebb_copying_inputs(&t->c, id)[0];
        const uint32_t home = ebb_node_first_result(ebb_copying_old(&t->c, input), NULL).id;
        record *h = &t->records[home], *own = &t->records[id];
        if (h->n_asked == EBB_MAX_RESULTS || !may_start(t, home))
            continue;
        h->n_asked++;
        own->home = home;
        own->next = h->next;
        h->next = id;
        t->records[input].n_inside++;
        if (grow(t, home, &g) && is_taken(t, &g)) {
            h->is_home = true;
            any = true;
        } else {
            h->next = own->next;
            own->home = own->next = 0;
            t->records[input].n_inside--;
        }
    }
    return any;
}

/* ---- the new graph ---- */

static void emit_program(tiles *t, growing *g)
{
    const ebb_fused_attrs attrs = { &g->program };
    ebb_node inputs[EBB_MAX_PROGRAM_INPUTS], results[EBB_MAX_RESULTS];
    for (int i = 0; i < g->program.n_inputs; i++)
        inputs[i] = ebb_copying_new(&t->c, g->inputs[i]);
    ebb_graph_stand_at(t->c.to, ebb_copying_old(&t->c, g->id));
    if (!ebb_emit(t->c.to, ebb_tile_program_op(g->program.n_results), inputs, g->program.n_inputs,
                  &attrs, results)
             .id)
        return;
    for (int r = 0; r < g->program.n_results; r++) {
        t->c.map[g->result_ids[r]] = results[r].id;
        ebb_copying_name(&t->c, g->result_ids[r]);
    }
}

/* Homes that no backend takes are none. Returns how many nodes find one. */
static int64_t ask(tiles *t)
{
    int64_t n = 0;
    growing g;
    for (uint32_t id = 1; id < t->c.n_ids; id++) {
        record *r = &t->records[id];
        r->is_home = r->is_home && grow(t, id, &g) && is_taken(t, &g);
    }
    for (uint32_t id = 1; id < t->c.n_ids; id++) {
        record *r = &t->records[id];
        r->home = t->records[r->home].is_home ? r->home : 0;
        n += r->home != 0;
    }
    return n;
}

static bool emit(void *context, uint32_t id)
{
    tiles *t = context;
    growing g;
    const record *r = &t->records[id];
    const bool is_program = !r->home && r->is_home && grow(t, id, &g);
    if (is_program)
        emit_program(t, &g);
    return is_program || r->home;
}

ebb_status ebb_tiles_run(const ebb_tiles *options, const ebb_graph *graph, const ebb_node *outputs,
                         int64_t n_outputs, ebb_graph **result, uint32_t *map, int64_t *n_hits,
                         ebb_error *error)
{
    tiles t = { .c = { .from = graph, .map = map, .keep_updates = options->join.keep_updates },
                .options = options };
    ebb_status status = ebb_copying_start(&t.c, outputs, n_outputs);
    const size_t bytes = t.c.n_ids * sizeof *t.records;
    const size_t instructions_bytes = EBB_MAX_INSTRUCTIONS * sizeof *t.instructions;
    t.records = ebb_allocate(t.c.allocator, bytes);
    t.instructions = ebb_allocate(t.c.allocator, instructions_bytes);
    if (!t.records || !t.instructions)
        status = EBB_OUT_OF_MEMORY;
    if (!status) {
        memset(t.records, 0, bytes);
        find_readers(&t);
        if (options->what == EBB_TILES_RANDOM ? find_random(&t) : find_reductions(&t)) {
            *n_hits = ask(&t);
            status = *n_hits ? ebb_copying_run(&t.c, emit, &t) : EBB_OK;
        }
    }
    ebb_release(t.c.allocator, t.instructions, instructions_bytes);
    ebb_release(t.c.allocator, t.records, bytes);
    return ebb_copying_finish(&t.c, "tiles", status, result, error);
}
