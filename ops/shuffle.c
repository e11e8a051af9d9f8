/* Channel shuffle, pixel shuffle and its inverse: composites of reshape and transpose. */
#define EBB_NO_LOCATIONS
#include "ops/batch_norm.h"
#include <ebb/ops.h>

/* False, and a sticky error, unless x has at least (`exactly`: just) this rank. */
static bool check_rank(const char *what, ebb_node x, int rank, bool exactly)
{
    char text[EBB_NODE_TEXT_BYTES];
    const int have = ebb_node_type(x)->shape.rank;
    if (!x.id || have == rank || (have > rank && !exactly))
        return true;
    ebb_graph_fail(x.graph, EBB_BAD_SHAPE, "%s: x is not [batch,channels,%s]: %s", what,
                   exactly ? "height,width" : "...", ebb_node_text(x, text));
    return false;
}

static bool check_factor(const char *what, ebb_node x, const char *name, int64_t factor,
                         int64_t size, const char *size_name)
{
    char text[EBB_NODE_TEXT_BYTES];
    if (!x.id || (factor > 0 && size % factor == 0))
        return true;
    ebb_graph_fail(x.graph, EBB_BAD_ATTRIBUTE, "%s: %s %lld does not divide %s %lld: %s", what,
                   name, (long long)factor, size_name, (long long)size, ebb_node_text(x, text));
    return false;
}

ebb_node(ebb_channel_shuffle)(ebb_node x, int64_t groups)
{
    const ebb_shape shape = ebb_node_type(x)->shape;
    if (!check_rank("channel_shuffle", x, 2, false) ||
        !check_factor("channel_shuffle", x, "groups", groups, shape.dims[1], "channels"))
        return (ebb_node){ x.graph, 0 };
    if (!x.id)
        return x;
    const ebb_channels k = ebb_channels_of(&shape);
    const ebb_node split =
        ebb_reshape(x, EBB_SHAPE(k.n_batch, groups, k.n_channels / groups, k.n_spatial));
    return ebb_reshape(ebb_transpose(split, EBB_AXES(0, 2, 1, 3)), shape);
}

ebb_node(ebb_pixel_shuffle)(ebb_node x, int64_t factor)
{
    const int64_t *d = ebb_node_type(x)->shape.dims;
    const int64_t limit = 1 << 15; /* its square is in range */
    if (!check_rank("pixel_shuffle", x, 4, true) ||
        !check_factor("pixel_shuffle", x, "factor", factor, d[1], "channels") ||
        !check_factor("pixel_shuffle", x, "factor squared",
                      factor < limit ? factor * factor : INT64_MAX, d[1], "channels"))
        return (ebb_node){ x.graph, 0 };
    if (!x.id)
        return x;
    const int64_t channels = d[1] / (factor * factor);
    const ebb_node split = ebb_reshape(x, EBB_SHAPE(d[0], channels, factor, factor, d[2], d[3]));
    return ebb_reshape(ebb_transpose(split, EBB_AXES(0, 1, 4, 2, 5, 3)),
                       EBB_SHAPE(d[0], channels, d[2] * factor, d[3] * factor));
}

ebb_node(ebb_pixel_unshuffle)(ebb_node x, int64_t factor)
{
    const int64_t *d = ebb_node_type(x)->shape.dims;
    if (!check_rank("pixel_unshuffle", x, 4, true) ||
        !check_factor("pixel_unshuffle", x, "factor", factor, d[2], "height") ||
        !check_factor("pixel_unshuffle", x, "factor", factor, d[3], "width"))
        return (ebb_node){ x.graph, 0 };
    if (!x.id)
        return x;
    const int64_t height = d[2] / factor, width = d[3] / factor;
    const ebb_node split = ebb_reshape(x, EBB_SHAPE(d[0], d[1], height, factor, width, factor));
    return ebb_reshape(ebb_transpose(split, EBB_AXES(0, 1, 3, 5, 2, 4)),
                       EBB_SHAPE(d[0], d[1] * factor * factor, height, width));
}
