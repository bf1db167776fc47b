/*
 * entry.c - see entry.h. The fields are what the journal's row will hold, in chain.h's order.
 */
#include "ledger/entry.h"

#include "ledger/chain.h"

#include <assert.h>
#include <string.h>

static const char world[] = "world:";
enum { WORLD_LENGTH = sizeof world - 1, WORLD_ID_MAX = WORLD_LENGTH + ASSET_LENGTH_MAX };

enum number { SEQ, BALANCE, HELD, CREATED, AMOUNT, LEG, FLOOR, IMPORT, NUMBERS };

struct scratch { /* what the fields point to, apart from what the work has */
    uint8_t numbers[NUMBERS][CHAIN_NUMBER_SIZE];
    char world[WORLD_ID_MAX];
    uint8_t settles;
};

/* Null: the journal keeps no empty ones. */
static struct bytes bytes_or_null(struct bytes value)
{
    return value.size > 0 ? value : (struct bytes){0};
}

static struct bytes uuid_bytes(const struct uuid *uuid)
{
    return (struct bytes){uuid->bytes, sizeof uuid->bytes};
}

static struct bytes side_id(struct scratch *scratch, const struct outcome *outcome,
                            const struct side *side)
{
    struct text code = outcome->asset->code;

    if (side->number == 0) return (struct bytes){0};
    if (side->account != NULL) return chain_text(side->account->id);
    memcpy(scratch->world, world, WORLD_LENGTH);
    memcpy(scratch->world + WORLD_LENGTH, code.bytes, code.length);
    return chain_text((struct text){scratch->world, WORLD_LENGTH + code.length});
}

/* Who, and what became of him. */
static void add_account(struct chain_entry *entry, struct scratch *scratch,
                        const struct outcome *outcome, const struct side *side)
{
    bool is_debit = side == &outcome->debit;
    struct bytes *fields = entry->fields;

    fields[CHAIN_ACCOUNT] = chain_text(side->account->id);
    fields[CHAIN_ASSET] = chain_text(side->account->asset->code);
    fields[CHAIN_DIRECTION] = chain_text(is_debit ? TEXT_LITERAL("debit") : TEXT_LITERAL("credit"));
    fields[CHAIN_SEQ] = chain_number(scratch->numbers[SEQ], side->seq);
    fields[CHAIN_BALANCE] = chain_number(scratch->numbers[BALANCE], side->balance);
    fields[CHAIN_HELD] = chain_number(scratch->numbers[HELD], side->held);
    fields[CHAIN_COUNTERPARTY] =
        side_id(scratch, outcome, is_debit ? &outcome->credit : &outcome->debit);
}

/* What was asked for, and by whom. */
static void add_request(struct chain_entry *entry, const struct request *request)
{
    const struct command *command = &request->command;
    struct bytes *fields = entry->fields;

    if (command->type == COMMAND_OPEN_ACCOUNT) fields[CHAIN_USER] = chain_text(command->user_id);
    fields[CHAIN_COMMAND] = chain_text(text_of(command_word(command->type)));
    fields[CHAIN_TRACE] = uuid_bytes(&request->trace.trace_id);
    fields[CHAIN_CALLER] = chain_text(request->caller);
    fields[CHAIN_KEY] = chain_text(request->key);
    fields[CHAIN_FINGERPRINT] = uuid_bytes(&request->fingerprint);
    fields[CHAIN_METADATA] = bytes_or_null(command->metadata);
    if (!uuid_is_zero(&request->scheduled))
        fields[CHAIN_SCHEDULED] = uuid_bytes(&request->scheduled);
}

static void add_outcome(struct chain_entry *entry, struct scratch *scratch,
                        const struct batch *batch, const struct work *work)
{
    const struct outcome *outcome = &work->outcome;
    struct bytes *fields = entry->fields;

    fields[CHAIN_TRANSACTION] = uuid_bytes(&work->id);
    fields[CHAIN_CREATED] = chain_number(scratch->numbers[CREATED],
                                         outcome->at_us != 0 ? outcome->at_us : batch->as_of_us);
    if (outcome->amount != 0)
        fields[CHAIN_AMOUNT] = chain_number(scratch->numbers[AMOUNT], outcome->amount);
    if (outcome->target != NULL) {
        scratch->settles = outcome->settles;
        fields[CHAIN_REFERS] = uuid_bytes(&outcome->target->id);
        fields[CHAIN_SETTLES] = (struct bytes){&scratch->settles, 1};
    }
    if (work->parent != NULL) {
        fields[CHAIN_BATCH] = uuid_bytes(&work->parent->id);
        fields[CHAIN_LEG] = chain_number(scratch->numbers[LEG], work - work->parent - 1);
    }
    if (work->request->command.type == COMMAND_SET_FLOOR)
        fields[CHAIN_FLOOR] = chain_number(scratch->numbers[FLOOR], outcome->floor);
    if (batch->import != 0)
        fields[CHAIN_IMPORT] = chain_number(scratch->numbers[IMPORT], batch->import);
}

void entry_link(const struct batch *batch, const struct work *work, struct account *account,
                struct side *side)
{
    struct chain_entry entry = {0};
    struct scratch scratch;
    struct sha256 content;

    assert(side->account == account);
    assert(side->seq == account->seq);
    assert(account->kind == ACCOUNT_USER);
    add_account(&entry, &scratch, &work->outcome, side);
    add_request(&entry, work->request);
    add_outcome(&entry, &scratch, batch, work);
    chain_content(&entry, &content);
    chain_link(&account->head, &content, &account->head);
    side->head = account->head;
}
