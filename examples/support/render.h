/* Pictures of DOT files by Graphviz. */
#ifndef EXAMPLES_SUPPORT_RENDER_H
#define EXAMPLES_SUPPORT_RENDER_H

#include <ebb/io.h>

/* Runs `dot -Tsvg` on the file and writes its output to `svg_path`, whole or not at all. No shell
 * is involved. Errors: NOT_FOUND (Graphviz is not installed), BAD_FORMAT (dot refused the file; it
 * has said why on stderr), IO. */
EBB_NODISCARD ebb_status render_dot(const char *dot_path, const char *svg_path, ebb_error *error);

#endif
