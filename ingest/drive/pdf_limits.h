/* pdf_limits.h: what tekup-pdftext may use, and how it says by its exit status what came of it. */
#ifndef INGEST_PDF_LIMITS_H
#define INGEST_PDF_LIMITS_H

enum {
    PDF_CPU_S = 20,          /* processor time */
    PDF_WALL_S = 60,         /* kept by who runs it */
    PDF_MEMORY_MB = 1024,    /* address space */
    PDF_FILE_MOST = 32 << 20 /* bytes of the file */
};

enum pdf_status {
    PDF_OK = 0,
    PDF_DAMAGED = 10,   /* no PDF, or too broken to be read */
    PDF_ENCRYPTED = 11, /* opens with a password only */
    PDF_TOO_LONG = 12,  /* more text than was asked for */
    PDF_FAILED = 13     /* it could not be run as it must be */
};

#endif
