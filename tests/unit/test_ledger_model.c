/*
 * test_ledger_model.c - a million random commands over two hundred seeds, against the model of
 * tests/model.c. Every reply has the bytes of the model's, however the commands are cut into
 * batches; at the end every account is where the model has it, money is conserved, and no user
 * account is below its floor. LEDGER_MODEL_SEEDS sets how many seeds.
 */
#include "ledger/permission.h"
#include "tests/stream.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
#ifdef __SANITIZE_ADDRESS__
    SEEDS = 40,
#else
    SEEDS = 200,
#endif
    EACH = 5000, /* commands of a seed, legs counted, batches themselves not */
    ROOM = 2 * EACH,
    SPAN_MOST = 400,
    ASSETS = 3,
    ACCOUNTS = MODEL_ACCOUNTS,
    REPLIES_SIZE = 16 << 20,
    USAGES = 4096,
};

static const int64_t START_US = 1700000000000000;
static const struct model_asset MODELLED[ASSETS] = {
    {TEXT_CONSTANT("BHD"), 3}, {TEXT_CONSTANT("EUR"), 2}, {TEXT_CONSTANT("JPY"), 0}};
static const struct asset REGISTERED[ASSETS] = {
    {.code = TEXT_CONSTANT("BHD"), .world = 901, .scale = 3},
    {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2},
    {.code = TEXT_CONSTANT("JPY"), .world = 903, .scale = 0},
};

static struct arena arena, views; /* of one batch; of one seed */
static struct codec *codec;
static struct stream stream;
static struct model *model;
static struct request requests[ROOM];
static struct reply wanted[ROOM];
static struct reply answers[ROOM]; /* what the journal holds for a query, whoever may ask */
static enum result answer_results[ROOM];
static int64_t now_of[ROOM];
static uint32_t policy_of[ROOM];
static bool is_nothing[ROOM]; /* what was to be executed has ended */
static struct {
    struct policy policy;
    struct rule rules[MODEL_RULES];
} policies[STREAM_POLICIES]; /* those of the stream */
static bool is_last[ROOM];   /* of its span */
static struct {
    uint8_t bytes[REPLIES_SIZE];
    uint32_t size, at[ROOM], length[ROOM];
} told; /* what the model says, as it would be sent */

static struct {
    uint32_t all, again;
} runs; /* of batches; a second time, as a key was not new */

/* --- what the model says ----------------------------------------------------------------- */

static void make_request(const struct message *message)
{
    struct request *request = &requests[message->number];

    *request = (struct request){.fault = RESULT_APPLIED,
                                .has_type = true,
                                .has_key = command_changes(message->command.type),
                                .caller = message->caller,
                                .user_id = message->user_id,
                                .is_own = message->is_own,
                                .at_us = message->at_us,
                                .key = text_of(message->key_text),
                                .trace.trace_id = message->trace_id,
                                .command = message->command,
                                .fingerprint = message->fingerprint,
                                .deadline_us = message->deadline_us};
    memcpy(request->key_digest.bytes, &message->key, sizeof message->key);
    if (message->is_execution) request->scheduled = model_id(message->scheduled);
}

static void keep_told(uint32_t number)
{
    struct bytes bytes;

    assert_true(reply_encode(codec, &wanted[number], ENCODING_MSGPACK, &arena, &bytes));
    assert_in_range(bytes.size, 1, REPLIES_SIZE - told.size);
    memcpy(told.bytes + told.size, bytes.data, bytes.size);
    told.at[number] = told.size;
    told.length[number] = bytes.size;
    told.size += bytes.size;
}

static void ask_model(const struct message *message)
{
    uint32_t number = message->number;

    arena_reset(&arena);
    for (uint32_t i = 0; i <= message->legs_count; i++) {
        make_request(&message[i]);
        now_of[number + i] = stream.now_us;
        policy_of[number + i] = stream.policies_count - 1;
        is_last[number + i] = false;
        wanted[number + i] = (struct reply){0}; /* of a leg: it is in its batch's */
    }
    if (!command_changes(message->command.type))
        answer_results[number] = model_find(model, &message->command, &views, &answers[number]);
    is_nothing[number] = !model_decide(model, message, stream.now_us, &views, &wanted[number]);
    if (is_nothing[number]) return;
    keep_told(number);
}

/* As the store reads it: sorted by caller, those of any first. */
static void build_policy(uint32_t at)
{
    const struct stream_policy *from = &stream.policies[at];
    struct rule *rules = policies[at].rules;
    uint32_t count = 0;

    policies[at].policy = (struct policy){.rules = rules, .rules_count = from->rules_count};
    for (uint32_t i = 0; i < from->rules_count; i++) {
        const struct model_rule *rule = &from->rules[i];
        struct rule made = {.id = rule->id,
                            .caller = policy_parse_caller(rule->caller),
                            .asset = rule->asset,
                            .max_amount = rule->most,
                            .daily_limit = rule->daily};
        uint32_t place = count++;
        assert_true(policy_parse_commands(rule->commands, &made.commands));
        assert_true(policy_parse_account(rule->account, &made));
        policies[at].policy.has_daily_limits |= made.daily_limit != NO_LIMIT;
        for (; place > 0 && text_compare(rules[place - 1].caller, made.caller) > 0; place--)
            rules[place] = rules[place - 1];
        rules[place] = made;
    }
}

static void change_policy(void)
{
    if (!stream_change_policy(&stream)) return;
    const struct stream_policy *policy = stream_policy(&stream);
    model_set_policy(model, policy->rules, policy->rules_count);
    build_policy(stream.policies_count - 1);
}

/* Returns how many messages there are, legs counted. */
static uint32_t ask_for_seed(uint32_t seed)
{
    uint32_t commands = 0;

    stream_begin(&stream, seed, EACH, START_US);
    stream.imports = stream.executes = stream.schedules_batches = true;
    build_policy(0);
    arena_reset(&views);
    told.size = 0;
    while (commands < EACH) {
        stream_tick(&stream, model);
        if (seed % 2 == 0) change_policy();
        uint32_t most = stream_dice(&stream, 8) == 0 ? SPAN_MOST : 50;
        for (uint32_t i = stream_dice(&stream, most) + 1; i > 0 && commands < EACH; i--) {
            const struct message *message = stream_next(&stream, model, EACH - commands + 1);
            commands += message->legs_count > 0 ? message->legs_count : 1;
            ask_model(message);
        }
        is_last[stream.count - 1] = true;
    }
    assert_int_equal(commands, EACH);
    return stream.count;
}

/* --- the ledger, with a store that is a few arrays --------------------------------------- */

static struct kept_account {
    struct account account;
    wide outside; /* what a system account has */
} kept[ACCOUNTS];
static uint32_t kept_count;
static int64_t numbers;
static struct target transactions[ROOM]; /* by number */
static struct {
    bool known;
    struct uuid fingerprint;
    struct reply reply;
} journal[ROOM]; /* by key */

static struct {
    struct usage usage;
    int64_t day;
} usages[USAGES];
static uint32_t usages_count;

static struct kept_account *find(struct text id)
{
    for (uint32_t i = kept_count; i > 0; i--)
        if (text_equal(kept[i - 1].account.id, id)) return &kept[i - 1];
    return NULL;
}

static uint32_t number_of(const struct uuid *id)
{
    uint32_t number;

    memcpy(&number, id->bytes + 12, sizeof number);
    return number;
}

static int64_t nearest(wide value)
{
    if (value > INT64_MAX) return INT64_MAX;
    return value < INT64_MIN ? INT64_MIN : (int64_t)value;
}

static void store_reset(void)
{
    static const struct text ids[ASSETS] = {TEXT_CONSTANT("world:BHD"), TEXT_CONSTANT("world:EUR"),
                                            TEXT_CONSTANT("world:JPY")};

    memset(transactions, 0, sizeof transactions);
    memset(journal, 0, sizeof journal);
    usages_count = 0;
    kept_count = ASSETS;
    numbers = 1000;
    for (uint32_t i = 0; i < ASSETS; i++)
        kept[i] = (struct kept_account){.account = {.id = ids[i],
                                                    .number = REGISTERED[i].world,
                                                    .exists = true,
                                                    .kind = ACCOUNT_SYSTEM,
                                                    .asset = &REGISTERED[i],
                                                    .user_id = TEXT_LITERAL("system"),
                                                    .created_us = START_US}};
}

static void load_targets(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->targets_count; i++) {
        struct uuid id = batch->targets[i].id;
        uint32_t number = number_of(&id);
        if (number >= ROOM || !transactions[number].exists) continue;
        batch->targets[i] = transactions[number];
        batch->targets[i].id = id;
    }
}

/* Who has an account; an update looks at no more of him. */
static const struct user_view *user_kept(struct text id)
{
    static const struct user_view some;

    for (uint32_t i = 0; i < kept_count; i++)
        if (text_equal(kept[i].account.user_id, id)) return &some;
    return NULL;
}

/* What was used on the day at hand. */
static struct usage *find_usage(int64_t day, const struct usage *key)
{
    for (uint32_t i = 0; i < usages_count; i++)
        if (usages[i].day == day && usage_compare(&usages[i].usage, key) == 0)
            return &usages[i].usage;
    return NULL;
}

static int64_t day_of(const struct batch *batch)
{
    return batch->now_us / 86400000000;
}

static void load_usages(struct batch *batch)
{
    struct err err = {0};

    assert_true(permission_collect(batch, &err));
    for (uint32_t i = 0; i < batch->usages_count; i++) {
        const struct usage *usage = find_usage(day_of(batch), &batch->usages[i]);
        if (usage != NULL) batch->usages[i].used = usage->used;
    }
}

static void save_usages(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->usages_count; i++) {
        const struct usage *used = &batch->usages[i];
        struct usage *usage = find_usage(day_of(batch), used);
        if (!used->changed) continue;
        if (usage == NULL) {
            assert_in_range(usages_count, 0, USAGES - 1);
            usages[usages_count].day = day_of(batch);
            usage = &usages[usages_count++].usage;
        }
        *usage = *used;
        usage->changed = false;
    }
}

/* As the store reads it. */
static const struct past *past_of(uint32_t number)
{
    const struct as_of *as_of = &stream.messages[number].command.as_of;
    const struct reply *reply = &answers[number];
    struct past *past;

    if (!command_asks_past(&stream.messages[number].command)) return NULL;
    if (answer_results[number] == RESULT_TRANSACTION_NOT_FOUND) return NULL;
    past = arena_take(&arena, sizeof *past);
    assert_non_null(past);
    *past = (struct past){.at_us = as_of->time_us};
    if (!uuid_is_zero(&as_of->transaction)) past->at_us = INT64_MAX;
    if (answer_results[number] == RESULT_ACCOUNT_NOT_FOUND) past->at_us = INT64_MIN;
    if (reply->as_of == NULL || uuid_is_zero(&reply->as_of->transaction)) return past;
    past->seq = reply->balances[0].seq;
    past->balance = reply->balances[0].balance;
    past->held = reply->balances[0].held;
    past->transaction = reply->as_of->transaction;
    past->timestamp_us = reply->as_of->timestamp_us;
    return past;
}

static void load_found(struct work *work, uint32_t number)
{
    if (command_changes(work->request->command.type)) return;
    work->user = answers[number].user;
    work->transaction = answers[number].details;
    work->history = answers[number].history;
    work->past = past_of(number);
}

static void load(struct batch *batch, uint32_t from)
{
    const struct policy *policy = &policies[policy_of[from]].policy;

    batch->assets = REGISTERED;
    batch->assets_count = ASSETS;
    batch->now_us = now_of[from];
    batch->policy = policy->rules_count > 0 ? policy : NULL;
    load_usages(batch); /* before any asset is known */
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        struct account *account = &batch->accounts[i];
        const struct kept_account *found = find(account->id);
        if (found == NULL) {
            account->number = ++numbers; /* for who opens it */
            continue;
        }
        *account = found->account;
        account->opened = false;
        account->changed = false;
        if (account->kind == ACCOUNT_SYSTEM) account->balance = nearest(found->outside);
    }
    for (uint32_t i = 0; i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        uint32_t key = stream.messages[from + i].key;
        load_found(work, from + i);
        if (work->request->command.type == COMMAND_UPDATE_USER)
            work->user = user_kept(work->request->command.user_id);
        if (!ledger_is_kept(work) || !journal[key].known || batch->keys_are_new) continue;
        work->stored = true;
        work->stored_fingerprint = journal[key].fingerprint;
        work->reply = journal[key].reply;
    }
}

static void move_outside(const struct side *side, const struct asset *asset, int64_t amount)
{
    struct kept_account *found;

    if (side->account != NULL)
        found = find(side->account->id);
    else if (side->number != 0)
        found = &kept[asset - REGISTERED];
    else
        return;
    assert_non_null(found);
    if (found->account.kind == ACCOUNT_SYSTEM) found->outside += amount;
}

static struct text target_side(const struct side *side)
{
    bool is_world = side->account == NULL || (side->account->number >= REGISTERED[0].world &&
                                              side->account->number <= REGISTERED[2].world);
    return is_world ? (struct text){0} : side->account->id;
}

static void save_work(const struct work *work, const struct message *message)
{
    const struct outcome *outcome = &work->outcome;

    if (work->origin != ORIGIN_DECIDED || !ledger_is_kept(work)) return;
    if (outcome->result == RESULT_SCHEDULED)
        transactions[message->number] = (struct target){.exists = true,
                                                        .scheduled = true,
                                                        .type = message->command.type,
                                                        .user_id = message->user_id};
    bool is_refused = outcome->result != RESULT_APPLIED && outcome->result != RESULT_SCHEDULED;
    if (is_refused && message->at_us != 0 && !message->is_leg) return; /* as import/ does it */
    journal[message->key].known = true;
    journal[message->key].fingerprint = work->request->fingerprint;
    journal[message->key].reply = work->reply;
    if (outcome->result != RESULT_APPLIED) return;
    transactions[message->number] = (struct target){.exists = true,
                                                    .type = message->command.type,
                                                    .debit = target_side(&outcome->debit),
                                                    .credit = target_side(&outcome->credit),
                                                    .amount = outcome->amount,
                                                    .remaining = outcome->amount,
                                                    .expires_us = outcome->expires_us};
    move_outside(&outcome->debit, outcome->asset, -outcome->amount);
    move_outside(&outcome->credit, outcome->asset, outcome->amount);
}

static void save(const struct batch *batch, uint32_t from)
{
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        const struct account *account = &batch->accounts[i];
        if (!account->exists || !(account->changed || account->opened)) continue;
        struct kept_account *found = find(account->id);
        assert_true((found == NULL) == account->opened);
        if (found == NULL) {
            assert_in_range(kept_count, 0, ACCOUNTS - 1);
            found = &kept[kept_count++];
            *found = (struct kept_account){.outside = 0};
        }
        found->account = *account;
    }
    for (uint32_t i = 0; i < batch->targets_count; i++) {
        const struct target *target = &batch->targets[i];
        if (!target->exists) continue;
        transactions[number_of(&target->id)].settled = target->settled;
        transactions[number_of(&target->id)].settled_by = target->settled_by;
        transactions[number_of(&target->id)].remaining = target->remaining;
    }
    for (uint32_t i = 0; i < batch->works_count; i++)
        save_work(&batch->works[i], &stream.messages[from + i]);
    save_usages(batch);
}

/* --- the comparison ---------------------------------------------------------------------- */

static void show(const char *who, const struct reply *reply)
{
    struct bytes json;

    assert_true(reply_encode(codec, reply, ENCODING_JSON, &arena, &json));
    print_error("%s %.*s\n", who, (int)json.size, (const char *)json.data);
}

static void compare_reply(uint32_t seed, const char *how, const struct work *work, uint32_t number)
{
    struct bytes bytes;

    if (is_nothing[number] != (work->origin == ORIGIN_SKIPPED))
        fail_msg("seed %u, %s: command %u (%s) was%s to be skipped", seed, how, number,
                 command_word(work->request->command.type), is_nothing[number] ? "" : " not");
    if (is_nothing[number]) return;
    assert_true(reply_encode(codec, &work->reply, ENCODING_MSGPACK, &arena, &bytes));
    if (bytes.size == told.length[number] &&
        memcmp(bytes.data, told.bytes + told.at[number], bytes.size) == 0)
        return;
    show("the ledger:", &work->reply);
    show("the model: ", &wanted[number]);
    fail_msg("seed %u, %s: command %u (%s) was answered otherwise", seed, how, number,
             command_word(work->request->command.type));
}

static void compare_account(uint32_t seed, const char *how, const struct kept_account *found)
{
    const struct account *account = &found->account;
    const struct model_account *other = model_account(model, account->id);
    bool is_user = account->kind == ACCOUNT_USER;

    assert_non_null(other);
    if (other->kind != account->kind ||
        other->balance != (is_user ? account->balance : found->outside) ||
        other->held != account->held || other->seq != account->seq ||
        other->floor != account->floor)
        fail_msg("seed %u, %s: account %.*s is at %jd, held %jd, seq %jd; in the model at %jd, "
                 "held %jd, seq %jd",
                 seed, how, TEXT_ARGS(account->id), (intmax_t)account->balance,
                 (intmax_t)account->held, (intmax_t)account->seq, (intmax_t)other->balance,
                 (intmax_t)other->held, (intmax_t)other->seq);
    if (is_user && (account->held < 0 || (wide)account->balance - account->held < account->floor))
        fail_msg("seed %u, %s: account %.*s is below its floor", seed, how, TEXT_ARGS(account->id));
}

static void compare_books(uint32_t seed, const char *how)
{
    wide sums[ASSETS] = {0};

    for (uint32_t i = 0; i < kept_count; i++) {
        const struct account *account = &kept[i].account;
        compare_account(seed, how, &kept[i]);
        sums[account->asset - REGISTERED] +=
            account->kind == ACCOUNT_USER ? account->balance : kept[i].outside;
    }
    for (uint32_t a = 0; a < ASSETS; a++)
        if (sums[a] != 0) fail_msg("seed %u, %s: asset %u does not sum to zero", seed, how, a);
}

/* --- running ----------------------------------------------------------------------------- */

/* What is imported is a batch of its own. */
static bool is_apart(uint32_t number)
{
    return stream.messages[number].at_us != 0;
}

/* The end of a batch of about so many: never in the middle of a message, never past its span. */
static uint32_t batch_end(uint32_t from, uint32_t messages)
{
    uint32_t end = from + 1 + stream.messages[from].legs_count;

    for (uint32_t i = 1; i < messages && !is_last[end - 1]; i++) {
        if (is_apart(from) || is_apart(end)) break;
        end += 1 + stream.messages[end].legs_count;
    }
    return end;
}

/* A key that is stored again is what the database refuses. */
static bool was_right(const struct batch *batch, uint32_t from)
{
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].origin == ORIGIN_DECIDED && ledger_is_kept(&batch->works[i]) &&
            journal[stream.messages[from + i].key].known)
            return false;
    return !ledger_hangs_on_keys(batch);
}

static void decide_batch(struct batch *batch, uint32_t from)
{
    struct err err = {0};

    assert_true(ledger_collect_targets(batch, &err));
    load_targets(batch);
    assert_true(ledger_collect(batch, &err));
    load(batch, from);
    assert_true(ledger_apply(batch, &err));
}

static void run_batch(uint32_t seed, const char *how, uint32_t from, uint32_t end)
{
    static struct work works[ROOM];
    struct batch batch = {.arena = &arena, .works = works, .works_count = end - from};

    arena_reset(&arena);
    for (uint32_t i = from; i < end; i++)
        works[i - from] = (struct work){.request = &requests[i],
                                        .id = model_id(i),
                                        .is_leg = stream.messages[i].is_leg,
                                        .legs_count = stream.messages[i].legs_count};
    batch.keys_are_new = !is_apart(from); /* as the worker begins; import looks keys up */
    decide_batch(&batch, from);
    if (batch.keys_are_new && !was_right(&batch, from)) {
        ledger_forget(&batch);
        batch.keys_are_new = false;
        decide_batch(&batch, from);
        runs.again++;
    }
    runs.all++;
    save(&batch, from);
    for (uint32_t i = from; i < end; i++)
        if (!stream.messages[i].is_leg) compare_reply(seed, how, &works[i - from], i);
}

static void run_ledger(uint32_t seed, const char *how, uint32_t most)
{
    store_reset();
    for (uint32_t from = 0, end; from < stream.count; from = end) {
        end = batch_end(from, 1 + stream_dice(&stream, most));
        run_batch(seed, how, from, end);
    }
    compare_books(seed, how);
}

/* The stream reaches what it is meant to: every word that the core can give to a caller. */
static void check_reach(const uint32_t seen[static RESULTS_COUNT], uint32_t seeds)
{
    static const bool not_of_the_core[RESULTS_COUNT] = {
        [RESULT_MALFORMED] = true,       [RESULT_BODY_TOO_LARGE] = true,
        [RESULT_UNKNOWN_TYPE] = true,    [RESULT_KEY_MISSING] = true,
        [RESULT_KEY_IN_PROGRESS] = true, [RESULT_INTERNAL] = true,
        [RESULT_CRASHED_WORKER] = true};

    for (uint32_t i = 0; i < RESULTS_COUNT; i++) {
        print_message("%10u %s\n", seen[i], i == RESULT_APPLIED ? "applied" : result_word(i));
        if (seen[i] < seeds && !not_of_the_core[i]) fail_msg("%s is hardly met", result_word(i));
    }
}

static void count_results(uint32_t seen[static RESULTS_COUNT])
{
    for (uint32_t i = 0; i < stream.count; i += 1 + stream.messages[i].legs_count) {
        if (is_nothing[i]) continue;
        seen[wanted[i].result]++;
        for (uint32_t leg = 0; leg < wanted[i].legs_count; leg++)
            seen[wanted[i].legs[leg].reply->result]++;
    }
}

static void the_ledger_and_the_model_agree(void **state)
{
    const char *given = getenv("LEDGER_MODEL_SEEDS");
    uint32_t seeds = given == NULL ? SEEDS : (uint32_t)strtoul(given, NULL, 10);
    uint32_t seen[RESULTS_COUNT] = {0};

    (void)state;
    for (uint32_t seed = 1; seed <= seeds; seed++) {
        model = model_open(MODELLED, ASSETS, START_US);
        (void)ask_for_seed(seed);
        count_results(seen);
        run_ledger(seed, "in batches", 40);
        if (seed % 2 == 0)
            run_ledger(seed, "one by one", 1);
        else
            run_ledger(seed, "at once", SPAN_MOST);
        model_close(model);
    }
    check_reach(seen, seeds);
    assert_in_range(runs.again, 1, runs.all - 1);
}

static int begin(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, 64 << 20, &err) && arena_open(&views, 64 << 20, &err) &&
                   codec_open(&codec, &err)
               ? 0
               : -1;
}

static int end(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    arena_close(&views);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_ledger_and_the_model_agree)};
    return cmocka_run_group_tests(tests, begin, end);
}
