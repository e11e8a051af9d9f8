/* Progress lines. */
#include <ebb/training.h>

#include <math.h>
#include <time.h>
#include <unistd.h>

#define BAR_CELLS 30
#define REDRAW_SECONDS 0.1
/* Without a terminal: a line for each of so many equal parts, but none for what is over at once. */
#define PLAIN_LINES 4
#define PLAIN_SECONDS 2.0

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void ebb_progress_start(ebb_progress *progress, FILE *out, const char *label, int64_t first,
                        int64_t total)
{
    const double time = now();
    *progress = (ebb_progress){ .out = out,
                                .label = label ? label : "",
                                .total = total > 0 ? total : 1,
                                .first = first,
                                .done = first,
                                .loss = (double)NAN,
                                .started = time,
                                .shown = time,
                                .is_terminal = out && isatty(fileno(out)) };
}

static void print_numbers(const ebb_progress *progress, double time)
{
    double seconds = time - progress->started;
    double rate = seconds > 0 ? (double)(progress->done - progress->first) / seconds : 0;
    fprintf(progress->out, "%3.0f%%  %lld/%lld",
            100.0 * (double)progress->done / (double)progress->total, (long long)progress->done,
            (long long)progress->total);
    if (rate > 0) {
        const double left = floor((double)(progress->total - progress->done) / rate);
        fprintf(progress->out, rate < 10 ? "  %.1f/s" : "  %.0f/s", rate);
        fprintf(progress->out, "  %.0f:%02.0f left", floor(left / 60), fmod(left, 60));
    }
    if (!isnan(progress->loss))
        fprintf(progress->out, "  loss %.4f", progress->loss);
}

static void draw_bar(ebb_progress *progress, double time)
{
    /* Eighths of a cell: U+2588 is a full one, U+2589 to U+258F are 7/8 to 1/8. */
    double part = (double)progress->done / (double)progress->total;
    int eighths = (int)(part * BAR_CELLS * 8);
    fprintf(progress->out, "\r%s \xe2\x96\x95", progress->label);
    for (int i = 0; i < BAR_CELLS; i++, eighths -= 8) {
        if (eighths <= 0)
            fputc(' ', progress->out);
        else
            fprintf(progress->out, "\xe2\x96%c", eighths >= 8 ? 0x88 : 0x90 - eighths);
    }
    fprintf(progress->out, "\xe2\x96\x8f");
    print_numbers(progress, time);
    fprintf(progress->out, "\x1b[K");
    fflush(progress->out);
    progress->shown = time;
}

static void print_line(ebb_progress *progress, double time)
{
    fprintf(progress->out, "%s  ", progress->label);
    print_numbers(progress, time);
    fputc('\n', progress->out);
    fflush(progress->out);
    progress->n_lines++;
    progress->shown = time;
}

void ebb_progress_step(ebb_progress *progress, int64_t done, double loss)
{
    progress->done = done > progress->total ? progress->total : done > 0 ? done : 0;
    progress->loss = loss;
    if (!progress->out)
        return;
    double time = now();
    if (progress->is_terminal) {
        if (time - progress->shown >= REDRAW_SECONDS || progress->done == progress->total)
            draw_bar(progress, time);
    } else if (time - progress->shown >= PLAIN_SECONDS &&
               (double)progress->done * PLAIN_LINES >=
                   (double)(progress->n_lines + 1) * (double)progress->total) {
        print_line(progress, time);
    }
}

void ebb_progress_end(ebb_progress *progress)
{
    if (progress->out && progress->is_terminal) {
        fprintf(progress->out, "\r\x1b[K");
        fflush(progress->out);
    }
}
