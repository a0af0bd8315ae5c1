/* words.c: finds the words of a text. */
#include "ingest/embedding/words.h"

#include "ingest/embedding/letters.h"
#include "storage/base/utf8.h"

#include <string.h>

static void append(struct word *word, uint32_t point)
{
    word->length += utf8_encode(point, word->text + word->length);
    word->letters++;
    word->digits += point >= '0' && point <= '9';
}

/* An apostrophe at `at` that has a letter after it: its length, or 0. */
static size_t apostrophe(const struct word_reader *reader, size_t at)
{
    size_t step;
    size_t next;
    const uint32_t point = letter_decode(reader->text + at, reader->length - at, &step);
    if ((point != '\'' && point != 0x2019) || at + step >= reader->length) return 0;
    const uint32_t after =
        letter_decode(reader->text + at + step, reader->length - at - step, &next);
    return letter_is(after) && !letter_is_ideograph(after) ? step : 0;
}

bool word_next(struct word_reader *reader, struct word *word)
{
    word->length = 0;
    word->letters = 0;
    word->digits = 0;
    word->ideograph = false;
    while (reader->at < reader->length && word->letters < WORD_LETTERS) {
        size_t step;
        const uint32_t point =
            letter_decode(reader->text + reader->at, reader->length - reader->at, &step);
        if (letter_is_ideograph(point)) {
            if (word->letters > 0) break;
            reader->at += step;
            append(word, point);
            word->ideograph = true;
            break;
        }
        if (letter_is(point)) {
            append(word, letter_lower(point));
        } else if (word->letters > 0) {
            step = apostrophe(reader, reader->at);
            if (step == 0) break;
            append(word, '\'');
        }
        reader->at += step;
    }
    if (word->length > 2 && memcmp(word->text + word->length - 2, "'s", 2) == 0) {
        word->length -= 2;
        word->letters -= 2;
    }
    return word->letters > 0;
}
