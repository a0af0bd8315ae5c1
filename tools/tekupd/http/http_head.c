#include "tools/tekupd/http/http_head.h"

#include <string.h>
#include <strings.h>

/* ---- Where it ends --------------------------------------------------------------------------- */

size_t http_head_find_end(const char *bytes, size_t length, size_t seen)
{
    size_t at = seen > 3 ? seen - 3 : 0;
    for (;;) {
        const char *end = memchr(bytes + at, '\n', length - at);
        if (end == NULL) return 0;
        at = (size_t)(end - bytes) + 1;
        if (at < length && bytes[at] == '\n') return at + 1;
        if (at + 1 < length && bytes[at] == '\r' && bytes[at + 1] == '\n') return at + 2;
    }
}

/* ---- Lines ----------------------------------------------------------------------------------- */

/* Ends the line that begins here; returns where the next one does. NULL where there is none, or a
 * NUL or another control character than a tab is in this one. */
static char *end_line(char *line, const char *end)
{
    char *at = line;
    while (at < end && ((unsigned char)*at >= 0x20 || *at == '\t') && *at != 0x7f) at++;
    if (at < end && *at == '\r' && at + 1 < end && at[1] == '\n') {
        *at = '\0';
        return at + 2;
    }
    if (at == end || *at != '\n') return NULL;
    *at = '\0';
    return at + 1;
}

/* The length of the token (RFC 9110, 5.6.2) that begins here. */
static size_t token_length(const char *text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    size_t length = 0;
    for (;; length++) {
        const char byte = text[length];
        const char letter = (char)(byte | 0x20);
        if ((letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9')) continue;
        if (byte == '\0' || strchr(others, byte) == NULL) return length;
    }
}

/* ---- The request line ------------------------------------------------------------------------ */

/* What is asked for: a path, also behind a scheme and a host, or the server as a whole. */
static bool read_target(char *target, struct http_head *head)
{
    target[strcspn(target, "#")] = '\0';
    if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
        target = strchr(target, ':') + 3;
        const size_t host = strcspn(target, "/?");
        if (host == 0 || target[host] == '?') return false;
        if (*target == '[' && memchr(target, ']', host) == NULL) return false;
        target += host;
        if (*target == '\0') *--target = '/'; /* nobody asks for the host */
    } else if (*target != '/' && strcmp(target, "*") != 0) {
        return false;
    }
    char *query = strchr(target, '?');
    if (query != NULL) *query++ = '\0';
    head->path = target;
    head->query = query;
    return true;
}

static bool read_request_line(char *line, struct http_head *head)
{
    const size_t method = token_length(line);
    if (method == 0 || line[method] != ' ') return false;
    char *target = line + method + 1;
    char *version = strchr(target, ' ');
    if (version == NULL || version == target) return false;
    line[method] = '\0';
    *version++ = '\0';
    head->method = line;
    if (strchr(target, '\t') != NULL || !read_target(target, head)) return false;
    if (strncmp(version, "HTTP/1.", 7) != 0 || version[7] < '0' || version[7] > '9' ||
        version[8] != '\0')
        return false;
    head->old_version = version[7] == '0';
    head->keeps = !head->old_version;
    return true;
}

/* ---- Fields ---------------------------------------------------------------------------------- */

static const char no_header[] = "a header is not HTTP/1.1: a name, a colon, a value";

/* Whether a word is in a list with commas, in letters of any case. */
static bool has_word(const char *list, const char *word)
{
    const size_t length = strlen(word);
    while (*list != '\0') {
        list += strspn(list, ", \t");
        const size_t found = strcspn(list, ", \t");
        if (found == length && strncasecmp(list, word, length) == 0) return true;
        list += found;
    }
    return false;
}

static const char *read_length(const char *value, bool *given, struct http_head *head)
{
    uint64_t length = 0;
    const char *digit = value;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        if (length > (INT64_MAX - 9) / 10) return "Content-Length is larger than any body can be";
        length = length * 10 + (uint64_t)(*digit - '0');
    }
    if (digit == value || *digit != '\0') return "Content-Length is not a number of bytes";
    if (*given && length != head->length) return "the head has two different Content-Length";
    *given = true;
    head->length = length;
    return NULL;
}

/* What there is to know of the fields that say how the message goes on. */
static const char *read_framing(struct http_head *head)
{
    bool length = false, host = false;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        const char *wrong = NULL;
        switch (field->name[0] | 0x20) {
        case 'c':
            if (strcasecmp(field->name, "Content-Length") == 0) {
                wrong = read_length(field->value, &length, head);
            } else if (strcasecmp(field->name, "Content-Type") == 0) {
                if (head->type == NULL) head->type = field->value;
            } else if (strcasecmp(field->name, "Connection") == 0) {
                if (has_word(field->value, "close"))
                    head->keeps = false;
                else if (head->old_version && has_word(field->value, "keep-alive"))
                    head->keeps = true;
            }
            break;
        case 'e':
            if (strcasecmp(field->name, "Expect") != 0) break;
            if (strcasecmp(field->value, "100-continue") != 0)
                wrong = "of Expect only 100-continue is known";
            head->expects = !head->old_version;
            break;
        case 'h':
            if (strcasecmp(field->name, "Host") != 0) break;
            if (host) wrong = "the head has more than one Host";
            host = true;
            break;
        case 't':
            if (strcasecmp(field->name, "Transfer-Encoding") != 0) break;
            if (head->chunked || head->old_version || strcasecmp(field->value, "chunked") != 0)
                wrong = "of Transfer-Encoding only chunked is known";
            head->chunked = true;
            break;
        default:
            break;
        }
        if (wrong != NULL) return wrong;
    }
    return length && head->chunked ? "the head has a Content-Length beside a Transfer-Encoding"
                                   : NULL;
}

static const char *read_field(char *line, struct http_head *head)
{
    const size_t name = token_length(line);
    if (name == 0 || line[name] != ':') return no_header;
    if (head->field_count == HTTP_MAX_FIELDS) return "the head has more than 128 headers";
    char *value = line + name + 1;
    value += strspn(value, " \t");
    size_t length = strlen(value);
    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t')) length--;
    line[name] = '\0';
    value[length] = '\0';
    head->fields[head->field_count++] = (struct http_field){line, value};
    return NULL;
}

/* ---- The whole ------------------------------------------------------------------------------- */

void http_head_clear(struct http_head *head)
{
    /* Not the array, of which nobody reads more than there is. */
    memset(head, 0, offsetof(struct http_head, fields));
    head->method = head->path = "";
}

const char *http_head_read(char *bytes, size_t length, struct http_head *head)
{
    const char *end = bytes + length;
    char *line = bytes;
    http_head_clear(head);
    char *next = end_line(line, end);
    if (next == NULL || !read_request_line(line, head)) return "the request line is not HTTP/1.1";
    for (line = next; end - line > 2; line = next) { /* the empty line */
        next = end_line(line, end);
        const char *wrong = next != NULL ? read_field(line, head) : no_header;
        if (wrong != NULL) return wrong;
    }
    return read_framing(head);
}

static const char *moved(const char *text, ptrdiff_t by)
{
    return text != NULL ? text + by : NULL;
}

void http_head_move(struct http_head *head, const char *from, const char *to)
{
    const ptrdiff_t by = to - from;
    head->method = moved(head->method, by);
    head->path = moved(head->path, by);
    head->query = moved(head->query, by);
    head->type = moved(head->type, by);
    for (size_t i = 0; i < head->field_count; i++) {
        head->fields[i].name += by;
        head->fields[i].value += by;
    }
}

const char *http_head_field(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (strcasecmp(head->fields[i].name, name) == 0) return head->fields[i].value;
    return NULL;
}
