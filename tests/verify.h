/*
 * verify.h - the verifier over a test's own database, see tests/outbox.h.
 */
#ifndef TESTS_VERIFY_H
#define TESTS_VERIFY_H

#include "ledger/verify_pg.h"
#include "tests/outbox.h"

enum { VERIFY_JOBS = 3 }; /* more than one, however many cores there are */

struct verify_ear {
    const char *role;
    void (*hear)(const char *sentence);
    const struct ed25519 *const *keys; /* and what follows: as in verify_options */
    uint32_t keys_count;
    const struct checkpoint *kept;
    uint32_t kept_count;
};

static inline bool verify_open(void *context, struct db **out, struct err *error)
{
    const struct verify_ear *ear = context;
    struct db_options options = {.url = outbox_url,
                                 .application_name = "it_verify",
                                 .role = ear->role,
                                 .connect_timeout_ms = 5000,
                                 .answer_timeout_ms = 10 * OUTBOX_ANSWER_MS};

    return db_open(out, &options, error);
}

static inline void verify_hear(void *context, const char *sentence)
{
    const struct verify_ear *ear = context;
    ear->hear(sentence);
}

static inline void verify_show(const char *sentence)
{
    print_error("%s\n", sentence);
}

static inline bool verify_try(const struct verify_ear *ear, uint32_t most,
                              struct verify_report *report)
{
    struct verify_ear copy = *ear;
    const struct verify_options options = {.jobs = VERIFY_JOBS,
                                           .most = most,
                                           .keys = ear->keys,
                                           .keys_count = ear->keys_count,
                                           .kept = ear->kept,
                                           .kept_count = ear->kept_count,
                                           .context = &copy,
                                           .open = verify_open,
                                           .difference = verify_hear};

    return verify_run(&options, report, &err);
}

/* The books of a database that must be right. */
static inline struct verify_report verify_clean(const char *role)
{
    const struct verify_ear ear = {.role = role, .hear = verify_show};
    struct verify_report report;

    must(verify_try(&ear, 20, &report));
    assert_int_equal(report.differences, 0);
    return report;
}

#endif
