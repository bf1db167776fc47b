/*
 * process.c - see process.h.
 */
#include "base/process.h"

#include "base/log.h"
#include "base/notify.h"
#include "base/privileges.h"
#include "base/stop.h"
#include "base/version.h"

#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2 };

/* Processes often share one environment: what one of them knows is no surprise to another. */
static const char *const SHARED[] = {
    "LEDGER_AMQP_URL",
    "LEDGER_PREFIX",
    "LEDGER_SHARDS",
    "LEDGER_TOPOLOGY",
    "LEDGER_HEARTBEAT_S",
    "LEDGER_ANSWER_TIMEOUT_MS",
    "LEDGER_REDIS_URL",
    "LEDGER_REDIS_TIMEOUT_MS",
    "LEDGER_REDIS_TTL_S",
    "LEDGER_REDIS_BATCH_MIN",
    "LEDGER_DIRECT_REPLIES",
    "LEDGER_LOG_COMMANDS",
    "LEDGER_PREFETCH",
    "LEDGER_BATCH_MAX",
    "LEDGER_EVENT_FORMAT",
    "LEDGER_BALANCE_EVERY_MS",
    "LEDGER_DRAIN_TIMEOUT_MS",
    "LEDGER_RELAY_WINDOW",
    "LEDGER_OUTBOX_ROWS_MAX",
    "LEDGER_OUTBOX_AGE_MAX_S",
    "LEDGER_SAVE_EVERY_MS",
    "LEDGER_POLL_MS",
    "LEDGER_READ_TIMEOUT_MS",
    "LEDGER_HTTP_URL",
    "LEDGER_GATEWAY_URL",
    "LEDGER_HTTP_TLS_CERT",
    "LEDGER_HTTP_TLS_KEY",
    "LEDGER_HTTP_APP_ID",
    "LEDGER_HTTP_THREADS",
    "LEDGER_HTTP_LINKS",
    "LEDGER_HTTP_CALLS_MAX",
    "LEDGER_HTTP_CONNECTIONS_MAX",
    "LEDGER_HTTP_PER_ADDRESS_MAX",
    "LEDGER_HTTP_HEADER_MAX",
    "LEDGER_HTTP_BODY_MAX",
    "LEDGER_HTTP_BODIES_MIB",
    "LEDGER_HTTP_IDLE_S",
    "LEDGER_HTTP_REQUEST_S",
    "LEDGER_HTTP_REPLY_TIMEOUT_MS",
    "LEDGER_LOG_REQUESTS",
    "LEDGER_STATE_DIR",
    "LEDGER_CRASH_LIMIT",
    "LEDGER_DEAD_WATCH_S",
    "LEDGER_BROKEN",
    "LEDGER_CHECKPOINT_S",
    "LEDGER_NOTARY_TIMEOUT_MS",
    "LEDGER_SIGNING_KEY",
    "LEDGER_WEBHOOK_SCHEDULE",
    "LEDGER_WEBHOOK_TIMEOUT_MS",
    "LEDGER_WEBHOOK_CONNECT_TIMEOUT_MS",
    "LEDGER_WEBHOOK_PER_ENDPOINT",
    "LEDGER_WEBHOOK_PRIVATE",
    "LEDGER_WEBHOOK_CA",
    "LEDGER_WEBHOOK_KEEP_DAYS",
};

static void warn_unknown(const char *name)
{
    for (size_t i = 0; i < sizeof SHARED / sizeof SHARED[0]; i++) {
        size_t length = strlen(SHARED[i]);
        if (strncmp(name, SHARED[i], length) != 0) continue;
        if (name[length] == '\0' || strcmp(name + length, "_FILE") == 0) return;
    }
    log_warn("unknown setting %s is ignored; --help lists all", name);
}

static void help(const struct process *process)
{
    printf("%s %s - %s\n\nusage: %s [--help | --version | --check-config]\n\n", process->name,
           LEDGER_VERSION, process->purpose, process->name);
    config_help(stdout, process->settings, process->settings_count);
}

static int complain(const struct process *process, const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", process->name, what);
    return EXIT_USAGE;
}

void process_listens(const char *what, uint16_t port)
{
    struct err err = {0};

    log_info("%s on port %u", what, (unsigned)port);
    if (!notify_ready(&err)) log_warn("%s", err.text);
    log_flush();
}

int process_main(const struct process *process, const uint32_t *log_level, int argc, char **argv)
{
    const char *argument = argc > 1 ? argv[1] : "";
    bool check = strcmp(argument, "--check-config") == 0;
    struct err err = {0};

    if (strcmp(argument, "--help") == 0) {
        help(process);
        return EXIT_SUCCESS;
    }
    if (strcmp(argument, "--version") == 0) {
        printf("%s %s\n", process->name, LEDGER_VERSION);
        return EXIT_SUCCESS;
    }
    if (argc > 2 || (argc == 2 && !check)) return complain(process, "unknown argument; see --help");
    if (!config_load(process->settings, process->settings_count, &err) ||
        (process->check != NULL && !process->check(&err)))
        return complain(process, err.text);
    if (check) {
        config_print(stdout, process->settings, process->settings_count);
        return EXIT_SUCCESS;
    }

    log_open(process->name, (enum log_level) * log_level);
    config_unknown(process->settings, process->settings_count, warn_unknown);
    bool ok = privileges_drop(&err) && stop_install(&err) && process->run(&err);
    if (!ok) log_error("stopped: %s", err.text);
    log_info("left");
    log_flush();
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
