/* The lists of backends that a user can name. */
#include "backends/backends.h"
#include <string.h>

static const ebb_backend *const reference_list[] = { &ebb_backend_reference };
static const ebb_backend *const onednn_list[] = { &ebb_backend_onednn, &ebb_backend_native,
                                                  &ebb_backend_reference };

const ebb_backend *const *ebb_backend_list(const char *name, int *n)
{
    const ebb_backend *const *list = NULL;
    int length = 0;
    if (!name || strcmp(name, "onednn") == 0) {
        list = onednn_list;
        length = (int)(sizeof onednn_list / sizeof *onednn_list);
    } else if (strcmp(name, "reference") == 0) {
        list = reference_list;
        length = (int)(sizeof reference_list / sizeof *reference_list);
    }
    if (n)
        *n = length;
    return list;
}
