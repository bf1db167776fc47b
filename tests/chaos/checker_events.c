/*
 * checker_events.c - every event tells what the journal says, each that is owed came, and those of
 * one account came in order: its opening, then 1, 2, 3, ... What was told may be told again, under
 * the same message_id, at any later time.
 */
#include "tests/chaos/checker_internal.h"

#include <inttypes.h>

static struct excerpt show_until(const struct checker *checker, uint32_t i)
{
    return show_key(checker->history->events[i].key, 0, i + 1);
}

/* --- one event --------------------------------------------------------------------------- */

/* The journal row that it tells of: where its key has several, the one with its transaction. */
static bool find_row(const struct checker *checker, const struct event_seen *event, uint32_t *out)
{
    const struct index *index = &checker->rows_of_key;
    bool found = false;

    if (!has_key(checker, event->key)) return false;
    for (uint32_t i = index->offset[event->key]; i < index->offset[event->key + 1]; i++) {
        const struct journal_row *row = &checker->history->journal[index->items[i]];
        bool is_same = uuid_compare(&row->id, &event->transaction) == 0;
        if (!found || is_same) *out = index->items[i];
        found = true;
        if (is_same) break;
    }
    return found;
}

/* Which of the row's events it is; false when the row has no such event. */
static bool find_told(const struct event_seen *event, const struct journal_row *row,
                      enum told_of *out)
{
    switch (event->kind) {
    case EVENT_SEEN_CHANGE:
        *out = event->account == row->debit ? TOLD_DEBIT : TOLD_CREDIT;
        return is_movement(row) && event->account != NO_ACCOUNT &&
               (event->account == row->debit || event->account == row->credit);
    case EVENT_SEEN_OPENED:
        *out = TOLD_OPENED;
        return row->result == RESULT_APPLIED && row->type == COMMAND_OPEN_ACCOUNT &&
               event->account == row->credit;
    case EVENT_SEEN_REJECTED:
        *out = TOLD_REJECTED;
        return row->result != RESULT_APPLIED;
    }
    return false;
}

static bool tells_truth(const struct event_seen *event, const struct journal_row *row,
                        enum told_of told)
{
    bool debits = told == TOLD_DEBIT;

    if (event->kind == EVENT_SEEN_REJECTED)
        return event->result == row->result && uuid_is_zero(&event->transaction);
    if (uuid_compare(&event->transaction, &row->id) != 0) return false;
    if (event->kind == EVENT_SEEN_OPENED) return true;
    return event->seq == (debits ? row->debit_seq : row->credit_seq) &&
           event->balance == (debits ? row->debit_balance : row->credit_balance) &&
           event->amount == (debits ? -row->amount : row->amount);
}

/* --- order ------------------------------------------------------------------------------- */

/* The first sight of an event that belongs to an account. */
static void check_order(struct checker *checker, uint32_t i)
{
    const struct event_seen *event = &checker->history->events[i];
    struct account_book *book = &checker->books[event->account];

    if (event->kind == EVENT_SEEN_OPENED) {
        book->opening_told = true;
        return;
    }
    if (book->opening != NULL && !book->opening_told && !book->told_early) {
        breach(checker, PROMISE_ORDER, show_events(event->account, i + 1),
               "a change of account-%" PRId32 " is told before its opening", event->account);
        book->told_early = true;
    }
    if (event->seq != book->told_seq + 1)
        breach(checker, PROMISE_ORDER, show_events(event->account, i + 1),
               "account-%" PRId32 ": seq %" PRId64 " is first told after %" PRId64, event->account,
               event->seq, book->told_seq);
    if (event->seq > book->told_seq) book->told_seq = event->seq;
}

static void check_repeat(struct checker *checker, uint32_t i, const struct told *told)
{
    const struct event_seen *event = &checker->history->events[i];

    if (event->message_id == told->message_id) return;
    if (event->kind == EVENT_SEEN_REJECTED)
        breach(checker, PROMISE_TWICE, show_until(checker, i),
               "the refusal of key-%" PRIu32 " is told again under another message_id", event->key);
    else
        breach(checker, PROMISE_ORDER, show_until(checker, i),
               "account-%" PRId32 " is told of key-%" PRIu32 " again under another message_id",
               event->account, event->key);
}

/* --- all of them ------------------------------------------------------------------------- */

static void check_unfounded(struct checker *checker, uint32_t i)
{
    const struct event_seen *event = &checker->history->events[i];

    breach(checker, PROMISE_UNTRUE, show_until(checker, i),
           "event %" PRIu32 " tells of an outcome that the journal has not", i);
    /* A row that is missing makes the account's next event no worse. */
    if (event->kind == EVENT_SEEN_CHANGE && has_account(checker, event->account) &&
        event->seq == checker->books[event->account].told_seq + 1)
        checker->books[event->account].told_seq++;
}

static void check_event(struct checker *checker, uint32_t i)
{
    const struct history *history = checker->history;
    const struct event_seen *event = &history->events[i];
    uint32_t row = 0;
    enum told_of of = TOLD_DEBIT;

    if (event->kind == EVENT_SEEN_CHANGE && event->balance < 0)
        breach(checker, PROMISE_NEGATIVE, show_until(checker, i),
               "event %" PRIu32 " tells a balance of %" PRId64, i, event->balance);
    if (!find_row(checker, event, &row) || !find_told(event, &history->journal[row], &of) ||
        (event->kind != EVENT_SEEN_REJECTED && !has_account(checker, event->account))) {
        check_unfounded(checker, i);
        return;
    }
    if (!tells_truth(event, &history->journal[row], of))
        breach(checker, PROMISE_UNTRUE, show_until(checker, i),
               "event %" PRIu32 " tells otherwise than the journal", i);
    struct told *told = &checker->told[row][of], *other = &checker->told[row][1 - of];
    if (told->seen) {
        check_repeat(checker, i, told);
        return;
    }
    *told = (struct told){true, event->message_id};
    if (other->seen && other->message_id == told->message_id)
        breach(checker, PROMISE_SILENT, show_until(checker, i),
               "event %" PRIu32 " has the message_id of another, so it is dropped as known", i);
    if (event->kind != EVENT_SEEN_REJECTED) check_order(checker, i);
}

static void check_owed(struct checker *checker, uint32_t at, enum told_of of, const char *what)
{
    const struct journal_row *row = &checker->history->journal[at];

    if (checker->told[at][of].seen) return;
    breach(checker, PROMISE_SILENT, show_key(row->key, 0, ALL),
           "no event tells of the %s of key-%" PRIu32, what, row->key);
}

void check_events(struct checker *checker)
{
    const struct history *history = checker->history;

    for (uint32_t i = 0; i < history->events_count; i++) check_event(checker, i);
    for (uint32_t i = 0; i < history->journal_count; i++) {
        const struct journal_row *row = &history->journal[i];
        if (!has_key(checker, row->key)) continue;
        if (row->result != RESULT_APPLIED) {
            check_owed(checker, i, TOLD_REJECTED, "refusal");
        } else if (row->type == COMMAND_OPEN_ACCOUNT) {
            check_owed(checker, i, TOLD_OPENED, "opening");
        } else {
            if (row->debit != NO_ACCOUNT) check_owed(checker, i, TOLD_DEBIT, "debit");
            if (row->credit != NO_ACCOUNT) check_owed(checker, i, TOLD_CREDIT, "credit");
        }
    }
}
