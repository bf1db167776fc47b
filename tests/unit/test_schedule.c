/*
 * test_schedule.c - commands that come before their time: which are put off, by tables; what is
 * kept of them and that it is decided later as if it had come then; that each ends once, by its
 * execution whatever becomes of it, or by being cancelled; and what is told of all that.
 */
#include "ledger/schedule.h"
#include "outbox/compose.h"
#include "protocol/event_list.h"
#include "protocol/fingerprint.h"
#include "tests/wire.h"

enum { WORKS = 8, A_HAS = 100 };

#define NOW WIRE_NOON_US
#define S INT64_C(1000000)
#define TEN_YEARS (316224000 * S)

static struct arena arena, scratch;
static struct codec *codec;
static struct names names;
static struct request requests[WORKS];
static struct work works[WORKS];
static struct batch batch;
static struct outbox_row rows[OUTBOX_ROWS_PER_WORK * WORKS];
static uint32_t rows_count;
static const struct asset EUR = {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2};

/* --- a world ------------------------------------------------------------------------------ */

enum { NONE, PENDING, SECOND, EXECUTED, CANCELLED, MOVED, HOLD, TARGETS };

/* clang-format off */
static const struct target KNOWN[TARGETS] = {
    [PENDING]   = {.exists = true, .scheduled = true, .type = COMMAND_WITHDRAW},
    [SECOND]    = {.exists = true, .scheduled = true, .type = COMMAND_HOLD},
    [EXECUTED]  = {.exists = true, .scheduled = true, .type = COMMAND_TRANSFER, .settled = true, .settled_by = COMMAND_TRANSFER},
    [CANCELLED] = {.exists = true, .scheduled = true, .type = COMMAND_DEPOSIT, .settled = true, .settled_by = COMMAND_CANCEL},
    [MOVED]     = {.exists = true, .type = COMMAND_TRANSFER, .debit = TEXT_CONSTANT("b"), .credit = TEXT_CONSTANT("a"), .amount = 5, .settled = true, .settled_by = COMMAND_REVERSE},
    [HOLD]      = {.exists = true, .type = COMMAND_HOLD, .debit = TEXT_CONSTANT("a"), .amount = 5, .remaining = 5},
};
/* clang-format on */

static struct uuid id_of(uint32_t target)
{
    struct uuid id = {{(uint8_t)(200 + target)}};
    return id;
}

/* a has 100, of which 5 are held; b nothing. */
static void fill(void)
{
    for (uint32_t i = 0; i < batch.accounts_count; i++) {
        struct account *account = &batch.accounts[i];
        bool is_a = text_equal(account->id, text_of("a"));
        if (!is_a && !text_equal(account->id, text_of("b"))) continue;
        account->number = is_a ? 1 : 2;
        account->exists = true;
        account->asset = &EUR;
        account->user_id = account->id;
        account->balance = is_a ? A_HAS : 0;
        account->held = is_a ? 5 : 0;
    }
}

static void fill_targets(void)
{
    for (uint32_t i = 0; i < batch.targets_count; i++)
        for (uint32_t t = 1; t < TARGETS; t++) {
            struct uuid id = id_of(t);
            if (uuid_compare(&batch.targets[i].id, &id) != 0) continue;
            batch.targets[i] = KNOWN[t];
            batch.targets[i].id = id;
        }
}

static void begin(void)
{
    arena_reset(&arena);
    arena_reset(&scratch);
    batch = (struct batch){.arena = &scratch, .works = works};
}

/* As the worker makes works of messages. */
static struct work *add_incoming(struct incoming incoming)
{
    static const uint8_t random[TRACE_RANDOM_SIZE] = {1, 2, 3, [TRACE_RANDOM_SIZE - 1] = 9};
    uint32_t at = batch.works_count;
    struct request *request = &requests[at];
    struct work *work = &works[at];

    incoming.body_size = incoming.body.size;
    request_decode(codec, &incoming, random, &arena, request);
    *work = (struct work){.request = request, .legs_count = request->command.legs_count};
    assert_in_range(at + work->legs_count, 0, WORKS - 1);
    if (work->legs_count > 0) assert_true(request_decode_legs(codec, &arena, request, request + 1));
    for (uint32_t i = 0; i <= work->legs_count; i++) {
        if (i > 0) work[i] = (struct work){.request = &request[i], .is_leg = true};
        work[i].id.bytes[0] = (uint8_t)(1 + at + i);
    }
    batch.works_count += 1 + work->legs_count;
    return work;
}

static const struct properties_out USUAL = {.content_type = WIRE_TEXT("application/json"),
                                            .message_id = WIRE_TEXT("key-1"),
                                            .correlation_id = WIRE_TEXT("corr-1"),
                                            .reply_to = WIRE_TEXT("replies"),
                                            .app_id = WIRE_TEXT("shop"),
                                            .user_id = WIRE_TEXT("broker-user")};

static struct work *add_json(const char *type, const char *json, uint32_t scheduled)
{
    struct incoming incoming = {.body = wire_bytes(text_of(json))};
    struct properties_out properties = USUAL;

    properties.type = text_of(type);
    if (scheduled != NONE) incoming.scheduled = id_of(scheduled);
    assert_true(properties_write(&properties, &arena, &incoming.properties));
    return add_incoming(incoming);
}

static struct work *add(const struct command *command, int64_t deadline_us)
{
    uint32_t at = batch.works_count++;

    requests[at] = (struct request){.fault = RESULT_APPLIED,
                                    .has_type = true,
                                    .has_key = true,
                                    .key = WIRE_TEXT("key"),
                                    .deadline_us = deadline_us,
                                    .command = *command};
    requests[at].key_digest.bytes[0] = (uint8_t)at;
    requests[at].fingerprint = command_fingerprint(command);
    works[at] = (struct work){.request = &requests[at], .id = {{(uint8_t)(1 + at)}}};
    return &works[at];
}

static void run(void)
{
    struct err err = {0};

    ledger_forget(&batch);
    assert_true(ledger_collect_targets(&batch, &err));
    fill_targets();
    assert_true(ledger_collect(&batch, &err));
    fill();
    batch.assets = &EUR;
    batch.assets_count = 1;
    batch.now_us = NOW;
    assert_true(ledger_apply(&batch, &err));
}

static void compose(void)
{
    struct compose_options options = {.names = &names, .event_encoding = ENCODING_MSGPACK};
    struct err err = {0};

    assert_true(compose_rows(&batch, &options, codec, rows, &rows_count, &err));
}

static struct event event_at(uint32_t row, const char *word)
{
    char problem[PROBLEM_SIZE];
    struct event event;

    assert_in_range(row, 0, rows_count - 1);
    assert_int_equal(rows[row].kind, OUTBOX_EVENT);
    assert_true(text_equal(rows[row].destination, text_of(word)));
    if (!event_decode(codec, rows[row].body, ENCODING_MSGPACK, &arena, &event, problem))
        fail_msg("%s", problem);
    return event;
}

static struct account *account(const char *id)
{
    return ledger_account(&batch, text_of(id));
}

/* --- when --------------------------------------------------------------------------------- */

/* clang-format off */
static const struct row {
    const char *why;
    int64_t deadline_us, not_before_us, not_after_us;
    bool dry_run;
    const char *account;
    enum result want;
} ROWS[] = {
    {"without a time",              0,       0,                   0,       false, "a",      RESULT_APPLIED},
    {"its time is past",            0,       NOW - 1,             0,       false, "a",      RESULT_APPLIED},
    {"its time is now",             0,       NOW,                 0,       false, "a",      RESULT_APPLIED},
    {"its time is to come",         0,       NOW + 1,             0,       false, "a",      RESULT_SCHEDULED},
    {"what it asks for is not looked at", 0, NOW + 1,             0,       false, "nobody", RESULT_SCHEDULED},
    {"but it is when it is time",   0,       NOW,                 0,       false, "nobody", RESULT_ACCOUNT_NOT_FOUND},
    {"late first",                  NOW - 1, NOW + TEN_YEARS + 1, 0,       false, "nobody", RESULT_EXPIRED},
    {"the deadline is for being accepted", NOW, NOW + 1,          0,       false, "a",      RESULT_SCHEDULED},
    {"not_after is past too",       0,       NOW - 2,             NOW - 1, false, "a",      RESULT_EXPIRED},
    {"not_after is to come too",    0,       NOW + 1,             NOW + 1, false, "a",      RESULT_SCHEDULED},
    {"in ten years",                0,       NOW + TEN_YEARS,     0,       false, "nobody", RESULT_SCHEDULED},
    {"and a microsecond",           0,       NOW + TEN_YEARS + 1, 0,       false, "nobody", RESULT_TOO_FAR_AHEAD},
    {"which is told when tried",    0,       NOW + TEN_YEARS + 1, 0,       true,  "nobody", RESULT_TOO_FAR_AHEAD},
    {"what is tried is tried now",  0,       NOW + 1,             0,       true,  "a",      RESULT_APPLIED},
    {"and may be refused",          0,       NOW + 1,             0,       true,  "nobody", RESULT_ACCOUNT_NOT_FOUND},
};
/* clang-format on */

static void a_command_waits_for_its_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const struct row *row = &ROWS[i];
        struct command command = {
            .type = COMMAND_DEPOSIT,
            .account = text_of(row->account),
            .amount.value = 7,
            .dry_run = row->dry_run,
            .conditions = {.not_before_us = row->not_before_us, .not_after_us = row->not_after_us}};
        begin();
        struct work *work = add(&command, row->deadline_us);
        run();
        if (work->reply.result != row->want)
            fail_msg("%s: '%s', wanted '%s'", row->why, result_word(work->reply.result),
                     result_word(row->want));
        bool scheduled = row->want == RESULT_SCHEDULED;
        bool applied = row->want == RESULT_APPLIED && !row->dry_run;
        assert_int_equal(work->reply.has_transaction, scheduled || applied);
        assert_int_equal(work->reply.scheduled_us, scheduled ? row->not_before_us : 0);
        if (strcmp(row->account, "a") == 0)
            assert_int_equal(account("a")->balance, applied ? A_HAS + 7 : A_HAS);
        assert_null(ledger_ends(work));
    }
}

#define SPLIT                                                                                      \
    "{\"type\":\"withdraw\",\"idempotency_key\":\"l1\",\"account\":\"a\",\"amount\":60},"          \
    "{\"type\":\"deposit\",\"idempotency_key\":\"l2\",\"account\":\"b\",\"amount\":60}"

static void a_batch_waits_as_a_whole(void **state)
{
    (void)state;
    for (uint32_t independent = 0; independent < 2; independent++) {
        begin();
        struct work *parent =
            add_json("batch",
                     independent == 1 ? "{\"not_before\":\"2026-11-24T00:00:00Z\","
                                        "\"atomic\":false,\"commands\":[" SPLIT "]}"
                                      : "{\"not_before\":\"2026-11-24T00:00:00Z\","
                                        "\"commands\":[" SPLIT "]}",
                     NONE);
        run();
        assert_int_equal(parent->reply.result, RESULT_SCHEDULED);
        assert_int_equal(parent->reply.legs_count, 0);
        for (uint32_t i = 1; i <= 2; i++) assert_int_equal(parent[i].origin, ORIGIN_SKIPPED);
        assert_false(account("a")->changed);
        compose();
        assert_int_equal(rows_count, 2); /* a reply and an event */
        struct event event = event_at(1, "command.scheduled");
        assert_int_equal(event.command, COMMAND_BATCH);
    }
}

/* --- what is kept -------------------------------------------------------------------------- */

static void what_is_kept_is_the_command_without_its_time(void **state)
{
    static const struct {
        const char *type, *json;
    } kept[] = {
        {"withdraw",
         "{\"account\":\"a\",\"amount\":\"0.10\",\"asset\":\"EUR\",\"if_seq\":0,"
         "\"not_before\":\"2026-11-24T00:00:00Z\",\"not_after\":\"2026-11-25T00:00:00Z\","
         "\"metadata\":{\"b\":1,\"a\":[true]}}"},
        {"open_account", "{\"account\":\"c\",\"user_id\":\"u\",\"asset\":\"EUR\",\"name\":\"C\","
                         "\"not_before\":\"2026-11-24T00:00:00Z\"}"},
        {"batch", "{\"not_before\":\"2026-11-24T00:00:00Z\",\"commands\":[" SPLIT "]}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct incoming incoming = {.scheduled = id_of(PENDING)};
        begin();
        struct work *early = add_json(kept[i].type, kept[i].json, NONE);
        const struct request *first = early->request;
        assert_true(schedule_keep(codec, first, &arena, &incoming.properties, &incoming.body));
        assert_true(incoming.body.size < strlen(kept[i].json));
        struct work *due = add_incoming(incoming);
        const struct request *then = due->request;
        assert_int_equal(then->fault, RESULT_APPLIED);
        assert_int_equal(then->command.type, first->command.type);
        assert_int_equal(then->command.conditions.not_before_us, 0);
        assert_int_equal(then->command.conditions.not_after_us,
                         first->command.conditions.not_after_us);
        assert_true(wire_bytes_equal(then->command.legs, first->command.legs));
        assert_true(wire_bytes_equal(then->command.metadata, first->command.metadata));
        assert_true(text_equal(then->key, text_of("key-1")));
        assert_true(text_equal(then->caller, text_of("shop")));
        assert_true(text_equal(then->properties.user_id, text_of("broker-user")));
        assert_true(wire_uuid_equal(then->trace.trace_id, first->trace.trace_id));
        assert_memory_equal(then->trace.parent_id, first->trace.span_id, 8);
        assert_int_equal(then->properties.reply_to.length, 0); /* nobody waits any more */
        assert_true(wire_uuid_equal(then->key_digest, scheduled_digest(&incoming.scheduled)));
        assert_false(wire_uuid_equal(then->key_digest, first->key_digest));
        /* All but the time counts. */
        struct command untimed = first->command;
        untimed.conditions.not_before_us = 0;
        if (first->command.type != COMMAND_BATCH)
            assert_true(wire_uuid_equal(then->fingerprint, command_fingerprint(&untimed)));
    }
}

/* --- its end ------------------------------------------------------------------------------- */

/* clang-format off */
static const struct cancelling {
    const char *why;
    uint32_t target;
    int64_t not_after_us;
    enum result want;
} CANCELLING[] = {
    {"late first",             NONE,      NOW - 1, RESULT_EXPIRED},
    {"then whether it is",     NONE,      0,       RESULT_TRANSACTION_NOT_FOUND},
    {"then what it is",        MOVED,     0,       RESULT_NOT_SCHEDULED},
    {"a hold is not",          HOLD,      0,       RESULT_NOT_SCHEDULED},
    {"then who was first",     EXECUTED,  0,       RESULT_ALREADY_EXECUTED},
    {"a cancellation",         CANCELLED, 0,       RESULT_ALREADY_CANCELLED},
    {"in time",                PENDING,   NOW,     RESULT_APPLIED},
};
/* clang-format on */

static void a_cancellation_is_refused_in_this_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CANCELLING / sizeof *CANCELLING; i++)
        for (uint32_t dry = 0; dry < 2; dry++) {
            const struct cancelling *row = &CANCELLING[i];
            struct command command = {.type = COMMAND_CANCEL,
                                      .transaction = id_of(row->target),
                                      .dry_run = dry == 1,
                                      .conditions.not_after_us = row->not_after_us};
            begin();
            struct work *work = add(&command, 0);
            run();
            if (work->reply.result != row->want)
                fail_msg("%s: '%s', wanted '%s'", row->why, result_word(work->reply.result),
                         result_word(row->want));
            bool applied = row->want == RESULT_APPLIED && dry == 0;
            assert_int_equal(work->reply.has_transaction, applied);
            if (applied) assert_ptr_equal(ledger_ends(work), &work->request->command.transaction);
            bool was = row->target >= EXECUTED && row->target <= MOVED;
            struct uuid id = id_of(row->target);
            assert_int_equal(ledger_target(&batch, &id)->settled, applied || was);
        }
}

/* Its id names the command, not what comes of it. */
static void what_is_scheduled_is_nothing_else(void **state)
{
    static const struct {
        enum command_type type;
        enum result want;
    } others[] = {{COMMAND_CAPTURE, RESULT_HOLD_NOT_FOUND},
                  {COMMAND_RELEASE, RESULT_HOLD_NOT_FOUND},
                  {COMMAND_EXPIRE_HOLD, RESULT_HOLD_NOT_FOUND},
                  {COMMAND_REVERSE, RESULT_NOT_REVERSIBLE}};

    (void)state;
    for (uint32_t i = 0; i < 2 * sizeof others / sizeof *others; i++) {
        struct command command = {.type = others[i / 2].type,
                                  .transaction = id_of(i % 2 == 0 ? PENDING : SECOND)};
        begin();
        struct work *work = add(&command, 0);
        run();
        assert_int_equal(work->reply.result, others[i / 2].want);
    }
}

static void an_execution_is_decided_as_any_command(void **state)
{
    (void)state;
    begin();
    struct work *paid = add_json("withdraw", "{\"account\":\"a\",\"amount\":60}", PENDING);
    struct work *refused = add_json("withdraw", "{\"account\":\"a\",\"amount\":60}", SECOND);
    run();
    assert_int_equal(paid->outcome.result, RESULT_APPLIED);
    assert_int_equal(refused->outcome.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(account("a")->balance, 40);
    for (uint32_t i = 0; i < 2; i++) {
        struct uuid id = id_of(PENDING + i);
        assert_true(ledger_target(&batch, &id)->settled);
        assert_true(wire_uuid_equal(*ledger_ends(&works[i]), id));
        assert_int_equal(works[i].origin, ORIGIN_DECIDED);
    }
    compose();
    struct event event = event_at(2, "transaction.created"); /* behind two replies of this test */
    assert_true(wire_uuid_equal(event.scheduled, id_of(PENDING)));
    event = event_at(3, "command.rejected");
    assert_true(wire_uuid_equal(event.scheduled, id_of(SECOND)));
    assert_int_equal(event.result, RESULT_INSUFFICIENT_FUNDS);
}

/* Cancelled, executed, gone: by whoever was faster. */
static void what_has_ended_is_left_alone(void **state)
{
    static const uint32_t ended[] = {NONE + TARGETS, EXECUTED, CANCELLED, MOVED};

    (void)state;
    for (uint32_t i = 0; i < sizeof ended / sizeof *ended; i++) {
        begin();
        struct work *work = add_json("batch", "{\"commands\":[" SPLIT "]}", ended[i]);
        run();
        for (uint32_t k = 0; k <= 2; k++) assert_int_equal(work[k].origin, ORIGIN_SKIPPED);
        assert_false(account("a")->changed);
    }
    begin();
    add_json("deposit", "{\"account\":\"a\",\"amount\":1}", PENDING);
    struct work *again = add_json("deposit", "{\"account\":\"a\",\"amount\":1}", PENDING);
    run();
    assert_int_equal(again->origin, ORIGIN_SKIPPED);
    assert_int_equal(account("a")->balance, A_HAS + 1);
}

/* It is nobody's dead letter: how it failed is its outcome. */
static void what_cannot_be_executed_ends_all_the_same(void **state)
{
    (void)state;
    begin();
    struct work *garbled = add_json("deposit", "{\"account\":", PENDING);
    struct work *isolated = add_json("batch", "{\"commands\":[" SPLIT "]}", SECOND);
    isolated->isolated = true;
    run();
    assert_int_equal(garbled->origin, ORIGIN_DECIDED);
    assert_int_equal(garbled->outcome.result, RESULT_MALFORMED);
    assert_int_equal(isolated->outcome.result, RESULT_INTERNAL);
    for (uint32_t i = 1; i <= 2; i++) assert_int_equal(isolated[i].origin, ORIGIN_SKIPPED);
    assert_int_equal(batch.accounts_count, 0); /* its legs lock nothing any more */
    assert_true(ledger_is_kept(garbled) && ledger_is_kept(isolated));
    compose();
    for (uint32_t i = 0; i < rows_count; i++)
        assert_int_not_equal(rows[i].kind, OUTBOX_DEAD_LETTER);
}

/* A key that was used meanwhile: of a batch that came just now it is nobody's outcome. */
static void a_batch_with_a_used_key_ends_too(void **state)
{
    (void)state;
    begin();
    struct properties_out properties = USUAL;
    struct incoming incoming = {.body = WIRE_BYTES("{\"account\":\"a\",\"amount\":1}")};
    properties.type = text_of("deposit");
    properties.message_id = text_of("l2");
    assert_true(properties_write(&properties, &arena, &incoming.properties));
    add_incoming(incoming);
    struct work *parent = add_json("batch", "{\"commands\":[" SPLIT "]}", PENDING);
    run();
    assert_int_equal(parent->origin, ORIGIN_DECIDED);
    assert_int_equal(parent->outcome.result, RESULT_KEY_REUSED);
    assert_int_equal(account("a")->balance, A_HAS + 1);
}

static void the_events_of_a_batch_tell_that_it_was_scheduled(void **state)
{
    char problem[PROBLEM_SIZE];
    struct event_list list;

    (void)state;
    begin();
    struct work *parent = add_json("batch", "{\"commands\":[" SPLIT "]}", PENDING);
    run();
    assert_int_equal(parent->outcome.result, RESULT_APPLIED);
    assert_null(ledger_ends(&parent[1]));
    compose();
    assert_true(text_equal(rows[1].destination, text_of("batch.applied")));
    assert_true(event_list_decode(codec, rows[1].body, ENCODING_MSGPACK, &arena, &list, problem));
    assert_true(wire_uuid_equal(list.scheduled, id_of(PENDING)));
    assert_true(uuid_is_zero(&list.events[0].scheduled));
}

/* A cancellation is undone with the other commands of its batch. */
static void a_cancellation_in_a_batch_is_undone_with_it(void **state)
{
    static const char *const json[] = {
        "{\"commands\":[{\"type\":\"cancel\",\"idempotency_key\":\"l1\",\"transaction\":"
        "\"c9000000-0000-0000-0000-000000000000\"},{\"type\":\"withdraw\","
        "\"idempotency_key\":\"l2\",\"account\":\"a\",\"amount\":1000}]}",
        "{\"commands\":[{\"type\":\"cancel\",\"idempotency_key\":\"l1\",\"transaction\":"
        "\"c9000000-0000-0000-0000-000000000000\"},{\"type\":\"withdraw\","
        "\"idempotency_key\":\"l2\",\"account\":\"a\",\"amount\":10}]}"};
    struct uuid id = id_of(PENDING);

    (void)state;
    assert_int_equal(id.bytes[0], 0xc9); /* as it says there */
    for (uint32_t paid = 0; paid < 2; paid++) {
        begin();
        struct work *parent = add_json("batch", json[paid], NONE);
        struct work *due = add_json("deposit", "{\"account\":\"b\",\"amount\":1}", PENDING);
        run();
        assert_int_equal(parent->outcome.result,
                         paid == 1 ? RESULT_APPLIED : RESULT_INSUFFICIENT_FUNDS);
        assert_int_equal(due->origin, paid == 1 ? ORIGIN_SKIPPED : ORIGIN_DECIDED);
        assert_int_equal(account("b")->balance, paid == 1 ? 0 : 1);
    }
}

static void it_is_told(void **state)
{
    char problem[PROBLEM_SIZE];
    struct reply reply;

    (void)state;
    begin();
    struct work *early = add_json("transfer",
                                  "{\"from\":\"a\",\"to\":\"b\",\"amount\":3,"
                                  "\"not_before\":\"2026-11-23T12:00:01Z\"}",
                                  NONE);
    struct command command = {.type = COMMAND_CANCEL, .transaction = id_of(PENDING)};
    add(&command, 0);
    command.transaction = id_of(CANCELLED);
    add(&command, 0);
    run();
    compose();
    assert_int_equal(rows_count, 4);
    assert_true(reply_decode(codec, rows[0].body, ENCODING_JSON, &arena, &reply, problem));
    assert_int_equal(reply.result, RESULT_SCHEDULED);
    assert_int_equal(reply.scheduled_us, NOW + S);
    assert_true(wire_uuid_equal(reply.transaction, early->id));
    struct event event = event_at(1, "command.scheduled");
    assert_true(wire_uuid_equal(event.transaction, early->id));
    assert_true(text_equal(event.account, text_of("a")));
    assert_true(text_equal(event.counterparty, text_of("b")));
    assert_int_equal(event.amount, 3);
    assert_int_equal(event.scheduled_us, NOW + S);
    assert_true(uuid_is_zero(&event.scheduled));
    event = event_at(2, "command.cancelled");
    assert_true(wire_uuid_equal(event.scheduled, id_of(PENDING)));
    event = event_at(3, "command.rejected");
    assert_true(wire_uuid_equal(event.scheduled, id_of(CANCELLED)));
    assert_true(uuid_is_zero(&event.refers));
}

/* --- setting up ---------------------------------------------------------------------------- */

static int open_all(void **state)
{
    struct err err = {0};

    (void)state;
    return codec_open(&codec, &err) && arena_open(&arena, 8 << 20, &err) &&
                   arena_open(&scratch, 8 << 20, &err) && names_make(&names, "ledger", 4, &err)
               ? 0
               : -1;
}

static int close_all(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    arena_close(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_waits_for_its_time),
        cmocka_unit_test(a_batch_waits_as_a_whole),
        cmocka_unit_test(what_is_kept_is_the_command_without_its_time),
        cmocka_unit_test(a_cancellation_is_refused_in_this_order),
        cmocka_unit_test(what_is_scheduled_is_nothing_else),
        cmocka_unit_test(an_execution_is_decided_as_any_command),
        cmocka_unit_test(what_has_ended_is_left_alone),
        cmocka_unit_test(what_cannot_be_executed_ends_all_the_same),
        cmocka_unit_test(a_batch_with_a_used_key_ends_too),
        cmocka_unit_test(the_events_of_a_batch_tell_that_it_was_scheduled),
        cmocka_unit_test(a_cancellation_in_a_batch_is_undone_with_it),
        cmocka_unit_test(it_is_told),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
