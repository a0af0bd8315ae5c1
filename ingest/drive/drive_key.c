/* drive_key.c: reads the key with OpenSSL and signs with it. */
#include "ingest/drive/drive_key.h"

#include "storage/base/buffer.h"

#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LIFE_S = 3600, SKEW_S = 60, KEY_BITS_LEAST = 2048 };

/* Base64 of URLs without padding (RFC 4648, 5), which the caller frees; NULL: out of memory. */
static char *base64url(const void *bytes, size_t length)
{
    char *text = malloc(4 * ((length + 2) / 3) + 1);
    if (text == NULL) return NULL;
    int end = EVP_EncodeBlock((unsigned char *)text, bytes, (int)length);
    while (end > 0 && text[end - 1] == '=') end--;
    text[end] = '\0';
    for (char *c = text; *c != '\0'; c++) *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    return text;
}

/* Nobody is there to be asked for a passphrase. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

static EVP_PKEY *read_pem(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    if (bio == NULL) return NULL;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static char *copy_string(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && text[0] != '\0' ? strdup(text) : NULL;
}

static int read_object(const json_t *object, const char *field, struct drive_key *key,
                       struct error *err)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    const char *pem = json_string_value(json_object_get(object, "private_key"));
    if (type != NULL && strcmp(type, "service_account") != 0)
        return error_set(err, ERR_INVALID, field,
                         "the key file is of another kind than \"service_account\"; make a key for "
                         "a service account in the Google Cloud console, as JSON");
    key->email = copy_string(object, "client_email");
    key->key_id = copy_string(object, "private_key_id");
    key->token_url = copy_string(object, "token_uri");
    if (key->email == NULL || pem == NULL)
        return error_set(err, ERR_INVALID, field,
                         "the key file has no %s; it must be the JSON file that the Google Cloud "
                         "console gives for a key of a service account",
                         key->email == NULL ? "client_email" : "private_key");
    EVP_PKEY *private_key = read_pem(pem);
    key->private_key = private_key;
    if (private_key == NULL || !EVP_PKEY_is_a(private_key, "RSA") ||
        EVP_PKEY_get_bits(private_key) < KEY_BITS_LEAST)
        return error_set(err, ERR_INVALID, field,
                         "private_key in the key file is not an RSA key of at least %d bits in PEM",
                         KEY_BITS_LEAST);
    return 0;
}

int drive_key_read(const char *text, const char *field, struct drive_key *key, struct error *err)
{
    *key = (struct drive_key){0};
    json_t *object = json_loads(text, 0, NULL);
    if (object == NULL) return error_set(err, ERR_INVALID, field, "the key file is not valid JSON");
    const int result = read_object(object, field, key, err);
    json_decref(object);
    return result;
}

void drive_key_free(struct drive_key *key)
{
    free(key->email);
    free(key->key_id);
    free(key->token_url);
    EVP_PKEY_free(key->private_key);
    *key = (struct drive_key){0};
}

/* The JSON object as base64; releases the object. */
static char *encode(json_t *object)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    char *encoded = text != NULL ? base64url(text, strlen(text)) : NULL;
    free(text);
    return encoded;
}

static json_t *make_header(const struct drive_key *key)
{
    json_t *header = json_pack("{s:s, s:s}", "alg", "RS256", "typ", "JWT");
    if (header != NULL && key->key_id != NULL)
        json_object_set_new(header, "kid", json_string(key->key_id));
    return header;
}

static json_t *make_claims(const struct drive_key *key, const char *scope, const char *audience,
                           const char *subject, time_t now)
{
    const json_int_t issued = (json_int_t)now - SKEW_S;
    json_t *claims = json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", key->email, "scope", scope,
                               "aud", audience, "iat", issued, "exp", issued + LIFE_S);
    if (claims != NULL && subject != NULL) json_object_set_new(claims, "sub", json_string(subject));
    return claims;
}

static char *make_signature(const struct drive_key *key, const struct buffer *signed_part)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *bytes = NULL;
    char *encoded = NULL;
    size_t length = 0;
    const unsigned char *message = (const unsigned char *)signed_part->data;
    if (context != NULL &&
        EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->private_key) == 1 &&
        EVP_DigestSign(context, NULL, &length, message, signed_part->length) == 1 &&
        (bytes = malloc(length)) != NULL &&
        EVP_DigestSign(context, bytes, &length, message, signed_part->length) == 1)
        encoded = base64url(bytes, length);
    free(bytes);
    EVP_MD_CTX_free(context);
    return encoded;
}

char *drive_key_sign(const struct drive_key *key, const char *scope, const char *audience,
                     const char *subject, time_t now, struct error *err)
{
    struct buffer token = {0};
    char *header = encode(make_header(key));
    char *claims = encode(make_claims(key, scope, audience, subject, now));
    char *signature = NULL;
    if (header != NULL && claims != NULL) {
        buffer_format(&token, "%s.%s", header, claims);
        if (!token.failed) signature = make_signature(key, &token);
        if (signature != NULL) buffer_format(&token, ".%s", signature);
    }
    free(header);
    free(claims);
    char *text = signature != NULL ? buffer_take(&token) : NULL;
    free(signature);
    buffer_free(&token);
    if (text == NULL)
        error_set(err, ERR_INTERNAL, NULL, "the service account's key could not sign");
    return text;
}
