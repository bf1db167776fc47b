/*
 * chaos.h - what the parts of a chaos run share: the stage (servers, proxies, processes), the load
 * with the history it writes, the faults, and the end. One run a process.
 *
 *   main.c     the run            stage.c    processes, servers, proxies
 *   load.c     publishers         collect.c  replies, events, dead letters
 *   faults.c   what goes wrong    inside_pg.c  what the database holds afterwards
 *   torture.c  what goes on being wrong
 */
#ifndef TESTS_CHAOS_CHAOS_H
#define TESTS_CHAOS_CHAOS_H

#include "base/bytes.h"
#include "protocol/names.h"
#include "tests/chaos/history.h"
#include "tests/chaos/proxy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* A run that cannot go on as a run: says why, ends what it started, exits with 2. */
_Noreturn void give_up(const char *format, ...) __attribute__((format(printf, 1, 2)));
void must(bool ok, const struct err *err);

/* --- the stage --------------------------------------------------------------------------- */

enum server { SERVER_POSTGRES, SERVER_REDIS, SERVER_RABBITMQ, SERVERS_COUNT };
enum {
    PROCESSES_COUNT = 4,
    URL_SIZE = 256,
    /* RabbitMQ 3.10, killed within a second of declaring a quorum queue, may leave it without a
       leader for ever: what it must keep of it is not on the disk yet. */
    YOUNG_QUEUE_MS = 10000,
};

struct process {
    const char *program, *name;
    pid_t pid;
    uint32_t starts, deaths; /* deaths: those that nobody had ordered */
};

struct stage {
    struct names names;
    char prefix[32], database[32];
    char replies[64], events[64];
    char urls[SERVERS_COUNT][URL_SIZE]; /* past the proxies: for the run itself */
    char admin_url[URL_SIZE];           /* the database that is always there */
    struct proxy *proxies[SERVERS_COUNT];
    struct process processes[PROCESSES_COUNT];
};
extern struct stage stage;

void stage_open(void);
void stage_begin_processes(void);
void stage_close(void); /* ends every process, and drops the database */
/* Starts again what died; counts what nobody had ordered to die. */
void stage_tend(void);
void stage_pause(uint32_t ms); /* tends meanwhile */
void process_start(struct process *process);
/* SIGKILL, and true when that is what it died of. */
bool process_kill(struct process *process);
bool process_freeze(struct process *process); /* true when the kernel says that it stands still */
void process_thaw(struct process *process);
/* SIGTERM; true when it left with 0 in time. */
bool process_end(struct process *process, uint32_t within_ms);
/* scripts/servers VERB for one server; its exit code is 0. */
bool server_do(const char *verb, enum server server, const char *argument);
/* scripts/servers rabbitmqctl ...; arguments end with NULL. */
bool broker_do(const char *const *arguments);
bool ledgerctl_do(const char *verb); /* through the proxy, as the ledger's processes go */
const char *server_name(enum server server);

/* --- the load ---------------------------------------------------------------------------- */

enum { CHAOS_ACCOUNTS = 60, PUBLISHERS = 4 };

struct load {
    struct history history;
    uint32_t sent_max, events_max, replies_max;
    _Atomic uint32_t next; /* messages given out so far */
    _Atomic uint32_t confirmed;
    _Atomic uint32_t answered;            /* messages with a reply */
    _Atomic uint32_t replies, events;     /* seen, repeats too */
    _Atomic bool paused, ending;          /* publishers rest; publishers leave */
    _Atomic uint32_t resting;             /* publishers with nothing in flight, while paused */
    _Atomic uint64_t reconnects, blocked; /* connections lost; polls that found an alarm */
    _Atomic bool *has_reply;              /* by message */
    uint32_t rate;                        /* commands a second in all */
    uint32_t seed;
};
extern struct load load;

void load_open(uint32_t seconds, uint32_t rate, uint32_t seed);
void load_begin(void); /* collectors and publishers; the accounts are open when it returns */
/* Stops publishers after everything is confirmed; waits for all replies, then for silence. */
void load_end(uint32_t within_ms);
void load_pause(void); /* returns when all that was sent is confirmed and answered, or gives up */
void load_resume(void);
void load_close(void);

void collect_begin(void); /* threads that read replies and events, whatever happens */
void collect_end(void);
void collect_dead_letters(void);
/* Commit to arrival, of the events since the last call; the time of the commit is in the event. */
void collect_delays(double *p50_ms, double *p99_ms);

/* --- inside ------------------------------------------------------------------------------ */

void inside_read(struct history *history);
/* One number from the database, past the proxy; -1 when it is away. */
int64_t inside_number(const char *url, const char *sql);

/* Lines of the processes of a program that hold these words. */
uint32_t count_in_logs(const char *program, const char *words);

/* --- faults ------------------------------------------------------------------------------ */

enum { NOTE_SIZE = 160 };

struct fault {
    const char *name, *what;
    /* Does it, makes sure that it has taken place, holds it, heals it. False: it has not taken
     * place; the note says why. */
    bool (*run)(uint32_t random, char note[static NOTE_SIZE]);
    uint32_t times, failed;
    uint64_t recovery_ms, recovery_most_ms;
};
extern struct fault faults[];
extern const uint32_t faults_count;

/* torture.c: bloat, alarm or redis, instead of the faults. False: it was not borne. */
bool torture_run(const char *which);

#endif
