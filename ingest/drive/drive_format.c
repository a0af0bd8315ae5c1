/* drive_format.c: the types that text can be had of. */
#include "ingest/drive/drive_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define GOOGLE "application/vnd.google-apps."

/* Types that are text although they are not called text/. */
static const char *const text_types[] = {
    "application/json",        "application/ld+json",      "application/x-ndjson",
    "application/jsonlines",   "application/xml",          "application/xhtml+xml",
    "application/yaml",        "application/x-yaml",       "application/toml",
    "application/javascript",  "application/x-javascript", "application/typescript",
    "application/sql",         "application/x-sh",         "application/x-shellscript",
    "application/x-httpd-php", "application/x-tex",        "application/x-latex",
    "application/x-python",    "application/x-ruby",       "application/x-perl",
    "application/graphql",     "application/markdown",     "image/svg+xml",
    "message/rfc822",
};

/* What their names tell where Drive says application/octet-stream or nothing of use. */
static const char *const text_endings[] = {
    ".txt",   ".text", ".md",         ".markdown", ".mdx",   ".rst",    ".adoc",   ".org",
    ".tex",   ".csv",  ".tsv",        ".json",     ".jsonl", ".ndjson", ".yaml",   ".yml",
    ".toml",  ".ini",  ".cfg",        ".conf",     ".log",   ".xml",    ".html",   ".htm",
    ".css",   ".scss", ".js",         ".mjs",      ".cjs",   ".jsx",    ".ts",     ".tsx",
    ".py",    ".rb",   ".pl",         ".php",      ".sh",    ".bash",   ".zsh",    ".sql",
    ".c",     ".h",    ".cc",         ".cpp",      ".hpp",   ".cs",     ".go",     ".rs",
    ".java",  ".kt",   ".swift",      ".scala",    ".lua",   ".r",      ".prisma", ".graphql",
    ".proto", ".tf",   ".properties", ".ics",      ".vcf",   ".eml",    ".srt",    ".vtt",
};

static bool is_text_type(const char *mime)
{
    if (strncasecmp(mime, "text/", 5) == 0) return true;
    for (size_t i = 0; i < sizeof(text_types) / sizeof(*text_types); i++)
        if (strcasecmp(mime, text_types[i]) == 0) return true;
    return false;
}

static bool ends_like(const char *name, const char *ending)
{
    const size_t length = strlen(name), size = strlen(ending);
    return length > size && strcasecmp(name + length - size, ending) == 0;
}

static bool is_text_name(const char *name)
{
    for (size_t i = 0; i < sizeof(text_endings) / sizeof(*text_endings); i++)
        if (ends_like(name, text_endings[i])) return true;
    return false;
}

enum drive_format drive_format_of(const char *mime, const char *name)
{
    if (strcmp(mime, GOOGLE "document") == 0) return DRIVE_FORMAT_DOCUMENT;
    if (strcmp(mime, GOOGLE "spreadsheet") == 0) return DRIVE_FORMAT_SHEET;
    if (strcmp(mime, GOOGLE "presentation") == 0) return DRIVE_FORMAT_SLIDES;
    if (strncmp(mime, GOOGLE, strlen(GOOGLE)) == 0) return DRIVE_FORMAT_NONE;
    if (strcasecmp(mime, "application/pdf") == 0) return DRIVE_FORMAT_PDF;
    if (is_text_type(mime)) return DRIVE_FORMAT_TEXT;
    const bool untold = mime[0] == '\0' || strcasecmp(mime, "application/octet-stream") == 0 ||
                        strcasecmp(mime, "application/unknown") == 0;
    if (untold && ends_like(name, ".pdf")) return DRIVE_FORMAT_PDF;
    return untold && is_text_name(name) ? DRIVE_FORMAT_TEXT : DRIVE_FORMAT_NONE;
}
