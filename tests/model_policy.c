/*
 * model_policy.c - see model_internal.h: the section Authorisation of docs/protocol.md. Each rule
 * is looked at for each command.
 */
#include "tests/model_internal.h"

#include <assert.h>
#include <string.h>

/* --- what a command is about ------------------------------------------------------------- */

struct need {
    struct text accounts[2]; /* either will do; both empty: it names none */
    struct text asset;       /* empty: not known */
    bool is_his;             /* what he scheduled himself, to be cancelled or looked at */
};

static bool is_world(struct text id)
{
    return id.length >= 6 && memcmp(id.bytes, "world:", 6) == 0;
}

/* The one that pays, or where the asset's world does the one that receives. */
static struct text payer_of(const struct model *model, const struct command *command)
{
    int number = model_number_of(model, &command->transaction);
    const struct model_transaction *found;
    struct text first, second = {0};

    found = number < 0 ? NULL : model_transaction(model, (uint32_t)number);
    if (found == NULL) return second;
    first = model_id_at(model, found->debit);
    if (command->type == COMMAND_REVERSE) {
        second = first;
        first = model_id_at(model, found->credit);
    }
    if (first.length > 0 && !is_world(first)) return first;
    return is_world(second) ? (struct text){0} : second;
}

/* Who scheduled a command may cancel it and look at it. */
static bool scheduled_it(const struct model *model, const struct message *message)
{
    const struct command *command = &message->command;
    int number = model_number_of(model, &command->transaction);

    if (command->type != COMMAND_CANCEL && command->type != COMMAND_GET_TRANSACTION) return false;
    if (number < 0 || !model->transactions[number].scheduled) return false;
    return message->user_id.length > 0 &&
           text_equal(model->messages[number]->user_id, message->user_id);
}

static struct need need_of(const struct model *model, const struct message *message)
{
    const struct command *command = &message->command;
    struct need need = {.accounts[0] = command->account, .is_his = scheduled_it(model, message)};
    const struct model_account *account;

    if (command->type == COMMAND_TRANSFER) need.accounts[0] = command->from;
    if (command_has_target(command->type)) need.accounts[0] = payer_of(model, command);
    if (command->type == COMMAND_GET_TRANSACTION) {
        int number = model_number_of(model, &command->transaction);
        const struct model_transaction *found =
            number < 0 ? NULL : model_transaction(model, (uint32_t)number);
        if (found == NULL) return need;
        need.accounts[0] = model_id_at(model, found->debit);
        need.accounts[1] = model_id_at(model, found->credit);
    }
    for (int i = 0; i < 2; i++) {
        account = model_account(model, need.accounts[i]);
        if (account != NULL) need.asset = account->asset->code;
    }
    if (command->type == COMMAND_OPEN_ACCOUNT) need.asset = command->asset;
    return need;
}

/* --- rules ------------------------------------------------------------------------------- */

static bool is_any(struct text text)
{
    return text_equal(text, TEXT_LITERAL("*"));
}

static bool covers(const struct model_rule *rule, struct text account)
{
    uint32_t length = rule->account.length - 1;

    if (account.length == 0) return false;
    if (rule->account.bytes[length] != '*') return text_equal(rule->account, account);
    return account.length >= length && memcmp(account.bytes, rule->account.bytes, length) == 0;
}

static bool allows(const struct model *model, uint32_t i, const struct message *message,
                   const struct need *need)
{
    const struct model_rule *rule = &model->rules[i];
    bool names_none = need->accounts[0].length == 0 && need->accounts[1].length == 0;

    if (!is_any(rule->caller) && !text_equal(rule->caller, message->user_id)) return false;
    if ((model->commands_of[i] >> message->command.type & 1) == 0) return false;
    if (message->command.type == COMMAND_BATCH || need->is_his) return true;
    if (names_none) return is_any(rule->account) && rule->asset.length == 0;
    if (rule->asset.length > 0 && need->asset.length > 0 && !text_equal(rule->asset, need->asset))
        return false;
    return covers(rule, need->accounts[0]) || covers(rule, need->accounts[1]);
}

static bool is_free(const struct model *model, const struct message *message)
{
    return model->rules_count == 0 || message->is_own;
}

bool model_may(const struct model *model, const struct message *message)
{
    if (is_free(model, message)) return true;
    struct need need = need_of(model, message);

    for (uint32_t i = 0; i < model->rules_count; i++)
        if (allows(model, i, message, &need)) return true;
    return false;
}

/* --- limits ------------------------------------------------------------------------------ */

static int64_t day_of(const struct model *model)
{
    return model->clock_us / (86400 * (int64_t)1000000);
}

/* Behind all others when there is none yet. */
static uint32_t place_of(const struct book *book, int64_t rule, struct text caller)
{
    uint32_t i = 0;

    while (i < book->usages_count &&
           (book->usages[i].rule != rule || !text_equal(book->usages[i].caller, caller)))
        i++;
    return i;
}

static int64_t used_of(const struct model *model, int64_t rule, struct text caller)
{
    uint32_t place = place_of(&model->book, rule, caller);
    const struct model_usage *usage = &model->book.usages[place];

    if (place == model->book.usages_count || usage->day != day_of(model)) return 0;
    return usage->used;
}

/* By which so much is allowed: those of any caller come first, and of rules without a daily limit
 * the first is taken, else the first that has so much left. NULL: by none. */
static const struct model_rule *granting(const struct model *model, const struct message *message,
                                         int64_t amount)
{
    struct need need = need_of(model, message);
    const struct model_rule *limited = NULL;

    for (int own = 0; own < 2; own++) {
        for (uint32_t i = 0; i < model->rules_count; i++) {
            const struct model_rule *rule = &model->rules[i];
            if (is_any(rule->caller) == (own == 1)) continue;
            if (!allows(model, i, message, &need) || amount > rule->most) continue;
            if (rule->daily == INT64_MAX || amount == 0) return rule;
            wide after = (wide)used_of(model, rule->id, message->user_id) + amount;
            if (limited == NULL && after <= rule->daily) limited = rule;
        }
    }
    return limited;
}

bool model_suffices(const struct model *model, const struct message *message, int64_t amount)
{
    return is_free(model, message) || granting(model, message, amount) != NULL;
}

void model_charge(struct model *model, const struct message *message, int64_t amount)
{
    struct book *book = &model->book;
    const struct model_rule *rule;
    struct model_usage *usage;

    if (is_free(model, message) || amount == 0) return;
    rule = granting(model, message, amount);
    assert(rule != NULL);
    if (rule->daily == INT64_MAX) return;
    uint32_t place = place_of(book, rule->id, message->user_id);
    assert(place < MODEL_USAGES);
    usage = &book->usages[place];
    if (place == book->usages_count)
        book->usages[book->usages_count++] =
            (struct model_usage){.rule = rule->id, .caller = message->user_id};
    if (usage->day != day_of(model)) usage->used = 0;
    usage->day = day_of(model);
    usage->used += amount;
}

static uint64_t commands_of(struct text words)
{
    uint64_t bits = 0;

    if (is_any(words)) return UINT64_MAX;
    for (enum command_type type = 0; type < COMMANDS_COUNT; type++) {
        struct text word = text_of(command_word(type));
        for (uint32_t at = 0; at + word.length <= words.length; at++) {
            uint32_t end = at + word.length;
            bool begins = at == 0 || words.bytes[at - 1] == ',';
            bool ends = end == words.length || words.bytes[end] == ',';
            if (begins && ends && memcmp(words.bytes + at, word.bytes, word.length) == 0)
                bits |= (uint64_t)1 << type;
        }
    }
    return bits;
}

void model_set_policy(struct model *model, const struct model_rule *rules, uint32_t count)
{
    assert(count <= MODEL_RULES);
    model->rules = rules;
    model->rules_count = count;
    for (uint32_t i = 0; i < count; i++) model->commands_of[i] = commands_of(rules[i].commands);
}
