/*
 * svg.c: the picture of recall against speed.
 *
 * The recall axis is -log10(1 - recall), so that 0.9, 0.99 and 0.999 are equally far apart and the
 * difference that matters can be seen; the speed axis is logarithmic. A line goes through the
 * settings of its engine that no other one of it beats in both, and is named where it ends.
 *
 * The picture brings its own ground, so that it can be read on any page. Its attributes are the
 * colours for a light one; where the reader prefers dark ones a style sheet puts others in their
 * place, which every class here is for.
 */
#include "bench/report.h"
#include "bench/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 880, HEIGHT = 520, LEFT = 84, RIGHT = 104, TOP = 108, BOTTOM = 62 };

/* Characters that the lines have room for. */
enum { MOST_NAME = 80, MOST_MACHINE = 56 };

/* Recall beyond this is drawn at the right edge: there is nothing left to tell apart. */
#define MOST_RECALL 0.9995
/* The left edge, where every engine comes as far as that. */
#define EDGE_RECALL 0.8
#define LEAST_RECALL 0.3

static const double recall_ticks[] = {0.3,  0.5,  0.7,   0.8,   0.9,  0.95,
                                      0.98, 0.99, 0.995, 0.998, 0.999};
enum { RECALL_TICKS = sizeof(recall_ticks) / sizeof(*recall_ticks) };

static const struct {
    const char *engine, *colour, *dark;
} colours[] = {{"tekup", "#c2410c", "#fb923c"},
               {"hnswlib", "#1d4ed8", "#7aa2ff"},
               {"faiss", "#0f766e", "#2dd4bf"},
               {"pgvector", "#7e22ce", "#c99bff"}};
enum { COLOURS = sizeof(colours) / sizeof(*colours), OTHER = COLOURS };

/* The parts that are not an engine's: their class, and what they look like in the dark. */
static const char dark_style[] = ".ground{fill:#14171c;stroke:#343a43}"
                                 ".grid{stroke:#2a2f37}"
                                 ".title,.ratio{fill:#f1f0ee}"
                                 ".label{fill:#c3c7cd}"
                                 ".tick{fill:#949aa4}"
                                 ".gap{stroke:#949aa4}"
                                 ".badge{fill:#232830;stroke:#4a515c}"
                                 ".name{stroke:#14171c}";

struct line {
    const char *engine;
    size_t colour;
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

/* A recall as the axis tells it apart. */
static double bounded(double recall)
{
    return fmin(fmax(recall, LEAST_RECALL), MOST_RECALL);
}

static double open_up(double recall)
{
    return -log10(1 - bounded(recall));
}

static double log_speed(const struct point *point)
{
    return log10(fmax(point->speed.qps, 1e-3));
}

static double x_of(const struct picture *picture, double recall)
{
    double share = (open_up(recall) - picture->left) / (picture->right - picture->left);
    return LEFT + share * (WIDTH - LEFT - RIGHT);
}

static double y_at(const struct picture *picture, double log_qps)
{
    double share = (log_qps - picture->low) / (picture->high - picture->low);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static double y_of(const struct picture *picture, const struct point *point)
{
    return y_at(picture, log_speed(point));
}

static const struct point *end_of(const struct line *line)
{
    return line->points[line->count - 1];
}

/* Whether a point is to the right of the left edge. */
static bool is_seen(const struct picture *picture, const struct point *point)
{
    return open_up(point->recall) >= picture->left;
}

static void set_scales(struct picture *picture)
{
    double left = open_up(EDGE_RECALL), right = open_up(0.99), low = INFINITY, high = -INFINITY;
    double least = INFINITY;
    for (size_t l = 0; l < picture->count; l++) {
        const struct line *line = &picture->lines[l];
        right = fmax(right, open_up(end_of(line)->recall));
        left = fmin(left, open_up(end_of(line)->recall));
        least = fmin(least, open_up(line->points[0]->recall));
    }
    /* Nothing before the first point, but 0.9 is always there. */
    left = fmax(left, fmin(least, open_up(0.9)));
    picture->left = left - 0.03 * (right - left);
    picture->right = right + 0.02 * (right - left);
    for (size_t l = 0; l < picture->count; l++)
        for (size_t i = 0; i < picture->lines[l].count; i++) {
            const struct point *point = picture->lines[l].points[i];
            if (!is_seen(picture, point)) continue;
            low = fmin(low, log_speed(point));
            high = fmax(high, log_speed(point));
        }
    if (low > high) low = 2, high = 4;
    const double room = 0.05 * (high - low) + 0.1;
    picture->low = low - room;
    picture->high = high + room;
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
        fprintf(picture->out, "<path class=\"grid\" d=\"M%.1f %dV%d\" stroke=\"#e7e5e4\"/>\n", x,
                TOP, HEIGHT - BOTTOM);
        snprintf(text, sizeof(text), "%g", tick);
        label(picture, x, HEIGHT - BOTTOM + 20, "class=\"tick\" text-anchor=\"middle\"", text);
    }
    if (picture->right > open_up(MOST_RECALL))
        label(picture, x_of(picture, MOST_RECALL), HEIGHT - BOTTOM + 20,
              "class=\"tick\" text-anchor=\"middle\"", "≥ 0.9995");
    snprintf(text, sizeof(text), "recall@%zu →", picture->results->k);
    label(picture, WIDTH - RIGHT, HEIGHT - 16,
          "class=\"label\" text-anchor=\"end\" fill=\"#44403c\"", text);
}

static void draw_speed_axis(const struct picture *picture)
{
    static const double steps[] = {1, 2, 5};
    char text[NUMBER_SIZE];
    for (int power = -3; power <= 9; power++) {
        for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
            double tick = steps[i] * pow(10, power);
            if (log10(tick) < picture->low || log10(tick) > picture->high) continue;
            double y = y_at(picture, log10(tick));
            fprintf(picture->out, "<path class=\"grid\" d=\"M%d %.1fH%d\" stroke=\"#e7e5e4\"/>\n",
                    LEFT, y, WIDTH - RIGHT);
            label(picture, LEFT - 10, y + 4.5, "class=\"tick\" text-anchor=\"end\"",
                  text_number(tick, text));
        }
    }
    label(picture, 24, TOP - 16, "class=\"label\" fill=\"#44403c\"",
          "↑ searches per second, one thread");
}

/* The engine's colour, by its class in the dark. */
static void put_colour(const struct picture *picture, const struct line *line)
{
    if (line->colour == OTHER)
        fputs("class=\"other\" color=\"#57534e\"", picture->out);
    else
        fprintf(picture->out, "class=\"engine-%s\" color=\"%s\"", colours[line->colour].engine,
                colours[line->colour].colour);
}

static void draw_point(const struct picture *picture, const struct line *line,
                       const struct point *point, const char *radius)
{
    char qps[NUMBER_SIZE];
    fprintf(picture->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>",
            x_of(picture, point->recall), y_of(picture, point), radius);
    put_text(picture, line->engine);
    fprintf(picture->out, ", %s %zu: recall %.4f, %s/s</title></circle>\n", point->setting,
            point->ef, point->recall, text_number(point->speed.qps, qps));
}

/* What is left of the edge is cut off, but for the way of the line to it. */
static void draw_line(const struct picture *picture, const struct line *line)
{
    const bool own = strcmp(line->engine, "tekup") == 0;
    size_t first = 0;
    while (first + 1 < line->count && !is_seen(picture, line->points[first + 1])) first++;
    fputs("<g ", picture->out);
    put_colour(picture, line);
    fputs(" fill=\"currentColor\">\n", picture->out);
    fprintf(picture->out,
            "<path clip-path=\"url(#plot)\" fill=\"none\" stroke=\"currentColor\" "
            "stroke-width=\"%s\" stroke-linejoin=\"round\" stroke-linecap=\"round\" d=\"",
            own ? "3.5" : "2");
    for (size_t i = first; i < line->count; i++)
        fprintf(picture->out, "%c%.1f %.1f", i > first ? 'L' : 'M',
                x_of(picture, line->points[i]->recall), y_of(picture, line->points[i]));
    fputs("\"/>\n", picture->out);
    for (size_t i = first; i < line->count; i++)
        if (is_seen(picture, line->points[i]))
            draw_point(picture, line, line->points[i], own ? "4.5" : "3");
    fputs("</g>\n", picture->out);
}

static void draw_name(const struct picture *picture, const struct line *line)
{
    fputs("<g ", picture->out);
    put_colour(picture, line);
    fputs(">\n", picture->out);
    /* With a rim in the colour of the ground, so that a line behind it does not cross it out. */
    label(picture, x_of(picture, end_of(line)->recall) + 12, line->label,
          "class=\"name\" fill=\"currentColor\" font-size=\"16\" font-weight=\"600\" "
          "paint-order=\"stroke\" stroke=\"#fdfcfa\" stroke-width=\"5\" "
          "stroke-linejoin=\"round\"",
          line->engine);
    fputs("</g>\n", picture->out);
}

/* ---- Ratios ---------------------------------------------------------------------------------- */

static const struct line *find_line(const struct picture *picture, const char *engine)
{
    for (size_t i = 0; i < picture->count; i++)
        if (strcmp(picture->lines[i].engine, engine) == 0) return &picture->lines[i];
    return NULL;
}

/* Where a line passes a recall. False where it does not go past it. */
static bool pass_recall(const struct picture *picture, const struct line *line, double recall,
                        double *y)
{
    for (size_t i = 0; line && i + 1 < line->count; i++) {
        const struct point *a = line->points[i], *b = line->points[i + 1];
        const double from = open_up(a->recall), to = open_up(b->recall);
        if (a->recall > recall || b->recall < recall || !(to > from)) continue;
        const double share = (open_up(recall) - from) / (to - from);
        *y = y_of(picture, a) + share * (y_of(picture, b) - y_of(picture, a));
        return true;
    }
    return false;
}

/* How many times as fast as the baseline, between the two lines at a recall: by what was measured,
 * not by where the lines are. */
static void draw_ratio(const struct picture *picture, double recall)
{
    const struct point *own = results_fastest(picture->results, "tekup", recall);
    const struct point *baseline = results_fastest(picture->results, BASELINE, recall);
    char text[32];
    double from, to;
    if (!own || !baseline || !(baseline->speed.qps > 0)) return;
    if (!pass_recall(picture, find_line(picture, "tekup"), recall, &from)) return;
    if (!pass_recall(picture, find_line(picture, BASELINE), recall, &to)) return;
    if (fabs(from - to) < 44) return;
    const double x = x_of(picture, recall), middle = (from + to) / 2;
    snprintf(text, sizeof(text), "%.1f×", own->speed.qps / baseline->speed.qps);
    fprintf(picture->out,
            "<path class=\"gap\" d=\"M%.1f %.1fV%.1f\" stroke=\"#78716c\" "
            "stroke-dasharray=\"2 4\" stroke-width=\"1.5\"/>\n",
            x, from, to);
    fprintf(picture->out,
            "<rect class=\"badge\" x=\"%.1f\" y=\"%.1f\" width=\"58\" height=\"26\" rx=\"13\" "
            "fill=\"#ffffff\" stroke=\"#d6d3d1\"/>\n",
            x - 29, middle - 13);
    label(picture, x, middle + 5.5,
          "class=\"ratio\" text-anchor=\"middle\" font-size=\"15\" font-weight=\"600\" "
          "fill=\"#1c1917\"",
          text);
}

/* ---- The picture ----------------------------------------------------------------------------- */

static int compare_points(const void *left, const void *right)
{
    const struct point *a = *(const struct point *const *)left;
    const struct point *b = *(const struct point *const *)right;
    const double x = bounded(a->recall), y = bounded(b->recall);
    if (x != y) return x < y ? -1 : 1;
    return (a->speed.qps > b->speed.qps) - (a->speed.qps < b->speed.qps);
}

static struct line *line_of(struct picture *picture, const char *engine)
{
    for (size_t i = 0; i < picture->count; i++)
        if (strcmp(picture->lines[i].engine, engine) == 0) return &picture->lines[i];
    if (picture->count == MOST_LINES) return NULL;
    struct line *line = &picture->lines[picture->count++];
    line->engine = engine;
    while (line->colour < COLOURS && strcmp(engine, colours[line->colour].engine) != 0)
        line->colour++;
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

/* Moves two names apart that would stand on each other. Returns whether they did. */
static bool move_apart(const struct picture *picture, struct line *a, struct line *b)
{
    enum { APART = 20, WIDE = 100 };
    const double x = x_of(picture, end_of(a)->recall), y = x_of(picture, end_of(b)->recall);
    struct line *upper = a->label <= b->label ? a : b, *lower = upper == a ? b : a;
    const double missing = APART - (lower->label - upper->label);
    if (fabs(x - y) > WIDE || missing < 0.1) return false;
    upper->label -= missing / 2;
    lower->label += missing / 2;
    return true;
}

/* Names stand where their lines end, as near to it as the others let them. */
static void place_names(struct picture *picture)
{
    enum { ROUNDS = 100, HIGHEST = TOP + 10, LOWEST = HEIGHT - BOTTOM - 8 };
    for (size_t i = 0; i < picture->count; i++)
        picture->lines[i].label = y_of(picture, end_of(&picture->lines[i])) + 5;
    bool moved = true;
    for (int round = 0; round < ROUNDS && moved; round++) {
        moved = false;
        for (size_t i = 0; i < picture->count; i++)
            for (size_t j = 0; j < i; j++)
                moved |= move_apart(picture, &picture->lines[j], &picture->lines[i]);
        for (size_t i = 0; i < picture->count; i++)
            picture->lines[i].label = fmin(fmax(picture->lines[i].label, HIGHEST), LOWEST);
    }
}

static void put_style(const struct picture *picture)
{
    fprintf(picture->out, "<style>@media (prefers-color-scheme:dark){%s.other{color:#b8b4af}",
            dark_style);
    for (size_t i = 0; i < COLOURS; i++)
        fprintf(picture->out, ".engine-%s{color:%s}", colours[i].engine, colours[i].dark);
    fputs("}</style>\n", picture->out);
}

/* What was measured, and where and when. */
static void draw_headings(const struct picture *picture)
{
    const struct results *results = picture->results;
    char vectors[NUMBER_SIZE], dim[NUMBER_SIZE], text[512];
    label(picture, 24, 36, "class=\"title\" font-size=\"19\" font-weight=\"600\" fill=\"#1c1917\"",
          "Recall against speed");
    snprintf(text, sizeof(text), "%s", results->machine);
    text_cut(text, MOST_MACHINE);
    size_t length = strlen(text);
    snprintf(text + length, sizeof(text) - length, "%s%s, %.10s", results->kernel[0] ? ", " : "",
             results->kernel, results->date);
    label(picture, WIDTH - 24, 36, "class=\"tick\" text-anchor=\"end\" font-size=\"12\"", text);
    snprintf(text, sizeof(text), "%s", results->dataset);
    text_cut(text, MOST_NAME);
    length = strlen(text);
    snprintf(text + length, sizeof(text) - length, ": %s vectors of dimension %s",
             text_count(results->vectors, vectors), text_count(results->dim, dim));
    label(picture, 24, 60, "class=\"label\" fill=\"#57534e\"", text);
}

static void draw_ground(const struct picture *picture)
{
    fprintf(picture->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" role=\"img\" font-family=\"system-ui, -apple-system, 'Segoe UI', "
            "Helvetica, Arial, sans-serif\" font-size=\"14\" fill=\"#78716c\">\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    fputs("<title>Recall against searches per second</title>\n", picture->out);
    put_style(picture);
    fprintf(picture->out,
            "<clipPath id=\"plot\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>"
            "</clipPath>\n",
            LEFT, TOP - 8, WIDTH - LEFT - RIGHT + 8, HEIGHT - TOP - BOTTOM + 16);
    fprintf(picture->out,
            "<rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"10\" "
            "fill=\"#fdfcfa\" stroke=\"#d6d3d1\"/>\n",
            WIDTH - 1, HEIGHT - 1);
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
    draw_headings(picture);
    draw_recall_axis(picture);
    draw_speed_axis(picture);
    for (size_t i = picture->count; i-- > 0;) draw_line(picture, &picture->lines[i]);
    draw_ratio(picture, 0.95);
    draw_ratio(picture, 0.99);
    for (size_t i = 0; i < picture->count; i++) draw_name(picture, &picture->lines[i]);
    fputs("</svg>\n", out);
    free(picture);
}
