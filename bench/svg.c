/*
 * svg.c: the picture of recall against speed.
 *
 * The recall axis is -log10(1 - recall), so that 0.9, 0.99 and 0.999 are equally far apart and the
 * difference that matters can be seen; the speed axis is logarithmic. A line goes through the
 * settings of its engine that no other one of it beats in both. The picture brings its own ground
 * and names the lines where they end, so that it reads the same on a light and a dark page.
 */
#include "bench/report.h"
#include "bench/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 880, HEIGHT = 520, LEFT = 84, RIGHT = 120, TOP = 92, BOTTOM = 66 };

/* Characters that the lines have room for. */
enum { MOST_NAME = 80, MOST_MACHINE = 60 };

/* Recall beyond this is drawn at the right edge: there is nothing left to tell apart. */
#define MOST_RECALL 0.9995
#define LEAST_RECALL 0.3

static const double recall_ticks[] = {0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999};
enum { RECALL_TICKS = sizeof(recall_ticks) / sizeof(*recall_ticks) };

static const struct {
    const char *engine, *colour;
} colours[] = {
    {"tekup", "#c2410c"}, {"hnswlib", "#1d4ed8"}, {"faiss", "#0f766e"}, {"pgvector", "#7e22ce"}};

struct line {
    const char *engine, *colour;
    const struct point *points[MOST_POINTS]; /* by recall, then speed, ascending */
    size_t count;
    double label; /* where its name stands */
};

enum { MOST_LINES = 8 };

struct picture {
    FILE *out;
    const struct results *results;
    struct line lines[MOST_LINES];
    size_t count;
    double left, right; /* of the recall axis, transformed */
    double low, high;   /* of the speed axis, log10 */
};

/* ---- Scales ---------------------------------------------------------------------------------- */

static double open_up(double recall)
{
    return -log10(1 - fmin(fmax(recall, LEAST_RECALL), MOST_RECALL));
}

static double x_of(const struct picture *picture, double recall)
{
    double share = (open_up(recall) - picture->left) / (picture->right - picture->left);
    return LEFT + share * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct picture *picture, double qps)
{
    double share = (log10(fmax(qps, 1e-3)) - picture->low) / (picture->high - picture->low);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static void set_scales(struct picture *picture)
{
    double left = open_up(0.9), right = open_up(0.99), low = INFINITY, high = -INFINITY;
    for (size_t l = 0; l < picture->count; l++) {
        for (size_t i = 0; i < picture->lines[l].count; i++) {
            const struct point *point = picture->lines[l].points[i];
            left = fmin(left, open_up(point->recall));
            right = fmax(right, open_up(point->recall));
            low = fmin(low, log10(fmax(point->speed.qps, 1e-3)));
            high = fmax(high, log10(fmax(point->speed.qps, 1e-3)));
        }
    }
    if (low > high) low = 2, high = 4;
    picture->left = left - 0.04 * (right - left);
    picture->right = right + 0.02 * (right - left);
    picture->low = low - 0.12;
    picture->high = high + 0.12;
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static void put_text(const struct picture *picture, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", picture->out);
            break;
        case '<':
            fputs("&lt;", picture->out);
            break;
        case '>':
            fputs("&gt;", picture->out);
            break;
        default:
            fputc(*text, picture->out);
        }
    }
}

static void label(const struct picture *picture, double x, double y, const char *attributes,
                  const char *text)
{
    fprintf(picture->out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    put_text(picture, text);
    fputs("</text>\n", picture->out);
}

static void draw_recall_axis(const struct picture *picture)
{
    char text[32];
    for (size_t i = 0; i < RECALL_TICKS; i++) {
        double tick = recall_ticks[i];
        if (open_up(tick) < picture->left || open_up(tick) > picture->right) continue;
        double x = x_of(picture, tick);
        fprintf(picture->out, "<path d=\"M%.1f %dV%d\" stroke=\"#e7e5e4\"/>\n", x, TOP,
                HEIGHT - BOTTOM);
        snprintf(text, sizeof(text), "%g", tick);
        label(picture, x, HEIGHT - BOTTOM + 20, "text-anchor=\"middle\"", text);
    }
    if (picture->right > open_up(MOST_RECALL))
        label(picture, x_of(picture, MOST_RECALL), HEIGHT - BOTTOM + 20, "text-anchor=\"middle\"",
              "1");
    snprintf(text, sizeof(text), "recall@%zu", picture->results->k);
    label(picture, LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 18,
          "text-anchor=\"middle\" fill=\"#44403c\"", text);
}

static void draw_speed_axis(const struct picture *picture)
{
    static const double steps[] = {1, 2, 5};
    char text[NUMBER_SIZE];
    for (int power = -3; power <= 9; power++) {
        for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
            double tick = steps[i] * pow(10, power);
            if (log10(tick) < picture->low || log10(tick) > picture->high) continue;
            double y = y_of(picture, tick);
            fprintf(picture->out, "<path d=\"M%d %.1fH%d\" stroke=\"#e7e5e4\"/>\n", LEFT, y,
                    WIDTH - RIGHT);
            label(picture, LEFT - 10, y + 4, "text-anchor=\"end\"", text_number(tick, text));
        }
    }
    label(picture, LEFT - 10, TOP - 12, "text-anchor=\"start\" fill=\"#44403c\"",
          "searches per second, one thread");
}

static void draw_line(const struct picture *picture, const struct line *line)
{
    bool own = strcmp(line->engine, "tekup") == 0;
    fprintf(picture->out,
            "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-linejoin=\"round\" "
            "stroke-linecap=\"round\" d=\"",
            line->colour, own ? "3" : "2");
    for (size_t i = 0; i < line->count; i++)
        fprintf(picture->out, "%c%.1f %.1f", i ? 'L' : 'M', x_of(picture, line->points[i]->recall),
                y_of(picture, line->points[i]->speed.qps));
    fputs("\"/>\n", picture->out);
    for (size_t i = 0; i < line->count; i++) {
        const struct point *point = line->points[i];
        char qps[NUMBER_SIZE];
        fprintf(picture->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" fill=\"%s\"><title>",
                x_of(picture, point->recall), y_of(picture, point->speed.qps), own ? "4" : "3",
                line->colour);
        put_text(picture, line->engine);
        fprintf(picture->out, ", %s %zu: recall %.4f, %s/s</title></circle>\n", point->setting,
                point->ef, point->recall, text_number(point->speed.qps, qps));
    }
}

static void draw_name(const struct picture *picture, const struct line *line)
{
    char attributes[192];
    const struct point *last = line->points[line->count - 1];
    /* With a rim in the colour of the ground, so that a line behind it does not cross it out. */
    snprintf(attributes, sizeof(attributes),
             "fill=\"%s\" font-size=\"15\" font-weight=\"600\" paint-order=\"stroke\" "
             "stroke=\"#fdfcfa\" stroke-width=\"5\"",
             line->colour);
    label(picture, x_of(picture, last->recall) + 12, line->label, attributes, line->engine);
}

/* Whether an engine's line goes past a recall, so that a mark there meets it. */
static bool spans(const struct picture *picture, const char *engine, double recall)
{
    for (size_t i = 0; i < picture->count; i++) {
        const struct line *line = &picture->lines[i];
        if (strcmp(line->engine, engine) != 0) continue;
        return line->points[0]->recall <= recall && line->points[line->count - 1]->recall >= recall;
    }
    return false;
}

/* How many times as fast as the baseline, between the two lines at a recall. */
static void draw_ratio(const struct picture *picture, double recall)
{
    const struct point *own = results_fastest(picture->results, "tekup", recall);
    const struct point *baseline = results_fastest(picture->results, BASELINE, recall);
    char text[32];
    if (!own || !baseline || !(baseline->speed.qps > 0)) return;
    if (!spans(picture, "tekup", recall) || !spans(picture, BASELINE, recall)) return;
    double x = x_of(picture, recall);
    double from = y_of(picture, own->speed.qps), to = y_of(picture, baseline->speed.qps);
    if (fabs(from - to) < 44) return;
    snprintf(text, sizeof(text), "%.1f×", own->speed.qps / baseline->speed.qps);
    fprintf(picture->out,
            "<path d=\"M%.1f %.1fV%.1f\" stroke=\"#78716c\" stroke-dasharray=\"2 4\" "
            "stroke-width=\"1.5\"/>\n",
            x, from, to);
    double middle = (from + to) / 2;
    fprintf(picture->out,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"52\" height=\"24\" rx=\"12\" fill=\"#ffffff\" "
            "stroke=\"#d6d3d1\"/>\n",
            x - 26, middle - 12);
    label(picture, x, middle + 5,
          "text-anchor=\"middle\" font-size=\"14\" font-weight=\"600\" fill=\"#1c1917\"", text);
}

/* ---- The picture ----------------------------------------------------------------------------- */

static int compare_points(const void *left, const void *right)
{
    const struct point *a = *(const struct point *const *)left;
    const struct point *b = *(const struct point *const *)right;
    if (a->recall != b->recall) return a->recall < b->recall ? -1 : 1;
    return (a->speed.qps > b->speed.qps) - (a->speed.qps < b->speed.qps);
}

static struct line *line_of(struct picture *picture, const char *engine)
{
    for (size_t i = 0; i < picture->count; i++)
        if (strcmp(picture->lines[i].engine, engine) == 0) return &picture->lines[i];
    if (picture->count == MOST_LINES) return NULL;
    struct line *line = &picture->lines[picture->count++];
    line->engine = engine;
    line->colour = "#57534e";
    for (size_t i = 0; i < sizeof(colours) / sizeof(*colours); i++)
        if (strcmp(engine, colours[i].engine) == 0) line->colour = colours[i].colour;
    return line;
}

/* Leaves out the points that another one, of at least the same recall, is as fast as. */
static void keep_frontier(struct line *line)
{
    size_t kept = line->count;
    double fastest = -1;
    for (size_t i = line->count; i-- > 0;) {
        if (line->points[i]->speed.qps <= fastest) continue;
        fastest = line->points[i]->speed.qps;
        line->points[--kept] = line->points[i];
    }
    line->count -= kept;
    memmove(line->points, line->points + kept, line->count * sizeof(line->points[0]));
}

static void collect_lines(struct picture *picture)
{
    for (size_t i = 0; i < picture->results->points_count; i++) {
        const struct point *point = &picture->results->points[i];
        struct line *line = point->threads == 1 ? line_of(picture, point->engine) : NULL;
        if (line) line->points[line->count++] = point;
    }
    for (size_t i = 0; i < picture->count; i++) {
        struct line *line = &picture->lines[i];
        qsort(line->points, line->count, sizeof(line->points[0]), compare_points);
        keep_frontier(line);
    }
}

static const struct point *end_of(const struct line *line)
{
    return line->points[line->count - 1];
}

/* Names that would stand on each other are moved apart, the lower ones downwards. */
static void place_names(struct picture *picture)
{
    enum { APART = 19, WIDE = 90 };
    struct line *order[MOST_LINES];
    for (size_t i = 0; i < picture->count; i++) {
        struct line *line = &picture->lines[i];
        line->label = y_of(picture, end_of(line)->speed.qps) + 5;
        size_t at = i;
        for (; at > 0 && order[at - 1]->label > line->label; at--) order[at] = order[at - 1];
        order[at] = line;
    }
    for (size_t i = 1; i < picture->count; i++) {
        double x = x_of(picture, end_of(order[i])->recall);
        for (size_t above = 0; above < i; above++)
            if (fabs(x - x_of(picture, end_of(order[above])->recall)) < WIDE)
                order[i]->label = fmax(order[i]->label, order[above]->label + APART);
    }
}

static void draw_ground(const struct picture *picture)
{
    const struct results *results = picture->results;
    char vectors[NUMBER_SIZE], dim[NUMBER_SIZE], text[512];
    fprintf(picture->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" role=\"img\" font-family=\"system-ui, -apple-system, 'Segoe UI', "
            "Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#78716c\">\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    fputs("<title>Recall against searches per second</title>\n", picture->out);
    fprintf(picture->out,
            "<rect x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"10\" fill=\"#fdfcfa\" "
            "stroke=\"#d6d3d1\"/>\n",
            WIDTH - 1, HEIGHT - 1);
    label(picture, 24, 34, "font-size=\"18\" font-weight=\"600\" fill=\"#1c1917\"",
          "Recall against speed");
    snprintf(text, sizeof(text), "%s", results->dataset);
    text_cut(text, MOST_NAME);
    size_t length = strlen(text);
    snprintf(text + length, sizeof(text) - length, ": %s vectors of dimension %s",
             text_count(results->vectors, vectors), text_count(results->dim, dim));
    label(picture, 24, 56, "fill=\"#57534e\"", text);
    snprintf(text, sizeof(text), "%s", results->machine);
    text_cut(text, MOST_MACHINE);
    label(picture, WIDTH - 24, HEIGHT - 18, "text-anchor=\"end\" font-size=\"12\"", text);
}

void report_svg(const struct results *results, FILE *out)
{
    struct picture *picture = calloc(1, sizeof(*picture));
    if (!picture) return;
    picture->out = out;
    picture->results = results;
    collect_lines(picture);
    set_scales(picture);
    place_names(picture);
    draw_ground(picture);
    draw_recall_axis(picture);
    draw_speed_axis(picture);
    for (size_t i = picture->count; i-- > 0;) draw_line(picture, &picture->lines[i]);
    draw_ratio(picture, 0.95);
    draw_ratio(picture, 0.99);
    for (size_t i = 0; i < picture->count; i++) draw_name(picture, &picture->lines[i]);
    fputs("</svg>\n", out);
    free(picture);
}
