/*
 * main.c - the command-line tool ledger-dlq: options, and a table of verbs that also prints the
 * help.
 */
#include "base/config.h"
#include "base/stop.h"
#include "base/version.h"
#include "dlq/stats.h"
#include "dlq/tool.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct tool tool = {.limit = UINT32_MAX, .rate = 1000, .timeout_ms = 10000, .wait_ms = 5000};

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_AMQP_URL", SETTING_TEXT, tool.amqp_url, sizeof tool.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ, where the dead letters are"},
    {"LEDGER_DATABASE_URL", SETTING_TEXT, tool.database_url, sizeof tool.database_url, "postgresql://127.0.0.1:5432/ledger",
     0, 0, NULL, true, "PostgreSQL, where each action is recorded"},
    {"LEDGER_DATABASE_ROLE", SETTING_TEXT, tool.database_role, sizeof tool.database_role, "ledger_operator",
     0, 0, NULL, false, "role taken on after login; empty keeps the login's"},
    {"LEDGER_PREFIX", SETTING_TEXT, tool.prefix, sizeof tool.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
    {"LEDGER_USER_ID", SETTING_TEXT, tool.user_id, sizeof tool.user_id, "",
     0, 0, NULL, false, "user_id of what is replayed, the login's name; the policy goes by it"},
};

static const struct verb {
    const char *name, *arguments, *help;
    int least, most; /* arguments */
    bool acts;       /* --reason says why, and is recorded */
    uint32_t limit;  /* when none is given; 0: none */
    enum exit_code (*run)(struct tool *, int, char **);
} VERBS[] = {
    {"list",    "",            "the dead letters, oldest first",                          0, 0,              false, 50, run_list},
    {"show",    "ID...",       "all that is known of some; --raw adds the bytes",         1, FILTER_IDS_MAX, false, 0,  run_show},
    {"stats",   "",            "counts, grouped --by reason,command,caller,hour",         0, 0,              false, 0,  run_stats},
    {"watch",   "",            "shows new ones as they come, until Ctrl-C",               0, 0,              false, 0,  run_watch},
    {"replay",  "[ID...]",     "publishes them as commands again",                        0, FILTER_IDS_MAX, true,  0,  run_replay},
    {"drop",    "[ID...]",     "exports them, then removes them; needs --yes",            0, FILTER_IDS_MAX, true,  0,  run_drop},
    {"export",  "FILE|-",      "writes them as lines of JSON, and leaves them",           1, 1,              true,  0,  run_export},
    {"import",  "FILE|-",      "brings exported ones back that are not in the queue",     1, 1,              true,  0,  run_import},
    {"history", "[ID]",        "who did what, when and why; of one letter",               0, 1,              false, 50, run_history},
};
/* clang-format on */
enum {
    SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0],
    VERBS_COUNT = sizeof VERBS / sizeof VERBS[0],
};

enum exit_code complain(enum exit_code code, const char *format, ...)
{
    va_list args;

    (void)fputs("ledger-dlq: ", stderr);
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
    printf("ledger-dlq %s - the operator's tool for dead letters\n\n"
           "usage: ledger-dlq VERB [OPTIONS] [ARGUMENTS]\n\nverbs:\n",
           LEDGER_VERSION);
    for (size_t i = 0; i < VERBS_COUNT; i++)
        printf("  %-8s %-8s %s\n", VERBS[i].name, VERBS[i].arguments, VERBS[i].help);
    printf(
        "\nwhich letters (all that are given must match):\n"
        "  --where NAME=VALUE   reason, command, account (either side), caller, key, trace-id\n"
        "  --command WORD, --account ID, --caller ID, --key KEY, --trace-id ID   the same, "
        "shorter\n"
        "  --older AGE          died at least so long ago: 30s, 15m, 2h, 7d; --newer AGE\n"
        "  --all                every one (replay and drop want to be told)\n"
        "  --limit N            at most so many; 0: no limit (list and history 50, else none)\n"
        "\nwhat is done:\n"
        "  --dry-run            shows exactly what would be done, and does nothing\n"
        "  --rate N             letters a second (1000; 0: as fast as it goes)\n"
        "  --reason TEXT        why: kept in the record (list, show, stats, watch: the letters'\n"
        "                       reason, as --where reason=)\n"
        "  --operator NAME      who (the name of your login)\n"
        "  --yes                drop: do it; --export FILE: where they are written first\n"
        "  --wait SECONDS       for a turn, when somebody else is at the queue (5)\n"
        "\nhow it is shown:\n"
        "  --output table|json  json: one object a line\n"
        "  --by LIST            stats: some of reason,command,caller,hour (reason,command,caller)\n"
        "  --raw                show: the bytes too\n"
        "  --quiet              no summary, no progress\n"
        "  --help, --version\n\nenvironment:\n");
    config_help(stdout, SETTINGS, SETTINGS_COUNT);
    printf("\nexit codes: 0 done, 1 failed or some were skipped, 2 usage, 3 stopped by a signal, "
           "5 a server is\naway or somebody else has the turn (try again)\n\n"
           "Looking changes neither the order nor the number of the letters. Whatever kills this "
           "tool: no letter\nis lost, and what is replayed twice is applied once.\n");
}

static bool parse_number(const char *text, uint32_t most, uint32_t *out)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value > most) return false;
    *out = (uint32_t)value;
    return true;
}

static bool parse_where(const char *text)
{
    static const struct {
        const char *name;
        const char **value;
    } parts[] = {{"reason=", &tool.filter.reason},    {"command=", &tool.filter.command},
                 {"account=", &tool.filter.account},  {"caller=", &tool.filter.caller},
                 {"key=", &tool.filter.key},          {"trace-id=", &tool.filter.trace_id},
                 {"trace_id=", &tool.filter.trace_id}};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t length = strlen(parts[i].name);
        if (strncmp(text, parts[i].name, length) != 0) continue;
        *parts[i].value = text + length;
        return true;
    }
    return false;
}

static bool parse_by(const char *text)
{
    static const struct {
        const char *word;
        uint32_t by;
    } words[] = {{"reason", STATS_REASON},
                 {"command", STATS_COMMAND},
                 {"caller", STATS_CALLER},
                 {"hour", STATS_HOUR}};

    tool.by = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, ","), i = 0;
        while (i < 4 &&
               (strlen(words[i].word) != length || strncmp(text, words[i].word, length) != 0))
            i++;
        if (i == 4) return false;
        tool.by |= words[i].by;
        text += length + (text[length] == ',');
    }
    return tool.by != 0;
}

enum option_letter {
    OPTION_WHERE = 256,
    OPTION_COMMAND,
    OPTION_ACCOUNT,
    OPTION_CALLER,
    OPTION_KEY,
    OPTION_TRACE_ID,
    OPTION_OLDER,
    OPTION_NEWER,
    OPTION_ALL,
    OPTION_LIMIT,
    OPTION_DRY_RUN,
    OPTION_RATE,
    OPTION_REASON,
    OPTION_OPERATOR,
    OPTION_YES,
    OPTION_EXPORT,
    OPTION_WAIT,
    OPTION_OUTPUT,
    OPTION_BY,
    OPTION_RAW,
    OPTION_QUIET,
};

static const struct option OPTIONS[] = {{"where", 1, NULL, OPTION_WHERE},
                                        {"command", 1, NULL, OPTION_COMMAND},
                                        {"account", 1, NULL, OPTION_ACCOUNT},
                                        {"caller", 1, NULL, OPTION_CALLER},
                                        {"key", 1, NULL, OPTION_KEY},
                                        {"trace-id", 1, NULL, OPTION_TRACE_ID},
                                        {"older", 1, NULL, OPTION_OLDER},
                                        {"newer", 1, NULL, OPTION_NEWER},
                                        {"all", 0, NULL, OPTION_ALL},
                                        {"limit", 1, NULL, OPTION_LIMIT},
                                        {"dry-run", 0, NULL, OPTION_DRY_RUN},
                                        {"rate", 1, NULL, OPTION_RATE},
                                        {"reason", 1, NULL, OPTION_REASON},
                                        {"operator", 1, NULL, OPTION_OPERATOR},
                                        {"yes", 0, NULL, OPTION_YES},
                                        {"export", 1, NULL, OPTION_EXPORT},
                                        {"wait", 1, NULL, OPTION_WAIT},
                                        {"output", 1, NULL, OPTION_OUTPUT},
                                        {"by", 1, NULL, OPTION_BY},
                                        {"raw", 0, NULL, OPTION_RAW},
                                        {"quiet", 0, NULL, OPTION_QUIET},
                                        {"help", 0, NULL, 'h'},
                                        {"version", 0, NULL, 'v'},
                                        {NULL, 0, NULL, 0}};

static int wrong(const char *sentence)
{
    return (int)complain(EXIT_USAGE, "%s", sentence);
}

/* Those that take a value to be parsed. -1: fine. */
static int take_value(int option, const char *value)
{
    uint32_t seconds;

    switch (option) {
    case OPTION_WHERE:
        if (parse_where(value)) return -1;
        return wrong("--where is reason=, command=, account=, caller=, key= or trace-id=");
    case OPTION_OLDER:
        return filter_age(value, &tool.filter.older_us) ? -1
                                                        : wrong("--older is as 30s, 15m, 2h, 7d");
    case OPTION_NEWER:
        return filter_age(value, &tool.filter.newer_us) ? -1
                                                        : wrong("--newer is as 30s, 15m, 2h, 7d");
    case OPTION_LIMIT:
        return parse_number(value, UINT32_MAX - 1, &tool.limit) ? -1 : wrong("--limit is a number");
    case OPTION_RATE:
        return parse_number(value, 1000000, &tool.rate) ? -1 : wrong("--rate is 0 to 1000000");
    case OPTION_WAIT:
        if (!parse_number(value, 86400, &seconds)) return wrong("--wait is 0 to 86400 seconds");
        tool.wait_ms = seconds * 1000;
        return -1;
    case OPTION_BY:
        return parse_by(value) ? -1 : wrong("--by is some of reason,command,caller,hour");
    case OPTION_OUTPUT:
        if (strcmp(value, "json") != 0 && strcmp(value, "table") != 0)
            return wrong("--output is table or json");
        tool.output = value[0] == 'j' ? OUTPUT_JSON : OUTPUT_TABLE;
        return -1;
    default:
        return EXIT_USAGE; /* getopt has said why */
    }
}

/* -1: go on; else the code to exit with. */
static int take_option(int option)
{
    switch (option) {
    case OPTION_COMMAND:
        tool.filter.command = optarg;
        return -1;
    case OPTION_ACCOUNT:
        tool.filter.account = optarg;
        return -1;
    case OPTION_CALLER:
        tool.filter.caller = optarg;
        return -1;
    case OPTION_KEY:
        tool.filter.key = optarg;
        return -1;
    case OPTION_TRACE_ID:
        tool.filter.trace_id = optarg;
        return -1;
    case OPTION_ALL:
        tool.all = true;
        return -1;
    case OPTION_DRY_RUN:
        tool.dry_run = true;
        return -1;
    case OPTION_REASON:
        tool.why = optarg;
        return -1;
    case OPTION_OPERATOR:
        tool.who = optarg;
        return -1;
    case OPTION_YES:
        tool.yes = true;
        return -1;
    case OPTION_EXPORT:
        tool.file = optarg;
        return -1;
    case OPTION_RAW:
        tool.raw = true;
        return -1;
    case OPTION_QUIET:
        tool.quiet = true;
        return -1;
    case 'h':
        help();
        return EXIT_DONE;
    case 'v':
        printf("ledger-dlq %s\n", LEDGER_VERSION);
        return EXIT_DONE;
    default:
        return take_value(option, optarg);
    }
}

/* sudo's caller, else the login. */
static const char *who_is_there(void)
{
    const char *name = getenv("SUDO_USER");
    const struct passwd *entry = getpwuid(getuid());

    if (name != NULL && name[0] != '\0') return name;
    return entry != NULL ? entry->pw_name : "unknown";
}

static enum exit_code run(const struct verb *verb, int count, char **arguments)
{
    struct err err = {0};

    if (!verb->acts && tool.why != NULL) {
        if (tool.filter.reason != NULL) return complain(EXIT_USAGE, "the reason is given twice");
        tool.filter.reason = tool.why;
    }
    if (tool.limit == UINT32_MAX) tool.limit = verb->limit;
    if (tool.by == 0) tool.by = STATS_REASON | STATS_COMMAND | STATS_CALLER;
    if (tool.who == NULL) tool.who = who_is_there();
    tool.colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    if (!config_load(SETTINGS, SETTINGS_COUNT, &err) ||
        !names_make(&tool.names, tool.prefix, 1, &err))
        return complain(EXIT_USAGE, "%s", err.text);
    if (!stop_install(&err) || !codec_open(&tool.codec, &err)) return complain_err(&err);
    enum exit_code code = verb->run(&tool, count, arguments);
    codec_close(tool.codec);
    if (fflush(stdout) != 0 && code == EXIT_DONE)
        return complain(EXIT_FAILED, "could not write to standard output: %s", strerror(errno));
    return code;
}

int main(int argc, char **argv)
{
    for (int option; (option = getopt_long(argc, argv, "hv", OPTIONS, NULL)) != -1;) {
        int code = take_option(option);
        if (code >= 0) return code;
    }
    if (optind == argc) {
        help();
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < VERBS_COUNT; i++) {
        int count = argc - optind - 1;
        if (strcmp(argv[optind], VERBS[i].name) != 0) continue;
        if (count < VERBS[i].least || count > VERBS[i].most)
            return (int)complain(EXIT_USAGE, "usage: ledger-dlq %s %s", VERBS[i].name,
                                 VERBS[i].arguments);
        return (int)run(&VERBS[i], count, argv + optind + 1);
    }
    return (int)complain(EXIT_USAGE, "no such verb: %s; see --help", argv[optind]);
}
