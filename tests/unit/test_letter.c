/*
 * test_letter.c - what is read from a dead letter, what a replay publishes, which letters a filter
 * chooses, how they are counted, and that a line brings back every byte.
 */
#include "dlq/filter.h"
#include "dlq/line.h"
#include "dlq/stats.h"
#include "protocol/properties_wire.h"
#include "protocol/request.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct codec *codec;
static struct arena arena;

#define assert_text(given, wanted) assert_true(text_equal(given, text_of(wanted)))

static struct header header(const char *name, const char *text)
{
    return (struct header){.name = text_of(name), .text = text_of(text)};
}

static struct header header_number(const char *name, int64_t number)
{
    return (struct header){.name = text_of(name), .number = number, .is_number = true};
}

/* As the ledger's outbox dead-letters a command of a caller without app_id. */
static struct letter sample(const char *content_type, struct bytes body)
{
    struct header headers[] = {
        header("X-Trace-Id", "trace-7"),
        header("mine", "kept"),
        header("x-ledger-reason", "malformed"),
        header("x-ledger-error", "amount: missing"),
        header("x-ledger-queue", "ledger.commands.3"),
        header("x-ledger-exchange", "ledger.commands"),
        header("x-ledger-routing-key", "alice"),
        header("x-ledger-first-death", "2026-11-23T07:00:00.000000Z"),
        header("x-ledger-last-death", "2026-11-23T08:30:00.000000Z"),
        header_number("x-ledger-attempts", 2),
        header("x-ledger-user-id", "shop"),
        header_number("x-ledger-position", 4711),
        header_number("x-delivery-count", 5),
    };
    struct properties_out out = {.content_type = text_of(content_type),
                                 .type = TEXT_LITERAL("transfer"),
                                 .message_id = TEXT_LITERAL("key-1"),
                                 .correlation_id = TEXT_LITERAL("c-1"),
                                 .headers = headers,
                                 .headers_count = sizeof headers / sizeof headers[0]};
    struct bytes properties;
    struct letter letter;

    assert_true(properties_write(&out, &arena, &properties));
    letter_read(codec, TEXT_LITERAL("alice"), properties, body, &arena, &letter);
    return letter;
}

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

static const char TRANSFER[] = "{\"from\":\"alice\",\"to\":\"bob\",\"amount\":5}";

static void all_of_a_letter_is_read(void **state)
{
    struct letter letter = sample("application/json", bytes_of(TRANSFER));

    (void)state;
    assert_string_equal(letter.id, "4711");
    assert_text(letter.reason, "malformed");
    assert_text(letter.error, "amount: missing");
    assert_text(letter.queue, "ledger.commands.3");
    assert_text(letter.exchange, "ledger.commands");
    assert_text(letter.routing_key, "alice");
    assert_text(letter.type, "transfer");
    assert_text(letter.caller, "shop");
    assert_text(letter.key, "key-1");
    assert_text(letter.account, "alice");
    assert_text(letter.other_account, "bob");
    assert_text(letter.trace_id, "trace-7");
    assert_int_equal(letter.attempts, 2);
    assert_int_equal(letter.last_death_us - letter.first_death_us, 5400 * INT64_C(1000000));
}

static void what_cannot_be_read_is_empty(void **state)
{
    static const struct {
        const char *content_type, *body;
    } bodies[] = {{"application/json", "{\"account\":"},
                  {"application/msgpack", "{}"},
                  {"text/plain", "{}"},
                  {"application/json", "[\"account\"]"},
                  {"application/json", "{\"account\":7}"},
                  {"application/json", ""}};
    struct letter letter;

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        letter = sample(bodies[i].content_type, bytes_of(bodies[i].body));
        assert_int_equal(letter.account.length, 0);
        assert_text(letter.reason, "malformed");
    }
    letter_read(codec, TEXT_LITERAL("r"), bytes_of("no properties"), bytes_of("x"), &arena,
                &letter);
    assert_int_equal(letter.reason.length, 0);
    assert_text(letter.routing_key, "r");
    assert_int_equal(letter.attempts, 1);
    assert_int_equal(letter.id[0], 'b');
}

/* What RabbitMQ gives up itself: the same id however often it was looked at. */
static void the_brokers_own_dead_are_told_by_their_bytes(void **state)
{
    char ids[2][LETTER_ID_SIZE];

    (void)state;
    for (int looks = 0; looks < 2; looks++) {
        struct header headers[] = {header("x-first-death-reason", looks < 2 ? "expired" : ""),
                                   header("x-first-death-queue", "ledger.commands.1"),
                                   header("x-first-death-exchange", "ledger.commands"),
                                   header_number("x-delivery-count", looks)};
        struct properties_out out = {.type = TEXT_LITERAL("deposit"),
                                     .app_id = TEXT_LITERAL("shop"),
                                     .headers = headers,
                                     .headers_count = looks == 0 ? 3 : 4};
        struct bytes properties;
        struct letter letter;
        assert_true(properties_write(&out, &arena, &properties));
        letter_read(codec, TEXT_LITERAL("bob"), properties, bytes_of("body"), &arena, &letter);
        assert_text(letter.reason, "expired");
        assert_text(letter.queue, "ledger.commands.1");
        assert_text(letter.routing_key, "bob");
        memcpy(ids[looks], letter.id, LETTER_ID_SIZE);
    }
    assert_int_equal(strlen(ids[0]), 17);
    assert_string_equal(ids[0], ids[1]);
}

/* x-death is a list of tables; its first entry is the latest death. */
static struct bytes properties_of_the_brokers_dead(const char *reason)
{
    static const uint8_t death[] = "\x04time"
                                   "T\0\0\0\0\x65\x00\x00\x00";
    struct header headers[] = {header("x-first-death-reason", reason),
                               header("x-first-death-queue", "ledger.commands.1")};
    struct properties_out out = {.message_id = TEXT_LITERAL("key-1"),
                                 .user_id = TEXT_LITERAL("shop"),
                                 .headers = headers,
                                 .headers_count = 2};
    struct bytes plain, properties;
    struct parts parts;

    assert_true(properties_write(&out, &arena, &plain));
    assert_true(parts_take(plain, &parts));
    struct writer writer = writer_in(&arena);
    write_bytes(&writer, parts.part[PROPERTY_HEADERS].data, parts.part[PROPERTY_HEADERS].size);
    write_bytes(&writer, "\x07x-deathA", 9);
    write_u32(&writer, sizeof death - 1 + 5);
    write_u8(&writer, 'F');
    write_u32(&writer, sizeof death - 1);
    write_bytes(&writer, death, sizeof death - 1);
    assert_true(writer_keep(&writer, &arena, &parts.part[PROPERTY_HEADERS]));
    parts.part[PROPERTY_EXPIRATION] = bytes_of("60000");
    assert_true(parts_write(&parts, &arena, &properties));
    return properties;
}

static void the_brokers_headers_tell_why_and_when(void **state)
{
    static const struct {
        const char *given, *reason;
    } rows[] = {{"expired", "expired"}, {"rejected", "body_too_large"}, {"maxlen", "maxlen"}};
    struct letter letter;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        letter_read(codec, TEXT_LITERAL("bob"), properties_of_the_brokers_dead(rows[i].given),
                    bytes_of("body"), &arena, &letter);
        assert_text(letter.reason, rows[i].reason);
        assert_int_equal(letter.last_death_us, INT64_C(0x65000000) * 1000000);
        assert_int_equal(letter.first_death_us, letter.last_death_us);
        assert_text(letter.caller, "shop");
    }
}

static void a_trace_id_is_found_in_either_header(void **state)
{
    static const struct {
        const char *name, *value, *trace_id;
    } rows[] = {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                 "0af7651916cd43dd8448eb211c80319c"},
                {"traceparent", "00-0af7651916cd43dd8448eb211c8031", ""},
                {"traceparent", "", ""},
                {"x-trace-id", "trace-7", "trace-7"},
                {"mine", "trace-7", ""}};
    struct bytes properties;
    struct letter letter;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct header headers[] = {header(rows[i].name, rows[i].value)};
        struct properties_out out = {.headers = headers, .headers_count = 1};
        assert_true(properties_write(&out, &arena, &properties));
        letter_read(codec, TEXT_LITERAL("bob"), properties, bytes_of("body"), &arena, &letter);
        assert_text(letter.trace_id, rows[i].trace_id);
    }
}

/* The same bytes under another routing key are another letter. */
static void an_id_covers_the_routing_key(void **state)
{
    struct bytes properties;
    struct letter bob, carol;

    (void)state;
    assert_true(properties_write(&(struct properties_out){.message_id = TEXT_LITERAL("key-1")},
                                 &arena, &properties));
    letter_read(codec, TEXT_LITERAL("bob"), properties, bytes_of("body"), &arena, &bob);
    letter_read(codec, TEXT_LITERAL("carol"), properties, bytes_of("body"), &arena, &carol);
    assert_string_not_equal(bob.id, carol.id);
}

/* Each name alone, so that none is left out because of its neighbour. */
static void a_replay_is_rid_of_its_deaths(void **state)
{
    static const struct {
        const char *name;
        bool kept;
    } rows[] = {{"x-death", false},
                {"x-first-death-reason", false},
                {"x-last-death-queue", false},
                {"x-delivery-count", false},
                {"x-ledger-position", false},
                {"X-Ledger-Expiration", false},
                {"x-ledger-user-id", false},
                {"x-ledger-first-death", true},
                {"x-ledger-attempts", true},
                {"x-deaths", true},
                {"x-first-death", true},
                {"x-ledger", true},
                {"traceparent", true}};
    struct bytes properties;
    struct letter letter;
    struct parts parts;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct header headers[] = {header(rows[i].name, "value")};
        struct properties_out out = {.headers = headers, .headers_count = 1};
        assert_true(properties_write(&out, &arena, &properties));
        letter_read(codec, TEXT_LITERAL("bob"), properties, bytes_of("body"), &arena, &letter);
        assert_true(letter_replay_properties(&letter, (struct text){0}, &arena, &properties));
        assert_true(parts_take(properties, &parts));
        if ((parts.part[PROPERTY_HEADERS].size > 0) != rows[i].kept) fail_msg("%s", rows[i].name);
    }
}

static void a_replay_has_no_user_id_and_never_expires(void **state)
{
    struct bytes properties = properties_of_the_brokers_dead("expired");
    struct properties parsed;
    struct letter letter;

    (void)state;
    assert_true(properties_parse(properties, &parsed));
    assert_text(parsed.user_id, "shop");
    assert_text(parsed.expiration, "60000");
    letter_read(codec, TEXT_LITERAL("bob"), properties, bytes_of("body"), &arena, &letter);
    assert_true(letter_replay_properties(&letter, (struct text){0}, &arena, &properties));
    assert_true(properties_parse(properties, &parsed));
    assert_int_equal(parsed.user_id.length, 0);
    assert_int_equal(parsed.expiration.length, 0);
    assert_text(parsed.app_id, "shop");
    assert_text(parsed.message_id, "key-1");
}

static void only_what_was_for_a_webhook_goes_back_there(void **state)
{
    static const struct {
        const char *reason, *beside;
        bool webhook;
    } rows[] = {{"webhook_failed", "mine", true},
                {"webhook_unreadable", "mine", true},
                {"malformed", "mine", false},
                {"webhook", "mine", false},
                {"", "mine", false},
                {"webhook_failed", "x-death", false},
                {"webhook_failed", "x-first-death-reason", false}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct header headers[] = {header("x-ledger-reason", rows[i].reason),
                                   header(rows[i].beside, "")};
        struct properties_out out = {.headers = headers, .headers_count = 2};
        struct bytes properties;
        struct letter letter;
        arena_reset(&arena);
        assert_true(properties_write(&out, &arena, &properties));
        letter_read(codec, (struct text){0}, properties, (struct bytes){0}, &arena, &letter);
        assert_int_equal(letter_is_webhook(&letter), rows[i].webhook);
    }
}

/* The namespace of its key must not become who replays it. */
static void a_replay_may_be_somebodys(void **state)
{
    struct properties_out anonymous = {.message_id = TEXT_LITERAL("key-1")};
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    struct properties replayed;
    struct bytes properties;

    (void)state;
    assert_true(letter_replay_properties(&letter, TEXT_LITERAL("operator"), &arena, &properties));
    assert_true(properties_parse(properties, &replayed));
    assert_text(replayed.user_id, "operator");
    assert_text(replayed.app_id, "shop");
    assert_true(properties_write(&anonymous, &arena, &properties));
    letter_read(codec, TEXT_LITERAL("bob"), properties, bytes_of("body"), &arena, &letter);
    assert_true(letter_replay_properties(&letter, TEXT_LITERAL("operator"), &arena, &properties));
    assert_true(properties_parse(properties, &replayed));
    assert_int_equal(replayed.user_id.length, 0);
    assert_int_equal(replayed.app_id.length, 0);
}

static void a_replay_sends_no_copies(void **state)
{
    struct header headers[] = {header("CC", "bob"), header("BCC", "carol"), header("cc", "mine")};
    struct properties_out out = {.headers = headers, .headers_count = 3};
    struct bytes properties;
    struct letter letter;
    struct parts parts;
    struct entry entry;

    (void)state;
    assert_true(properties_write(&out, &arena, &properties));
    letter_read(codec, TEXT_LITERAL("alice"), properties, bytes_of("body"), &arena, &letter);
    assert_true(letter_replay_properties(&letter, (struct text){0}, &arena, &properties));
    assert_true(parts_take(properties, &parts));
    assert_true(entry_take(&parts.part[PROPERTY_HEADERS], &entry));
    assert_text(entry.name, "cc");
    assert_int_equal(parts.part[PROPERTY_HEADERS].size, 0);
}

static void a_replay_publishes_what_it_was(void **state)
{
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    struct properties replayed;
    struct bytes properties;
    uint32_t entries = 0;
    struct parts parts;
    struct entry entry;

    (void)state;
    assert_true(letter_replay_properties(&letter, (struct text){0}, &arena, &properties));
    assert_true(properties_parse(properties, &replayed));
    assert_text(replayed.message_id, "key-1");
    assert_text(replayed.correlation_id, "c-1");
    assert_text(replayed.trace_id, "trace-7");
    assert_text(replayed.app_id, "shop"); /* the namespace of its key stays */
    assert_int_equal(replayed.user_id.length, 0);
    assert_int_equal(replayed.delivery_count, 0);
    assert_true(parts_take(properties, &parts));
    for (struct bytes table = parts.part[PROPERTY_HEADERS]; table.size > 0; entries++) {
        static const char *const kept[] = {"X-Trace-Id", "mine", "x-ledger-first-death",
                                           "x-ledger-attempts"};
        assert_true(entry_take(&table, &entry));
        assert_text(entry.name, kept[entries]);
    }
    assert_int_equal(entries, 4);
}

/* --- filters ----------------------------------------------------------------------------- */

static void a_filter_wants_all_of_its_parts(void **state)
{
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    const char *const ids[] = {"1", "4711"}, *const others[] = {"1"};
    int64_t now_us = letter.last_death_us + 3600 * INT64_C(1000000);
    const struct {
        struct filter filter;
        bool matches;
    } rows[] = {
        {{.reason = NULL}, true},
        {{.reason = "malformed", .command = "transfer", .caller = "shop"}, true},
        {{.reason = "malformed", .command = "deposit"}, false},
        {{.account = "alice"}, true},
        {{.account = "bob"}, true},
        {{.account = "carol"}, false},
        {{.key = "key-1", .trace_id = "trace-7"}, true},
        {{.key = "key-2"}, false},
        {{.trace_id = "trace"}, false},
        {{.ids = ids, .ids_count = 2}, true},
        {{.ids = others, .ids_count = 1}, false},
        {{.older_us = 3600 * INT64_C(1000000)}, true},
        {{.older_us = 3601 * INT64_C(1000000)}, false},
        {{.newer_us = 3600 * INT64_C(1000000)}, true},
        {{.newer_us = 3599 * INT64_C(1000000)}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (filter_matches(&rows[i].filter, &letter, now_us) != rows[i].matches)
            fail_msg("row %zu", i);
    letter.last_death_us = 0; /* unknown: neither old nor new */
    assert_false(filter_matches(&(struct filter){.older_us = 1}, &letter, now_us));
    assert_false(filter_matches(&(struct filter){.newer_us = INT64_MAX}, &letter, now_us));
}

static void ages_are_read_exactly(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds; /* 0: refused */
    } rows[] = {{"30s", 30},
                {"15m", 900},
                {"2h", 7200},
                {"7d", 604800},
                {"3650d", 315360000},
                {"0s", 0},
                {"-1s", 0},
                {"1", 0},
                {"s", 0},
                {"", 0},
                {"1h ", 0},
                {"1w", 0},
                {"3651d", 0},
                {"9999999999999999999999s", 0}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t us = 0;
        bool ok = filter_age(rows[i].text, &us);
        if (ok != (rows[i].seconds > 0) || (ok && us != rows[i].seconds * 1000000))
            fail_msg("%s", rows[i].text);
    }
}

static void a_filter_is_recorded_as_it_is(void **state)
{
    static const char *many[FILTER_IDS_MAX];
    const struct filter filter = {.reason = "internal", .account = "a", .older_us = 7200000000};
    char text[FILTER_TEXT_SIZE];

    (void)state;
    filter_text(&filter, text);
    assert_string_equal(text, "reason=internal account=a older=7200s");
    filter_text(&(struct filter){0}, text);
    assert_string_equal(text, "");
    for (uint32_t i = 0; i < FILTER_IDS_MAX; i++) many[i] = "1234567";
    filter_text(&(struct filter){.ids = many, .ids_count = FILTER_IDS_MAX}, text);
    assert_int_equal(strlen(text), FILTER_TEXT_SIZE - 1);
    assert_string_equal(text + FILTER_TEXT_SIZE - 4, "...");
}

/* PostgreSQL stores no half characters. */
static void a_cut_filter_is_still_text(void **state)
{
    char account[FILTER_TEXT_SIZE + 8] = "", text[FILTER_TEXT_SIZE];

    (void)state;
    for (uint32_t shift = 0; shift < 4; shift++) {
        memset(account, 'a', shift);
        for (uint32_t at = shift; at + 4 < sizeof account; at += 4)
            memcpy(account + at, "\xf0\x9f\x92\xb6", 5);
        filter_text(&(struct filter){.account = account}, text);
        assert_true(utf8_is_valid(text_of(text)));
        assert_true(strlen(text) >= FILTER_TEXT_SIZE - 4);
        assert_string_equal(text + strlen(text) - 3, "...");
    }
}

/* --- stats ------------------------------------------------------------------------------- */

static void letters_are_counted_in_bounded_memory(void **state)
{
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    struct stats *stats;
    struct err err = {0};
    char caller[16];
    uint32_t count;

    (void)state;
    assert_true(stats_open(&stats, STATS_REASON | STATS_CALLER, &err));
    for (uint32_t i = 0; i < 2 * STATS_GROUPS_MAX; i++) {
        (void)snprintf(caller, sizeof caller, "caller-%u", i % (STATS_GROUPS_MAX + 50));
        letter.caller = text_of(caller);
        letter.type = text_of(i % 2 == 0 ? "deposit" : "withdraw"); /* not asked for */
        letter.last_death_us = 1000 + i;
        stats_add(stats, &letter);
    }
    const struct group *groups = stats_groups(stats, &count);
    uint64_t sum = 0, others = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += groups[i].count;
        if (i > 0) assert_true(groups[i - 1].count >= groups[i].count);
        if (strcmp(groups[i].caller, "(other)") == 0) others += groups[i].count;
    }
    assert_int_equal(count, STATS_GROUPS_MAX + 1);
    assert_int_equal(sum, 2 * STATS_GROUPS_MAX);
    assert_int_equal(others, 50);
    assert_int_equal(stats_total(stats), 2 * STATS_GROUPS_MAX);
    stats_close(stats);
}

static void groups_know_their_hour_and_ages(void **state)
{
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    int64_t died_us = letter.last_death_us; /* 08:30 */
    struct stats *stats;
    struct err err = {0};
    uint32_t count;

    (void)state;
    assert_true(stats_open(&stats, STATS_HOUR, &err));
    for (int i = 0; i < 4; i++) {
        letter.last_death_us = died_us + i * INT64_C(900000000); /* 08:30, 08:45, 09:00, 09:15 */
        stats_add(stats, &letter);
    }
    const struct group *groups = stats_groups(stats, &count);
    assert_int_equal(count, 2);
    assert_int_equal(groups[0].hour_us, died_us - INT64_C(1800000000));
    assert_int_equal(groups[0].oldest_us, died_us);
    assert_int_equal(groups[0].newest_us, died_us + INT64_C(900000000));
    assert_int_equal(groups[1].count, 2);
    stats_close(stats);
}

static void words_are_bounded_and_printable(void **state)
{
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    struct stats *stats;
    struct err err = {0};
    char caller[3 * STATS_WORD_SIZE];
    uint32_t count;

    (void)state;
    memset(caller, 'c', sizeof caller);
    memcpy(caller, "a\x1b\xc3\xa9\0b", 6);
    letter.caller = (struct text){caller, sizeof caller};
    assert_true(stats_open(&stats, STATS_CALLER, &err));
    stats_add(stats, &letter);
    letter.caller.length -= 7; /* beyond what is told apart */
    stats_add(stats, &letter);
    const struct group *groups = stats_groups(stats, &count);
    assert_int_equal(count, 1);
    assert_int_equal(groups[0].count, 2);
    assert_int_equal(strlen(groups[0].caller), STATS_WORD_SIZE - 1);
    assert_memory_equal(groups[0].caller, "a????bccc", 9);
    assert_int_equal(groups[0].command[0], '\0');
    stats_close(stats);
}

static void groups_of_a_size_come_by_hour_then_by_words(void **state)
{
    static const struct {
        const char *caller;
        int64_t hour;
    } rows[] = {{"b", 2}, {"a", 2}, {"c", 1}, {"z", 3}, {"z", 3}},
      wanted[] = {{"z", 3}, {"c", 1}, {"a", 2}, {"b", 2}};
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    struct stats *stats;
    struct err err = {0};
    uint32_t count;

    (void)state;
    assert_true(stats_open(&stats, STATS_CALLER | STATS_HOUR, &err));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        letter.caller = text_of(rows[i].caller);
        letter.last_death_us = rows[i].hour * INT64_C(3600000000);
        stats_add(stats, &letter);
    }
    const struct group *groups = stats_groups(stats, &count);
    assert_int_equal(count, sizeof wanted / sizeof wanted[0]);
    for (uint32_t i = 0; i < count; i++) {
        assert_string_equal(groups[i].caller, wanted[i].caller);
        assert_int_equal(groups[i].hour_us, wanted[i].hour * INT64_C(3600000000));
    }
    stats_close(stats);
}

/* --- lines ------------------------------------------------------------------------------- */

static void a_line_brings_back_every_byte(void **state)
{
    uint8_t body[300];
    struct bytes text;
    struct line line;
    char problem[PROBLEM_SIZE];

    (void)state;
    srand(7);
    for (uint32_t size = 0; size <= sizeof body; size++) {
        arena_reset(&arena);
        for (uint32_t i = 0; i < size; i++) body[i] = (uint8_t)rand();
        struct letter letter = sample("application/octet-stream", (struct bytes){body, size});
        assert_true(line_write(&letter, true, &arena, &text));
        assert_null(memchr(text.data, '\n', text.size));
        if (!line_read(text, &arena, &line, problem, sizeof problem)) fail_msg("%s", problem);
        assert_text(line.own_routing_key, "alice");
        assert_int_equal(line.body.size, size);
        if (size > 0) assert_memory_equal(line.body.data, body, size);
        assert_int_equal(line.properties.size, letter.properties.size);
        assert_memory_equal(line.properties.data, letter.properties.data, line.properties.size);
    }
}

/* A routing key is any bytes; of what the broker gave up it is the only place that has it. */
static void a_line_brings_back_any_routing_key(void **state)
{
    static const struct text keys[] = {TEXT_CONSTANT(""),        TEXT_CONSTANT("alice"),
                                       TEXT_CONSTANT("caf\xe9"), TEXT_CONSTANT("\xff"),
                                       TEXT_CONSTANT("a\0b"),    TEXT_CONSTANT("\xc3\xa9\"\\\n")};
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    char problem[PROBLEM_SIZE];
    struct bytes text;
    struct line line;

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        letter.own_routing_key = keys[i];
        assert_true(line_write(&letter, true, &arena, &text));
        assert_true(line_read(text, &arena, &line, problem, sizeof problem));
        if (!text_equal(line.own_routing_key, keys[i])) fail_msg("key %zu", i);
    }
}

/* One text for one value: what was damaged is refused, not guessed at. */
static void base64_is_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int size; /* -1: refused */
    } rows[] = {{"", 0},          {"AAA=", 2},      {"AA==", 1},      {"AAAA", 3},
                {"AAAAAA==", 4},  {"A===", -1},     {"====", -1},     {"=AAA", -1},
                {"AA=A", -1},     {"AB==", -1},     {"AAB=", -1},     {"AA==AAAA", -1},
                {"AAA=AAAA", -1}, {"AAA", -1},      {"-AAA", -1},     {" AAA", -1},
                {"AAA ", -1},     {"AAAA    ", -1}, {"    AAAA", -1}, {"    ", -1},
                {"AA\\nA", -1},   {"AAAA\\n", -1},  {"AAA\\n", -1},   {"AAA\\u0000", -1}};
    char text[128], problem[PROBLEM_SIZE];
    struct line line;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)snprintf(text, sizeof text, "{\"properties_base64\":\"AAA=\",\"body_base64\":\"%s\"}",
                       rows[i].text);
        bool ok = line_read(bytes_of(text), &arena, &line, problem, sizeof problem);
        if (ok != (rows[i].size >= 0) || (ok && (int)line.body.size != rows[i].size))
            fail_msg("'%s'", rows[i].text);
    }
}

static void a_line_is_readable_for_people(void **state)
{
    struct letter letter = sample("application/json", bytes_of(TRANSFER));
    struct bytes text;

    (void)state;
    assert_true(line_write(&letter, false, &arena, &text));
    char *copy = calloc(1, text.size + 1);
    assert_non_null(copy);
    memcpy(copy, text.data, text.size);
    assert_non_null(strstr(copy, "\"id\":\"4711\",\"reason\":\"malformed\""));
    assert_non_null(strstr(copy, "\"body\":{\"from\":\"alice\",\"to\":\"bob\",\"amount\":5}"));
    assert_null(strstr(copy, "base64"));
    free(copy);
}

static void what_is_no_line_is_refused(void **state)
{
    static const char *const lines[] = {"",
                                        "[]",
                                        "{",
                                        "{}",
                                        "{\"properties_base64\":7}",
                                        "{\"properties_base64\":\"!!!!\"}",
                                        "{\"properties_base64\":\"AAA\"}",
                                        "{\"properties_base64\":\"////\"}",
                                        "{\"properties_base64\":\"AAA=\",\"body_base64\":\"x\"}"};
    char problem[PROBLEM_SIZE];
    struct line line;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        problem[0] = '\0';
        if (line_read(bytes_of(lines[i]), &arena, &line, problem, sizeof problem))
            fail_msg("%s was taken", lines[i]);
        assert_true(strlen(problem) > 0);
    }
    assert_true(line_read(bytes_of("{\"properties_base64\":\"AAA=\",\"body_base64\":\"\"}"), &arena,
                          &line, problem, sizeof problem));
}

static int begin(void **state)
{
    struct err err = {0};

    (void)state;
    return codec_open(&codec, &err) && arena_open(&arena, 8 << 20, &err) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_a_letter_is_read),
        cmocka_unit_test(what_cannot_be_read_is_empty),
        cmocka_unit_test(the_brokers_own_dead_are_told_by_their_bytes),
        cmocka_unit_test(the_brokers_headers_tell_why_and_when),
        cmocka_unit_test(a_trace_id_is_found_in_either_header),
        cmocka_unit_test(an_id_covers_the_routing_key),
        cmocka_unit_test(a_replay_publishes_what_it_was),
        cmocka_unit_test(a_replay_is_rid_of_its_deaths),
        cmocka_unit_test(a_replay_has_no_user_id_and_never_expires),
        cmocka_unit_test(only_what_was_for_a_webhook_goes_back_there),
        cmocka_unit_test(a_replay_may_be_somebodys),
        cmocka_unit_test(a_replay_sends_no_copies),
        cmocka_unit_test(a_filter_wants_all_of_its_parts),
        cmocka_unit_test(ages_are_read_exactly),
        cmocka_unit_test(a_filter_is_recorded_as_it_is),
        cmocka_unit_test(a_cut_filter_is_still_text),
        cmocka_unit_test(letters_are_counted_in_bounded_memory),
        cmocka_unit_test(groups_know_their_hour_and_ages),
        cmocka_unit_test(words_are_bounded_and_printable),
        cmocka_unit_test(groups_of_a_size_come_by_hour_then_by_words),
        cmocka_unit_test(a_line_brings_back_every_byte),
        cmocka_unit_test(a_line_brings_back_any_routing_key),
        cmocka_unit_test(base64_is_read_strictly),
        cmocka_unit_test(a_line_is_readable_for_people),
        cmocka_unit_test(what_is_no_line_is_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
