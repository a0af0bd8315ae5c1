/*
 * json_scan.h: finds the next quote or bracket of a JSON text.
 *
 * An embedding is tens of thousands of bytes without any, so that there is one function per
 * instruction set, chosen at run time. All may be called by several threads at once, and read the
 * text alone.
 */
#ifndef TEKUPD_JSON_SCAN_H
#define TEKUPD_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

struct json_scanner {
    const char *name;
    bool (*usable)(void); /* whether this machine can run it */

    /* The place of the next one of "[]{} from `at` on, or length. at is at most length. */
    size_t (*next)(const char *text, size_t at, size_t length);
};

/* The i-th one that this machine can run, best first; NULL past the last. */
const struct json_scanner *json_scanner_usable(size_t i);

#endif
