/* All ops that come with Ebb, and the text form with them. */
#include "graph/graph_build.h"
#include "ops/descriptors.h"
#include <string.h>

static const ebb_op *const ops[] = {
#define POINTER(name) &ebb_op_##name,
    EBB_OP_LIST(POINTER)
};
enum { N_OPS = sizeof ops / sizeof *ops };

const ebb_op *const *ebb_op_list(int *n)
{
    if (n)
        *n = N_OPS;
    return ops;
}

const ebb_op *ebb_op_find(const char *name)
{
    for (int i = 0; name && i < N_OPS; i++)
        if (strcmp(ops[i]->name, name) == 0)
            return ops[i];
    return NULL;
}

typedef struct extra_ops {
    const ebb_op *const *ops;
    int n;
} extra_ops;

static const ebb_op *look_up(void *context, const char *name)
{
    const extra_ops *extra = context;
    for (int i = 0; i < extra->n; i++)
        if (extra->ops[i] && extra->ops[i]->name && strcmp(extra->ops[i]->name, name) == 0)
            return extra->ops[i];
    return ebb_op_find(name);
}

ebb_status ebb_graph_parse(const char *text, size_t text_bytes, const ebb_op *const *extra,
                           int n_extra, const ebb_allocator *allocator, ebb_graph **graph,
                           ebb_error *error)
{
    extra_ops context = { extra, extra ? n_extra : 0 };
    return ebb_graph_parse_with(text, text_bytes, look_up, NULL, &context, allocator, graph, error);
}
