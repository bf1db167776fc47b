/*
 * history.h - what a chaos run saw from outside (messages, replies, events, dead letters) and what
 * it found inside afterwards (journal, accounts). Plain arrays, filled by the run in the order in
 * which things were seen, read by the checker. Accounts and keys are numbers: account-7, key-12.
 */
#ifndef TESTS_CHAOS_HISTORY_H
#define TESTS_CHAOS_HISTORY_H

#include "base/uuid.h"
#include "protocol/command.h"
#include "protocol/result.h"

#include <stdbool.h>
#include <stdint.h>

enum { NO_ACCOUNT = -1 }; /* the world, or nothing */

enum sent_kind {
    SENT_FIRST,         /* the first use of its key */
    SENT_REPEAT,        /* the same command again */
    SENT_OTHER_PAYLOAD, /* another command under the same key, into the same queue, not before the
                           first was confirmed or given up */
    SENT_MALFORMED,     /* no command at all: its key is its own */
};

struct sent { /* message number i is sent[i]; its correlation_id is i */
    enum sent_kind kind;
    enum command_type type;
    uint32_t key;
    int32_t debit, credit; /* accounts of the command; open_account: credit */
    int64_t amount;
    bool confirmed;                 /* by the broker; else nobody knows whether it arrived */
    uint64_t sent_ms, confirmed_ms; /* monotonic; when it was sent first, and confirmed */
};

struct reply_seen {
    uint32_t message;
    enum result result;
    struct uuid transaction; /* zero for a refusal */
    bool replayed;
};

enum event_kind { EVENT_SEEN_CHANGE, EVENT_SEEN_OPENED, EVENT_SEEN_REJECTED };

struct event_seen { /* in the order of arrival */
    enum event_kind kind;
    uint32_t key;
    int32_t account;         /* of a change, and of an opening */
    int64_t seq;             /* of a change */
    int64_t amount, balance; /* of a change: signed, and after it */
    uint64_t message_id;     /* a hash of it */
    enum result result;      /* of a rejection */
    struct uuid transaction; /* zero for a rejection */
};

struct dead_letter_seen {
    uint32_t message; /* by its correlation_id */
    char reason[32];
};

struct journal_row {
    uint32_t key;
    struct uuid id;
    int64_t created_us; /* of the whole batch; the rows are in this order */
    enum command_type type;
    enum result result; /* RESULT_APPLIED, or the refusal */
    int32_t debit, credit;
    int64_t amount;
    int64_t debit_seq, debit_balance;   /* seq 0: not that of a user account */
    int64_t credit_seq, credit_balance; /* after this row */
};

struct account_row {
    int32_t account; /* NO_ACCOUNT: the world and its deltas, added up */
    int64_t balance, seq;
};

struct history {
    uint32_t accounts; /* numbered 0 .. accounts - 1 */
    uint32_t keys;     /* keys are numbered 0 .. keys - 1 */
    struct sent *sent;
    uint32_t sent_count;
    struct reply_seen *replies;
    uint32_t replies_count;
    struct event_seen *events;
    uint32_t events_count;
    struct dead_letter_seen *dead_letters;
    uint32_t dead_letters_count;
    struct journal_row *journal;
    uint32_t journal_count;
    struct account_row *rows;
    uint32_t rows_count;
};

#endif
