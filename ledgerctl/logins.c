/*
 * logins.c - the verb database-logins: one PostgreSQL login for each kind of process whose password
 * lies in the folder.
 */
#include "ledger/logins_pg.h"
#include "ledger/migrate_pg.h"
#include "ledgerctl/ledgerctl.h"
#include "ledgerctl/password.h"

#include <stdio.h>
#include <string.h>

static const char *const KINDS[] = {"worker",   "relay",    "notary", "gateway",
                                    "webhooks", "operator", "reader"};
enum { KINDS_COUNT = sizeof KINDS / sizeof KINDS[0], NAME_SIZE = 64 };

static bool set_one(const struct options *options, struct db *db, const char *folder,
                    const char *kind, uint32_t *count, struct err *err)
{
    char password[PASSWORD_SIZE], login[NAME_SIZE], role[NAME_SIZE];
    bool there, made = false;

    if (!password_read(folder, kind, password, &there, err)) return false;
    if (!there) return true;
    (void)snprintf(login, sizeof login, "%s-%s", options->prefix, kind);
    (void)snprintf(role, sizeof role, "ledger_%s", kind);
    bool ok = login_set(db, login, role, password, &made, err);
    explicit_bzero(password, sizeof password);
    if (ok) printf("%s is %s, a member of %s\n", login, made ? "made" : "there", role);
    (*count)++;
    return ok;
}

enum exit_code run_database_logins(const struct options *options, const char *verb,
                                   char **arguments)
{
    struct err err = {0};
    struct db *db = NULL;
    uint32_t count = 0;

    (void)verb;
    bool ok = open_db(options, ADMIN_ANSWER_MS, &db, &err) && migrate_check(db, &err);
    for (size_t i = 0; ok && i < KINDS_COUNT; i++)
        ok = set_one(options, db, arguments[0], KINDS[i], &count, &err);
    db_close(db);
    if (!ok) return complain_err(&err);
    if (count == 0)
        return complain(EXIT_USAGE,
                        "%s has none of worker, relay, notary, gateway, webhooks, operator, reader",
                        arguments[0]);
    return EXIT_DONE;
}
