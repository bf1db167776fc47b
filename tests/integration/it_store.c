/*
 * it_store.c - batches through a real database, in the worker's role: a repeat gets the same bytes,
 * nothing is lost or done twice however workers collide, and what fails leaves nothing behind.
 */
#include "tests/books.h"

#include <sys/wait.h>
#include <unistd.h>

static void fails(bool ok, enum err_kind kind)
{
    if (ok) fail_msg("it did not fail");
    if (err.kind != kind) fail_msg("kind %d: %s", (int)err.kind, err.text);
    query_abandon(bench->db);
    assert_true(db_usable(bench->db));
    ledger_forget(&bench->batch);
}

/* --- the first reply, again --- */

static const uint8_t METADATA[] = {0x81, 0xa1, 'a', 0x01}; /* {"a": 1} */

/* Every command, applied and refused, on every kind of account. */
static void add_everything(void)
{
    struct command named = open_account("alice", "ann", "EUR"), dear = deposit("alice", 7);
    struct command dollars = deposit("alice", 5);

    named.name = text_of("Ann");
    named.metadata = dear.metadata = (struct bytes){METADATA, sizeof METADATA};
    dollars.asset = text_of("USD");
    batch_add(bench, "k01", named);
    batch_add(bench, "k02", open_account("bob", "ben", "EUR"));
    batch_add(bench, "k03", open_system("fees", "EUR"));
    batch_add(bench, "k04", open_account("bob", "ben", "EUR"));   /* exists */
    batch_add(bench, "k05", open_account("carl", "ben", "NONE")); /* no asset */
    batch_add(bench, "k06", dear);
    batch_add(bench, "k07", deposit("alice", 1000));
    batch_add(bench, "k08", withdraw("alice", 100));
    batch_add(bench, "k09", withdraw("alice", 100000)); /* funds */
    batch_add(bench, "k10", transfer("alice", "bob", 50));
    batch_add(bench, "k11", transfer("bob", "fees", 3));
    batch_add(bench, "k12", transfer("fees", "alice", 1));
    batch_add(bench, "k13", transfer("alice", "alice", 1)); /* same account */
    batch_add(bench, "k14", transfer("world:EUR", "bob", 9));
    batch_add(bench, "k15", deposit("nobody", 1)); /* not found */
    batch_add(bench, "k16", dollars);              /* asset mismatch */
    batch_add(bench, "k17", deposit("fees", 20));
    batch_add(bench, "k18", deposit("bob", INT64_MAX));             /* overflow */
    struct work *late = batch_add(bench, "k19", deposit("bob", 1)); /* expired */
    bench->requests[late - bench->works].deadline_us = 1;
}

enum { EVERYTHING = 19, REPLY_SIZE = 1024 };

static void keep_replies(uint8_t kept[EVERYTHING][2][REPLY_SIZE], uint32_t sizes[EVERYTHING][2])
{
    for (uint32_t i = 0; i < EVERYTHING; i++)
        for (uint32_t encoding = 0; encoding < 2; encoding++) {
            struct reply reply = bench->works[i].reply;
            struct bytes body;
            reply.replayed = false;
            assert_true(
                reply_encode(bench->codec, &reply, (enum encoding)encoding, &bench->arena, &body));
            assert_in_range(body.size, 1, REPLY_SIZE);
            memcpy(kept[i][encoding], body.data, body.size);
            sizes[i][encoding] = body.size;
        }
}

static void a_repeat_gets_the_same_bytes(void **state)
{
    static uint8_t first[EVERYTHING][2][REPLY_SIZE], again[EVERYTHING][2][REPLY_SIZE];
    uint32_t first_sizes[EVERYTHING][2], again_sizes[EVERYTHING][2];

    (void)state;
    batch_begin(bench);
    add_everything();
    batch_run(bench);
    keep_replies(first, first_sizes);
    assert_int_equal(bench->works[0].reply.created, true);
    assert_int_equal(bench->works[8].reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(bench->works[9].reply.balances_count, 2);
    for (int times = 0; times < 2; times++) {
        batch_begin(bench);
        add_everything();
        batch_run(bench);
        for (uint32_t i = 0; i < EVERYTHING; i++) {
            assert_int_equal(bench->works[i].origin, ORIGIN_REPEATED);
            assert_true(bench->works[i].reply.replayed);
        }
        keep_replies(again, again_sizes);
        assert_memory_equal(first_sizes, again_sizes, sizeof first_sizes);
        for (uint32_t i = 0; i < EVERYTHING; i++)
            for (uint32_t encoding = 0; encoding < 2; encoding++)
                assert_memory_equal(first[i][encoding], again[i][encoding],
                                    first_sizes[i][encoding]);
    }
    assert_int_equal(ask("SELECT count(*) FROM journal"), EVERYTHING);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'alice'"),
                     7 + 1000 - 100 - 50 + 1);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'bob'"), 50 - 3 + 9);
    assert_int_equal(ask("SELECT seq FROM account WHERE id = 'alice'"), 5);
    assert_int_equal(ask("SELECT count(*) FROM account_delta"), 2); /* one each: fees, the world */
    assert_int_equal(ask("SELECT sum(amount)::int8 FROM posting"), 0);
}

/* Each by itself, taken for new: whatever else the database could object to, it is the key. */
static void what_is_not_new_is_not_stored(void **state)
{
    (void)state;
    batch_begin(bench);
    add_everything();
    batch_run(bench);
    for (uint32_t i = 0; i < EVERYTHING; i++) {
        batch_begin(bench);
        add_everything();
        bench->works[0] = bench->works[i];
        bench->batch.works_count = 1;
        bench->batch.keys_are_new = true;
        must(batch_load(bench));
        fails(batch_save(bench), ERR_RETRY);
        assert_non_null(strstr(err.text, "journal_pkey"));
    }
    assert_int_equal(ask("SELECT count(*) FROM journal"), EVERYTHING);
    assert_int_equal(ask("SELECT seq FROM account WHERE id = 'alice'"), 5);
}

static void a_key_with_another_payload_is_a_conflict(void **state)
{
    (void)state;
    expect(bench, "k1", open_account("alice", "ann", "EUR"), RESULT_APPLIED);
    expect(bench, "k2", deposit("alice", 5), RESULT_APPLIED);
    expect(bench, "k2", deposit("alice", 6), RESULT_KEY_REUSED);
    expect(bench, "k2", withdraw("nobody", 6), RESULT_KEY_REUSED);
    batch_begin(bench);
    batch_add(bench, "k3", deposit("alice", 1));
    batch_add(bench, "k3", deposit("alice", 1));
    batch_add(bench, "k3", deposit("alice", 2));
    batch_add(bench, "k2", deposit("alice", 5));
    batch_run(bench);
    assert_int_equal(bench->works[0].origin, ORIGIN_DECIDED);
    assert_int_equal(bench->works[1].origin, ORIGIN_REPEATED);
    assert_int_equal(bench->works[2].origin, ORIGIN_CONFLICT);
    assert_int_equal(bench->works[3].origin, ORIGIN_REPEATED);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'alice'"), 6);
}

/* --- users, assets, queries --- */

static struct command named(const char *account, const char *user, const char *name)
{
    struct command command = open_account(account, user, "EUR");

    command.name = text_of(name);
    return command;
}

static void assert_name(const char *user, const char *name)
{
    struct command command = {.type = COMMAND_GET_USER, .user_id = text_of(user)};
    const struct reply *reply = run_one(bench, NULL, command);

    assert_non_null(reply->user);
    assert_true(text_equal(reply->user->name, text_of(name)));
}

static void the_first_name_given_stays(void **state)
{
    (void)state;
    batch_begin(bench);
    batch_add(bench, "k1", named("a1", "zoe", ""));
    batch_add(bench, "k2", named("a2", "zoe", "Zoe"));
    batch_add(bench, "k3", named("a3", "zoe", "Other"));
    batch_add(bench, "k4", named("a4", "ann", ""));
    batch_run(bench);
    assert_name("zoe", "Zoe");
    assert_name("ann", "");
    expect(bench, "k5", named("a5", "ann", "Ann"), RESULT_APPLIED);
    expect(bench, "k6", named("a6", "ann", "Other"), RESULT_APPLIED);
    expect(bench, "k7", named("a6", "new", "New"), RESULT_ACCOUNT_EXISTS);
    assert_name("ann", "Ann");
    assert_int_equal(ask("SELECT count(*) FROM ledger_user WHERE id = 'new'"), 0);
}

static struct command update(const char *user, const char *name, struct bytes metadata)
{
    return (struct command){.type = COMMAND_UPDATE_USER,
                            .user_id = text_of(user),
                            .name = text_of(name),
                            .metadata = metadata};
}

/* Of several changes in a batch the last of each field counts; a refused batch changes nothing. */
static void a_user_is_changed(void **state)
{
    static const uint8_t one[] = {0x81, 0xa1, 'n', 0x01}, two[] = {0x81, 0xa1, 'n', 0x02};
    struct bytes first = {one, sizeof one}, second = {two, sizeof two}, none = {0};
    struct command get = {.type = COMMAND_GET_USER, .user_id = TEXT_LITERAL("ann")};

    (void)state;
    batch_begin(bench);
    batch_add(bench, "k0", update("ann", "Too early", none));
    batch_add(bench, "k1", named("a1", "ann", "Ann"));
    batch_add(bench, "k2", update("zoe", "Nobody", none));
    batch_add(bench, "k3", update("ann", "Anna", first));
    batch_add(bench, "k4", update("ann", "", second));
    batch_add(bench, "k5", update("ann", "Annabel", none));
    batch_add(bench, "k6", named("a2", "bob", ""));
    batch_add(bench, "k7", update("bob", "", none));
    batch_run(bench);
    assert_int_equal(bench->works[0].reply.result, RESULT_USER_NOT_FOUND);
    assert_int_equal(bench->works[2].reply.result, RESULT_USER_NOT_FOUND);
    assert_int_equal(bench->works[5].reply.result, RESULT_APPLIED);
    assert_null(bench->works[5].reply.user);
    assert_name("ann", "Annabel");
    assert_name("bob", "");
    const struct user_view *user = run_one(bench, NULL, get)->user;
    assert_int_equal(user->metadata.size, second.size);
    assert_memory_equal(user->metadata.data, second.data, second.size);
    expect(bench, "k8", update("ann", "Ann", none), RESULT_APPLIED);
    expect(bench, "k8", update("ann", "Ann", none), RESULT_APPLIED); /* from the journal */
    expect(bench, "k8", update("ann", "Anna", none), RESULT_KEY_REUSED);
    assert_name("ann", "Ann");
}

static void an_asset_registered_later_is_known(void **state)
{
    struct bench *other = bench_open(session_as("ledger_worker"));

    (void)state;
    expect(bench, "k1", open_account("a1", "ann", "NEW1"), RESULT_ASSET_NOT_FOUND);
    expect(other, "k2", open_account("a2", "ann", "EUR"), RESULT_APPLIED);
    sql(owner, "INSERT INTO asset VALUES ('NEW1', 3);"
               "INSERT INTO account (number, created_at, kind, id, user_id, asset)"
               " VALUES (nextval('account_number'), now(), 1, 'world:NEW1', 'system', 'NEW1')");
    expect(bench, "k3", open_account("a1", "ann", "NEW1"), RESULT_APPLIED);
    expect(other, "k4", deposit("a1", 500), RESULT_APPLIED); /* the other has never heard of it */
    expect(other, "k5", transfer("a1", "a2", 5), RESULT_ASSET_MISMATCH);
    assert_int_equal(run_one(other, NULL, query(COMMAND_GET_ACCOUNT, "a1"))->account->scale, 3);
    assert_int_equal(ask("SELECT delta FROM account_delta JOIN account ON number = account"
                         " WHERE id = 'world:NEW1'"),
                     -500);
    bench_close(other);
}

static void a_user_is_told_with_accounts(void **state)
{
    enum { ACCOUNTS = USER_ACCOUNTS_MAX + 1 };
    struct command ann = {.type = COMMAND_GET_USER, .user_id = TEXT_LITERAL("ann")};
    struct command none = {.type = COMMAND_GET_USER, .user_id = TEXT_LITERAL("none")};
    struct command house = {.type = COMMAND_GET_USER, .user_id = TEXT_LITERAL("house")};

    (void)state;
    for (uint32_t round = 0; round < 2; round++) {
        batch_begin(bench);
        for (uint32_t i = 0; i < ACCOUNTS - 1 + round; i++)
            batch_add(bench, batch_text(bench, "k%u", i),
                      open_account(batch_text(bench, "a%03u", i), "ann", "EUR"));
        batch_run(bench);
        batch_begin(bench);
        batch_add(bench, NULL, none);
        batch_add(bench, NULL, ann);
        batch_add(bench, NULL, house);
        batch_add(bench, NULL, ann);
        sql(owner, "INSERT INTO ledger_user VALUES ('house', NULL, now()) ON CONFLICT DO NOTHING");
        batch_run(bench);
        assert_int_equal(bench->works[0].reply.result, RESULT_USER_NOT_FOUND);
        assert_int_equal(bench->works[2].reply.user->accounts_count, 0);
        for (uint32_t i = 1; i < 4; i += 2) {
            const struct user_view *user = bench->works[i].reply.user;
            assert_int_equal(user->accounts_count, USER_ACCOUNTS_MAX);
            assert_int_equal(user->more_accounts, round == 1);
            assert_true(text_equal(user->accounts[0], TEXT_LITERAL("a000")));
            assert_true(text_equal(user->accounts[255], TEXT_LITERAL("a255")));
        }
    }
}

static struct command get_transaction(struct uuid id)
{
    return (struct command){.type = COMMAND_GET_TRANSACTION, .transaction = id};
}

static void a_transaction_is_told(void **state)
{
    struct uuid ids[EVERYTHING];

    (void)state;
    batch_begin(bench);
    add_everything();
    batch_run(bench);
    int64_t now_us = bench->batch.now_us;
    for (uint32_t i = 0; i < EVERYTHING; i++) ids[i] = bench->works[i].id;
    batch_begin(bench);
    for (uint32_t i = 0; i < EVERYTHING; i++) batch_add(bench, NULL, get_transaction(ids[i]));
    batch_run(bench);
    const struct transaction_view *opened = bench->works[0].reply.details;
    assert_int_equal(opened->type, COMMAND_OPEN_ACCOUNT);
    assert_int_equal(opened->debit.length, 0);
    assert_int_equal(opened->amount, 0);
    assert_true(text_equal(opened->credit, TEXT_LITERAL("alice")));
    assert_int_equal(opened->metadata.size, sizeof METADATA);
    const struct transaction_view *deposited = bench->works[5].reply.details;
    assert_true(text_equal(deposited->debit, TEXT_LITERAL("world:EUR")));
    assert_true(text_equal(deposited->credit, TEXT_LITERAL("alice")));
    assert_true(text_equal(deposited->asset, TEXT_LITERAL("EUR")));
    assert_true(text_equal(deposited->caller, TEXT_LITERAL("tests")));
    assert_true(text_equal(deposited->key, TEXT_LITERAL("k06")));
    assert_int_equal(deposited->amount, 7);
    assert_int_equal(deposited->created_us, now_us);
    assert_memory_equal(deposited->metadata.data, METADATA, sizeof METADATA);
    assert_int_equal(bench->works[8].reply.result, RESULT_TRANSACTION_NOT_FOUND); /* refused */
    expect(bench, NULL, get_transaction(uuid_random()), RESULT_TRANSACTION_NOT_FOUND);
}

static int64_t balance_of(const char *account)
{
    const struct reply *reply = run_one(bench, NULL, query(COMMAND_GET_BALANCE, account));

    assert_int_equal(reply->result, RESULT_APPLIED);
    return reply->balances[0].balance;
}

static void queries_see_what_is_before_them(void **state)
{
    (void)state;
    batch_begin(bench);
    add_everything();
    batch_run(bench);
    batch_begin(bench);
    batch_add(bench, NULL, query(COMMAND_GET_BALANCE, "alice"));
    batch_add(bench, "q1", deposit("alice", 10));
    batch_add(bench, NULL, query(COMMAND_GET_BALANCE, "alice"));
    batch_add(bench, NULL, query(COMMAND_GET_ACCOUNT, "alice"));
    batch_add(bench, NULL, query(COMMAND_GET_ACCOUNT, "fees"));
    batch_add(bench, NULL, query(COMMAND_GET_BALANCE, "nobody"));
    batch_run(bench);
    assert_int_equal(bench->works[0].reply.balances[0].balance, 858);
    assert_int_equal(bench->works[2].reply.balances[0].balance, 868);
    const struct account_view *alice = bench->works[3].reply.account;
    assert_memory_equal(alice->metadata.data, METADATA, sizeof METADATA);
    assert_true(text_equal(alice->user_id, TEXT_LITERAL("ann")));
    assert_int_equal(bench->works[4].reply.account->kind, ACCOUNT_SYSTEM);
    assert_int_equal(bench->works[5].reply.result, RESULT_ACCOUNT_NOT_FOUND);
    assert_int_equal(balance_of("fees"), 3 - 1 + 20);
    assert_int_equal(balance_of("world:EUR"), -(7 + 1000 - 100 + 9 + 20 + 10));
}

/* --- the roll-up --- */

static void a_roll_up_changes_no_balance(void **state)
{
    struct db *worker = session_as("ledger_worker");
    uint32_t rolled;

    (void)state;
    batch_begin(bench);
    add_everything();
    batch_run(bench);
    expect(bench, "q1", deposit("alice", 10), RESULT_APPLIED);
    must(store_roll_up(worker, 1, &rolled, &err));
    assert_int_equal(rolled, 1);
    must(store_roll_up(worker, 10, &rolled, &err));
    assert_int_equal(rolled, 1);
    assert_int_equal(ask("SELECT count(*) FROM account_delta"), 0);
    must(store_roll_up(worker, 10, &rolled, &err));
    assert_int_equal(rolled, 0);
    expect(bench, "q2", deposit("alice", 5), RESULT_APPLIED);
    assert_int_equal(balance_of("world:EUR"), -(7 + 1000 - 100 + 9 + 20 + 10 + 5));
    assert_int_equal(balance_of("fees"), 22);

    sql(owner, "BEGIN; SELECT FROM account WHERE id = 'world:EUR' FOR UPDATE");
    must(store_roll_up(worker, 10, &rolled, &err)); /* skips it */
    assert_int_equal(rolled, 0);
    expect(bench, "q3", deposit("alice", 5), RESULT_APPLIED); /* no command waits for it */
    sql(owner, "ROLLBACK");
    db_close(worker);
}

static void a_sum_over_64_bits_stays_in_the_deltas(void **state)
{
    struct db *worker = session_as("ledger_worker");
    uint32_t rolled;

    (void)state;
    batch_begin(bench);
    batch_add(bench, "k1", open_account("a1", "ann", "EUR"));
    batch_add(bench, "k2", open_account("a2", "ann", "EUR"));
    batch_add(bench, "k3", deposit("a1", INT64_MAX));
    batch_add(bench, "k4", deposit("a2", INT64_MAX));
    batch_run(bench);
    assert_int_equal(ask("SELECT count(*) FROM account_delta"), 2);
    must(store_roll_up(worker, 10, &rolled, &err));
    assert_int_equal(rolled, 0);
    assert_int_equal(balance_of("world:EUR"), INT64_MIN); /* as near as it can be told */
    expect(bench, "k5", withdraw("a1", INT64_MAX), RESULT_APPLIED);
    must(store_roll_up(worker, 10, &rolled, &err));
    assert_int_equal(rolled, 1);
    assert_int_equal(balance_of("world:EUR"), -INT64_MAX);
    db_close(worker);
}

/* --- plans --- */

/* One line of a plan after the other; each scan of a table must be an index scan with a condition.
 */
static void assert_plan(const char *name, const PGresult *rows)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        struct text line = cell_text(rows, row, 0);
        const char *text = batch_text(bench, "%.*s", TEXT_ARGS(line));
        const char *next = row + 1 == PQntuples(rows)
                               ? ""
                               : batch_text(bench, "%.*s", TEXT_ARGS(cell_text(rows, row + 1, 0)));
        if (strstr(text, "Seq Scan") || strstr(text, "Bitmap") || strstr(text, "Hash Join") ||
            strstr(text, "Merge Join") ||
            (strstr(text, "Index") && strstr(text, " Scan ") && !strstr(next, "Index Cond")))
            fail_msg("%s is planned as: %s", name, text);
    }
}

/* Tables that were just analyzed and are all but empty: this is where a planner likes to scan. */
static void every_plan_is_made_of_index_scans(void **state)
{
    static const struct statement names = {
        "it_names",
        "SELECT name, 'EXPLAIN EXECUTE ' || name || '(' ||"
        " array_to_string(array_fill('NULL'::text, ARRAY[cardinality(parameter_types)]), ',')"
        " || ')' FROM pg_prepared_statements WHERE name LIKE 'store_%'"
        " AND name NOT IN ('store_assets', 'store_begin', 'store_clock',"
        " 'store_commit') ORDER BY name"};
    static const char *const tables[] = {"account", "journal", "ledger_user", "account_delta"};
    static struct statement explain[32];
    PGresult *list, *plan;

    (void)state;
    for (uint32_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        sql(owner, "VACUUM (FULL, ANALYZE) %s", tables[i]);
    batch_begin(bench);
    add_everything();
    batch_add(bench, NULL, query(COMMAND_GET_BALANCE, "other"));
    batch_add(bench, NULL, get_transaction(uuid_random()));
    batch_add(bench, NULL, (struct command){.type = COMMAND_GET_USER, .user_id = text_of("ann")});
    batch_run(bench);
    expect(bench, "k", deposit("alice", 1), RESULT_APPLIED); /* an update */
    batch_begin(bench);
    must(batch_load(bench)); /* leaves the transaction open, with its settings */
    must(query_one(bench->db, &names, NULL, 0, &list, &err));
    assert_in_range(PQntuples(list), 11, 32);
    for (int row = 0; row < PQntuples(list); row++) {
        struct text name = cell_text(list, row, 0);
        explain[row].name = batch_text(bench, "explain_%.*s", TEXT_ARGS(name));
        explain[row].sql = batch_text(bench, "%.*s", TEXT_ARGS(cell_text(list, row, 1)));
        must(query_one(bench->db, &explain[row], NULL, 0, &plan, &err));
        assert_plan(explain[row].name, plan);
        PQclear(plan);
    }
    PQclear(list);
    query_abandon(bench->db);
}

/* --- what fails --- */

static void what_the_database_refuses_leaves_nothing(void **state)
{
    static uint8_t large[METADATA_SIZE_MAX + 1];
    struct command heavy = open_account("heavy", "ann", "EUR");

    (void)state;
    expect(bench, "k1", open_account("alice", "ann", "EUR"), RESULT_APPLIED);
    heavy.metadata = (struct bytes){large, sizeof large};
    batch_begin(bench);
    batch_add(bench, "k2", deposit("alice", 5));
    batch_add(bench, "k3", heavy);
    must(batch_load(bench));
    fails(batch_save(bench), ERR_REJECT);
    assert_int_equal(ask("SELECT count(*) FROM journal"), 1);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'alice'"), 0);
    bench->batch.works_count = 1; /* the half without it */
    batch_run(bench);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'alice'"), 5);
}

static void an_account_that_is_not_updated_fails_the_batch(void **state)
{
    (void)state;
    expect(bench, "k1", open_account("alice", "ann", "EUR"), RESULT_APPLIED);
    expect(bench, "k2", deposit("alice", 5), RESULT_APPLIED);
    batch_begin(bench);
    batch_add(bench, "k3", deposit("alice", 5));
    must(batch_load(bench));
    bench->batch.accounts[0].number += 1000000;
    fails(batch_save(bench), ERR_FATAL);
    assert_non_null(strstr(err.text, "0 rows changed, not 1"));
    must(batch_load(bench));
    bench->batch.accounts[0].seq = 0; /* as if somebody had been faster */
    fails(batch_save(bench), ERR_FATAL);
    assert_int_equal(ask("SELECT count(*) FROM journal"), 2);
    batch_run(bench);
    assert_int_equal(balance_of("alice"), 10);
}

static void answers_are_counted(void **state)
{
    struct answers answers = {0};

    (void)state;
    batch_begin(bench);
    batch_add(bench, "k1", open_account("alice", "ann", "EUR"));
    must(batch_load(bench));
    must(ledger_apply(&bench->batch, &err));
    must(store_save(bench->store, bench->db, &bench->batch, &answers, &err));
    answers.rows[1]++;
    fails(store_commit(bench->db, &answers, &err), ERR_FATAL);
}

static void only_user_accounts_of_commands_are_waited_for(void **state)
{
    (void)state;
    sql(bench->db, "SET lock_timeout TO '100ms'");
    expect(bench, "k1", open_account("alice", "ann", "EUR"), RESULT_APPLIED);
    expect(bench, "k2", open_system("fees", "EUR"), RESULT_APPLIED);
    sql(owner, "BEGIN; SELECT FROM account WHERE id IN ('alice', 'fees') FOR UPDATE");
    assert_int_equal(balance_of("alice"), 0);
    expect(bench, "k3", deposit("fees", 5), RESULT_APPLIED);
    batch_begin(bench);
    batch_add(bench, "k4", deposit("alice", 5));
    fails(batch_load(bench), ERR_RETRY);
    sql(owner, "ROLLBACK");
    batch_run(bench);
    assert_int_equal(balance_of("alice"), 5);
}

/* --- workers that collide --- */

enum { WORKERS = 3, ROUNDS = 40, ROUND_COMMANDS = 25, SHARED_ACCOUNTS = 6 };

/* Each worker does all of this, in an order of its own: every key once for each of them. */
static void add_round(uint32_t round, unsigned *seed)
{
    uint32_t from = (uint32_t)rand_r(seed) % ROUND_COMMANDS;

    for (uint32_t i = 0; i < ROUND_COMMANDS; i++) {
        uint32_t at = round * ROUND_COMMANDS + (from + i) % ROUND_COMMANDS;
        const char *key = batch_text(bench, "key-%u", at);
        const char *one = batch_text(bench, "shared-%u", at % SHARED_ACCOUNTS);
        const char *two = batch_text(bench, "shared-%u", (at / 7) % SHARED_ACCOUNTS);
        if (at % 10 == 0)
            batch_add(bench, key, open_account(batch_text(bench, "new-%u", at), two, "EUR"));
        else if (at % 3 == 0)
            batch_add(bench, key, transfer(one, two, 1 + at % 50));
        else
            batch_add(bench, key, deposit(one, 1 + at % 20));
    }
}

static int work_all(unsigned worker)
{
    unsigned seed = worker;

    bench = bench_open(session_as("ledger_worker"));
    for (uint32_t n = 0; n < ROUNDS; n++) {
        batch_begin(bench);
        add_round((n + 3 * worker) % ROUNDS, &seed);
        for (uint32_t attempts = 0; !(batch_load(bench) && batch_save(bench)); attempts++) {
            if (err.kind != ERR_RETRY || attempts > 100 || strstr(err.text, "deadlock") != NULL) {
                (void)fprintf(stderr, "%s\n", err.text);
                return 1;
            }
            query_abandon(bench->db);
            ledger_forget(&bench->batch);
        }
        uint32_t rolled;
        if (n % 4 == 0 && !store_roll_up(bench->db, 5, &rolled, &err)) return 1;
    }
    bench_close(bench);
    return 0;
}

static void each_key_has_one_outcome_whoever_collides(void **state)
{
    (void)state;
    batch_begin(bench);
    for (uint32_t i = 0; i < SHARED_ACCOUNTS; i++)
        batch_add(bench, batch_text(bench, "open-%u", i),
                  open_account(batch_text(bench, "shared-%u", i), "ann", "EUR"));
    batch_run(bench);
    for (unsigned i = 0; i < WORKERS; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) _exit(work_all(i + 1));
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(ask("SELECT count(*) FROM journal"),
                     SHARED_ACCOUNTS + ROUNDS * ROUND_COMMANDS);
    assert_int_equal(
        ask("SELECT count(*) FROM account JOIN (SELECT account, sum(amount) AS amount,"
            " max(seq) AS seq FROM posting GROUP BY account) AS p ON p.account = number"
            " WHERE kind = 0 AND (balance <> amount OR account.seq <> p.seq)"),
        0);
    assert_int_equal(
        ask("SELECT (sum(balance) + coalesce((SELECT sum(delta) FROM account_delta), 0))"
            "::int8 FROM account"),
        0);
    assert_int_equal(ask("SELECT count(*) FROM outbox WHERE kind = 0"),
                     ask("SELECT count(*) + count(*) FILTER (WHERE result IS NULL AND command = 4)"
                         " FROM journal"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_repeat_gets_the_same_bytes, books_empty, books_close),
        cmocka_unit_test_setup_teardown(what_is_not_new_is_not_stored, books_empty, books_close),
        cmocka_unit_test_setup_teardown(a_key_with_another_payload_is_a_conflict, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(the_first_name_given_stays, books_empty, books_close),
        cmocka_unit_test_setup_teardown(a_user_is_changed, books_empty, books_close),
        cmocka_unit_test_setup_teardown(an_asset_registered_later_is_known, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(a_user_is_told_with_accounts, books_empty, books_close),
        cmocka_unit_test_setup_teardown(a_transaction_is_told, books_empty, books_close),
        cmocka_unit_test_setup_teardown(queries_see_what_is_before_them, books_empty, books_close),
        cmocka_unit_test_setup_teardown(a_roll_up_changes_no_balance, books_empty, books_close),
        cmocka_unit_test_setup_teardown(a_sum_over_64_bits_stays_in_the_deltas, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(every_plan_is_made_of_index_scans, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(what_the_database_refuses_leaves_nothing, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(an_account_that_is_not_updated_fails_the_batch, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(answers_are_counted, books_empty, books_close),
        cmocka_unit_test_setup_teardown(only_user_accounts_of_commands_are_waited_for, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(each_key_has_one_outcome_whoever_collides, books_empty,
                                        books_close),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
