/*
 * stage.c - the servers of the instance "chaos", a proxy before each, and the ledger's processes,
 * which know only the proxies. A process that dies is started again at once, as a supervisor does.
 */
#include "tests/chaos/chaos.h"

#include "base/clock.h"
#include "base/link_amqp.h"
#include "base/topology_amqp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct stage stage = {.processes = {{.program = "ledger-worker", .name = "worker-1"},
                                    {.program = "ledger-worker", .name = "worker-2"},
                                    {.program = "ledger-relay", .name = "relay-1"},
                                    {.program = "ledger-relay", .name = "relay-2"}}};

enum { SHARDS = 4, ARGUMENTS_MAX = 16, LINE_SIZE = 4096 };

static const char *const SERVER_NAMES[] = {"postgres", "redis", "rabbitmq"};
static const char *const URL_NAMES[] = {"LEDGER_DATABASE_URL", "LEDGER_REDIS_URL",
                                        "LEDGER_AMQP_URL"};

_Noreturn void give_up(const char *format, ...)
{
    va_list args;

    (void)fflush(stdout);
    (void)fputs("chaos: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    for (uint32_t i = 0; i < PROCESSES_COUNT; i++)
        if (stage.processes[i].pid > 0) (void)kill(stage.processes[i].pid, SIGKILL);
    _exit(2);
}

void must(bool ok, const struct err *err)
{
    if (!ok) give_up("%s", err->text);
}

const char *server_name(enum server server)
{
    return SERVER_NAMES[server];
}

/* --- commands ---------------------------------------------------------------------------- */

static bool run(char *const *arguments)
{
    int status = 0;
    pid_t pid = fork();

    if (pid < 0) give_up("fork: %s", strerror(errno));
    if (pid == 0) {
        int out = open("build/test-logs/chaos/commands.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (out >= 0) (void)dup2(out, STDOUT_FILENO);
        if (out >= 0) (void)dup2(out, STDERR_FILENO);
        (void)execv(arguments[0], arguments);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) give_up("waitpid: %s", strerror(errno));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static char *instance(void)
{
    static char fallback[] = "chaos";
    char *name = getenv("LEDGER_SERVERS_NAME");

    return name != NULL ? name : fallback;
}

bool server_do(const char *verb, enum server server, const char *argument)
{
    char script[] = "scripts/servers", first[16], second[16], third[16];

    (void)snprintf(first, sizeof first, "%s", verb);
    (void)snprintf(second, sizeof second, "%s", server_name(server));
    (void)snprintf(third, sizeof third, "%s", argument == NULL ? "" : argument);
    char *arguments[] = {script, first, instance(), second, argument == NULL ? NULL : third, NULL};
    return run(arguments);
}

bool broker_do(const char *const *given)
{
    char script[] = "scripts/servers", verb[] = "rabbitmqctl", quiet[] = "-q";
    char copies[ARGUMENTS_MAX][64];
    char *arguments[ARGUMENTS_MAX + 5] = {script, verb, instance(), quiet};
    uint32_t count = 4;

    for (uint32_t i = 0; given[i] != NULL && i < ARGUMENTS_MAX; i++) {
        (void)snprintf(copies[i], sizeof copies[i], "%s", given[i]);
        arguments[count++] = copies[i];
    }
    return run(arguments);
}

/* --- processes --------------------------------------------------------------------------- */

void process_start(struct process *process)
{
    const char *folder = getenv("LEDGER_BIN");
    char path[512], log[256];

    (void)snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : "build/gcc-release/bin",
                   process->program);
    (void)snprintf(log, sizeof log, "build/test-logs/chaos/%s.log", process->name);
    process->starts++;
    process->pid = fork();
    if (process->pid < 0) give_up("fork: %s", strerror(errno));
    if (process->pid > 0) return;
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (out < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0) _exit(126);
    (void)execl(path, process->program, (char *)NULL);
    _exit(127);
}

bool process_kill(struct process *process)
{
    int status = 0;
    pid_t pid = process->pid;

    process->pid = 0;
    if (pid == 0 || kill(pid, SIGKILL) != 0 || waitpid(pid, &status, 0) != pid) return false;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static char process_state(pid_t pid)
{
    char path[64], text[512];

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return '?';
    size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' ? end[2] : '?';
}

bool process_freeze(struct process *process)
{
    if (process->pid == 0 || kill(process->pid, SIGSTOP) != 0) return false;
    for (uint32_t i = 0; i < 100 && process_state(process->pid) != 'T'; i++) clock_sleep_ms(10);
    return process_state(process->pid) == 'T';
}

void process_thaw(struct process *process)
{
    if (process->pid > 0) (void)kill(process->pid, SIGCONT);
}

bool process_end(struct process *process, uint32_t within_ms)
{
    uint64_t deadline_ms = clock_monotonic_ms() + within_ms;
    int status = 0;
    pid_t pid = process->pid;

    if (pid == 0 || kill(pid, SIGTERM) != 0) return false;
    while (clock_monotonic_ms() < deadline_ms) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            process->pid = 0;
            return WIFEXITED(status) && WEXITSTATUS(status) == 0;
        }
        clock_sleep_ms(20);
    }
    (void)process_kill(process);
    return false;
}

void stage_tend(void)
{
    for (uint32_t i = 0; i < PROCESSES_COUNT; i++) {
        struct process *process = &stage.processes[i];
        int status = 0;
        if (process->pid > 0 && waitpid(process->pid, &status, WNOHANG) == process->pid) {
            process->deaths++;
            printf("chaos: %s died by itself, status %d: see build/test-logs/chaos/%s.log\n",
                   process->name, status, process->name);
            process->pid = 0;
        }
        if (process->pid == 0) process_start(process);
    }
}

void stage_pause(uint32_t ms)
{
    uint64_t until_ms = clock_monotonic_ms() + ms, now_ms;

    while ((now_ms = clock_monotonic_ms()) < until_ms) {
        stage_tend();
        clock_sleep_ms(until_ms - now_ms < 50 ? (uint32_t)(until_ms - now_ms) : 50);
    }
}

uint32_t count_in_logs(const char *program, const char *words)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < PROCESSES_COUNT; i++) {
        char path[256], line[LINE_SIZE];
        if (strcmp(stage.processes[i].program, program) != 0) continue;
        (void)snprintf(path, sizeof path, "build/test-logs/chaos/%s.log", stage.processes[i].name);
        FILE *file = fopen(path, "re");
        while (file != NULL && fgets(line, sizeof line, file) != NULL)
            count += strstr(line, words) != NULL;
        if (file != NULL) (void)fclose(file);
    }
    return count;
}

/* --- the whole --------------------------------------------------------------------------- */

static uint16_t port_of(const char *url)
{
    const char *colon = strrchr(url, ':');

    if (colon == NULL) give_up("no port in %s", url);
    return (uint16_t)strtoul(colon + 1, NULL, 10);
}

/* The same URL with another port and, for PostgreSQL, another database. */
static void url_change(const char *url, uint16_t port, const char *database,
                       char out[static URL_SIZE])
{
    const char *colon = strrchr(url, ':'), *slash = strchr(colon, '/');

    (void)snprintf(out, URL_SIZE, "%.*s:%u/%s", (int)(colon - url), url, (unsigned)port,
                   database != NULL ? database : slash + 1);
}

static void open_proxies(void)
{
    struct err err = {0};

    for (uint32_t i = 0; i < SERVERS_COUNT; i++) {
        const char *url = getenv(URL_NAMES[i]);
        char through[URL_SIZE];
        if (url == NULL) give_up("%s is not set; run scripts/chaos", URL_NAMES[i]);
        const char *database = i == SERVER_POSTGRES ? stage.database : NULL;
        if (i == SERVER_POSTGRES) (void)snprintf(stage.admin_url, URL_SIZE, "%s", url);
        url_change(url, port_of(url), database, stage.urls[i]);
        must(proxy_open(&stage.proxies[i], port_of(url), &err), &err);
        url_change(url, proxy_port(stage.proxies[i]), database, through);
        if (setenv(URL_NAMES[i], through, 1) != 0) give_up("setenv: %s", strerror(errno));
    }
}

static void declare_queue(const char *queue, const char *exchange)
{
    struct topology_queue wanted = {.arguments = {{.name = "x-queue-type", .text = "quorum"},
                                                  {.name = "x-delivery-limit", .number = 1000000}},
                                    .arguments_count = 2};
    struct topology_binding binding = {.key = "#"};
    struct topology topology = {.queues = &wanted, .queues_count = 1};
    struct err err = {0};

    (void)snprintf(wanted.name, sizeof wanted.name, "%s", queue);
    (void)snprintf(binding.destination, sizeof binding.destination, "%s", queue);
    if (exchange != NULL) {
        (void)snprintf(binding.source, sizeof binding.source, "%s", exchange);
        topology.bindings = &binding;
        topology.bindings_count = 1;
    }
    must(topology_apply(stage.urls[SERVER_RABBITMQ], &topology, TOPOLOGY_DECLARE, &err), &err);
}

static void set_environment(void)
{
    char shards[8];

    (void)snprintf(shards, sizeof shards, "%d", SHARDS);
    const char *const values[][2] = {
        {"LEDGER_PREFIX", stage.prefix},      {"LEDGER_SHARDS", shards},
        {"LEDGER_HTTP_ADDRESS", "127.0.0.1"}, {"LEDGER_HTTP_PORT", "0"},
        {"LEDGER_LOG_COMMANDS", "none"},      {"LEDGER_HEARTBEAT_S", "10"},
        {"LEDGER_ANSWER_TIMEOUT_MS", "4000"}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (setenv(values[i][0], values[i][1], 1) != 0) give_up("setenv: %s", strerror(errno));
}

bool ledgerctl_do(const char *verb)
{
    const char *folder = getenv("LEDGER_BIN");
    char path[512], copy[32];

    (void)snprintf(path, sizeof path, "%s/ledgerctl",
                   folder != NULL ? folder : "build/gcc-release/bin");
    (void)snprintf(copy, sizeof copy, "%s", verb);
    char *arguments[] = {path, copy, NULL};
    return run(arguments);
}

static void create_database(void)
{
    char sql[128], through[URL_SIZE];

    (void)snprintf(sql, sizeof sql, "CREATE DATABASE %s", stage.database);
    (void)inside_number(getenv("LEDGER_DATABASE_URL"), sql);
    (void)snprintf(through, sizeof through, "%s", getenv("LEDGER_DATABASE_URL"));
    char url[URL_SIZE];
    url_change(through, port_of(through), stage.database, url);
    if (setenv("LEDGER_DATABASE_URL", url, 1) != 0 || !ledgerctl_do("migrate") ||
        setenv("LEDGER_DATABASE_URL", through, 1) != 0)
        give_up("could not migrate; see build/test-logs/chaos/commands.log");
}

void stage_open(void)
{
    struct err err = {0};
    uint32_t random;

    random_bytes(&random, sizeof random);
    (void)snprintf(stage.prefix, sizeof stage.prefix, "chaos%08x", random);
    (void)snprintf(stage.database, sizeof stage.database, "chaos_%08x", random);
    (void)snprintf(stage.replies, sizeof stage.replies, "%s.test.replies", stage.prefix);
    (void)snprintf(stage.events, sizeof stage.events, "%s.test.events", stage.prefix);
    must(names_make(&stage.names, stage.prefix, SHARDS, &err), &err);
    create_database();
    open_proxies();
    set_environment();
    static struct names_topology topology;
    names_topology(&stage.names, &topology);
    must(topology_apply(stage.urls[SERVER_RABBITMQ], &topology.topology, TOPOLOGY_DECLARE, &err),
         &err);
    declare_queue(stage.replies, NULL);
    declare_queue(stage.events, stage.names.events);
}

void stage_begin_processes(void)
{
    for (uint32_t i = 0; i < PROCESSES_COUNT; i++) process_start(&stage.processes[i]);
}

void stage_close(void)
{
    char sql[128];

    for (uint32_t i = 0; i < PROCESSES_COUNT; i++)
        if (stage.processes[i].pid > 0) (void)process_kill(&stage.processes[i]);
    for (uint32_t i = 0; i < SERVERS_COUNT; i++) proxy_close(stage.proxies[i]);
    (void)snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS %s WITH (FORCE)", stage.database);
    (void)inside_number(stage.admin_url, sql);
}
