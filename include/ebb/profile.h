/* Where the time of a run goes. An executable compiled with `.profile` takes the time of every
 * step; one compiled without pays nothing. */
#ifndef EBB_PROFILE_H
#define EBB_PROFILE_H

#include <ebb/compile.h>

EBB_BEGIN

/* Sums over all runs since the compilation or the last reset; failed runs count as far as they
 * came. */
typedef struct ebb_step_profile {
    int64_t n_runs;
    double seconds, least_seconds; /* in all, and of the fastest run */
    double flops; /* floating-point operations of one run (ebb_node_flops); 0 of a copy */
} ebb_step_profile;
/* Of step `index` (as in ebb_executable_step); false, and zeros, if there is no such step or the
 * executable was compiled without `.profile`. */
EBB_API bool ebb_profile_step(const ebb_executable *executable, int64_t index,
                              ebb_step_profile *profile);
/* Forgets all times and events. */
EBB_API void ebb_profile_reset(ebb_executable *executable);

typedef enum ebb_profile_by {
    EBB_PROFILE_BY_OP,
    EBB_PROFILE_BY_SCOPE,  /* of the names; "" (the top) prints as "." */
    EBB_PROFILE_BY_KERNEL, /* op, backend and implementation; of a fused node also the ops inside */
    EBB_PROFILE_BY_STEP
} ebb_profile_by;

/* What the machine can do with the executable's threads, measured by whoever wants to compare; 0:
 * not known. */
typedef struct ebb_machine_limits {
    double flops; /* per second, F32 multiply-adds counted as two */
    double bytes; /* per second, between memory and cores */
} ebb_machine_limits;

typedef struct ebb_profile_table_options {
    ebb_profile_by by;
    int64_t n_rows; /* at most so many, then a row with the rest; 0: all */
    ebb_machine_limits limits;
} ebb_profile_table_options;

/* Writes a table, most time first: milliseconds per run, share of all steps, steps of a run,
 * GFLOP/s, GB/s (bytes that a step must read and write once, whether they come from caches or not),
 * and with `limits` the larger part of the two that is reached. The last row is the sum. `options`
 * NULL: zeros. Errors: BAD_ARGUMENT (no executable, compiled without `.profile`), IO,
 * OUT_OF_MEMORY; message in `error`, which may be NULL. */
EBB_NODISCARD EBB_API ebb_status ebb_profile_write_table(const ebb_executable *executable,
                                                         FILE *out,
                                                         const ebb_profile_table_options *options,
                                                         ebb_error *error);

/* Writes the last steps that ran, up to 65536 of them, as JSON in the Trace Event Format that
 * Chrome's about:tracing and Perfetto read: one slice a run, and in it one a step. Errors: as
 * above. */
EBB_NODISCARD EBB_API ebb_status ebb_profile_write_trace(const ebb_executable *executable,
                                                         FILE *out, ebb_error *error);

EBB_END

#endif
