/* Kernels of programs: which are taken, where values lie, how long tiles are. */
#include "backends/native/fused.h"
#include <string.h>

enum {
    /* Slots, constants and moving operands together should fit in the first-level cache. */
    CACHE_BYTES = 32768,
    MOST_TILE = 1024,
    LEAST_TILE = 64,
    STREAM_TILE = 256, /* with results that go past the caches: so that stores and work overlap */
    RANDOM_TILE = 192, /* random numbers are made so many at a time, or a divisor of it */
    LEAST_ROWS = 64,   /* of reductions over leading axes, that is, elements of a result */
    /* Elements from which on a reduction is better in the program: where memory is not waited for,
     * its own kernel adds up more rows at a time. */
    LEAST_REDUCED = 2048,
    LEAST_COLUMNS = 1 << 19,
    MOST_PARTS = 64,
    FEW_ROWS = 4, /* in a tile: too few to be added up there */
    COSTLY_INSTRUCTION = EBB_CHEAP_WORK / EBB_COSTLY_WORK
};

static const ebb_program *program_of(const ebb_region *region)
{
    return ((const ebb_fused_attrs *)region->attrs)->program;
}

static void fill_dtypes(const ebb_region *region, ebb_dtype *dtypes)
{
    for (int i = 0; i < region->n_inputs; i++)
        dtypes[i] = region->inputs[i].type->dtype;
    ebb_program_dtypes(program_of(region), dtypes);
}

static ebb_shape shape_of(const ebb_region *region)
{
    const ebb_type *inputs[EBB_MAX_PROGRAM_INPUTS];
    if (!ebb_op_is_tile_program(region->op))
        return region->results[0].type->shape;
    for (int i = 0; i < region->n_inputs; i++)
        inputs[i] = region->inputs[i].type;
    return ebb_tile_program_shape(program_of(region), inputs);
}

static bool is_random(const ebb_instruction *i)
{
    return i->op && ebb_op_instruction_kind(i->op) == EBB_INSTRUCTION_RANDOM;
}

/* BEST, if there is a loop for every instruction. */
static int score_program(const ebb_region *region)
{
    const ebb_program *program = program_of(region);
    const ebb_vector_isa *isa = ebb_vector_isa_here();
    ebb_dtype dtypes[EBB_MAX_PROGRAM_VALUES];
    bool is_costly;
    fill_dtypes(region, dtypes);
    for (int k = 0; k < program->n_instructions; k++) {
        const ebb_instruction *i = &program->instructions[k];
        if (i->op && ebb_op_is_instruction(i->op) &&
            !ebb_native_find_map(isa, i->op, dtypes[i->inputs[0]], dtypes[program->n_inputs + k],
                                 &is_costly))
            return EBB_SCORE_NONE;
    }
    return EBB_SCORE_BEST;
}

static int score_fused(const ebb_region *region)
{
    return score_program(region) == EBB_SCORE_NONE ? EBB_SCORE_NONE
                                                   : ebb_native_score_layouts(region);
}

static bool is_fold(const ebb_instruction *i)
{
    return i->op && ebb_op_instruction_kind(i->op) == EBB_INSTRUCTION_REDUCTION;
}

/* Whether reductions are better in the program than alone. */
static bool folds_fit(const ebb_region *region, const ebb_shape *shape)
{
    const ebb_program *program = program_of(region);
    const int64_t n = ebb_shape_elements(shape);
    ebb_dtype dtypes[EBB_MAX_PROGRAM_VALUES];
    fill_dtypes(region, dtypes);
    for (int k = 0; k < program->n_instructions; k++) {
        ebb_tile_fold fold;
        if (!is_fold(&program->instructions[k]))
            continue;
        if (n == 0 || !ebb_tile_fold_make(&program->instructions[k], dtypes[program->n_inputs + k],
                                          shape, ebb_vector_isa_here(), &fold))
            return false;
        /* Partial results of each part must be few beside what they are made of. */
        if (!fold.is_direct && fold.kept > 1 && n / fold.kept < LEAST_ROWS)
            return false;
        if (n < (fold.run == 1 && fold.kept > 1 ? LEAST_COLUMNS : LEAST_REDUCED))
            return false;
    }
    return true;
}

/* Where an operand lies in another order, the parts are better: element-wise ones follow it. */
static int score_tile_program(const ebb_region *region)
{
    const ebb_shape shape = shape_of(region);
    for (int i = 0; i < region->n_inputs; i++) {
        if (region->inputs[i].type->shape.rank != shape.rank)
            continue;
        const ebb_walk walk = ebb_walk_make(&shape, region->inputs[i].layout.strides, 1);
        if (walk.strides[walk.rank - 1] != 0 && walk.strides[walk.rank - 1] != 1)
            return EBB_SCORE_NONE;
    }
    return folds_fit(region, &shape) ? score_program(region) : EBB_SCORE_NONE;
}

bool ebb_native_fused_wish(const ebb_region *region, ebb_layout *inputs)
{
    bool any = false;
    for (int i = 0; i < region->n_inputs; i++) {
        const ebb_shape *shape = &region->inputs[i].type->shape;
        if (!ebb_native_is_far(shape, inputs[i].strides))
            continue;
        inputs[i] = ebb_layout_dense(shape);
        any = true;
    }
    return any;
}

/* While a kernel is made. */
typedef struct making {
    const ebb_region *region;
    const ebb_compile_env *env;
    const ebb_program *program;
    ebb_tile_state *state;
    ebb_dtype dtypes[EBB_MAX_PROGRAM_VALUES];
    ebb_tile_place places[EBB_MAX_PROGRAM_VALUES];
    int32_t last_use[EBB_MAX_PROGRAM_VALUES]; /* instruction; n_instructions: the end of a tile */
    int32_t free_slots[EBB_MAX_INSTRUCTIONS];
    int n_free, n_slots, n_constants;
    size_t widest;
    int64_t work; /* of an element */
} making;

static void find_last_uses(making *m)
{
    const ebb_program *p = m->program;
    for (int v = 0; v < p->n_inputs + p->n_instructions; v++)
        m->last_use[v] = v - p->n_inputs; /* nobody reads it */
    for (int k = 0; k < p->n_instructions; k++)
        for (int i = 0; p->instructions[k].op && i < p->instructions[k].op->n_inputs; i++)
            m->last_use[p->instructions[k].inputs[i]] = k;
    for (int v = 0; v < p->n_inputs + p->n_instructions; v++) {
        const size_t bytes = ebb_dtype_bytes(m->dtypes[v]);
        m->widest = bytes > m->widest ? bytes : m->widest;
    }
}

/* Slots of values that instruction `k` reads last; those of elements that are as large as its own
 * (or else the others). A loop may write where it reads only if the sizes are equal. */
static void free_slots(making *m, int k, bool of_equal_size)
{
    const ebb_program *p = m->program;
    const ebb_instruction *i = &p->instructions[k];
    const size_t bytes = ebb_dtype_bytes(m->dtypes[p->n_inputs + k]);
    for (int n = 0; i->op && n < i->op->n_inputs; n++) {
        const int32_t v = i->inputs[n];
        bool seen = m->places[v].kind != EBB_PLACE_SLOT || m->last_use[v] != k;
        for (int before = 0; before < n; before++)
            seen = seen || i->inputs[before] == v;
        if (!seen && (ebb_dtype_bytes(m->dtypes[v]) == bytes) == of_equal_size)
            m->free_slots[m->n_free++] = m->places[v].index;
    }
}

/* Decides where every value lies. */
static void place_values(making *m)
{
    const ebb_program *p = m->program;
    ebb_tile_state *s = m->state;
    for (int i = 0; i < p->n_inputs; i++)
        m->places[i] = (ebb_tile_place){ EBB_PLACE_INPUT, i };
    for (int k = 0; k < p->n_instructions; k++)
        m->places[p->n_inputs + k].kind =
            is_fold(&p->instructions[k]) ? EBB_PLACE_NONE : EBB_PLACE_SLOT;
    for (int r = 0; r < p->n_results; r++) {
        if (s->results[r].is_fold)
            continue;
        if (s->results[r].is_streamed)
            m->last_use[p->results[r]] = p->n_instructions;
        else
            m->places[p->results[r]] = (ebb_tile_place){ EBB_PLACE_RESULT, r };
    }
    for (int k = 0; k < p->n_instructions; k++) {
        ebb_tile_place *own = &m->places[p->n_inputs + k];
        if (!p->instructions[k].op && own->kind == EBB_PLACE_SLOT &&
            m->last_use[p->n_inputs + k] < p->n_instructions) {
            *own = (ebb_tile_place){ EBB_PLACE_CONSTANT, m->n_constants++ };
            continue;
        }
        free_slots(m, k, true);
        if (own->kind == EBB_PLACE_SLOT)
            own->index = m->n_free > 0 ? m->free_slots[--m->n_free] : m->n_slots++;
        free_slots(m, k, false);
        if (own->kind == EBB_PLACE_SLOT && m->last_use[p->n_inputs + k] == k)
            m->free_slots[m->n_free++] = own->index;
    }
    for (int r = 0; r < p->n_results; r++)
        s->results[r].slot = m->places[p->results[r]].index;
}

static void classify_inputs(making *m)
{
    ebb_tile_state *s = m->state;
    const ebb_shape shape = shape_of(m->region);
    for (int i = 0; i < s->n_inputs; i++) {
        const ebb_operand *operand = &m->region->inputs[i];
        s->inputs[i].is_counter = operand->type->shape.rank != shape.rank;
        s->inputs[i].walk =
            ebb_walk_make(&shape, operand->layout.strides, ebb_dtype_bytes(operand->type->dtype));
        s->inputs[i].kind = ebb_operand_classify(&s->inputs[i].walk);
    }
}

/* Whole runs, or whole rows of columns, if there is room for one. */
static int64_t fit_tile(const ebb_tile_state *s, int64_t tile)
{
    int64_t most = 1;
    for (int f = 0; f < s->n_folds; f++) {
        const int64_t run = s->folds[f].run;
        const int64_t length = run == 1                   ? s->folds[f].kept
                               : run > EBB_TILE_SHORT_RUN ? run
                                                          : EBB_TILE_RUNS * run;
        if (length <= tile && length > most)
            most = length;
    }
    return tile / most * most;
}

static void make_folds(making *m)
{
    ebb_tile_state *s = m->state;
    const ebb_program *p = m->program;
    const ebb_shape shape = shape_of(m->region);
    int64_t most_parts = s->n_elements / EBB_CHEAP_WORK;
    s->unit = 1;
    for (int r = 0; r < p->n_results; r++) {
        const int k = p->results[r] - p->n_inputs;
        ebb_tile_fold *fold = &s->folds[s->n_folds];
        if (!is_fold(&p->instructions[k]))
            continue;
        s->results[r].is_fold = true;
        (void)ebb_tile_fold_make(&p->instructions[k], m->dtypes[p->results[r]], &shape,
                                 ebb_native_isa(m->env), fold);
        fold->result = r;
        s->n_folds++;
        const int64_t length = fold->is_direct ? fold->run : fold->run == 1 ? fold->kept : 1;
        s->unit = length > s->unit ? length : s->unit;
        const int64_t rows = s->n_elements / fold->kept / (LEAST_ROWS / 2);
        if (!fold->is_direct && fold->kept > 1 && rows < most_parts)
            most_parts = rows;
    }
    if (s->unit == 1)
        s->unit = 64; /* no two threads write to one cache line */
    const int64_t n_units = (s->n_elements + s->unit - 1) / s->unit;
    most_parts = most_parts < n_units ? most_parts : n_units;
    s->n_parts = most_parts < 1 ? 1 : most_parts < MOST_PARTS ? most_parts : MOST_PARTS;
}

static void choose_tile(making *m)
{
    ebb_tile_state *s = m->state;
    const int64_t n_tiles = m->n_slots + m->n_constants + s->n_inputs + s->n_results;
    int64_t tile = CACHE_BYTES / (n_tiles * (int64_t)m->widest) / LEAST_TILE * LEAST_TILE;
    tile = tile > MOST_TILE ? MOST_TILE : tile < LEAST_TILE ? LEAST_TILE : tile;
    if (s->is_streamed && tile > STREAM_TILE)
        tile = STREAM_TILE;
    if (s->n_random > 0)
        tile = (tile + RANDOM_TILE - 1) / RANDOM_TILE * RANDOM_TILE;
    tile = fit_tile(s, tile);
    if (tile > s->n_elements)
        tile = s->n_elements > 0 ? s->n_elements : 1;
    s->tile = tile;
    for (int i = 0; i < s->n_inputs && !s->row; i++) {
        const ebb_walk *walk = &s->inputs[i].walk;
        const int last = walk->rank - 1;
        if (s->inputs[i].kind == EBB_OPERAND_WALK && walk->strides[last] == 1 &&
            walk->dims[last] >= tile / 2)
            s->row = walk->dims[last];
    }
}

/* Slots, then buffers of inputs. One line between them: tiles are powers of two, and addresses that
 * agree in their last bits wait for each other. */
static void lay_out_scratch(making *m)
{
    ebb_tile_state *s = m->state;
    s->slot_bytes = ebb_native_round_up((size_t)s->tile * m->widest) + EBB_ALIGNMENT;
    size_t at = (size_t)m->n_slots * s->slot_bytes;
    for (int i = 0; i < s->n_inputs; i++) {
        ebb_tile_input *in = &s->inputs[i];
        const size_t bytes = in->walk.element_bytes;
        if (in->kind == EBB_OPERAND_DENSE || in->is_counter)
            continue;
        in->buffer = at;
        at += ebb_native_round_up((size_t)s->tile * bytes) + EBB_ALIGNMENT;
        if (in->kind == EBB_OPERAND_PERIODIC)
            at += ebb_native_round_up((size_t)in->walk.dims[1] * bytes);
    }
    for (int f = 0; f < s->n_folds; f++) {
        ebb_tile_fold *fold = &s->folds[f];
        s->rows[f] = at;
        if (fold->kind->fold != EBB_REDUCE_SUM || fold->run > 1 || s->tile / fold->kept >= FEW_ROWS)
            continue;
        bool is_costly;
        fold->add = ebb_native_find_map(ebb_native_isa(m->env), &ebb_op_add, fold->dtype,
                                        fold->dtype, &is_costly);
        at += ebb_native_round_up((size_t)fold->kept * ebb_dtype_bytes(fold->dtype));
    }
    s->thread_bytes = at;
}

/* The place of operand number `n` of instruction `k`, of which 0 is the result. */
static ebb_tile_place operand_place(const making *m, int k, int n)
{
    const ebb_instruction *i = &m->program->instructions[k];
    if (n == 0)
        return m->places[m->program->n_inputs + k];
    if (!i->op || n > i->op->n_inputs)
        return (ebb_tile_place){ EBB_PLACE_SLOT, -1 };
    return m->places[i->inputs[n - 1]];
}

/* Constants that are results: rare. */
static void run_constant_1(int64_t n, void *to, const void *const *inputs)
{
    ebb_row_read(inputs[0], 0, n, 1, to);
}
static void run_constant_4(int64_t n, void *to, const void *const *inputs)
{
    ebb_row_read(inputs[0], 0, n, 4, to);
}
static void run_constant_8(int64_t n, void *to, const void *const *inputs)
{
    ebb_row_read(inputs[0], 0, n, 8, to);
}

static void run_random_numbers(int64_t n, void *to, const void *const *inputs)
{
    const ebb_tile_random *r = inputs[1];
    ebb_random_source_fill(&r->source, *(const uint64_t *)inputs[0], *r->position, n, false, to);
}

/* NULL: it is no result. */
static const ebb_tile_fold *find_fold(const making *m, int32_t value)
{
    for (int f = 0; f < m->state->n_folds; f++)
        if (m->program->results[m->state->folds[f].result] == value)
            return &m->state->folds[f];
    return NULL;
}

/* The instructions that are left to run, without addresses of slots and operands. */
static void write_instructions(making *m, ebb_tile_step *program, ebb_tile_random *random,
                               char *constants)
{
    ebb_tile_state *s = m->state;
    const ebb_program *p = m->program;
    const ebb_vector_isa *isa = ebb_native_isa(m->env);
    int at = 0, n_random = 0;
    for (int k = 0; k < p->n_instructions; k++) {
        const ebb_instruction *i = &p->instructions[k];
        const size_t bytes = ebb_dtype_bytes(m->dtypes[p->n_inputs + k]);
        const ebb_tile_place own = operand_place(m, k, 0);
        bool is_costly = false;
        if (own.kind == EBB_PLACE_CONSTANT) {
            ebb_row_read((const char *)&i->bits, 0, s->tile, bytes,
                         constants + (size_t)own.index * s->slot_bytes);
            continue;
        }
        if (is_fold(i) && !find_fold(m, p->n_inputs + k))
            continue;
        ebb_tile_step *b = &program[at];
        if (is_fold(i)) {
            b->run = ebb_tile_fold_run;
            b->inputs[1] = find_fold(m, p->n_inputs + k);
        } else if (is_random(i)) {
            random[n_random].source = ebb_random_source_make(i->op, i->attrs, isa);
            b->run = run_random_numbers;
            b->inputs[1] = &random[n_random++];
            is_costly = true;
        } else if (i->op) {
            b->run = ebb_native_find_map(isa, i->op, m->dtypes[i->inputs[0]],
                                         m->dtypes[p->n_inputs + k], &is_costly);
            b->inputs[i->op->n_inputs] = i->attrs;
        } else {
            b->run = bytes == 1 ? run_constant_1 : bytes == 4 ? run_constant_4 : run_constant_8;
            b->inputs[0] = &i->bits;
        }
        for (int n = 0; n < EBB_TILE_PLACES; n++) {
            const ebb_tile_place where = operand_place(m, k, n);
            s->places[at * EBB_TILE_PLACES + n] = where;
            if (n > 0 && where.kind == EBB_PLACE_CONSTANT)
                b->inputs[n - 1] = constants + (size_t)where.index * s->slot_bytes;
        }
        m->work += is_costly ? COSTLY_INSTRUCTION : 1;
        at++;
    }
    s->n_instructions = at;
}

static int operand_of(const ebb_tile_state *s, ebb_tile_place where)
{
    return where.kind == EBB_PLACE_INPUT    ? where.index
           : where.kind == EBB_PLACE_RESULT ? s->n_inputs + where.index
                                            : -1;
}

/* Lists the addresses that follow operands; counted first, then filled in. */
static void list_moves(ebb_tile_state *s)
{
    const int n_places = s->n_instructions * EBB_TILE_PLACES,
              n_operands = s->n_inputs + s->n_results;
    int next[EBB_MAX_PROGRAM_INPUTS + EBB_MAX_RESULTS];
    for (int i = 0; i < n_places; i++) {
        const int operand = operand_of(s, s->places[i]);
        if (operand >= 0)
            s->first_move[operand + 1]++;
    }
    for (int o = 0; o < n_operands; o++) {
        s->first_move[o + 1] += s->first_move[o];
        next[o] = s->first_move[o];
    }
    for (int i = 0; i < n_places; i++) {
        const int operand = operand_of(s, s->places[i]);
        if (operand >= 0)
            s->moves[next[operand]++] =
                (ebb_tile_move){ (uint32_t)(i / EBB_TILE_PLACES), i % EBB_TILE_PLACES - 1 };
    }
}

/* A result may lie on an input that is not read any more when it is written. */
static void find_inplace(const making *m, ebb_kernel *kernel)
{
    const ebb_program *p = m->program;
    const ebb_tile_state *s = m->state;
    for (int r = 0; r < p->n_results; r++) {
        const int32_t written =
            s->results[r].is_streamed ? p->n_instructions : p->results[r] - p->n_inputs;
        unsigned allowed = 0;
        for (int i = 0; i < p->n_inputs; i++) {
            if (s->inputs[i].kind == EBB_OPERAND_DENSE && !s->results[r].is_fold &&
                s->inputs[i].walk.element_bytes == s->results[r].bytes && m->last_use[i] <= written)
                allowed |= 1u << i;
        }
        if (r == 0)
            kernel->inplace_inputs = allowed;
        else
            kernel->inplace_further[r - 1] = allowed;
    }
}

/* Behind the scratch of the threads; how much it is. */
static size_t lay_out_partials(ebb_tile_state *s)
{
    size_t at = 0;
    for (int f = 0; f < s->n_folds; f++) {
        s->folds[f].offset = at;
        if (!s->folds[f].is_direct)
            at += ebb_native_round_up((size_t)(s->n_parts * s->folds[f].kept) * sizeof(double));
    }
    return at;
}

static ebb_status allocate_state(making *m, size_t n_places, ebb_tile_step **program,
                                 ebb_tile_random **random, char **constants)
{
    ebb_tile_state *s = m->state;
    const size_t n = (size_t)m->program->n_instructions;
    *program = ebb_native_allocate(m->region, m->env, n * sizeof **program);
    *random = ebb_native_allocate(m->region, m->env, (size_t)s->n_random * sizeof **random + 1);
    *constants = ebb_native_allocate(m->region, m->env, (size_t)m->n_constants * s->slot_bytes + 1);
    s->places = ebb_native_allocate(m->region, m->env, n_places * sizeof *s->places);
    s->moves = ebb_native_allocate(m->region, m->env, n_places * sizeof *s->moves);
    return *program && *random && *constants && s->places && s->moves ? EBB_OK : EBB_OUT_OF_MEMORY;
}

static ebb_tile_fold_at *tie_fold(const ebb_tile_state *s, ebb_tile_worker *w,
                                  const ebb_tile_fold *fold)
{
    ebb_tile_fold_at *at = &w->folds[fold - s->folds];
    at->fold = fold;
    at->position = &w->position;
    return at;
}

/* Random numbers and reductions know where the thread is. */
static void tie_position(ebb_tile_state *s, ebb_tile_worker *w, const ebb_tile_random *of_first)
{
    for (int r = 0; r < s->n_random; r++)
        w->random[r].position = &w->position;
    for (int k = 0; k < s->n_instructions; k++) {
        ebb_tile_step *b = &w->program[k];
        if (b->run == run_random_numbers)
            b->inputs[1] = w->random + ((const ebb_tile_random *)b->inputs[1] - of_first);
        else if (b->run == ebb_tile_fold_run)
            b->inputs[1] = tie_fold(s, w, b->inputs[1]);
    }
}

/* The first thread uses the instructions as they were made, the others have copies. */
static ebb_status make_workers(making *m, ebb_tile_step *program, ebb_tile_random *random)
{
    ebb_tile_state *s = m->state;
    const size_t bytes = (size_t)s->n_instructions * sizeof *program;
    const size_t random_bytes = (size_t)s->n_random * sizeof *random;
    s->workers = ebb_native_allocate(m->region, m->env, (size_t)s->n_threads * sizeof *s->workers);
    if (!s->workers)
        return EBB_OUT_OF_MEMORY;
    for (int t = s->n_threads - 1; t >= 0; t--) {
        ebb_tile_worker *w = &s->workers[t];
        w->program = program;
        w->random = random;
        if (t > 0) {
            w->program = ebb_native_allocate(m->region, m->env, bytes);
            w->random = ebb_native_allocate(m->region, m->env, random_bytes + 1);
            if (!w->program || !w->random)
                return EBB_OUT_OF_MEMORY;
            memcpy(w->program, program, bytes);
            memcpy(w->random, random, random_bytes);
        }
        tie_position(s, w, random);
    }
    return EBB_OK;
}

static ebb_status compile_fused(const ebb_region *region, const ebb_compile_env *env,
                                ebb_kernel *kernel)
{
    if (!ebb_op_is_tile_program(region->op) &&
        ebb_native_fits_registers(region, env, program_of(region)))
        return ebb_native_compile_registers(region, env, program_of(region), kernel);
    making m = { .region = region, .env = env, .program = program_of(region) };
    ebb_tile_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    m.state = s;
    s->n_inputs = region->n_inputs;
    s->n_results = region->n_results;
    const ebb_shape shape = shape_of(region);
    s->n_elements = ebb_shape_elements(&shape);
    for (int k = 0; k < m.program->n_instructions; k++)
        s->n_random += is_random(&m.program->instructions[k]);
    s->move = ebb_native_isa(env)->move;
    s->inputs = ebb_native_allocate(region, env, (size_t)s->n_inputs * sizeof *s->inputs);
    if (!s->inputs)
        return EBB_OUT_OF_MEMORY;
    fill_dtypes(region, m.dtypes);
    make_folds(&m);
    for (int r = 0; r < s->n_results; r++) {
        ebb_tile_result *res = &s->results[r];
        res->bytes = ebb_dtype_bytes(region->results[r].type->dtype);
        res->is_streamed = !res->is_fold && (size_t)s->n_elements * res->bytes >= EBB_STREAM_BYTES;
        s->is_streamed |= res->is_streamed;
    }
    find_last_uses(&m);
    classify_inputs(&m);
    place_values(&m);
    choose_tile(&m);
    lay_out_scratch(&m);
    ebb_tile_step *program;
    ebb_tile_random *random;
    char *constants;
    const size_t n_places = (size_t)m.program->n_instructions * EBB_TILE_PLACES;
    if (allocate_state(&m, n_places, &program, &random, &constants))
        return EBB_OUT_OF_MEMORY;
    write_instructions(&m, program, random, constants);
    list_moves(s);
    find_inplace(&m, kernel);
    kernel->n_threads = s->n_threads =
        ebb_native_threads(region, s->n_elements * m.work, EBB_CHEAP_WORK);
    if (make_workers(&m, program, random))
        return EBB_OUT_OF_MEMORY;
    kernel->run = ebb_native_run_fused;
    kernel->state = s;
    kernel->implementation = ebb_native_isa(env)->name;
    kernel->scratch_bytes = s->thread_bytes * (size_t)s->n_threads + lay_out_partials(s);
    return EBB_OK;
}

const ebb_native_kind ebb_native_fused = { score_fused, compile_fused };
const ebb_native_kind ebb_native_tile_program = { score_tile_program, compile_fused };
