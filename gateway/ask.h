/*
 * ask.h - what an HTTP request asks, as a message to the ledger. Pure.
 *
 * What is made is held to the ledger's own decoder (protocol/request.h) before it is sent, so a
 * malformed request is refused here, in the ledger's words, and never becomes a dead letter.
 */
#ifndef GATEWAY_ASK_H
#define GATEWAY_ASK_H

#include "base/publisher_amqp.h"
#include "protocol/request.h"

struct ask {
    struct codec *codec;
    struct arena *arena; /* all that is made lies here */
    struct text exchange;
    struct text app_id, user_id; /* the caller; empty: none */
    struct text key;
    const struct trace *trace;
    struct text reply_to, correlation_id;
};

struct ask_pair { /* of a query string, decoded */
    struct text name, value;
};

/* A JSON object to a msgpack map; with type_out its key "type" is taken out of it. */
MUST_CHECK bool ask_body(const struct ask *ask, struct bytes json, struct text *type_out,
                         struct bytes *map, char problem[static PROBLEM_SIZE]);
/* Pairs to a map; "limit" becomes an integer. */
MUST_CHECK bool ask_pairs(const struct ask *ask, const struct ask_pair *pairs, uint32_t count,
                          struct bytes *map, char problem[static PROBLEM_SIZE]);

/* RESULT_APPLIED, and the message is there; else the refusal, with its sentence in problem.
 * Commands that are not for HTTP are RESULT_UNKNOWN_TYPE. */
enum result ask_message(const struct ask *ask, struct text type, struct bytes map,
                        struct message *out, char problem[static PROBLEM_SIZE]);

#endif
