/*
 * main.c - the process ledger-notary: settings, signals, the loop, the way out.
 */
#include "base/admin_http.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stop.h"
#include "notary/notary.h"

#include <stdio.h>
#include <unistd.h>

static struct notary_settings values;

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_DATABASE_URL", SETTING_TEXT, values.database_url, sizeof values.database_url, "postgresql://127.0.0.1:5432/ledger",
     0, 0, NULL, true, "PostgreSQL, direct (not through a transaction pooler)"},
    {"LEDGER_DATABASE_ROLE", SETTING_TEXT, values.database_role, sizeof values.database_role, "ledger_notary",
     0, 0, NULL, false, "role taken on after login; empty keeps the login's"},
    {"LEDGER_SIGNING_KEY", SETTING_TEXT, values.signing_key, sizeof values.signing_key, NULL,
     0, 0, NULL, true, "Ed25519 private key in PEM; LEDGER_SIGNING_KEY_FILE names a file with it"},
    {"LEDGER_CHECKPOINT_S", SETTING_NUMBER, &values.checkpoint_s, 0, "60",
     1, 86400, NULL, false, "how often a checkpoint is made, when anything has changed"},
    {"LEDGER_EVENT_FORMAT", SETTING_CHOICE, &values.event_encoding, 0, "msgpack",
     0, 0, "msgpack|json", false, "encoding of checkpoint.created"},
    {"LEDGER_HTTP_ADDRESS", SETTING_TEXT, values.http_address, sizeof values.http_address, "0.0.0.0",
     0, 0, NULL, false, "address of /metrics and /health"},
    {"LEDGER_HTTP_PORT", SETTING_NUMBER, &values.http_port, 0, "8000",
     0, 65535, NULL, false, "port of /metrics and /health; 0 takes a free one"},
    {"LEDGER_LOG_LEVEL", SETTING_CHOICE, &values.log_level, 0, "info",
     0, 0, LOG_LEVEL_CHOICES, false, "least level that is logged"},
    {"LEDGER_TIMEOUT_MS", SETTING_NUMBER, &values.timeout_ms, 0, "5000",
     100, 60000, NULL, false, "longest wait for a connection"},
    {"LEDGER_NOTARY_TIMEOUT_MS", SETTING_NUMBER, &values.answer_timeout_ms, 0, "600000",
     1000, 3600000, NULL, false, "longest wait for PostgreSQL: a look at every account takes its time"},
};
/* clang-format on */
enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

static bool serve(struct notary *notary, struct err *err)
{
    while (!stop_requested()) {
        bool ok = notary_turn(notary, err);
        log_flush();
        if (ok) continue;
        if (err->kind == ERR_FATAL) return false;
        log_warn("will try again: %s", err->text);
        notary_pause(notary);
    }
    return true;
}

static bool run(struct err *err)
{
    struct admin *admin = NULL;
    struct notary *notary = NULL;

    (void)snprintf(values.name, sizeof values.name, "ledger-notary %ld", (long)getpid());
    bool ok = admin_open(&admin, values.http_address, (uint16_t)values.http_port, err);
    if (ok) process_listens("metrics and health", admin_port(admin));
    ok = ok && notary_open(&notary, &values, err) && serve(notary, err);
    notary_close(notary);
    admin_close(admin);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct process process = {
        .name = "ledger-notary",
        .purpose = "signs the state of all accounts now and then, and tells of it in events",
        .settings = SETTINGS,
        .settings_count = SETTINGS_COUNT,
        .run = run};
    return process_main(&process, &values.log_level, argc, argv);
}
