/*
 * checker_order.c - one account's commands are decided in the order in which they were published.
 * What a publisher may hold the ledger to: a command that the broker had confirmed before another
 * one of the same ordering key was sent for the first time is decided no later than that one.
 */
#include "tests/chaos/checker_internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct latest { /* of one ordering key: of all that was decided, what was sent last */
    uint64_t sent_ms, pending_ms;
    uint32_t key, pending_key;
    int64_t pending_us; /* the batch of the pending one, which may not be compared with its own */
};

static int32_t ordering_account(const struct sent *sent)
{
    return sent->debit != NO_ACCOUNT ? sent->debit : sent->credit;
}

static void settle(struct latest *latest, int64_t now_us)
{
    if (latest->pending_us == now_us || latest->pending_ms <= latest->sent_ms) return;
    latest->sent_ms = latest->pending_ms;
    latest->key = latest->pending_key;
}

static void check_row(struct checker *checker, const struct journal_row *row,
                      struct latest *latest_of)
{
    const struct sent *sent = &checker->history->sent[row->key];

    if (sent->kind != SENT_FIRST || sent->key != row->key || sent->sent_ms == 0) return;
    if (!has_account(checker, ordering_account(sent))) return;
    struct latest *latest = &latest_of[ordering_account(sent)];
    settle(latest, row->created_us);
    if (sent->confirmed && sent->confirmed_ms < latest->sent_ms)
        breach(checker, PROMISE_ORDER, show_order(row->key, latest->key),
               "key-%" PRIu32 " was confirmed %" PRIu64 " ms before key-%" PRIu32
               " of the same account was sent, and decided after it",
               row->key, latest->sent_ms - sent->confirmed_ms, latest->key);
    if (sent->sent_ms <= latest->pending_ms) return;
    latest->pending_ms = sent->sent_ms;
    latest->pending_key = row->key;
    latest->pending_us = row->created_us;
}

bool check_decisions(struct checker *checker)
{
    const struct history *history = checker->history;
    struct latest *latest = calloc(history->accounts + 1, sizeof *latest);

    if (latest == NULL) return false;
    for (uint32_t i = 0; i < history->journal_count; i++)
        if (history->journal[i].key < history->sent_count)
            check_row(checker, &history->journal[i], latest);
    free(latest);
    return true;
}
