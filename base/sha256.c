/*
 * sha256.c - see sha256.h.
 */
#include "base/sha256.h"

#include <assert.h>
#include <openssl/evp.h>
#include <threads.h>

static EVP_MD *algorithm;
static tss_t contexts; /* frees a thread's context as the thread ends */
static once_flag once = ONCE_FLAG_INIT;
static thread_local EVP_MD_CTX *context;

static void context_free(void *ended)
{
    EVP_MD_CTX_free(ended);
}

/* Fetching by name walks the providers' tables, which costs more than the hash. */
static void set_up(void)
{
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    int done = tss_create(&contexts, context_free);
    assert(algorithm != NULL);
    assert(done == thrd_success);
}

static void context_make(void)
{
    call_once(&once, set_up);
    context = EVP_MD_CTX_new();
    int done = tss_set(contexts, context);
    assert(context != NULL);
    assert(done == thrd_success);
}

void sha256_begin(void)
{
    if (context == NULL) context_make();
    int done = EVP_DigestInit_ex2(context, algorithm, NULL);
    assert(done == 1);
}

void sha256_add(const void *data, size_t size)
{
    if (size == 0) return;
    int done = EVP_DigestUpdate(context, data, size);
    assert(done == 1);
}

void sha256_end(struct sha256 *out)
{
    int done = EVP_DigestFinal_ex(context, out->bytes, NULL);
    assert(done == 1);
}
