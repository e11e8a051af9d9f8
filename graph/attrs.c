/* Attributes as values: hash, equality, deep copy; all driven by the op's field table. */
#include "graph/graph_private.h"

#include <string.h>

static uint32_t hash_text(uint32_t hash, const char *text)
{
    return text ? ebb_hash_bytes(hash, text, strlen(text)) : ebb_hash_u64(hash, 0);
}

static uint32_t hash_shape(uint32_t hash, const ebb_shape *shape)
{
    int rank = shape->rank < 0 ? 0 : shape->rank > EBB_MAX_RANK ? EBB_MAX_RANK : shape->rank;
    hash = ebb_hash_u64(hash, (uint64_t)(int64_t)shape->rank);
    for (int i = 0; i < rank; i++)
        hash = ebb_hash_u64(hash, (uint64_t)shape->dims[i]);
    return hash;
}

static int axes_count(const ebb_axes *axes)
{
    return axes->n < 0 ? 0 : axes->n > EBB_MAX_RANK ? EBB_MAX_RANK : axes->n;
}

static int ints_count(const ebb_ints *ints)
{
    return ints->n < 0 ? 0 : ints->n > EBB_MAX_RANK ? EBB_MAX_RANK : ints->n;
}

const ebb_type *ebb_attrs_type(const ebb_op *op, const void *attrs)
{
    if (!op->attrs || !attrs)
        return NULL;
    for (const ebb_attr_field *f = op->attrs; f->name; f++) {
        if (f->kind == EBB_ATTR_TYPE)
            return FIELD(attrs, f, ebb_type);
    }
    return NULL;
}

static size_t data_bytes(const ebb_op *op, const void *attrs)
{
    const ebb_type *type = ebb_attrs_type(op, attrs);
    return type ? ebb_type_bytes(type) : 0;
}

static const ebb_attr_field *find_name_field(const ebb_op *op)
{
    if (!(op->traits & EBB_TRAIT_SOURCE))
        return NULL;
    for (const ebb_attr_field *f = op->attrs; f && f->name; f++) {
        if (f->kind == EBB_ATTR_NAME && strcmp(f->name, "name") == 0)
            return f;
    }
    return NULL;
}

bool ebb_source_has_name(const ebb_op *op)
{
    return find_name_field(op) != NULL;
}

const char *ebb_source_name(const ebb_op *op, const void *attrs)
{
    const ebb_attr_field *f = attrs ? find_name_field(op) : NULL;
    return f ? *FIELD(attrs, f, char *) : NULL;
}

uint32_t ebb_hash_attrs(const ebb_op *op, const void *attrs)
{
    uint32_t hash = 1;
    if (!op->attrs)
        return hash;
    for (const ebb_attr_field *f = op->attrs; f->name; f++) {
        switch (f->kind) {
        case EBB_ATTR_BOOL:
            hash = ebb_hash_u64(hash, *FIELD(attrs, f, bool));
            break;
        case EBB_ATTR_I64:
            hash = ebb_hash_u64(hash, (uint64_t)*FIELD(attrs, f, int64_t));
            break;
        case EBB_ATTR_F64: {
            uint64_t bits;
            memcpy(&bits, FIELD(attrs, f, double), sizeof bits);
            hash = ebb_hash_u64(hash, bits);
            break;
        }
        case EBB_ATTR_ENUM:
            hash = ebb_hash_u64(hash, (uint64_t)(int64_t)*FIELD(attrs, f, int));
            break;
        case EBB_ATTR_DTYPE:
            hash = ebb_hash_u64(hash, (uint64_t)*FIELD(attrs, f, ebb_dtype));
            break;
        case EBB_ATTR_NAME:
            hash = hash_text(hash, *FIELD(attrs, f, char *));
            break;
        case EBB_ATTR_SHAPE:
            hash = hash_shape(hash, FIELD(attrs, f, ebb_shape));
            break;
        case EBB_ATTR_AXES: {
            const ebb_axes *axes = FIELD(attrs, f, ebb_axes);
            hash = ebb_hash_u64(hash, (uint64_t)(int64_t)axes->n);
            for (int i = 0; i < axes_count(axes); i++)
                hash = ebb_hash_u64(hash, (uint64_t)(int64_t)axes->axes[i]);
            break;
        }
        case EBB_ATTR_INTS: {
            const ebb_ints *ints = FIELD(attrs, f, ebb_ints);
            hash = ebb_hash_u64(hash, (uint64_t)(int64_t)ints->n);
            for (int i = 0; i < ints_count(ints); i++)
                hash = ebb_hash_u64(hash, (uint64_t)ints->values[i]);
            break;
        }
        case EBB_ATTR_TYPE: {
            const ebb_type *type = FIELD(attrs, f, ebb_type);
            hash = hash_shape(ebb_hash_u64(hash, (uint64_t)type->dtype), &type->shape);
            break;
        }
        case EBB_ATTR_DATA: {
            const void *data = *FIELD(attrs, f, char *);
            size_t bytes = data ? data_bytes(op, attrs) : 0; /* no elements: no matter where */
            hash = bytes ? ebb_hash_bytes(hash, data, bytes) : hash;
            break;
        }
        case EBB_ATTR_PROGRAM:
            hash = ebb_hash_program(hash, *FIELD(attrs, f, ebb_program *));
            break;
        }
    }
    return hash;
}

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool field_equal(const ebb_op *op, const ebb_attr_field *f, const void *a, const void *b)
{
    switch (f->kind) {
    case EBB_ATTR_BOOL:
        return *FIELD(a, f, bool) == *FIELD(b, f, bool);
    case EBB_ATTR_I64:
        return *FIELD(a, f, int64_t) == *FIELD(b, f, int64_t);
    case EBB_ATTR_F64: /* by bits: 0 is not -0, a NaN is itself */
        return memcmp(FIELD(a, f, double), FIELD(b, f, double), sizeof(double)) == 0;
    case EBB_ATTR_ENUM:
        return *FIELD(a, f, int) == *FIELD(b, f, int);
    case EBB_ATTR_DTYPE:
        return *FIELD(a, f, ebb_dtype) == *FIELD(b, f, ebb_dtype);
    case EBB_ATTR_NAME:
        return text_equal(*FIELD(a, f, char *), *FIELD(b, f, char *));
    case EBB_ATTR_SHAPE:
        return ebb_shape_equal(FIELD(a, f, ebb_shape), FIELD(b, f, ebb_shape));
    case EBB_ATTR_AXES: {
        const ebb_axes *p = FIELD(a, f, ebb_axes), *q = FIELD(b, f, ebb_axes);
        return p->n == q->n &&
               memcmp(p->axes, q->axes, (size_t)axes_count(p) * sizeof *p->axes) == 0;
    }
    case EBB_ATTR_INTS: {
        const ebb_ints *p = FIELD(a, f, ebb_ints), *q = FIELD(b, f, ebb_ints);
        return p->n == q->n &&
               memcmp(p->values, q->values, (size_t)ints_count(p) * sizeof *p->values) == 0;
    }
    case EBB_ATTR_TYPE:
        return ebb_type_equal(FIELD(a, f, ebb_type), FIELD(b, f, ebb_type));
    case EBB_ATTR_DATA: { /* the types, compared as a field of their own, are equal when this
                             matters */
        const void *p = *FIELD(a, f, char *), *q = *FIELD(b, f, char *);
        size_t bytes = data_bytes(op, a);
        return p == q ||
               (bytes == data_bytes(op, b) && (bytes == 0 || (p && q && memcmp(p, q, bytes) == 0)));
    }
    case EBB_ATTR_PROGRAM:
        return ebb_program_equal(*FIELD(a, f, ebb_program *), *FIELD(b, f, ebb_program *));
    }
    return false;
}

bool ebb_attrs_equal(const ebb_op *op, const void *a, const void *b)
{
    if (a == b || !op->attrs)
        return true;
    if (!a || !b)
        return false;
    for (const ebb_attr_field *f = op->attrs; f->name; f++) {
        if (!field_equal(op, f, a, b))
            return false;
    }
    return true;
}

const void *ebb_attrs_copy(ebb_arena *arena, const ebb_op *op, const void *attrs)
{
    char *copy = ebb_arena_allocate(arena, op->attrs_bytes, 16);
    if (!copy)
        return NULL;
    memcpy(copy, attrs, op->attrs_bytes);
    for (const ebb_attr_field *f = op->attrs; f && f->name; f++) {
        const void *from = NULL, *to = NULL;
        if (f->kind == EBB_ATTR_NAME) {
            const char *text = *FIELD(attrs, f, char *);
            from = text;
            to = text ? ebb_arena_copy_text(arena, text, strlen(text)) : NULL;
        } else if (f->kind == EBB_ATTR_DATA) {
            from = *FIELD(attrs, f, char *);
            size_t bytes = data_bytes(op, attrs);
            void *block = from ? ebb_arena_allocate(arena, bytes, EBB_ALIGNMENT) : NULL;
            if (block)
                memcpy(block, from, bytes);
            to = block;
        } else if (f->kind == EBB_ATTR_PROGRAM) {
            from = *FIELD(attrs, f, ebb_program *);
            to = from ? ebb_program_copy(arena, from) : NULL;
        } else {
            continue;
        }
        if (from && !to)
            return NULL;
        memcpy(copy + f->offset, &to, sizeof to);
    }
    return copy;
}
