/*
 * topology.h - exchanges, queues and bindings as data; topology_amqp.h declares or checks them.
 */
#ifndef BASE_TOPOLOGY_H
#define BASE_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

enum { TOPOLOGY_NAME_SIZE = 128, TOPOLOGY_ARGUMENTS_MAX = 6 };

struct topology_argument { /* text, or number when text is NULL, or a boolean when is_flag */
    const char *name;
    const char *text;
    int64_t number;
    bool is_flag;
};

struct topology_exchange {
    char name[TOPOLOGY_NAME_SIZE];
    const char *type; /* "topic", "x-modulus-hash", "direct" */
};

struct topology_queue { /* durable, not exclusive */
    char name[TOPOLOGY_NAME_SIZE];
    struct topology_argument arguments[TOPOLOGY_ARGUMENTS_MAX];
    uint32_t arguments_count;
};

struct topology_binding {
    bool to_exchange; /* else to a queue */
    char source[TOPOLOGY_NAME_SIZE];
    char destination[TOPOLOGY_NAME_SIZE];
    char key[TOPOLOGY_NAME_SIZE];
};

struct topology {
    const struct topology_exchange *exchanges;
    uint32_t exchanges_count;
    const struct topology_queue *queues;
    uint32_t queues_count;
    const struct topology_binding *bindings;
    uint32_t bindings_count;
};

#endif
