/* drive_format.h: how the text of a file in Drive is had, by its type and its name. */
#ifndef INGEST_DRIVE_FORMAT_H
#define INGEST_DRIVE_FORMAT_H

enum drive_format {
    DRIVE_FORMAT_NONE,     /* no text can be had: images, films, archives, forms, office files */
    DRIVE_FORMAT_DOCUMENT, /* Docs: exported as Markdown */
    DRIVE_FORMAT_SHEET,    /* Sheets: exported as CSV, which the API does of the first sheet only */
    DRIVE_FORMAT_SLIDES,   /* Slides: exported as plain text */
    DRIVE_FORMAT_PDF,
    DRIVE_FORMAT_TEXT /* as it is */
};

/* Folders and shortcuts are DRIVE_FORMAT_NONE. */
enum drive_format drive_format_of(const char *mime, const char *name);

#endif
