/*
 * checker.h - reads a whole history and says which of the ledger's promises it breaks. Pure, and
 * itself tested: tests/unit/test_checker.c breaks each promise in turn.
 *
 *   lost            a confirmed command without an outcome; an account without the openings it had
 *   twice           a key with two outcomes, or answered in two ways; a repeat decided anew
 *   negative        a balance below zero, in a row, a posting or an event
 *   unbalanced      all accounts and the world do not sum to zero; an account is not the sum of
 *                   its postings
 *   gap             an account's sequence numbers are not 1, 2, 3, ..., or its balances no chain
 *   order           an account's events out of order, apart from repeats of the same message_id;
 *                   its commands decided in another order than they were published in
 *   silent          an outcome without its reply (where the message was confirmed) or its events
 *   dead_letter     a malformed message not in the dead letters; another one in them
 *   untrue          an outcome that no message asked for; an event or a malformed message's reply
 *                   that tells what did not happen
 *
 * Every numbered account is a user account, opened within the history. A key belongs to its first
 * message if that was confirmed; else to the one that the journal names. A message that was not
 * confirmed may be answered, and owes nothing.
 */
#ifndef TESTS_CHAOS_CHECKER_H
#define TESTS_CHAOS_CHECKER_H

#include "tests/chaos/history.h"

#include <stdio.h>

enum promise {
    PROMISE_LOST,
    PROMISE_TWICE,
    PROMISE_NEGATIVE,
    PROMISE_UNBALANCED,
    PROMISE_GAP,
    PROMISE_ORDER,
    PROMISE_SILENT,
    PROMISE_DEAD_LETTER,
    PROMISE_UNTRUE,
    PROMISES_COUNT
};

struct findings {
    uint32_t count[PROMISES_COUNT]; /* how often each was broken */
    uint32_t total;
};

const char *promise_word(enum promise promise); /* "lost", ... */

/* Counts every breach. For the first few of each promise it prints to out what was broken and the
 * smallest part of the history that shows it: the records of that key or that account, no others,
 * up to the one that breaks it. False when out of memory. */
bool history_check(const struct history *history, FILE *out, struct findings *findings);

#endif
