/* GoogLeNet (Szegedy et al. 2015): inception modules with 1x1 convolutions that narrow. */
#include "models/parts.h"

/* Filters of the four branches of a module: 1x1; 3x3 behind a narrowing; 5x5 behind a narrowing;
 * 1x1 behind a pool (table 1). */
typedef struct inception {
    const char *name;
    int64_t one, narrow_three, three, narrow_five, five, pool;
    bool halves; /* a pool with stride 2 stands before it */
} inception;

static const inception modules[] = {
    { "3a", 64, 96, 128, 16, 32, 32, true },      { "3b", 128, 128, 192, 32, 96, 64, false },
    { "4a", 192, 96, 208, 16, 48, 64, true },     { "4b", 160, 112, 224, 24, 64, 64, false },
    { "4c", 128, 128, 256, 24, 64, 64, false },   { "4d", 112, 144, 288, 32, 64, 64, false },
    { "4e", 256, 160, 320, 32, 128, 128, false }, { "5a", 256, 160, 320, 32, 128, 128, true },
    { "5b", 384, 192, 384, 48, 128, 128, false },
};
enum { N_MODULES = sizeof modules / sizeof *modules, FIRST_HEAD = 2, SECOND_HEAD = 5 };

static ebb_node halve(ebb_node x)
{
    return ebb_max_pool(
        x,
        (ebb_pool_attrs){ .window = EBB_INTS(3, 3), .stride = EBB_INTS(2, 2), .ceil_mode = true });
}

static ebb_node normalize(ebb_node x)
{
    return ebb_lrn(
        x, (ebb_lrn_attrs){ .size = 5, .alpha = 1e-4, .beta = 0.75, .k = 1, .divide = true });
}

static ebb_node conv(ebb_node x, const char *name, int64_t filters, int64_t window,
                     const model_options *options)
{
    return part_conv_relu(
        x, name, (conv_part){ .filters = filters, .window = window, .padding = window / 2 },
        options);
}

static ebb_node build_module(ebb_node x, const inception *m, const model_options *options)
{
    ebb_scope_push(x.graph, m->name);
    ebb_node branches[4];
    branches[0] = conv(x, "one", m->one, 1, options);
    branches[1] = conv(x, "narrow_three", m->narrow_three, 1, options);
    branches[1] = conv(branches[1], "three", m->three, 3, options);
    branches[2] = conv(x, "narrow_five", m->narrow_five, 1, options);
    branches[2] = conv(branches[2], "five", m->five, 5, options);
    branches[3] = conv(part_max_pool(x, 3, 1, 1), "pool", m->pool, 1, options);
    const ebb_node y = ebb_concat(x.graph, branches, 4, 1);
    ebb_scope_pop(x.graph);
    return y;
}

/* Figure 3, left. */
static ebb_node build_head(ebb_node x, const char *name, int64_t classes,
                           const model_options *options)
{
    ebb_scope_push(x.graph, name);
    ebb_node y =
        ebb_avg_pool(x, (ebb_pool_attrs){ .window = EBB_INTS(5, 5), .stride = EBB_INTS(3, 3) });
    y = part_flatten(conv(y, "conv", 128, 1, options));
    y = part_dropout(ebb_relu(part_linear(y, "fc", 1024, options)), "drop", 0.7, options);
    y = part_linear(y, "scores", classes, options);
    ebb_scope_pop(x.graph);
    return y;
}

ebb_node build_googlenet(ebb_node x, ebb_node auxiliary[2], const model_options *options)
{
    const int64_t classes = options->classes ? options->classes : 1000;
    ebb_node y = part_conv_relu(
        x, "conv1", (conv_part){ .filters = 64, .window = 7, .stride = 2, .padding = 3 }, options);
    y = conv(normalize(halve(y)), "narrow_conv2", 64, 1, options);
    y = normalize(conv(y, "conv2", 192, 3, options));
    for (int i = 0; i < N_MODULES; i++) {
        y = build_module(modules[i].halves ? halve(y) : y, &modules[i], options);
        if (auxiliary && i == FIRST_HEAD)
            auxiliary[0] = build_head(y, "head1", classes, options);
        if (auxiliary && i == SECOND_HEAD)
            auxiliary[1] = build_head(y, "head2", classes, options);
    }
    y = part_dropout(part_mean(y), "drop", 0.4, options);
    return part_linear(y, "scores", classes, options);
}
