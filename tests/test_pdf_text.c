/* test_pdf_text.c: the text of PDF files, good ones and others. */
#include "ingest/drive/pdf_text.h"
#include "storage/base/buffer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(pdf_text, .timeout = 300);

static size_t offsets[16];
static int objects;

static void object(struct buffer *pdf, const char *content)
{
    offsets[++objects] = pdf->length;
    buffer_format(pdf, "%d 0 obj\n%s\nendobj\n", objects, content);
}

/* A file of one page with this text. trailer: more entries of the trailer. */
static void make_pdf(struct buffer *pdf, const char *shown, const char *trailer)
{
    char stream[512];
    objects = 0;
    buffer_text(pdf, "%PDF-1.4\n");
    object(pdf, "<< /Type /Catalog /Pages 2 0 R >>");
    object(pdf, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
    object(pdf, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R "
                "/Resources << /Font << /F1 5 0 R >> >> >>");
    snprintf(stream, sizeof(stream), "BT /F1 12 Tf 50 700 Td (%s) Tj ET", shown);
    char content[700];
    snprintf(content, sizeof(content), "<< /Length %zu >>\nstream\n%s\nendstream", strlen(stream),
             stream);
    object(pdf, content);
    object(pdf, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>");
    const size_t table = pdf->length;
    buffer_format(pdf, "xref\n0 %d\n0000000000 65535 f \n", objects + 1);
    for (int i = 1; i <= objects; i++) buffer_format(pdf, "%010zu 00000 n \n", offsets[i]);
    buffer_format(pdf, "trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%zu\n%%%%EOF\n",
                  objects + 1, trailer, table);
}

static int extract(const struct buffer *pdf, size_t most, char **text, enum skip_reason *reason,
                   const char **why)
{
    struct error err = {0};
    size_t length = 0;
    *reason = SKIP_NONE;
    const int status =
        pdf_text(pdf->data, pdf->length, most, NULL, text, &length, reason, why, &err);
    cr_expect_geq(status, 0, "%s", err.message);
    if (status == 0) cr_expect_eq(strlen(*text), length);
    return status;
}

Test(pdf_text, reads_a_page)
{
    struct buffer pdf = {0};
    enum skip_reason reason;
    const char *why;
    char *text = NULL;
    make_pdf(&pdf, "Holiday rules of the company", "");
    cr_assert_eq(extract(&pdf, 1000, &text, &reason, &why), 0, "%s", why);
    cr_expect_str_eq(text, "Holiday rules of the company\n");
    free(text);
    cr_expect_eq(extract(&pdf, 10, &text, &reason, &why), 1);
    cr_expect_eq(reason, SKIP_TOO_LARGE);
    buffer_free(&pdf);
}

Test(pdf_text, of_an_empty_page_is_empty)
{
    struct buffer pdf = {0};
    enum skip_reason reason;
    const char *why;
    char *text = NULL;
    make_pdf(&pdf, "", "");
    cr_assert_eq(extract(&pdf, 1000, &text, &reason, &why), 0);
    cr_expect_str_eq(text, "");
    free(text);
    buffer_free(&pdf);
}

Test(pdf_text, skips_what_wants_a_password)
{
    struct buffer pdf = {0};
    enum skip_reason reason;
    const char *why;
    char *text = NULL;
    make_pdf(&pdf, "secret",
             "/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>] "
             "/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 "
             "/O <000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f> "
             "/U <000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f> >>");
    cr_assert_eq(extract(&pdf, 1000, &text, &reason, &why), 1);
    cr_expect_eq(reason, SKIP_UNSUPPORTED);
    cr_expect_str_eq(why, "encrypted");
    buffer_free(&pdf);
}

Test(pdf_text, skips_what_is_damaged)
{
    static const char *const bad[] = {"", "no PDF", "%PDF-1.4\n%%EOF",
                                      "%PDF-1.4\ntrailer << /Root 1 0 R >>\n%%EOF"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct buffer pdf = {0};
        enum skip_reason reason;
        const char *why;
        char *text = NULL;
        buffer_text(&pdf, bad[i]);
        cr_expect_eq(extract(&pdf, 1000, &text, &reason, &why), 1, "%s", bad[i]);
        cr_expect_eq(reason, SKIP_UNSUPPORTED);
        cr_expect_str_eq(why, "damaged");
        buffer_free(&pdf);
    }
}

/* Whatever becomes of the program, the caller gets an answer. */
Test(pdf_text, survives_files_with_changed_bytes)
{
    struct buffer pdf = {0};
    make_pdf(&pdf, "Holiday rules of the company", "");
    srand(7);
    for (int i = 0; i < 60; i++) {
        struct buffer changed = {0};
        enum skip_reason reason;
        const char *why;
        char *text = NULL;
        buffer_append(&changed, pdf.data, pdf.length);
        for (int j = 0; j < 1 + i / 4; j++)
            changed.data[(size_t)rand() % changed.length] = (char)rand();
        extract(&changed, 100000, &text, &reason, &why);
        free(text);
        buffer_free(&changed);
    }
    buffer_free(&pdf);
}

Test(pdf_text, ends_when_it_is_told_to)
{
    struct buffer pdf = {0};
    struct error err = {0};
    enum skip_reason reason;
    const char *why;
    char *text;
    size_t length;
    const atomic_bool stop = true;
    make_pdf(&pdf, "text", "");
    cr_expect_eq(pdf_text(pdf.data, pdf.length, 1000, &stop, &text, &length, &reason, &why, &err),
                 -1);
    cr_expect_eq(err.code, ERR_CANCELLED);
    buffer_free(&pdf);
}
