/*
 * it_model.c - random commands through the real store, against the model: what test_ledger_model.c
 * does with a store of arrays, here with PostgreSQL and its clock. Every reply has the bytes of the
 * model's, also those that are read back from the journal, and every account ends where the model
 * has it. LEDGER_MODEL_COMMANDS sets how many (20000), LEDGER_MODEL_SEED which.
 */
#include "tests/store.h"
#include "tests/stream.h"
#include "tests/verify.h"

enum { ASSETS = 3, ROOM = 400, ROLL_UP = 100 };

static const struct model_asset MODELLED[ASSETS] = {
    {TEXT_CONSTANT("BHD"), 3}, {TEXT_CONSTANT("EUR"), 2}, {TEXT_CONSTANT("JPY"), 0}};
static struct bench *bench;
static struct stream stream;
static struct model *model;
static struct arena views; /* what the model's replies point to */

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
        request->fingerprint = message[i].fingerprint;
        request->deadline_us = message[i].deadline_us;
    }
}

static void compare(const struct message *message, const struct work *work)
{
    struct bytes got, want;
    struct reply reply;

    model_decide(model, message, bench->batch.now_us, &views, &reply);
    must(reply_encode(bench->codec, &work->reply, ENCODING_JSON, &bench->arena, &got));
    must(reply_encode(bench->codec, &reply, ENCODING_JSON, &bench->arena, &want));
    if (got.size != want.size || memcmp(got.data, want.data, got.size) != 0)
        fail_msg("command %u (%s): the ledger says\n%.*s\nthe model says\n%.*s", message->number,
                 command_word(message->command.type), (int)got.size, (const char *)got.data,
                 (int)want.size, (const char *)want.data);
}

/* As many messages as it likes in one transaction. */
static void run_batch(uint32_t most)
{
    uint32_t first = stream.count, works = 0;

    stream_at(&stream, clock_wall_us());
    batch_begin(bench);
    arena_reset(&views);
    for (uint32_t i = 0; i < most && bench->batch.works_count + ROOM < BATCH_WORKS_MAX; i++)
        add(stream_next(&stream, model, ROOM));
    batch_run(bench);
    for (uint32_t i = first; i < stream.count; i += 1 + stream.messages[i].legs_count) {
        compare(&stream.messages[i], &bench->works[works]);
        works += 1 + stream.messages[i].legs_count;
    }
}

static void compare_account(struct text id)
{
    static const enum command_type questions[] = {COMMAND_GET_BALANCE, COMMAND_GET_ACCOUNT};

    for (uint32_t i = 0; i < 2; i++) {
        struct message message = {.number = stream.count++,
                                  .command = {.type = questions[i], .account = id}};
        batch_begin(bench);
        add(&message);
        batch_run(bench);
        compare(&message, &bench->works[0]);
    }
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
        if (batches % ROLL_UP == 0) must(store_roll_up(bench->db, 1000, &rolled, &err));
    }
    for (int i = 0; model_account_at(model, i) != NULL; i++)
        compare_account(model_account_at(model, i)->id);
    (void)verify_clean(NULL);
    model_close(model);
    db_close(db);
}

static int set_up(void **state)
{
    if (database_make(state) != 0) return -1;
    bench = bench_open(session_as("ledger_worker"));
    return arena_open(&views, 64 << 20, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    bench_close(bench);
    arena_close(&views);
    return database_drop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_ledger_and_the_model_agree)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
