/*
 * result.h - every answer the ledger can give: its word, status, HTTP-like code and sentence.
 * Listed once, in order of precedence: a command that breaks several rules gets the first.
 */
#ifndef PROTOCOL_RESULT_H
#define PROTOCOL_RESULT_H

#include "base/bytes.h"

enum status { STATUS_APPLIED, STATUS_SCHEDULED, STATUS_REJECTED, STATUS_CONFLICT, STATUS_FAILED };

/* clang-format off */
#define RESULTS(X) \
    X(MALFORMED,               FAILED,   400, "malformed",                   "the message is not a well-formed command") \
    X(BODY_TOO_LARGE,          FAILED,   400, "body_too_large",              "the body is larger than a command may be") \
    X(UNKNOWN_TYPE,            FAILED,   400, "unknown_type",                "the type property names no command") \
    X(KEY_MISSING,             FAILED,   400, "idempotency_key_missing",     "a command that changes something needs an idempotency key") \
    X(KEY_REUSED,              CONFLICT, 409, "idempotency_key_reused",      "this idempotency key belongs to a command with another payload") \
    X(KEY_IN_PROGRESS,         CONFLICT, 409, "idempotency_key_in_progress", "a command with this idempotency key is being processed; retry") \
    X(EXPIRED,                 REJECTED, 408, "expired",                     "the command arrived past its deadline") \
    X(OUT_OF_ORDER,            REJECTED, 400, "out_of_order",                "what is imported may not be of the future, nor before the account's last entry") \
    X(FORBIDDEN,               REJECTED, 403, "forbidden",                   "the caller may not do this") \
    X(TOO_FAR_AHEAD,           REJECTED, 400, "too_far_ahead",               "not_before is more than ten years ahead") \
    X(INVALID_AMOUNT,          REJECTED, 400, "invalid_amount",              "the amount must be positive (a floor at most 0) and fit the asset's scale") \
    X(SAME_ACCOUNT,            REJECTED, 400, "same_account",                "both sides are the same account") \
    X(ACCOUNT_RESERVED,        REJECTED, 400, "account_reserved",            "account ids that begin with world: belong to the ledger") \
    X(ASSET_NOT_FOUND,         REJECTED, 404, "asset_not_found",             "no such asset is registered") \
    X(ACCOUNT_EXISTS,          REJECTED, 400, "account_exists",              "an account with this id is open already") \
    X(ACCOUNT_NOT_FOUND,       REJECTED, 404, "account_not_found",           "no such account") \
    X(HOLD_NOT_FOUND,          REJECTED, 404, "hold_not_found",              "no such hold") \
    X(USER_NOT_FOUND,          REJECTED, 404, "user_not_found",              "no such user") \
    X(TRANSACTION_NOT_FOUND,   REJECTED, 404, "transaction_not_found",       "no such transaction") \
    X(NOT_REVERSIBLE,          REJECTED, 400, "not_reversible",              "only a movement of money that is no reversal itself can be reversed") \
    X(NOT_SCHEDULED,           REJECTED, 400, "not_scheduled",               "only a command that was scheduled can be cancelled") \
    X(ASSET_MISMATCH,          REJECTED, 400, "asset_mismatch",              "the account holds another asset") \
    X(HOLD_CAPTURED,           REJECTED, 400, "hold_captured",               "the hold was captured before") \
    X(HOLD_RELEASED,           REJECTED, 400, "hold_released",               "the hold was released before") \
    X(HOLD_EXPIRED,            REJECTED, 400, "hold_expired",                "the hold has expired") \
    X(HOLD_NOT_DUE,            REJECTED, 400, "hold_not_due",                "the hold has not expired yet") \
    X(ALREADY_REVERSED,        REJECTED, 400, "already_reversed",            "the transaction was reversed before") \
    X(ALREADY_EXECUTED,        REJECTED, 400, "already_executed",            "the command was executed before") \
    X(ALREADY_CANCELLED,       REJECTED, 400, "already_cancelled",           "the command was cancelled before") \
    X(AMOUNT_TOO_LARGE,        REJECTED, 400, "amount_too_large",            "the amount is more than what is held, or than the transaction moved") \
    X(SYSTEM_ACCOUNT,          REJECTED, 400, "system_account",              "accounts of kind system have no holds, no sequence, no state and no floor") \
    X(ACCOUNT_CLOSED,          REJECTED, 400, "account_closed",              "the account is closed") \
    X(ACCOUNT_FROZEN,          REJECTED, 400, "account_frozen",              "the account is frozen in this direction") \
    X(SEQ_MISMATCH,            REJECTED, 412, "seq_mismatch",                "the account's sequence number is not the one expected") \
    X(BALANCE_TOO_LOW,         REJECTED, 412, "balance_too_low",             "the account's balance is less than expected") \
    X(ACCOUNT_NOT_EMPTY,       REJECTED, 400, "account_not_empty",           "only an account at zero can be closed") \
    X(INSUFFICIENT_FUNDS,      REJECTED, 400, "insufficient_funds",          "the available balance is less than the amount") \
    X(OVERFLOW,                REJECTED, 400, "overflow",                    "the balance would not fit in a signed 64-bit integer") \
    X(INTERNAL,                FAILED,   500, "internal",                    "the ledger could not store this command") \
    X(CRASHED_WORKER,          FAILED,   500, "crashed_worker",          "workers died over this command") \
    X(SCHEDULED,               SCHEDULED, 202, "scheduled",                  "accepted, and to be decided at its time") \
    X(APPLIED,                 APPLIED,  200, "",                            "applied")
/* clang-format on */

enum result {
#define X(name, status, code, word, sentence) RESULT_##name,
    RESULTS(X)
#undef X
        RESULTS_COUNT
};

/* The numbers stored in the journal: never reorder meaning, so they are written by word. */
const char *result_word(enum result result); /* "" for RESULT_APPLIED */
/* The word of a refusal; "" for RESULT_SCHEDULED too, which is none. */
const char *result_error(enum result result);
const char *result_sentence(enum result result);
enum status result_status(enum result result);
int result_code(enum result result);
const char *status_word(enum status status); /* "applied", ... */
MUST_CHECK bool result_parse(struct text word, enum result *out);
MUST_CHECK bool status_parse(struct text word, enum status *out);

#endif
