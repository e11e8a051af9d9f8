/* The samples of the ops as test cases: their inputs as tensors. What walks the registry uses this.
 */
#ifndef TESTS_SUPPORT_SAMPLES_H
#define TESTS_SUPPORT_SAMPLES_H

#include <ebb/op.h>

typedef struct sample_case {
    const ebb_op *op;
    const ebb_sample *sample;
    const void *attrs; /* never NULL if the op has attributes */
    int n_inputs;
    ebb_tensor inputs[EBB_MAX_SAMPLE_INPUTS];
    ebb_node nodes[EBB_MAX_SAMPLE_INPUTS]; /* inputs "i0", "i1", ... of `graph` */
    ebb_graph *graph;
    ebb_node results[EBB_MAX_RESULTS]; /* the op on them; none after an error (see the graph) */
    char label[80];                    /* "matmul sample 3", for messages */
} sample_case;

/* Values are drawn from the sample's ranges by a generator of op name and sample number. Float
 * inputs become `floats` (EBB_F64 or EBB_F32) and have few enough bits to be equal in both for
 * ranges up to
 * 8. Check fails the test when memory is out. The caller finishes the case, also when the op
 * refused the inputs. */
void sample_case_init(sample_case *c, const ebb_op *op, int index, ebb_dtype floats);
void sample_case_finish(sample_case *c);

/* Zeros, which stand for the default, if the sample says nothing. */
ebb_sample_range sample_range(const ebb_sample *sample, int input);

/* A value that the sample draws for this input, out of a number in [0, 1). False if it is too near
 * a kink: draw again. */
bool sample_value(const ebb_sample *sample, int input, bool is_float, double uniform,
                  double *value);

/* True if the sample states what must fail while the graph is built (an error without values). */
bool sample_fails_to_build(const ebb_sample *sample);

/* a and b equal within `absolute` + `relative` * max(|a|, |b|); NaN equals NaN, and infinities
 * themselves. */
bool nearly_equal(double a, double b, double relative, double absolute);

#endif
