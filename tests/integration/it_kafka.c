/*
 * it_kafka.c - events to Kafka beside RabbitMQ: the same ones, in order for each account, while
 * either of the two is away and the relay is killed; and an outbox that is kept for both.
 *
 * Commands come by ledgerctl import, which needs no broker. Needs LEDGER_DATABASE_URL,
 * LEDGER_AMQP_URL, LEDGER_BIN, LEDGER_SERVERS and LEDGER_SERVERS_NAME.
 */
#include "outbox/sinks_pg.h"
#include "protocol/event_list.h"
#include "tests/kafka.h"
#include "tests/whole.h"

enum {
    ACCOUNTS = 12,
    ID_SIZE = 96,
    TOLD_MAX = 40000,
    WAIT_MS = 40000,
    LINE_SIZE = 512,
    COMMAND_SIZE = 1024,
};

struct told { /* an event, the first time it came */
    uint64_t hash;
    char message_id[ID_SIZE], account[ID_LENGTH_MAX + 1];
    uint64_t body;
};

struct telling {
    struct told *told;
    uint32_t count, repeats;
};

static struct telling by_amqp, by_kafka;
static struct codec *codec;
static struct arena scratch;
static uint32_t files, most_epoch;
static int64_t least_position;
static struct db *owner;
static pid_t amqp_relay, kafka_relay;

/* --- what is told ------------------------------------------------------------------------ */

static uint64_t hash(const void *data, size_t size) /* FNV-1a */
{
    const uint8_t *bytes = data;
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

static const struct told *find(const struct telling *telling, const char *message_id)
{
    uint64_t wanted = hash(message_id, strlen(message_id));

    for (uint32_t i = telling->count; i-- > 0;)
        if (telling->told[i].hash == wanted && strcmp(telling->told[i].message_id, message_id) == 0)
            return &telling->told[i];
    return NULL;
}

/* A repeat bears the same id and is the same in everything. */
static void add(struct telling *telling, const char *message_id, struct text account,
                struct bytes body)
{
    const struct told *before = find(telling, message_id);
    struct told *told = &telling->told[telling->count];
    uint64_t body_hash = hash(body.data, body.size);

    assert_true(message_id[0] != '\0');
    if (before != NULL) {
        if (before->body != body_hash || !text_equal(text_of(before->account), account))
            fail_msg("%s is two events", message_id);
        telling->repeats++;
        return;
    }
    assert_true(telling->count < TOLD_MAX);
    told->hash = hash(message_id, strlen(message_id));
    told->body = body_hash;
    (void)snprintf(told->message_id, sizeof told->message_id, "%s", message_id);
    assert_true(text_copy(account, told->account, sizeof told->account));
    telling->count++;
}

static void take_record(const rd_kafka_message_t *message)
{
    char id[ID_SIZE], epoch[24], position[24], type[64], trace[64];
    struct text key = {message->key, (uint32_t)message->key_len};

    kafka_header(message, "message_id", id, sizeof id);
    kafka_header(message, "x-ledger-epoch", epoch, sizeof epoch);
    kafka_header(message, "x-ledger-position", position, sizeof position);
    kafka_header(message, "type", type, sizeof type);
    kafka_header(message, "traceparent", trace, sizeof trace);
    assert_in_range(strtoul(epoch, NULL, 10), 1, 100);
    if (strtol(position, NULL, 10) < least_position) least_position = strtol(position, NULL, 10);
    assert_true(type[0] != '\0');
    assert_int_equal(strlen(trace), 55);
    if (strtoul(epoch, NULL, 10) > most_epoch) most_epoch = (uint32_t)strtoul(epoch, NULL, 10);
    add(&by_kafka, id, key, (struct bytes){message->payload, (uint32_t)message->len});
}

static void take_message(void *context, const struct delivery *delivery)
{
    char id[ID_SIZE], whole_id[ID_SIZE], problem[PROBLEM_SIZE];
    struct properties properties;
    struct event_list list;

    (void)context;
    arena_reset(&scratch);
    assert_true(properties_parse(delivery->properties, &properties));
    assert_true(text_copy(properties.message_id, whole_id, sizeof whole_id));
    if (!event_list_decode(codec, delivery->body, ENCODING_MSGPACK, &scratch, &list, problem))
        fail_msg("an event is none: %s", problem);
    bool is_batch = text_equal(properties.type, text_of(EVENT_LIST_WORD));
    for (uint32_t i = 0; i < list.count; i++) {
        struct writer writer = writer_in(&scratch);
        struct bytes body;
        event_pack(&writer, &list.events[i]);
        assert_true(writer_keep(&writer, &scratch, &body));
        (void)snprintf(id, sizeof id, is_batch ? "%s:%u" : "%s", whole_id, i);
        add(&by_amqp, id, list.events[i].account, body);
    }
}

/* The same events, and of each account in the same order. */
static void compare(void)
{
    for (uint32_t i = 0; i < by_amqp.count; i++)
        if (find(&by_kafka, by_amqp.told[i].message_id) == NULL)
            fail_msg("%s is not in Kafka", by_amqp.told[i].message_id);
    assert_int_equal(by_kafka.count, by_amqp.count);
    for (uint32_t i = 0; i < by_amqp.count; i++) {
        const struct told *told = &by_amqp.told[i], *other = find(&by_kafka, told->message_id);
        assert_true(told->body == other->body);
        assert_string_equal(told->account, other->account);
        for (uint32_t k = i + 1; k < by_amqp.count; k++) {
            if (strcmp(by_amqp.told[k].account, told->account) != 0) continue;
            if (find(&by_kafka, by_amqp.told[k].message_id) < other)
                fail_msg("%s came before %s in Kafka", by_amqp.told[k].message_id,
                         told->message_id);
            break;
        }
    }
}

/* --- what is to be told ------------------------------------------------------------------ */

static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
    char command[COMMAND_SIZE], arguments[COMMAND_SIZE / 2];
    const char *folder = getenv("LEDGER_BIN");
    va_list list;

    va_start(list, format);
    (void)vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    (void)snprintf(command, sizeof command,
                   "%s/ledgerctl %s >>build/test-logs/whole/%s-ctl.log 2>&1",
                   folder == NULL ? "build/gcc-release/bin" : folder, arguments, whole.prefix);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_line(FILE *file, uint32_t i)
{
    uint32_t account = i % ACCOUNTS, other = (i + 1 + i / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;

    if (i % 40 == 7)
        (void)fprintf(file,
                      "{\"type\":\"batch\",\"commands\":["
                      "{\"type\":\"transfer\",\"idempotency_key\":\"b%u/"
                      "1\",\"from\":\"a%u\",\"to\":\"a%u\",\"amount\":2},"
                      "{\"type\":\"deposit\",\"idempotency_key\":\"b%u/"
                      "2\",\"account\":\"a%u\",\"amount\":1}]}\n",
                      files * 100000 + i, account,
                      other == account ? (account + 1) % ACCOUNTS : other, files * 100000 + i,
                      other);
    else if (i % 10 == 3 && other != account)
        (void)fprintf(file,
                      "{\"type\":\"transfer\",\"from\":\"a%u\",\"to\":\"a%u\",\"amount\":1}\n",
                      account, other);
    else if (i % 25 == 4)
        (void)fprintf(file, "{\"type\":\"hold\",\"account\":\"a%u\",\"amount\":1}\n", account);
    else
        (void)fprintf(file, "{\"type\":\"deposit\",\"account\":\"a%u\",\"amount\":%u}\n", account,
                      3 + i % 7);
}

/* So many commands, decided and stored, with their events in the outbox. */
static void decide(uint32_t commands)
{
    char path[128];

    (void)snprintf(path, sizeof path, "build/test-logs/whole/%s-%u.jsonl", whole.prefix, files);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (uint32_t i = 0; files == 0 && i < ACCOUNTS; i++)
        (void)fprintf(
            file,
            "{\"type\":\"open_account\",\"account\":\"a%u\",\"user_id\":\"u\",\"asset\":\"EUR\"}\n"
            "{\"type\":\"deposit\",\"account\":\"a%u\",\"amount\":1000}\n",
            i, i);
    for (uint32_t i = 0; i < commands; i++) write_line(file, i);
    assert_int_equal(fclose(file), 0);
    files++;
    assert_int_equal(run("import %s --events --no-verify", path), 0);
}

static const struct statement LEFT_AMQP = {
    "it_left_amqp", "SELECT count(*) FROM outbox, outbox_cursor"
                    " WHERE sink = 'amqp' AND NOT pg_visible_in_snapshot(xid, snapshot)"};
static const struct statement LEFT_KAFKA = {
    "it_left_kafka", "SELECT count(*) FROM outbox, outbox_cursor"
                     " WHERE sink = 'kafka' AND NOT pg_visible_in_snapshot(xid, snapshot)"};
static const struct statement SLOT = {"it_slot", "SELECT slot::bigint FROM outbox_rotation"};
static const struct statement LAST = {"it_last", "SELECT max(id) FROM outbox"};
static const struct statement ROWS = {"it_rows", "SELECT count(*) FROM outbox WHERE kind = 0"};

static void await(const struct statement *what, int64_t least, int64_t most)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;

    for (int64_t value; (value = number(owner, what)) < least || value > most;) {
        if (clock_monotonic_ms() > deadline_ms) fail_msg("%s is %jd", what->name, (intmax_t)value);
        clock_sleep_ms(20);
    }
}

/* --- processes --------------------------------------------------------------------------- */

static void start_amqp(void)
{
    assert_int_equal(setenv("LEDGER_SINK", "amqp", 1), 0);
    amqp_relay = process_start("ledger-relay", "amqp");
}

static void start_kafka(void)
{
    assert_int_equal(setenv("LEDGER_SINK", "kafka", 1), 0);
    kafka_relay = process_start("ledger-relay", "kafka");
}

static bool servers(const char *command)
{
    const char *program = getenv("LEDGER_SERVERS"), *name = getenv("LEDGER_SERVERS_NAME");
    char text[COMMAND_SIZE];

    (void)snprintf(text, sizeof text, "%s %s %s rabbitmq >/dev/null 2>&1",
                   program == NULL ? "scripts/servers" : program, command,
                   name == NULL ? "test" : name);
    return system(text) == 0;
}

/* Of a relay, by its name here; -1 when there is none. */
static double metric(const char *name, const char *relay)
{
    char command[COMMAND_SIZE], line[64] = "";

    (void)snprintf(
        command, sizeof command,
        "port=$(grep -oE 'health on port [0-9]+' build/test-logs/whole/%s-%s.log |"
        " tail -n 1 | grep -oE '[0-9]+');"
        " curl -sf http://127.0.0.1:$port/metrics | awk -v name='%s' '$1 == name { print $2 }'",
        whole.prefix, relay, name);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    bool got = fgets(line, sizeof line, pipe) != NULL;
    (void)pclose(pipe);
    return got ? strtod(line, NULL) : -1;
}

static void await_metric(const char *name, const char *relay, double least, double most)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;

    for (double value; (value = metric(name, relay)) < least || value > most;) {
        if (clock_monotonic_ms() > deadline_ms) fail_msg("%s of %s is %g", name, relay, value);
        clock_sleep_ms(50);
    }
}

#define UNPUBLISHED "ledger_outbox_oldest_unpublished_seconds{publisher=\"kafka\"}"
#define LEADS "ledger_relay_leader{publisher=\"kafka\"}"
#define BLOCKED "ledger_relay_blocked{publisher=\"kafka\"}"
#define TRANSIENT "ledger_transient_errors_total{dependency=\"kafka\"}"

static bool all_messages(void *context)
{
    int64_t *left = context;
    return *left == 0;
}

static void count_message(void *context, const struct delivery *delivery)
{
    int64_t *left = context;
    uint32_t before = by_amqp.count;

    take_message(NULL, delivery);
    if (by_amqp.count > before) (*left)--;
}

static void read_all(void)
{
    int64_t rows = number(owner, &ROWS);

    whole_collect(whole.events, all_messages, count_message, &rows);
    kafka_read(take_record);
    print_message("%u events; %u came again from RabbitMQ, %u from Kafka; epoch %u\n",
                  by_amqp.count, by_amqp.repeats, by_kafka.repeats, most_epoch);
}

static int set_up(void **state)
{
    if (whole_begin(state) != 0) return -1;
    kafka_begin();
    by_amqp.count = by_amqp.repeats = by_kafka.count = by_kafka.repeats = 0;
    files = most_epoch = 0;
    least_position = INT64_MAX;
    owner = session_as(NULL);
    (void)mkdir("build/test-logs", 0755);
    (void)mkdir("build/test-logs/whole", 0755);
    return setenv("LEDGER_TIMEOUT_MS", "1000", 1);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"LEDGER_SINK", "LEDGER_TIMEOUT_MS",
                                        "LEDGER_OUTBOX_ROWS_MAX", "LEDGER_SAVE_EVERY_MS",
                                        "LEDGER_READ_TIMEOUT_MS"};

    db_close(owner);
    owner = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) (void)unsetenv(names[i]);
    int ended = whole_end(state);
    kafka_end();
    return ended;
}

/* --- tests ------------------------------------------------------------------------------- */

static const struct statement SAVING = {
    "it_saving",
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    "   AND datname = current_database()"
    "   AND application_name LIKE 'ledger-relay-kafka%'"};

/* In the middle of things, when it has published and may not yet say so: its cursor is locked. */
static void kill_while_it_saves(void)
{
    struct db *other = session_as(NULL);

    await_metric(LEADS, "kafka", 1, 1);
    sql(other, "BEGIN; SELECT FROM outbox_cursor WHERE sink = 'kafka' FOR UPDATE");
    decide(700);
    await(&SAVING, 1, 2);
    process_kill(kafka_relay);
    sql(other, "COMMIT");
    db_close(other);
    start_kafka();
}

static void events_are_those_of_amqp_over_an_outage_of_either(void **state)
{
    enum { KILLS = 3 };

    (void)state;
    assert_int_equal(run("sink add kafka"), 0);
    start_amqp();
    start_kafka();
    decide(400);
    await(&LEFT_KAFKA, 0, 0);

    kafka_down();
    decide(1500);
    await(&LEFT_AMQP, 0, 0); /* it is not held up */
    assert_true(number(owner, &LEFT_KAFKA) > 0);
    await_metric(BLOCKED, "kafka", 1, 1);
    await_metric(UNPUBLISHED, "kafka", 1, WAIT_MS);
    kafka_up();
    await_metric(BLOCKED, "kafka", 0, 0);
    for (uint32_t i = 0; i < KILLS; i++) kill_while_it_saves();
    await(&LEFT_KAFKA, 0, 0);
    await_metric(UNPUBLISHED, "kafka", 0, 0.5);

    assert_true(servers("stop"));
    decide(1500);
    await(&LEFT_KAFKA, 0, 0); /* nor is this one */
    assert_true(number(owner, &LEFT_AMQP) > 0);
    assert_true(servers("start"));
    await(&LEFT_AMQP, 0, 0);

    read_all();
    compare();
    assert_true(by_kafka.count > 5000);
    assert_true(most_epoch > KILLS);
    assert_true(by_kafka.repeats >= KILLS);
    process_end(kafka_relay, 5000 + PAUSE_MS);
    process_end(amqp_relay, 5000 + PAUSE_MS);
}

static void what_kafka_refuses_comes_again_in_order(void **state)
{
    static const rd_kafka_resp_err_t passing[] = {
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT};
    static const rd_kafka_resp_err_t final[] = {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                                RD_KAFKA_RESP_ERR_INVALID_RECORD};

    (void)state;
    assert_int_equal(run("sink add kafka"), 0);
    start_amqp();
    rd_kafka_mock_push_request_errors_array(kafka.cluster, KAFKA_PRODUCE, 4, passing);
    assert_int_equal(setenv("LEDGER_READ_TIMEOUT_MS", "3000", 1), 0);
    start_kafka();
    decide(1000);
    await(&LEFT_KAFKA, 0, 0);
    for (uint32_t i = 0; i < 2; i++) {
        rd_kafka_mock_push_request_errors_array(kafka.cluster, KAFKA_PRODUCE, 1, &final[i]);
        decide(500);
        await(&LEFT_KAFKA, 0, 0);
    }
    kafka_down();
    decide(300);
    await_metric(TRANSIENT, "kafka", 3, 1000); /* it does not wait for ever */
    kafka_up();
    await(&LEFT_KAFKA, 0, 0);
    await(&LEFT_AMQP, 0, 0);
    read_all();
    compare();
    assert_true(most_epoch >= 4); /* it began anew each time that nothing else helped */
    process_end(kafka_relay, 5000 + PAUSE_MS);
    process_end(amqp_relay, 5000 + PAUSE_MS);
}

/* One that is behind holds up the rotation, visibly, and no other sink; until it has come, or is
 * dropped. */
static void the_outbox_is_kept_for_a_sink_that_is_registered(void **state)
{
    struct sink_state states[SINKS_MAX];
    uint32_t count = 0;

    (void)state;
    assert_int_equal(setenv("LEDGER_OUTBOX_ROWS_MAX", "300", 1), 0);
    assert_int_equal(setenv("LEDGER_SAVE_EVERY_MS", "20", 1), 0);
    start_amqp();
    start_kafka(); /* waits to be registered */
    decide(50);
    int64_t before = number(owner, &ROWS), last_before = number(owner, &LAST);
    await(&LEFT_AMQP, 0, 0);
    process_kill(kafka_relay);
    assert_int_equal(run("sink add kafak"), 1);
    assert_int_equal(run("sink add kafka"), 0);
    assert_int_equal(run("sink add kafka"), 1);
    for (int64_t slot = 1; slot <= 2; slot++) {
        decide(500);
        await(&SLOT, slot, slot);
    }
    decide(500);
    await(&LEFT_AMQP, 0, 0);
    await_metric("ledger_outbox_rotation_held_seconds", "amqp", 1.5, WAIT_MS);
    assert_true(metric("ledger_outbox_bytes", "amqp") > 3 * 500 * 100);
    assert_int_equal(number(owner, &SLOT), 2);
    must(sinks_list(owner, states, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(states[1].name, "kafka");
    assert_true(states[0].leads);
    assert_false(states[1].leads);
    assert_int_equal(states[1].rows, number(owner, &ROWS) - before);
    int64_t rows = number(owner, &ROWS) - before;

    start_kafka();
    await(&SLOT, 0, 0);
    await_metric("ledger_outbox_rotation_held_seconds", "amqp", 0, 0);
    await(&LEFT_KAFKA, 0, 0);
    kafka_read(take_record);
    assert_true(by_kafka.count >= rows);         /* a batch is several */
    assert_true(least_position > last_before);   /* it was not registered then */
    assert_int_equal(run("sink drop kafka"), 5); /* it runs */
    process_end(kafka_relay, 5000 + PAUSE_MS);

    for (int64_t slot = 1; slot <= 2; slot++) {
        decide(500);
        await(&SLOT, slot, slot);
    }
    assert_int_equal(run("sink drop kafka"), 0);
    assert_int_equal(run("sink drop kafka"), 1);
    assert_int_equal(run("sink drop amqp"), 1);
    decide(500);
    await(&SLOT, 0, 0);
    process_end(amqp_relay, 5000 + PAUSE_MS);
}

static int group_set_up(void **state)
{
    (void)state;
    by_amqp.told = calloc(TOLD_MAX, sizeof *by_amqp.told);
    by_kafka.told = calloc(TOLD_MAX, sizeof *by_kafka.told);
    assert_true(by_amqp.told != NULL && by_kafka.told != NULL);
    must(codec_open(&codec, &err));
    must(arena_open(&scratch, 8 << 20, &err));
    return 0;
}

static int group_tear_down(void **state)
{
    (void)state;
    free(by_amqp.told);
    free(by_kafka.told);
    codec_close(codec);
    arena_close(&scratch);
    return 0;
}

#define ON_SERVERS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SERVERS(events_are_those_of_amqp_over_an_outage_of_either),
        ON_SERVERS(what_kafka_refuses_comes_again_in_order),
        ON_SERVERS(the_outbox_is_kept_for_a_sink_that_is_registered),
    };
    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
