/*
 * pdf_text.h: the text of a PDF file, which a process of its own reads (tekup-pdftext), within
 * limits of memory, time and output: a file that makes poppler fail makes nothing else fail.
 */
#ifndef INGEST_PDF_TEXT_H
#define INGEST_PDF_TEXT_H

#include "ingest/drive/pdf_limits.h"
#include "ingest/source_kind.h"
#include "storage/base/error.h"

#include <stdatomic.h>
#include <stddef.h>

/* Returns 0 with *text (NUL-terminated, the caller frees it), 1 where it is to be skipped, -1 on
 * failure: ERR_CANCELLED by *stop (which may be NULL), ERR_IO where the program cannot be run.
 * Skipped: SKIP_TOO_LARGE (the file is over
 * PDF_FILE_MOST, or more than `most` bytes of text), SKIP_UNSUPPORTED (*why is
 * then "encrypted", "damaged" or "beyond the limits"). Any thread. */
int pdf_text(const void *bytes, size_t size, size_t most, const atomic_bool *stop, char **text,
             size_t *length, enum skip_reason *reason, const char **why, struct error *err);

#endif
