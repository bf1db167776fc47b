/*
 * it_chain.c - `ledgerctl verify` over a history of LEDGER_CHAIN_ENTRIES entries (20,000; the
 * target is 1,000,000 in 30 seconds), one long chain among many short ones: it is found right, in
 * time and in flat memory, and a change deep inside is named.
 */
#include "tests/store.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ACCOUNTS = 1000, BATCH_COMMANDS = 1000, RSS_MOST_KB = 100 << 10, SECONDS_MOST = 30 };

static uint32_t entries_wanted(void)
{
    const char *text = getenv("LEDGER_CHAIN_ENTRIES");
    return text == NULL ? 20000 : (uint32_t)strtoul(text, NULL, 10);
}

/* Every second command is about a0; a transfer makes two entries. */
static void write_history(uint32_t entries)
{
    struct bench *bench = bench_open(session_as("ledger_worker"));
    uint32_t made = 0, n = 0;

    batch_begin(bench);
    for (uint32_t i = 0; i < ACCOUNTS; i++, made++)
        batch_add(bench, batch_text(bench, "open-%u", i),
                  open_account(batch_text(bench, "a%u", i), "ann", "EUR"));
    batch_run(bench);
    while (made < entries) {
        batch_begin(bench);
        for (uint32_t i = 0; i < BATCH_COMMANDS; i++, n++) {
            const char *other = batch_text(bench, "a%u", 1 + n % (ACCOUNTS - 1));
            bool transfers = n % 4 == 3;
            batch_add(bench, batch_text(bench, "key-%u", n),
                      transfers    ? transfer("a0", other, 1)
                      : n % 4 == 1 ? deposit("a0", 5)
                                   : deposit(other, 5));
            made += transfers ? 2 : 1;
        }
        batch_run(bench);
    }
    bench_close(bench);
}

struct run {
    int status;
    long rss_kb;
    uint64_t took_ms;
    char said[1 << 12];
};

/* ledgerctl verify as an operator runs it. */
static struct run run_verify(void)
{
    struct run run = {0};
    struct rusage usage;
    int pipe_ends[2];
    char path[512];
    size_t size = 0;
    uint64_t begun_ms = clock_monotonic_ms();

    (void)snprintf(path, sizeof path, "%s/ledgerctl", getenv("LEDGER_BIN"));
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(pipe_ends[1], STDOUT_FILENO);
        (void)close(pipe_ends[0]);
        (void)setenv("LEDGER_DATABASE_URL", outbox_url, 1);
        execl(path, path, "verify", (char *)NULL);
        _exit(127);
    }
    (void)close(pipe_ends[1]);
    for (ssize_t got = 1; got > 0;) {
        got = read(pipe_ends[0], run.said + size, sizeof run.said - 1 - size);
        if (got > 0) size += (size_t)got;
    }
    (void)close(pipe_ends[0]);
    assert_int_equal(wait4(child, &run.status, 0, &usage), child);
    run.rss_kb = usage.ru_maxrss;
    run.took_ms = clock_monotonic_ms() - begun_ms;
    return run;
}

static void a_long_history_is_verified_in_time(void **state)
{
    uint32_t entries = entries_wanted();

    (void)state;
    write_history(entries);
    struct run run = run_verify();
    print_message("%u entries: %ju ms, %ld KiB\n%s", entries, (uintmax_t)run.took_ms, run.rss_kb,
                  run.said);
    assert_true(WIFEXITED(run.status));
    assert_int_equal(WEXITSTATUS(run.status), 0);
    assert_non_null(strstr(run.said, "the books are right"));
    assert_in_range(run.took_ms, 0, SECONDS_MOST * 1000);
#if !defined __SANITIZE_ADDRESS__
    assert_in_range(run.rss_kb, 0, RSS_MOST_KB);
#endif
}

static void a_change_deep_inside_is_named(void **state)
{
    struct db *owner = session_as(NULL);

    (void)state;
    sql(owner, "UPDATE journal SET trace_id = '00000000-0000-0000-0000-000000000001'"
               " WHERE key = 'key-2001'");
    db_close(owner);
    struct run run = run_verify();
    assert_true(WIFEXITED(run.status));
    assert_int_equal(WEXITSTATUS(run.status), 1);
    assert_non_null(strstr(run.said, "account a0: entry "));
    assert_non_null(strstr(run.said, ", was changed or inserted by hand"));
    assert_non_null(strstr(run.said, "THE BOOKS ARE WRONG"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_history_is_verified_in_time),
        cmocka_unit_test(a_change_deep_inside_is_named),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
