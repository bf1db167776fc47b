/*
 * test_result.c - words, codes and statuses of results are what callers and the journal rely on.
 */
#include "protocol/result.h"
#include "tests/wire.h"

/* clang-format off */
static const struct {
    enum result result;
    const char *word;
    enum status status;
    int code;
} results[] = { /* in order of precedence */
    {RESULT_MALFORMED,             "malformed",                   STATUS_FAILED,    400},
    {RESULT_BODY_TOO_LARGE,        "body_too_large",              STATUS_FAILED,    400},
    {RESULT_UNKNOWN_TYPE,          "unknown_type",                STATUS_FAILED,    400},
    {RESULT_KEY_MISSING,           "idempotency_key_missing",     STATUS_FAILED,    400},
    {RESULT_KEY_REUSED,            "idempotency_key_reused",      STATUS_CONFLICT,  409},
    {RESULT_KEY_IN_PROGRESS,       "idempotency_key_in_progress", STATUS_CONFLICT,  409},
    {RESULT_EXPIRED,               "expired",                     STATUS_REJECTED,  408},
    {RESULT_OUT_OF_ORDER,          "out_of_order",                STATUS_REJECTED,  400},
    {RESULT_FORBIDDEN,             "forbidden",                   STATUS_REJECTED,  403},
    {RESULT_TOO_FAR_AHEAD,         "too_far_ahead",               STATUS_REJECTED,  400},
    {RESULT_INVALID_AMOUNT,        "invalid_amount",              STATUS_REJECTED,  400},
    {RESULT_SAME_ACCOUNT,          "same_account",                STATUS_REJECTED,  400},
    {RESULT_ACCOUNT_RESERVED,      "account_reserved",            STATUS_REJECTED,  400},
    {RESULT_ASSET_NOT_FOUND,       "asset_not_found",             STATUS_REJECTED,  404},
    {RESULT_ACCOUNT_EXISTS,        "account_exists",              STATUS_REJECTED,  400},
    {RESULT_ACCOUNT_NOT_FOUND,     "account_not_found",           STATUS_REJECTED,  404},
    {RESULT_HOLD_NOT_FOUND,        "hold_not_found",              STATUS_REJECTED,  404},
    {RESULT_USER_NOT_FOUND,        "user_not_found",              STATUS_REJECTED,  404},
    {RESULT_TRANSACTION_NOT_FOUND, "transaction_not_found",       STATUS_REJECTED,  404},
    {RESULT_NOT_REVERSIBLE,        "not_reversible",              STATUS_REJECTED,  400},
    {RESULT_NOT_SCHEDULED,         "not_scheduled",               STATUS_REJECTED,  400},
    {RESULT_ASSET_MISMATCH,        "asset_mismatch",              STATUS_REJECTED,  400},
    {RESULT_HOLD_CAPTURED,         "hold_captured",               STATUS_REJECTED,  400},
    {RESULT_HOLD_RELEASED,         "hold_released",               STATUS_REJECTED,  400},
    {RESULT_HOLD_EXPIRED,          "hold_expired",                STATUS_REJECTED,  400},
    {RESULT_HOLD_NOT_DUE,          "hold_not_due",                STATUS_REJECTED,  400},
    {RESULT_ALREADY_REVERSED,      "already_reversed",            STATUS_REJECTED,  400},
    {RESULT_ALREADY_EXECUTED,      "already_executed",            STATUS_REJECTED,  400},
    {RESULT_ALREADY_CANCELLED,     "already_cancelled",           STATUS_REJECTED,  400},
    {RESULT_AMOUNT_TOO_LARGE,      "amount_too_large",            STATUS_REJECTED,  400},
    {RESULT_SYSTEM_ACCOUNT,        "system_account",              STATUS_REJECTED,  400},
    {RESULT_ACCOUNT_CLOSED,        "account_closed",              STATUS_REJECTED,  400},
    {RESULT_ACCOUNT_FROZEN,        "account_frozen",              STATUS_REJECTED,  400},
    {RESULT_SEQ_MISMATCH,          "seq_mismatch",                STATUS_REJECTED,  412},
    {RESULT_BALANCE_TOO_LOW,       "balance_too_low",             STATUS_REJECTED,  412},
    {RESULT_ACCOUNT_NOT_EMPTY,     "account_not_empty",           STATUS_REJECTED,  400},
    {RESULT_INSUFFICIENT_FUNDS,    "insufficient_funds",          STATUS_REJECTED,  400},
    {RESULT_OVERFLOW,              "overflow",                    STATUS_REJECTED,  400},
    {RESULT_INTERNAL,              "internal",                    STATUS_FAILED,    500},
    {RESULT_CRASHED_WORKER,        "crashed_worker",              STATUS_FAILED,    500},
    {RESULT_SCHEDULED,             "scheduled",                   STATUS_SCHEDULED, 202},
    {RESULT_APPLIED,               "",                            STATUS_APPLIED,   200},
};
/* clang-format on */
_Static_assert(sizeof results / sizeof *results == RESULTS_COUNT, "each result has its row");

static void results_are_what_callers_know(void **state)
{
    enum result parsed;

    (void)state;
    for (uint32_t i = 0; i < RESULTS_COUNT; i++) {
        assert_int_equal(results[i].result, i);
        assert_string_equal(result_word(results[i].result), results[i].word);
        assert_string_equal(result_error(results[i].result),
                            results[i].status == STATUS_SCHEDULED ? "" : results[i].word);
        assert_int_equal(result_status(results[i].result), results[i].status);
        assert_int_equal(result_code(results[i].result), results[i].code);
        assert_true(strlen(result_sentence(results[i].result)) > 0);
        assert_true(result_parse(text_of(results[i].word), &parsed));
        assert_int_equal(parsed, results[i].result);
    }
    assert_false(result_parse(text_of("Malformed"), &parsed));
    assert_false(result_parse(text_of("malformed "), &parsed));
}

static void statuses_are_words(void **state)
{
    static const char *const words[] = {"applied", "scheduled", "rejected", "conflict", "failed"};
    enum status parsed;

    (void)state;
    for (uint32_t i = 0; i <= STATUS_FAILED; i++) {
        assert_string_equal(status_word((enum status)i), words[i]);
        assert_true(status_parse(text_of(words[i]), &parsed));
        assert_int_equal(parsed, i);
    }
    assert_false(status_parse(text_of(""), &parsed));
    assert_false(status_parse(text_of("fail"), &parsed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_what_callers_know),
        cmocka_unit_test(statuses_are_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
