/*
 * checker_journal.c - what the database holds at the end, by itself: each journal row, each
 * account's steps from its opening to its row, and the sum of everything. Sums are modulo 2^64, so
 * that no history can overflow them.
 */
#include "tests/chaos/checker_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static struct excerpt show_outcome(const struct journal_row *row)
{
    return show_key(row->key, 0, 0);
}

/* --- rows -------------------------------------------------------------------------------- */

static void check_side(struct checker *checker, uint32_t at, int32_t account, int64_t seq,
                       int64_t amount, int64_t balance)
{
    const struct journal_row *row = &checker->history->journal[at];

    if (account == NO_ACCOUNT) {
        if (seq != 0)
            breach(checker, PROMISE_UNTRUE, show_outcome(row), "the world has no sequence");
        return;
    }
    if (!has_account(checker, account)) {
        breach(checker, PROMISE_UNTRUE, show_outcome(row), "a movement of no known account");
        return;
    }
    if (balance < 0)
        breach(checker, PROMISE_NEGATIVE, show_outcome(row),
               "account-%" PRId32 " is at %" PRId64 " after key-%" PRIu32, account, balance,
               row->key);
    checker->steps[checker->steps_count++] = (struct step){account, at, seq, amount, balance};
}

static void check_opening(struct checker *checker, const struct journal_row *row)
{
    if (!has_account(checker, row->credit)) {
        breach(checker, PROMISE_UNTRUE, show_outcome(row), "the opening of no known account");
        return;
    }
    struct account_book *book = &checker->books[row->credit];
    if (book->opening != NULL)
        breach(checker, PROMISE_TWICE, show_outcome(row),
               "account-%" PRId32 " is opened under key-%" PRIu32 " and again under key-%" PRIu32,
               row->credit, book->opening->key, row->key);
    else
        book->opening = row;
}

static void check_outcome(struct checker *checker, uint32_t at)
{
    const struct journal_row *row = &checker->history->journal[at];

    if (!has_key(checker, row->key)) {
        breach(checker, PROMISE_UNTRUE, show_nothing(), "a journal row of a key never sent");
        return;
    }
    if (is_movement(row)) {
        if (row->amount <= 0)
            breach(checker, PROMISE_UNTRUE, show_outcome(row), "a movement of %" PRId64,
                   row->amount);
        check_side(checker, at, row->debit, row->debit_seq, -row->amount, row->debit_balance);
        check_side(checker, at, row->credit, row->credit_seq, row->amount, row->credit_balance);
        return;
    }
    if (row->debit_seq != 0 || row->credit_seq != 0)
        breach(checker, PROMISE_UNTRUE, show_outcome(row),
               "what moves no money is counted in an account's sequence");
    if (row->result == RESULT_APPLIED) check_opening(checker, row);
}

/* --- accounts ---------------------------------------------------------------------------- */

static int compare_steps(const void *a, const void *b)
{
    const struct step *left = a, *right = b;

    if (left->account != right->account) return left->account < right->account ? -1 : 1;
    if (left->seq != right->seq) return left->seq < right->seq ? -1 : 1;
    return left->row < right->row ? -1 : left->row > right->row;
}

/* Each break is told once: the chain goes on from where it is. */
static void check_chain(struct checker *checker, int32_t account, const struct step *steps,
                        uint32_t count)
{
    int64_t seq = 0, balance = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct step *step = &steps[i];
        if (step->seq != seq + 1)
            breach(checker, PROMISE_GAP, show_steps(account, steps, i + 1),
                   "account-%" PRId32 " goes from seq %" PRId64 " to %" PRId64, account, seq,
                   step->seq);
        else if ((uint64_t)step->balance != (uint64_t)balance + (uint64_t)step->amount)
            breach(checker, PROMISE_GAP, show_steps(account, steps, i + 1),
                   "account-%" PRId32 " at seq %" PRId64 " goes from %" PRId64 " by %" PRId64
                   " to %" PRId64,
                   account, step->seq, balance, step->amount, step->balance);
        seq = step->seq;
        balance = step->balance;
    }
}

static void check_account(struct checker *checker, int32_t account, const struct step *steps,
                          uint32_t count)
{
    const struct account_book *book = &checker->books[account];
    const struct account_row *row = book->row;
    struct excerpt excerpt = show_steps(account, steps, count);
    int64_t last_seq = count > 0 ? steps[count - 1].seq : 0;
    uint64_t posted = 0;

    check_chain(checker, account, steps, count);
    if (row == NULL && book->opening == NULL && count == 0) return; /* it never was */
    if (row == NULL || book->opening == NULL) {
        breach(checker, PROMISE_LOST, excerpt, "account-%" PRId32 " has no %s", account,
               row == NULL ? "row" : "opening");
        if (row == NULL) return;
    }
    for (uint32_t i = 0; i < count; i++) posted += (uint64_t)steps[i].amount;
    if ((uint64_t)row->balance != posted)
        breach(checker, PROMISE_UNBALANCED, excerpt,
               "account-%" PRId32 " holds %" PRId64 ", its postings sum to %" PRId64, account,
               row->balance, (int64_t)posted);
    if (row->seq != last_seq)
        breach(checker, PROMISE_GAP, excerpt,
               "account-%" PRId32 " has seq %" PRId64 ", its last posting %" PRId64, account,
               row->seq, last_seq);
    if (row->balance < 0)
        breach(checker, PROMISE_NEGATIVE, excerpt, "account-%" PRId32 " holds %" PRId64, account,
               row->balance);
}

static void check_accounts(struct checker *checker)
{
    uint32_t first = 0;

    for (int32_t account = 0; has_account(checker, account); account++) {
        uint32_t end = first;
        while (end < checker->steps_count && checker->steps[end].account == account) end++;
        check_account(checker, account, checker->steps + first, end - first);
        first = end;
    }
}

/* --- the whole --------------------------------------------------------------------------- */

/* That the world is the sum of its postings need not be checked: every account is, and all rows
 * balance. */
void check_journal(struct checker *checker)
{
    const struct history *history = checker->history;
    uint64_t accounts = 0, world = 0;

    for (uint32_t i = 0; i < history->journal_count; i++) check_outcome(checker, i);
    if (checker->steps_count > 1)
        qsort(checker->steps, checker->steps_count, sizeof *checker->steps, compare_steps);
    for (uint32_t i = 0; i < history->rows_count; i++) {
        const struct account_row *row = &history->rows[i];
        *(row->account == NO_ACCOUNT ? &world : &accounts) += (uint64_t)row->balance;
        if (has_account(checker, row->account))
            checker->books[row->account].row = row;
        else if (row->account != NO_ACCOUNT)
            breach(checker, PROMISE_UNTRUE, show_nothing(), "a row of no known account");
    }
    check_accounts(checker);
    if (accounts + world != 0)
        breach(checker, PROMISE_UNBALANCED, show_nothing(),
               "the accounts hold %" PRId64 ", the world %" PRId64, (int64_t)accounts,
               (int64_t)world);
}
