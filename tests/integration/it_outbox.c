/*
 * it_outbox.c - the outbox table and its cursor on a real PostgreSQL, in the roles that the
 * processes have: every committed row is read once, whatever order transactions commit in; a cursor
 * is refused where it means nothing; a partition is emptied only when nobody needs it.
 */
#include "outbox/sinks_pg.h"
#include "tests/outbox.h"

enum { ARENA_SIZE = 8 << 20, PAGE = 100, BIG = 1 << 20, ROTATE_ROWS = 1000 };

static struct db *writer, *relay, *side, *owner; /* of each test */
static struct outbox_reader *reader;             /* over relay, and side */
static struct arena arena;
static struct cursor cursor; /* what a relay would have confirmed */
static struct outbox_row page[PAGE];
static uint32_t seen[OUTBOX_ACCOUNTS]; /* the last number read of each account */

static const struct statement COUNT = {"it_count", "SELECT count(*) FROM outbox"};
static const struct statement SLOT = {"it_slot", "SELECT slot::bigint FROM outbox_rotation"};

static int set_up(void **state)
{
    (void)state;
    writer = session_as("ledger_worker");
    relay = session_as("ledger_relay");
    side = session_as("ledger_relay");
    owner = session_as(NULL);
    sql(owner,
        "TRUNCATE outbox, outbox_cursor; UPDATE outbox_rotation SET slot = 0, rotated_at = now()");
    must(outbox_tune(relay, &err));
    must(outbox_reader_open(&reader, relay, side, &err));
    must(arena_open(&arena, ARENA_SIZE, &err));
    memset(seen, 0, sizeof seen);
    memset(&cursor, 0, sizeof cursor);
    (void)snprintf(cursor.snapshot, sizeof cursor.snapshot, "1:1:");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    outbox_reader_close(reader);
    db_close(writer);
    db_close(relay);
    db_close(side);
    db_close(owner);
    arena_close(&arena);
    return 0;
}

static void take_row(const struct outbox_row *row)
{
    uint32_t account, value = row_number(row->body, &account);

    assert_in_range(account, 0, OUTBOX_ACCOUNTS - 1);
    if (value != seen[account] + 1)
        fail_msg("account %u: row %u was read after row %u", account, value, seen[account]);
    seen[account] = value;
}

/* Reads what is new to its end, in order; returns how many rows that were. */
static uint32_t read_new(void)
{
    uint32_t total = 0, count = 0;
    int64_t last = 0;

    must(outbox_read_begin(reader, &cursor, &err));
    for (bool end = false; !end;) {
        arena_reset(&arena);
        must(outbox_read(reader, &arena, page, PAGE, &count, &end, &err));
        for (uint32_t i = 0; i < count; i++) {
            assert_true(page[i].id > last);
            last = page[i].id;
            take_row(&page[i]);
        }
        total += count;
    }
    memcpy(cursor.snapshot, cursor.target, sizeof cursor.snapshot);
    cursor.target[0] = '\0';
    return total;
}

/* --- writing ----------------------------------------------------------------------------- */

static void append(const struct outbox_row *rows, uint32_t count, struct answers *answers)
{
    uint64_t inserted = 0;

    must(outbox_append(writer, rows, count, &arena, answers, &err));
    must(query_sync(writer, &err));
    must(query_done_rows(writer, &inserted, &err));
    must(query_done(writer, &err));
    assert_int_equal(inserted, count);
}

static void rows_keep_their_order_and_bytes(void **state)
{
    enum { ROWS = 3000 };
    static struct outbox_row rows[ROWS], got[ROWS];
    struct answers answers = {0};
    uint32_t count = 0;
    bool end = false;

    (void)state;
    for (uint32_t i = 0; i < ROWS; i++) {
        uint8_t *body = arena_take(&arena, 16);
        memset(body, (int)i, 16);
        rows[i] = (struct outbox_row){.kind = (enum outbox_kind)(i % 3),
                                      .destination = i % 5 == 0 ? (struct text){0} : text_of("a.b"),
                                      .properties = {body, i % 16},
                                      .body = {body, i % 7}};
    }
    append(rows, ROWS, &answers);
    assert_int_equal(answers.count, 1);
    assert_int_equal(answers.rows[0], ROWS);
    must(outbox_append(writer, rows, 0, &arena, &answers, &err)); /* nothing is queued */
    assert_int_equal(answers.count, 1);

    must(outbox_read_begin(reader, &cursor, &err));
    must(outbox_read(reader, &arena, got, ROWS, &count, &end, &err));
    assert_int_equal(count, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        assert_int_equal(got[i].kind, rows[i].kind);
        assert_true(text_equal(got[i].destination, rows[i].destination));
        assert_int_equal(got[i].properties.size, rows[i].properties.size);
        assert_int_equal(got[i].body.size, rows[i].body.size);
        if (got[i].body.size > 0) assert_memory_equal(got[i].body.data, rows[i].body.data, i % 7);
    }
    if (!end) must(outbox_read(reader, &arena, got, ROWS, &count, &end, &err));
    assert_true(end);
}

/* Some on both sides of the size from which a row is read by itself, between small ones. */
static void large_rows_come_in_their_place(void **state)
{
    enum { ROWS = 200, SIZE_MAX_OF_ALL = 9000 };
    static struct outbox_row rows[ROWS], got[ROWS];
    static uint8_t bytes[SIZE_MAX_OF_ALL + ROWS];
    struct answers answers = {0};
    uint32_t count = 0;
    bool end = false;

    (void)state;
    for (uint32_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7 + i / 251);
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t size = i % 3 == 0 ? 8185 + i % 16 : i % 7 == 0 ? SIZE_MAX_OF_ALL : i;
        rows[i] = (struct outbox_row){.kind = OUTBOX_DEAD_LETTER,
                                      .destination = text_of("dead"),
                                      .properties = {bytes + i, i % 9},
                                      .body = {bytes + i, size}};
    }
    append(rows, ROWS, &answers);
    must(outbox_read_begin(reader, &cursor, &err));
    must(outbox_read(reader, &arena, got, ROWS, &count, &end, &err));
    assert_int_equal(count, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        if (i > 0) assert_true(got[i].id > got[i - 1].id);
        assert_int_equal(got[i].properties.size, rows[i].properties.size);
        assert_int_equal(got[i].body.size, rows[i].body.size);
        if (rows[i].properties.size > 0)
            assert_memory_equal(got[i].properties.data, bytes + i, rows[i].properties.size);
        if (rows[i].body.size > 0)
            assert_memory_equal(got[i].body.data, bytes + i, rows[i].body.size);
    }
}

static void a_page_ends_where_a_large_row_might_not_fit(void **state)
{
    static uint8_t big[BIG];
    struct outbox_row rows[4];
    struct answers answers = {0};
    uint32_t total = 0, pages = 0;
    bool end = false;

    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        rows[i] = (struct outbox_row){.kind = OUTBOX_DEAD_LETTER, .body = {big, BIG}};
    append(rows, 4, &answers);
    arena_close(&arena);
    must(arena_open(&arena, OUTBOX_ROW_SIZE_MAX + BIG / 2, &err));
    must(outbox_read_begin(reader, &cursor, &err));
    while (!end) {
        uint32_t count;
        arena_reset(&arena);
        must(outbox_read(reader, &arena, page, PAGE, &count, &end, &err));
        for (uint32_t i = 0; i < count; i++) assert_int_equal(page[i].body.size, BIG);
        total += count;
        pages++;
    }
    assert_int_equal(total, 4);
    assert_true(pages >= 4);
}

/* --- what is new ------------------------------------------------------------------------- */

static void rows_that_commit_late_are_not_lost(void **state)
{
    struct db *late = session_as("ledger_worker"), *stranger = session_as(NULL);

    (void)state;
    sql(stranger, "BEGIN; SELECT pg_current_xact_id()"); /* holds back every xmin from here on */
    sql(late, "BEGIN");
    insert_rows(late, 1, 1, 3);
    insert_rows(writer, 2, 1, 3); /* higher ids, committed first */
    assert_int_equal(read_new(), 3);
    assert_int_equal(seen[2], 3);
    assert_int_equal(read_new(), 0);
    sql(late, "COMMIT");
    insert_rows(writer, 2, 4, 4);
    assert_int_equal(read_new(), 4);
    assert_int_equal(seen[1], 3);
    assert_int_equal(seen[2], 4);
    db_close(late);
    db_close(stranger);
}

enum { SESSIONS = 5, STEPS = 200, SEEDS = 10 };

static struct random_session { /* idle, begun, or holding an account */
    struct db *db;
    bool begun, holds;
    uint32_t account, last;
} sessions[SESSIONS];
static bool held[OUTBOX_ACCOUNTS];
static uint32_t written[OUTBOX_ACCOUNTS];

static void session_step(struct random_session *session, bool may_insert)
{
    uint32_t account = (uint32_t)rand() % OUTBOX_ACCOUNTS;

    if (!session->begun) { /* a row lock, or a wait for one, gives a transaction its id early */
        sql(session->db, "BEGIN; SELECT pg_current_xact_id()");
        session->begun = true;
    } else if (!session->holds && may_insert && !held[account]) {
        session->account = account;
        session->last = written[account] + 1 + (uint32_t)rand() % 5;
        session->holds = held[account] = true;
        insert_rows(session->db, account, written[account] + 1, session->last);
    } else if (session->holds || !may_insert) {
        bool commits = rand() % 5 != 0;
        sql(session->db, commits ? "COMMIT" : "ROLLBACK");
        if (commits && session->holds) written[session->account] = session->last;
        if (session->holds) held[session->account] = false;
        session->begun = session->holds = false;
    }
}

/* Sessions begin, insert, commit and roll back at random; an account is held by one of them at a
 * time, as by its row lock. Every committed row is read once, each account's in order. */
static void random_sessions_lose_and_repeat_nothing(void **state)
{
    (void)state;
    for (uint32_t s = 0; s < SESSIONS; s++) sessions[s].db = session_as("ledger_worker");
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        srand(seed);
        for (uint32_t step = 0; step < STEPS; step++) {
            session_step(&sessions[rand() % SESSIONS], true);
            if (rand() % 4 == 0) (void)read_new();
        }
        for (uint32_t s = 0; s < SESSIONS; s++)
            if (sessions[s].begun) session_step(&sessions[s], false);
        (void)read_new();
        for (uint32_t a = 0; a < OUTBOX_ACCOUNTS; a++)
            if (seen[a] != written[a])
                fail_msg("seed %u: account %u: %u of %u rows were read", seed, a, seen[a],
                         written[a]);
    }
    for (uint32_t s = 0; s < SESSIONS; s++) db_close(sessions[s].db);
}

static void a_read_goes_on_from_its_position(void **state)
{
    uint32_t count = 0;
    bool end = false;

    (void)state;
    insert_rows(writer, 1, 1, 30);
    must(outbox_read_begin(reader, &cursor, &err));
    must(outbox_read(reader, &arena, page, 10, &count, &end, &err));
    assert_int_equal(count, 10);
    cursor.position = page[9].id;
    query_abandon(relay);
    insert_rows(writer, 1, 31, 31); /* not seen by the target */
    must(outbox_read_begin(reader, &cursor, &err));
    must(outbox_read(reader, &arena, page, PAGE, &count, &end, &err));
    assert_int_equal(count, 20);
    assert_true(end);
    uint32_t account;
    assert_int_equal(row_number(page[0].body, &account), 11);
}

static uint64_t time_read(void)
{
    uint64_t best_us = UINT64_MAX;

    for (uint32_t i = 0; i < 20; i++) {
        insert_rows(writer, 1, seen[1] + 1, seen[1] + 10);
        uint64_t start_us = clock_monotonic_us();
        assert_int_equal(read_new(), 10);
        uint64_t took_us = clock_monotonic_us() - start_us;
        if (took_us < best_us) best_us = took_us;
    }
    return best_us;
}

static void a_few_new_rows_are_found_at_once_among_many(void **state)
{
    uint64_t few_us, many_us;

    (void)state;
    few_us = time_read();
    insert_rows(writer, 2, 1, 200000);
    assert_int_equal(read_new(), 200000);
    sql(owner, "ANALYZE outbox");
    many_us = time_read();
    print_message("10 new rows read in %ju us; among 200,000 old ones in %ju us\n",
                  (uintmax_t)few_us, (uintmax_t)many_us);
    assert_true(many_us < 10 * few_us);
}

/* --- the lead ---------------------------------------------------------------------------- */

static void one_leads_and_its_successor_goes_on_from_there(void **state)
{
    struct db *other = session_as("ledger_relay");
    struct leadership leadership;
    bool led, added;

    (void)state;
    must(outbox_lead(relay, "amqp", &led, &leadership, &err));
    assert_true(led);
    assert_int_equal(leadership.epoch, 1);
    assert_string_equal(leadership.cursor.snapshot, "1:1:");
    assert_string_equal(leadership.cursor.target, "");
    must(outbox_lead(other, "amqp", &led, &leadership, &err));
    assert_false(led);

    insert_rows(writer, 1, 1, 5);
    (void)read_new();
    memcpy(cursor.target, cursor.snapshot, sizeof cursor.target);
    cursor.position = 77;
    must(outbox_save(relay, "amqp", &cursor, &err));
    assert_false(outbox_lead(other, "kafka", &led, &leadership, &err)); /* not registered */
    assert_int_equal(err.kind, ERR_REJECT);
    assert_non_null(strstr(err.text, "ledgerctl sink add kafka"));
    must(sinks_add(owner, "kafka", true, &added, &err));
    assert_true(added);
    must(outbox_lead(other, "kafka", &led, &leadership, &err)); /* another sink is free */
    assert_true(led);
    db_close(relay);
    relay = NULL;
    for (uint32_t i = 0; i < 100 && (!led || leadership.epoch != 2); i++) {
        must(outbox_lead(other, "amqp", &led, &leadership, &err));
        if (!led) clock_sleep_ms(20);
    }
    assert_true(led);
    assert_int_equal(leadership.epoch, 2);
    assert_string_equal(leadership.cursor.snapshot, cursor.snapshot);
    assert_string_equal(leadership.cursor.target, cursor.target);
    assert_int_equal(leadership.cursor.position, 77);
    db_close(other);
}

static void refused(const char *change)
{
    struct db *restored = session_as("ledger_relay");
    struct leadership leadership;
    bool led;

    sql(owner, "%s", change);
    assert_false(outbox_lead(restored, "amqp", &led, &leadership, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_non_null(strstr(err.text, "ledgerctl rebase"));
    db_close(restored);
}

/* The lock of a session that was just closed is free a moment later. */
static void rebase(bool from_start)
{
    for (uint32_t i = 0; i < 100; i++) {
        if (outbox_rebase(owner, "amqp", from_start, &err)) return;
        assert_int_equal(err.kind, ERR_RETRY);
        clock_sleep_ms(20);
    }
    fail_msg("%s", err.text);
}

static void a_cursor_from_elsewhere_is_refused_until_it_is_rebased(void **state)
{
    struct leadership leadership;
    bool led;

    (void)state;
    must(outbox_lead(relay, "amqp", &led, &leadership, &err));
    assert_false(outbox_rebase(owner, "amqp", true, &err)); /* its relay is running */
    assert_int_equal(err.kind, ERR_RETRY);
    sql(relay, "SELECT pg_advisory_unlock_all()");
    refused("UPDATE outbox_cursor SET snapshot = '900000000:900000000:'");
    rebase(true);
    refused("UPDATE outbox_cursor SET system_identifier = system_identifier + 1");
    refused("UPDATE outbox_cursor SET target = '900000000:900000000:'");
    rebase(true);
    must(outbox_lead(relay, "amqp", &led, &leadership, &err));
    assert_true(led);
    assert_string_equal(leadership.cursor.snapshot, "1:1:");
}

/* Rows of a dump keep the transaction ids of another cluster, which are yet to come in this one. */
static void after_a_restore_rows_are_new_or_published_as_was_asked(void **state)
{
    struct leadership leadership;
    bool led;

    (void)state;
    insert_rows(writer, 1, 1, 6);
    sql(owner, "UPDATE outbox SET xid = '900000000'");
    rebase(true);
    must(outbox_lead(relay, "amqp", &led, &leadership, &err));
    cursor = leadership.cursor;
    assert_int_equal(read_new(), 6);
    sql(relay, "SELECT pg_advisory_unlock_all()");

    sql(owner, "UPDATE outbox SET xid = '900000000'");
    rebase(false);
    must(outbox_lead(relay, "amqp", &led, &leadership, &err));
    cursor = leadership.cursor;
    assert_int_equal(read_new(), 0);
    insert_rows(writer, 1, 7, 7);
    assert_int_equal(read_new(), 1);
}

/* --- rotation ---------------------------------------------------------------------------- */

static struct rotation rotation;

static bool rotate(void)
{
    must(outbox_rotate(relay, ROTATE_ROWS, 3600, &rotation, &err));
    assert_false(rotation.is_done && rotation.is_held);
    return rotation.is_done;
}

/* Everything so far is published, confirmed and saved. */
static void publish_all(void)
{
    (void)read_new();
    must(outbox_save(relay, "amqp", &cursor, &err));
}

static void lead(void)
{
    struct leadership leadership;
    bool led;

    must(outbox_lead(relay, "amqp", &led, &leadership, &err));
    assert_true(led);
}

static void a_partition_is_emptied_only_when_all_are_past_it(void **state)
{
    bool dropped = false;

    (void)state;
    lead();
    assert_false(rotate()); /* nothing is there */
    insert_rows(writer, 1, 1, 500);
    assert_false(rotate()); /* not due */
    insert_rows(writer, 1, 501, 1500);
    assert_true(rotate()); /* the next one is empty, so nothing can be lost */
    insert_rows(writer, 1, 1501, 3000);
    assert_true(rotate());
    insert_rows(writer, 1, 3001, 4500);
    assert_int_equal(number(owner, &SLOT), 2);
    assert_false(rotate()); /* the next one holds what nobody has read */
    assert_string_equal(rotation.holder, "amqp");
    publish_all();
    assert_int_equal(seen[1], 4500);
    assert_true(rotate());
    assert_int_equal(number(owner, &SLOT), 0);
    assert_int_equal(number(owner, &COUNT), 3000);

    insert_rows(writer, 1, 4501, 6000);
    sql(owner,
        "INSERT INTO outbox_cursor (sink, snapshot, system_identifier) VALUES ('slow', '1:1:', 1)");
    publish_all();
    assert_false(rotate()); /* another sink is behind */
    assert_true(rotation.is_held);
    assert_string_equal(rotation.holder, "slow");
    assert_true(rotation.size > 4500 * 50);
    must(sinks_drop(owner, "slow", &dropped, &err));
    assert_true(dropped);
    assert_true(rotate());
    assert_int_equal(number(owner, &COUNT), 3000);
    publish_all();
    assert_int_equal(seen[1], 6000);
}

static void rotation_does_not_wait_for_a_lock(void **state)
{
    uint64_t start_ms;

    (void)state;
    lead();
    insert_rows(writer, 1, 1, 1500);
    publish_all();
    sql(owner, "BEGIN; SELECT count(*) FROM outbox_1");
    start_ms = clock_monotonic_ms();
    assert_false(rotate());
    assert_true(rotation.is_held);
    assert_string_equal(rotation.holder, ""); /* a lock */
    assert_true(clock_monotonic_ms() - start_ms < 1000 + PAUSE_MS);
    sql(owner, "COMMIT");
    assert_true(rotate());
}

/* It chose its partition before two rotations, and inserts after them. */
static void a_late_inserter_loses_nothing(void **state)
{
    struct db *late = session_as("ledger_worker");

    (void)state;
    lead();
    sql(late, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT slot FROM outbox_rotation");
    for (uint32_t i = 0; i < 3; i++) {
        insert_rows(writer, 1, 1 + i * 1500, 1500 + i * 1500);
        publish_all();
        assert_true(rotate());
        if (i != 1) continue;
        insert_rows(late, 2, 1, 10); /* into partition 0, two rotations late */
        publish_all();
        insert_rows(writer, 3, 1, 1500);
        publish_all();
        assert_false(rotate()); /* the late one holds partition 0 */
        sql(late, "COMMIT");
        assert_false(rotate()); /* it is not published yet */
        publish_all();
        assert_int_equal(seen[2], 10);
    }
    db_close(late);
}

static void an_old_partition_is_rotated_unless_it_is_empty(void **state)
{
    (void)state;
    lead();
    sql(owner, "UPDATE outbox_rotation SET rotated_at = now() - interval '2 hours'");
    assert_false(rotate());
    insert_rows(writer, 1, 1, 1);
    assert_true(rotate());
    assert_false(rotate());
}

#define ON_DATABASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DATABASE(rows_keep_their_order_and_bytes),
        ON_DATABASE(large_rows_come_in_their_place),
        ON_DATABASE(a_page_ends_where_a_large_row_might_not_fit),
        ON_DATABASE(rows_that_commit_late_are_not_lost),
        ON_DATABASE(random_sessions_lose_and_repeat_nothing),
        ON_DATABASE(a_read_goes_on_from_its_position),
        ON_DATABASE(a_few_new_rows_are_found_at_once_among_many),
        ON_DATABASE(one_leads_and_its_successor_goes_on_from_there),
        ON_DATABASE(a_cursor_from_elsewhere_is_refused_until_it_is_rebased),
        ON_DATABASE(after_a_restore_rows_are_new_or_published_as_was_asked),
        ON_DATABASE(a_partition_is_emptied_only_when_all_are_past_it),
        ON_DATABASE(rotation_does_not_wait_for_a_lock),
        ON_DATABASE(a_late_inserter_loses_nothing),
        ON_DATABASE(an_old_partition_is_rotated_unless_it_is_empty),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
