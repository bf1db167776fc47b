/*
 * test_names.c - the names under a prefix, which prefixes are refused, and the topology that is
 * declared.
 */
#include "protocol/names.h"
#include "tests/test.h"

#include <string.h>

static struct names names;
static struct names_topology all;

static void test_names(void **state)
{
    struct err err = {0};

    (void)state;
    assert_true(names_make(&names, "ledger", SHARDS_MAX, &err));
    assert_string_equal(names.commands, "ledger.commands");
    assert_string_equal(names.spread, "ledger.commands.shards");
    assert_string_equal(names.events, "ledger.events");
    assert_string_equal(names.dlx, "ledger.dlx");
    assert_string_equal(names.dlq, "ledger.dlq");
    assert_string_equal(names.shard[0], "ledger.commands.0");
    assert_string_equal(names.shard[SHARDS_MAX - 1], "ledger.commands.255");
}

static void test_prefixes(void **state)
{
    static const struct {
        const char *prefix;
        bool valid;
    } rows[] = {
        {"ledger", true},
        {"A-Z_0.9", true},
        {"amqp", true},
        {"12345678901234567890123456789012", true},
        {"123456789012345678901234567890123", false},
        {"", false},
        {"amq", false},
        {"amq.ledger", false},
        {"a b", false},
        {"a#", false},
        {"a*", false},
        {"a/b", false},
        {"\xc3\xa9", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        if (names_make(&names, rows[i].prefix, 1, &err) != rows[i].valid)
            fail_msg("'%s': %s", rows[i].prefix, err.text);
        if (!rows[i].valid) assert_int_equal(err.kind, ERR_FATAL);
    }
}

static void test_shards(void **state)
{
    static const struct {
        uint32_t shards;
        bool valid;
    } rows[] = {{0, false}, {1, true}, {SHARDS_MAX, true}, {SHARDS_MAX + 1, false}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        if (names_make(&names, "l", rows[i].shards, &err) != rows[i].valid)
            fail_msg("%u shards", rows[i].shards);
    }
}

static void test_own_queues(void **state)
{
    static const struct {
        const char *queue;
        bool own;
    } rows[] = {
        {"ledger.dlq", true},
        {"ledger.commands.0", true},
        {"ledger.commands.3", true},
        {"ledger.commands.200", true}, /* a shard of larger days */
        {"ledger.commands", false},    /* no queue has this name, so nothing is to be protected */
        {"ledger.webhooks", true},
        {"ledger.webhooks.to.0123456789abcdef", true},
        {"ledger.webhooks.delay.5000", true},
        {"ledger.webhooksx", false},
        {"ledger.dlq2", false},
        {"ledger.dl", false},
        {"ledger.commandsx0", false},
        {"replies", false},
        {"amq.rabbitmq.reply-to.g1h2AA==", false},
        {"", false},
    };
    struct err err = {0};

    (void)state;
    assert_true(names_make(&names, "ledger", 4, &err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (names_is_own_queue(&names, text_of(rows[i].queue)) != rows[i].own)
            fail_msg("'%s'", rows[i].queue);
}

static const struct topology_argument *argument(const struct topology_queue *queue,
                                                const char *name)
{
    for (uint32_t i = 0; i < queue->arguments_count; i++)
        if (strcmp(queue->arguments[i].name, name) == 0) return &queue->arguments[i];
    return NULL;
}

static void assert_argument(const struct topology_queue *queue, const char *name, const char *text)
{
    const struct topology_argument *found = argument(queue, name);

    if (found == NULL)
        fail_msg("%s has no %s", queue->name, name);
    else
        assert_string_equal(found->text, text);
}

static void assert_binding(uint32_t i, const char *source, const char *destination,
                           bool to_exchange, const char *key)
{
    const struct topology_binding *binding = &all.topology.bindings[i];

    assert_string_equal(binding->source, source);
    assert_string_equal(binding->destination, destination);
    assert_int_equal(binding->to_exchange, to_exchange);
    assert_string_equal(binding->key, key);
}

static void test_topology(void **state)
{
    static const char *const exchanges[][2] = {{"ledger.commands", "topic"},
                                               {"ledger.commands.shards", "x-modulus-hash"},
                                               {"ledger.events", "topic"},
                                               {"ledger.dlx", "topic"}};
    struct err err = {0};

    (void)state;
    assert_true(names_make(&names, "ledger", 3, &err));
    names_topology(&names, &all);
    assert_int_equal(all.topology.exchanges_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_string_equal(all.topology.exchanges[i].name, exchanges[i][0]);
        assert_string_equal(all.topology.exchanges[i].type, exchanges[i][1]);
    }

    assert_int_equal(all.topology.queues_count, 4);
    for (uint32_t i = 0; i < 3; i++) {
        const struct topology_queue *queue = &all.topology.queues[i];
        assert_string_equal(queue->name, names.shard[i]);
        assert_int_equal(queue->arguments_count, 6);
        const struct topology_argument *limit = argument(queue, "x-delivery-limit");
        assert_non_null(limit);
        assert_true(limit->number >=
                    1000000); /* never reached: nothing is given up by the broker */
        assert_argument(queue, "x-queue-type", "quorum");
        assert_argument(queue, "x-overflow", "reject-publish");
        assert_argument(queue, "x-dead-letter-exchange", "ledger.dlx");
        assert_argument(queue, "x-dead-letter-strategy", "at-least-once");
        const struct topology_argument *single = argument(queue, "x-single-active-consumer");
        assert_non_null(single);
        assert_true(single->is_flag);
        assert_true(single->number != 0);
    }
    assert_string_equal(all.topology.queues[3].name, "ledger.dlq");
    assert_int_equal(all.topology.queues[3].arguments_count, 3);
    assert_non_null(argument(&all.topology.queues[3], "x-delivery-limit"));
    assert_argument(&all.topology.queues[3], "x-queue-type", "quorum");
    assert_argument(&all.topology.queues[3], "x-overflow", "reject-publish");

    assert_int_equal(all.topology.bindings_count, 5);
    for (uint32_t i = 0; i < 3; i++)
        assert_binding(i, "ledger.commands.shards", names.shard[i], false, "shard");
    assert_binding(3, "ledger.commands", "ledger.commands.shards", true, "#");
    assert_binding(4, "ledger.dlx", "ledger.dlq", false, "#");
}

static void test_topology_largest(void **state)
{
    struct err err = {0};

    (void)state;
    assert_true(names_make(&names, "12345678901234567890123456789012", SHARDS_MAX, &err));
    names_topology(&names, &all);
    assert_int_equal(all.topology.queues_count, SHARDS_MAX + 1);
    assert_int_equal(all.topology.bindings_count, SHARDS_MAX + 2);
    assert_binding(SHARDS_MAX + 1, names.dlx, names.dlq, false, "#");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),    cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_shards),   cmocka_unit_test(test_own_queues),
        cmocka_unit_test(test_topology), cmocka_unit_test(test_topology_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
