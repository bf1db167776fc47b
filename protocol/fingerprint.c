/*
 * fingerprint.c - what makes two commands, or two idempotency keys, the same.
 *
 * Every part is hashed behind its length, so no two lists of parts hash the same bytes. The journal
 * keeps these digests for ever: the order and form of the parts below may never change, only new
 * parts may be added, and only where they are hashed for the commands that carry them.
 */
#include "protocol/fingerprint.h"

#include "base/sha256.h"

#include <string.h>

static struct uuid digest_end(void)
{
    struct sha256 digest;
    struct uuid out;

    sha256_end(&digest);
    memcpy(out.bytes, digest.bytes, sizeof out.bytes);
    return out;
}

static void digest_add(const void *data, uint32_t size)
{
    uint8_t length[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                         (uint8_t)size};

    sha256_add(length, sizeof length);
    sha256_add(data, size);
}

static void digest_add_text(struct text text)
{
    digest_add(text.bytes, text.length);
}

static void digest_add_number(int64_t number)
{
    uint8_t bytes[8];

    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
    digest_add(bytes, sizeof bytes);
}

/* Each behind a number that says what it is, and only where it is given. */
static void digest_add_conditions(const struct command *command)
{
    const struct conditions *conditions = &command->conditions;

    if (conditions->has_if_seq) {
        digest_add_number(1);
        digest_add_number(conditions->if_seq);
    }
    if (conditions->has_if_balance) {
        digest_add_number(2);
        digest_add_number(conditions->if_balance.value);
        digest_add_number(conditions->if_balance.digits);
        digest_add_number(conditions->if_balance.is_decimal);
    }
    if (conditions->not_before_us != 0) {
        digest_add_number(3);
        digest_add_number(conditions->not_before_us);
    }
    if (conditions->not_after_us != 0) {
        digest_add_number(4);
        digest_add_number(conditions->not_after_us);
    }
    if (command->dry_run) digest_add_number(5);
}

struct uuid command_fingerprint(const struct command *command)
{
    sha256_begin();
    digest_add_number(command_number(command->type));
    digest_add_text(command->account);
    digest_add_text(command->from);
    digest_add_text(command->to);
    digest_add_text(command->user_id);
    digest_add_text(command->name);
    digest_add_text(command->asset);
    digest_add_number(command->kind);
    digest_add_number(command->amount.value);
    digest_add_number(command->amount.digits);
    digest_add_number(command->amount.is_decimal);
    digest_add(command->metadata.data, command->metadata.size);
    digest_add(command->transaction.bytes, sizeof command->transaction.bytes);
    if (command->type >= COMMAND_HOLD && command->type <= COMMAND_CLOSE_ACCOUNT) {
        digest_add_number(command_has_target(command->type) && command->has_amount);
        digest_add_number(command->expires_in_s);
        digest_add_number(command->keeps_rest);
        digest_add_number(command->direction);
    }
    digest_add_conditions(command);
    return digest_end();
}

struct uuid batch_fingerprint(const struct command *batch, const struct uuid *legs,
                              const struct text *keys, uint32_t count)
{
    sha256_begin();
    digest_add_number(command_number(batch->type));
    digest_add_number(batch->independent);
    digest_add_number(count);
    for (uint32_t i = 0; i < count; i++) {
        digest_add_text(keys[i]);
        digest_add(legs[i].bytes, sizeof legs[i].bytes);
    }
    digest_add_conditions(batch);
    return digest_end();
}

struct uuid idempotency_digest(struct text caller, struct text key)
{
    sha256_begin();
    digest_add_text(caller);
    digest_add_text(key);
    return digest_end();
}

struct uuid page_fingerprint(const struct page *page, struct text account, int64_t seq)
{
    sha256_begin();
    digest_add_text(account);
    digest_add_number(seq);
    digest_add_number(page->from_us);
    digest_add_number(page->until_us);
    digest_add_number(page->kind);
    digest_add(page->trace_id.bytes, sizeof page->trace_id.bytes);
    digest_add_number(page->ascending);
    return digest_end();
}

struct uuid scheduled_digest(const struct uuid *scheduled)
{
    sha256_begin();
    digest_add(scheduled->bytes, sizeof scheduled->bytes);
    return digest_end();
}

struct uuid message_digest(struct text message_id, struct text correlation_id, struct bytes body)
{
    sha256_begin();
    digest_add_text(message_id);
    digest_add_text(correlation_id);
    digest_add(body.data, body.size);
    return digest_end();
}
