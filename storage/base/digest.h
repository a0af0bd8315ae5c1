/* digest.h: the hashes that documents and chunks are known by, and that signatures are made of. */
#ifndef STORAGE_BASE_DIGEST_H
#define STORAGE_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, GIT_SHA_HEX = 41 };

/* SHA-256 (FIPS 180-4) of length bytes. */
void digest_sha256(const void *bytes, size_t length, uint8_t out[SHA256_SIZE]);

/* HMAC with SHA-256 (RFC 2104) of length bytes, by a key of text. */
void digest_hmac_sha256(const char *key, const void *bytes, size_t length,
                        uint8_t out[SHA256_SIZE]);

/* Bytes as two hexadecimal digits each, in lower case, and a '\0' behind them. */
void digest_hex(const uint8_t *bytes, size_t count, char *out);

/* Whether two runs of bytes are the same, in a time that does not tell where they differ. */
bool digest_equal(const void *one, const void *other, size_t length);

/* The object name git gives a file with this content: hexadecimal SHA-1 of "blob <length>\0" and
 * the content, NUL-terminated. A document read from a directory so has the same `sha` as the same
 * file read through the GitHub API. */
void digest_git_blob(const void *bytes, size_t length, char out[GIT_SHA_HEX]);

#endif
