/* Drawing plots. */
#include "support/plot.h"

#include <math.h>
#include <string.h>

#define LEFT 74
#define RIGHT 24
#define TOP 46
#define BOTTOM 56
#define LEGEND_ROW 20
/* Widths of text are guessed: an SVG file does not know its fonts. */
#define CHARACTER_WIDTH 7.0
#define LEGEND_SAMPLE 26.0
#define MAX_TICKS 64
#define TICK_BYTES 32
#define FAR 1e5
/* Pixels from tick to tick, at least. */
#define TICK_WIDTH 85
#define TICK_HEIGHT 55
#define SMALL_WIDTH 400

/* Okabe and Ito, Color universal design (2008), without black and yellow, and two more. */
static const char *const palette[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                       "#56b4e9", "#e69f00", "#6a3d9a", "#555555" };
#define N_COLORS ((int)(sizeof palette / sizeof *palette))

/* An axis with its range, in pixels from `from` to `to`. */
typedef struct axis_scale {
    bool logarithmic;
    double low, high, from, to;
    double ticks[MAX_TICKS];
    int n_ticks;
    double step; /* of a linear axis */
} axis_scale;

typedef struct svg_canvas {
    FILE *out;
    const plot_sheet *plot;
    axis_scale x, y;
    double width, height;
} svg_canvas;

static bool can_show(const axis_scale *scale, double value)
{
    return isfinite(value) && (!scale->logarithmic || value > 0);
}

static double place(const axis_scale *scale, double value)
{
    double low = scale->low, high = scale->high;
    if (scale->logarithmic) {
        value = log10(value);
        low = log10(low);
        high = log10(high);
    }
    /* What lies far outside need not be drawn exactly. */
    double pixel = scale->from + (value - low) / (high - low) * (scale->to - scale->from);
    return fmax(-FAR, fmin(FAR, pixel));
}

static double x_of(const plot_series *series, int64_t i)
{
    double step = series->step_x != 0 ? series->step_x : 1;
    return series->x ? series->x[i] : series->first_x + (double)i * step;
}

/* ---- axes ---- */

static void add_tick(axis_scale *scale, double value)
{
    if (scale->n_ticks < MAX_TICKS)
        scale->ticks[scale->n_ticks++] = value;
}

/* Steps of 1, 2 or 5 times a power of ten, about `n` of them. The range grows to a step that is
 * nearer than `slack` steps. */
static void divide_linear(axis_scale *scale, int n, double slack)
{
    double rough = (scale->high - scale->low) / n, power = pow(10, floor(log10(rough)));
    double leading = rough / power;
    scale->step = power * (leading < 1.5 ? 1 : leading < 3.5 ? 2 : leading < 7.5 ? 5 : 10);
    double below = floor(scale->low / scale->step + 1e-9) * scale->step;
    double above = ceil(scale->high / scale->step - 1e-9) * scale->step;
    if (scale->low - below <= slack * scale->step)
        scale->low = below;
    if (above - scale->high <= slack * scale->step)
        scale->high = above;
    double first = ceil(scale->low / scale->step - 1e-9);
    for (int i = 0; i < MAX_TICKS; i++) {
        double value = (first + i) * scale->step;
        if (value > scale->high + 1e-9 * scale->step)
            break;
        add_tick(scale, value);
    }
}

static void divide_logarithmic(axis_scale *scale, bool grow)
{
    double low = log10(scale->low), high = log10(scale->high);
    if (grow) {
        low = floor(low + 1e-9);
        high = ceil(high - 1e-9);
        if (low >= high)
            high = low + 1;
        scale->low = pow(10, low);
        scale->high = pow(10, high);
    }
    int first = (int)floor(low), last = (int)ceil(high), every = (last - first) / 12 + 1;
    for (int decade = first; decade <= last; decade++)
        for (int digit = 1; digit < 10; digit += digit == 1 ? 1 : digit == 2 ? 3 : 5) {
            double value = digit * pow(10, decade);
            bool shown = digit == 1 ? (decade - first) % every == 0 : last - first <= 2;
            if (shown && value >= scale->low * (1 - 1e-9) && value <= scale->high * (1 + 1e-9))
                add_tick(scale, value);
        }
}

static void include(axis_scale *scale, double value)
{
    if (!can_show(scale, value))
        return;
    scale->low = fmin(scale->low, value);
    scale->high = fmax(scale->high, value);
}

/* Half of the distance from bar to bar, in units of x. */
static double half_bar(const plot_series *series)
{
    return series->n > 1 ? fabs(x_of(series, 1) - x_of(series, 0)) / 2 : 0.5;
}

/* The range of what the axis can show; false if there is nothing. */
static bool find_range(const plot_sheet *plot, bool vertical, axis_scale *scale)
{
    scale->low = INFINITY;
    scale->high = -INFINITY;
    for (int s = 0; s < plot->n_series; s++) {
        const plot_series *series = &plot->series[s];
        bool bars = series->kind == PLOT_BARS && series->n > 0;
        for (int64_t i = 0; i < series->n; i++)
            include(scale, vertical ? series->y[i] : x_of(series, i));
        if (bars && vertical)
            include(scale, 0);
        if (bars && !vertical) {
            include(scale, x_of(series, 0) - half_bar(series));
            include(scale, x_of(series, series->n - 1) + half_bar(series));
        }
    }
    return scale->low <= scale->high;
}

static void make_scale(const plot_sheet *plot, const plot_axis *axis, bool vertical,
                       axis_scale *scale)
{
    scale->logarithmic = axis->logarithmic;
    bool given = axis->low < axis->high && (!axis->logarithmic || axis->low > 0);
    if (given) {
        scale->low = axis->low;
        scale->high = axis->high;
    } else if (!find_range(plot, vertical, scale)) {
        scale->low = axis->logarithmic ? 1 : 0;
        scale->high = axis->logarithmic ? 10 : 1;
    }
    if (scale->logarithmic) {
        divide_logarithmic(scale, !given);
        return;
    }
    double size = fmax(fabs(scale->low), fabs(scale->high));
    if (scale->high - scale->low <= 1e-12 * size || size == 0) {
        scale->low -= size > 0 ? 0.5 * size : 0.5;
        scale->high += size > 0 ? 0.5 * size : 0.5;
    }
    int n_steps = (int)(fabs(scale->to - scale->from) / (vertical ? TICK_HEIGHT : TICK_WIDTH));
    divide_linear(scale, n_steps > 2 ? n_steps : 2, given ? 0 : vertical ? 1 : 0.1);
}

/* ---- pieces of SVG ---- */

static void put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        default:
            fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
        }
    }
}

static void put_label(FILE *out, double x, double y, const char *anchor, const char *more,
                      const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor, more);
    put_text(out, text);
    fputs("</text>\n", out);
}

/* "0.25" where the step is 0.05; "1e-05" where that is shorter. */
static void name_tick(const axis_scale *scale, double value, char text[TICK_BYTES])
{
    if (!scale->logarithmic && fabs(value) < 1e-9 * scale->step)
        value = 0;
    double size = fmax(fabs(scale->low), fabs(scale->high));
    if (scale->logarithmic || size >= 1e6 || size < 1e-3) {
        snprintf(text, TICK_BYTES, "%.6g", value);
        return;
    }
    int decimals = (int)fmax(0, ceil(-log10(scale->step) - 1e-9));
    snprintf(text, TICK_BYTES, "%.*f", decimals, value);
}

static void put_axes(const svg_canvas *canvas)
{
    FILE *out = canvas->out;
    const axis_scale *x = &canvas->x, *y = &canvas->y;
    char text[TICK_BYTES], turn[64];
    fputs("<g stroke=\"#e4e4e4\" stroke-width=\"1\">\n", out);
    for (int i = 0; i < y->n_ticks; i++)
        fprintf(out, "<path d=\"M%.1f %.1fH%.1f\"/>\n", x->from, place(y, y->ticks[i]), x->to);
    for (int i = 0; i < x->n_ticks; i++)
        fprintf(out, "<path d=\"M%.1f %.1fV%.1f\"/>\n", place(x, x->ticks[i]), y->from, y->to);
    fputs("</g>\n<g fill=\"#444\" font-size=\"12\">\n", out);
    for (int i = 0; i < y->n_ticks; i++) {
        name_tick(y, y->ticks[i], text);
        put_label(out, x->from - 8, place(y, y->ticks[i]) + 4, "end", "", text);
    }
    for (int i = 0; i < x->n_ticks; i++) {
        name_tick(x, x->ticks[i], text);
        put_label(out, place(x, x->ticks[i]), y->from + 18, "middle", "", text);
    }
    fputs("</g>\n", out);
    fprintf(out, "<path d=\"M%.1f %.1fV%.1fH%.1f\" fill=\"none\" stroke=\"#444\"/>\n", x->from,
            y->to, y->from, x->to);
    double middle = (y->from + y->to) / 2;
    snprintf(turn, sizeof turn, " transform=\"rotate(-90 18 %.1f)\"", middle);
    if (canvas->plot->x.label)
        put_label(out, (x->from + x->to) / 2, canvas->height - 14, "middle", "",
                  canvas->plot->x.label);
    if (canvas->plot->y.label)
        put_label(out, 18, middle, "middle", turn, canvas->plot->y.label);
}

static const char *color_of(const plot_sheet *plot, int s)
{
    int color = plot->series[s].color;
    return palette[(color > 0 ? color - 1 : s) % N_COLORS];
}

/* ---- series ---- */

/* Of a line with many points, those that fall into one column of pixels become its first, lowest,
 * highest and last: the picture is the same, the file small. */
typedef struct pixel_column {
    double x, first, low, high, last;
    int64_t n;
} pixel_column;

static void flush_column(FILE *out, pixel_column *column, bool *pen_down)
{
    if (column->n == 0)
        return;
    double values[4] = { column->first, column->low, column->high, column->last };
    for (int i = 0; i < 4; i++) {
        if (i > 0 && values[i] == values[i - 1])
            continue;
        fprintf(out, "%c%.1f %.1f", *pen_down ? 'L' : 'M', column->x, values[i]);
        *pen_down = true;
    }
    column->n = 0;
}

static void draw_line(const svg_canvas *canvas, const plot_series *series, const char *color)
{
    FILE *out = canvas->out;
    fprintf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%s\"%s d=\"", color,
            series->faint ? "1" : "2", series->faint ? " opacity=\"0.35\"" : "");
    bool pen_down = false;
    pixel_column column = { 0 };
    double column_width = (double)series->n > 2 * canvas->width ? 1 : 0;
    for (int64_t i = 0; i < series->n; i++) {
        if (!can_show(&canvas->x, x_of(series, i)) || !can_show(&canvas->y, series->y[i])) {
            flush_column(out, &column, &pen_down);
            pen_down = false;
            continue;
        }
        double x = place(&canvas->x, x_of(series, i)), y = place(&canvas->y, series->y[i]);
        if (column.n > 0 && fabs(x - column.x) >= column_width)
            flush_column(out, &column, &pen_down);
        if (column.n++ == 0) {
            column.x = x;
            column.first = column.low = column.high = y;
        }
        column.low = fmin(column.low, y);
        column.high = fmax(column.high, y);
        column.last = y;
    }
    flush_column(out, &column, &pen_down);
    fputs("\"/>\n", out);
}

static void draw_points(const svg_canvas *canvas, const plot_series *series, const char *color)
{
    fprintf(canvas->out, "<g fill=\"%s\" opacity=\"%s\">\n", color, series->faint ? "0.35" : "0.8");
    for (int64_t i = 0; i < series->n; i++)
        if (can_show(&canvas->x, x_of(series, i)) && can_show(&canvas->y, series->y[i]))
            fprintf(canvas->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"/>\n",
                    place(&canvas->x, x_of(series, i)), place(&canvas->y, series->y[i]),
                    series->faint ? "2" : "3");
    fputs("</g>\n", canvas->out);
}

static void draw_bars(const svg_canvas *canvas, const plot_series *series, const char *color)
{
    double bottom = place(&canvas->y, canvas->y.logarithmic ? canvas->y.low : 0);
    fprintf(canvas->out, "<g fill=\"%s\" opacity=\"%s\">\n", color, series->faint ? "0.35" : "0.8");
    for (int64_t i = 0; i < series->n; i++) {
        double left = x_of(series, i) - 0.9 * half_bar(series);
        double right = x_of(series, i) + 0.9 * half_bar(series);
        if (!can_show(&canvas->x, left) || !can_show(&canvas->x, right) ||
            !can_show(&canvas->y, series->y[i]))
            continue;
        double x = place(&canvas->x, left), y = place(&canvas->y, series->y[i]);
        fprintf(canvas->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", x,
                fmin(y, bottom), place(&canvas->x, right) - x, fabs(y - bottom));
    }
    fputs("</g>\n", canvas->out);
}

static void draw_arrows(const svg_canvas *canvas, const plot_series *series, const char *color)
{
    const double head = 5, spread = 0.45; /* pixels, radians */
    fprintf(canvas->out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.3\"%s d=\"", color,
            series->faint ? " opacity=\"0.35\"" : "");
    for (int64_t i = 0; i < series->n; i++) {
        double end_x = x_of(series, i) + series->dx[i], end_y = series->y[i] + series->dy[i];
        if (!can_show(&canvas->x, x_of(series, i)) || !can_show(&canvas->y, series->y[i]) ||
            !can_show(&canvas->x, end_x) || !can_show(&canvas->y, end_y))
            continue;
        double x = place(&canvas->x, x_of(series, i)), y = place(&canvas->y, series->y[i]);
        double to_x = place(&canvas->x, end_x), to_y = place(&canvas->y, end_y);
        double length = fmin(head, hypot(to_x - x, to_y - y)), angle = atan2(to_y - y, to_x - x);
        fprintf(canvas->out, "M%.1f %.1fL%.1f %.1fL%.1f %.1fM%.1f %.1fL%.1f %.1f", x, y, to_x, to_y,
                to_x - length * cos(angle + spread), to_y - length * sin(angle + spread), to_x,
                to_y, to_x - length * cos(angle - spread), to_y - length * sin(angle - spread));
    }
    fputs("\"/>\n", canvas->out);
}

/* Another kind of series is another row. */
static void (*const draw_kind[])(const svg_canvas *, const plot_series *,
                                 const char *) = { [PLOT_LINE] = draw_line,
                                                   [PLOT_POINTS] = draw_points,
                                                   [PLOT_BARS] = draw_bars,
                                                   [PLOT_ARROWS] = draw_arrows };

/* ---- the whole ---- */

/* Draws the legend, or with `out` NULL only counts its rows. */
static int lay_legend(const svg_canvas *canvas, FILE *out)
{
    const plot_sheet *plot = canvas->plot;
    double x = LEFT, y = TOP + 2;
    int rows = 0;
    for (int s = 0; s < plot->n_series; s++) {
        const char *name = plot->series[s].name;
        if (!name)
            continue;
        double width = LEGEND_SAMPLE + CHARACTER_WIDTH * (double)strlen(name) + 18;
        if (rows == 0)
            rows = 1;
        if (x > LEFT && x + width > canvas->width - RIGHT) {
            x = LEFT;
            y += LEGEND_ROW;
            rows++;
        }
        if (out) {
            fprintf(out, "<path d=\"M%.1f %.1fh18\" stroke=\"%s\" stroke-width=\"%s\"%s/>\n", x,
                    y - 4, color_of(plot, s), plot->series[s].kind == PLOT_LINE ? "2.5" : "9",
                    plot->series[s].faint ? " opacity=\"0.35\"" : "");
            put_label(out, x + LEGEND_SAMPLE, y, "start", "", name);
        }
        x += width;
    }
    return rows;
}

/* Sheet `index` of a page, with its corner at the origin. */
static void draw_sheet(FILE *out, const plot_sheet *plot, int index, double width, double height)
{
    svg_canvas canvas = { .out = out, .plot = plot, .width = width, .height = height };
    canvas.x.from = LEFT;
    canvas.x.to = canvas.width - RIGHT;
    canvas.y.from = canvas.height - BOTTOM;
    canvas.y.to = TOP + LEGEND_ROW * lay_legend(&canvas, NULL);
    make_scale(plot, &plot->x, false, &canvas.x);
    make_scale(plot, &plot->y, true, &canvas.y);
    if (plot->title)
        put_label(out, LEFT, 26, "start",
                  width < SMALL_WIDTH ? " font-size=\"14\" font-weight=\"bold\""
                                      : " font-size=\"17\" font-weight=\"bold\"",
                  plot->title);
    lay_legend(&canvas, out);
    put_axes(&canvas);
    /* A little more than the plot: points on its border stay round. */
    fprintf(out,
            "<clipPath id=\"plot%d\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
            "</clipPath>\n<g clip-path=\"url(#plot%d)\" stroke-linejoin=\"round\">\n",
            index, canvas.x.from - 4, canvas.y.to - 4, canvas.x.to - canvas.x.from + 8,
            canvas.y.from - canvas.y.to + 8, index);
    for (int s = 0; s < plot->n_series; s++)
        draw_kind[plot->series[s].kind](&canvas, &plot->series[s], color_of(plot, s));
    fputs("</g>\n", out);
}

typedef struct plot_page {
    const plot_sheet *plots;
    int n, columns;
} plot_page;

static ebb_status draw_page(void *context, FILE *out, ebb_error *error)
{
    (void)error; /* the stream keeps its failures */
    const plot_page *page = context;
    double width = page->plots[0].width > 0 ? page->plots[0].width : 800;
    double height = page->plots[0].height > 0 ? page->plots[0].height : 480;
    int columns = page->n < page->columns ? page->n : page->columns;
    int rows = (page->n + columns - 1) / columns;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
            "height=\"%.0f\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" "
            "font-size=\"13\" fill=\"#222\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            columns * width, rows * height, columns * width, rows * height);
    for (int i = 0; i < page->n; i++) {
        fprintf(out, "<g transform=\"translate(%.0f %.0f)\">\n", i % columns * width,
                i / columns * height);
        draw_sheet(out, &page->plots[i], i, width, height);
        fputs("</g>\n", out);
    }
    fputs("</svg>\n", out);
    return EBB_OK;
}

ebb_status plot_write_all(const plot_sheet *plots, int n, int columns, const char *path,
                          ebb_error *error)
{
    return ebb_file_write(path, draw_page, &(plot_page){ plots, n, columns }, error);
}

ebb_status plot_write(const plot_sheet *plot, const char *path, ebb_error *error)
{
    return plot_write_all(plot, 1, 1, path, error);
}

void plot_smooth(const double *values, int64_t n, int64_t window, double *means)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t first = i + 1 > window ? i + 1 - window : 0;
        double sum = 0;
        for (int64_t j = first; j <= i; j++)
            sum += values[j];
        means[i] = sum / (double)(i + 1 - first);
    }
}

void plot_bin(const double *values, int64_t n, int n_bins, double *centers, double *counts)
{
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(values[i])) {
            low = fmin(low, values[i]);
            high = fmax(high, values[i]);
        }
    if (!(low < high)) {
        low = isfinite(low) ? low - 0.5 : 0;
        high = low + 1;
    }
    double width = (high - low) / n_bins;
    for (int b = 0; b < n_bins; b++) {
        centers[b] = low + (b + 0.5) * width;
        counts[b] = 0;
    }
    for (int64_t i = 0; i < n; i++)
        if (isfinite(values[i])) {
            int b = (int)((values[i] - low) / width);
            counts[b < n_bins ? b : n_bins - 1]++;
        }
}
