/*
 * names.c - see names.h. Nothing that enters these queues may leave them but by an acknowledgement
 * or as a dead letter: no length limit, no time to live, no delivery limit, and where an operator's
 * policy sets a length after all, the publisher is refused instead of the oldest message dropped.
 */
#include "protocol/names.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

_Static_assert(PREFIX_LENGTH_MAX + sizeof ".commands.shards" <= TOPOLOGY_NAME_SIZE, "names fit");

/* The broker keeps names that begin with "amq." to itself. */
static bool prefix_is_valid(const char *prefix)
{
    size_t length = strlen(prefix);

    if (length == 0 || length > PREFIX_LENGTH_MAX) return false;
    if (strcmp(prefix, "amq") == 0 || strncmp(prefix, "amq.", 4) == 0) return false;
    return strspn(prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
           length;
}

static void name_join(char name[static TOPOLOGY_NAME_SIZE], const char *prefix, const char *suffix)
{
    int length = snprintf(name, TOPOLOGY_NAME_SIZE, "%s%s", prefix, suffix);

    assert(length > 0);
    assert(length < TOPOLOGY_NAME_SIZE);
}

bool names_make(struct names *names, const char *prefix, uint32_t shards, struct err *err)
{
    if (!prefix_is_valid(prefix))
        return err_set(err, ERR_FATAL,
                       "could not name queues: the prefix must be 1 to %d characters of A-Z a-z "
                       "0-9 . _ - and not begin with amq",
                       PREFIX_LENGTH_MAX);
    if (shards == 0 || shards > SHARDS_MAX)
        return err_set(err, ERR_FATAL, "could not name queues: shards must be 1 to %d, not %u",
                       SHARDS_MAX, shards);

    memset(names, 0, sizeof *names);
    names->shards = shards;
    name_join(names->commands, prefix, ".commands");
    name_join(names->spread, prefix, ".commands.shards");
    name_join(names->events, prefix, ".events");
    name_join(names->dlx, prefix, ".dlx");
    name_join(names->dlq, prefix, ".dlq");
    name_join(names->webhooks, prefix, ".webhooks");
    for (uint32_t i = 0; i < shards; i++) {
        char suffix[32];
        (void)snprintf(suffix, sizeof suffix, ".commands.%u", i);
        name_join(names->shard[i], prefix, suffix);
    }
    return true;
}

static bool is_below(struct text name, const char *family)
{
    struct text above = text_of(family);

    return name.length > above.length && name.bytes[above.length] == '.' &&
           text_equal((struct text){name.bytes, above.length}, above);
}

/* A shard's name counts whatever its number is: the ledger may have had more shards before. */
bool names_is_own_queue(const struct names *names, struct text queue)
{
    return text_equal(queue, text_of(names->dlq)) || text_equal(queue, text_of(names->webhooks)) ||
           is_below(queue, names->commands) || is_below(queue, names->webhooks);
}

static void exchange_set(struct topology_exchange *exchange, const char *name, const char *type)
{
    name_join(exchange->name, name, "");
    exchange->type = type;
}

static void queue_set(struct topology_queue *queue, const char *name,
                      const struct topology_argument *arguments, uint32_t count)
{
    assert(count <= TOPOLOGY_ARGUMENTS_MAX);
    name_join(queue->name, name, "");
    memcpy(queue->arguments, arguments, count * sizeof *arguments);
    queue->arguments_count = count;
}

static void binding_set(struct topology_binding *binding, const char *source,
                        const char *destination, bool to_exchange, const char *key)
{
    binding->to_exchange = to_exchange;
    name_join(binding->source, source, "");
    name_join(binding->destination, destination, "");
    name_join(binding->key, key, "");
}

/* As good as none, but said: with a limit RabbitMQ puts a message that comes back at the head of
 * its queue, without one (before 4.0) at the tail, which would break the order of an account; and
 * from 4.0 on the unsaid limit is 20. */
enum { DELIVERY_LIMIT = 1000000000 };

void names_topology(const struct names *names, struct names_topology *out)
{
    const struct topology_argument shard_arguments[] = {
        {.name = "x-queue-type", .text = "quorum"},
        {.name = "x-single-active-consumer", .is_flag = true, .number = true},
        {.name = "x-overflow", .text = "reject-publish"},
        {.name = "x-dead-letter-exchange", .text = out->exchanges[3].name},
        {.name = "x-dead-letter-strategy", .text = "at-least-once"},
        {.name = "x-delivery-limit", .number = DELIVERY_LIMIT},
    };
    const struct topology_argument dlq_arguments[] = {
        {.name = "x-queue-type", .text = "quorum"},
        {.name = "x-overflow", .text = "reject-publish"},
        {.name = "x-delivery-limit", .number = DELIVERY_LIMIT},
    };

    assert(names->shards > 0);
    assert(names->shards <= SHARDS_MAX);
    memset(out, 0, sizeof *out);
    exchange_set(&out->exchanges[0], names->commands, "topic");
    exchange_set(&out->exchanges[1], names->spread, "x-modulus-hash");
    exchange_set(&out->exchanges[2], names->events, "topic");
    exchange_set(&out->exchanges[3], names->dlx, "topic");

    /* Hash of the routing key modulo the number of bindings, which RabbitMQ keeps in their order:
       so all have the same binding key, and a restart changes nothing. A consistent-hash exchange
       would build its ring anew at each restart, in another order, and send an account's commands
       to another shard than the one in which older ones wait. */
    for (uint32_t i = 0; i < names->shards; i++) {
        queue_set(&out->queues[i], names->shard[i], shard_arguments, 6);
        binding_set(&out->bindings[i], names->spread, names->shard[i], false, "shard");
    }
    queue_set(&out->queues[names->shards], names->dlq, dlq_arguments, 3);
    binding_set(&out->bindings[names->shards], names->commands, names->spread, true, "#");
    binding_set(&out->bindings[names->shards + 1], names->dlx, names->dlq, false, "#");

    out->topology = (struct topology){
        .exchanges = out->exchanges,
        .exchanges_count = 4,
        .queues = out->queues,
        .queues_count = names->shards + 1,
        .bindings = out->bindings,
        .bindings_count = names->shards + 2,
    };
}
