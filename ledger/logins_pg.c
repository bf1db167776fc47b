/*
 * logins_pg.c - see logins_pg.h. CREATE ROLE takes no parameters: the server quotes them into its
 * text first, so that no quoting is done here.
 */
#include "ledger/logins_pg.h"

#include "base/query_pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERIFIER_SIZE = 256 };

static const struct statement login_text = {
    "login_text",
    "SELECT there.rolname IS NULL, coalesce(there.rolsuper, false),"
    "       format('%1$s ROLE %2$I LOGIN PASSWORD %3$L; GRANT %4$I TO %2$I',"
    "              CASE WHEN there.rolname IS NULL THEN 'CREATE' ELSE 'ALTER' END,"
    "              $1::text, $3::text, $2::text)"
    "  FROM (SELECT 1) AS one LEFT JOIN pg_roles AS there ON there.rolname = $1::text"};

static bool run_text(struct db *db, const PGresult *row, const char *login, struct err *err)
{
    struct text text = cell_text(row, 0, 2);

    if (cell_bool(row, 0, 1))
        return err_set(err, ERR_FATAL, "could not set the login %s: it is a superuser's", login);
    char *sql = strndup(text.bytes, text.length);
    if (sql == NULL) return err_set(err, ERR_RETRY, "could not set the login: out of memory");
    bool ok = db_run(db, sql, err);
    free(sql);
    return ok;
}

bool login_set(struct db *db, const char *login, const char *role, const char *password, bool *made,
               struct err *err)
{
    char verifier[VERIFIER_SIZE];
    PGresult *row = NULL;

    if (!db_verifier(db, login, password, verifier, sizeof verifier, err)) return false;
    const struct param params[] = {{login, (uint32_t)strlen(login)},
                                   {role, (uint32_t)strlen(role)},
                                   {verifier, (uint32_t)strlen(verifier)}};
    bool ok = query_one(db, &login_text, params, 3, &row, err);
    if (ok) *made = cell_bool(row, 0, 0);
    ok = ok && run_text(db, row, login, err);
    PQclear(row);
    if (!ok) query_abandon(db);
    return ok;
}
