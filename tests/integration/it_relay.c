/*
 * it_relay.c - the real ledger-relay between a real PostgreSQL and a real RabbitMQ, which are
 * killed, restarted and filled up: every committed row arrives, each account's in order but for
 * repeats.
 *
 * Needs LEDGER_DATABASE_URL, LEDGER_AMQP_URL, LEDGER_BIN (the folder of the program), and for
 * restarts and alarms LEDGER_SERVERS and LEDGER_SERVERS_NAME.
 */
#include "base/consumer_amqp.h"
#include "base/link_amqp.h"
#include "base/topology_amqp.h"
#include "protocol/names.h"
#include "protocol/properties.h"
#include "tests/outbox.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    RELAYS = 2,
    BATCH = 1000,
    BODY_MAX = 1 << 20,
    TEXT_SIZE = 1024,
    WAIT_MS = 30000,
    SINK = 0, /* numbers of the consumer's queues */
    DEAD = 1,
};

static const char *amqp_url;
static char prefix[PREFIX_LENGTH_MAX], sink_queue[TOPOLOGY_NAME_SIZE];
static struct names names;
static struct names_topology topology;
static struct db *owner, *writer;
static struct consumer *consumer;
static struct arena arena;
static struct delivery deliveries[BATCH];
static pid_t relays[RELAYS];
static char options[RELAYS][TEXT_SIZE]; /* more settings, "NAME=value NAME=value" */
static uint16_t http_port;

static uint32_t last[OUTBOX_ACCOUNTS]; /* of each account, the highest number that has arrived */
static uint32_t arrived, repeats, dead;
static struct bytes dead_properties; /* of the last one; good until the next receive */

static const struct statement SLOT = {"it_slot", "SELECT slot::bigint FROM outbox_rotation"};
static const struct statement EPOCH = {"it_epoch",
                                       "SELECT COALESCE(max(epoch), 0) FROM outbox_cursor"};

/* --- the relay's process ----------------------------------------------------------------- */

static void set_environment(const char *more)
{
    char text[TEXT_SIZE], *rest = text;

    (void)snprintf(text, sizeof text, "%s", more);
    (void)setenv("LEDGER_DATABASE_URL", outbox_url, 1);
    (void)setenv("LEDGER_PREFIX", prefix, 1);
    (void)setenv("LEDGER_SHARDS", "1", 1);
    (void)setenv("LEDGER_HTTP_ADDRESS", "127.0.0.1", 1);
    (void)setenv("LEDGER_HTTP_PORT", "0", 1);
    (void)setenv("LEDGER_LOG_LEVEL", "error", 1);
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        char *value = strchr(word, '=');
        if (value == NULL) continue;
        *value = '\0';
        (void)setenv(word, value + 1, 1);
    }
}

static void relay_start(uint32_t which)
{
    char path[TEXT_SIZE];
    const char *folder = getenv("LEDGER_BIN");

    (void)snprintf(path, sizeof path, "%s/ledger-relay",
                   folder == NULL ? "build/gcc-release/bin" : folder);
    assert_int_equal(relays[which], 0);
    relays[which] = fork();
    assert_true(relays[which] >= 0);
    if (relays[which] > 0) return;
    set_environment(options[which]);
    (void)execl(path, "ledger-relay", (char *)NULL);
    _exit(127);
}

/* Returns how long it took to end. */
static uint64_t relay_end(uint32_t which, int signal, int *status)
{
    uint64_t start_ms = clock_monotonic_ms();

    assert_true(relays[which] > 0);
    assert_int_equal(kill(relays[which], signal), 0);
    assert_int_equal(waitpid(relays[which], status, 0), relays[which]);
    relays[which] = 0;
    return clock_monotonic_ms() - start_ms;
}

static void relay_stop(uint32_t which)
{
    int status = 0;

    (void)relay_end(which, SIGTERM, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void relay_kill(uint32_t which)
{
    int status = 0;

    (void)relay_end(which, SIGKILL, &status);
}

static bool servers(const char *command)
{
    const char *program = getenv("LEDGER_SERVERS"), *name = getenv("LEDGER_SERVERS_NAME");
    char text[TEXT_SIZE], verb[32] = "";
    int skip = 0;

    (void)sscanf(command, "%31s %n", verb, &skip);
    (void)snprintf(text, sizeof text, "%s %s %s %s >/dev/null 2>&1",
                   program == NULL ? "scripts/servers" : program, verb,
                   name == NULL ? "test" : name, command + skip);
    return system(text) == 0;
}

/* --- what arrives ------------------------------------------------------------------------ */

static void consumer_begin(void)
{
    struct consumer_options wanted = {.url = amqp_url,
                                      .name = "it_relay",
                                      .heartbeat_s = 30,
                                      .timeout_ms = 5000,
                                      .body_max = BODY_MAX};

    must(consumer_open(&consumer, &wanted, &err));
    must(consumer_subscribe(consumer, sink_queue, SINK, 2000, &err));
    must(consumer_subscribe(consumer, names.dlq, DEAD, 100, &err));
}

static void take(const struct delivery *delivery)
{
    uint32_t account, value;

    if (delivery->queue == DEAD) {
        dead++;
        dead_properties = delivery->properties;
        return;
    }
    value = row_number(delivery->body, &account);
    assert_in_range(account, 0, OUTBOX_ACCOUNTS - 1);
    if (value > last[account] + 1)
        fail_msg("account %u: row %u arrived after row %u", account, value, last[account]);
    if (value <= last[account]) repeats++;
    if (value <= last[account]) return;
    last[account] = value;
    arrived++;
}

static void receive(uint32_t wait_ms)
{
    uint32_t count = 0;

    arena_reset(&arena);
    must(consumer_fetch(consumer, wait_ms, deliveries, BATCH, &arena, &count, &err));
    for (uint32_t i = 0; i < count; i++) take(&deliveries[i]);
    if (count > 0) must(consumer_ack(consumer, deliveries[count - 1].tag, true, &err));
}

static void receive_until(uint32_t rows)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;

    while (arrived < rows) {
        if (clock_monotonic_ms() > deadline_ms) fail_msg("%u of %u rows arrived", arrived, rows);
        receive(200);
    }
}

static void receive_dead(uint32_t count)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;

    while (dead < count) {
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg("%u of %u dead letters arrived", dead, count);
        receive(200);
    }
}

static void receive_for(uint32_t ms)
{
    uint64_t end_ms = clock_monotonic_ms() + ms;

    while (clock_monotonic_ms() < end_ms) receive(50);
}

/* --- each test --------------------------------------------------------------------------- */

static int set_up(void **state)
{
    struct topology extra;
    struct topology_queue queue = {.arguments = {{"x-queue-type", "quorum", 0, false}},
                                   .arguments_count = 1};
    struct topology_binding binding = {.key = "#"};
    uint32_t random;

    (void)state;
    random_bytes(&random, sizeof random);
    (void)snprintf(prefix, sizeof prefix, "it.relay.%08x", random);
    (void)snprintf(sink_queue, sizeof sink_queue, "%s.sink", prefix);
    must(names_make(&names, prefix, 1, &err));
    names_topology(&names, &topology);
    must(topology_apply(amqp_url, &topology.topology, TOPOLOGY_DECLARE, &err));
    (void)snprintf(queue.name, sizeof queue.name, "%s", sink_queue);
    (void)snprintf(binding.source, sizeof binding.source, "%s", names.events);
    (void)snprintf(binding.destination, sizeof binding.destination, "%s", sink_queue);
    extra = (struct topology){
        .queues = &queue, .queues_count = 1, .bindings = &binding, .bindings_count = 1};
    must(topology_apply(amqp_url, &extra, TOPOLOGY_DECLARE, &err));
    owner = session_as(NULL);
    writer = session_as("ledger_worker");
    sql(owner,
        "TRUNCATE outbox, outbox_cursor; UPDATE outbox_rotation SET slot = 0, rotated_at = now()");
    memset(last, 0, sizeof last);
    memset(options, 0, sizeof options);
    arrived = repeats = dead = 0;
    consumer_begin();
    return 0;
}

static void delete_queue(struct link *link, const char *queue)
{
    (void)amqp_queue_delete(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue), false, false);
    must(link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, &err, "delete"));
}

static struct link *link_begin(void)
{
    struct link_options wanted = {amqp_url, "it_relay", 0, 5000};
    struct link *link = NULL;

    must(link_open(&link, &wanted, &err));
    return link;
}

static int tear_down(void **state)
{
    struct link *link;

    (void)state;
    for (uint32_t i = 0; i < RELAYS; i++)
        if (relays[i] > 0) relay_kill(i);
    consumer_close(consumer);
    consumer = NULL;
    db_close(owner);
    db_close(writer);
    link = link_begin();
    delete_queue(link, sink_queue);
    /* The rest stays. A queue that dead-letters at least once, deleted just after RabbitMQ
     * recovered it, can end the supervisor of all such queues (rabbitmq-server issue 16652). */
    delete_queue(link, names.dlq);
    link_close(link);
    return 0;
}

static void rows_that_commit_out_of_order_arrive(void **state)
{
    struct db *late = session_as("ledger_worker"), *stranger = session_as(NULL);

    (void)state;
    sql(stranger, "BEGIN; SELECT pg_current_xact_id()");
    relay_start(0);
    sql(late, "BEGIN");
    insert_rows(late, 1, 1, 100);
    insert_rows(writer, 2, 1, 100);
    receive_until(100);
    sql(late, "COMMIT");
    insert_rows(writer, 2, 101, 200);
    receive_until(300);
    assert_int_equal(last[1], 100);
    assert_int_equal(last[2], 200);
    relay_stop(0);
    assert_int_equal(repeats, 0);
    db_close(late);
    db_close(stranger);
}

static void a_killed_relay_loses_nothing(void **state)
{
    enum { ROWS = 30000, KILLS = 4 };

    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t account = 0; account < OUTBOX_ACCOUNTS; account++)
            insert_rows(writer, account, i * ROWS / 24 + 1, (i + 1) * ROWS / 24);
    for (uint32_t i = 1; i <= KILLS; i++) {
        relay_start(0);
        receive_until(i * ROWS / (KILLS + 1));
        relay_kill(0);
    }
    relay_start(0);
    receive_until(ROWS);
    relay_stop(0);
    receive_for(300);
    assert_int_equal(arrived, ROWS);
    print_message("killed %d times: %u of %d rows came again\n", KILLS, repeats, ROWS);
    assert_true(number(owner, &EPOCH) == KILLS + 1);
}

static void a_relay_that_ends_in_order_repeats_nothing(void **state)
{
    enum { ROWS = 20000, STOPS = 3 };

    (void)state;
    insert_rows(writer, 1, 1, ROWS);
    for (uint32_t i = 1; i <= STOPS; i++) {
        relay_start(0);
        receive_until(i * ROWS / (STOPS + 1));
        relay_stop(0);
    }
    relay_start(0);
    receive_until(ROWS);
    relay_stop(0);
    receive_for(300);
    /* A page may be half sent when it ends: what was sent of it comes again. */
    assert_in_range(repeats, 0, STOPS * 256);
}

static void insert_dead_letter(const char *properties)
{
    sql(writer,
        "INSERT INTO outbox (slot, kind, destination, properties, body)"
        " SELECT slot, 2, 'somewhere', '%s', 'the original' FROM outbox_rotation",
        properties);
}

static void an_unroutable_dead_letter_holds_back_and_recovers(void **state)
{
    struct link *link = link_begin();
    struct properties properties;

    (void)state;
    (void)snprintf(options[0], TEXT_SIZE, "LEDGER_TOPOLOGY=none LEDGER_LOG_LEVEL=error");
    (void)amqp_queue_unbind(link->state, LINK_CHANNEL, amqp_cstring_bytes(names.dlq),
                            amqp_cstring_bytes(names.dlx), amqp_cstring_bytes("#"),
                            amqp_empty_table);
    must(link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, &err, "unbind"));
    relay_start(0);
    insert_rows(writer, 1, 1, 10);
    receive_until(10);
    insert_dead_letter("\\x10800202313a"); /* message_id "1:" */
    insert_rows(writer, 1, 11, 20);
    receive_for(1500);
    assert_int_equal(dead, 0);
    assert_int_equal(number(owner, &EPOCH) > 2, 1); /* it has been trying */
    (void)amqp_queue_bind(link->state, LINK_CHANNEL, amqp_cstring_bytes(names.dlq),
                          amqp_cstring_bytes(names.dlx), amqp_cstring_bytes("#"), amqp_empty_table);
    must(link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, &err, "bind"));
    receive_dead(1);
    assert_true(properties_parse(dead_properties, &properties));
    assert_true(text_equal(properties.message_id, text_of("1:")));
    receive_until(20);
    relay_stop(0);
    link_close(link);
}

static void a_row_that_amqp_cannot_carry_holds_up_nobody(void **state)
{
    (void)state;
    relay_start(0);
    insert_rows(writer, 1, 1, 10);
    insert_dead_letter("\\x0000");   /* no properties at all: fine */
    insert_dead_letter("\\xffff01"); /* no properties of AMQP */
    insert_rows(writer, 1, 11, 20);
    receive_until(20);
    receive_dead(2);
    relay_stop(0);
    assert_int_equal(repeats, 0);
    assert_int_equal(dead, 2);
}

static void rotation_under_load_loses_nothing(void **state)
{
    uint32_t rows = 0, rotations = 0;
    int64_t slot = 0;
    uint64_t end_ms;

    (void)state;
    (void)snprintf(options[0], TEXT_SIZE, "LEDGER_OUTBOX_ROWS_MAX=500 LEDGER_SAVE_EVERY_MS=50");
    relay_start(0);
    end_ms = clock_monotonic_ms() + 8000;
    while (clock_monotonic_ms() < end_ms) {
        insert_rows(writer, rows / 50 % OUTBOX_ACCOUNTS, rows / (50 * OUTBOX_ACCOUNTS) * 50 + 1,
                    rows / (50 * OUTBOX_ACCOUNTS) * 50 + 50);
        rows += 50;
        receive(1);
        int64_t now = number(owner, &SLOT);
        rotations += now != slot;
        slot = now;
    }
    receive_until(rows);
    relay_stop(0);
    print_message("%u rows, %u rotations\n", rows, rotations);
    assert_true(rotations >= 3); /* the first partition was emptied */
    assert_int_equal(repeats, 0);
}

static void one_of_two_leads_and_the_other_takes_over(void **state)
{
    enum { ROWS = 20000 };

    (void)state;
    relay_start(0);
    insert_rows(writer, 1, 1, 10);
    receive_until(10);
    relay_start(1);
    receive_for(1500);
    assert_int_equal(number(owner, &EPOCH), 1);
    insert_rows(writer, 1, 11, ROWS);
    receive_until(ROWS / 3);
    relay_kill(0);
    receive_until(ROWS);
    assert_int_equal(number(owner, &EPOCH), 2);
    relay_stop(1);
}

static void a_lost_database_session_is_replaced(void **state)
{
    enum { ROWS = 20000 };

    (void)state;
    relay_start(0);
    insert_rows(writer, 1, 1, ROWS);
    for (uint32_t i = 1; i <= 3; i++) {
        receive_until(i * ROWS / 4);
        sql(owner,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'ledger-relay%%'");
    }
    receive_until(ROWS);
    relay_stop(0);
}

static void a_broker_that_restarts_is_waited_for(void **state)
{
    (void)state;
    relay_start(0);
    insert_rows(writer, 1, 1, 1000);
    receive_until(1000);
    consumer_close(consumer);
    consumer = NULL;
    if (!servers("stop rabbitmq")) fail_msg("could not stop the broker");
    insert_rows(writer, 1, 1001, 2000);
    clock_sleep_ms(500);
    if (!servers("start rabbitmq")) fail_msg("could not start the broker");
    insert_rows(writer, 1, 2001, 3000);
    consumer_begin();
    receive_until(3000);
    relay_stop(0);
}

/* --- what it tells of itself ------------------------------------------------------------- */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    (void)close(listener);
    return ntohs(address.sin_port);
}

static void http_get(const char *path, char *out, size_t out_size)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int client = socket(AF_INET, SOCK_STREAM, 0);
    size_t length = 0;

    out[0] = '\0';
    assert_true(client >= 0);
    if (connect(client, (struct sockaddr *)&address, sizeof address) == 0 &&
        dprintf(client, "GET %s HTTP/1.0\r\n\r\n", path) > 0)
        for (ssize_t got; (got = read(client, out + length, out_size - length - 1)) > 0;)
            length += (size_t)got;
    out[length] = '\0';
    (void)close(client);
}

static double metric(const char *name)
{
    static char page[256 * 1024];
    char line[TEXT_SIZE];

    http_get("/metrics", page, sizeof page);
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(page, line);
    return found == NULL ? -1 : strtod(found + strlen(line), NULL);
}

/* However long it takes, as long as it moves. */
static void await_metric(const char *name, double least, double most)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;
    double before = -1, value;

    while ((value = metric(name)) < least || value > most) {
        if (value > before || value < before) deadline_ms = clock_monotonic_ms() + WAIT_MS;
        if (clock_monotonic_ms() > deadline_ms) fail_msg("%s is %g", name, value);
        before = value;
        receive(50);
    }
}

static void serve_metrics(void)
{
    http_port = free_port();
    (void)snprintf(options[0], TEXT_SIZE, "LEDGER_HTTP_PORT=%u", http_port);
}

static void a_blocked_relay_waits_says_so_and_ends_quickly(void **state)
{
    int status = 0;

    (void)state;
    serve_metrics();
    relay_start(0);
    insert_rows(writer, 1, 1, 100);
    receive_until(100);
    await_metric("ledger_relay_leader", 1, 1);
    assert_true(servers("rabbitmqctl set_vm_memory_high_watermark 0"));
    insert_rows(writer, 1, 101, 200);
    await_metric("ledger_relay_blocked", 1, 1);
    await_metric("ledger_outbox_oldest_unpublished_seconds{publisher=\"amqp\"}", 0.5, 60);
    assert_true(servers("rabbitmqctl set_vm_memory_high_watermark 0.4"));
    receive_until(200);
    await_metric("ledger_relay_blocked", 0, 0);
    await_metric("ledger_outbox_oldest_unpublished_seconds{publisher=\"amqp\"}", 0, 0.2);
    assert_int_equal(
        metric("ledger_outbox_published_total{publisher=\"amqp\",result=\"confirmed\"}"), 200);

    assert_true(servers("rabbitmqctl set_vm_memory_high_watermark 0"));
    insert_rows(writer, 1, 201, 300);
    await_metric("ledger_relay_blocked", 1, 1);
    uint64_t took_ms = relay_end(0, SIGTERM, &status);
    assert_true(servers("rabbitmqctl set_vm_memory_high_watermark 0.4"));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(took_ms < 2000 + PAUSE_MS);
    relay_start(0);
    receive_until(300);
    relay_stop(0);
}

static uint64_t peak_kib(pid_t pid)
{
    char path[64], line[256];
    unsigned long kib = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %lu", &kib) == 1) break;
    (void)fclose(file);
    return kib;
}

static void a_large_backlog_takes_little_memory(void **state)
{
    enum { ROWS = 200000, PADDING = 292, PEAK_KIB = 64 * 1024 };
    uint64_t start_ms, took_ms;

    (void)state;
    serve_metrics();
    for (uint32_t i = 0; i < 10; i++) insert_rows(owner, 1, i * ROWS / 10 + 1, (i + 1) * ROWS / 10);
    sql(owner, "UPDATE outbox SET body = body || decode(repeat('ab', %d), 'hex')", PADDING);
    relay_start(0);
    receive_until(1);
    start_ms = clock_monotonic_ms();
    await_metric("ledger_outbox_published_total{publisher=\"amqp\",result=\"confirmed\"}", ROWS,
                 ROWS);
    took_ms = clock_monotonic_ms() - start_ms;
    uint64_t peak = peak_kib(relays[0]);
    print_message("%d rows of 300 bytes in %ju ms: %ju a second; at most %ju KiB\n", ROWS,
                  (uintmax_t)took_ms, (uintmax_t)(ROWS * 1000ULL / took_ms), (uintmax_t)peak);
    assert_true(peak < PEAK_KIB);
    receive_until(ROWS);
    relay_stop(0);
    assert_int_equal(repeats, 0);
}

static int group_set_up(void **state)
{
    amqp_url = getenv("LEDGER_AMQP_URL");
    if (amqp_url == NULL) fail_msg("LEDGER_AMQP_URL is not set");
    must(arena_open(&arena, 2 * consumer_arena_least(BODY_MAX), &err));
    return database_make(state);
}

static int group_tear_down(void **state)
{
    arena_close(&arena);
    return database_drop(state);
}

#define ON_SERVERS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SERVERS(rows_that_commit_out_of_order_arrive),
        ON_SERVERS(a_killed_relay_loses_nothing),
        ON_SERVERS(a_relay_that_ends_in_order_repeats_nothing),
        ON_SERVERS(an_unroutable_dead_letter_holds_back_and_recovers),
        ON_SERVERS(a_row_that_amqp_cannot_carry_holds_up_nobody),
        ON_SERVERS(rotation_under_load_loses_nothing),
        ON_SERVERS(one_of_two_leads_and_the_other_takes_over),
        ON_SERVERS(a_lost_database_session_is_replaced),
        ON_SERVERS(a_blocked_relay_waits_says_so_and_ends_quickly),
        ON_SERVERS(a_large_backlog_takes_little_memory),
        ON_SERVERS(a_broker_that_restarts_is_waited_for),
    };
    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
