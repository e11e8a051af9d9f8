/* First values of variables. */
#include "ops/random.h"

#include <math.h>

uint64_t ebb_name_hash(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return hash;
}

/* mean + std z with z normal within two standard deviations: element i takes the first number of
 * streams 0, 1, 2 ... that is. 64 streams fail with probability 0.0455^64. */
static void fill_truncated(const ebb_init *init, ebb_random_key key, const ebb_tensor *value)
{
    const int64_t n = ebb_shape_elements(&value->type.shape);
    const bool is_f32 = value->type.dtype == EBB_F32;
    for (int64_t i = 0; i < n; i++) {
        double z = 0;
        for (key.stream = 0; key.stream < 64; key.stream++) {
            float single;
            ebb_random_fill(value->type.dtype, true, key, i, 1, is_f32 ? (void *)&single : &z);
            if (is_f32)
                z = (double)single;
            if (fabs(z) <= 2)
                break;
        }
        ebb_tensor_set(value, i, init->a + init->b * fmax(-2, fmin(z, 2)));
    }
}

/* ---- orthogonal ---- */

/* A matrix in place: vector v, element e at v * of_vector + e * of_element. */
typedef struct vectors {
    ebb_dtype dtype;
    void *data;
    int64_t n, length;
    int64_t of_vector, of_element;
} vectors;

enum { GROUP = 64 };

static inline double get(ebb_dtype dtype, const void *data, int64_t i)
{
    return dtype == EBB_F32 ? (double)((const float *)data)[i] : ((const double *)data)[i];
}

static inline void set(ebb_dtype dtype, void *data, int64_t i, double x)
{
    if (dtype == EBB_F32)
        ((float *)data)[i] = (float)x;
    else
        ((double *)data)[i] = x;
}

/* Takes the parts along vectors first..first+n-1, which are orthonormal, away from vector v. */
static inline void remove_parts(const vectors *m, ebb_dtype dtype, int64_t v, int64_t first, int n)
{
    double parts[GROUP] = { 0 };
    for (int64_t e = 0; e < m->length; e++) {
        const int64_t at = e * m->of_element;
        const double x = get(dtype, m->data, at + v * m->of_vector);
        for (int i = 0; i < n; i++)
            parts[i] += x * get(dtype, m->data, at + (first + i) * m->of_vector);
    }
    for (int64_t e = 0; e < m->length; e++) {
        const int64_t at = e * m->of_element;
        double x = get(dtype, m->data, at + v * m->of_vector);
        for (int i = 0; i < n; i++)
            x -= parts[i] * get(dtype, m->data, at + (first + i) * m->of_vector);
        set(dtype, m->data, at + v * m->of_vector, x);
    }
}

static inline void scale_vector(const vectors *m, ebb_dtype dtype, int64_t v, double length)
{
    double sum = 0;
    for (int64_t e = 0; e < m->length; e++) {
        const double x = get(dtype, m->data, v * m->of_vector + e * m->of_element);
        sum += x * x;
    }
    const double factor = sum > 0 ? length / sqrt(sum) : 0;
    for (int64_t e = 0; e < m->length; e++) {
        const int64_t at = v * m->of_vector + e * m->of_element;
        set(dtype, m->data, at, factor * get(dtype, m->data, at));
    }
}

/* Gram-Schmidt, each vector twice (Giraud, Langou, Rozloznik 2005: twice is enough). Of normal
 * numbers it makes the uniform distribution over orthogonal matrices, as every step turns with the
 * matrix (Mezzadri 2007). */
static inline void make_orthonormal(const vectors *m, ebb_dtype dtype)
{
    for (int64_t v = 0; v < m->n; v++)
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t first = 0; first < v; first += GROUP)
                remove_parts(m, dtype, v, first, (int)(v - first < GROUP ? v - first : GROUP));
            scale_vector(m, dtype, v, 1);
        }
}

/* `value` as a matrix [first dimension, all others]. The shorter side's vectors become orthonormal,
 * then times the gain. */
static void fill_orthogonal(const ebb_init *init, ebb_random_key key, const ebb_tensor *value)
{
    const int64_t n = ebb_shape_elements(&value->type.shape);
    if (n == 0)
        return;
    const int64_t n_rows = value->type.shape.dims[0], n_columns = n / n_rows;
    ebb_random_fill(value->type.dtype, true, key, 0, n, value->data);
    vectors m = { value->type.dtype, value->data, n_rows, n_columns, n_columns, 1 };
    if (n_rows > n_columns)
        m = (vectors){ value->type.dtype, value->data, n_columns, n_rows, 1, n_columns };
    if (m.dtype == EBB_F32)
        make_orthonormal(&m, EBB_F32);
    else
        make_orthonormal(&m, EBB_F64);
    for (int64_t i = 0; i < n; i++)
        ebb_tensor_set(value, i, init->b * ebb_tensor_get(value, i));
}

/* ---- all kinds ---- */

static void fill_scaled(const ebb_init *init, ebb_random_key key, const ebb_tensor *value)
{
    const int64_t n = ebb_shape_elements(&value->type.shape);
    const bool is_normal = init->kind == EBB_INIT_NORMAL;
    const double scale = is_normal ? init->b : init->b - init->a;
    ebb_random_fill(value->type.dtype, is_normal, key, 0, n, value->data);
    for (int64_t i = 0; i < n; i++) {
        ebb_tensor_set(value, i, init->a + scale * ebb_tensor_get(value, i));
        /* Rounding may reach b, which does not belong to [a, b). */
        if (!is_normal && init->a < init->b && ebb_tensor_get(value, i) >= init->b) {
            const double below = value->type.dtype == EBB_F32
                                     ? (double)nextafterf((float)init->b, (float)init->a)
                                     : nextafter(init->b, init->a);
            ebb_tensor_set(value, i, below);
        }
    }
}

void ebb_init_fill(const ebb_init *init, const char *full_name, const ebb_tensor *value)
{
    const ebb_random_key key = { init->seed, ebb_name_hash(full_name), 0 };
    switch (init->kind) {
    case EBB_INIT_CONSTANT:
        for (int64_t i = 0; i < ebb_shape_elements(&value->type.shape); i++)
            ebb_tensor_set(value, i, init->a);
        return;
    case EBB_INIT_UNIFORM:
    case EBB_INIT_NORMAL:
        fill_scaled(init, key, value);
        return;
    case EBB_INIT_TRUNCATED_NORMAL:
        fill_truncated(init, key, value);
        return;
    case EBB_INIT_ORTHOGONAL:
        fill_orthogonal(init, key, value);
        return;
    }
}
