#include "tools/tekup/sync_text.h"

#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/text.h"

#include <string.h>
#include <time.h>

bool sync_ended(const json_t *item)
{
    if (json_is_object(json_object_get(item, "progress"))) return false;
    const char *status = field_text(item, "status");
    return strcmp(status, "pending") != 0 && strcmp(status, "in_progress") != 0;
}

static long long looked_at(const json_t *counts)
{
    return field_integer(counts, "unchanged") + field_integer(counts, "written") +
           field_integer(counts, "failed");
}

double sync_fraction(const json_t *progress)
{
    const long long total = field_integer(progress, "total");
    if (!field_true(progress, "running") || total <= 0) return -1;
    const double fraction = (double)looked_at(progress) / (double)total;
    return fraction > 1 ? 1 : fraction;
}

/* ", 3 min left", or what it waits for, and how long. */
static void append_outlook(struct buffer *out, const json_t *progress)
{
    char figure[FIGURE_SIZE];
    double left;
    const time_t now = time(NULL);
    const char *why = field_text(progress, "waitsFor");
    if (*why != '\0') {
        buffer_format(out, ", waits for %s", why);
        if (figure_left(field_text(progress, "waitsUntil"), now, &left) == 0 && left > 0)
            buffer_format(out, ", %s more", figure_rough(left, figure));
    } else if (figure_left(field_text(progress, "estimatedEnd"), now, &left) == 0 && left >= 1) {
        buffer_format(out, ", %s left", figure_rough(left, figure));
    }
}

void sync_progress_text(struct buffer *out, const json_t *progress)
{
    char a[FIGURE_SIZE], b[FIGURE_SIZE];
    const long long total = field_integer(progress, "total");
    const long long rejected = field_integer(progress, "rejected");
    const bool deletes = strcmp(field_text(progress, "phase"), "deleting") == 0;
    if (!field_true(progress, "running")) {
        buffer_text(out, "queued");
        return;
    }
    if (deletes) {
        buffer_format(out, "%s deleted", figure_count(field_integer(progress, "deleted"), a));
    } else if (total <= 0) {
        buffer_format(out, "listing, %s found", figure_count(field_integer(progress, "found"), a));
    } else {
        buffer_format(out, "%s of %s files", figure_count(looked_at(progress), a),
                      figure_count(total, b));
        buffer_format(out, ", %s passages", figure_count(field_integer(progress, "chunks"), a));
    }
    if (rejected > 0) buffer_format(out, ", %s rejected", figure_count(rejected, a));
    append_outlook(out, progress);
    buffer_format(out, ", %s", figure_seconds(field_number(progress, "elapsedSeconds"), a));
}

/* "3 skipped (binary 2, empty 1)" */
static void append_skipped(struct buffer *out, const json_t *skipped)
{
    long long sum = 0;
    const char *reason;
    json_t *value;
    struct buffer reasons = {0};
    json_object_foreach((json_t *)skipped, reason, value)
    {
        const long long count = json_integer_value(value);
        if (count == 0) continue;
        char figure[FIGURE_SIZE];
        if (reasons.length > 0) buffer_text(&reasons, ", ");
        for (const char *byte = reason; *byte != '\0'; byte++)
            buffer_append(&reasons, *byte == '_' ? " " : byte, 1);
        buffer_format(&reasons, " %s", figure_count(count, figure));
        sum += count;
    }
    char figure[FIGURE_SIZE];
    if (sum > 0)
        buffer_format(out, ", %s skipped (%s)", figure_count(sum, figure),
                      reasons.data != NULL ? reasons.data : "");
    buffer_free(&reasons);
}

void sync_counts_text(struct buffer *out, const json_t *counts)
{
    static const struct {
        const char *field, *word;
        bool always;
    } parts[] = {{"written", "written", true},
                 {"deleted", "deleted", false},
                 {"unchanged", "unchanged", true},
                 {"failed", "failed", false}};
    char figure[FIGURE_SIZE];
    const size_t start = out->length;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        const long long count = field_integer(counts, parts[i].field);
        if (count == 0 && !parts[i].always) continue;
        buffer_format(out, "%s%s %s", out->length > start ? ", " : "", figure_count(count, figure),
                      parts[i].word);
    }
    append_skipped(out, json_object_get(counts, "skipped"));
    const long long rejected = field_integer(counts, "rejected");
    if (rejected > 0)
        buffer_format(out, ", %s passage%s rejected by the embedding server",
                      figure_count(rejected, figure), rejected == 1 ? "" : "s");
    buffer_format(out, ", %s", figure_seconds(field_number(counts, "elapsedSeconds"), figure));
}

void sync_print_ended(const json_t *item, FILE *out, const struct terminal *terminal)
{
    const bool success = strcmp(field_text(item, "status"), "success") == 0;
    const json_t *last = json_object_get(item, "last");
    struct buffer raw = {0}, line = {0};
    char figure[FIGURE_SIZE];
    buffer_format(&raw, "%s %s: ", field_text(item, "source"), field_text(item, "repository"));
    if (success)
        buffer_format(&raw, "%s document%s",
                      figure_count(field_integer(item, "documentCount"), figure),
                      field_integer(item, "documentCount") == 1 ? "" : "s");
    else
        buffer_text(&raw, field_text(item, "errorMessage"));
    if (json_is_object(last)) {
        buffer_text(&raw, "; ");
        sync_counts_text(&raw, last);
    }
    text_clean(&line, raw.data != NULL ? raw.data : "", raw.length, TEXT_ONE_LINE);
    fprintf(out, "%s%s%s %s\n", terminal_style(terminal, success ? STYLE_GREEN : STYLE_RED),
            success ? "done  " : "failed", terminal_style(terminal, STYLE_NONE),
            line.data != NULL ? line.data : "");
    buffer_free(&raw);
    buffer_free(&line);
}
