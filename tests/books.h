/*
 * books.h - for tests of the store: an empty ledger before each, the worker's bench over it, and a
 * session of the owner's.
 */
#ifndef TESTS_BOOKS_H
#define TESTS_BOOKS_H

#include "tests/store.h"
#include "tests/verify.h"

static struct bench *bench;
static struct db *owner;

/* As it was migrated: nothing but the assets that came with it, and their worlds. */
static inline void books_open(void)
{
    bench = bench_open(session_as("ledger_worker"));
    owner = session_as(NULL);
    sql(owner,
        "TRUNCATE journal, scheduled, hold, account_delta, outbox, policy_rule, policy_usage;"
        "UPDATE policy SET enabled = false;"
        "DELETE FROM account WHERE id NOT LIKE 'world:%%' OR length(id) > 9;"
        "DELETE FROM account_identity WHERE id NOT LIKE 'world:%%' OR length(id) > 9;"
        "UPDATE account SET balance = 0; DELETE FROM ledger_user WHERE id <> 'system';"
        "DELETE FROM asset WHERE length(code) > 3");
}

static inline int books_empty(void **state)
{
    (void)state;
    books_open();
    return 0;
}

/* With two accounts that have nothing. */
static inline int books_of_two(void **state)
{
    (void)state;
    books_open();
    expect(bench, "open-a", open_account("a", "ann", "EUR"), RESULT_APPLIED);
    expect(bench, "open-b", open_account("b", "ben", "EUR"), RESULT_APPLIED);
    return 0;
}

static inline int books_close(void **state)
{
    (void)state;
    bench_close(bench);
    db_close(owner);
    return 0;
}

static inline int64_t ask(const char *text)
{
    struct db *db = session_as(NULL);
    const struct statement statement = {"it_ask", text};
    int64_t value = number(db, &statement);

    db_close(db);
    return value;
}

static inline void expect_clean_books(void)
{
    (void)verify_clean("ledger_reader");
}

#endif
