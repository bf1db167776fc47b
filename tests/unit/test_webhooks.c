/*
 * test_webhooks.c - signatures against the vector that Standard Webhooks publishes, addresses,
 * schedules, filters, and what becomes of a message on its way to an endpoint.
 */
#include "tests/test.h"

#include "protocol/properties.h"
#include "webhooks/address.h"
#include "webhooks/queues.h"
#include "webhooks/schedule.h"
#include "webhooks/signature.h"
#include "webhooks/split.h"
#include "webhooks/webhook.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static struct arena arena;
static struct codec *codec;

static int set_up(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, 16 << 20, &err) && codec_open(&codec, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    return 0;
}

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

static void signatures_are_those_of_the_standard(void **state)
{
    static const uint8_t key[] = {0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a,
                                  0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c,
                                  0xf6, 0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0};
    static const char expected[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    struct endpoint endpoint = {.secret.size = sizeof key};
    char secret[SECRET_TEXT_SIZE], signature[SIGNATURE_SIZE];
    struct bytes body = bytes_of("{\"test\": 2432232314}");
    struct text id = TEXT_LITERAL("msg_p5jXN8AQM9LWM0D4loKWxJek");

    (void)state;
    memcpy(endpoint.secret.bytes, key, sizeof key);
    secret_format(&endpoint.secret, secret);
    assert_string_equal(secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    signature_make(&endpoint, id, 1614265330, body, signature);
    assert_string_equal(signature, expected);
    /* During a rotation both, the new one first. */
    endpoint.previous = endpoint.secret;
    endpoint.secret.bytes[0] ^= 1;
    signature_make(&endpoint, id, 1614265330, body, signature);
    assert_int_equal(strlen(signature), SIGNATURE_SIZE - 1);
    assert_string_equal(strchr(signature, ' ') + 1, expected);
    assert_memory_not_equal(signature, expected, strlen(expected));
}

static bool is_public(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return address_is_public((const struct sockaddr *)&in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return address_is_public((const struct sockaddr *)&in6);
}

static void only_public_addresses_are_posted_to(void **state)
{
    static const char *const open[] = {
        "1.1.1.1",         "9.255.255.255",   "11.0.0.0",       "100.63.255.255",
        "100.128.0.0",     "126.255.255.255", "128.0.0.0",      "169.253.255.255",
        "172.15.255.255",  "172.32.0.0",      "192.0.1.0",      "192.167.255.255",
        "192.169.0.0",     "198.17.255.255",  "198.20.0.0",     "223.255.255.255",
        "2606:4700::1111", "2a00:1450::1",    "::ffff:1.1.1.1", "64:ff9b::1.1.1.1",
        "2002:101:101::1", "2001:200::1"};
    static const char *const closed[] = {"0.0.0.0",
                                         "0.1.2.3",
                                         "10.0.0.1",
                                         "10.255.255.255",
                                         "100.64.0.1",
                                         "100.127.255.255",
                                         "127.0.0.1",
                                         "127.255.255.255",
                                         "169.254.0.0",
                                         "169.254.169.254",
                                         "172.16.0.1",
                                         "172.31.255.255",
                                         "192.0.0.1",
                                         "192.0.2.1",
                                         "192.88.99.1",
                                         "192.168.1.1",
                                         "198.18.0.1",
                                         "198.19.255.255",
                                         "198.51.100.1",
                                         "203.0.113.1",
                                         "224.0.0.1",
                                         "239.1.1.1",
                                         "240.0.0.1",
                                         "255.255.255.255",
                                         "::",
                                         "::1",
                                         "::ffff:127.0.0.1",
                                         "::ffff:10.0.0.1",
                                         "::127.0.0.1",
                                         "64:ff9b::10.0.0.1",
                                         "64:ff9b:1::1",
                                         "100::1",
                                         "fc00::1",
                                         "fd00:ec2::254",
                                         "fe80::1",
                                         "fec0::1",
                                         "ff02::1",
                                         "2001::1",
                                         "2001:db8::1",
                                         "2002:7f00:1::1",
                                         "2002:a9fe:a9fe::",
                                         "3fff::1",
                                         "4000::1"};
    const struct sockaddr local = {.sa_family = AF_UNIX};

    (void)state;
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        if (!is_public(open[i])) fail_msg("%s is public", open[i]);
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++)
        if (is_public(closed[i])) fail_msg("%s is not public", closed[i]);
    assert_false(address_is_public(&local));
}

static void schedules_are_lists_of_seconds(void **state)
{
    static const char *const wrong[] = {
        "",     ",",   "5,",     ",5", "0",  "-5",
        "5 ,6", "5,x", "604801", " 5", "+5", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"};
    struct schedule schedule;

    (void)state;
    assert_true(schedule_parse(SCHEDULE_DEFAULT, &schedule));
    assert_int_equal(schedule.count, 7);
    assert_int_equal(schedule_delay_ms(&schedule, 0, 0), 5000);
    assert_int_equal(schedule_delay_ms(&schedule, 0, 1), 5500);
    assert_int_equal(schedule_delay_ms(&schedule, 6, 5), 43200000 + 8640000);
    assert_true(schedule_lost_s(&schedule) > 2 * (43200 + 14400 + 3600));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (schedule_parse(wrong[i], &schedule)) fail_msg("'%s'", wrong[i]);
}

static void filters_choose_events(void **state)
{
    static const struct {
        const char *types, *account, *type, *of;
        bool wanted;
    } rows[] = {
        {"", "", "hold.placed", "a", true},
        {"", "", "checkpoint.created", "", true},
        {"transaction.*", "", "transaction.created", "a", true},
        {"transaction.*", "", "hold.placed", "a", false},
        {"hold.placed,transaction.*", "", "transaction.created", "a", true},
        {"hold.placed", "", "hold.placed2", "a", false},
        {"*", "", "any", "a", true},
        {"", "shop:*", "any", "shop:1", true},
        {"", "shop:*", "any", "shop", false},
        {"", "shop:1", "any", "shop:12", false},
        {"", "*", "any", "", false}, /* it is of no account */
        {"hold.*", "shop:*", "hold.placed", "bob", false},
    };
    struct endpoint endpoint = {.url = ""};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(text_copy(text_of(rows[i].types), endpoint.types, sizeof endpoint.types));
        assert_true(text_copy(text_of(rows[i].account), endpoint.account, sizeof endpoint.account));
        assert_true(endpoint_filters_are_valid(&endpoint));
        if (endpoint_wants(&endpoint, text_of(rows[i].type), text_of(rows[i].of)) != rows[i].wanted)
            fail_msg("row %zu", i);
    }
    assert_true(text_copy(text_of("hold.placed,,x"), endpoint.types, sizeof endpoint.types));
    assert_false(endpoint_filters_are_valid(&endpoint));
    assert_true(text_copy(text_of("a*b"), endpoint.types, sizeof endpoint.types));
    assert_false(endpoint_filters_are_valid(&endpoint));
    assert_true(text_copy(text_of(""), endpoint.types, sizeof endpoint.types));
    assert_true(text_copy(text_of("a b"), endpoint.account, sizeof endpoint.account));
    assert_false(endpoint_filters_are_valid(&endpoint));
}

static void assert_json(const struct split_event *event, const char *json)
{
    assert_int_equal(event->json.size, strlen(json));
    assert_memory_equal(event->json.data, json, event->json.size);
}

static void messages_are_split_into_events(void **state)
{
    char problem[PROBLEM_SIZE];
    struct split split;

    (void)state;
    assert_true(
        split_message(codec,
                      bytes_of("{\"event_type\":\"hold.placed\",\"account\":\"a\",\"new\":1,"
                               "\"timestamp\":\"2026-01-01T00:00:00Z\"}"),
                      TEXT_LITERAL("other"), &arena, &split, problem));
    assert_int_equal(split.count, 1);
    assert_false(split.is_list);
    assert_true(text_equal(split.events[0].account, TEXT_LITERAL("a")));
    assert_json(&split.events[0],
                "{\"type\":\"hold.placed\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"data\":"
                "{\"event_type\":\"hold.placed\",\"account\":\"a\",\"new\":1,"
                "\"timestamp\":\"2026-01-01T00:00:00Z\"}}");
    assert_true(split_message(codec,
                              bytes_of("{\"event_type\":\"batch.applied\",\"events\":["
                                       "{\"event_type\":\"x\",\"account\":\"a\"},"
                                       "{\"event_type\":\"y\"}]}"),
                              TEXT_LITERAL("batch.applied"), &arena, &split, problem));
    assert_int_equal(split.count, 2);
    assert_true(split.is_list);
    assert_json(&split.events[1], "{\"type\":\"y\",\"data\":{\"event_type\":\"y\"}}");
    assert_int_equal(split.events[1].account.length, 0);
    assert_true(split_message(codec, bytes_of("{\"number\":7}"), TEXT_LITERAL("checkpoint.created"),
                              &arena, &split, problem));
    assert_json(&split.events[0], "{\"type\":\"checkpoint.created\",\"data\":{\"number\":7}}");
    assert_false(
        split_message(codec, bytes_of("{\"event"), TEXT_LITERAL("x"), &arena, &split, problem));
    assert_false(split_message(codec, bytes_of(""), TEXT_LITERAL("x"), &arena, &split, problem));
}

static void a_message_says_whose_it_is(void **state)
{
    const struct webhook webhook = {.id = TEXT_LITERAL("e:0"),
                                    .type = TEXT_LITERAL("hold.placed"),
                                    .endpoint = TEXT_LITERAL("0123456789abcdef"),
                                    .account = TEXT_LITERAL("a"),
                                    .position = 77,
                                    .tries = 3,
                                    .timestamp_s = 5,
                                    .traceparent =
                                        TEXT_LITERAL("00-0af7651916cd43dd8448eb211c80319c-"
                                                     "b7ad6b7169203331-01"),
                                    .trace_id = TEXT_LITERAL("mine")};
    const struct death death = {"webhook_failed", "HTTP 500", "ledger.webhooks.to.x", 1};
    struct properties properties;
    struct webhook again;
    struct bytes raw;

    (void)state;
    assert_true(webhook_write(&webhook, &arena, &raw));
    assert_true(webhook_read(raw, &again));
    assert_true(text_equal(again.endpoint, webhook.endpoint));
    assert_true(text_equal(again.account, webhook.account));
    assert_int_equal(again.position, 77);
    assert_int_equal(again.tries, 3);
    assert_true(
        text_equal(webhook_trace(&again), TEXT_LITERAL("0af7651916cd43dd8448eb211c80319c")));
    /* A dead letter begins anew, and remembers how often it died. */
    assert_true(webhook_write_dead(&again, &death, &arena, &raw));
    assert_true(webhook_read(raw, &again));
    assert_int_equal(again.tries, 0);
    assert_int_equal(again.position, 77);
    assert_int_equal(again.deaths, 1);
    assert_true(text_equal(again.first_death, TEXT_LITERAL("1970-01-01T00:00:00.000001Z")));
    assert_true(properties_parse(raw, &properties));
    assert_true(text_equal(properties.message_id, webhook.id));
}

static void no_header_is_smuggled_in(void **state)
{
    const struct webhook webhook = {.id = TEXT_LITERAL("e:0\r\nx: y"),
                                    .tracestate = TEXT_LITERAL("a=b\nc"),
                                    .trace_id = TEXT_LITERAL("caf\xc3\xa9")};
    struct webhook again;
    struct bytes raw;

    (void)state;
    assert_true(webhook_write(&webhook, &arena, &raw));
    assert_true(webhook_read(raw, &again));
    assert_int_equal(again.id.length + again.tracestate.length + again.trace_id.length, 0);
    assert_false(webhook_read((struct bytes){raw.data, raw.size - 1}, &again));
}

static void the_queues_lose_nothing(void **state)
{
    static struct queues_topology topology;
    static struct names names;
    struct schedule schedule;
    struct err err = {0};

    (void)state;
    assert_true(names_make(&names, "p", 1, &err));
    assert_true(schedule_parse("1,60", &schedule));
    queues_topology(&names, &schedule, &topology);
    assert_int_equal(topology.topology.queues_count, 1 + 2 * JITTERS);
    assert_string_equal(topology.queues[0].name, "p.webhooks");
    assert_string_equal(topology.queues[1].name, "p.webhooks.delay.1000");
    assert_string_equal(topology.queues[6].name, "p.webhooks.delay.72000");
    for (uint32_t i = 0; i < topology.topology.queues_count; i++) {
        assert_string_equal(topology.queues[i].arguments[0].text, "quorum");
        assert_string_equal(topology.queues[i].arguments[1].text, "reject-publish");
        assert_true(names_is_own_queue(&names, text_of(topology.queues[i].name)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_those_of_the_standard),
        cmocka_unit_test(only_public_addresses_are_posted_to),
        cmocka_unit_test(schedules_are_lists_of_seconds),
        cmocka_unit_test(filters_choose_events),
        cmocka_unit_test(messages_are_split_into_events),
        cmocka_unit_test(a_message_says_whose_it_is),
        cmocka_unit_test(no_header_is_smuggled_in),
        cmocka_unit_test(the_queues_lose_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
