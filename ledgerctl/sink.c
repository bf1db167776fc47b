/*
 * sink.c - the verb that registers and drops the sinks of the outbox.
 */
#include "ledger/migrate_pg.h"
#include "ledgerctl/ledgerctl.h"
#include "outbox/sinks_pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MS = 60 * 1000 }; /* rows are counted */

/* Names need no escaping. */
static void show(const struct options *options, const struct sink_state *state, bool first)
{
    if (options->output == OUTPUT_JSON)
        printf("%s{\"sink\":\"%s\",\"relay\":%s,\"epoch\":%" PRIu64 ",\"saved_seconds\":%" PRIu64
               ",\"rows\":%" PRIu64 "}",
               first ? "" : ",", state->name, state->leads ? "true" : "false", state->epoch,
               state->saved_s, state->rows);
    else
        printf("%-12s %-8s %8" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n", state->name,
               state->leads ? "running" : "none", state->epoch, state->saved_s, state->rows);
}

static bool list(const struct options *options, struct db *db, struct err *err)
{
    struct sink_state states[SINKS_MAX];
    uint32_t count = 0;

    if (!sinks_list(db, states, &count, err)) return false;
    if (options->output == OUTPUT_JSON)
        printf("[");
    else
        printf("%-12s %-8s %8s %12s %12s\n", "SINK", "RELAY", "EPOCH", "SAVED (s)", "ROWS LEFT");
    for (uint32_t i = 0; i < count; i++) show(options, &states[i], i == 0);
    if (options->output == OUTPUT_JSON) printf("]\n");
    return true;
}

static bool add(const struct options *options, struct db *db, const char *name, struct err *err)
{
    bool added = false;

    if (!sinks_add(db, name, options->from_start, &added, err)) return false;
    if (!added)
        return err_set(err, ERR_REJECT,
                       "sink %s was registered before; ledgerctl rebase moves its cursor", name);
    printf("sink %s begins %s\n", name,
           options->from_start ? "at the oldest row that the outbox holds"
                               : "with what comes from now on");
    return true;
}

static bool drop(struct db *db, const char *name, struct err *err)
{
    bool dropped = false;

    if (!sinks_drop(db, name, &dropped, err)) return false;
    if (!dropped) return err_set(err, ERR_REJECT, "there is no sink %s", name);
    printf("sink %s is dropped: the outbox waits for it no more\n", name);
    return true;
}

enum exit_code run_sink(const struct options *options, const char *verb, char **arguments)
{
    const char *name = arguments[1];
    bool lists = strcmp(arguments[0], "list") == 0 && name == NULL;
    bool adds = strcmp(arguments[0], "add") == 0 && name != NULL;
    bool drops = strcmp(arguments[0], "drop") == 0 && name != NULL;
    struct err err = {0};
    struct db *db = NULL;

    if (!lists && !adds && !drops)
        return complain(EXIT_USAGE, "usage: ledgerctl %s list | add SINK | drop SINK", verb);
    bool ok = open_db(options, ANSWER_MS, &db, &err) && migrate_check(db, &err);
    if (ok && lists) ok = list(options, db, &err);
    if (ok && adds) ok = add(options, db, name, &err);
    if (ok && drops) ok = drop(db, name, &err);
    db_close(db);
    return ok ? EXIT_DONE : complain_err(&err);
}
