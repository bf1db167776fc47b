/*
 * certificate.c - see certificate.h. The texts are kept and made into keys for each handshake, so
 * that none can go while one is under way.
 */
#include "gateway/certificate.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_SIZE_MAX = 64 * 1024, CHAIN_MAX = 16 };

struct pem {
    unsigned char *text; /* malloc'ed */
    unsigned size;
    struct stat as_of;
};

struct pair {
    struct pem cert, key;
};

static struct {
    const char *cert_path, *key_path;
    pthread_mutex_t lock; /* of the pair in use */
    struct pair pair;
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void pair_free(struct pair *pair)
{
    if (pair->key.text != NULL) gnutls_memset(pair->key.text, 0, pair->key.size);
    free(pair->cert.text);
    free(pair->key.text);
    *pair = (struct pair){.cert = {.text = NULL}};
}

static bool read_pem(const char *setting, const char *path, struct pem *out, struct err *err)
{
    FILE *file = fopen(path, "re");
    unsigned char *text = malloc(FILE_SIZE_MAX);
    bool ok = file != NULL && text != NULL && fstat(fileno(file), &out->as_of) == 0;

    if (!ok) err_set(err, ERR_FATAL, "%s: could not open '%s': %s", setting, path, strerror(errno));
    if (ok) {
        size_t size = fread(text, 1, FILE_SIZE_MAX, file);
        ok = size > 0 && size < FILE_SIZE_MAX && ferror(file) == 0;
        out->text = text;
        out->size = (unsigned)size;
        if (!ok)
            err_set(err, ERR_FATAL, "%s: '%s' could not be read, is empty, or over %d bytes",
                    setting, path, FILE_SIZE_MAX - 1);
    } else {
        free(text);
    }
    if (file != NULL) (void)fclose(file);
    return ok;
}

/* That both are PEM, and belong together. */
static bool check(const struct pair *pair, struct err *err)
{
    gnutls_certificate_credentials_t credentials;
    const gnutls_datum_t cert = {pair->cert.text, pair->cert.size};
    const gnutls_datum_t key = {pair->key.text, pair->key.size};
    int result = gnutls_certificate_allocate_credentials(&credentials);

    if (result == GNUTLS_E_SUCCESS) {
        result = gnutls_certificate_set_x509_key_mem(credentials, &cert, &key, GNUTLS_X509_FMT_PEM);
        gnutls_certificate_free_credentials(credentials);
    }
    if (result >= 0) return true;
    return err_set(err, ERR_FATAL,
                   "LEDGER_HTTP_TLS_CERT, LEDGER_HTTP_TLS_KEY: '%s' and '%s' are no certificate "
                   "and its key in PEM: %s",
                   own.cert_path, own.key_path, gnutls_strerror(result));
}

static bool load(struct pair *out, struct err *err)
{
    *out = (struct pair){.cert = {.text = NULL}};
    if (read_pem("LEDGER_HTTP_TLS_CERT", own.cert_path, &out->cert, err) &&
        read_pem("LEDGER_HTTP_TLS_KEY", own.key_path, &out->key, err) && check(out, err))
        return true;
    pair_free(out);
    return false;
}

static void use(const struct pair *fresh)
{
    (void)pthread_mutex_lock(&own.lock);
    struct pair old = own.pair;
    own.pair = *fresh;
    (void)pthread_mutex_unlock(&own.lock);
    pair_free(&old);
}

bool certificate_open(const char *cert_path, const char *key_path, struct err *err)
{
    struct pair fresh;

    assert(own.cert_path == NULL);
    own.cert_path = cert_path;
    own.key_path = key_path;
    if (!load(&fresh, err)) return false;
    use(&fresh);
    return true;
}

void certificate_close(void)
{
    const struct pair none = {.cert = {.text = NULL}};

    use(&none);
}

static bool is_as_of(const char *path, const struct pem *pem)
{
    struct stat now;

    return stat(path, &now) == 0 && now.st_ino == pem->as_of.st_ino &&
           now.st_size == pem->as_of.st_size && now.st_mtim.tv_sec == pem->as_of.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == pem->as_of.st_mtim.tv_nsec;
}

/* The thread that refreshes is the only one that writes, so it reads without the lock. */
bool certificate_refresh(bool *changed, struct err *err)
{
    struct pair fresh;

    *changed = false;
    if (is_as_of(own.cert_path, &own.pair.cert) && is_as_of(own.key_path, &own.pair.key))
        return true;
    if (!load(&fresh, err)) return false;
    use(&fresh);
    *changed = true;
    return true;
}

/* Under the lock. */
static int copy_pair(gnutls_pcert_st *chain, unsigned *length, gnutls_privkey_t key)
{
    const gnutls_datum_t cert_text = {own.pair.cert.text, own.pair.cert.size};
    const gnutls_datum_t key_text = {own.pair.key.text, own.pair.key.size};
    int result = gnutls_privkey_import_x509_raw(key, &key_text, GNUTLS_X509_FMT_PEM, NULL, 0);

    if (result != GNUTLS_E_SUCCESS) return result;
    return gnutls_pcert_list_import_x509_raw(chain, length, &cert_text, GNUTLS_X509_FMT_PEM, 0);
}

int certificate_choose(gnutls_session_t session, const struct gnutls_cert_retr_st *asked,
                       gnutls_pcert_st **chain, unsigned *chain_length, gnutls_ocsp_data_st **ocsp,
                       unsigned *ocsp_length, gnutls_privkey_t *key, unsigned *flags)
{
    int result = GNUTLS_E_MEMORY_ERROR;

    (void)session;
    (void)asked;
    *chain_length = CHAIN_MAX;
    *ocsp = NULL;
    *ocsp_length = 0;
    *flags = GNUTLS_CERT_RETR_DEINIT_ALL;
    *key = NULL;
    *chain = gnutls_calloc(CHAIN_MAX, sizeof **chain);
    if (*chain != NULL) result = gnutls_privkey_init(key);
    if (result == GNUTLS_E_SUCCESS) {
        (void)pthread_mutex_lock(&own.lock);
        result = copy_pair(*chain, chain_length, *key);
        (void)pthread_mutex_unlock(&own.lock);
    }
    if (result == GNUTLS_E_SUCCESS) return 0;
    gnutls_privkey_deinit(*key);
    gnutls_free(*chain);
    *chain = NULL;
    return -1;
}
