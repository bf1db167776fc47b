/*
 * it_verify.c - books that are right are found right; each kind of damage, planted alone, is found,
 * and some sentence names whom it befell.
 */
#include "ledger/verify_pg.h"
#include "tests/store.h"

enum { SENTENCES_SIZE = 1 << 16, MOST = 50, ID_SIZE = 64 };

static struct db *owner;
static char sentences[SENTENCES_SIZE];
static struct verify_report report;

static void hear(void *context, const char *sentence)
{
    size_t length = strlen(sentences);

    assert_ptr_equal(context, sentences);
    (void)snprintf(sentences + length, SENTENCES_SIZE - length, "%s\n", sentence);
}

static void verify_as(const char *role, uint32_t most)
{
    struct db *db = session_as(role);

    sentences[0] = '\0';
    must(verify_run(db, most, hear, sentences, &report, &err));
    db_close(db);
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
    {"a transaction deleted: the gap", "account a1: transaction",
     "DELETE FROM journal WHERE " A_DEPOSIT},
    {"a transaction deleted: its event", "account a1: the journal does not hold transaction",
     "DELETE FROM journal WHERE " A_DEPOSIT},
    {"a refusal deleted", "the journal does not hold transaction",
     "DELETE FROM journal WHERE key = 'key-17'"},
    {"a refusal changed", "tells another error than the journal",
     "UPDATE journal SET result = 'forbidden' WHERE key = 'key-17'"},
    {"an amount changed", "account a1: transaction",
     "UPDATE journal SET amount = amount + 1 WHERE " A_DEPOSIT},
    {"an amount changed: its event", "tells another amount than the journal",
     "UPDATE journal SET amount = amount + 1 WHERE " A_DEPOSIT},
    {"a sequence number changed", "account a1: transaction",
     "UPDATE journal SET credit_seq = 1000 WHERE " A_DEPOSIT},
    {"a sequence number lost", "has sequence number none",
     "UPDATE journal SET credit_seq = NULL WHERE " A_DEPOSIT},
    {"a balance in the journal", "account a1: transaction",
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

static void only_the_first_are_told(void **state)
{
    (void)state;
    sql(owner, "UPDATE account SET balance = balance + 1 WHERE kind = 0");
    verify_as("ledger_reader", 3);
    assert_true(report.differences > 3);
    uint32_t lines = 0;
    for (const char *at = sentences; *at != '\0'; at++) lines += *at == '\n';
    assert_int_equal(lines, 3);
    restore();
}

static void it_leaves_the_session_at_rest(void **state)
{
    struct db *db = session_as("ledger_relay"); /* may not read accounts */

    (void)state;
    assert_false(verify_run(db, MOST, hear, sentences, &report, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_true(db_usable(db));
    sql(db, "SELECT 1");
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_books_are_found_right),
        cmocka_unit_test(an_outbox_that_begins_later_is_right),
        cmocka_unit_test(each_damage_is_found),
        cmocka_unit_test(a_missing_event_is_found),
        cmocka_unit_test(only_the_first_are_told),
        cmocka_unit_test(it_leaves_the_session_at_rest),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
