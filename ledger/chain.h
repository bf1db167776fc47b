/*
 * chain.h - what makes an account's history tamper-evident: its entries form a chain of hashes.
 *
 * An entry is one step of an account's seq; entry 0 is its opening. Its content is the list below,
 * its hash covers that and the hash of the entry before (32 zero bytes before entry 0). The account
 * keeps the hash of its last entry: its head.
 *
 *     content = SHA-256(0x02 || for each field that is not null, by number:
 *                               number (1 byte) || length (4 bytes) || value)
 *     hash    = SHA-256(0x03 || previous hash || content)
 *
 * Numbers are signed and 8 bytes, lengths 4 bytes, both in network byte order. A new field gets the
 * next number: entries that have none of it keep their hashes. 0x00 and 0x01 begin the leaves and
 * nodes of Merkle trees, so nothing that is hashed here can be taken for one of those.
 */
#ifndef LEDGER_CHAIN_H
#define LEDGER_CHAIN_H

#include "base/bytes.h"
#include "base/sha256.h"

enum { HASH_CONTENT = 0x02, HASH_ENTRY = 0x03 }; /* the first byte of what is hashed */

enum chain_kind { CHAIN_TEXT, CHAIN_NUMBER, CHAIN_UUID, CHAIN_BOOL, CHAIN_BYTES };

/* clang-format off */
#define CHAIN_FIELDS(X) /* enum, number (never changes), name, kind */ \
    X(ACCOUNT,      1,  "account",         TEXT)   /* its id */ \
    X(ASSET,        2,  "asset",           TEXT)   /* the account's */ \
    X(USER,         3,  "user_id",         TEXT)   /* of an opening: the owner; else null */ \
    X(DIRECTION,    4,  "direction",       TEXT)   /* "debit" or "credit": the column it stands in */ \
    X(SEQ,          5,  "seq",             NUMBER) \
    X(BALANCE,      6,  "balance",         NUMBER) /* after it, as held is */ \
    X(HELD,         7,  "held",            NUMBER) \
    X(TRANSACTION,  8,  "transaction",     UUID)   /* the outcome's id */ \
    X(CREATED,      9,  "created_us",      NUMBER) /* microseconds since 1970, UTC */ \
    X(COMMAND,      10, "type",            TEXT)   /* the command's word */ \
    X(AMOUNT,       11, "amount",          NUMBER) \
    X(COUNTERPARTY, 12, "counterparty",    TEXT)   /* the other account's id */ \
    X(REFERS,       13, "refers",          UUID) \
    X(SETTLES,      14, "settles",         BOOL)   /* 1 byte, 0 or 1 */ \
    X(BATCH,        15, "batch",           UUID) \
    X(LEG,          16, "leg",             NUMBER) \
    X(TRACE,        17, "trace_id",        UUID) \
    X(CALLER,       18, "app_id",          TEXT) \
    X(KEY,          19, "idempotency_key", TEXT) \
    X(FINGERPRINT,  20, "fingerprint",     UUID) \
    X(METADATA,     21, "metadata",        BYTES)  /* canonical msgpack */ \
    X(FLOOR,        22, "floor",           NUMBER) /* that was set */ \
    X(IMPORT,       23, "import",          NUMBER) /* the number of the import it came with */ \
    X(SCHEDULED,    24, "scheduled",       UUID)   /* that this is the execution of */
/* clang-format on */

enum chain_field {
#define X(name, number, word, kind) CHAIN_##name,
    CHAIN_FIELDS(X)
#undef X
        CHAIN_FIELDS_COUNT
};

struct chain_entry {                         /* in the form that is hashed; views */
    struct bytes fields[CHAIN_FIELDS_COUNT]; /* data NULL: null */
};

const char *chain_field_name(enum chain_field field);
enum chain_kind chain_field_kind(enum chain_field field);

void chain_content(const struct chain_entry *entry, struct sha256 *out);
/* out may be previous. */
void chain_link(const struct sha256 *previous, const struct sha256 *content, struct sha256 *out);

enum { CHAIN_NUMBER_SIZE = 8 };
/* A number in the form that is hashed, in memory of the caller's. */
struct bytes chain_number(uint8_t memory[static CHAIN_NUMBER_SIZE], int64_t value);
struct bytes chain_text(struct text value); /* never null */

#endif
