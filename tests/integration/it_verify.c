/*
 * it_verify.c - books that are right are found right; each kind of damage, planted alone, is found,
 * and some sentence names whom it befell.
 */
#include "tests/store.h"
#include "tests/verify.h"

enum { SENTENCES_SIZE = 1 << 16, MOST = 50, ID_SIZE = 64 };

static struct db *owner;
static char sentences[SENTENCES_SIZE];
static struct verify_report report;

static void hear(const char *sentence)
{
    size_t length = strlen(sentences);

    (void)snprintf(sentences + length, SENTENCES_SIZE - length, "%s\n", sentence);
}

static void verify_as(const char *role, uint32_t most)
{
    const struct verify_ear ear = {.role = role, .hear = hear};

    sentences[0] = '\0';
    must(verify_try(&ear, most, &report));
}

static int64_t ask(const char *text)
{
    struct db *db = session_as(NULL);
    const struct statement statement = {"it_ask", text};
    int64_t value = number(db, &statement);

    db_close(db);
    return value;
}

/* --- books with everything in them --- */

enum { ACCOUNTS = 8, BATCHES = 30, BATCH_COMMANDS = 20 };

static const uint8_t METADATA[] = {
    0x82, 0xa1, 'a',  0xcb, 0x40, 0x09, 0x21, 0xfb, 0x54,
    0x44, 0x2d, 0x18, 0xa2, 'b',  'b',  0x91, 0xc2}; /* a: pi, bb: [false] */

static struct command some_command(struct bench *bench, uint32_t i)
{
    const char *one = batch_text(bench, "a%u", i * 7 % ACCOUNTS);
    const char *two = batch_text(bench, "a%u", i * 5 % (ACCOUNTS + 1)); /* the last is not there */
    struct command command = deposit(one, 1 + i % 100);

    if (i % 11 == 0) return transfer(one, "fees", 1);
    if (i % 13 == 0) return transfer("world:EUR", one, 2);
    if (i % 3 == 0) return transfer(one, two, 1 + i % 40);
    if (i % 7 == 0) return withdraw(one, 10);
    if (i % 17 == 0) return open_account(one, "ann", "EUR"); /* exists */
    if (i % 19 == 0) return deposit("fees", 3);
    if (i % 4 == 0) command.metadata = (struct bytes){METADATA, sizeof METADATA};
    return command;
}

/* Events in both encodings, and a roll-up in the middle. */
static void write_books(void)
{
    struct bench *bench = bench_open(session_as("ledger_worker"));
    uint32_t rolled;

    batch_begin(bench);
    for (uint32_t i = 0; i < ACCOUNTS; i++)
        batch_add(bench, batch_text(bench, "open-%u", i),
                  open_account(batch_text(bench, "a%u", i), "ann", i == 7 ? "USD" : "EUR"));
    batch_add(bench, "open-fees", open_system("fees", "EUR"));
    batch_run(bench);
    for (uint32_t n = 0; n < BATCHES; n++) {
        batch_begin(bench);
        bench->event_encoding = n % 2 == 0 ? ENCODING_MSGPACK : ENCODING_JSON;
        for (uint32_t i = n * BATCH_COMMANDS; i < (n + 1) * BATCH_COMMANDS; i++)
            batch_add(bench, batch_text(bench, "key-%u", i), some_command(bench, i));
        batch_run(bench);
        if (n == BATCHES / 2) must(store_roll_up(bench->db, 100, &rolled, &err));
    }
    bench_close(bench);
}

static int set_up_all(void **state)
{
    (void)database_make(state);
    write_books();
    owner = session_as(NULL);
    sql(owner, "CREATE SCHEMA backup;"
               "CREATE TABLE backup.account AS TABLE account;"
               "CREATE TABLE backup.account_delta AS TABLE account_delta;"
               "CREATE TABLE backup.journal AS TABLE journal;"
               "CREATE TABLE backup.outbox AS TABLE outbox");
    return 0;
}

static int tear_down_all(void **state)
{
    db_close(owner);
    return database_drop(state);
}

static void restore(void)
{
    sql(owner, "TRUNCATE account, account_identity, account_delta, journal, outbox;"
               "INSERT INTO account TABLE backup.account;"
               "INSERT INTO account_delta TABLE backup.account_delta;"
               "INSERT INTO journal TABLE backup.journal;"
               "INSERT INTO outbox TABLE backup.outbox");
}

/* --- tests --- */

static void right_books_are_found_right(void **state)
{
    (void)state;
    verify_as("ledger_reader", MOST);
    if (report.differences != 0) fail_msg("%s", sentences);
    assert_int_equal(report.accounts, ask("SELECT count(*) FROM account"));
    assert_int_equal(report.outcomes, ACCOUNTS + 1 + BATCHES * BATCH_COMMANDS);
    assert_int_equal(report.postings, ask("SELECT count(*) FROM posting"));
    assert_int_equal(report.entries,
                     ask("SELECT count(debit_seq) + count(credit_seq) FROM journal"));
    assert_int_equal(report.outbox_events, ask("SELECT count(*) FROM outbox WHERE kind = 0"));
    assert_true(ask("SELECT count(*) FROM journal WHERE result IS NOT NULL") > 20);
    assert_true(ask("SELECT count(*) FROM account_delta") > 0);
    assert_true(ask("SELECT count(*) FROM account WHERE kind = 1 AND balance <> 0") > 1);
}

/* What came before the partition that is filled now may be gone. */
static void an_outbox_that_begins_later_is_right(void **state)
{
    (void)state;
    sql(owner,
        "DELETE FROM outbox WHERE id < (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY id)"
        "                               FROM outbox);"
        "UPDATE outbox_rotation SET rotated_at ="
        " (SELECT percentile_disc(0.75) WITHIN GROUP (ORDER BY created_at) FROM journal)");
    verify_as("ledger_reader", MOST);
    if (report.differences != 0) fail_msg("%s", sentences);
    sql(owner, "UPDATE outbox_rotation SET rotated_at = '2000-01-01'");
    verify_as("ledger_reader", MOST);
    assert_true(report.differences > 0);
    restore();
}

/* One in the middle of the history of a1. */
#define A_DEPOSIT                                                                                  \
    "key_digest = (SELECT key_digest FROM journal"                                                 \
    " WHERE command = 2 AND credit = (SELECT number FROM account WHERE id = 'a1')"                 \
    "   AND credit_seq > 3 ORDER BY credit_seq LIMIT 1)"

#define HAS(text) "position(convert_to('" text "', 'UTF8') IN body) > 0"

static const struct {
    const char *what, *says, *damage;
} damages[] = {
    {"a balance raised", "account a1 holds",
     "UPDATE account SET balance = balance + 1 WHERE id = 'a1'"},
    {"a balance and another: the sum is right", "account a2 holds",
     "UPDATE account SET balance = balance + CASE id WHEN 'a1' THEN 1 ELSE -1 END"
     " WHERE id IN ('a1', 'a2')"},
    {"a balance below zero", "account a3 holds -5, of which 0 are held",
     "ALTER TABLE account DROP CONSTRAINT IF EXISTS account_not_negative;"
     "UPDATE account SET balance = -5 WHERE id = 'a3'"},
    {"a balance at the sum of the asset", "asset EUR: all balances sum to 1",
     "UPDATE account SET balance = balance + 1 WHERE id = 'a1'"},
    {"a sequence number in the account", "account a4: its sequence number is 1000",
     "UPDATE account SET seq = 1000 WHERE id = 'a4'"},
    {"an account twice", "2 rows, 1 identities",
     "ALTER TABLE account DISABLE TRIGGER account_identity;"
     "INSERT INTO account SELECT * FROM account WHERE id = 'a5';"
     "ALTER TABLE account ENABLE TRIGGER account_identity"},
    {"an account of another id", "account b5, number",
     "UPDATE account SET id = 'b5' WHERE id = 'a5'"},
    {"an account deleted", "account number", "DELETE FROM account WHERE id = 'a5'"},
    {"an account in another asset", "to account a6",
     "UPDATE account SET asset = 'USD' WHERE id = 'a6'"},
    {"an account of another user", "account a6: the event of transaction",
     "UPDATE account SET user_id = 'system' WHERE id = 'a6'"},
    {"a transaction deleted", "account a1 holds", "DELETE FROM journal WHERE " A_DEPOSIT},
    {"a transaction deleted: the gap", "account a1: entry 4 was removed; the next one is 5",
     "DELETE FROM journal WHERE " A_DEPOSIT},
    {"a transaction deleted: its event", "account a1: the journal does not hold transaction",
     "DELETE FROM journal WHERE " A_DEPOSIT},
    {"a refusal deleted", "the journal does not hold transaction",
     "DELETE FROM journal WHERE key = 'key-17'"},
    {"a refusal changed", "tells another error than the journal",
     "UPDATE journal SET result = 'forbidden' WHERE key = 'key-17'"},
    {"an amount changed", "account a1: entry 4, transaction",
     "UPDATE journal SET amount = amount + 1 WHERE " A_DEPOSIT},
    {"an amount changed: its event", "tells another amount than the journal",
     "UPDATE journal SET amount = amount + 1 WHERE " A_DEPOSIT},
    {"a sequence number changed", "account a1: entry 4 was removed",
     "UPDATE journal SET credit_seq = 1000 WHERE " A_DEPOSIT},
    {"a sequence number lost", "account a1: entry 4 was removed",
     "UPDATE journal SET credit_seq = NULL WHERE " A_DEPOSIT},
    {"a balance in the journal", "account a1: entry 4, transaction",
     "UPDATE journal SET credit_balance = credit_balance + 1 WHERE " A_DEPOSIT},
    {"another account credited", "account a2",
     "UPDATE journal SET credit = (SELECT number FROM account WHERE id = 'a2'), credit_seq = 2000 "
     "WHERE " A_DEPOSIT},
    {"a time changed", "tells another timestamp than the journal",
     "UPDATE journal SET created_at = created_at + interval '1 us' WHERE key = 'key-5'"},
    {"metadata changed", "tells another metadata than the journal",
     "UPDATE journal SET metadata = '\\x80' WHERE key = 'key-4'"},
    {"deltas lost", "account world:EUR holds",
     "DELETE FROM account_delta WHERE account = (SELECT number FROM account WHERE id = "
     "'world:EUR')"},
    {"a delta twice", "account fees holds",
     "INSERT INTO account_delta SELECT number, 3 FROM account WHERE id = 'fees'"},
    {"a delta of a user account", "account a1 holds",
     "INSERT INTO account_delta SELECT number, 3 FROM account WHERE id = 'a1'"},
    {"a delta of nobody", "account number 99999999 holds",
     "INSERT INTO account_delta VALUES (99999999, 3)"},
    {"an event that cannot be read", "in the outbox cannot be read",
     "UPDATE outbox SET body = '\\xc1' WHERE id = (SELECT min(id) + 40 FROM outbox)"},
    {"an event without properties", "its properties are none",
     "UPDATE outbox SET properties = '' WHERE id = (SELECT min(id) + 40 FROM outbox)"},
    {"an event of an unknown transaction", "the journal does not hold transaction 00000000-",
     "UPDATE outbox SET body = convert_to(regexp_replace(convert_from(body, 'UTF8'),"
     " '\"transaction\":\"[^\"]*\"', '\"transaction\":\"00000000-0000-7000-8000-000000000000\"'), "
     "'UTF8')"
     " WHERE id = (SELECT min(id) FROM outbox WHERE " HAS("\"transaction\":") ")"},
    {"an event with another balance", "tells another new_balance than the journal",
     "UPDATE outbox SET body = convert_to(regexp_replace(convert_from(body, 'UTF8'),"
     " '\"(new_balance|available)\":\\d+', '\"\\1\":12345', 'g'), 'UTF8')"
     " WHERE id = (SELECT min(id) FROM outbox WHERE " HAS("\"new_balance\"") ")"},
    {"an event to another account", "tells another counterparty than the journal",
     "UPDATE outbox SET body = convert_to(regexp_replace(convert_from(body, 'UTF8'),"
     " '\"counterparty\":\"a\\d', '\"counterparty\":\"b'), 'UTF8')"
     " WHERE id = (SELECT min(id) FROM outbox WHERE " HAS(
         "\"counterparty\":\"a") "             AND destination = 'transaction.created')"},
};

static void each_damage_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        sql(owner, "%s", damages[i].damage);
        verify_as("ledger_reader", MOST);
        if (report.differences == 0 || strstr(sentences, damages[i].says) == NULL)
            fail_msg("%s: %ju differences, none says '%s'\n%s", damages[i].what,
                     (uintmax_t)report.differences, damages[i].says, sentences);
        restore();
    }
    verify_as("ledger_reader", MOST);
    assert_int_equal(report.differences, 0);
}

/* --- the chain --- */

static void sentence_about(const char *what, char says[static 256])
{
    struct db *db = session_as(NULL);
    char text[1024];
    PGresult *row;

    (void)snprintf(text, sizeof text,
                   "SELECT format('account a1: %s', credit_seq, id) FROM journal WHERE " A_DEPOSIT,
                   what);
    const struct statement statement = {"it_sentence", text};
    must(query_one(db, &statement, NULL, 0, &row, &err));
    assert_int_equal(PQntuples(row), 1);
    assert_true(text_copy(cell_text(row, 0, 0), says, 256));
    PQclear(row);
    db_close(db);
}

#define CHANGED "entry %s, transaction %s, was changed or inserted by hand"

/* Whatever is changed of an entry, by somebody whom no constraint stops. */
static const char *const changes[] = {
    "amount = amount + 1",
    "amount = NULL",
    "amount = 0",
    "credit_balance = credit_balance + 1",
    "credit_balance = NULL",
    "credit_held = 1",
    "id = gen_random_uuid()",
    "fingerprint = gen_random_uuid()",
    "trace_id = gen_random_uuid()",
    "created_at = created_at + interval '1 microsecond'",
    "created_at = 'infinity'",
    "command = 4",
    "command = 999",
    "debit = (SELECT number FROM account WHERE id = 'world:USD')",
    "debit = NULL",
    "caller = 'test'",
    "caller = ''",
    "caller = 'testsk', key = substr(key, 2)",
    "key = key || ' '",
    "key = repeat('k', 5000)",
    "metadata = '\\x80'",
    "metadata = ''",
    "metadata = decode(repeat('00', 1000000), 'hex')",
    "refers = id",
    "settles = false",
    "batch = id",
    "leg = 0",
    "floor = 0",
    "import = 1",
    "scheduled = id",
    "credit_hash = NULL",
    "credit_hash = ''",
    "credit_hash = sha256(credit_hash)",
};

static void whatever_is_changed_of_an_entry_is_found(void **state)
{
    char says[256];

    (void)state;
    sql(owner, "ALTER TABLE journal DROP CONSTRAINT journal_movement,"
               " DROP CONSTRAINT journal_amount_check, DROP CONSTRAINT journal_floor");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        sentence_about(CHANGED, says);
        if (strncmp(changes[i], "id = ", 5) == 0) *strstr(says, ", transaction") = '\0';
        sql(owner, "UPDATE journal SET %s WHERE " A_DEPOSIT, changes[i]);
        verify_as("ledger_reader", MOST);
        if (strstr(sentences, says) == NULL)
            fail_msg("%s: none says '%s'\n%s", changes[i], says, sentences);
        restore();
    }
}

/* The outbox is as if it had rotated, and of a1 every later balance is what it would be. */
#define NO_EVENTS "TRUNCATE outbox; UPDATE outbox_rotation SET rotated_at = now();"
#define A1 "(SELECT number FROM account WHERE id = 'a1')"
#define LATER(change, number)                                                                      \
    "UPDATE journal SET debit_balance = debit_balance + (" change                                  \
    "), debit_seq = debit_seq + (" number ")"                                                      \
    " WHERE debit = " A1 " AND debit_seq > 4;"                                                     \
    "UPDATE journal SET credit_balance = credit_balance + (" change                                \
    "), credit_seq = credit_seq + (" number ")"                                                    \
    " WHERE credit = " A1 " AND credit_seq > 4;"                                                   \
    "UPDATE account SET balance = balance + (" change "), seq = seq + (" number                    \
    ") WHERE id = 'a1';"                                                                           \
    "INSERT INTO account_delta SELECT number, -(" change ") FROM account WHERE id = 'world:EUR';"

/* Nothing but the chain can tell. */
static const struct {
    const char *what, *says, *how;
} forgeries[] = {
    {"an amount, and all that follows from it", CHANGED,
     NO_EVENTS
     "UPDATE journal SET amount = amount + 7, credit_balance = credit_balance + 7 WHERE " A_DEPOSIT
     ";" LATER("7", "0")},
    {"two amounts that cancel out", CHANGED,
     NO_EVENTS
     "UPDATE journal SET amount = amount + 7, credit_balance = credit_balance + 7 WHERE " A_DEPOSIT
     ";" LATER(
         "7",
         "0") "INSERT INTO journal (key_digest, id, fingerprint, trace_id, created_at, debit, "
              "debit_seq, debit_balance,"
              "                     debit_held, credit, amount, command, caller, key, debit_hash)"
              " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), "
              "now(), number, seq + 1,"
              "        balance - 7, 0, (SELECT number FROM account WHERE id = 'world:EUR'), 7, 3, "
              "'tests', 'k', head"
              "   FROM account WHERE id = 'a1';"
              "UPDATE account SET balance = balance - 7, seq = seq + 1 WHERE id = 'a1';"
              "INSERT INTO account_delta SELECT number, 7 FROM account WHERE id = 'world:EUR'"},
    {"one removed, and the numbers closed up",
     "entry 4, transaction ", /* the one after it, which has its number now */
     NO_EVENTS "DROP INDEX journal_debit, journal_credit;"
               "UPDATE account_delta SET delta = delta WHERE false;"
               "CREATE TEMP TABLE gone AS SELECT amount FROM journal WHERE " A_DEPOSIT ";"
               "DELETE FROM journal WHERE " A_DEPOSIT
               ";" LATER("-(SELECT amount FROM gone)",
                         "-1") "DROP TABLE gone;"
                               "CREATE UNIQUE INDEX journal_debit ON journal (debit, debit_seq) "
                               "WHERE debit_seq IS NOT NULL;"
                               "CREATE UNIQUE INDEX journal_credit ON journal (credit, credit_seq) "
                               "WHERE credit_seq IS NOT NULL"},
    {"the last one removed", "its head is not the hash of its last entry",
     NO_EVENTS
     "WITH gone AS (DELETE FROM journal USING account AS own WHERE own.id = 'a7'"
     "   AND own.seq = CASE own.number WHEN debit THEN debit_seq WHEN credit THEN credit_seq END"
     "   RETURNING own.number, CASE own.number WHEN debit THEN -amount ELSE amount END AS amount),"
     " world AS (INSERT INTO account_delta SELECT w.number, gone.amount FROM gone, account AS w "
     "WHERE w.id = 'world:USD')"
     " UPDATE account SET balance = balance - gone.amount, seq = seq - 1 FROM gone WHERE "
     "account.number = gone.number"},
    {"one inserted at the end, with a hash from somewhere", "was changed or inserted by hand",
     NO_EVENTS "INSERT INTO journal (key_digest, id, fingerprint, trace_id, created_at, credit, "
               "credit_seq, credit_balance,"
               "                     credit_held, debit, amount, command, caller, key, credit_hash)"
               " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), "
               "gen_random_uuid(), now(), number, seq + 1,"
               "        balance + 7, held, (SELECT number FROM account WHERE id = 'world:EUR'), 7, "
               "2, 'tests', 'k', head"
               "   FROM account WHERE id = 'a1';"
               "UPDATE account SET balance = balance + 7, seq = seq + 1 WHERE id = 'a1';"
               "INSERT INTO account_delta SELECT number, -7 FROM account WHERE id = 'world:EUR'"},
    {"an account of another user", "account a1: entry 0, transaction",
     NO_EVENTS "UPDATE account SET user_id = 'system' WHERE id = 'a1'"},
    {"an account that was never opened", "account a1: entry 0 was removed",
     NO_EVENTS "DELETE FROM journal WHERE command = 1 AND credit = " A1},
    {"a head", "its head is not the hash of its last entry",
     NO_EVENTS "UPDATE account SET head = sha256(head) WHERE id = 'a1'"},
};

static void a_consistent_forgery_is_found_by_the_chain_alone(void **state)
{
    char says[256];

    (void)state;
    for (size_t i = 0; i < sizeof forgeries / sizeof forgeries[0]; i++) {
        sentence_about(forgeries[i].says, says);
        if (strstr(forgeries[i].says, "%s") == NULL)
            (void)snprintf(says, sizeof says, "%s", forgeries[i].says);
        sql(owner, "%s", forgeries[i].how);
        verify_as("ledger_reader", MOST);
        if (report.differences != 1 || strstr(sentences, says) == NULL)
            fail_msg("%s: %ju differences, '%s'\n%s", forgeries[i].what,
                     (uintmax_t)report.differences, says, sentences);
        restore();
        sql(owner, "UPDATE outbox_rotation SET rotated_at = '2000-01-01'");
    }
    verify_as("ledger_reader", MOST);
    assert_int_equal(report.differences, 0);
}

/* Entries from before there was a chain get the hashes that the programs would have given them. */
static void the_migration_makes_the_same_hashes(void **state)
{
    const struct migration *chain = migrations;

    (void)state;
    while (strcmp(chain->name, "009_chain") != 0) chain++;
    sql(owner, "ALTER TABLE journal DROP COLUMN debit_hash, DROP COLUMN credit_hash;"
               "ALTER TABLE account DROP COLUMN head");
    must(db_run(owner, chain->sql, &err));
    assert_int_equal(
        ask("SELECT count(*) FROM journal JOIN backup.journal AS was USING (key_digest)"
            " WHERE (journal.debit_hash, journal.credit_hash)"
            "       IS DISTINCT FROM (was.debit_hash, was.credit_hash)"),
        0);
    verify_as("ledger_reader", MOST);
    assert_int_equal(report.differences, 0);
}

/* --- events that are missing --- */

/* The events of account a1, and the id of the n-th, whatever their encoding. */
#define EVENTS_OF_A1                                                                               \
    "(SELECT id FROM outbox WHERE kind = 0 AND destination = 'transaction.created'"                \
    " AND (position('\\xa76163636f756e74a26131'::bytea IN body) > 0"                               \
    "      OR position(convert_to('\"account\":\"a1\"', 'UTF8') IN body) > 0) ORDER BY id %s)"

static void a_missing_event_is_found(void **state)
{
    static const struct {
        const char *where, *says;
    } gaps[] = {
        {"LIMIT 1", "account a1: its event with sequence number 1 is not in the outbox"},
        {"OFFSET 4 LIMIT 1",
         "account a1: in the outbox its event with sequence number 4 is followed by 6"},
        {"DESC LIMIT 1", "account a1: its sequence number is"},
        {"", "account a1: its event with sequence number 1 is not in the outbox"}, /* all of them */
    };

    (void)state;
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        sql(owner, "DELETE FROM outbox WHERE id IN " EVENTS_OF_A1, gaps[i].where);
        verify_as("ledger_reader", MOST);
        if (report.differences == 0 || strstr(sentences, gaps[i].says) == NULL)
            fail_msg("%s: nothing says '%s'\n%s", gaps[i].where, gaps[i].says, sentences);
        restore();
    }
}

/* Of each check. */
static void only_the_first_are_told(void **state)
{
    (void)state;
    sql(owner, "UPDATE account SET balance = balance + 1 WHERE kind = 0");
    verify_as("ledger_reader", 3);
    assert_true(report.differences > 3);
    uint32_t lines = 0;
    for (const char *at = sentences; (at = strstr(at, ", but its postings sum to")) != NULL; at++)
        lines++;
    assert_int_equal(lines, 3);
    restore();
}

static void who_may_not_read_is_told(void **state)
{
    const struct verify_ear ear = {.role = "ledger_relay",
                                   .hear = hear}; /* may not read accounts */

    (void)state;
    assert_false(verify_try(&ear, MOST, &report));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_non_null(strstr(err.text, "permission denied"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_books_are_found_right),
        cmocka_unit_test(an_outbox_that_begins_later_is_right),
        cmocka_unit_test(each_damage_is_found),
        cmocka_unit_test(a_missing_event_is_found),
        cmocka_unit_test(whatever_is_changed_of_an_entry_is_found),
        cmocka_unit_test(a_consistent_forgery_is_found_by_the_chain_alone),
        cmocka_unit_test(only_the_first_are_told),
        cmocka_unit_test(who_may_not_read_is_told),
        cmocka_unit_test(the_migration_makes_the_same_hashes), /* the last: it moves columns */
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
