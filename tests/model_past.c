/*
 * model_past.c - see model_internal.h: the section The past of docs/protocol.md. An account's
 * entries are looked for among all transactions, each time.
 */
#include "tests/model_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- entries ------------------------------------------------------------------------------ */

struct past_entry {
    uint32_t number;
    const struct model_transaction *transaction;
    const struct model_side *side;
    bool is_credit;
};

static bool is_opening(const struct model_transaction *transaction)
{
    return transaction->type == COMMAND_OPEN_ACCOUNT;
}

/* False: the transaction is no entry of the account. */
static bool entry_of(const struct model *model, uint32_t number, int place, struct past_entry *out)
{
    const struct model_transaction *transaction = model_transaction(model, number);

    if (transaction == NULL || is_opening(transaction)) return false;
    if (transaction->debit != place && transaction->credit != place) return false;
    bool is_credit = transaction->credit == place;
    *out = (struct past_entry){.number = number,
                               .transaction = transaction,
                               .side = is_credit ? &transaction->credited : &transaction->debited,
                               .is_credit = is_credit};
    return true;
}

static int place_of(const struct model *model, const struct model_account *account)
{
    return (int)(account - model->book.accounts);
}

/* --- get_balance as_of ------------------------------------------------------------------- */

static enum result find_moment(const struct model *model, const struct model_account *account,
                               const struct as_of *as_of, int64_t *time_us, int64_t *seq)
{
    int number = model_number_of(model, &as_of->transaction), place = place_of(model, account);
    const struct model_transaction *found;
    struct past_entry entry;

    *time_us = as_of->time_us;
    *seq = INT64_MAX;
    if (uuid_is_zero(&as_of->transaction)) return RESULT_APPLIED;
    found = number < 0 ? NULL : model_transaction(model, (uint32_t)number);
    if (found == NULL) return RESULT_TRANSACTION_NOT_FOUND;
    *time_us = found->created_us;
    if (entry_of(model, (uint32_t)number, place, &entry)) *seq = entry.side->seq;
    if (is_opening(found) && found->credit == place) *seq = 0;
    return RESULT_APPLIED;
}

enum result model_show_past(struct model *model, const struct model_account *account,
                            const struct command *command, struct reply *out)
{
    struct as_of_view *view = model_take(model->arena, sizeof *view);
    struct model_side side = {0};
    struct past_entry entry;
    int64_t time_us, seq;
    enum result result = find_moment(model, account, &command->as_of, &time_us, &seq);

    if (result == RESULT_APPLIED && time_us < account->created_us) return RESULT_ACCOUNT_NOT_FOUND;
    if (result == RESULT_APPLIED && account->kind == ACCOUNT_SYSTEM) return RESULT_SYSTEM_ACCOUNT;
    if (result != RESULT_APPLIED) return result;
    view->timestamp_us = account->created_us;
    for (uint32_t number = 0; number < model->count; number++) {
        if (!entry_of(model, number, place_of(model, account), &entry)) continue;
        if (entry.side->seq > seq || entry.transaction->created_us > time_us) continue;
        if (entry.side->seq < side.seq) continue;
        side = *entry.side;
        *view = (struct as_of_view){model_id(number), entry.transaction->created_us};
    }
    out->as_of = view;
    out->balances[out->balances_count++] = (struct balance_view){.account = account->id,
                                                                 .asset = account->asset->code,
                                                                 .balance = side.balance,
                                                                 .held = side.held,
                                                                 .seq = side.seq,
                                                                 .has_seq = true};
    return RESULT_APPLIED;
}

/* --- list_transactions ------------------------------------------------------------------- */

static bool is_wanted(const struct model *model, const struct past_entry *entry,
                      const struct page *page, int64_t behind)
{
    const struct model_transaction *transaction = entry->transaction;
    const struct uuid *trace_id = &model->messages[entry->number]->trace_id;
    int64_t seq = entry->side->seq;

    if (page->from_us != 0 && transaction->created_us < page->from_us) return false;
    if (page->until_us != 0 && transaction->created_us >= page->until_us) return false;
    if (page->kind != 0 && command_number(transaction->type) != page->kind) return false;
    if (!uuid_is_zero(&page->trace_id) && uuid_compare(trace_id, &page->trace_id) != 0)
        return false;
    if (behind == 0) return true;
    return page->ascending ? seq > behind : seq < behind;
}

static struct entry_view view_of(const struct model *model, const struct past_entry *entry)
{
    const struct model_transaction *transaction = entry->transaction;
    const struct message *message = model->messages[entry->number];
    int other = entry->is_credit ? transaction->debit : transaction->credit;
    struct entry_view view = {.transaction = model_id(entry->number),
                              .type = transaction->type,
                              .amount = transaction->amount,
                              .moves = other >= 0,
                              .is_credit = other >= 0 && entry->is_credit,
                              .counterparty = model_id_at(model, other),
                              .balance = entry->side->balance,
                              .held = entry->side->held,
                              .seq = entry->side->seq,
                              .timestamp_us = transaction->created_us,
                              .trace_id = message->trace_id,
                              .floor = transaction->floor,
                              .caller = message->caller,
                              .key = text_of(message->key_text),
                              .metadata = message->command.metadata};

    if (transaction->refers >= 0) view.refers = model_id((uint32_t)transaction->refers);
    return view;
}

static int compare_seq(const void *a, const void *b)
{
    const struct entry_view *left = a, *right = b;
    return (left->seq > right->seq) - (left->seq < right->seq);
}

static void turn(struct entry_view *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count / 2; i++) {
        struct entry_view swapped = entries[i];
        entries[i] = entries[count - 1 - i];
        entries[count - 1 - i] = swapped;
    }
}

/* As if all fitted: no account of a test has so many entries that a page may be shorter. */
enum result model_show_page(struct model *model, const struct model_account *account,
                            const struct command *command, struct reply *out)
{
    const struct page *page = &command->page;
    uint32_t limit = page->limit == 0 ? (uint32_t)PAGE_ENTRIES : page->limit, all = 0;
    struct history_view *view;
    struct entry_view *entries;
    struct past_entry entry;
    int64_t behind;
    bool resumes = page_resumes(page, command->account, &behind);

    if (account->kind == ACCOUNT_SYSTEM) return RESULT_SYSTEM_ACCOUNT;
    assert(resumes);
    view = model_take(model->arena, sizeof *view);
    entries = model_take(model->arena, sizeof *entries * ((size_t)account->seq + 1));
    for (uint32_t number = 0; number < model->count; number++)
        if (entry_of(model, number, place_of(model, account), &entry) &&
            is_wanted(model, &entry, page, behind))
            entries[all++] = view_of(model, &entry);
    qsort(entries, all, sizeof *entries, compare_seq);
    if (!page->ascending) turn(entries, all);
    *view = (struct history_view){.entries = entries, .count = all < limit ? all : limit};
    if (all > limit) view->cursor = page_cursor(page, command->account, entries[limit - 1].seq);
    out->history = view;
    return RESULT_APPLIED;
}
