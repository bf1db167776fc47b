/*
 * checker_answers.c - each key has one outcome, and each message under it the answer that follows
 * from that: the outcome for those that ask for the same command, a conflict for the others. What
 * is malformed has no outcome; it is answered, and in the dead letters.
 */
#include "tests/chaos/checker_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct range { /* of an index */
    const uint32_t *at;
    uint32_t count;
};

static struct range bucket(const struct index *index, uint32_t number)
{
    uint32_t first = index->offset[number];
    return (struct range){index->items + first, index->offset[number + 1] - first};
}

static struct range replies_to(const struct checker *checker, uint32_t message)
{
    return bucket(&checker->replies_of_message, message);
}

/* --- whose outcome it is ----------------------------------------------------------------- */

/* A refusal tells what was asked for only as far as it is known. */
static bool may_be_outcome_of(const struct journal_row *row, const struct sent *sent)
{
    bool refused = row->result != RESULT_APPLIED;

    if (sent->kind == SENT_MALFORMED || row->type != sent->type) return false;
    if (row->debit != sent->debit && !(refused && row->debit == NO_ACCOUNT)) return false;
    if (row->credit != sent->credit && !(refused && row->credit == NO_ACCOUNT)) return false;
    return row->type == COMMAND_OPEN_ACCOUNT || row->amount == sent->amount ||
           (refused && row->amount == 0);
}

/* Of two messages under one key. */
static bool is_same_command(const struct sent *a, const struct sent *b)
{
    bool a_other = a->kind == SENT_OTHER_PAYLOAD, b_other = b->kind == SENT_OTHER_PAYLOAD;

    if (a_other != b_other) return false;
    if (!a_other) return true; /* the first and its repeats */
    return a->type == b->type && a->debit == b->debit && a->credit == b->credit &&
           a->amount == b->amount;
}

/* Was it answered by a conflict (or, if not `conflict`, by anything else)? */
static bool was_answered(const struct checker *checker, uint32_t message, bool conflict)
{
    struct range replies = replies_to(checker, message);

    for (uint32_t i = 0; i < replies.count; i++) {
        enum result result = checker->history->replies[replies.at[i]].result;
        if ((result == RESULT_KEY_REUSED) == conflict) return true;
    }
    return false;
}

static bool any_conflict(const struct checker *checker, struct range messages,
                         const struct sent *like)
{
    const struct sent *sent = checker->history->sent;

    for (uint32_t i = 0; i < messages.count; i++)
        if (is_same_command(&sent[messages.at[i]], like) &&
            was_answered(checker, messages.at[i], true))
            return true;
    return false;
}

/* NULL: the key's first message was not confirmed, so another may have come before it. */
static const struct sent *confirmed_first(const struct checker *checker, struct range messages)
{
    for (uint32_t i = 0; i < messages.count; i++) {
        const struct sent *sent = &checker->history->sent[messages.at[i]];
        if (sent->kind == SENT_FIRST && sent->confirmed) return sent;
    }
    return NULL;
}

/* The command that the row decided; NULL when nobody asked for such a one. Where the row fits
 * several (a refusal tells little), it is the confirmed first, or the one that was answered so; and
 * where nothing tells, one that was not denied. */
static const struct sent *owner_of(const struct checker *checker, const struct journal_row *row,
                                   struct range messages)
{
    const struct sent *first = confirmed_first(checker, messages), *owner = NULL;
    bool sure = false;

    if (first != NULL && may_be_outcome_of(row, first)) return first;
    for (uint32_t i = 0; i < messages.count; i++) {
        const struct sent *message = &checker->history->sent[messages.at[i]];
        if (!may_be_outcome_of(row, message)) continue;
        if (was_answered(checker, messages.at[i], false)) return message;
        if (sure || (owner != NULL && is_same_command(owner, message))) continue;
        sure = !any_conflict(checker, messages, message);
        if (owner == NULL || sure) owner = message;
    }
    return owner;
}

/* --- replies ----------------------------------------------------------------------------- */

static bool tells(const struct reply_seen *reply, const struct journal_row *row)
{
    if (reply->result != row->result) return false;
    if (row->result == RESULT_APPLIED) return uuid_compare(&reply->transaction, &row->id) == 0;
    return uuid_is_zero(&reply->transaction);
}

static bool is_denial(const struct reply_seen *reply)
{
    return reply->result == RESULT_KEY_REUSED && !reply->replayed &&
           uuid_is_zero(&reply->transaction);
}

/* Where the outcome's owner is not known, or there are two outcomes (told already): any of them. */
static bool is_possible(const struct checker *checker, const struct reply_seen *reply,
                        struct range rows)
{
    for (uint32_t i = 0; i < rows.count; i++)
        if (tells(reply, &checker->history->journal[rows.at[i]])) return true;
    return is_denial(reply);
}

static void check_replies(struct checker *checker, uint32_t message, struct range rows,
                          const struct sent *owner)
{
    const struct sent *sent = &checker->history->sent[message];
    struct range replies = replies_to(checker, message);

    for (uint32_t i = 0; i < replies.count; i++) {
        const struct reply_seen *reply = &checker->history->replies[replies.at[i]];
        bool right = owner == NULL ? is_possible(checker, reply, rows)
                     : is_same_command(owner, sent)
                         ? tells(reply, &checker->history->journal[*rows.at])
                         : is_denial(reply);
        if (!right)
            breach(checker, PROMISE_TWICE, show_key(sent->key, replies.at[i] + 1, 0),
                   "message %" PRIu32 " is not answered as key-%" PRIu32 " was decided", message,
                   sent->key);
    }
    if (replies.count == 0 && sent->confirmed)
        breach(checker, PROMISE_SILENT, show_key(sent->key, ALL, 0),
               "message %" PRIu32 " was confirmed and never answered", message);
}

/* Only one message of a key can be the one that was decided; the others are its repeats. */
static void check_decided_once(struct checker *checker, uint32_t key, struct range messages)
{
    const struct history *history = checker->history;
    uint32_t decided = 0, end = 0; /* the last reply that shows it */

    for (uint32_t i = 0; i < messages.count; i++) {
        struct range replies = replies_to(checker, messages.at[i]);
        for (uint32_t r = 0; r < replies.count; r++) {
            const struct reply_seen *reply = &history->replies[replies.at[r]];
            if (reply->replayed || reply->result == RESULT_KEY_REUSED ||
                history->sent[messages.at[i]].kind == SENT_MALFORMED)
                continue;
            if (replies.at[r] >= end) end = replies.at[r] + 1;
            if (++decided > 1)
                breach(checker, PROMISE_TWICE, show_key(key, end, 0),
                       "key-%" PRIu32 " is decided anew for message %" PRIu32, key, messages.at[i]);
            break;
        }
    }
}

/* --- what is malformed ------------------------------------------------------------------- */

static void check_malformed(struct checker *checker, uint32_t message)
{
    const struct sent *sent = &checker->history->sent[message];
    struct range replies = replies_to(checker, message);

    for (uint32_t i = 0; i < replies.count; i++) {
        const struct reply_seen *reply = &checker->history->replies[replies.at[i]];
        if (reply->result != RESULT_MALFORMED || reply->replayed ||
            !uuid_is_zero(&reply->transaction))
            breach(checker, PROMISE_UNTRUE, show_key(sent->key, replies.at[i] + 1, 0),
                   "message %" PRIu32 " is malformed and was answered otherwise", message);
    }
    if (replies.count == 0 && sent->confirmed)
        breach(checker, PROMISE_SILENT, show_key(sent->key, ALL, ALL),
               "message %" PRIu32 " was confirmed and never answered", message);
    if (!checker->buried[message] && (sent->confirmed || replies.count > 0))
        breach(checker, PROMISE_DEAD_LETTER, show_key(sent->key, ALL, ALL),
               "message %" PRIu32 " is malformed and not in the dead letters", message);
}

static void check_dead_letters(struct checker *checker)
{
    const struct history *history = checker->history;
    const char *wanted = result_word(RESULT_MALFORMED);

    for (uint32_t i = 0; i < history->dead_letters_count; i++) {
        const struct dead_letter_seen *letter = &history->dead_letters[i];
        if (letter->message >= history->sent_count) {
            breach(checker, PROMISE_DEAD_LETTER, show_nothing(),
                   "a dead letter of no message that was sent");
            continue;
        }
        const struct sent *sent = &history->sent[letter->message];
        checker->buried[letter->message] = true;
        if (sent->kind != SENT_MALFORMED)
            breach(checker, PROMISE_DEAD_LETTER, show_key(sent->key, ALL, ALL),
                   "message %" PRIu32 " is a command and in the dead letters", letter->message);
        else if (strncmp(letter->reason, wanted, sizeof letter->reason) != 0)
            breach(checker, PROMISE_DEAD_LETTER, show_key(sent->key, ALL, ALL),
                   "message %" PRIu32 " is in the dead letters for another reason",
                   letter->message);
    }
}

/* --- keys -------------------------------------------------------------------------------- */

/* A command that was confirmed or answered has arrived, and so has an outcome. */
static void check_undecided(struct checker *checker, uint32_t key, struct range messages)
{
    for (uint32_t i = 0; i < messages.count; i++) {
        const struct sent *sent = &checker->history->sent[messages.at[i]];
        bool answered = replies_to(checker, messages.at[i]).count > 0;
        if (sent->kind == SENT_MALFORMED || !(sent->confirmed || answered)) continue;
        breach(checker, PROMISE_LOST, show_key(key, ALL, ALL),
               "message %" PRIu32 " was %s, and key-%" PRIu32 " has no outcome", messages.at[i],
               sent->confirmed ? "confirmed" : "answered", key);
        return; /* one outcome is missing, however many asked for it */
    }
}

static void check_key(struct checker *checker, uint32_t key)
{
    const struct history *history = checker->history;
    struct range messages = bucket(&checker->messages_of_key, key);
    struct range rows = bucket(&checker->rows_of_key, key);
    const struct sent *owner = NULL;

    for (uint32_t i = 0; i < messages.count; i++)
        if (history->sent[messages.at[i]].kind == SENT_MALFORMED)
            check_malformed(checker, messages.at[i]);
    if (rows.count == 0) {
        check_undecided(checker, key, messages);
        return;
    }
    for (uint32_t i = 0; i < rows.count; i++) {
        owner = owner_of(checker, &history->journal[rows.at[i]], messages);
        if (owner == NULL)
            breach(checker, PROMISE_UNTRUE, show_key(key, 0, 0),
                   "key-%" PRIu32 " has an outcome that no message asked for", key);
        else if (owner->kind == SENT_OTHER_PAYLOAD && confirmed_first(checker, messages) != NULL)
            breach(checker, PROMISE_LOST, show_key(key, ALL, 0),
                   "the first message of key-%" PRIu32
                   " was confirmed, and another payload has its outcome",
                   key);
    }
    if (rows.count > 1) {
        breach(checker, PROMISE_TWICE, show_key(key, ALL, ALL),
               "key-%" PRIu32 " has %" PRIu32 " outcomes", key, rows.count);
        owner = NULL;
    }
    for (uint32_t i = 0; i < messages.count; i++)
        if (history->sent[messages.at[i]].kind != SENT_MALFORMED)
            check_replies(checker, messages.at[i], rows, owner);
    check_decided_once(checker, key, messages);
}

void check_answers(struct checker *checker)
{
    const struct history *history = checker->history;

    check_dead_letters(checker);
    for (uint32_t i = 0; i < history->replies_count; i++)
        if (history->replies[i].message >= history->sent_count)
            breach(checker, PROMISE_UNTRUE, show_nothing(), "a reply to no message that was sent");
    for (uint32_t key = 0; key < history->keys; key++) check_key(checker, key);
}
