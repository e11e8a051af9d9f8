/* Native kernels of integers and booleans: reductions over any axes, argmax, argmin, cumsum, with
 * values over the whole range of each dtype, against the reference kernels. */
#include "backends/backends.h"
#include "ops/descriptors.h"
#include "tests/support/kernels.h"
#include "tests/support/runner.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static const ebb_backend *const native[] = { &ebb_backend_native };

/* Random bits in every element, or values of which many are equal; booleans are mostly `common`. */
static ebb_tensor draw_tensor(ebb_dtype dtype, ebb_shape shape, bool is_narrow, int common)
{
    ebb_tensor tensor;
    uint64_t state = 88172645463325252u; /* xorshift64, Marsaglia 2003 */
    REQUIRE(!ebb_tensor_init(&tensor, ebb_type_of(dtype, shape), NULL), "out of memory");
    const size_t bytes = ebb_dtype_bytes(dtype);
    for (int64_t i = 0; i < ebb_shape_elements(&shape); i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uint64_t bits = is_narrow ? state % 5 : state;
        if (dtype == EBB_BOOL)
            bits = (uint64_t)(state % 1000 == 0 ? !common : common);
        else if (ebb_dtype_is_float(dtype)) {
            ebb_tensor_set(&tensor, i, (double)(state % 4096) - 2000);
            continue;
        }
        memcpy((char *)tensor.data + (size_t)i * bytes, &bits, bytes);
    }
    return tensor;
}

static void check(const ebb_op *op, const void *attrs, const ebb_tensor *x)
{
    char label[300], text[EBB_TYPE_TEXT_BYTES];
    snprintf(label, sizeof label, "%s %s", op->name, ebb_type_text(&x->type, text));
    kernel_case c = { op, attrs, 1, x, label, 0 };
    kernel_counts counts = check_kernels(&c, native, 1, "native");
    REQUIRE(counts.n_threaded > 0 || ebb_shape_elements(&x->type.shape) < 40000,
            "%s: never shared out", label);
}

/* The first ones are shared out between threads. */
static const ebb_shape shapes[] = { SHAPE(40001),      SHAPE(3, 15000),  SHAPE(15000, 3),
                                    SHAPE(20, 60, 31), SHAPE(1),         SHAPE(1, 50, 1, 9),
                                    SHAPE(7, 1, 1),    SHAPE(17, 3, 2),  SHAPE(0),
                                    SHAPE(3, 0, 4),    SHAPE(5, 1, 1030) };
enum { N_LARGE = 4 };

START_TEST(reductions_over_all_axes)
{
    static const ebb_op *const ops[] = { &ebb_op_reduce_sum, &ebb_op_reduce_prod,
                                         &ebb_op_reduce_max, &ebb_op_reduce_min };
    static const ebb_dtype dtypes[] = { EBB_I64, EBB_I32, EBB_U8 };
    const ebb_shape shape = shapes[_i];
    for (unsigned mask = 1; mask < 1u << shape.rank; mask++) {
        ebb_reduce_attrs attrs = { .keep = mask % 2 };
        for (int i = 0; i < shape.rank; i++)
            if (mask & 1u << i)
                attrs.axes.axes[attrs.axes.n++] = i;
        for (int d = 0; d < COUNT(dtypes); d++) {
            ebb_tensor x = draw_tensor(dtypes[d], shape, false, 0);
            for (int o = _i < N_LARGE ? d : 0; o < COUNT(ops); o += _i < N_LARGE ? 2 : 1)
                check(ops[o], &attrs, &x);
            ebb_tensor_finish(&x);
        }
        for (int common = 0; common < 2; common++) {
            ebb_tensor x = draw_tensor(EBB_BOOL, shape, false, common);
            check(&ebb_op_reduce_any, &attrs, &x);
            check(&ebb_op_reduce_all, &attrs, &x);
            ebb_tensor_finish(&x);
        }
    }
}
END_TEST

START_TEST(along_each_axis)
{
    static const ebb_dtype dtypes[] = { EBB_I64, EBB_I32, EBB_U8, EBB_F32, EBB_F64 };
    const ebb_shape shape = shapes[_i];
    for (int axis = 0; axis < shape.rank; axis++)
        for (int d = 0; d < COUNT(dtypes); d++)
            for (int is_narrow = 0; is_narrow < 2; is_narrow++) {
                if (_i < N_LARGE && is_narrow != d % 2)
                    continue;
                ebb_tensor x = draw_tensor(dtypes[d], shape, is_narrow, 0);
                const ebb_axis_attrs where = { axis };
                if (shape.dims[axis] > 0) {
                    kernel_case c = { &ebb_op_argmax, &where, 1, &x, "argmax", 0 };
                    check_kernels(&c, native, 1, "native");
                    c.op = &ebb_op_argmin;
                    check_kernels(&c, native, 1, "native");
                }
                for (int way = d % 2; way < 4; way += _i < N_LARGE ? 2 : 1) {
                    const ebb_cumsum_attrs attrs = { axis, way & 1, way & 2 };
                    kernel_case c = { &ebb_op_cumsum, &attrs, 1, &x, "cumsum", 0 };
                    check_kernels(&c, native, 1, "native");
                }
                ebb_tensor_finish(&x);
            }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("integers");
    TCase *kernels = tcase_create("kernels");
    tcase_set_timeout(kernels, 120);
    tcase_add_loop_test(kernels, reductions_over_all_axes, 0, COUNT(shapes));
    tcase_add_loop_test(kernels, along_each_axis, 0, COUNT(shapes));
    suite_add_tcase(suite, kernels);
    return run_suite(suite);
}
