/* Synthetic handwritten digits: strokes in a unit square, bent and moved at random, drawn with a
 * round pen. */
#include <ebb/io.h>

#include "ops/philox.h"

#include <math.h>
#include <string.h>

#define SIDE 28
#define N_PIXELS (SIDE * SIDE)
#define N_CLASSES 10
/* Keeps these random numbers apart from others of the same seed. */
#define STREAM UINT32_C(0x64696769)
#define PI 3.14159265358979323846f

/* ---- the shapes: x to the right, y down, both 0..1 ---- */

typedef enum stroke_kind { STROKE_NONE, STROKE_LINE, STROKE_ARC } stroke_kind;

/* A line from (a,b) to (c,d); or an arc around (a,b) with radii c, d from angle `from` to `to`, in
 * degrees from the x axis towards the y axis. */
typedef struct pen_stroke {
    stroke_kind kind;
    float a, b, c, d, from, to;
} pen_stroke;

#define MAX_STROKES 4
typedef struct pen_glyph {
    uint8_t digit;
    pen_stroke strokes[MAX_STROKES];
} pen_glyph;

#define LINE(x0, y0, x1, y1)                                                                       \
    {                                                                                              \
        STROKE_LINE, x0, y0, x1, y1, 0, 0                                                          \
    }
#define ARC(x, y, rx, ry, from, to)                                                                \
    {                                                                                              \
        STROKE_ARC, x, y, rx, ry, from, to                                                         \
    }

/* clang-format off */
/* Several ways to write a digit stand together. */
static const pen_glyph glyphs[] = {
    { 0, { ARC(.50f, .50f, .27f, .42f, 0, 360) } },
    { 0, { ARC(.50f, .50f, .21f, .42f, -80, 270) } },
    { 1, { LINE(.50f, .08f, .50f, .92f) } },
    { 1, { LINE(.34f, .24f, .50f, .08f), LINE(.50f, .08f, .50f, .92f) } },
    { 1, { LINE(.34f, .24f, .52f, .08f), LINE(.52f, .08f, .52f, .92f),
           LINE(.32f, .92f, .72f, .92f) } },
    { 2, { ARC(.50f, .30f, .26f, .23f, 190, 390), LINE(.725f, .415f, .24f, .92f),
           LINE(.24f, .92f, .78f, .92f) } },
    { 2, { ARC(.48f, .32f, .26f, .24f, 200, 405), ARC(.34f, .80f, .11f, .11f, 20, 330),
           LINE(.66f, .49f, .42f, .86f), LINE(.42f, .86f, .80f, .92f) } },
    { 3, { ARC(.47f, .29f, .25f, .21f, 200, 450), ARC(.47f, .71f, .28f, .21f, 270, 520) } },
    { 3, { LINE(.25f, .09f, .72f, .09f), LINE(.72f, .09f, .46f, .42f),
           ARC(.46f, .67f, .28f, .25f, 270, 510) } },
    { 4, { LINE(.60f, .08f, .22f, .62f), LINE(.22f, .62f, .82f, .62f),
           LINE(.62f, .34f, .62f, .92f) } },
    { 4, { LINE(.28f, .10f, .25f, .54f), LINE(.25f, .54f, .76f, .52f),
           LINE(.72f, .08f, .68f, .92f) } },
    { 5, { LINE(.74f, .08f, .32f, .08f), LINE(.32f, .08f, .28f, .46f),
           ARC(.48f, .66f, .27f, .26f, 225, 510) } },
    { 5, { LINE(.72f, .10f, .36f, .08f), LINE(.36f, .08f, .32f, .44f), LINE(.32f, .44f, .46f, .44f),
           ARC(.46f, .68f, .26f, .24f, 270, 490) } },
    { 6, { ARC(.72f, .62f, .46f, .54f, 175, 265), ARC(.50f, .69f, .24f, .23f, 0, 360) } },
    { 6, { LINE(.52f, .06f, .30f, .60f), ARC(.49f, .72f, .21f, .20f, 0, 360) } },
    { 7, { LINE(.22f, .10f, .78f, .10f), LINE(.78f, .10f, .42f, .92f) } },
    { 7, { LINE(.22f, .12f, .76f, .10f), LINE(.76f, .10f, .44f, .92f),
           LINE(.38f, .50f, .76f, .50f) } },
    { 7, { LINE(.24f, .22f, .26f, .10f), LINE(.26f, .10f, .78f, .12f),
           ARC(.98f, .80f, .46f, .70f, 170, 246) } },
    { 8, { ARC(.50f, .28f, .20f, .20f, 0, 360), ARC(.50f, .70f, .25f, .23f, 0, 360) } },
    { 8, { ARC(.52f, .27f, .19f, .19f, -40, 270), LINE(.66f, .15f, .32f, .60f),
           LINE(.36f, .40f, .68f, .62f), ARC(.50f, .71f, .22f, .20f, -20, 215) } },
    { 9, { ARC(.50f, .31f, .24f, .23f, 0, 360), LINE(.74f, .31f, .68f, .92f) } },
    { 9, { ARC(.50f, .30f, .24f, .22f, 0, 360), ARC(.26f, .40f, .48f, .52f, -5, 80) } },
};
/* clang-format on */
#define N_GLYPHS ((int)(sizeof glyphs / sizeof *glyphs))

/* ---- random numbers: a function of (seed, image, place in the sequence) ---- */

typedef struct image_dice {
    uint64_t seed, image;
    uint32_t block; /* the next one */
    uint32_t words[4];
    int n_left;
} image_dice;

static void throw_block(image_dice *dice)
{
    ebb_philox(dice->seed, STREAM, dice->image, dice->block++, dice->words);
    dice->n_left = 4;
}

static uint32_t throw_word(image_dice *dice)
{
    if (dice->n_left == 0)
        throw_block(dice);
    return dice->words[4 - dice->n_left--];
}

/* low <= x < high */
static float throw_between(image_dice *dice, float low, float high)
{
    return low + (high - low) * ebb_philox_f32(throw_word(dice));
}

static int throw_below(image_dice *dice, int n)
{
    return (int)((uint64_t)throw_word(dice) * (uint64_t)n >> 32);
}

/* ---- one image ---- */

/* Pixels of the image from points of the unit square. */
typedef struct pen_hand {
    float xx, xy, yx, yy;                   /* rotation, slant and scale around the center */
    float x, y;                             /* of the center, in pixels */
    float bend_x, bend_y, phase_x, phase_y; /* wobble, in unit lengths */
    float radius;                           /* of the pen, in pixels */
    float ink, noise;                       /* 0..1: blackest value, deviation of the noise */
} pen_hand;

static pen_hand throw_hand(image_dice *dice)
{
    float angle = throw_between(dice, -0.22f, 0.22f);
    float slant = throw_between(dice, -0.30f, 0.25f);
    float width = SIDE * throw_between(dice, 0.55f, 0.95f);
    float height = SIDE * throw_between(dice, 0.62f, 0.86f);
    float c = cosf(angle), s = sinf(angle);
    pen_hand hand = { .xx = c * width,
                      .xy = c * slant * width - s * height,
                      .yx = s * width,
                      .yy = s * slant * width + c * height };
    hand.x = SIDE / 2.0f + throw_between(dice, -2.5f, 2.5f);
    hand.y = SIDE / 2.0f + throw_between(dice, -2.0f, 2.0f);
    hand.bend_x = throw_between(dice, -0.05f, 0.05f);
    hand.bend_y = throw_between(dice, -0.05f, 0.05f);
    hand.phase_x = throw_between(dice, 0, 2 * PI);
    hand.phase_y = throw_between(dice, 0, 2 * PI);
    hand.radius = throw_between(dice, 0.6f, 1.7f);
    hand.ink = throw_between(dice, 0.7f, 1.0f);
    hand.noise = throw_between(dice, 0, 0.12f);
    return hand;
}

typedef struct point {
    float x, y;
} point;

static point place_point(const pen_hand *hand, float x, float y)
{
    float u = x - 0.5f + hand->bend_x * sinf(2 * PI * y + hand->phase_x);
    float v = y - 0.5f + hand->bend_y * sinf(2 * PI * x + hand->phase_y);
    return (point){ hand->x + hand->xx * u + hand->xy * v, hand->y + hand->yx * u + hand->yy * v };
}

static int clamp_pixel(float x)
{
    return x < 0 ? 0 : x > SIDE - 1 ? SIDE - 1 : (int)x;
}

/* Lowers distances[] (squared, from pixel centers to the line of the pen) near a piece of it. */
static void draw_piece(const pen_hand *hand, point a, point b, float distances[N_PIXELS])
{
    float reach = hand->radius + 1;
    int x0 = clamp_pixel(fminf(a.x, b.x) - reach), x1 = clamp_pixel(fmaxf(a.x, b.x) + reach);
    int y0 = clamp_pixel(fminf(a.y, b.y) - reach), y1 = clamp_pixel(fmaxf(a.y, b.y) + reach);
    float dx = b.x - a.x, dy = b.y - a.y;
    float length = dx * dx + dy * dy, inverse = length > 0 ? 1 / length : 0;
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++) {
            float px = (float)x + 0.5f - a.x, py = (float)y + 0.5f - a.y;
            float along = (px * dx + py * dy) * inverse;
            along = along < 0 ? 0 : along > 1 ? 1 : along;
            px -= along * dx;
            py -= along * dy;
            float distance = px * px + py * py;
            if (distance < distances[y * SIDE + x])
                distances[y * SIDE + x] = distance;
        }
}

/* Pieces of a stroke: few enough to be fast, enough to look round. */
#define LINE_PIECES 4
#define ARC_DEGREES 22.5f

static void draw_stroke(const pen_hand *hand, const pen_stroke *stroke, float distances[N_PIXELS])
{
    bool is_line = stroke->kind == STROKE_LINE;
    int n = is_line ? LINE_PIECES : (int)ceilf((stroke->to - stroke->from) / ARC_DEGREES);
    point last = { 0 };
    for (int i = 0; i <= n; i++) {
        float t = (float)i / (float)n, x, y;
        if (is_line) {
            x = stroke->a + t * (stroke->c - stroke->a);
            y = stroke->b + t * (stroke->d - stroke->b);
        } else {
            float angle = (stroke->from + t * (stroke->to - stroke->from)) * (PI / 180);
            x = stroke->a + stroke->c * cosf(angle);
            y = stroke->b + stroke->d * sinf(angle);
        }
        point next = place_point(hand, x, y);
        if (i > 0)
            draw_piece(hand, last, next, distances);
        last = next;
    }
}

/* Four pixels' noise from one block: the sum of four bytes is close to normal, mean 510 and
 * standard deviation 147.8. */
static void throw_noise(image_dice *dice, float noise[4])
{
    throw_block(dice);
    for (int i = 0; i < 4; i++) {
        uint32_t word = dice->words[i];
        uint32_t sum = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
        noise[i] = ((float)sum - 510.0f) / 147.8f;
    }
    dice->n_left = 0;
}

static void ink_pixels(image_dice *dice, const pen_hand *hand, const float distances[N_PIXELS],
                       uint8_t pixels[N_PIXELS])
{
    float outer = hand->radius + 0.5f, noise[4];
    for (int i = 0; i < N_PIXELS; i++) {
        float value = 0;
        if (distances[i] < outer * outer)
            value = hand->ink * fminf(1, outer - sqrtf(distances[i]));
        if (i % 4 == 0)
            throw_noise(dice, noise);
        value += hand->noise * noise[i % 4];
        value = value < 0 ? 0 : value > 1 ? 1 : value;
        pixels[i] = (uint8_t)(value * 255 + 0.5f);
    }
}

static const pen_glyph *throw_glyph(image_dice *dice, int digit)
{
    int first = 0, n = 0;
    while (glyphs[first].digit != digit)
        first++;
    while (first + n < N_GLYPHS && glyphs[first + n].digit == digit)
        n++;
    return &glyphs[first + throw_below(dice, n)];
}

static uint8_t draw_digit(uint64_t seed, int64_t image, uint8_t pixels[N_PIXELS])
{
    image_dice dice = { .seed = seed, .image = (uint64_t)image };
    int digit = throw_below(&dice, N_CLASSES);
    const pen_glyph *glyph = throw_glyph(&dice, digit);
    pen_hand hand = throw_hand(&dice);
    float distances[N_PIXELS];
    for (int i = 0; i < N_PIXELS; i++)
        distances[i] = INFINITY;
    for (int i = 0; i < MAX_STROKES && glyph->strokes[i].kind != STROKE_NONE; i++)
        draw_stroke(&hand, &glyph->strokes[i], distances);
    ink_pixels(&dice, &hand, distances, pixels);
    return (uint8_t)digit;
}

ebb_status ebb_digits_draw(int64_t n, uint64_t seed, const ebb_allocator *allocator,
                           ebb_image_set *set, ebb_error *error)
{
    if (!set)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_digits_draw: set is NULL");
    *set = (ebb_image_set){ 0 };
    ebb_shape shape = EBB_SHAPE(n, SIDE, SIDE);
    if (!ebb_shape_is_valid(&shape))
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_digits_draw: cannot draw %lld images",
                        (long long)n);
    ebb_status status = ebb_tensor_init(&set->images, ebb_type_of(EBB_U8, shape), allocator);
    if (status == EBB_OK)
        status = ebb_tensor_init(&set->labels, ebb_type_of(EBB_U8, EBB_SHAPE(n)), allocator);
    if (status != EBB_OK) {
        ebb_image_set_finish(set);
        return ebb_fail(error, status, "ebb_digits_draw: no memory for %lld images", (long long)n);
    }
    set->n = n;
    set->channels = 1;
    set->height = set->width = SIDE;
    set->n_classes = N_CLASSES;
    uint8_t *images = set->images.data, *labels = set->labels.data;
    for (int64_t i = 0; i < n; i++)
        labels[i] = draw_digit(seed, i, images + i * N_PIXELS);
    return EBB_OK;
}
