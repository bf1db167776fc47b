/*
 * verify_chain_pg.c - walks the chains of accounts and recomputes every hash. Entries come in order
 * from the two indexes of an account's history, one row at a time, so memory stays flat whatever an
 * account's length. Of each account the first thing that is wrong is told: what follows hangs on
 * it.
 */
#include "ledger/chain.h"
#include "ledger/entry_pg.h"
#include "ledger/verify_internal_pg.h"
#include "protocol/command.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { RANGE_ACCOUNTS = 256 };

/* Plans for streams: in the order of the indexes, nothing gathered or sorted first. */
static const char tune[] = "SET LOCAL enable_seqscan TO off; SET LOCAL enable_bitmapscan TO off;"
                           "SET LOCAL enable_sort TO off; SET LOCAL enable_hashjoin TO off;"
                           "SET LOCAL enable_mergejoin TO off; SET LOCAL enable_material TO off;"
                           "SET LOCAL max_parallel_workers_per_gather TO 0; SET LOCAL jit TO off";

static const struct statement next_range = {
    "verify_chain_range", "SELECT coalesce(max(number), 0)"
                          "  FROM (SELECT number FROM account WHERE kind = 0 AND number > $1::int8"
                          "         ORDER BY number LIMIT $2::int8) AS next"};

enum column { NUMBER, LAST_SEQ, HEAD, HASH, FIELDS };

static const struct statement chains = {
    "verify_chain",
    "SELECT own.number, own.seq, own.head, step.hash, " ENTRY_COLUMNS "  FROM account AS own"
    "  LEFT JOIN LATERAL ("
    "       " ENTRY_SIDE("debit", "credit", "debit = own.number") " UNION ALL " ENTRY_SIDE(
        "credit", "debit", "credit = own.number") " ORDER BY seq) AS step ON true" ENTRY_JOIN_OTHER
                                                  " WHERE own.kind = 0 AND own.number > $1::int8 "
                                                  "AND own.number <= $2::int8"
                                                  " ORDER BY own.number"};

struct walk { /* along one account's chain */
    const struct verify *verify;
    int64_t number; /* 0: none yet */
    char id[ID_LENGTH_MAX + 1];
    int64_t seq; /* of its last entry; -1: none yet */
    int64_t balance;
    struct uuid transaction;
    struct sha256 hash; /* of that */
    struct sha256 head;
    bool is_told;
};

static void tell(struct walk *walk, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct walk *walk, const char *format, ...)
{
    char sentence[256];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    verify_differ(walk->verify, "account %s: %s", walk->id, sentence);
    walk->is_told = true;
}

/* The account's last word. */
static void walk_end(struct walk *walk)
{
    char transaction[UUID_TEXT_SIZE];

    if (walk->number == 0 || walk->is_told) return;
    if (memcmp(&walk->hash, &walk->head, sizeof walk->hash) == 0 && walk->seq >= 0) return;
    uuid_format(&walk->transaction, transaction);
    if (walk->seq < 0)
        tell(walk, "entry 0, its opening, was removed");
    else
        tell(walk,
             "its head is not the hash of its last entry %" PRId64 ", transaction %s:"
             " the entry after it was removed, or the head changed",
             walk->seq, transaction);
}

static void walk_begin(struct walk *walk, const PGresult *row)
{
    struct text id = cell_text(row, 0, FIELDS + CHAIN_ACCOUNT);

    walk_end(walk);
    *walk = (struct walk){.verify = walk->verify, .number = cell_int64(row, 0, NUMBER), .seq = -1};
    (void)snprintf(walk->id, sizeof walk->id, "%.*s", TEXT_ARGS(id));
    if (!entry_read_hash(row, 0, HEAD, &walk->head)) tell(walk, "its head is no hash");
}

/* 0 for a null, which no program wrote. */
static int64_t number_of(const PGresult *row, enum chain_field field)
{
    int column = FIELDS + (int)field;
    return cell_is_null(row, 0, column) ? 0 : cell_int64(row, 0, column);
}

/* What an entry is to its account's balance. */
static int64_t moved(const PGresult *row)
{
    bool is_debit = text_equal(cell_text(row, 0, FIELDS + CHAIN_DIRECTION), TEXT_LITERAL("debit"));

    if (cell_is_null(row, 0, FIELDS + CHAIN_COUNTERPARTY)) return 0;
    int64_t amount = number_of(row, CHAIN_AMOUNT);
    return is_debit ? -amount : amount;
}

/* The hash is right; whether the balance is has still to be seen. */
static void walk_balance(struct walk *walk, const PGresult *row, const char *transaction)
{
    int64_t after, balance = number_of(row, CHAIN_BALANCE), amount = moved(row);

    if (__builtin_add_overflow(walk->balance, amount, &after) || after != balance)
        tell(walk, "transaction %s moves %" PRId64 " and leaves %" PRId64 ", after %" PRId64,
             transaction, amount, balance, walk->balance);
    walk->balance = balance;
}

static void walk_step(struct walk *walk, const PGresult *row)
{
    int64_t seq = cell_int64(row, 0, FIELDS + CHAIN_SEQ);
    char transaction[UUID_TEXT_SIZE];
    struct sha256 stored, content;
    struct entry_row entry;

    walk->transaction = cell_uuid(row, 0, FIELDS + CHAIN_TRANSACTION);
    uuid_format(&walk->transaction, transaction);
    if (seq > walk->seq + 1) {
        tell(walk, "entry %" PRId64 " was removed; the next one is %" PRId64 ", transaction %s",
             walk->seq + 1, seq, transaction);
        return;
    }
    if (seq <= walk->seq) {
        tell(walk, "entry %" PRId64 ", transaction %s, was inserted: there are two", seq,
             transaction);
        return;
    }
    entry_read(row, 0, FIELDS, &entry);
    chain_content(&entry.entry, &content);
    chain_link(&walk->hash, &content, &walk->hash);
    walk->seq = seq;
    if (!entry_read_hash(row, 0, HASH, &stored) || memcmp(&stored, &walk->hash, sizeof stored) != 0)
        tell(walk, "entry %" PRId64 ", transaction %s, was changed or inserted by hand", seq,
             transaction);
    else
        walk_balance(walk, row, transaction);
}

static bool walk_range(struct walk *walk, const struct param params[static 2], struct err *err)
{
    const struct verify *verify = walk->verify;
    PGresult *row;

    if (!query_rows_begin(verify->db, &chains, params, 2, err)) return false;
    while (query_rows_next(verify->db, &row, err)) {
        if (row == NULL) {
            walk_end(walk);
            return true;
        }
        if (cell_int64(row, 0, NUMBER) != walk->number) walk_begin(walk, row);
        bool has_entry = !cell_is_null(row, 0, FIELDS + CHAIN_SEQ);
        if (has_entry) atomic_fetch_add(&verify->shared->done, 1);
        if (has_entry && !walk->is_told) walk_step(walk, row);
        PQclear(row);
    }
    return false;
}

/* The next accounts that nobody has taken, as $1 and $2. */
static bool take_range(const struct verify *verify, uint8_t first[static CHAIN_NUMBER_SIZE],
                       uint8_t last[static CHAIN_NUMBER_SIZE], bool *taken, struct err *err)
{
    struct verify_shared *shared = verify->shared;
    uint8_t most[CHAIN_NUMBER_SIZE];
    PGresult *row = NULL;
    int64_t end = 0;

    (void)pthread_mutex_lock(&shared->lock);
    const struct param params[] = {{chain_number(first, shared->chained).data, CHAIN_NUMBER_SIZE},
                                   {chain_number(most, RANGE_ACCOUNTS).data, CHAIN_NUMBER_SIZE}};
    bool ok = query_one(verify->db, &next_range, params, 2, &row, err);
    if (ok) end = cell_int64(row, 0, 0);
    *taken = end > shared->chained;
    if (*taken) shared->chained = end;
    (void)pthread_mutex_unlock(&shared->lock);
    (void)chain_number(last, end);
    PQclear(row);
    return ok;
}

bool verify_chains(const struct verify *verify, struct err *err)
{
    uint8_t first[CHAIN_NUMBER_SIZE], last[CHAIN_NUMBER_SIZE];
    bool taken = false;

    if (!db_run(verify->db, tune, err)) return false;
    while (!atomic_load(&verify->shared->failed)) {
        struct walk walk = {.verify = verify};
        const struct param params[] = {{first, sizeof first}, {last, sizeof last}};
        if (!take_range(verify, first, last, &taken, err)) return false;
        if (!taken) return true;
        if (!walk_range(&walk, params, err)) return false;
    }
    return true;
}
