/*
 * main.c - the command-line tool ledgerctl: options, and a table of verbs that also prints the
 * help.
 */
#include "base/config.h"
#include "base/version.h"
#include "ledgerctl/ledgerctl.h"

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
     0, 0, NULL, true, "PostgreSQL, for migrate, verify and rebase"},
    {"LEDGER_PREFIX", SETTING_TEXT, options.prefix, sizeof options.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
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
    {"get-user",        "USER",               "name and accounts",                                   1, 1, run_command},
    {"get-account",     "ACCOUNT",            "whose it is, its asset, its metadata",                1, 1, run_command},
    {"get-balance",     "ACCOUNT",            "balance, held, available, sequence number",           1, 1, run_command},
    {"get-transaction", "TRANSACTION",        "both sides, amount, trace",                           1, 1, run_command},
    {"migrate",         "",                   "brings the database schema up to this version",       0, 0, run_migrate},
    {"verify",          "",                   "recomputes every balance; fails when the books are wrong", 0, 0, run_verify},
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
        printf("  %-15s %-17s %s\n", VERBS[i].name, VERBS[i].arguments, VERBS[i].help);
    printf(
        "\noptions:\n"
        "  --output table|json  how to print (table)\n"
        "  --key KEY            idempotency key (a new UUID, shown on standard error)\n"
        "  --minor              AMOUNT counts minor units (cents); else it is decimal, as 12.34\n"
        "  --asset CODE         open-account: of the account; else checked\n"
        "  --user ID            open-account: the owner; --name NAME, --kind user|system\n"
        "  --metadata JSON      an object of up to 4 KiB, kept with the account or transaction\n"
        "  --app-id ID          namespace of the idempotency key\n"
        "  --trace-id ID        X-Trace-Id; --traceparent VALUE: W3C\n"
        "  --deadline TIME      RFC 3339; past it the command is refused, not applied late\n"
        "  --timeout MS         longest wait for the reply (10000)\n"
        "  --no-wait            publish and wait for the broker's confirm only\n"
        "  --from-start         rebase: publish everything that the outbox holds again\n"
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

/* -1: go on; else the code to exit with. */
static int parse_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"output", 1, NULL, 'o'},   {"key", 1, NULL, 'k'},         {"minor", 0, NULL, 'm'},
        {"asset", 1, NULL, 'a'},    {"user", 1, NULL, 'u'},        {"name", 1, NULL, 'n'},
        {"kind", 1, NULL, 'K'},     {"metadata", 1, NULL, 'M'},    {"app-id", 1, NULL, 'A'},
        {"trace-id", 1, NULL, 't'}, {"traceparent", 1, NULL, 'p'}, {"deadline", 1, NULL, 'd'},
        {"timeout", 1, NULL, 'T'},  {"no-wait", 0, NULL, 'w'},     {"from-start", 0, NULL, 's'},
        {"help", 0, NULL, 'h'},     {"version", 0, NULL, 'v'},     {NULL, 0, NULL, 0}};

    for (int option; (option = getopt_long(argc, argv, "hv", names, NULL)) != -1;) {
        switch (option) {
        case 'o':
            if (strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
                return (int)complain(EXIT_USAGE, "--output is table or json");
            options.output = optarg[0] == 'j' ? OUTPUT_JSON : OUTPUT_TABLE;
            break;
        case 'T':
            if (!parse_timeout(optarg))
                return (int)complain(EXIT_USAGE, "--timeout is 1 to 3600000 milliseconds");
            break;
        case 'k':
            options.key = optarg;
            break;
        case 'm':
            options.minor = true;
            break;
        case 'a':
            options.asset = optarg;
            break;
        case 'u':
            options.user = optarg;
            break;
        case 'n':
            options.name = optarg;
            break;
        case 'K':
            options.kind = optarg;
            break;
        case 'M':
            options.metadata = optarg;
            break;
        case 'A':
            options.app_id = optarg;
            break;
        case 't':
            options.trace_id = optarg;
            break;
        case 'p':
            options.traceparent = optarg;
            break;
        case 'd':
            options.deadline = optarg;
            break;
        case 'w':
            options.no_wait = true;
            break;
        case 's':
            options.from_start = true;
            break;
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
    return -1;
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
        return (int)VERBS[i].run(&options, VERBS[i].name, argv + optind + 1);
    }
    return (int)complain(EXIT_USAGE, "no such verb: %s; see --help", argv[optind]);
}
