/* test_github_event.c: deliveries of GitHub's webhook: signatures, payloads, branches. */
#include "tools/tekupd/api/github_event.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The example of GitHub's documentation. */
#define SECRET "It's a Secret to Everybody"
#define BODY "Hello, World!"
#define DIGEST "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

static bool is_right(const char *signature)
{
    return github_signature_is_right(signature, SECRET, BODY, strlen(BODY));
}

Test(github_event, only_the_right_signature_is_right)
{
    char digits[] = "sha256=" DIGEST;
    cr_expect(is_right(digits));
    cr_expect(is_right("sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17"));
    for (size_t i = 0; digits[i] != '\0'; i++) {
        const char kept = digits[i];
        digits[i] = kept == '0' ? '1' : '0';
        cr_expect_not(is_right(digits), "byte %zu", i);
        digits[i] = kept;
    }
    static const char *const wrong[] = {NULL,
                                        "",
                                        "sha256=",
                                        DIGEST,
                                        "sha1=" DIGEST,
                                        "sha256=" DIGEST "0",
                                        "sha256= " DIGEST,
                                        "sha256=757107ea0eb2509fc211221cce984b8a",
                                        "SHA256=" DIGEST};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        cr_expect_not(is_right(wrong[i]), "%zu", i);
    cr_expect_not(github_signature_is_right("sha256=" DIGEST, SECRET "!", BODY, strlen(BODY)));
    cr_expect_not(github_signature_is_right("sha256=" DIGEST, SECRET, BODY, strlen(BODY) - 1));
    cr_expect(github_signature_is_right(
        "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", "", "", 0));
}

Test(github_event, names)
{
    char long_name[102];
    memset(long_name, 'x', 101);
    long_name[101] = '\0';
    cr_expect(github_name_is_valid("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    cr_expect(github_name_is_valid(long_name + 1));
    cr_expect_not(github_name_is_valid(long_name));
    cr_expect_not(github_name_is_valid(""));
    cr_expect_not(github_name_is_valid("a b"));
    cr_expect_not(github_name_is_valid("a\n"));
    cr_expect_not(github_name_is_valid("\xc3\xa9"));
}

static struct github_event read_as(const char *name, const char *body, bool form)
{
    struct github_event event;
    struct error err = {0};
    cr_assert_eq(github_event_read(name, body, strlen(body), form, &event, &err), 0, "%s",
                 err.message);
    return event;
}

static void expect_text(const char *text, const char *expected)
{
    if (expected == NULL)
        cr_expect_null(text);
    else
        cr_expect(text != NULL && strcmp(text, expected) == 0, "%s is not %s", text, expected);
}

Test(github_event, pushes)
{
    struct github_event event = read_as(
        "push",
        "{\"ref\":\"refs/heads/release/1\",\"deleted\":false,\"commits\":[{\"id\":\"[{\\\"\"}],"
        "\"repository\":{\"full_name\":\"octo/hello\",\"default_branch\":\"main\"}}",
        false);
    expect_text(event.branch, "release/1");
    expect_text(event.repository, "octo/hello");
    expect_text(event.default_branch, "main");
    expect_text(event.former, NULL);
    expect_text(event.action, NULL);
    cr_expect_not(github_event_is_wanted(&event, "{}"));
    cr_expect_not(github_event_is_wanted(&event, "{\"branches\":[\"release\",\"1\",7,null]}"));
    cr_expect_not(github_event_is_wanted(&event, "{\"branches\":\"release/1\"}"));
    cr_expect_not(github_event_is_wanted(&event, "not JSON"));
    cr_expect(github_event_is_wanted(&event, "{\"branches\":[\"dev\",\"release/1\"]}"));
    cr_expect(github_event_is_wanted(&event, "{\"branches\":[\"release/*\"]}"));
    github_event_free(&event);

    event =
        read_as("push",
                "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%2C+%22repository%22%3A%7B"
                "%22full_name%22%3A%22octo%2Fhello%22%2C%22default_branch%22%3A%22main%22%7D%7D",
                true);
    expect_text(event.branch, "main");
    cr_expect(github_event_is_wanted(&event, "{}"));
    cr_expect(github_event_is_wanted(&event, "{\"branches\":[\"dev\"]}"));
    github_event_free(&event);

    event = read_as("push",
                    "{\"ref\":\"refs/tags/main\",\"repository\":{\"full_name\":\"octo/hello\","
                    "\"default_branch\":\"main\"}}",
                    false);
    expect_text(event.branch, NULL);
    cr_expect_not(github_event_is_wanted(&event, "{\"branches\":[\"main\"]}"));
    github_event_free(&event);
}

Test(github_event, former_names)
{
    struct github_event event = read_as(
        "repository",
        "{\"action\":\"renamed\",\"changes\":{\"repository\":{\"name\":{\"from\":\"old\"}}},"
        "\"repository\":{\"name\":\"new\",\"full_name\":\"octo/new\"}}",
        false);
    expect_text(event.action, "renamed");
    expect_text(event.repository, "octo/new");
    expect_text(event.former, "octo/old");
    github_event_free(&event);

    event = read_as("repository",
                    "{\"action\":\"transferred\",\"changes\":{\"owner\":{\"from\":{"
                    "\"organization\":{\"login\":\"acme\"}}}},\"repository\":{\"full_name\":"
                    "\"octo/hello\"}}",
                    false);
    expect_text(event.former, "acme/hello");
    github_event_free(&event);

    event = read_as("repository", "{\"changes\":[],\"repository\":\"x\",\"action\":3}", false);
    expect_text(event.former, NULL);
    expect_text(event.repository, NULL);
    expect_text(event.action, NULL);
    github_event_free(&event);
}

Test(github_event, what_is_no_payload)
{
    static const struct {
        const char *body;
        bool form;
    } cases[] = {
        {"", false},
        {"[]", false},
        {"{\"ref\":\"refs/heads/main\"", false},
        {"{}", false},
        {"{\"ref\":\"refs/heads/main\"}", false},
        {"{\"ref\":7,\"repository\":{\"full_name\":\"a/b\"}}", false},
        {"{\"ref\":\"refs/heads/a\\u0000\",\"repository\":{\"full_name\":\"a/b\"}}", false},
        {"payload={}", false},
        {"", true},
        {"payload", true},
        {"payload=", true},
        {"payload=%7", true},
        {"payload=%00", true},
        {"payload=%7B%7D&payload=%7B%7D", true},
        {"other=%7B%7D", true},
        {"{}", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct github_event event;
        struct error err = {0};
        cr_expect_eq(github_event_read("push", cases[i].body, strlen(cases[i].body), cases[i].form,
                                       &event, &err),
                     -1, "case %zu", i);
        cr_expect_eq(err.code, ERR_INVALID, "case %zu", i);
        github_event_free(&event);
    }
    enum { DEEP = 100000 };
    char *deep = malloc(DEEP + 1);
    struct github_event event;
    memset(deep, '[', DEEP);
    deep[DEEP] = '\0';
    cr_expect_eq(github_event_read("push", deep, DEEP, false, &event, NULL), -1);
    github_event_free(&event);
    free(deep);
}
