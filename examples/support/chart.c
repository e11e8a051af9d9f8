/* Line charts as SVG. */
#include "support/chart.h"

#include "support/stop.h"

#include <math.h>
#include <stdio.h>

/* Pixels; the plot lies between the margins. */
enum { WIDTH = 720, HEIGHT = 400, LEFT = 60, RIGHT = 20, TOP = 50, BOTTOM = 50, MAX_POINTS = 400 };

static const char *const colors[] = { "#3b6ea5", "#c0504d", "#5a9a4a", "#8064a2" };

typedef struct chart_frame {
    const char *title, *x_label;
    const chart_line *lines;
    int n_lines;
    double max_x, min_y, max_y;
} chart_frame;

static double place_x(const chart_frame *chart, double x)
{
    return LEFT + x / chart->max_x * (WIDTH - LEFT - RIGHT);
}

static double place_y(const chart_frame *chart, double y)
{
    double part = (y - chart->min_y) / (chart->max_y - chart->min_y);
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
}

/* The largest of 1, 2 and 5 times a power of ten that gives at least four ticks. */
static double tick_step(double range)
{
    double power = pow(10, floor(log10(range)));
    static const double factors[] = { 2, 1, 0.5, 0.2 };
    for (int i = 0; i < 4; i++)
        if (range / (factors[i] * power) >= 4)
            return factors[i] * power;
    return 0.1 * power;
}

static void measure(chart_frame *chart)
{
    chart->max_x = 0;
    for (int i = 0; i < chart->n_lines; i++) {
        const chart_line *line = &chart->lines[i];
        chart->max_x = fmax(chart->max_x, line->first_x + (double)(line->n - 1) * line->step_x);
        for (int64_t k = 0; k < line->n; k++) {
            if (isfinite(line->values[k])) {
                chart->min_y = fmin(chart->min_y, line->values[k]);
                chart->max_y = fmax(chart->max_y, line->values[k]);
            }
        }
    }
    if (!(chart->max_x > 0))
        chart->max_x = 1;
    if (!(chart->max_y > chart->min_y))
        chart->max_y = chart->min_y + 1;
}

static void write_axes(const chart_frame *chart, FILE *out)
{
    double step = tick_step(chart->max_y - chart->min_y);
    for (double y = ceil(chart->min_y / step) * step; y <= chart->max_y + step / 1e6; y += step) {
        fprintf(out,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
                LEFT, WIDTH - RIGHT, place_y(chart, y), place_y(chart, y), LEFT - 8,
                place_y(chart, y) + 4, fabs(y) < step / 2 ? 0 : y);
    }
    step = tick_step(chart->max_x);
    for (double x = 0; x <= chart->max_x + step / 1e6; x += step) {
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n",
                place_x(chart, x), HEIGHT - BOTTOM + 18, x);
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (LEFT + WIDTH) / 2,
            HEIGHT - 12, chart->x_label);
    fprintf(out, "<text x=\"%d\" y=\"26\" font-size=\"16\">%s</text>\n", LEFT, chart->title);
}

static void write_line(const chart_frame *chart, int index, FILE *out)
{
    const chart_line *line = &chart->lines[index];
    const char *color = colors[index % 4];
    int64_t part = (line->n + MAX_POINTS - 1) / MAX_POINTS;
    bool pen_is_down = false;
    fprintf(out,
            "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" stroke-linecap=\"round\" d=\"",
            color);
    for (int64_t start = 0; start < line->n; start += part) {
        int64_t n = line->n - start < part ? line->n - start : part;
        double sum = 0;
        for (int64_t k = start; k < start + n; k++)
            sum += line->values[k];
        double y = sum / (double)n;
        if (isfinite(y)) {
            double x = line->first_x + ((double)start + (double)(n - 1) / 2) * line->step_x;
            /* A lone point is a line of no length with round ends. */
            fprintf(out, pen_is_down ? "L%.1f %.1f" : "M%.1f %.1fh0", place_x(chart, x),
                    place_y(chart, y));
        }
        pen_is_down = isfinite(y);
    }
    fprintf(out, "\"/>\n<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"%s\">%s</text>\n",
            WIDTH - RIGHT, 26 + 16 * index, color, line->label);
}

static ebb_status write_chart(void *context, FILE *out, ebb_error *error)
{
    const chart_frame *chart = context;
    (void)error; /* ebb_file_write finds write errors */
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    write_axes(chart, out);
    for (int i = 0; i < chart->n_lines; i++)
        write_line(chart, i, out);
    fprintf(out, "</svg>\n");
    return EBB_OK;
}

void chart_write(const output_folder *output, const char *name, const char *title,
                 const char *x_label, const chart_line *lines, int n_lines)
{
    chart_frame chart = { title, x_label, lines, n_lines, 0, 0, 0 };
    char file[OUTPUT_PATH_BYTES], path[OUTPUT_PATH_BYTES];
    ebb_error error;
    measure(&chart);
    snprintf(file, sizeof file, "%s.svg", name);
    output_path(output, file, path);
    need(ebb_file_write(path, write_chart, &chart, &error), error.message);
    printf("wrote %s\n", path);
}
