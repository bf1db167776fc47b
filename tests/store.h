/*
 * store.h - what the tests of the store, the cache and the verifier share: batches made of
 * commands, and the whole way of one through the database, as the worker goes it.
 *
 * The database is one of the test's own, see tests/outbox.h.
 */
#ifndef TESTS_STORE_H
#define TESTS_STORE_H

#include "ledger/store_pg.h"
#include "outbox/compose.h"
#include "protocol/fingerprint.h"
#include "tests/outbox.h"

enum { STORE_ARENA_SIZE = 64 << 20 };

struct bench { /* one worker */
    struct db *db;
    struct store *store;
    struct codec *codec;
    struct arena arena;
    struct batch batch;
    struct work works[BATCH_WORKS_MAX];
    struct request requests[BATCH_WORKS_MAX];
    struct outbox_row rows[OUTBOX_ROWS_MAX];
    struct names names;
    enum encoding event_encoding;
};

/* Takes the session, which may be NULL where only the cache is meant. */
static inline struct bench *bench_open(struct db *db)
{
    struct bench *bench = calloc(1, sizeof *bench);

    assert_non_null(bench);
    bench->db = db;
    must(store_open(&bench->store, &err));
    if (db != NULL) must(store_tune(bench->store, db, &err));
    must(codec_open(&bench->codec, &err));
    must(arena_open(&bench->arena, STORE_ARENA_SIZE, &err));
    must(names_make(&bench->names, "ledger", 8, &err));
    return bench;
}

static inline void bench_close(struct bench *bench)
{
    db_close(bench->db);
    store_close(bench->store);
    codec_close(bench->codec);
    arena_close(&bench->arena);
    free(bench);
}

static inline void batch_begin(struct bench *bench)
{
    arena_reset(&bench->arena);
    bench->batch = (struct batch){.arena = &bench->arena, .works = bench->works};
}

static inline struct uuid uuid_random(void)
{
    uint8_t random[UUID_RANDOM_SIZE];

    random_bytes(random, sizeof random);
    return uuid_v7((uint64_t)clock_wall_us() / 1000, random);
}

/* The texts are kept as they are; key may be NULL for a query. */
static inline struct work *batch_add(struct bench *bench, const char *key, struct command command)
{
    uint32_t at = bench->batch.works_count++;
    struct request *request = &bench->requests[at];

    assert_in_range(at, 0, BATCH_WORKS_MAX - 1);
    *request = (struct request){.fault = RESULT_APPLIED,
                                .caller = TEXT_LITERAL("tests"),
                                .key = text_of(key),
                                .has_key = key != NULL,
                                .command = command,
                                .fingerprint = command_fingerprint(&command),
                                .trace.trace_id = uuid_random()};
    request->key_digest = idempotency_digest(request->caller, request->key);
    bench->works[at] = (struct work){.request = request, .id = uuid_random()};
    return &bench->works[at];
}

/* A batch and its legs, as request_decode_legs would make them: their keys are <key>/<n>. */
static inline struct work *batch_add_legs(struct bench *bench, const char *key, bool independent,
                                          const struct command *commands, uint32_t count);

/* What is due, and its legs. */
static inline struct work *batch_add_due(struct bench *bench, const struct incoming *incoming)
{
    static const uint8_t random[TRACE_RANDOM_SIZE] = {1, [TRACE_RANDOM_SIZE - 1] = 2};
    uint32_t at = bench->batch.works_count;
    struct request *request = &bench->requests[at];

    request_decode(bench->codec, incoming, random, &bench->arena, request);
    uint32_t legs = request->command.legs_count;
    if (legs > 0) must(request_decode_legs(bench->codec, &bench->arena, request, request + 1));
    for (uint32_t i = 0; i <= legs; i++)
        bench->works[at + i] =
            (struct work){.request = request + i, .id = uuid_random(), .is_leg = i > 0};
    bench->works[at].legs_count = legs;
    bench->batch.works_count += 1 + legs;
    return &bench->works[at];
}

/* A text of the batch. */
static inline const char *batch_text(struct bench *bench, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline const char *batch_text(struct bench *bench, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct bytes kept = arena_copy(&bench->arena, text, (size_t)length + 1);
    assert_non_null(kept.data);
    return (const char *)kept.data;
}

static inline struct work *batch_add_legs(struct bench *bench, const char *key, bool independent,
                                          const struct command *commands, uint32_t count)
{
    struct command command = {
        .type = COMMAND_BATCH, .independent = independent, .legs_count = count};
    struct work *parent = batch_add(bench, key, command);
    struct uuid fingerprints[LEGS_MAX];
    struct text keys[LEGS_MAX];

    assert_in_range(count, 1, LEGS_MAX);
    parent->legs_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct work *leg = batch_add(bench, batch_text(bench, "%s/%u", key, i), commands[i]);
        leg->is_leg = true;
        fingerprints[i] = leg->request->fingerprint;
        keys[i] = leg->request->key;
    }
    bench->requests[parent - bench->works].fingerprint =
        batch_fingerprint(&command, fingerprints, keys, count);
    return parent;
}

static inline struct command open_account(const char *account, const char *user, const char *asset)
{
    return (struct command){.type = COMMAND_OPEN_ACCOUNT,
                            .account = text_of(account),
                            .user_id = text_of(user),
                            .asset = text_of(asset)};
}

static inline struct command open_system(const char *account, const char *asset)
{
    struct command command = open_account(account, "house", asset);

    command.kind = ACCOUNT_SYSTEM;
    return command;
}

static inline struct command deposit(const char *account, int64_t amount)
{
    return (struct command){
        .type = COMMAND_DEPOSIT, .account = text_of(account), .amount.value = amount};
}

static inline struct command withdraw(const char *account, int64_t amount)
{
    return (struct command){
        .type = COMMAND_WITHDRAW, .account = text_of(account), .amount.value = amount};
}

static inline struct command transfer(const char *from, const char *to, int64_t amount)
{
    return (struct command){
        .type = COMMAND_TRANSFER, .from = text_of(from), .to = text_of(to), .amount.value = amount};
}

static inline struct command query(enum command_type type, const char *account)
{
    return (struct command){.type = type, .account = text_of(account)};
}

static inline bool batch_load(struct bench *bench)
{
    return store_read(bench->store, bench->db, &bench->batch, &err);
}

/* What was decided. */
static inline bool batch_store(struct bench *bench)
{
    struct compose_options options = {.names = &bench->names,
                                      .event_encoding = bench->event_encoding};
    struct answers answers = {0};
    uint32_t count = 0;

    return store_save(bench->store, bench->db, &bench->batch, &answers, &err) &&
           compose_rows(&bench->batch, &options, bench->codec, bench->rows, &count, &err) &&
           outbox_append(bench->db, bench->rows, count, &bench->arena, &answers, &err) &&
           store_commit(bench->db, &answers, &err);
}

static inline bool batch_save(struct bench *bench)
{
    return ledger_apply(&bench->batch, &err) && batch_store(bench);
}

static inline void batch_run(struct bench *bench)
{
    must(batch_load(bench));
    must(batch_save(bench));
}

/* A batch of one; its reply is good until the next batch. */
static inline const struct reply *run_one(struct bench *bench, const char *key,
                                          struct command command)
{
    struct work *work;

    batch_begin(bench);
    work = batch_add(bench, key, command);
    batch_run(bench);
    return &work->reply;
}

static inline void expect(struct bench *bench, const char *key, struct command command,
                          enum result result)
{
    const struct reply *reply = run_one(bench, key, command);

    if (reply->result != result)
        fail_msg("%.*s: '%s' instead of '%s'", TEXT_ARGS(bench->requests[0].key),
                 result_word(reply->result), result_word(result));
}

#endif
