/* drive_fetch.c: exports, downloads, reads PDFs. */
#include "ingest/drive/drive_fetch.h"

#include "ingest/drive/drive_format.h"
#include "ingest/drive/pdf_text.h"
#include "ingest/plain_text.h"
#include "storage/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum skip_reason drive_fetch_judge(const struct drive_api *api, const struct drive_node *node)
{
    const enum drive_format format = drive_format_of(node->mime, node->name);
    if (format == DRIVE_FORMAT_NONE) return SKIP_UNSUPPORTED;
    if (node->no_download) return SKIP_UNREADABLE;
    if (format == DRIVE_FORMAT_PDF) return node->size > PDF_FILE_MOST ? SKIP_TOO_LARGE : SKIP_NONE;
    if (format != DRIVE_FORMAT_TEXT)
        return SKIP_NONE; /* the size of what is exported is not told */
    if (node->size == 0) return SKIP_EMPTY;
    return node->size > api->config->max_bytes ? SKIP_TOO_LARGE : SKIP_NONE;
}

/* ---- What Drive refuses ---- */

static bool is_reason(const struct drive_fault *fault, const char *reason)
{
    return strcmp(fault->reason, reason) == 0;
}

/* Turns the failure of a call into a reason to skip the file where it is one. */
static int settle(const struct drive_fault *fault, enum skip_reason *reason, struct error *err)
{
    if (err->code == ERR_TOO_LARGE || is_reason(fault, "exportSizeLimitExceeded"))
        *reason = SKIP_TOO_LARGE;
    else if (fault->status == 400 && strstr(fault->message, "conversion") != NULL)
        *reason = SKIP_UNSUPPORTED; /* nothing that it can be exported as */
    else if (fault->status == 500)
        *reason = SKIP_UNREADABLE; /* what Drive cannot convert, it fails at again and again */
    else if (fault->status == 403 && err->code == ERR_IO)
        *reason = is_reason(fault, "fileNotExportable") || is_reason(fault, "fileNotDownloadable")
                      ? SKIP_UNSUPPORTED
                      : SKIP_UNREADABLE; /* its owner allows no copies, for instance */
    else
        return -1;
    return 1;
}

/* ---- Getting the bytes ---- */

static int export(const struct drive_api *api, const struct drive_node *node, const char *type,
                  struct http_response *response, struct drive_fault *fault, struct error *err)
{
    struct buffer path = {0};
    buffer_format(&path, "/drive/v3/files/%s/export", node->id);
    drive_query(&path, "mimeType", type);
    const int status = path.failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                                   : drive_get(api, "the export", path.data, api->config->max_bytes,
                                               response, fault, err);
    buffer_free(&path);
    return status;
}

static int export_document(const struct drive_api *api, const struct drive_node *node,
                           struct http_response *response, struct drive_fault *fault,
                           struct error *err)
{
    const int status = export(api, node, "text/markdown", response, fault, err);
    /* Some documents have no Markdown: "The requested conversion is not supported." */
    if (status == 0 || fault->status != 400) return status;
    return export(api, node, "text/plain", response, fault, err);
}

static int download(const struct drive_api *api, const struct drive_node *node, size_t most,
                    struct http_response *response, struct drive_fault *fault, struct error *err)
{
    struct buffer path = {0};
    buffer_format(&path, "/drive/v3/files/%s?alt=media&supportsAllDrives=true", node->id);
    const int status = path.failed
                           ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                           : drive_get(api, "the download", path.data, most, response, fault, err);
    buffer_free(&path);
    return status;
}

static int get(const struct drive_api *api, const struct drive_node *node,
               struct http_response *response, struct drive_fault *fault, struct error *err)
{
    switch (drive_format_of(node->mime, node->name)) {
    case DRIVE_FORMAT_DOCUMENT:
        return export_document(api, node, response, fault, err);
    case DRIVE_FORMAT_SHEET:
        return export(api, node, "text/csv", response, fault, err);
    case DRIVE_FORMAT_SLIDES:
        return export(api, node, "text/plain", response, fault, err);
    case DRIVE_FORMAT_PDF:
        return download(api, node, PDF_FILE_MOST, response, fault, err);
    default:
        return download(api, node, api->config->max_bytes, response, fault, err);
    }
}

/* ---- Making a document of them ---- */

static int read_pdf(const struct drive_api *api, const struct drive_node *node, const char *path,
                    const struct http_response *response, struct source_content *content,
                    enum skip_reason *reason, struct error *err)
{
    const char *why;
    const int status =
        pdf_text(response->body, response->length, api->config->max_bytes, api->context->stop,
                 &content->text, &content->length, reason, &why, err);
    if (status == 1)
        log_info("drive.pdf_skipped", "repository=%s path=%s id=%s reason=%s",
                 log_quote(api->context->repository), log_quote(path), node->id, log_quote(why));
    return status;
}

static int take_text(struct http_response *response, struct source_content *content,
                     struct error *err)
{
    content->length = response->length;
    content->text = malloc(content->length + 1);
    if (content->text == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    memcpy(content->text, response->body, content->length);
    content->text[content->length] = '\0';
    return 0;
}

static char *make_metadata(const struct drive_node *node)
{
    json_t *owners = node->owners != NULL ? json_loads(node->owners, 0, NULL) : NULL;
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s*, s:o*}", "fileId", node->id, "name",
                               node->name, "mimeType", node->mime, "modifiedTime", node->modified,
                               "url", node->url, "driveId", node->drive, "owners", owners);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

static int make_document(const struct drive_api *api, const struct drive_node *node,
                         const char *path, struct http_response *response,
                         struct source_content *content, enum skip_reason *reason,
                         struct error *err)
{
    const int status = drive_format_of(node->mime, node->name) == DRIVE_FORMAT_PDF
                           ? read_pdf(api, node, path, response, content, reason, err)
                           : take_text(response, content, err);
    if (status != 0) return status;
    const int read = plain_text_read(&content->text, &content->length, reason);
    if (read != 0) return read > 0 ? 1 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
    drive_node_sha(node, content->sha);
    content->metadata = make_metadata(node);
    return content->metadata != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

int drive_fetch(const struct drive_api *api, const struct drive_node *node, const char *path,
                struct source_content *content, enum skip_reason *reason, struct error *err)
{
    struct http_response response = {0};
    struct drive_fault fault = {0};
    struct error why = {0};
    *content = (struct source_content){0};
    *reason = SKIP_NONE;
    int status = get(api, node, &response, &fault, &why);
    if (status != 0) {
        status = settle(&fault, reason, &why);
        if (status < 0 && err != NULL) *err = why;
        if (status == 1)
            log_info("drive.skipped", "repository=%s path=%s id=%s reason=%s",
                     log_quote(api->context->repository), log_quote(path), node->id,
                     log_quote(why.message));
        return status;
    }
    status = make_document(api, node, path, &response, content, reason, err);
    http_response_free(&response);
    if (status != 0) {
        free(content->text);
        free(content->metadata);
        *content = (struct source_content){0};
    }
    return status;
}
