/*
 * process.h - what every daemon of the ledger does with its command line: --help, --version,
 * --check-config, or run.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include "base/config.h"

struct process {
    const char *name;    /* ledger-worker */
    const char *purpose; /* one line for --help */
    const struct setting *settings;
    size_t settings_count;
    bool (*check)(struct err *err); /* of settings that depend on each other; NULL: none */
    /* Runs until a stop is requested; settings are loaded, the log is open. False: err says why. */
    bool (*run)(struct err *err);
};

/* Its port is open and its settings are good; servers may still be away. Logs "<what> on port
 * <port>" at once, and tells systemd. */
void process_listens(const char *what, uint16_t port);

/* The exit code: 0 done, 1 failed, 2 wrong usage or settings. */
int process_main(const struct process *process, const uint32_t *log_level, int argc, char **argv);

#endif
