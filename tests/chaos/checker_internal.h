/*
 * checker_internal.h - what the parts of the checker share: the history's indexes and the report.
 * The parts run in the order in which they are declared here.
 */
#ifndef TESTS_CHAOS_CHECKER_INTERNAL_H
#define TESTS_CHAOS_CHECKER_INTERNAL_H

#include "base/err.h"
#include "tests/chaos/checker.h"

/* The items of bucket b, in their order: items[offset[b]] up to items[offset[b + 1]]. */
struct index {
    uint32_t *offset, *items;
};

struct step { /* one side of an applied movement */
    int32_t account;
    uint32_t row; /* in the journal */
    int64_t seq, amount, balance;
};

struct account_book {
    const struct journal_row *opening; /* applied */
    const struct account_row *row;
    int64_t told_seq; /* the highest that an event has told */
    bool opening_told, told_early;
};

struct told { /* the first sight of an event */
    bool seen;
    uint64_t message_id;
};
enum told_of { TOLD_DEBIT, TOLD_CREDIT, TOLD_OPENED = TOLD_CREDIT, TOLD_REJECTED = TOLD_DEBIT };

struct checker {
    const struct history *history;
    FILE *out;
    struct findings *findings;
    struct index messages_of_key, rows_of_key, replies_of_message;
    struct step *steps; /* by account, then by sequence number */
    uint32_t steps_count;
    struct account_book *books; /* one an account */
    struct told (*told)[2];     /* one pair a journal row */
    bool *buried;               /* one a message: it is in the dead letters */
};

/* checker_journal.c: the rows one by one, then each account's steps and the sum of all. Fills the
 * steps and the books. */
void check_journal(struct checker *checker);
/* checker_order.c: outcomes in the order of publishing. False: out of memory. */
bool check_decisions(struct checker *checker);
/* checker_answers.c: outcomes, replies and dead letters of each message. */
void check_answers(struct checker *checker);
/* checker_events.c: each event, then those that never came. */
void check_events(struct checker *checker);

bool is_movement(const struct journal_row *row); /* applied, and of money */
/* False when out of range: of a key or an account that the history has not. */
bool has_key(const struct checker *checker, uint32_t key);
bool has_account(const struct checker *checker, int32_t account);

/* --- checker_report.c --- */

/* The smallest part of the history that shows a breach. */
struct excerpt {
    enum { SHOW_NOTHING, SHOW_KEY, SHOW_ORDER, SHOW_STEPS, SHOW_EVENTS } what;
    uint32_t key, other_key;
    int32_t account;
    uint32_t replies_end, events_end; /* those before */
    const struct step *steps;         /* the last of these steps_count of one account */
    uint32_t steps_count;
};

enum { ALL = INT32_MAX };
struct excerpt show_nothing(void);
struct excerpt show_key(uint32_t key, uint32_t replies_end, uint32_t events_end);
struct excerpt show_order(uint32_t key, uint32_t overtaken_by);
struct excerpt show_steps(int32_t account, const struct step *steps, uint32_t count);
struct excerpt show_events(int32_t account, uint32_t events_end);

/* Counts a breach, and prints it if it is one of the first of its promise. */
void breach(struct checker *checker, enum promise promise, struct excerpt excerpt,
            const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
