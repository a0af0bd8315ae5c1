/* embed_absent.c: a model that the vault has embeddings of and that cannot be asked for more. */
#include "ingest/embedding/embed_provider.h"

#include <stdlib.h>

static int embed(void *state, const struct embed_call *call, struct error *err)
{
    (void)call;
    return error_set(err, ERR_UNAVAILABLE, NULL, "%s", (const char *)state);
}

const struct embed_provider embed_absent = {.name = "none", .embed = embed, .close = free};
