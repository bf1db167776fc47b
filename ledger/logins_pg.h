/*
 * logins_pg.h - a PostgreSQL login for each kind of process, a member of its role and of nothing
 * else. The roles and their rights are the schema's (002_roles.sql and those behind it).
 */
#ifndef LEDGER_LOGINS_PG_H
#define LEDGER_LOGINS_PG_H

#include "base/db_pg.h"

/* Makes the login, or gives the one that is there this password and this role. The server is sent a
 * SCRAM verifier, from which the password cannot be read back. ERR_FATAL when we may not, or when
 * the name belongs to a superuser. */
MUST_CHECK bool login_set(struct db *db, const char *login, const char *role, const char *password,
                          bool *made, struct err *err);

#endif
