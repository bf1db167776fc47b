/*
 * history.h - what a reply tells of an account's past: its entries, and what left it as it was at a
 * time. Maps with the keys of docs/protocol.md.
 */
#ifndef PROTOCOL_HISTORY_H
#define PROTOCOL_HISTORY_H

#include "protocol/codec.h"
#include "protocol/command.h"

struct entry_view { /* one change of an account, as the account saw it */
    struct uuid transaction;
    enum command_type type;
    int64_t amount; /* 0: none */
    bool moves;     /* the amount, to or from the counterparty; else it is what was held or freed */
    bool is_credit; /* with moves: the account received; "direction": "credit" or "debit" */
    struct text counterparty;   /* with moves; an asset's world as world:EUR */
    int64_t balance, held, seq; /* after it */
    int64_t timestamp_us;
    struct uuid trace_id;
    struct uuid refers; /* of a capture, release, expiry: the hold; of a reversal the transaction */
    int64_t floor;      /* that a set_floor set */
    struct text caller, key;
    struct bytes metadata;
};

struct history_view { /* one page */
    const struct entry_view *entries;
    uint32_t count;
    struct uuid cursor; /* zero: there is no more */
};

struct as_of_view {          /* what left the account so */
    struct uuid transaction; /* zero: its opening */
    int64_t timestamp_us;
};

void entry_pack(struct writer *writer, const struct entry_view *view);     /* a map */
void history_pack(struct writer *writer, const struct history_view *view); /* a list of them */
/* Views into `array` and the arena; the cursor is the caller's to read. */
MUST_CHECK bool history_unpack(struct bytes array, struct arena *arena, struct history_view *out,
                               char problem[static PROBLEM_SIZE]);

void as_of_pack(struct writer *writer, const struct as_of_view *view); /* a map */
MUST_CHECK bool as_of_unpack(struct bytes map, struct as_of_view *out,
                             char problem[static PROBLEM_SIZE]);

#endif
