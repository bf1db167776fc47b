/*
 * core.h - for tests of the rules by tables: a world of accounts, transactions and assets, and a
 * batch run in it as the store and the core do it, without either a store or a clock.
 */
#ifndef TESTS_CORE_H
#define TESTS_CORE_H

#include "ledger/permission.h"
#include "protocol/fingerprint.h"
#include "tests/test.h"

struct core {
    const struct account *accounts;
    uint32_t accounts_count;
    const struct target *targets; /* the first is none, see core_target_id */
    uint32_t targets_count;
    const struct asset *assets;
    uint32_t assets_count;
    int64_t now_us;
};

/* Of the one at this place among the targets. */
static inline struct uuid core_target_id(uint32_t target)
{
    struct uuid id = {{(uint8_t)target, 1}};
    return id;
}

/* What is not among the accounts may be opened. */
static inline void core_fill(const struct core *core, struct batch *batch)
{
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        batch->accounts[i].number = 1000 + i;
        for (uint32_t o = 0; o < core->accounts_count; o++)
            if (text_equal(core->accounts[o].id, batch->accounts[i].id))
                batch->accounts[i] = core->accounts[o];
    }
}

static inline void core_fill_targets(const struct core *core, struct batch *batch)
{
    for (uint32_t i = 0; i < batch->targets_count; i++)
        for (uint32_t t = 1; t < core->targets_count; t++) {
            struct uuid id = core_target_id(t);
            if (uuid_compare(&batch->targets[i].id, &id) != 0) continue;
            batch->targets[i] = core->targets[t];
            batch->targets[i].id = id;
        }
}

/* used: of each daily limit that may count. */
static inline struct batch core_run(const struct core *core, struct arena *arena,
                                    struct work *works, uint32_t count, const struct policy *policy,
                                    int64_t used)
{
    struct batch batch = {.arena = arena,
                          .works = works,
                          .works_count = count,
                          .assets = core->assets,
                          .assets_count = core->assets_count,
                          .now_us = core->now_us,
                          .policy = policy};
    struct err err = {0};

    arena_reset(arena);
    assert_true(ledger_collect_targets(&batch, &err));
    core_fill_targets(core, &batch);
    assert_true(ledger_collect(&batch, &err));
    assert_true(permission_collect(&batch, &err));
    for (uint32_t i = 0; i < batch.usages_count; i++) batch.usages[i].used = used;
    core_fill(core, &batch);
    assert_true(ledger_apply(&batch, &err));
    return batch;
}

static inline struct request core_request(const struct command *command, uint8_t key)
{
    struct request request = {.fault = RESULT_APPLIED,
                              .has_type = true,
                              .has_key = command_changes(command->type),
                              .command = *command};

    request.key_digest.bytes[0] = key;
    request.fingerprint = command_fingerprint(&request.command);
    return request;
}

#endif
