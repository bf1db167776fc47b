/*
 * it_suspect.c - who is counted among those that may have died over a message, on a real
 * PostgreSQL: who begins it, once, until it is settled or given back.
 *
 * The database is one of the test's own, see tests/outbox.h.
 */
#include "tests/outbox.h"
#include "worker/suspect_pg.h"

enum { PROCESSES = 3 };

static struct db *db;
static struct uuid digest, process[PROCESSES];

static int set_up(void **state)
{
    (void)state;
    db = session_as("ledger_worker");
    random_bytes(&digest, sizeof digest);
    random_bytes(process, sizeof process);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    return 0;
}

static void begins(uint32_t number, uint32_t times)
{
    uint32_t counted = 0;

    must(suspect_begin(db, &process[number], &digest, &counted, &err));
    assert_int_equal(counted, times);
}

static void gives_back(uint32_t number)
{
    must(suspect_give_back(db, &process[number], &digest, &err));
}

static void each_process_counts_once(void **state)
{
    (void)state;
    begins(0, 1);
    begins(0, 1);
    begins(1, 2);
    begins(1, 2);
    begins(0, 3); /* who died in between is not known: rather once too often */
    must(suspect_settle(db, &digest, &err));
    begins(2, 1);
}

static void who_gives_back_does_not_count(void **state)
{
    (void)state;
    begins(0, 1);
    gives_back(0);
    begins(0, 1); /* it counts anew */
    begins(1, 2);
    gives_back(1);
    begins(2, 2); /* beside the first, which died */
}

/* It was slow, and the message is another one's by now. */
static void who_gives_back_late_takes_only_itself_out(void **state)
{
    (void)state;
    begins(0, 1);
    begins(1, 2);
    gives_back(0);
    begins(1, 1);
    begins(2, 2);
}

static void it_never_falls_below_none(void **state)
{
    (void)state;
    gives_back(0); /* settled by somebody else: there is no note */
    begins(1, 1);
    gives_back(0);
    gives_back(1);
    begins(2, 1);
}

int main(void)
{
#define WITH_NOTES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_NOTES(each_process_counts_once),
        WITH_NOTES(who_gives_back_does_not_count),
        WITH_NOTES(who_gives_back_late_takes_only_itself_out),
        WITH_NOTES(it_never_falls_below_none),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
