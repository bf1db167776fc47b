/*
 * it_migrate.c - migrations on a real server, in a database of their own: what is half done leaves
 * nothing, what differs is refused, and any number of programs may try at once.
 *
 * The list below takes the place of the embedded one: the linker finds it first.
 */
#include "base/clock.h"
#include "base/query_pg.h"
#include "ledger/migrate_pg.h"
#include "tests/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONNINFO_SIZE = 1024, ANSWER_TIMEOUT_MS = 10000, SQL_SIZE = 256, PROCESSES = 4 };

static const char third_good[] = "CREATE TABLE third (id int); SELECT pg_sleep(0.2)";
static const char third_bad[] =
    "CREATE TABLE third (id int); SELECT 1/0; CREATE TABLE fourth (id int)";
static char third[SQL_SIZE];

const struct migration migrations[] = {
    {1, "001_first", "CREATE TABLE first (id int); SELECT pg_sleep(0.2)"},
    {2, "002_second", "DO $$ BEGIN RAISE NOTICE 'dropped'; END $$; INSERT INTO first VALUES (1);"},
    {3, "003_third", third},
};
const uint32_t migrations_count = 3;

static struct db *db;
static char conninfo[CONNINFO_SIZE];
static char told[SQL_SIZE]; /* the names that progress heard */

static void progress(const char *name)
{
    size_t length = strlen(told);
    snprintf(told + length, sizeof(told) - length, "%s ", name);
}

static struct db *open_database(const char *database, uint32_t answer_timeout_ms)
{
    const char *url = getenv("LEDGER_DATABASE_URL");
    if (url == NULL) fail_msg("LEDGER_DATABASE_URL is not set");
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    assert_non_null(options);
    size_t length = 0;
    for (PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (option->val != NULL)
            length += (size_t)snprintf(conninfo + length, CONNINFO_SIZE - length, "%s='%s' ",
                                       option->keyword, option->val);
    PQconninfoFree(options);
    if (database != NULL)
        snprintf(conninfo + length, CONNINFO_SIZE - length, "dbname=%s", database);

    struct db_options db_options = {.url = conninfo,
                                    .application_name = "it_migrate",
                                    .connect_timeout_ms = 5000,
                                    .answer_timeout_ms = answer_timeout_ms};
    struct db *opened;
    struct err err;
    if (!db_open(&opened, &db_options, &err)) fail_msg("%s", err.text);
    return opened;
}

static void run(struct db *on, const char *sql)
{
    struct err err;
    if (!db_run(on, sql, &err)) fail_msg("%s", err.text);
}

static int64_t count(const char *sql)
{
    PGresult *result;
    struct err err;
    const struct statement statement = {"it_count", sql};
    struct db *reader = open_database("it_migrate", ANSWER_TIMEOUT_MS);
    if (!query_one(reader, &statement, NULL, 0, &result, &err)) fail_msg("%s", err.text);
    int64_t value = cell_int64(result, 0, 0);
    PQclear(result);
    db_close(reader);
    return value;
}

static uint32_t migrate(void)
{
    uint32_t applied = 99;
    struct err err;
    told[0] = '\0';
    if (!migrate_run(db, &applied, progress, &err)) fail_msg("%s", err.text);
    return applied;
}

static void assert_refused(const char *says)
{
    uint32_t applied = 99;
    struct err err;
    if (migrate_run(db, &applied, NULL, &err)) fail_msg("not refused: %s", says);
    if (err.kind != ERR_FATAL) fail_msg("kind %d: %s", (int)err.kind, err.text);
    if (strstr(err.text, says) == NULL) fail_msg("%s: %s", says, err.text);
    assert_int_equal(applied, 0);
    assert_true(db_usable(db));
}

static void assert_unfit(const char *says)
{
    struct err err;
    if (migrate_check(db, &err)) fail_msg("not refused: %s", says);
    if (err.kind != ERR_FATAL) fail_msg("kind %d: %s", (int)err.kind, err.text);
    if (strstr(err.text, says) == NULL) fail_msg("%s: %s", says, err.text);
    assert_true(db_usable(db));
}

static int setup(void **state)
{
    (void)state;
    snprintf(third, sizeof(third), "%s", third_good);
    struct db *admin = open_database(NULL, ANSWER_TIMEOUT_MS);
    run(admin, "DROP DATABASE IF EXISTS it_migrate WITH (FORCE)");
    run(admin, "CREATE DATABASE it_migrate");
    db_close(admin);
    db = open_database("it_migrate", ANSWER_TIMEOUT_MS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    db_close(db);
    struct db *admin = open_database(NULL, ANSWER_TIMEOUT_MS);
    run(admin, "DROP DATABASE it_migrate WITH (FORCE)");
    db_close(admin);
    return 0;
}

static void test_from_nothing(void **state)
{
    struct err err;
    (void)state;

    assert_unfit("run ledgerctl migrate"); /* no table yet */
    assert_int_equal(migrate(), 3);
    assert_string_equal(told, "001_first 002_second 003_third ");
    assert_true(migrate_check(db, &err));
    assert_int_equal(count("SELECT count(*) FROM first, information_schema.tables"
                           " WHERE table_schema = 'ledger' AND table_name = 'third'"),
                     1);
    assert_int_equal(count("SELECT count(*) FROM schema_migration WHERE applied_by = current_user"
                           " AND name LIKE '00' || version || '_%'"),
                     3);
    assert_int_equal(count("SELECT count(*) FROM schema_migration WHERE version = 3 AND checksum ="
                           " encode(sha256('CREATE TABLE third (id int); SELECT pg_sleep(0.2)'),"
                           " 'hex')"),
                     1);
    assert_int_equal(migrate(), 0);
    assert_string_equal(told, "");
}

static void test_half_done_leaves_nothing(void **state)
{
    uint32_t applied;
    struct err err;
    (void)state;

    snprintf(third, sizeof(third), "%s", third_bad);
    for (int round = 0; round < 2; round++) {
        assert_false(migrate_run(db, &applied, NULL, &err));
        assert_int_equal(applied, round == 0 ? 2 : 0);
        assert_int_equal(err.kind, ERR_FATAL);
        assert_non_null(strstr(err.text, "003_third"));
        assert_non_null(strstr(err.text, "division by zero"));
        assert_int_equal(count("SELECT count(*) FROM schema_migration"), 2);
        assert_int_equal(count("SELECT (to_regclass('third') IS NULL)::int::int8"), 1);
    }
    assert_unfit("version 2, this program needs 3; run ledgerctl migrate");
    snprintf(third, sizeof(third), "%s", third_good);
    assert_int_equal(migrate(), 1);
    assert_string_equal(told, "003_third ");
}

static void test_other_histories(void **state)
{
    static const struct {
        const char *sql, *says;
    } cases[] = {
        {"UPDATE schema_migration SET checksum = 'edited' WHERE version = 1",
         "001_first was applied with checksum edited"},
        {"UPDATE schema_migration SET checksum = '' WHERE version = 3", "003_third was applied"},
        {"DELETE FROM schema_migration WHERE version = 2", "has version 3 where 2 belongs"},
        {"DELETE FROM schema_migration WHERE version = 1", "has version 2 where 1 belongs"},
        {"INSERT INTO schema_migration VALUES (4, '004_later', 'x')", "use the newer program"},
    };
    (void)state;

    assert_int_equal(migrate(), 3);
    run(db, "CREATE TABLE kept AS SELECT * FROM schema_migration");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        run(db, cases[i].sql);
        assert_refused(cases[i].says);
        run(db, "DELETE FROM schema_migration; INSERT INTO schema_migration SELECT * FROM kept");
        assert_int_equal(migrate(), 0);
    }
    run(db, "INSERT INTO schema_migration VALUES (4, '004_later', 'x')");
    assert_unfit("version 4, newer than this program (version 3)");
    run(db, "DELETE FROM schema_migration WHERE version > 2");
    assert_unfit("version 2, this program needs 3; run ledgerctl migrate");
    run(db, "DELETE FROM schema_migration");
    assert_unfit("version 0, this program needs 3; run ledgerctl migrate");
}

/* Exits with the number of migrations it applied, or 100. */
static pid_t fork_migration(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;

    uint32_t applied = 0;
    struct err err;
    struct db *own = open_database("it_migrate", ANSWER_TIMEOUT_MS);
    bool ok = migrate_run(own, &applied, NULL, &err);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    db_close(own);
    _exit(ok ? (int)applied : 100);
}

static void test_many_at_once(void **state)
{
    pid_t pids[PROCESSES];
    int total = 0;
    (void)state;

    for (int i = 0; i < PROCESSES; i++) pids[i] = fork_migration();
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        total += WEXITSTATUS(status);
    }
    assert_int_equal(total, 3);
    assert_int_equal(migrate(), 0);
}

/* Killed at any time, it leaves whole migrations and no lock. */
static void test_killed(void **state)
{
    (void)state;
    for (uint32_t after_ms = 0; after_ms <= 500; after_ms += 100) {
        int status;
        pid_t pid = fork_migration();
        clock_sleep_ms(after_ms);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        uint32_t applied = migrate();
        assert_in_range(applied, 0, 3);
        assert_int_equal(count("SELECT count(*) FROM schema_migration"), 3);
        assert_int_equal(count("SELECT count(*) FROM first"), 1);
        run(db, "DROP SCHEMA ledger CASCADE");
    }
}

static void test_lock_wait_is_bounded(void **state)
{
    uint32_t applied;
    struct err err;
    (void)state;

    struct db *hasty = open_database("it_migrate", 400);
    run(db, "SELECT pg_advisory_lock(x'6c6564676572'::int8)");
    assert_false(migrate_run(hasty, &applied, NULL, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.text, "is another migration running"));
    run(db, "SELECT pg_advisory_unlock(x'6c6564676572'::int8)");
    db_close(hasty);
    assert_int_equal(migrate(), 3);
    assert_int_equal(count("SELECT count(*) FROM pg_locks JOIN pg_database ON database ="
                           " pg_database.oid WHERE locktype = 'advisory' AND datname ="
                           " 'it_migrate'"),
                     0);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_from_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_done_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_histories, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock_wait_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
