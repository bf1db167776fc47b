/*
 * it_client.c - the client library against a real broker and a ledger of a few lines: a thread that
 * answers as the routing key tells it to. The broker is restarted, and refuses, and keeps silent.
 *
 * Needs LEDGER_AMQP_URL with rights to declare, and LEDGER_SERVERS with LEDGER_SERVERS_NAME.
 */
#include "client/ledger_client.h"
#include "protocol/names.h"
#include "protocol/properties.h"
#include "protocol/request.h"
#include "tests/amqp.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { WAIT_MS = 10000, BRIEF_MS = 400, LATE_MS = 700, PUBLISHED = 5000, CLIENT_TIMEOUT_MS = 3000 };

static char prefix[PREFIX_LENGTH_MAX];
static char commands[TOPOLOGY_NAME_SIZE], queue[TOPOLOGY_NAME_SIZE];
static struct ledger_client *client;

/* --- the ledger ------------------------------------------------------------------------------ */

static pthread_t echo;
static atomic_bool echo_stops, echo_listens;
static atomic_uint taken;                 /* commands, repeats among them */
static atomic_uchar taken_key[PUBLISHED]; /* times that "key-<n>" came */

static bool echo_reply(struct codec *codec, const struct properties *properties,
                       struct text account)
{
    struct properties_out out = {.content_type = properties->content_type,
                                 .correlation_id = properties->correlation_id};
    struct reply reply = {.result = RESULT_APPLIED, .balances_count = 1};
    struct message message = {.routing_key = properties->reply_to};
    enum encoding encoding;
    uint64_t sequence;
    struct err ignored;
    bool refused = text_equal(account, text_of("refuse"));

    if (refused) reply = (struct reply){.result = RESULT_INSUFFICIENT_FUNDS};
    if (!refused)
        reply.balances[0] = (struct balance_view){account, text_of("EUR"), 12, 2, 0, false};
    if (!encoding_parse(properties->content_type, &encoding) ||
        !reply_encode(codec, &reply, encoding, &arena, &message.body) ||
        !properties_write(&out, &arena, &message.properties))
        return false;
    if (text_equal(account, text_of("garbage"))) message.body = (struct bytes){large, 100};
    return publisher_send(publisher, &message, &sequence, &ignored);
}

static bool echo_one(struct codec *codec, const struct delivery *delivery)
{
    struct properties properties;
    unsigned number = 0;
    char key[32];

    if (!properties_parse(delivery->properties, &properties)) return false;
    atomic_fetch_add(&taken, 1);
    if (text_copy(properties.message_id, key, sizeof key) && sscanf(key, "key-%u", &number) == 1 &&
        number < PUBLISHED)
        atomic_fetch_add(&taken_key[number], 1);
    if (properties.reply_to.length == 0) return true;
    if (text_equal(delivery->routing_key, text_of("silent"))) return true;
    if (text_equal(delivery->routing_key, text_of("late"))) clock_sleep_ms(LATE_MS);
    if (text_equal(delivery->routing_key, text_of("twice")) &&
        !echo_reply(codec, &properties, text_of("twice")))
        return false;
    return echo_reply(codec, &properties, delivery->routing_key);
}

/* Until a connection fails, or it is to stop. */
static void echo_on(struct codec *codec)
{
    struct publisher_options publishing = {url, "it_client echo", 0, TIMEOUT_MS, WINDOW};
    struct consumer_options consuming = {url, "it_client echo", 0, TIMEOUT_MS, BODY_MAX};
    struct err ignored;
    uint32_t count = 0;

    if (!publisher_open(&publisher, &publishing, &ignored) ||
        !consumer_open(&consumer, &consuming, &ignored) ||
        !consumer_subscribe(consumer, queue, 0, BATCH, &ignored))
        return;
    atomic_store(&echo_listens, true);
    while (!atomic_load(&echo_stops)) {
        arena_reset(&arena);
        if (!consumer_fetch(consumer, 20, deliveries, BATCH / 4, &arena, &count, &ignored)) return;
        for (uint32_t i = 0; i < count; i++)
            if (!echo_one(codec, &deliveries[i])) return;
        if (count > 0 && !consumer_ack(consumer, deliveries[count - 1].tag, true, &ignored)) return;
        if (!publisher_poll(publisher, 0, confirmed, WINDOW, &count, &ignored)) return;
    }
}

static void *echo_run(void *context)
{
    struct codec *codec;
    struct err ignored;

    (void)context;
    if (!codec_open(&codec, &ignored)) return NULL;
    while (!atomic_load(&echo_stops)) {
        echo_on(codec);
        publisher_close(publisher);
        consumer_close(consumer);
        publisher = NULL;
        consumer = NULL;
        clock_sleep_ms(50);
    }
    codec_close(codec);
    return NULL;
}

/* --- each test ------------------------------------------------------------------------------- */

static bool servers(const char *verb, const char *arguments)
{
    const char *script = getenv("LEDGER_SERVERS"), *name = getenv("LEDGER_SERVERS_NAME");
    char line[TEXT_SIZE];

    (void)snprintf(line, sizeof line, "%s %s %s %s >/dev/null",
                   script == NULL ? "scripts/servers" : script, verb, name == NULL ? "test" : name,
                   arguments);
    return system(line) == 0;
}

static struct ledger_client *open_client(const char *at_prefix, enum encoding encoding)
{
    struct ledger_client_options options = {.url = url,
                                            .prefix = at_prefix,
                                            .app_id = "it_client",
                                            .encoding = encoding,
                                            .timeout_ms = CLIENT_TIMEOUT_MS};
    struct ledger_client *opened = NULL;

    must(ledger_client_open(&opened, &options, &err));
    return opened;
}

static void declare(bool bound)
{
    struct topology_exchange exchange = {.type = "topic"};
    struct topology_queue wanted = {.arguments = {{"x-queue-type", "quorum", 0, false},
                                                  {"x-delivery-limit", NULL, 1000000, false}},
                                    .arguments_count = 2};
    struct topology_binding binding = {.key = "#"};
    struct topology topology = {.exchanges = &exchange,
                                .exchanges_count = 1,
                                .queues = &wanted,
                                .queues_count = 1,
                                .bindings = &binding,
                                .bindings_count = bound};

    (void)snprintf(exchange.name, sizeof exchange.name, "%s", commands);
    (void)snprintf(wanted.name, sizeof wanted.name, "%s", queue);
    (void)snprintf(binding.source, sizeof binding.source, "%s", commands);
    (void)snprintf(binding.destination, sizeof binding.destination, "%s", queue);
    must(topology_apply(url, &topology, TOPOLOGY_DECLARE, &err));
}

static void name_all(void)
{
    uint32_t random = 0;

    random_bytes(&random, sizeof random);
    (void)snprintf(prefix, sizeof prefix, "it.client.%08x", random);
    (void)snprintf(commands, sizeof commands, "%s.commands", prefix);
    (void)snprintf(queue, sizeof queue, "%s.echo", prefix);
}

static int client_set_up(void **state)
{
    (void)state;
    name_all();
    declare(true);
    atomic_store(&echo_stops, false);
    atomic_store(&echo_listens, false);
    if (pthread_create(&echo, NULL, echo_run, NULL) != 0) return 1;
    for (int i = 0; i < 500 && !atomic_load(&echo_listens); i++) clock_sleep_ms(20);
    client = open_client(prefix, ENCODING_MSGPACK);
    return atomic_load(&echo_listens) ? 0 : 1;
}

static int client_tear_down(void **state)
{
    struct link *link;

    (void)state;
    ledger_client_close(client);
    atomic_store(&echo_stops, true);
    (void)pthread_join(echo, NULL);
    queue_delete(queue);
    link = link_start();
    (void)amqp_exchange_delete(link->state, LINK_CHANNEL, amqp_cstring_bytes(commands), false);
    link_close(link);
    return 0;
}

static struct ledger_call deposit(const char *account, const char *key)
{
    return (struct ledger_call){
        .command = {.type = COMMAND_DEPOSIT, .account = text_of(account), .amount = {.value = 5}},
        .idempotency_key = text_of(key)};
}

/* The reply must be to this very command. */
static void call(const char *account)
{
    struct ledger_call asked = deposit(account, "a key");
    struct reply reply;

    must(ledger_client_call(client, &asked, WAIT_MS, &reply, &err));
    assert_int_equal(reply.result, RESULT_APPLIED);
    assert_int_equal(reply.balances_count, 1);
    if (!text_equal(reply.balances[0].account, text_of(account)))
        fail_msg("a reply for %.*s instead of %s", TEXT_ARGS(reply.balances[0].account), account);
}

static void assert_fails(const char *account, uint32_t wait_ms, enum err_kind kind)
{
    struct ledger_call asked = deposit(account, "a key");
    struct reply reply;

    err = (struct err){0};
    uint64_t began_ms = clock_monotonic_ms();
    assert_false(ledger_client_call(client, &asked, wait_ms, &reply, &err));
    if (err.kind != kind) fail_msg("%s", err.text);
    assert_true(clock_monotonic_ms() - began_ms < wait_ms + 1500 + PAUSE_MS);
}

/* --- calls ----------------------------------------------------------------------------------- */

static void a_call_has_its_reply(void **state)
{
    (void)state;
    for (uint32_t encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
        struct ledger_client *other = client;
        client = open_client(prefix, (enum encoding)encoding);
        for (int i = 0; i < 50; i++) call(i % 2 == 0 ? "alice" : "bob");
        ledger_client_close(client);
        client = other;
    }
}

static void a_refusal_is_a_reply(void **state)
{
    struct ledger_call asked = deposit("refuse", "a key");
    struct reply reply;

    (void)state;
    must(ledger_client_call(client, &asked, WAIT_MS, &reply, &err));
    assert_int_equal(reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(reply.balances_count, 0);
    call("alice");
}

static void what_is_no_call_is_refused_before_it_is_sent(void **state)
{
    static char long_key[KEY_LENGTH_MAX + 2];
    const char *const keys[] = {NULL, "", long_key};
    struct reply reply;
    uint32_t before = atomic_load(&taken);

    (void)state;
    memset(long_key, 'k', sizeof long_key - 1);
    for (int i = 0; i < 3; i++) {
        struct ledger_call asked = deposit("alice", keys[i]);
        assert_false(ledger_client_call(client, &asked, WAIT_MS, &reply, &err));
        assert_int_equal(err.kind, ERR_REJECT);
        assert_says("idempotency key");
        assert_false(ledger_client_publish(client, &asked, 1, &err));
        assert_int_equal(err.kind, ERR_REJECT);
    }
    call("alice");
    assert_int_equal(atomic_load(&taken), before + 1);
}

static void without_a_reply_the_outcome_is_unknown(void **state)
{
    (void)state;
    assert_fails("silent", BRIEF_MS, ERR_RETRY);
    assert_says("no reply within 400 ms");
    assert_says("same key");
    call("alice");
    assert_fails("silent", 0, ERR_RETRY);
    call("alice");
}

static void a_late_reply_does_not_meet_the_next_call(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_fails("late", BRIEF_MS, ERR_RETRY);
        call("alice"); /* the echo comes to it after the late reply */
    }
    clock_sleep_ms(LATE_MS);
    call("bob");
}

static void a_doubled_reply_does_not_meet_the_next_call(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        call("twice");
        call(i % 2 == 0 ? "alice" : "bob");
    }
}

static void garbage_is_no_reply(void **state)
{
    (void)state;
    assert_fails("garbage", WAIT_MS, ERR_RETRY);
    assert_says("not a reply of the ledger");
    call("alice");
}

/* --- publishing ------------------------------------------------------------------------------ */

static void await_taken(uint32_t count)
{
    for (int i = 0; i < 1000 && atomic_load(&taken) < count; i++) clock_sleep_ms(10);
    assert_int_equal(atomic_load(&taken), count);
}

static void thousands_are_published_each_once(void **state)
{
    static struct ledger_call calls[PUBLISHED];
    static char keys[PUBLISHED][16];

    (void)state;
    atomic_store(&taken, 0);
    for (uint32_t i = 0; i < PUBLISHED; i++) {
        atomic_store(&taken_key[i], 0);
        (void)snprintf(keys[i], sizeof keys[i], "key-%u", i);
        calls[i] = deposit("alice", keys[i]);
    }
    uint64_t began_ms = clock_monotonic_ms();
    must(ledger_client_publish(client, calls, PUBLISHED, &err));
    print_message("%d confirmed in %ju ms\n", PUBLISHED,
                  (uintmax_t)(clock_monotonic_ms() - began_ms));
    await_taken(PUBLISHED);
    for (uint32_t i = 0; i < PUBLISHED; i++) assert_int_equal(atomic_load(&taken_key[i]), 1);
    must(ledger_client_publish(client, calls, 0, &err)); /* none are none */
    must(ledger_client_publish(client, calls, 1, &err));
    await_taken(PUBLISHED + 1);
}

static int lift_alarm(void **state)
{
    (void)servers("rabbitmqctl", "set_vm_memory_high_watermark 0.4");
    return client_tear_down(state);
}

/* A broker that takes nothing does not hold the caller for ever. */
static void a_blocked_broker_is_given_up_in_time(void **state)
{
    struct ledger_call asked = deposit("alice", "a key");

    (void)state;
    must(ledger_client_publish(client, &asked, 1, &err));
    assert_true(servers("rabbitmqctl", "set_vm_memory_high_watermark 0"));
    uint64_t began_ms = clock_monotonic_ms();
    assert_false(ledger_client_publish(client, &asked, 1, &err));
    assert_in_range(clock_monotonic_ms() - began_ms, 0, CLIENT_TIMEOUT_MS + 2000 + PAUSE_MS);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("short of memory or disk");
    assert_fails("alice", BRIEF_MS, ERR_RETRY);
    assert_true(servers("rabbitmqctl", "set_vm_memory_high_watermark 0.4"));
    must(ledger_client_publish(client, &asked, 1, &err));
    call("bob");
}

/* --- the topology, the broker ---------------------------------------------------------------- */

static void without_an_exchange_it_is_named(void **state)
{
    struct ledger_call asked = deposit("alice", "a key");

    (void)state;
    name_all();
    client = open_client(prefix, ENCODING_MSGPACK);
    for (int i = 0; i < 2; i++) { /* the second time on a new connection */
        assert_fails("alice", WAIT_MS, ERR_RETRY);
        assert_says(commands);
        assert_says("no exchange");
        assert_false(ledger_client_publish(client, &asked, 1, &err));
        assert_int_equal(err.kind, ERR_RETRY);
        assert_says(commands);
    }
    declare(false);
    assert_false(ledger_client_publish(client, &asked, 1, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("no queue takes commands");
    declare(true);
    must(ledger_client_publish(client, &asked, 1, &err));
    ledger_client_close(client);
    queue_delete(queue);
}

/* Whoever calls next does not notice: what was lost before it asked is found before it asks. */
static void a_restarted_broker_is_found_again(void **state)
{
    struct ledger_call asked = deposit("alice", "a key");

    (void)state;
    call("alice");
    must(ledger_client_publish(client, &asked, 1, &err));
    atomic_store(&echo_listens, false);
    assert_true(servers("restart", "rabbitmq"));
    must(ledger_client_publish(client, &asked, 1, &err));
    call("bob");
    call("alice");
}

/* As a caller does: the same key again until there is a reply. A call is not confirmed, so what a
 * broker that has just begun does with it is unknown. */
static void call_until_answered(const char *account)
{
    struct ledger_call asked = deposit(account, "a key");
    struct reply reply;

    for (int i = 0; i < 30; i++) {
        if (ledger_client_call(client, &asked, 1000, &reply, &err)) return;
        assert_int_equal(err.kind, ERR_RETRY);
        clock_sleep_ms(50);
    }
    fail_msg("%s", err.text);
}

static void without_a_broker_it_fails_and_may_be_tried_again(void **state)
{
    struct ledger_call asked = deposit("alice", "a key");

    (void)state;
    call("alice");
    assert_true(servers("stop", "rabbitmq"));
    for (int i = 0; i < 2; i++) {
        assert_fails("alice", WAIT_MS, ERR_RETRY);
        assert_false(ledger_client_publish(client, &asked, 1, &err));
        assert_int_equal(err.kind, ERR_RETRY);
    }
    assert_true(servers("start", "rabbitmq"));
    call_until_answered("alice");
    must(ledger_client_publish(client, &asked, 1, &err));
}

static void wrong_options_are_refused(void **state)
{
    static const char *const prefixes[] = {"", "a b", "a/b",
                                           "a prefix that is far longer than it could ever be"};
    struct ledger_client_options options = {.url = "amqp://nobody:wrong@127.0.0.1:1/"};
    struct ledger_client *opened;
    struct reply reply;
    struct ledger_call asked = deposit("alice", "a key");

    (void)state;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        options.prefix = prefixes[i];
        assert_false(ledger_client_open(&opened, &options, &err));
        assert_null(opened);
        assert_int_equal(err.kind, ERR_FATAL);
    }
    options.prefix = NULL;
    must(ledger_client_open(&opened, &options, &err)); /* connects when first asked */
    assert_false(ledger_client_call(opened, &asked, WAIT_MS, &reply, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_null(strstr(err.text, "wrong")); /* the password */
    ledger_client_close(opened);
    ledger_client_close(NULL);
}

#define WITH_LEDGER(test) cmocka_unit_test_setup_teardown(test, client_set_up, client_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LEDGER(a_call_has_its_reply),
        WITH_LEDGER(a_refusal_is_a_reply),
        WITH_LEDGER(what_is_no_call_is_refused_before_it_is_sent),
        WITH_LEDGER(without_a_reply_the_outcome_is_unknown),
        WITH_LEDGER(a_late_reply_does_not_meet_the_next_call),
        WITH_LEDGER(a_doubled_reply_does_not_meet_the_next_call),
        WITH_LEDGER(garbage_is_no_reply),
        WITH_LEDGER(thousands_are_published_each_once),
        cmocka_unit_test_setup_teardown(a_blocked_broker_is_given_up_in_time, client_set_up,
                                        lift_alarm),
        cmocka_unit_test(without_an_exchange_it_is_named),
        WITH_LEDGER(a_restarted_broker_is_found_again),
        WITH_LEDGER(without_a_broker_it_fails_and_may_be_tried_again),
        cmocka_unit_test(wrong_options_are_refused),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return amqp_run(tests, sizeof tests / sizeof tests[0]);
}
