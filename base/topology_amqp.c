/*
 * topology_amqp.c - exchanges first, then queues, then bindings. Ensures: it stops at the first
 * refusal (the broker has closed the channel then), names what was refused, and says what to do
 * about it.
 *
 * AMQP has no passive form of a binding, so TOPOLOGY_CHECK checks exchanges and queues.
 */
#include "base/topology_amqp.h"

#include "base/link_amqp.h"

#include <assert.h>

enum { TOPOLOGY_TIMEOUT_MS = 10000, TOPOLOGY_HEARTBEAT_S = 30 };

/* Completes the error of a refused declaration with what to do. */
static bool declared(struct link *link, const char *kind, const char *name, enum topology_mode mode,
                     struct err *err)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(link->state);
    uint16_t code = link_refusal_code(reply);
    const char *verb = mode == TOPOLOGY_CHECK ? "find" : "declare";
    struct err refused;

    if (link_answered(link, reply, ERR_FATAL, &refused, "%s %s %s", verb, kind, name)) return true;
    const char *advice = "";
    if (code == AMQP_NOT_FOUND && mode == TOPOLOGY_CHECK)
        advice = "; declare it, or let this process do so by setting the topology to declare";
    if (code == AMQP_PRECONDITION_FAILED)
        advice =
            "; delete it when it is empty, or change the setting back to what it was made with";
    if (code == AMQP_COMMAND_INVALID)
        advice = "; enable the plugin with this type of exchange, on every node";
    return err_set(err, refused.kind, "%s%s", refused.text, advice);
}

static bool exchange_apply(struct link *link, const struct topology_exchange *exchange,
                           enum topology_mode mode, struct err *err)
{
    bool passive = mode == TOPOLOGY_CHECK;

    (void)amqp_exchange_declare(link->state, LINK_CHANNEL, amqp_cstring_bytes(exchange->name),
                                amqp_cstring_bytes(exchange->type), passive, true, false, false,
                                amqp_empty_table);
    return declared(link, "exchange", exchange->name, mode, err);
}

static amqp_table_entry_t entry_of(const struct topology_argument *argument)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(argument->name)};

    if (argument->is_flag) {
        entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
        entry.value.value.boolean = argument->number != 0;
    } else if (argument->text != NULL) {
        entry.value.kind = AMQP_FIELD_KIND_UTF8;
        entry.value.value.bytes = amqp_cstring_bytes(argument->text);
    } else {
        entry.value.kind = AMQP_FIELD_KIND_I64;
        entry.value.value.i64 = argument->number;
    }
    return entry;
}

static bool queue_apply(struct link *link, const struct topology_queue *queue,
                        enum topology_mode mode, struct err *err)
{
    bool passive = mode == TOPOLOGY_CHECK;
    amqp_table_entry_t entries[TOPOLOGY_ARGUMENTS_MAX];

    assert(queue->arguments_count <= TOPOLOGY_ARGUMENTS_MAX);
    for (uint32_t i = 0; i < queue->arguments_count; i++)
        entries[i] = entry_of(&queue->arguments[i]);
    amqp_table_t arguments = {.num_entries = (int)queue->arguments_count, .entries = entries};
    (void)amqp_queue_declare(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue->name), passive,
                             true, false, false, arguments);
    return declared(link, "queue", queue->name, mode, err);
}

static bool binding_apply(struct link *link, const struct topology_binding *binding,
                          struct err *err)
{
    amqp_bytes_t source = amqp_cstring_bytes(binding->source);
    amqp_bytes_t destination = amqp_cstring_bytes(binding->destination);
    amqp_bytes_t key = amqp_cstring_bytes(binding->key);

    if (binding->to_exchange)
        (void)amqp_exchange_bind(link->state, LINK_CHANNEL, destination, source, key,
                                 amqp_empty_table);
    else
        (void)amqp_queue_bind(link->state, LINK_CHANNEL, destination, source, key,
                              amqp_empty_table);
    return link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, err, "bind %s to %s",
                         binding->destination, binding->source);
}

static bool topology_apply_on(struct link *link, const struct topology *topology,
                              enum topology_mode mode, struct err *err)
{
    for (uint32_t i = 0; i < topology->exchanges_count; i++)
        if (!exchange_apply(link, &topology->exchanges[i], mode, err)) return false;
    for (uint32_t i = 0; i < topology->queues_count; i++)
        if (!queue_apply(link, &topology->queues[i], mode, err)) return false;
    if (mode == TOPOLOGY_CHECK) return true;
    for (uint32_t i = 0; i < topology->bindings_count; i++)
        if (!binding_apply(link, &topology->bindings[i], err)) return false;
    return true;
}

bool topology_apply(const char *url, const struct topology *topology, enum topology_mode mode,
                    struct err *err)
{
    struct link_options options = {url, "topology", TOPOLOGY_HEARTBEAT_S, TOPOLOGY_TIMEOUT_MS};
    struct link *link = NULL;

    if (mode == TOPOLOGY_NONE) return true;
    if (!link_open(&link, &options, err)) return false;
    bool ok = topology_apply_on(link, topology, mode, err);
    link_close(link);
    return ok;
}

bool topology_delete_queue(const char *url, const char *name, struct err *err)
{
    struct link_options options = {url, "topology", TOPOLOGY_HEARTBEAT_S, TOPOLOGY_TIMEOUT_MS};
    struct link *link = NULL;

    if (!link_open(&link, &options, err)) return false;
    (void)amqp_queue_delete(link->state, LINK_CHANNEL, amqp_cstring_bytes(name), false, false);
    bool ok = link_answered(link, amqp_get_rpc_reply(link->state), ERR_RETRY, err,
                            "delete queue %s", name);
    link_close(link);
    return ok;
}
