/*
 * it_notary.c - checkpoints on a real server, in the notary's role: what they attest, that a
 * history which was rewritten with all its hashes is found by them, that the role can change
 * nothing; and the process: one leads, another stands by, both end at SIGTERM.
 */
#include "notary/checkpoint_pg.h"
#include "protocol/properties.h"
#include "tests/keys.h"
#include "tests/store.h"
#include "tests/verify.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SENTENCES_SIZE = 1 << 14, MOST = 20, WAIT_MS = 20000 };

static struct bench *bench;
static struct db *owner, *notary;
static struct arena arena;
static struct ed25519 *keys[2];
static char sentences[SENTENCES_SIZE];
static struct verify_report report;
static struct checkpoint made[8]; /* by number */

static void hear(const char *sentence)
{
    size_t length = strlen(sentences);
    (void)snprintf(sentences + length, SENTENCES_SIZE - length, "%s\n", sentence);
}

static void verify_with(uint32_t keys_count, const struct checkpoint *kept, uint32_t kept_count)
{
    const struct verify_ear ear = {.role = "ledger_reader",
                                   .hear = hear,
                                   .keys = (const struct ed25519 *const *)keys,
                                   .keys_count = keys_count,
                                   .kept = kept,
                                   .kept_count = kept_count};

    sentences[0] = '\0';
    must(verify_try(&ear, MOST, &report));
}

static int64_t ask(const char *text)
{
    struct db *db = session_as(NULL);
    const struct statement statement = {"it_ask", text};
    int64_t value = number(db, &statement);

    db_close(db);
    return value;
}

/* False when there was nothing to attest. */
static bool make(uint32_t key, bool full, struct checkpoint *out)
{
    const struct checkpoint_options options = {
        .key = keys[key], .event_encoding = ENCODING_JSON, .arena = &arena};
    bool was_made;

    must(checkpoint_make(notary, &options, full, out, &was_made, &err));
    return was_made;
}

static int set_up_all(void **state)
{
    (void)database_make(state);
    bench = bench_open(session_as("ledger_worker"));
    owner = session_as(NULL);
    notary = session_as("ledger_notary");
    must(checkpoint_tune(notary, &err));
    must(arena_open(&arena, 4 << 20, &err));
    for (uint32_t i = 0; i < 2; i++)
        must(ed25519_open_private(&keys[i], text_of(private_pems[i]), &err));
    return 0;
}

static int tear_down_all(void **state)
{
    bench_close(bench);
    db_close(owner);
    db_close(notary);
    arena_close(&arena);
    for (uint32_t i = 0; i < 2; i++) ed25519_close(keys[i]);
    return database_drop(state);
}

static void it_attests_what_has_changed(void **state)
{
    struct sha256 hash;

    (void)state;
    assert_false(make(0, true, &made[1])); /* nothing has happened yet */
    expect(bench, "a", open_account("a", "ann", "EUR"), RESULT_APPLIED);
    expect(bench, "b", open_account("b", "ben", "EUR"), RESULT_APPLIED);
    expect(bench, "fees", open_system("fees", "EUR"), RESULT_APPLIED);
    expect(bench, "d1", deposit("a", 500), RESULT_APPLIED);
    expect(bench, "t1", transfer("a", "b", 100), RESULT_APPLIED);
    expect(bench, "s1", deposit("fees", 70), RESULT_APPLIED); /* world to fees: in no chain */
    assert_true(make(0, true, &made[1]));
    assert_int_equal(made[1].number, 1);
    assert_int_equal(made[1].leaves, 3);
    assert_false(make(0, true, &made[2]));
    assert_false(make(0, false, &made[2]));

    expect(bench, "d2", deposit("a", 1), RESULT_APPLIED);
    expect(bench, "d3", deposit("a", 2), RESULT_APPLIED);
    assert_true(make(0, false, &made[2]));
    assert_int_equal(made[2].leaves, 1);
    checkpoint_hash(&made[1], &hash);
    assert_memory_equal(&made[2].previous, &hash, sizeof hash);
    assert_false(make(0, false, &made[3]));

    expect(bench, "s2", deposit("fees", 5), RESULT_APPLIED);
    assert_true(make(1, false, &made[3])); /* another key from here on */
    assert_int_equal(made[3].leaves, 1);
    assert_int_equal(ask("SELECT count(*) FROM checkpoint_leaf WHERE transaction IS NOT NULL"), 2);
    verify_with(2, made + 1, 3);
    if (report.differences != 0) fail_msg("%s", sentences);
    assert_int_equal(report.checkpoints, 3);
    verify_with(0, NULL, 0);
    assert_int_equal(report.differences, 0);
}

/* A row that a clock hours behind gave its id is found by a full pass, and when it changes next. So
 * is what was imported, whose id is of when it happened, of system accounts alone too. */
static void what_an_odd_clock_hid_is_found_later(void **state)
{
    (void)state;
    batch_begin(bench);
    struct work *work = batch_add(bench, "odd", open_account("odd", "ann", "EUR"));
    memset(work->id.bytes, 1, 6);
    batch_run(bench);
    batch_begin(bench);
    bench->batch.import = 1;
    work = batch_add(bench, "old", deposit("fees", 3));
    memset(work->id.bytes, 1, 6);
    batch_run(bench);
    assert_int_equal(work->outcome.result, RESULT_APPLIED);
    assert_false(make(1, false, &made[4]));
    assert_true(make(1, true, &made[4]));
    assert_int_equal(made[4].leaves, 2);
    assert_false(make(1, true, &made[5]));
    verify_with(2, made + 1, 4);
    if (report.differences != 0) fail_msg("%s", sentences);
}

static void its_event_tells_all_of_it(void **state)
{
    static const struct statement events = {
        "it_events", "SELECT properties, body FROM outbox WHERE destination = 'checkpoint.created'"
                     " ORDER BY id"};
    struct properties properties;
    struct checkpoint told;
    char problem[PROBLEM_SIZE];
    PGresult *rows;

    (void)state;
    must(query_one(owner, &events, NULL, 0, &rows, &err));
    assert_int_equal(PQntuples(rows), 4);
    for (int i = 0; i < 4; i++) {
        assert_true(checkpoint_decode(bench->codec, cell_bytes(rows, i, 1), ENCODING_JSON, &arena,
                                      &told, problem));
        assert_memory_equal(&told, &made[1 + i], sizeof told);
        assert_true(properties_parse(cell_bytes(rows, i, 0), &properties));
        assert_true(text_equal(properties.type, text_of(CHECKPOINT_EVENT)));
        assert_true(text_equal(properties.content_type, text_of("application/json")));
        assert_int_equal(properties.message_id.length, sizeof "checkpoint:1" - 1);
    }
    PQclear(rows);
}

static void its_role_can_add_and_change_nothing(void **state)
{
    static const char *const forbidden[] = {
        "UPDATE checkpoint SET root = root",
        "DELETE FROM checkpoint",
        "UPDATE checkpoint_leaf SET head = head",
        "DELETE FROM checkpoint_leaf",
        "TRUNCATE checkpoint",
        "UPDATE account SET balance = balance",
        "INSERT INTO journal SELECT * FROM journal",
        "DELETE FROM journal",
        "DELETE FROM outbox",
        "SELECT * FROM outbox",
        "SELECT * FROM suspect",
    };

    (void)state;
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        assert_false(db_run(notary, forbidden[i], &err));
        if (strstr(err.text, "permission denied") == NULL)
            fail_msg("%s: %s", forbidden[i], err.text);
    }
}

/* --- forgeries --- */

/* The hashes of all entries as they are now, in the way of the migration: as consistent as can be.
 */
static void rehash(void)
{
    const struct migration *chain = migrations;
    struct db *db = session_as(NULL); /* the migration leaves functions in it */

    while (strcmp(chain->name, "009_chain") != 0) chain++;
    sql(db, "ALTER TABLE journal DROP COLUMN debit_hash, DROP COLUMN credit_hash;"
            "ALTER TABLE account DROP COLUMN head");
    must(db_run(db, chain->sql, &err));
    db_close(db);
}

static const struct {
    const char *what, *forgery, *undo, *says;
    bool rehashes;
} forgeries[] = {
    {"a key, and every hash", "UPDATE journal SET key = 'd9' WHERE key = 'd1'",
     "UPDATE journal SET key = 'd1' WHERE key = 'd9'",
     "account a: entry 2 is not the one that checkpoint 1 attests", true},
    {"a movement in no chain", "UPDATE journal SET caller = 'x' WHERE key = 's1'",
     "UPDATE journal SET caller = 'tests' WHERE key = 's1'", " attests another", false},
    {"a leaf",
     "UPDATE checkpoint_leaf SET head = sha256(head) WHERE account IS NOT NULL AND checkpoint = 2",
     "UPDATE checkpoint_leaf SET head = account.head FROM account WHERE number = "
     "checkpoint_leaf.account"
     " AND checkpoint = 2",
     "checkpoint 2: its leaves are not those that were signed", false},
    {"one leaf less",
     "UPDATE checkpoint_leaf SET checkpoint = 99 WHERE checkpoint = 1 AND position = 0",
     "UPDATE checkpoint_leaf SET checkpoint = 1 WHERE checkpoint = 99",
     "checkpoint 1: its leaves are not those that were signed", false},
    {"a root", "UPDATE checkpoint SET root = sha256(root) WHERE number = 4", "",
     "checkpoint 4: its signature is wrong", false},
};

static void a_rewritten_history_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        sql(owner, "CREATE TABLE was AS TABLE checkpoint; TRUNCATE outbox;"
                   "UPDATE outbox_rotation SET rotated_at = now()");
        sql(owner, "%s", forgeries[i].forgery);
        if (forgeries[i].rehashes) rehash();
        verify_with(2, NULL, 0);
        if (strstr(sentences, forgeries[i].says) == NULL)
            fail_msg("%s: none says '%s'\n%s", forgeries[i].what, forgeries[i].says, sentences);
        if (forgeries[i].undo[0] != '\0') sql(owner, "%s", forgeries[i].undo);
        if (forgeries[i].rehashes) rehash();
        sql(owner, "TRUNCATE checkpoint; INSERT INTO checkpoint TABLE was; DROP TABLE was");
        verify_with(2, made + 1, 4);
        if (report.differences != 0) fail_msg("%s: %s", forgeries[i].what, sentences);
    }
}

static void what_was_kept_outside_is_compared(void **state)
{
    struct checkpoint other = made[2];

    (void)state;
    verify_with(1, made + 1, 4); /* without the second key */
    assert_non_null(strstr(sentences, "checkpoint 3 was signed with key "));
    other.leaves++;
    verify_with(2, &other, 1);
    assert_string_equal(sentences, "checkpoint 2 is not the one that was kept outside\n");
    other = (struct checkpoint){.number = 5};
    verify_with(2, &other, 1);
    assert_string_equal(sentences, "checkpoint 5 was kept outside, but is not in the ledger\n");
    sql(owner, "CREATE TABLE was AS TABLE checkpoint; DELETE FROM checkpoint WHERE number = 2");
    verify_with(2, made + 1, 4);
    assert_non_null(strstr(sentences, "checkpoint 2 was removed; the next one is 3"));
    assert_non_null(strstr(sentences, "checkpoint 2 was kept outside, but is not in the ledger"));
    sql(owner, "DELETE FROM checkpoint WHERE number > 2"); /* the end: nobody inside can tell */
    verify_with(2, made + 1, 4);
    assert_non_null(strstr(sentences, "checkpoint 4 was kept outside, but is not in the ledger"));
    sql(owner, "TRUNCATE checkpoint; INSERT INTO checkpoint TABLE was; DROP TABLE was");
}

/* --- the process --- */

static pid_t start(const char *key)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/ledger-notary", getenv("LEDGER_BIN"));
    pid_t child = fork();
    if (child != 0) return child;
    (void)setenv("LEDGER_DATABASE_URL", outbox_url, 1);
    (void)setenv("LEDGER_SIGNING_KEY", key, 1);
    (void)setenv("LEDGER_CHECKPOINT_S", "1", 1);
    (void)setenv("LEDGER_HTTP_PORT", "0", 1);
    (void)setenv("LEDGER_HTTP_ADDRESS", "127.0.0.1", 1);
    execl(path, path, (char *)NULL);
    _exit(127);
}

static void await_checkpoint(int64_t wanted)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;

    while (ask("SELECT coalesce(max(number), 0) FROM checkpoint") < wanted) {
        if (clock_monotonic_ms() > deadline_ms) fail_msg("no checkpoint %jd", (intmax_t)wanted);
        clock_sleep_ms(50);
    }
}

static int end(pid_t child, int number)
{
    int status;

    assert_int_equal(kill(child, number), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void one_leads_and_another_takes_over(void **state)
{
    (void)state;
    pid_t first = start(private_pems[0]);
    expect(bench, "p1", deposit("a", 1), RESULT_APPLIED);
    await_checkpoint(5);
    pid_t second = start(private_pems[1]);
    expect(bench, "p2", deposit("a", 1), RESULT_APPLIED);
    await_checkpoint(6);
    (void)end(first, SIGKILL);
    expect(bench, "p3", deposit("a", 1), RESULT_APPLIED);
    await_checkpoint(7);
    int status = end(second, SIGTERM);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    verify_with(2, made + 1, 4);
    if (report.differences != 0) fail_msg("%s", sentences);
    assert_int_equal(ask("SELECT count(DISTINCT key) FROM checkpoint WHERE number > 4"), 2);
}

static void without_a_key_it_does_not_start(void **state)
{
    int status;

    (void)state;
    pid_t child = start("nonsense");
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_attests_what_has_changed),
        cmocka_unit_test(what_an_odd_clock_hid_is_found_later),
        cmocka_unit_test(its_event_tells_all_of_it),
        cmocka_unit_test(its_role_can_add_and_change_nothing),
        cmocka_unit_test(a_rewritten_history_is_found),
        cmocka_unit_test(what_was_kept_outside_is_compared),
        cmocka_unit_test(one_leads_and_another_takes_over),
        cmocka_unit_test(without_a_key_it_does_not_start),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
