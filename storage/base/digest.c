#include "storage/base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libcrypto fails here only when memory runs out or the algorithm was configured away; there is no
 * answer a caller could give that would be right. */
static void require(int ok)
{
    if (ok != 1) {
        fputs("tekupdb: libcrypto could not compute a hash\n", stderr);
        abort();
    }
}

void digest_sha256(const void *bytes, size_t length, uint8_t out[SHA256_SIZE])
{
    require(EVP_Digest(bytes, length, out, NULL, EVP_sha256(), NULL));
}

void digest_hmac_sha256(const char *key, const void *bytes, size_t length, uint8_t out[SHA256_SIZE])
{
    require(HMAC(EVP_sha256(), key, (int)strlen(key), bytes, length, out, NULL) != NULL);
}

bool digest_equal(const void *one, const void *other, size_t length)
{
    return CRYPTO_memcmp(one, other, length) == 0;
}

void digest_hex(const uint8_t *bytes, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void digest_git_blob(const void *bytes, size_t length, char out[GIT_SHA_HEX])
{
    uint8_t digest[20];
    char header[32];
    const int header_length = snprintf(header, sizeof(header), "blob %zu", length) + 1;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    require(context != NULL);
    require(EVP_DigestInit_ex(context, EVP_sha1(), NULL));
    require(EVP_DigestUpdate(context, header, (size_t)header_length));
    require(EVP_DigestUpdate(context, bytes, length));
    require(EVP_DigestFinal_ex(context, digest, NULL));
    EVP_MD_CTX_free(context);
    digest_hex(digest, sizeof(digest), out);
}
