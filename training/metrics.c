/* Metrics of classification, counted from scores on the host. */
#include <ebb/training.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MAX_CLASSES 65536

static size_t confusion_bytes(const ebb_metrics *metrics)
{
    return (size_t)metrics->n_classes * (size_t)metrics->n_classes * sizeof *metrics->confusion;
}

ebb_status ebb_metrics_init(ebb_metrics *metrics, int64_t n_classes, int top,
                            const ebb_allocator *allocator, ebb_error *error)
{
    if (!metrics)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_metrics_init: metrics is NULL");
    *metrics = (ebb_metrics){ .allocator = allocator };
    if (top < 0 || n_classes < 0 || n_classes > MAX_CLASSES)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "ebb_metrics_init: %" PRId64 " classes and the top %d; 0 to %d classes and "
                        "no negative top are allowed",
                        n_classes, top, MAX_CLASSES);
    metrics->top = top ? top : 1;
    if (n_classes == 0)
        return EBB_OK;
    metrics->n_classes = n_classes;
    metrics->confusion = ebb_allocate(allocator, confusion_bytes(metrics));
    if (!metrics->confusion) {
        metrics->n_classes = 0;
        return ebb_fail(error, EBB_OUT_OF_MEMORY,
                        "ebb_metrics_init: no memory for a confusion matrix of %" PRId64 " classes",
                        n_classes);
    }
    ebb_metrics_reset(metrics);
    return EBB_OK;
}

void ebb_metrics_finish(ebb_metrics *metrics)
{
    if (!metrics)
        return;
    if (metrics->confusion)
        ebb_release(metrics->allocator, metrics->confusion, confusion_bytes(metrics));
    *metrics = (ebb_metrics){ 0 };
}

void ebb_metrics_reset(ebb_metrics *metrics)
{
    if (!metrics)
        return;
    metrics->n_examples = metrics->n_right = metrics->n_top = 0;
    metrics->n_losses = 0;
    metrics->loss_sum = 0;
    if (metrics->confusion)
        memset(metrics->confusion, 0, confusion_bytes(metrics));
}

static ebb_status check(const ebb_metrics *metrics, const ebb_tensor *scores,
                        const ebb_tensor *labels, int64_t n, ebb_error *error)
{
    if (!metrics || !scores || !labels || !scores->data || !labels->data)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_metrics_add: there are no %s",
                        !metrics                   ? "metrics"
                        : !scores || !scores->data ? "scores"
                                                   : "labels");
    const ebb_shape *s = &scores->type.shape, *l = &labels->type.shape;
    char a[EBB_TYPE_TEXT_BYTES], b[EBB_TYPE_TEXT_BYTES];
    ebb_type_text(&scores->type, a);
    ebb_type_text(&labels->type, b);
    if (!ebb_dtype_is_float(scores->type.dtype) || !ebb_dtype_is_integer(labels->type.dtype))
        return ebb_fail(error, EBB_BAD_DTYPE,
                        "ebb_metrics_add: needs float scores and integer labels, not %s and %s", a,
                        b);
    if (s->rank != 2 || l->rank != 1 || s->dims[0] != l->dims[0] || s->dims[1] < 1 || n < 0 ||
        n > s->dims[0] || (metrics->confusion && s->dims[1] != metrics->n_classes))
        return ebb_fail(error, EBB_BAD_SHAPE,
                        "ebb_metrics_add: needs scores [batch, classes] and labels [batch], not %s "
                        "and %s, for %" PRId64 " examples and %" PRId64 " classes",
                        a, b, n, metrics->confusion ? metrics->n_classes : s->dims[1]);
    for (int64_t i = 0; i < n; i++) {
        const double label = ebb_tensor_get(labels, i);
        if (!(label >= 0 && label < (double)s->dims[1]))
            return ebb_fail(error, EBB_BAD_INDEX,
                            "ebb_metrics_add: label %" PRId64 " is %.0f, but there are %" PRId64
                            " classes",
                            i, label, s->dims[1]);
    }
    return EBB_OK;
}

/* A score before another one: larger, or NaN; of equal ones the first. */
static bool is_before(double a, int64_t i, double b, int64_t j)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && (!isnan(b) || i < j);
    return a > b || (a == b && i < j);
}

ebb_status ebb_metrics_add(ebb_metrics *metrics, const ebb_tensor *scores, const ebb_tensor *labels,
                           int64_t n, ebb_error *error)
{
    const ebb_status status = check(metrics, scores, labels, n, error);
    if (status)
        return status;
    const int64_t n_classes = scores->type.shape.dims[1];
    for (int64_t i = 0; i < n; i++) {
        const int64_t label = (int64_t)ebb_tensor_get(labels, i), row = i * n_classes;
        const double score = ebb_tensor_get(scores, row + label);
        int64_t guess = label, n_before = 0;
        double best = score;
        for (int64_t k = 0; k < n_classes; k++) {
            const double other = ebb_tensor_get(scores, row + k);
            n_before += is_before(other, k, score, label);
            if (is_before(other, k, best, guess)) {
                guess = k;
                best = other;
            }
        }
        metrics->n_right += n_before == 0;
        metrics->n_top += n_before < metrics->top;
        if (metrics->confusion)
            metrics->confusion[label * n_classes + guess]++;
    }
    metrics->n_examples += n;
    return EBB_OK;
}

static double part_of(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : (double)NAN;
}

double ebb_metrics_accuracy(const ebb_metrics *metrics)
{
    return metrics ? part_of((double)metrics->n_right, metrics->n_examples) : (double)NAN;
}

double ebb_metrics_top(const ebb_metrics *metrics)
{
    return metrics ? part_of((double)metrics->n_top, metrics->n_examples) : (double)NAN;
}

double ebb_metrics_loss(const ebb_metrics *metrics)
{
    return metrics ? part_of(metrics->loss_sum, metrics->n_losses) : (double)NAN;
}
