/* test_drive.c: the parts of the gdrive source that call nobody. */
#include "ingest/drive/drive_config.h"
#include "ingest/drive/drive_format.h"
#include "ingest/drive/drive_key.h"
#include "ingest/drive/drive_node.h"
#include "ingest/drive/drive_places.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(drive, .timeout = 600);

/* ---- Settings ---- */

static void expect_refused(const char *config, const char *field)
{
    struct drive_config read;
    struct error err = {0};
    cr_expect_eq(drive_config_read(config, &read, &err), -1, "%s", config);
    cr_expect_eq(err.code, ERR_INVALID, "%s", config);
    cr_expect_str_eq(err.field, field, "%s: %s", config, err.message);
    drive_config_free(&read);
}

Test(drive, settings_that_are_refused)
{
    expect_refused("[]", "config");
    expect_refused("{", "config");
    expect_refused("{}", "config.keyFile");
    expect_refused("{\"keyFile\":\"k.json\"}", "config.keyFile");
    expect_refused("{\"keyFile\":\"/k\",\"clientId\":\"x\"}", "config.keyFile");
    expect_refused("{\"keyFile\":\"/k\",\"token\":\"secret\"}", "config.token");
    expect_refused("{\"keyFile\":\"/k\",\"drives\":\"some\"}", "config.drives");
    expect_refused("{\"keyFile\":\"/k\",\"drives\":[]}", "config.drives");
    expect_refused("{\"keyFile\":\"/k\",\"folders\":[\"a' or 'b\"]}", "config.folders");
    expect_refused("{\"keyFile\":\"/k\",\"folders\":[7]}", "config.folders");
    expect_refused("{\"keyFile\":\"/k\",\"myDrive\":false}", "config.myDrive");
    expect_refused("{\"keyFile\":\"/k\",\"myDrive\":1}", "config.myDrive");
    expect_refused("{\"keyFile\":\"/k\",\"maxBytes\":0}", "config.maxBytes");
    expect_refused("{\"keyFile\":\"/k\",\"baseUrl\":\"ftp://x\"}", "config.baseUrl");
    expect_refused("{\"keyFile\":\"/k\",\"tokenUrl\":\"http://u:p@x\"}", "config.tokenUrl");
    expect_refused("{\"clientId\":\"x\",\"subject\":\"a@b\"}", "config.subject");
    expect_refused("{\"clientId\":\"x\"}", "config.clientSecretEnv");
    expect_refused("{\"clientId\":\"x\",\"clientSecretEnv\":\"S\"}", "config.refreshTokenEnv");
    expect_refused("{\"clientId\":\"x\",\"clientSecretEnv\":\"1 S\"}", "config.clientSecretEnv");
    expect_refused("{\"clientSecretEnv\":\"S\",\"refreshTokenEnv\":\"R\"}", "config.clientId");
}

Test(drive, settings_that_are_taken)
{
    struct drive_config config;
    struct error err = {0};
    cr_assert_eq(drive_config_read("{\"keyFile\":\"/k\",\"baseUrl\":\"http://127.0.0.1:1/\"}",
                                   &config, &err),
                 0, "%s", err.message);
    cr_expect(config.my_drive && !config.all_drives);
    cr_expect_str_eq(config.base_url, "http://127.0.0.1:1");
    cr_expect_eq(config.max_bytes, DRIVE_MAX_BYTES_DEFAULT);
    drive_config_free(&config);

    cr_assert_eq(drive_config_read("{\"clientId\":\"x\",\"clientSecretFile\":\"/s\","
                                   "\"refreshTokenEnv\":\"R\",\"folders\":[\"a_-1\",\"b\",\"b\"],"
                                   "\"drives\":\"all\"}",
                                   &config, &err),
                 0, "%s", err.message);
    cr_expect(!config.my_drive && config.all_drives);
    cr_expect_eq(config.folder_count, 2);
    cr_expect_str_eq(config.base_url, DRIVE_BASE_URL);
    drive_config_free(&config);
}

/* ---- The key ---- */

static EVP_PKEY *pair;

/* A key file as Google gives it, which the caller frees. */
static char *key_file(const char *extra)
{
    char *pem, *text;
    BIO *bio = BIO_new(BIO_s_mem());
    pair = EVP_RSA_gen(2048);
    cr_assert(PEM_write_bio_PKCS8PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL));
    const size_t length = (size_t)BIO_get_mem_data(bio, &pem);
    json_t *object =
        json_pack("{s:s, s:s#, s:s, s:s, s:s}", "type", "service_account", "private_key", pem,
                  (int)length, "private_key_id", "k1", "client_email",
                  "sync@x.iam.gserviceaccount.com", "token_uri", "https://token.example/t");
    if (extra != NULL) json_object_del(object, extra);
    text = json_dumps(object, 0);
    json_decref(object);
    BIO_free(bio);
    return text;
}

/* Decodes a part of a token; returns its length. */
static size_t decode(const char *text, size_t length, unsigned char *out)
{
    char padded[4096];
    size_t i = 0;
    for (; i < length; i++) padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    size_t padding = 0;
    for (; i % 4 != 0; i++, padding++) padded[i] = '=';
    const int size = EVP_DecodeBlock(out, (unsigned char *)padded, (int)i);
    cr_assert_geq(size, 0);
    out[(size_t)size - padding] = '\0';
    return (size_t)size - padding;
}

Test(drive, signs_as_google_wants_it)
{
    struct drive_key key;
    struct error err = {0};
    unsigned char bytes[4096];
    char *file = key_file(NULL);
    cr_assert_eq(drive_key_read(file, "config.keyFile", &key, &err), 0, "%s", err.message);
    char *token = drive_key_sign(&key, "scope", key.token_url, "ann@x.com", 1000000, &err);
    cr_assert_not_null(token, "%s", err.message);
    char *dot = strchr(token, '.'), *last = strrchr(token, '.');
    cr_assert(dot != NULL && last != dot);

    decode(token, (size_t)(dot - token), bytes);
    json_t *header = json_loads((char *)bytes, 0, NULL);
    cr_expect_str_eq(json_string_value(json_object_get(header, "alg")), "RS256");
    cr_expect_str_eq(json_string_value(json_object_get(header, "kid")), "k1");
    json_decref(header);
    decode(dot + 1, (size_t)(last - dot - 1), bytes);
    json_t *claims = json_loads((char *)bytes, 0, NULL);
    cr_expect_str_eq(json_string_value(json_object_get(claims, "aud")), "https://token.example/t");
    cr_expect_str_eq(json_string_value(json_object_get(claims, "sub")), "ann@x.com");
    cr_expect_eq(json_integer_value(json_object_get(claims, "iat")), 1000000 - 60);
    cr_expect_eq(json_integer_value(json_object_get(claims, "exp")), 1000000 - 60 + 3600);
    json_decref(claims);

    const size_t size = decode(last + 1, strlen(last + 1), bytes);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, pair), 1);
    cr_expect_eq(
        EVP_DigestVerify(context, bytes, size, (unsigned char *)token, (size_t)(last - token)), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pair);
    free(token);
    free(file);
    drive_key_free(&key);
}

static void expect_no_key(const char *text)
{
    struct drive_key key;
    struct error err = {0};
    cr_expect_eq(drive_key_read(text, "config.keyFile", &key, &err), -1, "%s", text);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_null(strstr(err.message, "hush"), "%s", err.message);
    drive_key_free(&key);
}

Test(drive, keys_that_are_none_are_refused_without_being_repeated)
{
    expect_no_key("hush");
    expect_no_key("{\"type\":\"authorized_user\",\"refresh_token\":\"hush\"}");
    expect_no_key("{\"client_email\":\"a@b\",\"private_key\":\"hush\"}");
    char *file = key_file("client_email");
    expect_no_key(file);
    EVP_PKEY_free(pair);
    free(file);
}

/* ---- Types ---- */

Test(drive, types_that_text_is_had_of)
{
    cr_expect_eq(drive_format_of("application/vnd.google-apps.document", "a"),
                 DRIVE_FORMAT_DOCUMENT);
    cr_expect_eq(drive_format_of("application/vnd.google-apps.spreadsheet", "a"),
                 DRIVE_FORMAT_SHEET);
    cr_expect_eq(drive_format_of("application/vnd.google-apps.presentation", "a"),
                 DRIVE_FORMAT_SLIDES);
    cr_expect_eq(drive_format_of("application/vnd.google-apps.form", "a.txt"), DRIVE_FORMAT_NONE);
    cr_expect_eq(drive_format_of(DRIVE_FOLDER, "a.txt"), DRIVE_FORMAT_NONE);
    cr_expect_eq(drive_format_of("application/pdf", "a"), DRIVE_FORMAT_PDF);
    cr_expect_eq(drive_format_of("application/octet-stream", "a.PDF"), DRIVE_FORMAT_PDF);
    cr_expect_eq(drive_format_of("text/x-python", "a"), DRIVE_FORMAT_TEXT);
    cr_expect_eq(drive_format_of("application/json", "a"), DRIVE_FORMAT_TEXT);
    cr_expect_eq(drive_format_of("application/octet-stream", "a.md"), DRIVE_FORMAT_TEXT);
    cr_expect_eq(drive_format_of("application/octet-stream", ".md"), DRIVE_FORMAT_NONE);
    cr_expect_eq(drive_format_of("application/octet-stream", "a.bin"), DRIVE_FORMAT_NONE);
    cr_expect_eq(drive_format_of("image/png", "a.md"), DRIVE_FORMAT_NONE);
}

/* ---- The table ---- */

static struct drive_nodes nodes;

/* id|name|parents with ','|mime: "d" a folder, "s" a shortcut to the id after it|created */
static struct drive_node *put(const char *id, const char *name, const char *parents,
                              const char *kind, int age)
{
    char created[32], list[128] = "";
    snprintf(created, sizeof(created), "2026-01-01T00:00:%02dZ", age);
    json_t *file = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "name", name, "mimeType",
                             kind[0] == 'd'   ? DRIVE_FOLDER
                             : kind[0] == 's' ? DRIVE_SHORTCUT
                                              : "text/plain",
                             "createdTime", created, "md5Checksum", id);
    json_t *array = json_array();
    snprintf(list, sizeof(list), "%s", parents);
    for (char *rest = list, *one; (one = strsep(&rest, ",")) != NULL;)
        if (one[0] != '\0') json_array_append_new(array, json_string(one));
    json_object_set_new(file, "parents", array);
    if (kind[0] == 's')
        json_object_set_new(file, "shortcutDetails", json_pack("{s:s}", "targetId", kind + 1));
    struct drive_node *node = drive_node_read(file);
    cr_assert_not_null(node);
    json_decref(file);
    cr_assert_geq(drive_nodes_put(&nodes, node), 0);
    return node;
}

/* All paths with the ids, "a=1 b/c=2", and what is lost after a '!'. */
static const char *paths(bool whole_user)
{
    static char text[4096];
    struct drive_places places = {0};
    text[0] = '\0';
    cr_assert_eq(drive_places_find(&nodes, whole_user, &places), 0);
    for (size_t i = 0; i < places.count; i++) {
        cr_expect_eq(drive_places_node(&places, places.list[i].path), places.list[i].node);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s=%s", i > 0 ? " " : "",
                 places.list[i].path, places.list[i].node->id);
    }
    for (size_t i = 0; i < places.lost_count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " !%.40s", places.lost[i].path);
    drive_places_free(&places);
    cr_assert_eq(drive_nodes_sweep(&nodes), 0);
    return text;
}

static void forget(void)
{
    drive_nodes_free(&nodes);
}

TestSuite(drive_places, .fini = forget, .timeout = 600);

Test(drive_places, are_made_of_the_folders_names)
{
    put("f", "Hand/book", "root", "d", 0);
    put("g", "..", "f", "d", 0);
    put("1", "a\tb", "g", "", 0);
    put("2", "top", "unseen", "", 0);
    cr_expect_str_eq(paths(true), "Hand_book/__/a_b=1 top=2");
}

Test(drive_places, only_what_is_below_chosen_folders)
{
    put("f", "F", "x", "d", 0)->root = true;
    put("g", "G", "f", "d", 0)->root = true;
    put("1", "one", "g", "", 0);
    put("2", "two", "elsewhere", "", 0);
    cr_expect_str_eq(paths(false), "F/G/one=1");
    cr_expect_null(drive_nodes_find(&nodes, "2"), "it is not kept");
    cr_expect_not_null(drive_nodes_find(&nodes, "f"));
}

Test(drive_places, names_that_repeat_are_kept_apart_for_good)
{
    put("1", "Plan.md", "", "", 2);
    put("2", "Plan.md", "", "", 1);
    put("3", "Plan.md", "", "", 3);
    put("d", "D", "", "d", 1);
    put("e", "D", "", "d", 2);
    put("4", "x", "d", "", 0);
    put("5", "x", "e", "", 0);
    char before[4096];
    snprintf(before, sizeof(before), "%s", paths(true));
    cr_expect_not_null(strstr(before, "Plan.md=2"), "the oldest keeps it: %s", before);
    cr_expect_not_null(strstr(before, "Plan (6b86b273).md=1"), "%s", before);
    cr_expect_not_null(strstr(before, "D/x=4 "), "%s", before);
    cr_expect_not_null(strstr(before, "D (3f79bb7b)/x=5"), "%s", before);
    /* The first goes: nothing else moves, not through the cursor either. */
    drive_nodes_find(&nodes, "2")->gone = true;
    json_t *kept = drive_nodes_write(&nodes);
    drive_nodes_free(&nodes);
    cr_assert_eq(drive_nodes_read(&nodes, kept), 0);
    json_decref(kept);
    const char *after = paths(true);
    cr_expect_null(strstr(after, "Plan.md="), "%s", after);
    cr_expect_not_null(strstr(after, "Plan (6b86b273).md=1"), "%s", after);
    /* A new one takes the free name; one that is renamed loses its mark. */
    put("6", "Plan.md", "", "", 9);
    put("1", "Other.md", "", "", 2);
    after = paths(true);
    cr_expect_not_null(strstr(after, "Plan.md=6"), "%s", after);
    cr_expect_not_null(strstr(after, "Other.md=1"), "%s", after);
}

Test(drive_places, a_name_that_looks_like_a_mark_is_no_trap)
{
    put("1", "a", "", "", 1);
    put("2", "a", "", "", 2);
    put("3", "a (d4735e3a)", "", "", 0); /* what "2" gets */
    const char *found = paths(true);
    cr_expect_not_null(strstr(found, "a (d4735e3a)=3"), "%s", found);
    cr_expect_not_null(strstr(found, "a (d4735e3a265e"), "%s", found);
}

Test(drive_places, the_first_of_several_parents_counts)
{
    put("b", "B", "", "d", 0);
    put("a", "A", "", "d", 0);
    put("1", "x", "b,a,unseen", "", 0);
    cr_expect_str_eq(paths(true), "A/x=1");
}

Test(drive_places, parents_in_a_circle_have_no_place)
{
    put("a", "A", "b", "d", 0);
    put("b", "B", "a", "d", 0);
    put("1", "x", "a", "", 0);
    cr_expect_str_eq(paths(true), "");
}

Test(drive_places, shortcuts_are_followed_once)
{
    put("f", "F", "", "d", 0)->root = true;
    put("1", "x", "f", "", 0);
    put("s1", "again", "f", "s1", 1); /* to a place of its own */
    put("2", "real name", "away", "", 0)->outside = true;
    put("s2", "young", "f", "s2", 9);
    put("s3", "old", "f", "s2", 3);
    put("g", "G", "away", "d", 0)->outside = true;
    put("3", "y", "g", "", 0)->outside = true;
    put("s4", "more", "f", "sg", 1);
    put("s5", "circle", "g", "sg", 1)->outside = true;
    put("s6", "up", "g", "sf", 1)->outside = true;
    put("s7", "nowhere", "f", "sz", 1);
    cr_expect_str_eq(paths(false), "F/more/y=3 F/old=2 F/x=1 !F/nowhere");
}

Test(drive_places, a_path_that_is_too_long_is_lost)
{
    char name[300], id[16], parent[16] = "root";
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "f%d", i);
        put(id, name, parent, "d", 0);
        snprintf(parent, sizeof(parent), "%s", id);
    }
    put("1", "x", parent, "", 0);
    cr_expect_eq(strncmp(paths(true), " !nnn", 5), 0);
}

Test(drive_places, many)
{
    char id[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(id, sizeof(id), "n%d", i);
        put(id, "same", i % 2 ? "f" : "", i == 0 ? "d" : "", i % 60);
    }
    struct drive_places places = {0};
    cr_assert_eq(drive_places_find(&nodes, true, &places), 0);
    cr_expect_eq(places.count, 19999);
    for (size_t i = 1; i < places.count; i++)
        cr_assert_lt(strcmp(places.list[i - 1].path, places.list[i].path), 0, "%s",
                     places.list[i].path);
    drive_places_free(&places);
}

Test(drive_places, putting_tells_what_changed)
{
    put("1", "x", "f", "", 0);
    struct drive_node *node = put("1", "x", "f", "", 0);
    json_t *file = json_pack("{s:s, s:s, s:s}", "id", "1", "name", "x", "mimeType", "text/plain");
    cr_expect_eq(drive_nodes_put(&nodes, drive_node_read(file)), 1);
    cr_expect_eq(drive_nodes_put(&nodes, drive_node_read(file)), 0);
    node = drive_nodes_find(&nodes, "1");
    node->gone = true;
    cr_expect_null(drive_nodes_find(&nodes, "1"));
    cr_expect_eq(drive_nodes_put(&nodes, drive_node_read(file)), 1, "it is back");
    json_object_set_new(file, "id", json_string("a/b"));
    cr_expect_null(drive_node_read(file));
    json_decref(file);
}

Test(drive_places, the_sha_tells_contents_apart)
{
    char one[65], two[65];
    json_t *file = json_pack("{s:s, s:s, s:s, s:s}", "id", "1", "name", "x", "mimeType",
                             "application/vnd.google-apps.document", "modifiedTime", "t1");
    struct drive_node *node = drive_node_read(file);
    drive_node_sha(node, one);
    drive_node_free(node);
    json_object_set_new(file, "modifiedTime", json_string("t2"));
    node = drive_node_read(file);
    drive_node_sha(node, two);
    cr_expect_str_neq(one, two);
    cr_expect_eq(strlen(two), 64);
    drive_node_free(node);
    json_object_set_new(file, "md5Checksum", json_string("0123"));
    node = drive_node_read(file);
    drive_node_sha(node, two);
    cr_expect_str_eq(two, "0123");
    drive_node_free(node);
    json_decref(file);
}
