/*
 * main.c - the command-line tool ledgerctl: options, and a table of verbs that also prints the
 * help.
 */
#include "base/config.h"
#include "base/version.h"
#include "ledgerctl/ledgerctl.h"
#include "protocol/names.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct options options = {.timeout_ms = 10000};

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_AMQP_URL", SETTING_TEXT, options.amqp_url, sizeof options.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ, for commands and queries"},
    {"LEDGER_DATABASE_URL", SETTING_TEXT, options.database_url, sizeof options.database_url, "postgresql://127.0.0.1:5432/ledger",
     0, 0, NULL, true, "PostgreSQL, for migrate, database-logins, asset, policy, key, webhook, import, verify, scheduled, sink and rebase"},
    {"LEDGER_EVENT_FORMAT", SETTING_CHOICE, &options.event_encoding, 0, "msgpack",
     0, 0, "msgpack|json", false, "import --events: as the workers have it"},
    {"LEDGER_HTTP_PORT", SETTING_NUMBER, &options.http_port, 0, "8000",
     0, 65535, NULL, false, "health: of the process that is asked"},
    {"LEDGER_PREFIX", SETTING_TEXT, options.prefix, sizeof options.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
    {"LEDGER_SHARDS", SETTING_NUMBER, &options.shards, 0, "8",
     1, SHARDS_MAX, NULL, false, "broker-definitions: as the workers have it"},
    {"LEDGER_USER_ID", SETTING_TEXT, options.user_id, sizeof options.user_id, "",
     0, 0, NULL, false, "sent with commands, for the policy: the name of RabbitMQ's login; empty: none"},
    {"LEDGER_WEBHOOK_PRIVATE", SETTING_BOOL, &options.webhook_private, 0, "off",
     0, 0, NULL, false, "webhook add: http and addresses that are not public are allowed, as by ledger-webhooks"},
};

static const struct verb {
    const char *name, *arguments, *help;
    int least, most; /* arguments */
    enum exit_code (*run)(const struct options *, const char *, char **);
} VERBS[] = {
    {"open-account",    "ACCOUNT",            "opens an account; needs --user and --asset",          1, 1, run_command},
    {"deposit",         "ACCOUNT AMOUNT",     "money in, from the asset's world",                    2, 2, run_command},
    {"withdraw",        "ACCOUNT AMOUNT",     "money out, to the asset's world",                     2, 2, run_command},
    {"transfer",        "FROM TO AMOUNT",     "from one account to another",                         3, 3, run_command},
    {"hold",            "ACCOUNT AMOUNT",     "reserves money; --expires-in SECONDS",                2, 2, run_command},
    {"capture",         "HOLD [AMOUNT]",      "takes what is held, or a part; --to, --keep-rest",    1, 2, run_command},
    {"release",         "HOLD",               "gives back what is held",                             1, 1, run_command},
    {"expire-hold",     "HOLD",               "ends a hold that is due; the worker does it by itself", 1, 1, run_command},
    {"reverse",         "TRANSACTION [AMOUNT]", "undoes a transaction, or a part of it, once",       1, 2, run_command},
    {"freeze-account",  "ACCOUNT",            "no more money in, out or both; --direction",          1, 1, run_command},
    {"unfreeze-account", "ACCOUNT",           "takes that back; --direction",                        1, 1, run_command},
    {"close-account",   "ACCOUNT",            "for ever; only at zero",                              1, 1, run_command},
    {"set-floor",       "ACCOUNT -- FLOOR",   "how far below zero it may go, as -100.00; 0: not at all", 2, 2, run_command},
    {"batch",           "FILE",               "a JSON list of commands, all or none; --independent", 1, 1, run_command},
    {"cancel",          "TRANSACTION",        "takes back what was scheduled and is not executed",   1, 1, run_command},
    {"update-user",     "USER",               "another name or metadata; --name, --metadata",        1, 1, run_command},
    {"get-user",        "USER",               "name and accounts",                                   1, 1, run_command},
    {"get-account",     "ACCOUNT",            "whose it is, its asset, its metadata",                1, 1, run_command},
    {"get-balance",     "ACCOUNT",            "balance, held, available, sequence number; --as-of",  1, 1, run_command},
    {"get-transaction", "TRANSACTION",        "both sides, amount, trace",                           1, 1, run_command},
    {"list-transactions", "ACCOUNT",          "its entries, the youngest first, a page at a time",   1, 1, run_command},
    {"statement",       "ACCOUNT",            "opening balance, entries, closing balance; --from, --to", 1, 1, run_statement},
    {"migrate",         "",                   "brings the database schema up to this version",       0, 0, run_migrate},
    {"database-logins", "FOLDER",             "a PostgreSQL login for each kind of process, passwords from files", 1, 1, run_database_logins},
    {"broker-definitions", "FOLDER",          "RabbitMQ's queues, users and permissions, to be imported", 1, 1, run_broker_definitions},
    {"asset",           "list | add CODE SCALE", "which assets there are; one more, for ever",       1, 3, run_asset},
    {"policy",          "list | allow | ...", "who may do what; policy help tells more",             1, 5, run_policy},
    {"key",             "list | add | ...",   "of those who call the gateway; key help tells more",  1, 2, run_key},
    {"webhook",         "list | add | ...",   "endpoints that are told of events; webhook help tells more", 1, 2, run_webhook},
    {"verify",          "",                   "recomputes every balance and every hash; fails when the books are wrong", 0, 0, run_verify},
    {"import",          "FILE...",            "past commands, or accounts with their balances, from CSV or JSON lines", 1, 256, run_import_files},
    {"proof",           "TRANSACTION",        "that it is in what the notary signed, as JSON; --account", 1, 1, run_proof},
    {"check-proof",     "FILE",               "checks one, without any server; needs --public-key",  1, 1, run_check_proof},
    {"scheduled",       "",                   "what waits to be executed, the first due first",      0, 0, run_scheduled},
    {"health",          "[URL]",              "asks a process on this machine how it is; exit code 0: it is live", 0, 1, run_health},
    {"sink",            "list | add NAME | drop NAME", "where events go beside RabbitMQ (kafka); see --from-start", 1, 2, run_sink},
    {"rebase",          "SINK",               "after a restore: where the relay goes on (see --from-start)", 1, 1, run_rebase},
};
/* clang-format on */
enum {
    SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0],
    VERBS_COUNT = sizeof VERBS / sizeof VERBS[0],
};

enum exit_code complain(enum exit_code code, const char *format, ...)
{
    va_list args;

    (void)fputs("ledgerctl: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return code;
}

enum exit_code complain_err(const struct err *err)
{
    return complain(err->kind == ERR_RETRY ? EXIT_CONNECT : EXIT_FAILED, "%s", err->text);
}

static void help(void)
{
    printf("ledgerctl %s - commands, queries and care of a balance ledger\n\n"
           "usage: ledgerctl [OPTIONS] VERB ARGUMENTS\n\nverbs:\n",
           LEDGER_VERSION);
    for (size_t i = 0; i < VERBS_COUNT; i++)
        printf("  %-18s %-20s %s\n", VERBS[i].name, VERBS[i].arguments, VERBS[i].help);
    printf(
        "\noptions:\n"
        "  --output table|json  how to print (table)\n"
        "  --key KEY            idempotency key (a new UUID, shown on standard error)\n"
        "  --minor              AMOUNT counts minor units (cents); else it is decimal, as 12.34\n"
        "  --asset CODE         open-account: of the account; else checked\n"
        "  --user ID            open-account: the owner; --name NAME, --kind user|system\n"
        "  --metadata JSON      an object of up to 4 KiB, kept with the account or transaction\n"
        "  --expires-in SECONDS hold: given back after that, if it was not captured\n"
        "  --to ACCOUNT         capture: who receives (the asset's world); --keep-rest: the rest\n"
        "                       stays held\n"
        "  --direction DIR      freeze-account, unfreeze-account: in, out or both (both)\n"
        "  --if-seq N           only if the account's sequence number is N\n"
        "  --if-balance-at-least AMOUNT\n"
        "                       only if its balance is that or more\n"
        "  --not-before TIME    RFC 3339; kept until then, and decided then; see scheduled, "
        "cancel\n"
        "  --not-after TIME     RFC 3339; as --deadline, but a part of the command\n"
        "  --independent        batch: each command for itself\n"
        "  --dry-run            the verdict alone; nothing is changed or remembered\n"
        "  --as-of WHEN         get-balance: right after that transaction, or at that time\n"
        "  --from TIME, --to TIME\n"
        "                       list-transactions, statement: not before, and before\n"
        "  --limit N            list-transactions: at most N entries (50; at most 200);\n"
        "                       --cursor CURSOR: the next page; --order asc|desc (desc);\n"
        "                       --kind TYPE, --trace HEX: only those\n"
        "  --app-id ID          namespace of the idempotency key\n"
        "  --trace-id ID        X-Trace-Id; --traceparent VALUE: W3C\n"
        "  --deadline TIME      RFC 3339; past it the command is refused, not applied late\n"
        "  --timeout MS         longest wait for the reply (10000)\n"
        "  --no-wait            publish and wait for the broker's confirm only\n"
        "  --jobs N             verify: connections that work side by side (one a core)\n"
        "  --public-key FILE    verify, check-proof: of the notary, in PEM; again for each old "
        "one\n"
        "  --account ID         proof: as an entry of this account (the debited one, else the "
        "other)\n"
        "  --checkpoints FILE   verify: checkpoint.created events that were kept, JSON, one a "
        "line\n"
        "  --max-amount AMOUNT  policy allow: at most so much a command, with --asset\n"
        "  --daily-limit AMOUNT policy allow: at most so much a caller and UTC day, with --asset\n"
        "  --note TEXT          policy allow, key add: why\n"
        "  --scope SCOPE        key add: read, write or read,write (read); --expires-in SECONDS\n"
        "  --overlap SECONDS    key rotate, webhook rotate-secret: how long the old one counts\n"
        "                       (86400)\n"
        "  --types LIST         webhook add: these events alone, as transaction.*,hold.placed;\n"
        "                       --account PATTERN; --ordered: those of an account in order\n"
        "  --from-start         rebase, sink add: publish everything that the outbox holds\n"
        "  --check              import: decide every line, tell what is refused, change nothing\n"
        "  --at TIME            import: when lines happened that do not say so (now)\n"
        "  --name NAME          import: what it is remembered by (the file's name)\n"
        "  --keep-going         import: leave out what is refused; else it stops there\n"
        "  --rejects FILE       import: where what is left out goes; reasons to FILE.reasons\n"
        "  --expect ASSET=SUM   import: fail unless its accounts hold this in all, as EUR=12.34\n"
        "  --events             import: publish events of what is applied, as for any command\n"
        "  --format csv|json    import: else by the file's name\n"
        "  --changed            import: take another file under the same name, from its start\n"
        "  --no-verify          import: without the verification at the end\n"
        "  --help, --version\n\nenvironment:\n");
    config_help(stdout, SETTINGS, SETTINGS_COUNT);
    printf("\nexit codes: 0 done, 1 refused or books wrong, 2 usage, 5 no connection or no reply "
           "(retry with\n"
           "the same key)\n");
}

static bool parse_timeout(const char *text)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0' || value == 0 || value > 3600000) return false;
    options.timeout_ms = (uint32_t)value;
    return true;
}

/* Options with a text, and those that are said or not. */
static const struct {
    const char *name, **target;
} TEXTS[] = {
    {"key", &options.key},
    {"asset", &options.asset},
    {"user", &options.user},
    {"name", &options.name},
    {"kind", &options.kind},
    {"metadata", &options.metadata},
    {"app-id", &options.app_id},
    {"trace-id", &options.trace_id},
    {"traceparent", &options.traceparent},
    {"deadline", &options.deadline},
    {"expires-in", &options.expires_in},
    {"to", &options.to},
    {"direction", &options.direction},
    {"if-seq", &options.if_seq},
    {"if-balance-at-least", &options.if_balance},
    {"not-before", &options.not_before},
    {"not-after", &options.not_after},
    {"jobs", &options.jobs},
    {"as-of", &options.as_of},
    {"from", &options.from},
    {"limit", &options.limit},
    {"cursor", &options.cursor},
    {"order", &options.order},
    {"trace", &options.trace},
    {"format", &options.format},
    {"at", &options.at},
    {"rejects", &options.rejects},
    {"checkpoints", &options.checkpoints},
    {"max-amount", &options.max_amount},
    {"daily-limit", &options.daily_limit},
    {"note", &options.note},
    {"scope", &options.scope},
    {"overlap", &options.overlap},
    {"types", &options.types},
    {"account", &options.account},
};
static const struct {
    const char *name;
    bool *target;
} FLAGS[] = {
    {"minor", &options.minor},           {"no-wait", &options.no_wait},
    {"from-start", &options.from_start}, {"keep-rest", &options.keep_rest},
    {"dry-run", &options.dry_run},       {"independent", &options.independent},
    {"check", &options.check},           {"keep-going", &options.keep_going},
    {"events", &options.events},         {"changed", &options.changed},
    {"no-verify", &options.no_verify},   {"ordered", &options.ordered},
};
enum {
    TEXTS_COUNT = sizeof TEXTS / sizeof TEXTS[0],
    FLAGS_COUNT = sizeof FLAGS / sizeof FLAGS[0],
    OTHERS_COUNT = 6,
    TEXTS_FIRST = 256, /* beyond any letter */
    FLAGS_FIRST = TEXTS_FIRST + TEXTS_COUNT,
};

static void name_options(struct option names[static OTHERS_COUNT + TEXTS_COUNT + FLAGS_COUNT + 1])
{
    static const struct option others[OTHERS_COUNT] = {
        {"output", 1, NULL, 'o'},     {"timeout", 1, NULL, 'T'}, {"expect", 1, NULL, 'e'},
        {"public-key", 1, NULL, 'K'}, {"help", 0, NULL, 'h'},    {"version", 0, NULL, 'v'}};

    for (int i = 0; i < OTHERS_COUNT; i++) *names++ = others[i];
    for (int i = 0; i < TEXTS_COUNT; i++)
        *names++ = (struct option){TEXTS[i].name, 1, NULL, TEXTS_FIRST + i};
    for (int i = 0; i < FLAGS_COUNT; i++)
        *names++ = (struct option){FLAGS[i].name, 0, NULL, FLAGS_FIRST + i};
    *names = (struct option){0};
}

/* -1: go on; else the code to exit with. */
static int take_option(int option)
{
    if (option >= FLAGS_FIRST) {
        *FLAGS[option - FLAGS_FIRST].target = true;
        return -1;
    }
    if (option >= TEXTS_FIRST) {
        *TEXTS[option - TEXTS_FIRST].target = optarg;
        return -1;
    }
    switch (option) {
    case 'o':
        options.output = strcmp(optarg, "json") == 0 ? OUTPUT_JSON : OUTPUT_TABLE;
        if (options.output == OUTPUT_JSON || strcmp(optarg, "table") == 0) return -1;
        return (int)complain(EXIT_USAGE, "--output is table or json");
    case 'T':
        if (parse_timeout(optarg)) return -1;
        return (int)complain(EXIT_USAGE, "--timeout is 1 to 3600000 milliseconds");
    case 'e':
        if (options.expected_count == EXPECTED_MAX)
            return (int)complain(EXIT_USAGE, "--expect may be given %d times", EXPECTED_MAX);
        options.expected[options.expected_count++] = optarg;
        return -1;
    case 'K':
        if (options.public_keys_count == PUBLIC_KEYS_MAX)
            return (int)complain(EXIT_USAGE, "--public-key is given at most %d times",
                                 PUBLIC_KEYS_MAX);
        options.public_keys[options.public_keys_count++] = optarg;
        return -1;
    case 'h':
        help();
        return EXIT_DONE;
    case 'v':
        printf("ledgerctl %s\n", LEDGER_VERSION);
        return EXIT_DONE;
    default:
        return EXIT_USAGE; /* getopt has said why */
    }
}

static int parse_options(int argc, char **argv)
{
    struct option names[OTHERS_COUNT + TEXTS_COUNT + FLAGS_COUNT + 1];
    int code = -1;

    name_options(names);
    for (int option; code < 0 && (option = getopt_long(argc, argv, "hv", names, NULL)) != -1;)
        code = take_option(option);
    return code;
}

static enum exit_code run(const struct verb *verb, char **arguments)
{
    enum exit_code code = verb->run(&options, verb->name, arguments);

    if ((fflush(stdout) == 0 && !ferror(stdout)) || code != EXIT_DONE) return code;
    return complain(EXIT_FAILED, "could not write to standard output: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct err err = {0};
    int code = parse_options(argc, argv);

    if (code >= 0) return code;
    if (optind == argc) {
        help();
        return EXIT_USAGE;
    }
    if (!config_load(SETTINGS, SETTINGS_COUNT, &err))
        return (int)complain(EXIT_USAGE, "%s", err.text);
    for (size_t i = 0; i < VERBS_COUNT; i++) {
        int count = argc - optind - 1;
        if (strcmp(argv[optind], VERBS[i].name) != 0) continue;
        if (count < VERBS[i].least || count > VERBS[i].most)
            return (int)complain(EXIT_USAGE, "usage: ledgerctl %s %s", VERBS[i].name,
                                 VERBS[i].arguments);
        return (int)run(&VERBS[i], argv + optind + 1);
    }
    return (int)complain(EXIT_USAGE, "no such verb: %s; see --help", argv[optind]);
}
