/*
 * result.c - the table of results, unfolded.
 */
#include "protocol/result.h"

#include <assert.h>

/* clang-format off */
static const struct {
    const char *word;
    const char *sentence;
    enum status status;
    int code;
} results[] = {
#define X(name, status, code, word, sentence) \
    [RESULT_##name] = {word, sentence, STATUS_##status, code},
    RESULTS(X)
#undef X
};
_Static_assert(sizeof results / sizeof *results == RESULTS_COUNT, "each result has its row");

static const char *const statuses[] = {
    [STATUS_APPLIED]   = "applied",
    [STATUS_SCHEDULED] = "scheduled",
    [STATUS_REJECTED]  = "rejected",
    [STATUS_CONFLICT]  = "conflict",
    [STATUS_FAILED]    = "failed",
};
_Static_assert(sizeof statuses / sizeof *statuses == STATUS_FAILED + 1, "each status has its row");
/* clang-format on */

const char *result_word(enum result result)
{
    assert(result < RESULTS_COUNT);
    return results[result].word;
}

const char *result_error(enum result result)
{
    return result == RESULT_SCHEDULED ? "" : result_word(result);
}

const char *result_sentence(enum result result)
{
    assert(result < RESULTS_COUNT);
    return results[result].sentence;
}

enum status result_status(enum result result)
{
    assert(result < RESULTS_COUNT);
    return results[result].status;
}

int result_code(enum result result)
{
    assert(result < RESULTS_COUNT);
    return results[result].code;
}

const char *status_word(enum status status)
{
    assert(status <= STATUS_FAILED);
    return statuses[status];
}

bool result_parse(struct text word, enum result *out)
{
    for (uint32_t i = 0; i < RESULTS_COUNT; i++) {
        if (!text_equal(text_of(results[i].word), word)) continue;
        *out = (enum result)i;
        return true;
    }
    return false;
}

bool status_parse(struct text word, enum status *out)
{
    for (uint32_t i = 0; i <= STATUS_FAILED; i++) {
        if (!text_equal(text_of(statuses[i]), word)) continue;
        *out = (enum status)i;
        return true;
    }
    return false;
}
