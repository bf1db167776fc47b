/*
 * ledgerctl.h - what the parts of the command-line tool share.
 */
#ifndef LEDGERCTL_LEDGERCTL_H
#define LEDGERCTL_LEDGERCTL_H

#include "base/db_pg.h"
#include "client/ledger_client.h"

enum exit_code { /* as scripts see them */
                 EXIT_DONE = 0,
                 EXIT_FAILED = 1, /* refused by the ledger, or a check found differences */
                 EXIT_USAGE = 2,
                 EXIT_CONNECT =
                     5, /* no connection, or no answer in time: try again, with the same key */
};

enum { EXPECTED_MAX = 32, PUBLIC_KEYS_MAX = 16 };

enum output { OUTPUT_TABLE, OUTPUT_JSON };

struct options {
    char amqp_url[512], database_url[512], prefix[33], user_id[256];
    enum output output;
    const char *format, *at, *rejects; /* import */
    const char *expected[EXPECTED_MAX];
    uint32_t expected_count;
    uint32_t event_encoding;
    const char *key, *app_id, *asset, *user, *name, *kind, *metadata, *trace_id, *traceparent,
        *deadline, *expires_in, *to, *direction, *if_seq, *if_balance, *not_before, *not_after,
        *jobs, *from, *as_of, *limit, *cursor, *order, *trace, *max_amount, *daily_limit, *note,
        *checkpoints, *account, *scope, *overlap, *types;
    const char *public_keys[PUBLIC_KEYS_MAX];
    uint32_t public_keys_count;
    uint32_t timeout_ms;
    uint32_t http_port, shards;
    bool minor;   /* AMOUNT is in minor units */
    bool no_wait; /* publish, wait for the broker's confirm only */
    bool from_start;
    bool keep_rest; /* capture: the rest stays held */
    bool dry_run;
    bool ordered, webhook_private;
    bool independent;                                   /* batch: each command for itself */
    bool check, keep_going, events, changed, no_verify; /* import */
};

/* Each runs one verb over its arguments (those after the verb that are no options). */
enum exit_code run_command(const struct options *options, const char *verb, char **arguments);
enum exit_code run_migrate(const struct options *options, const char *verb, char **arguments);
enum exit_code run_database_logins(const struct options *options, const char *verb,
                                   char **arguments);
enum exit_code run_broker_definitions(const struct options *options, const char *verb,
                                      char **arguments);
enum exit_code run_verify(const struct options *options, const char *verb, char **arguments);
enum exit_code run_import_files(const struct options *options, const char *verb, char **arguments);
enum exit_code run_proof(const struct options *options, const char *verb, char **arguments);
enum exit_code run_check_proof(const struct options *options, const char *verb, char **arguments);
enum exit_code run_scheduled(const struct options *options, const char *verb, char **arguments);
enum exit_code run_sink(const struct options *options, const char *verb, char **arguments);
enum exit_code run_rebase(const struct options *options, const char *verb, char **arguments);
enum exit_code run_health(const struct options *options, const char *verb, char **arguments);
enum exit_code run_asset(const struct options *options, const char *verb, char **arguments);
enum exit_code run_policy(const struct options *options, const char *verb, char **arguments);
enum exit_code run_key(const struct options *options, const char *verb, char **arguments);
enum exit_code run_webhook(const struct options *options, const char *verb, char **arguments);

/* Of arguments and options. What is wrong is said. */
enum exit_code parse_amount(const struct options *options, const char *text, struct amount *out);
enum exit_code parse_number(const char *name, const char *text, int64_t least, int64_t most,
                            int64_t *out);

/* For verbs that go to the database past the broker; its owner's login. */
enum { ADMIN_ANSWER_MS = 10000 };
MUST_CHECK bool open_db(const struct options *options, uint32_t answer_ms, struct db **db,
                        struct err *err);

enum exit_code run_statement(const struct options *options, const char *verb, char **arguments);

/* Of get-balance and list-transactions. */
enum exit_code fill_as_of(const struct options *options, struct command *command);
enum exit_code fill_page(const struct options *options, struct command *command);
enum exit_code parse_time(const char *name, const char *text, int64_t *wall_us);

void print_entries_head(void);
void print_entry(const struct entry_view *view);
void print_reply(const struct options *options, struct codec *codec, const struct reply *reply);
/* One line on standard error, "ledgerctl: ...". */
enum exit_code complain(enum exit_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum exit_code complain_err(const struct err *err);

#endif
