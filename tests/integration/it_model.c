/*
 * it_model.c - random commands through the real store, against the model: what test_ledger_model.c
 * does with a store of arrays, here with PostgreSQL and its clock. Every reply has the bytes of the
 * model's, also those that are read back from the journal and those about the past; what is
 * scheduled is due when the model says so, and in that order; and every account ends where the
 * model has it. LEDGER_MODEL_COMMANDS sets how many (20000), LEDGER_MODEL_SEED which.
 */
#include "ledger/policy_pg.h"
#include "tests/store.h"
#include "tests/stream.h"
#include "tests/verify.h"
#include "worker/sweep_pg.h"

enum { ASSETS = 3, ROOM = 400, ROLL_UP = 100, SWEEP = 3 };

static const struct model_asset MODELLED[ASSETS] = {
    {TEXT_CONSTANT("BHD"), 3}, {TEXT_CONSTANT("EUR"), 2}, {TEXT_CONSTANT("JPY"), 0}};
static struct bench *bench;
static struct stream stream;
static struct model *model;
static struct arena views, swept; /* what the model's replies point to; what is due */
static struct db *owner;
static uint32_t seen[RESULTS_COUNT], executed, again;
static uint64_t looked_us = 1;

static const struct statement WORLDS_SINCE = {
    "model_since",
    "SELECT (extract(epoch FROM created_at) * 1000000)::int8 FROM account WHERE id = 'world:EUR'"};

static uint32_t setting(const char *name, uint32_t otherwise)
{
    const char *given = getenv(name);
    return given == NULL ? otherwise : (uint32_t)strtoul(given, NULL, 10);
}

static void add(const struct message *message)
{
    bool has_key = command_changes(message->command.type);

    for (uint32_t i = 0; i <= message->legs_count; i++) {
        struct work *work =
            batch_add(bench, has_key ? message[i].key_text : NULL, message[i].command);
        struct request *request = &bench->requests[work - bench->works];
        work->id = model_id(message[i].number);
        work->is_leg = message[i].is_leg;
        work->legs_count = message[i].legs_count;
        request->trace.trace_id = message[i].trace_id;
        request->trace.span_id[0] = 1;
        request->fingerprint = message[i].fingerprint;
        request->deadline_us = message[i].deadline_us;
        request->user_id = message[i].user_id;
        request->properties.app_id = message[i].caller;
        request->properties.user_id = message[i].user_id;
        request->is_own = message[i].is_own;
    }
}

static void compare(const struct message *message, const struct work *work)
{
    struct bytes got, want;
    struct reply reply;

    bool is_done = model_decide(model, message, bench->batch.now_us, &views, &reply);
    assert_true(is_done);
    seen[reply.result]++;
    must(reply_encode(bench->codec, &work->reply, ENCODING_JSON, &bench->arena, &got));
    must(reply_encode(bench->codec, &reply, ENCODING_JSON, &bench->arena, &want));
    if (got.size != want.size || memcmp(got.data, want.data, got.size) != 0)
        fail_msg("command %u (%s): the ledger says\n%.*s\nthe model says\n%.*s", message->number,
                 command_word(message->command.type), (int)got.size, (const char *)got.data,
                 (int)want.size, (const char *)want.data);
}

static void compare_all(uint32_t first)
{
    uint32_t works = 0;

    arena_reset(&views);
    for (uint32_t i = first; i < stream.count; i += 1 + stream.messages[i].legs_count) {
        compare(&stream.messages[i], &bench->works[works]);
        works += 1 + stream.messages[i].legs_count;
    }
}

/* --- what is due --------------------------------------------------------------------------- */

static void add_execution(const struct incoming *incoming, uint32_t number)
{
    const struct message *message = stream_execute(&stream, number);
    struct work *work = batch_add_due(bench, incoming);
    const struct request *request = work->request;

    for (uint32_t i = 0; i <= message->legs_count; i++) work[i].id = model_id(message[i].number);
    assert_int_equal(work->legs_count, message->legs_count);
    if (request->fault != RESULT_APPLIED || request->command.type != message->command.type)
        fail_msg("%s, scheduled as %u, is another when it is due: %s",
                 command_word(message->command.type), number, request->problem);
    assert_memory_equal(&request->trace.trace_id, &message->trace_id, sizeof message->trace_id);
    assert_true(text_equal(request->user_id, message->user_id));
    assert_true(text_equal(request->caller, message->caller));
    assert_true(text_equal(request->key, text_of(message->key_text)));
}

/* As the worker does it; the model says which, and in which order. */
static void execute_due(void)
{
    static struct sweep due;
    static uint32_t numbers[SWEEP_MOST + 1];
    int64_t before_us = clock_wall_us();
    uint32_t first = stream.count, least;

    arena_reset(&swept);
    must(sweep_scheduled(bench->db, &swept, (struct sweep_place){0}, &due, &err));
    least = model_due(model, before_us, numbers, SWEEP_MOST);
    assert_in_range(due.count, least, SWEEP_MOST);
    assert_int_equal(model_due(model, clock_wall_us(), numbers, due.count), due.count);
    stream_at(&stream, clock_wall_us());
    batch_begin(bench);
    for (uint32_t i = 0; i < due.count && bench->batch.works_count + ROOM < BATCH_WORKS_MAX; i++) {
        struct uuid id = model_id(numbers[i]);
        assert_memory_equal(&due.incoming[i].scheduled, &id, sizeof id);
        add_execution(&due.incoming[i], numbers[i]);
        executed++;
    }
    if (stream.count == first) return;
    batch_run(bench);
    compare_all(first);
}

/* --- the policy ------------------------------------------------------------------------------ */

/* The rules are new ones each time, with ids of their own. */
static void change_policy(void)
{
    struct stream_policy *policy = &stream.policies[stream.policies_count];

    if (!stream_change_policy(&stream)) return;
    sql(owner, "DELETE FROM policy_rule");
    for (uint32_t i = 0; i < policy->rules_count; i++) {
        struct model_rule *rule = &policy->rules[i];
        const struct rule_text text = {.caller = rule->caller,
                                       .commands = rule->commands,
                                       .account = rule->account,
                                       .asset = rule->asset,
                                       .max_amount = rule->most,
                                       .daily_limit = rule->daily};
        must(policy_allow(owner, &text, &rule->id, &err));
    }
    must(policy_enable(owner, policy->rules_count > 0, &err));
    model_set_policy(model, policy->rules, policy->rules_count);
    looked_us += POLICY_LOOK_US;
    must(store_look_at_policy(bench->store, bench->db, looked_us, &err));
}

/* --- running ------------------------------------------------------------------------------- */

/* As the worker does it: its keys are new until the contrary is proved. */
static void run_as_new(void)
{
    bench->batch.keys_are_new = true;
    must(batch_load(bench));
    must(ledger_apply(&bench->batch, &err));
    if (!ledger_hangs_on_keys(&bench->batch)) {
        if (batch_store(bench)) return;
        assert_int_equal(err.kind, ERR_RETRY);
    }
    query_abandon(bench->db);
    ledger_forget(&bench->batch);
    bench->batch.keys_are_new = false;
    batch_run(bench);
    again++;
}

/* As many messages as it likes in one transaction. */
static void run_batch(uint32_t most)
{
    uint32_t first = stream.count;

    stream_at(&stream, clock_wall_us());
    batch_begin(bench);
    for (uint32_t i = 0; i < most && bench->batch.works_count + ROOM < BATCH_WORKS_MAX; i++)
        add(stream_next(&stream, model, ROOM));
    run_as_new();
    compare_all(first);
}

static void compare_account(struct text id)
{
    static const enum command_type questions[] = {COMMAND_GET_BALANCE, COMMAND_GET_ACCOUNT};

    for (uint32_t i = 0; i < 2; i++) {
        struct message message = {.number = stream.count++,
                                  .is_own = true,
                                  .command = {.type = questions[i], .account = id}};
        batch_begin(bench);
        add(&message);
        batch_run(bench);
        compare(&message, &bench->works[0]);
    }
}

/* What PostgreSQL has a part in. */
static void check_reach(void)
{
    static const enum result results[] = {
        RESULT_KEY_REUSED,       RESULT_FORBIDDEN,         RESULT_TRANSACTION_NOT_FOUND,
        RESULT_SCHEDULED,        RESULT_ALREADY_CANCELLED, RESULT_NOT_SCHEDULED,
        RESULT_ALREADY_REVERSED, RESULT_ACCOUNT_NOT_FOUND};

    for (uint32_t i = 0; i < sizeof results / sizeof *results; i++)
        if (seen[results[i]] == 0) fail_msg("%s is not met", result_word(results[i]));
    assert_true(executed > 0);
    assert_true(again > 0);
}

static void the_ledger_and_the_model_agree(void **state)
{
    struct db *db = session_as(NULL);
    uint32_t wanted = setting("LEDGER_MODEL_COMMANDS", 20000), batches = 0, rolled, seed;

    (void)state;
    assert_in_range(wanted, 1, MODEL_COMMANDS - 2 * ROOM);
    random_bytes(&seed, sizeof seed);
    seed = setting("LEDGER_MODEL_SEED", seed);
    print_message("seed %u\n", seed);
    model = model_open(MODELLED, ASSETS, number(db, &WORLDS_SINCE));
    stream_begin(&stream, seed, wanted, clock_wall_us());
    for (; stream.count < wanted; batches++) {
        run_batch(1 + stream_dice(&stream, 4) * stream_dice(&stream, 30));
        if (batches % SWEEP == 0) execute_due();
        change_policy();
        if (batches % ROLL_UP == 0) must(store_roll_up(bench->db, 1000, &rolled, &err));
    }
    for (int i = 0; model_account_at(model, i) != NULL; i++)
        compare_account(model_account_at(model, i)->id);
    (void)verify_clean(NULL);
    if (wanted >= 10000) check_reach();
    model_close(model);
    db_close(db);
}

static int set_up(void **state)
{
    if (database_make(state) != 0) return -1;
    bench = bench_open(session_as("ledger_worker"));
    owner = session_as(NULL);
    return arena_open(&views, 64 << 20, &err) && arena_open(&swept, SWEEP_ARENA_SIZE, &err) ? 0
                                                                                            : -1;
}

static int tear_down(void **state)
{
    bench_close(bench);
    db_close(owner);
    arena_close(&views);
    arena_close(&swept);
    return database_drop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_ledger_and_the_model_agree)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
