/*
 * db_explain_pg.c - what to do about a connection that TLS prevents. libpq says of a certificate
 * only that it was refused; so it is looked at once more, by ourselves, for the reason.
 */
#include "base/db_internal_pg.h"
#include "base/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_MS = 2000 };

static const struct {
    const char *says, *hint;
} hints[] = {
    {"certificate verify failed", "; is sslrootcert the file of its CA?"},
    {"does not match host name", "; use such a name in the URL, or have a certificate made for it"},
    {"server does not support SSL", "; set ssl = on there, or take sslmode out of the URL"},
    {"no encryption", "; use sslmode=verify-full&sslrootcert=PATH in the URL"},
    {"root certificate file", " (sslrootcert)"},
};

/* Into files, as the URL or the environment gave it. */
static bool find_root(PGconn *conn, struct tls_files *files)
{
    PQconninfoOption *options = PQconninfo(conn);
    bool found = false;

    for (const PQconninfoOption *one = options; one != NULL && one->keyword != NULL; one++) {
        if (strcmp(one->keyword, "sslrootcert") != 0 || one->val == NULL) continue;
        int length = snprintf(files->ca, sizeof files->ca, "%s", one->val);
        found = length > 0 && length < (int)sizeof files->ca;
    }
    PQconninfoFree(options);
    return found;
}

static bool look_again(PGconn *conn, struct err *err)
{
    struct tls_files files = {.ca = ""};
    const struct tls_options options = {.server = "PostgreSQL",
                                        .plain = "sslmode=disable",
                                        .host = PQhost(conn),
                                        .port = (int)strtol(PQport(conn), NULL, 10),
                                        .files = &files,
                                        .timeout_ms = LOOK_MS,
                                        .linger_ms = 0,
                                        .asks_postgres = true};
    struct tls *tls;
    struct err found;
    int plain;

    if (options.host == NULL || options.host[0] == '/' || !find_root(conn, &files)) return false;
    if (tls_open(&tls, &plain, &options, &found)) { /* mended in the meantime */
        (void)close(plain);
        tls_close(tls, NULL);
        return false;
    }
    if (strstr(found.text, "its certificate") == NULL) return false;
    *err = found;
    return true;
}

void db_explain_tls(PGconn *conn, struct err *err)
{
    if (strstr(err->text, "certificate verify failed") != NULL && look_again(conn, err)) return;
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        size_t length = strlen(err->text);
        if (strstr(err->text, hints[i].says) == NULL) continue;
        (void)snprintf(err->text + length, sizeof err->text - length, "%s", hints[i].hint);
        return;
    }
}
