/*
 * stop.c - see stop.h.
 */
#include "base/stop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

bool stop_install(struct err *err)
{
    struct sigaction stop = {.sa_handler = on_signal}; /* no SA_RESTART: waits come back */
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    if (sigaction(SIGTERM, &stop, NULL) != 0 || sigaction(SIGINT, &stop, NULL) != 0 ||
        sigaction(SIGPIPE, &ignore, NULL) != 0)
        return err_set(err, ERR_FATAL, "could not install signal handlers: %s", strerror(errno));
    return true;
}

bool stop_requested(void)
{
    return stopping != 0;
}

void stop_request(void)
{
    stopping = 1;
}
