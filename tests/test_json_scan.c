#include "tools/tekupd/http/json_scan.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static size_t next_simply(const char *text, size_t at, size_t length)
{
    while (at < length && (text[at] == '\0' || strchr("\"[]{}", text[at]) == NULL)) at++;
    return at;
}

/* Every one of them from every place of texts of many lengths, each in memory of its own that has
 * not one byte more, for the address sanitizer. */
Test(json_scan, every_scanner_finds_every_byte_that_counts)
{
    srand(3);
    for (size_t length = 0; length < 300; length += length < 140 ? 1 : 23) {
        char *text = malloc(length > 0 ? length : 1);
        for (int round = 0; round < 4; round++) {
            /* Any byte at all, or hardly any that counts. */
            for (size_t i = 0; i < length; i++)
                text[i] =
                    (char)(round == 0 ? rand() : "0.1,-e2 \\z;=\x02\xdb\xdd\xfb\xfd"[rand() % 17]);
            if (round > 1 && length > 0) text[(size_t)rand() % length] = "\"[]{}"[rand() % 5];
            for (size_t at = 0; at <= length; at++) {
                for (size_t i = 0; json_scanner_usable(i) != NULL; i++)
                    cr_assert_eq(json_scanner_usable(i)->next(text, at, length),
                                 next_simply(text, at, length), "%s, from %zu of %zu",
                                 json_scanner_usable(i)->name, at, length);
            }
        }
        free(text);
    }
}

Test(json_scan, every_byte_counts_or_does_not)
{
    for (size_t i = 0; json_scanner_usable(i) != NULL; i++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[130];
            memset(text, ' ', sizeof(text));
            for (size_t place = 0; place < sizeof(text); place++) {
                text[place] = (char)byte;
                cr_assert_eq(json_scanner_usable(i)->next(text, 0, sizeof(text)),
                             next_simply(text, 0, sizeof(text)), "%s, byte %d",
                             json_scanner_usable(i)->name, byte);
                text[place] = ' ';
            }
        }
    }
}
