/*
 * admin.c - verbs that care for the database: migrate, rebase.
 */
#include "ledger/migrate_pg.h"
#include "ledgerctl/ledgerctl.h"
#include "outbox/outbox_pg.h"

#include <stdio.h>

enum { CONNECT_MS = 5000, REBASE_ANSWER_MS = 3600 * 1000 /* each row of the outbox is changed */ };

bool open_db(const struct options *options, uint32_t answer_ms, struct db **db, struct err *err)
{
    struct db_options db_options = {.url = options->database_url,
                                    .application_name = "ledgerctl",
                                    .connect_timeout_ms = CONNECT_MS,
                                    .answer_timeout_ms = answer_ms};
    return db_open(db, &db_options, err);
}

static void show_migration(const char *name)
{
    printf("applied %s\n", name);
}

enum exit_code run_migrate(const struct options *options, const char *verb, char **arguments)
{
    struct err err = {0};
    struct db *db = NULL;
    uint32_t applied = 0;
    bool ok;

    (void)verb;
    (void)arguments;
    ok = open_db(options, 600 * 1000, &db, &err) && migrate_run(db, &applied, show_migration, &err);
    db_close(db);
    if (!ok) return complain_err(&err);
    if (applied == 0) printf("the schema is up to date\n");
    return EXIT_DONE;
}

enum exit_code run_rebase(const struct options *options, const char *verb, char **arguments)
{
    struct err err = {0};
    struct db *db = NULL;
    bool ok;

    (void)verb;
    ok = open_db(options, REBASE_ANSWER_MS, &db, &err) && migrate_check(db, &err) &&
         outbox_rebase(db, arguments[0], options->from_start, &err);
    db_close(db);
    if (!ok) return complain_err(&err);
    printf("sink %s goes on %s\n", arguments[0],
           options->from_start ? "from the oldest row that the outbox holds"
                               : "with what comes from now on");
    return EXIT_DONE;
}
