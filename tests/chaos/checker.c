/*
 * checker.c - see checker.h. Everything is indexed once, by counting, and then read in order: time
 * and memory grow with the history.
 */
#include "tests/chaos/checker_internal.h"

#include <assert.h>
#include <stdlib.h>

const char *promise_word(enum promise promise)
{
    static const char *const words[PROMISES_COUNT] = {
        [PROMISE_LOST] = "lost",         [PROMISE_TWICE] = "twice",
        [PROMISE_NEGATIVE] = "negative", [PROMISE_UNBALANCED] = "unbalanced",
        [PROMISE_GAP] = "gap",           [PROMISE_ORDER] = "order",
        [PROMISE_SILENT] = "silent",     [PROMISE_DEAD_LETTER] = "dead_letter",
        [PROMISE_UNTRUE] = "untrue",
    };

    assert(promise < PROMISES_COUNT);
    return words[promise];
}

bool is_movement(const struct journal_row *row)
{
    return row->result == RESULT_APPLIED && row->type != COMMAND_OPEN_ACCOUNT;
}

bool has_key(const struct checker *checker, uint32_t key)
{
    return key < checker->history->keys;
}

bool has_account(const struct checker *checker, int32_t account)
{
    return account >= 0 && (uint32_t)account < checker->history->accounts;
}

static uint32_t key_of_message(const struct history *history, uint32_t i)
{
    return history->sent[i].key;
}

static uint32_t key_of_row(const struct history *history, uint32_t i)
{
    return history->journal[i].key;
}

static uint32_t message_of_reply(const struct history *history, uint32_t i)
{
    return history->replies[i].message;
}

/* Counts each bucket, turns the counts into ends, and fills from the back. What belongs to no
 * bucket is left out. */
static bool index_build(struct index *index, const struct history *history, uint32_t count,
                        uint32_t buckets, uint32_t (*bucket_of)(const struct history *, uint32_t))
{
    index->offset = calloc((size_t)buckets + 1, sizeof *index->offset);
    index->items = calloc((size_t)count + 1, sizeof *index->items);
    if (index->offset == NULL || index->items == NULL) return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bucket = bucket_of(history, i);
        if (bucket < buckets) index->offset[bucket]++;
    }
    for (uint32_t b = 1; b <= buckets; b++) index->offset[b] += index->offset[b - 1];
    for (uint32_t i = count; i-- > 0;) {
        uint32_t bucket = bucket_of(history, i);
        if (bucket < buckets) index->items[--index->offset[bucket]] = i;
    }
    return true;
}

static bool checker_open(struct checker *checker)
{
    const struct history *history = checker->history;

    checker->steps = calloc(2 * (size_t)history->journal_count + 1, sizeof *checker->steps);
    checker->books = calloc((size_t)history->accounts + 1, sizeof *checker->books);
    checker->told = calloc((size_t)history->journal_count + 1, sizeof *checker->told);
    checker->buried = calloc((size_t)history->sent_count + 1, sizeof *checker->buried);
    if (checker->steps == NULL || checker->books == NULL || checker->told == NULL ||
        checker->buried == NULL)
        return false;
    return index_build(&checker->messages_of_key, history, history->sent_count, history->keys,
                       key_of_message) &&
           index_build(&checker->rows_of_key, history, history->journal_count, history->keys,
                       key_of_row) &&
           index_build(&checker->replies_of_message, history, history->replies_count,
                       history->sent_count, message_of_reply);
}

static void checker_close(struct checker *checker)
{
    struct index *indexes[] = {&checker->messages_of_key, &checker->rows_of_key,
                               &checker->replies_of_message};

    for (uint32_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
        free(indexes[i]->offset);
        free(indexes[i]->items);
    }
    free(checker->steps);
    free(checker->books);
    free(checker->told);
    free(checker->buried);
}

bool history_check(const struct history *history, FILE *out, struct findings *findings)
{
    struct checker checker = {.history = history, .out = out, .findings = findings};

    *findings = (struct findings){0};
    for (uint32_t i = 0; i < history->sent_count; i++) assert(history->sent[i].key < history->keys);
    bool opened = checker_open(&checker);
    if (opened) {
        check_journal(&checker);
        opened = check_decisions(&checker);
        check_answers(&checker);
        check_events(&checker);
    }
    checker_close(&checker);
    return opened;
}
