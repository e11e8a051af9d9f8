/* The memory planner. First intervals that take over each other's memory become one block; then
 * blocks are placed, by size or in order of time. All sizes are counted in units of EBB_ALIGNMENT.
 */
#include "runtime/plan.h"

#include <string.h>

typedef struct block {
    size_t units, offset;
    int64_t first, last;
} block;

typedef struct plan {
    const ebb_interval *intervals;
    int64_t n;
    const ebb_allocator *allocator;
    int64_t *by_first; /* intervals in order of their first step */
    int64_t *block_of; /* of each interval; -1: no bytes */
    block *blocks;     /* in order of their first step */
    int64_t n_blocks;
    size_t peak; /* units */
} plan;

static size_t units_of(size_t bytes)
{
    return bytes / EBB_ALIGNMENT + (bytes % EBB_ALIGNMENT != 0);
}

/* ---- blocks ---- */

/* order[0..n) by ascending step; equal steps stay as they are. Counting sort. */
static bool sort_by_step(int64_t n, const int64_t *steps, const ebb_allocator *allocator,
                         int64_t *order)
{
    int64_t highest = 0;
    for (int64_t i = 0; i < n; i++)
        if (steps[i] > highest)
            highest = steps[i];
    size_t bytes = ((size_t)highest + 2) * sizeof(int64_t);
    int64_t *starts = ebb_allocate(allocator, bytes);
    if (!starts)
        return false;
    memset(starts, 0, bytes);
    for (int64_t i = 0; i < n; i++)
        starts[steps[i] + 1]++;
    for (int64_t s = 0; s <= highest; s++)
        starts[s + 1] += starts[s];
    for (int64_t i = 0; i < n; i++)
        order[starts[steps[i]]++] = i;
    ebb_release(allocator, starts, bytes);
    return true;
}

/* `taken` [n], zeroed: who was taken over already. */
static void make_blocks(plan *p, uint8_t *taken)
{
    for (int64_t k = 0; k < p->n; k++) {
        int64_t i = p->by_first[k], from = p->intervals[i].inplace;
        const ebb_interval *interval = &p->intervals[i];
        size_t units = units_of(interval->bytes);
        p->block_of[i] = -1;
        if (!units)
            continue;
        if (from >= 0 && from < p->n && !taken[from]) {
            const ebb_interval *before = &p->intervals[from];
            if (before->bytes == interval->bytes && before->first < interval->first &&
                before->last == interval->first) {
                taken[from] = 1;
                p->block_of[i] = p->block_of[from];
                p->blocks[p->block_of[i]].last = interval->last;
                continue;
            }
        }
        p->block_of[i] = p->n_blocks;
        p->blocks[p->n_blocks++] =
            (block){ .units = units, .first = interval->first, .last = interval->last };
    }
}

/* ---- greedy by size ---- */

/* What comes first: large blocks, or long and large ones. */
static double weight_of(const block *b, bool by_area)
{
    return (double)b->units * (by_area ? (double)(b->last - b->first + 1) : 1);
}

static bool is_larger(const block *blocks, bool by_area, int64_t a, int64_t b)
{
    const double x = weight_of(&blocks[a], by_area), y = weight_of(&blocks[b], by_area);
    return x != y ? x > y : a < b;
}

/* Heap sort, the largest block first. */
static void sort_by_size(const block *blocks, int64_t n, bool by_area, int64_t *order)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t start = n / 2 - 1, end = n - 1; end > 0;) {
        int64_t root;
        if (start >= 0) {
            root = start--;
        } else {
            int64_t top = order[0];
            order[0] = order[end];
            order[end--] = top;
            root = 0;
        }
        for (int64_t child; (child = 2 * root + 1) <= end; root = child) {
            if (child < end && is_larger(blocks, by_area, order[child], order[child + 1]))
                child++;
            if (!is_larger(blocks, by_area, order[root], order[child]))
                break;
            int64_t swapped = order[root];
            order[root] = order[child];
            order[child] = swapped;
        }
    }
}

/* Each block goes into the smallest gap between those already placed that live at the same time. */
static bool place_by_size(plan *p, bool by_area)
{
    p->peak = 0;
    size_t bytes = (size_t)p->n_blocks * sizeof(int64_t);
    int64_t *order = ebb_allocate(p->allocator, bytes);
    int64_t *placed = ebb_allocate(p->allocator, bytes); /* by ascending offset */
    bool done = order && placed;
    if (done)
        sort_by_size(p->blocks, p->n_blocks, by_area, order);
    for (int64_t k = 0; done && k < p->n_blocks; k++) {
        block *b = &p->blocks[order[k]];
        size_t end = 0, best_gap = SIZE_MAX, best = SIZE_MAX;
        for (int64_t j = 0; j < k; j++) {
            const block *other = &p->blocks[placed[j]];
            if (other->last < b->first || b->last < other->first)
                continue;
            if (other->offset > end && other->offset - end >= b->units &&
                other->offset - end < best_gap) {
                best_gap = other->offset - end;
                best = end;
            }
            if (other->offset + other->units > end)
                end = other->offset + other->units;
        }
        b->offset = best != SIZE_MAX ? best : end;
        if (b->offset + b->units > p->peak)
            p->peak = b->offset + b->units;
        int64_t at = k;
        for (; at > 0 && p->blocks[placed[at - 1]].offset > b->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = order[k];
    }
    ebb_release(p->allocator, order, bytes);
    ebb_release(p->allocator, placed, bytes);
    return done;
}

/* ---- in order of time ---- */

/* The arena as a list of pieces by address, used and free; free ones are also in lists by size
 * class, so that a fitting one is found without a search (as in Masmano et al. 2004, TLSF). */
#define FEW_UNITS 16 /* one class for each size below; 16 classes for each power of two above */
#define N_CLASSES (FEW_UNITS * 62)
#define MOST_TRIES 16

typedef struct piece {
    size_t offset, units;
    int64_t before, after;           /* by address; -1: none */
    int64_t free_before, free_after; /* in the list of its class */
    bool is_free;
} piece;

typedef struct pieces {
    const ebb_allocator *allocator;
    piece *pieces;
    int64_t n, capacity, unused; /* unused: list of records through `after` */
    int64_t highest;             /* the piece at the end of the arena */
    int64_t heads[N_CLASSES];
    uint64_t filled[(N_CLASSES + 63) / 64];
} pieces;

static int class_of(size_t units)
{
    if (units < FEW_UNITS)
        return (int)units;
    int power = 63 - __builtin_clzll(units);
    return (power - 3) * FEW_UNITS + (int)(units >> (power - 4) & (FEW_UNITS - 1));
}

static void list_free(pieces *s, int64_t i)
{
    int c = class_of(s->pieces[i].units);
    s->pieces[i].is_free = true;
    s->pieces[i].free_before = -1;
    s->pieces[i].free_after = s->heads[c];
    if (s->heads[c] >= 0)
        s->pieces[s->heads[c]].free_before = i;
    s->heads[c] = i;
    s->filled[c / 64] |= UINT64_C(1) << (c % 64);
}

static void unlist_free(pieces *s, int64_t i)
{
    int c = class_of(s->pieces[i].units);
    piece *p = &s->pieces[i];
    p->is_free = false;
    if (p->free_after >= 0)
        s->pieces[p->free_after].free_before = p->free_before;
    if (p->free_before >= 0)
        s->pieces[p->free_before].free_after = p->free_after;
    else
        s->heads[c] = p->free_after;
    if (s->heads[c] < 0)
        s->filled[c / 64] &= ~(UINT64_C(1) << (c % 64));
}

/* The smallest fitting one of the first pieces of a class; -1: none. */
static int64_t find_in_class(const pieces *s, int c, size_t units)
{
    int64_t best = -1;
    int tries = 0;
    for (int64_t i = s->heads[c]; i >= 0 && tries < MOST_TRIES;
         i = s->pieces[i].free_after, tries++) {
        if (s->pieces[i].units >= units && (best < 0 || s->pieces[i].units < s->pieces[best].units))
            best = i;
    }
    return best;
}

static int64_t find_free(const pieces *s, size_t units)
{
    int c = class_of(units);
    int64_t found = find_in_class(s, c, units);
    if (found >= 0)
        return found;
    int word = ++c / 64;
    for (uint64_t bits = c < N_CLASSES ? s->filled[word] & (UINT64_MAX << (c % 64)) : 0;;
         bits = s->filled[word]) {
        if (bits)
            return find_in_class(s, word * 64 + __builtin_ctzll(bits), units);
        if (++word >= (int)(sizeof s->filled / sizeof *s->filled))
            return -1;
    }
}

/* A record for a new piece; -1 when memory is out. */
static int64_t new_piece(pieces *s)
{
    if (s->unused >= 0) {
        int64_t i = s->unused;
        s->unused = s->pieces[i].after;
        return i;
    }
    if (s->n == s->capacity) {
        int64_t larger = s->capacity ? s->capacity * 2 : 64;
        piece *moved = ebb_allocate(s->allocator, (size_t)larger * sizeof *moved);
        if (!moved)
            return -1;
        if (s->n)
            memcpy(moved, s->pieces, (size_t)s->n * sizeof *moved);
        ebb_release(s->allocator, s->pieces, (size_t)s->capacity * sizeof *moved);
        s->pieces = moved;
        s->capacity = larger;
    }
    return s->n++;
}

/* Puts a new used piece behind `before` (-1: at the start). */
static int64_t insert_piece(pieces *s, int64_t before, size_t offset, size_t units)
{
    int64_t i = new_piece(s);
    if (i < 0)
        return -1;
    int64_t after = before >= 0 ? s->pieces[before].after : -1;
    s->pieces[i] = (piece){ .offset = offset, .units = units, .before = before, .after = after };
    if (before >= 0)
        s->pieces[before].after = i;
    if (after >= 0)
        s->pieces[after].before = i;
    else
        s->highest = i;
    return i;
}

/* Joins the piece behind `i` to it. */
static void swallow_next(pieces *s, int64_t i)
{
    int64_t next = s->pieces[i].after, after = s->pieces[next].after;
    s->pieces[i].units += s->pieces[next].units;
    s->pieces[i].after = after;
    if (after >= 0)
        s->pieces[after].before = i;
    else
        s->highest = i;
    s->pieces[next].after = s->unused;
    s->unused = next;
}

static int64_t take_piece(pieces *s, size_t units)
{
    int64_t i = find_free(s, units);
    if (i < 0) {
        if (s->highest >= 0 && s->pieces[s->highest].is_free) { /* let the end grow */
            i = s->highest;
            unlist_free(s, i);
            s->pieces[i].units = units;
            return i;
        }
        size_t end =
            s->highest >= 0 ? s->pieces[s->highest].offset + s->pieces[s->highest].units : 0;
        return insert_piece(s, s->highest, end, units);
    }
    unlist_free(s, i);
    size_t rest = s->pieces[i].units - units;
    if (rest > 0) {
        int64_t cut = insert_piece(s, i, s->pieces[i].offset + units, rest);
        if (cut < 0)
            return -1;
        s->pieces[i].units = units;
        list_free(s, cut);
    }
    return i;
}

static void give_piece(pieces *s, int64_t i)
{
    int64_t next = s->pieces[i].after, before = s->pieces[i].before;
    if (next >= 0 && s->pieces[next].is_free) {
        unlist_free(s, next);
        swallow_next(s, i);
    }
    if (before >= 0 && s->pieces[before].is_free) {
        unlist_free(s, before);
        swallow_next(s, before);
        i = before;
    }
    list_free(s, i);
}

static bool place_by_time(plan *p)
{
    p->peak = 0;
    const ebb_allocator *a = p->allocator;
    size_t bytes = (size_t)p->n_blocks * sizeof(int64_t);
    int64_t *lasts = ebb_allocate(a, bytes), *by_last = ebb_allocate(a, bytes);
    int64_t *piece_of = ebb_allocate(a, bytes);
    pieces *s = ebb_allocate(a, sizeof *s);
    bool done = lasts && by_last && piece_of && s;
    if (s) {
        memset(s, 0, sizeof *s);
        s->allocator = a;
        s->unused = s->highest = -1;
        for (int c = 0; c < N_CLASSES; c++)
            s->heads[c] = -1;
    }
    for (int64_t i = 0; done && i < p->n_blocks; i++)
        lasts[i] = p->blocks[i].last;
    done = done && sort_by_step(p->n_blocks, lasts, a, by_last);
    for (int64_t i = 0, over = 0; done && i < p->n_blocks; i++) {
        block *b = &p->blocks[i];
        for (; p->blocks[by_last[over]].last < b->first; over++)
            give_piece(s, piece_of[by_last[over]]);
        int64_t taken = take_piece(s, b->units);
        if ((done = taken >= 0)) {
            piece_of[i] = taken;
            b->offset = s->pieces[taken].offset;
            if (b->offset + b->units > p->peak)
                p->peak = b->offset + b->units;
        }
    }
    if (s)
        ebb_release(a, s->pieces, (size_t)s->capacity * sizeof *s->pieces);
    ebb_release(a, s, sizeof *s);
    ebb_release(a, piece_of, bytes);
    ebb_release(a, by_last, bytes);
    ebb_release(a, lasts, bytes);
    return done;
}

/* ---- all ---- */

/* If they are better than those there were. */
static bool take_offsets(const plan *p, size_t *offsets, size_t *peak_bytes)
{
    if (p->peak * EBB_ALIGNMENT >= *peak_bytes)
        return true;
    for (int64_t i = 0; i < p->n; i++)
        offsets[i] = p->block_of[i] < 0 ? 0 : p->blocks[p->block_of[i]].offset * EBB_ALIGNMENT;
    *peak_bytes = p->peak * EBB_ALIGNMENT;
    return true;
}

ebb_status ebb_plan_memory(const ebb_interval *intervals, int64_t n, ebb_plan_strategy strategy,
                           const ebb_allocator *allocator, size_t *offsets, size_t *peak_bytes)
{
    plan p = { .intervals = intervals, .n = n, .allocator = allocator };
    size_t ids_bytes = (size_t)n * sizeof(int64_t), blocks_bytes = (size_t)n * sizeof *p.blocks;
    *peak_bytes = 0;
    if (n <= 0)
        return EBB_OK;
    size_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        if (__builtin_add_overflow(total, units_of(intervals[i].bytes), &total) ||
            total > SIZE_MAX / EBB_ALIGNMENT / 2)
            return EBB_OUT_OF_MEMORY;
    }
    p.by_first = ebb_allocate(allocator, ids_bytes);
    p.block_of = ebb_allocate(allocator, ids_bytes);
    p.blocks = ebb_allocate(allocator, blocks_bytes);
    uint8_t *taken = ebb_allocate(allocator, (size_t)n);
    bool done = p.by_first && p.block_of && p.blocks && taken;
    if (done) {
        memset(taken, 0, (size_t)n);
        for (int64_t i = 0; i < n; i++)
            p.block_of[i] = intervals[i].first;
        done = sort_by_step(n, p.block_of, allocator, p.by_first);
    }
    if (done) {
        make_blocks(&p, taken);
        const bool is_small = p.n_blocks <= EBB_PLAN_SMALL;
        *peak_bytes = SIZE_MAX;
        if (strategy == EBB_PLAN_BY_SIZE || (strategy == EBB_PLAN_AUTO && is_small))
            done = place_by_size(&p, false) && take_offsets(&p, offsets, peak_bytes);
        if (done && strategy == EBB_PLAN_AUTO && is_small)
            done = place_by_size(&p, true) && take_offsets(&p, offsets, peak_bytes);
        if (done && strategy != EBB_PLAN_BY_SIZE)
            done = place_by_time(&p) && take_offsets(&p, offsets, peak_bytes);
    }
    if (!done)
        *peak_bytes = 0;
    ebb_release(allocator, taken, (size_t)n);
    ebb_release(allocator, p.blocks, blocks_bytes);
    ebb_release(allocator, p.block_of, ids_bytes);
    ebb_release(allocator, p.by_first, ids_bytes);
    return done ? EBB_OK : EBB_OUT_OF_MEMORY;
}
