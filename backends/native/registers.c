/* Programs of F32 over as many elements as a register has, or fewer: it is handed on from step to
 * step, and all that is written lies in the first-level cache. So small, the time that a value
 * takes from a store to the next load counts, and the calls, but not what is loaded besides. */
#include "backends/native/operand.h"
#include <string.h>

typedef struct small_input {
    ebb_operand_kind kind;
    ebb_walk walk;
    bool is_buffered;
} small_input;

/* places[]: one to write to what nobody reads; inputs, results; constants and attributes; slots. */
typedef struct registers_state {
    const ebb_register_table *table;
    ebb_register_step *steps;
    int n_steps, n_inputs, n_results;
    int first_slot, n_slots;      /* places */
    bool are_buffered;            /* inputs and results do not fill a register */
    size_t register_bytes, bytes; /* of all elements */
    small_input *inputs;
    void **places;
    char *scratch; /* for which places of slots are made */
} registers_state;

/* In scratch: place 0, slots, then a buffer for each input and result. */
static char *buffer_of(const registers_state *s, int operand)
{
    return s->scratch + (size_t)(1 + s->n_slots + operand) * s->register_bytes;
}

static void bind_slots(registers_state *s, char *scratch)
{
    s->scratch = scratch;
    s->places[0] = scratch;
    for (int i = 0; i < s->n_slots; i++)
        s->places[s->first_slot + i] = scratch + (size_t)(1 + i) * s->register_bytes;
}

static void fill_buffer(const registers_state *s, int i, const void *data, char *buffer)
{
    const small_input *in = &s->inputs[i];
    const float one = 1;
    const int64_t n = (int64_t)(s->bytes / sizeof one);
    if (in->kind == EBB_OPERAND_SINGLE) {
        ebb_row_read(data, 0, n, sizeof one, buffer);
    } else if (in->kind == EBB_OPERAND_DENSE) {
        memcpy(buffer, data, s->bytes);
    } else {
        ebb_cursor cursor = ebb_cursor_at(&in->walk, data, 0);
        ebb_cursor_read(&cursor, n, buffer);
    }
    const size_t rest = s->register_bytes - s->bytes;
    ebb_row_read((const char *)&one, 0, (int64_t)(rest / sizeof one), sizeof one,
                 buffer + s->bytes);
}

static ebb_status run_registers(const ebb_call *call)
{
    registers_state *s = call->state;
    void **operands = s->places + 1, **results = operands + s->n_inputs;
    if (s->scratch != call->scratch)
        bind_slots(s, call->scratch);
    for (int i = 0; i < s->n_inputs; i++) {
        operands[i] = call->inputs[i];
        if (!s->inputs[i].is_buffered)
            continue;
        operands[i] = buffer_of(s, i);
        fill_buffer(s, i, call->inputs[i], operands[i]);
    }
    for (int r = 0; r < s->n_results; r++)
        results[r] = s->are_buffered ? buffer_of(s, s->n_inputs + r) : call->results[r];
    s->table->run(s->steps, s->n_steps, s->places);
    for (int r = 0; r < s->n_results && s->are_buffered; r++)
        memcpy(call->results[r], buffer_of(s, s->n_inputs + r), s->bytes);
    return EBB_OK;
}

/* ---- compiling ---- */

static const ebb_register_row *find_row(const ebb_register_table *table, const ebb_op *op)
{
    for (int i = 0; i < table->n_rows; i++)
        if (table->rows[i].op == op)
            return &table->rows[i];
    return NULL;
}

bool ebb_native_fits_registers(const ebb_region *region, const ebb_compile_env *env,
                               const ebb_program *program)
{
    const ebb_register_table *table = ebb_native_isa(env)->registers;
    const int64_t n = ebb_shape_elements(&region->results[0].type->shape);
    if (n < 1 || n > table->n_lanes)
        return false;
    for (int i = 0; i < region->n_inputs; i++)
        if (region->inputs[i].type->dtype != EBB_F32)
            return false;
    for (int k = 0; k < program->n_instructions; k++) {
        const ebb_instruction *i = &program->instructions[k];
        if (i->op ? !find_row(table, i->op) : i->dtype != EBB_F32)
            return false;
    }
    return true;
}

/* While a kernel is made; by value of the program. */
typedef struct making {
    const ebb_program *program;
    registers_state *state;
    char *constants;
    int32_t place[EBB_MAX_PROGRAM_VALUES], last_use[EBB_MAX_PROGRAM_VALUES];
    int32_t free_slots[EBB_MAX_INSTRUCTIONS]; /* places */
    int n_free, n_fixed;
    int32_t at_hand; /* the value in the register; -1: none */
} making;

static int n_inputs_of(const ebb_instruction *i)
{
    return i->op ? i->op->n_inputs : 0;
}

static void find_last_uses(making *m)
{
    const ebb_program *p = m->program;
    for (int v = 0; v < p->n_inputs + p->n_instructions; v++)
        m->last_use[v] = v - p->n_inputs; /* nobody reads it */
    for (int k = 0; k < p->n_instructions; k++)
        for (int n = 0; n < n_inputs_of(&p->instructions[k]); n++)
            m->last_use[p->instructions[k].inputs[n]] = k;
}

/* Places of inputs, results, and constants, which all instructions may read. */
static void place_operands(making *m)
{
    const ebb_program *p = m->program;
    registers_state *s = m->state;
    for (int v = 0; v < p->n_inputs + p->n_instructions; v++)
        m->place[v] = v < p->n_inputs ? v + 1 : 0;
    for (int k = 0; k < p->n_instructions; k++) {
        if (p->instructions[k].op)
            continue;
        char *block = m->constants + (size_t)m->n_fixed * s->register_bytes;
        ebb_row_read((const char *)&p->instructions[k].bits, 0, s->table->n_lanes, sizeof(float),
                     block);
        m->place[p->n_inputs + k] = 1 + s->n_inputs + s->n_results + m->n_fixed;
        s->places[1 + s->n_inputs + s->n_results + m->n_fixed++] = block;
    }
}

/* Everybody who reads value `v` of instruction `k` finds it in the register. */
static bool stays_at_hand(const making *m, int k, int32_t v)
{
    const ebb_program *p = m->program;
    int next = k + 1, n_uses = 0;
    while (next < p->n_instructions && !p->instructions[next].op)
        next++;
    if (m->last_use[v] > next)
        return false;
    for (int n = 0; next < p->n_instructions && n < n_inputs_of(&p->instructions[next]); n++)
        n_uses += p->instructions[next].inputs[n] == v;
    return n_uses <= 1;
}

static int result_of(const ebb_program *p, int32_t value)
{
    int r = 0;
    while (r < p->n_results && p->results[r] != value)
        r++;
    return r;
}

static void add_step(making *m, ebb_register_form form, int32_t operand, int32_t result)
{
    m->state->steps[m->state->n_steps++] =
        (ebb_register_step){ form, (uint16_t)operand, (uint16_t)result };
}

/* Slots of values that instruction `k` reads last; its result may lie there. */
static void free_slots(making *m, int k)
{
    const ebb_instruction *i = &m->program->instructions[k];
    for (int n = 0; n < n_inputs_of(i); n++) {
        const int32_t v = i->inputs[n];
        const bool is_second = n > 0 && i->inputs[0] == v;
        if (!is_second && m->last_use[v] == k && m->place[v] >= m->state->first_slot)
            m->free_slots[m->n_free++] = m->place[v];
    }
}

static void add_instruction(making *m, int k)
{
    const ebb_program *p = m->program;
    registers_state *s = m->state;
    const ebb_instruction *i = &p->instructions[k];
    const int32_t own = p->n_inputs + k;
    const int result = result_of(p, own);
    const ebb_register_row *row = find_row(s->table, i->op);
    const bool is_other =
        i->op->n_inputs > 1 && i->inputs[1] == m->at_hand && i->inputs[0] != m->at_hand;
    int32_t operand = 0;
    if (i->inputs[is_other] != m->at_hand)
        add_step(m, s->table->load, m->place[i->inputs[0]], 0);
    if (i->op->n_inputs > 1)
        operand = m->place[i->inputs[!is_other]];
    if (i->op->attrs_bytes) {
        operand = 1 + s->n_inputs + s->n_results + m->n_fixed++;
        s->places[operand] = (void *)(uintptr_t)i->attrs;
    }
    free_slots(m, k);
    if (result < p->n_results)
        m->place[own] = 1 + s->n_inputs + result;
    else if (!stays_at_hand(m, k, own))
        m->place[own] = m->n_free > 0 ? m->free_slots[--m->n_free] : s->first_slot + s->n_slots++;
    add_step(m, row->forms[is_other], operand, m->place[own]);
    m->at_hand = own;
}

static void add_steps(making *m)
{
    const ebb_program *p = m->program;
    registers_state *s = m->state;
    m->at_hand = -1;
    for (int k = 0; k < p->n_instructions; k++)
        if (p->instructions[k].op)
            add_instruction(m, k);
    for (int r = 0; r < p->n_results; r++)
        if (!p->instructions[p->results[r] - p->n_inputs].op)
            add_step(m, s->table->load, m->place[p->results[r]], 1 + s->n_inputs + r);
}

/* A result may lie on an input that is not read any more when it is written. */
static void find_inplace(const making *m, ebb_kernel *kernel)
{
    const ebb_program *p = m->program;
    for (int r = 0; r < p->n_results; r++) {
        const bool is_constant = !p->instructions[p->results[r] - p->n_inputs].op;
        const int32_t written = is_constant ? p->n_instructions : p->results[r] - p->n_inputs;
        unsigned allowed = 0;
        for (int i = 0; i < p->n_inputs; i++)
            if (m->state->inputs[i].kind == EBB_OPERAND_DENSE && m->last_use[i] <= written)
                allowed |= 1u << i;
        *(r == 0 ? &kernel->inplace_inputs : &kernel->inplace_further[r - 1]) = allowed;
    }
}

static void classify_inputs(const making *m, const ebb_region *region)
{
    registers_state *s = m->state;
    for (int i = 0; i < s->n_inputs; i++) {
        small_input *in = &s->inputs[i];
        in->walk = ebb_walk_make(&region->results[0].type->shape, region->inputs[i].layout.strides,
                                 sizeof(float));
        in->kind = ebb_operand_classify(&in->walk);
        in->is_buffered = s->are_buffered || in->kind != EBB_OPERAND_DENSE;
    }
}

/* Rooms for as much as a program may need. */
static ebb_status allocate_state(making *m, const ebb_region *region, const ebb_compile_env *env)
{
    registers_state *s = m->state;
    const size_t n = (size_t)m->program->n_instructions, n_inputs = (size_t)s->n_inputs;
    size_t n_constants = 0, n_attrs = 0;
    for (size_t k = 0; k < n; k++) {
        const ebb_op *op = m->program->instructions[k].op;
        n_constants += !op;
        n_attrs += op && op->attrs_bytes;
    }
    s->first_slot = 1 + s->n_inputs + s->n_results + (int)(n_constants + n_attrs);
    /* A load for each instruction; behind, for each result. */
    s->steps = ebb_native_allocate(region, env, (2 * n + EBB_MAX_RESULTS) * sizeof *s->steps);
    s->places = ebb_native_allocate(region, env, ((size_t)s->first_slot + n) * sizeof *s->places);
    s->inputs = ebb_native_allocate(region, env, n_inputs * sizeof *s->inputs);
    m->constants = ebb_native_allocate(region, env, n_constants * s->register_bytes + 1);
    return s->steps && s->places && s->inputs && m->constants ? EBB_OK : EBB_OUT_OF_MEMORY;
}

ebb_status ebb_native_compile_registers(const ebb_region *region, const ebb_compile_env *env,
                                        const ebb_program *program, ebb_kernel *kernel)
{
    making m = { .program = program };
    registers_state *s = m.state = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const int64_t n = ebb_shape_elements(&region->results[0].type->shape);
    s->table = ebb_native_isa(env)->registers;
    s->n_inputs = region->n_inputs;
    s->n_results = region->n_results;
    s->are_buffered = n < s->table->n_lanes;
    s->register_bytes = (size_t)s->table->n_lanes * sizeof(float);
    s->bytes = (size_t)n * sizeof(float);
    if (allocate_state(&m, region, env))
        return EBB_OUT_OF_MEMORY;
    classify_inputs(&m, region);
    find_last_uses(&m);
    place_operands(&m);
    add_steps(&m);
    find_inplace(&m, kernel);
    kernel->run = run_registers;
    kernel->state = s;
    kernel->n_threads = 1;
    kernel->implementation = "registers";
    kernel->scratch_bytes =
        s->register_bytes * (size_t)(1 + s->n_slots + s->n_inputs + s->n_results);
    return EBB_OK;
}
