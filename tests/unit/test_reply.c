/*
 * test_reply.c - replies on the wire: golden bytes in both encodings, round trips of random
 * replies, every truncation and every wrong type refused, unknown keys ignored.
 */
#include "protocol/reply.h"
#include "tests/wire.h"

enum { SEEDS = 500 };

static struct arena arena;
static struct codec *codec;

/* Maps and lists are written by hand here; the other heads are a byte before each word. */
#define TRANSACTION                                                                                \
    "\xab"                                                                                         \
    "transaction"                                                                                  \
    "\xd9\x24"                                                                                     \
    "019aaf11-2233-7444-8555-66778899aabb"
#define TIMESTAMP                                                                                  \
    "\xa9"                                                                                         \
    "timestamp"                                                                                    \
    "\xbb"                                                                                         \
    "2026-11-23T12:00:00.000000Z"
#define CREATED_AT                                                                                 \
    "\xaa"                                                                                         \
    "created_at"                                                                                   \
    "\xbb"                                                                                         \
    "2026-11-23T12:00:00.000000Z"
#define TRACE_ID                                                                                   \
    "\xa8"                                                                                         \
    "trace_id"                                                                                     \
    "\xd9\x20"                                                                                     \
    "4bf92f3577b34da6a3ce929d0e0e4736"
#define APPLIED                                                                                    \
    "\xa6"                                                                                         \
    "status"                                                                                       \
    "\xa7"                                                                                         \
    "applied"                                                                                      \
    "\xa4"                                                                                         \
    "code"                                                                                         \
    "\xcc\xc8"                                                                                     \
    "\xa7"                                                                                         \
    "message"                                                                                      \
    "\xa7"                                                                                         \
    "applied"
#define JSON_END                                                                                   \
    "\"timestamp\":\"2026-11-23T12:00:00.000000Z\",\"trace_id\":"                                  \
    "\"4bf92f3577b34da6a3ce929d0e0e4736\"}"
#define JSON_APPLIED "{\"status\":\"applied\",\"code\":200,\"message\":\"applied\","

struct golden {
    const char *why;
    struct reply reply;
    struct text msgpack;
    struct text json;
};

static const struct text alices[] = {{"alice:eur", 9}, {"alice:usd", 9}};
static const struct user_view user = {.user_id = {"alice", 5},
                                      .name = {"Alice", 5},
                                      .created_us = WIRE_NOON_US,
                                      .metadata = WIRE_BYTES("\x81\xa1"
                                                             "n"
                                                             "\x01"),
                                      .accounts = alices,
                                      .accounts_count = 2,
                                      .more_accounts = true};
static const struct account_view account = {.account = {"fees", 4},
                                            .user_id = {"bank", 4},
                                            .asset = {"BHD", 3},
                                            .kind = ACCOUNT_SYSTEM,
                                            .scale = 3,
                                            .created_us = WIRE_NOON_US,
                                            .metadata = WIRE_BYTES("\x81\xa1"
                                                                   "a"
                                                                   "\x01")};
static const struct account_view overdraft = {.account = {"a", 1},
                                              .user_id = {"u", 1},
                                              .asset = {"EUR", 3},
                                              .scale = 2,
                                              .created_us = WIRE_NOON_US,
                                              .floor = -500};
static const struct transaction_view floor_set = {.transaction = WIRE_TRANSACTION,
                                                  .type = COMMAND_SET_FLOOR,
                                                  .credit = {"a", 1},
                                                  .asset = {"EUR", 3},
                                                  .floor = 0,
                                                  .created_us = WIRE_NOON_US,
                                                  .trace_id = WIRE_TRACE_ID,
                                                  .key = {"k1", 2}};
static const struct transaction_view details = {.transaction = WIRE_TRANSACTION,
                                                .type = COMMAND_TRANSFER,
                                                .debit = {"a", 1},
                                                .credit = {"b", 1},
                                                .asset = {"EUR", 3},
                                                .amount = 5,
                                                .created_us = WIRE_NOON_US,
                                                .trace_id = WIRE_TRACE_ID,
                                                .caller = {"shop", 4},
                                                .key = {"k1", 2},
                                                .metadata = WIRE_BYTES("\x80")};

static const struct transaction_view executed = {.transaction = WIRE_TRANSACTION,
                                                 .type = COMMAND_CANCEL,
                                                 .created_us = WIRE_NOON_US,
                                                 .trace_id = WIRE_TRACE_ID,
                                                 .key = {"k1", 2},
                                                 .scheduled = WIRE_TRANSACTION};

/* clang-format off */
static const struct entry_view entries[] = {
    {.transaction = WIRE_TRANSACTION, .type = COMMAND_REVERSE, .amount = 5, .moves = true, .is_credit = true,
     .counterparty = {"world:EUR", 9}, .balance = 70000, .held = 100, .seq = 7, .timestamp_us = WIRE_NOON_US,
     .trace_id = WIRE_TRACE_ID, .refers = WIRE_TRANSACTION, .caller = {"shop", 4}, .key = {"k1", 2},
     .metadata = WIRE_BYTES("\x80")},
    {.transaction = WIRE_TRANSACTION, .type = COMMAND_RELEASE, .amount = 5, .balance = -1, .held = 0, .seq = 6,
     .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID, .refers = WIRE_TRANSACTION, .key = {"k2", 2}},
    {.transaction = WIRE_TRANSACTION, .type = COMMAND_TRANSFER, .amount = 9, .moves = true,
     .counterparty = {"b", 1}, .balance = 1, .held = 0, .seq = 5,
     .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID, .key = {"k3", 2}},
};
static const struct history_view history = {
    entries, 3, {{0, 0, 0, 0, 0, 0, 0, 3, 0xa1, 0x09, 0x9d, 0xf5, 0x1d, 0xcb, 0xe0, 0x70}}};
static const struct history_view nothing = {.count = 0};
static const struct as_of_view as_of = {WIRE_TRANSACTION, WIRE_NOON_US};
static const struct as_of_view since_opened = {.timestamp_us = WIRE_NOON_US};
#define WAITED(...) {.transaction = WIRE_TRANSACTION, .type = COMMAND_HOLD, .created_us = WIRE_NOON_US, \
                     .trace_id = WIRE_TRACE_ID, .key = {"k1", 2}, .scheduled_us = WIRE_NOON_US, __VA_ARGS__}
static const struct transaction_view waited[] = {
    WAITED(.ended_result = RESULT_APPLIED), WAITED(.ended_result = RESULT_INSUFFICIENT_FUNDS, .ended = WIRE_TRANSACTION),
    WAITED(.ended_result = RESULT_APPLIED, .ended = WIRE_TRANSACTION),
    WAITED(.ended_result = RESULT_APPLIED, .ended = WIRE_TRANSACTION, .cancelled = true)};
#define OF_WAITED(view) {.result = RESULT_APPLIED, .details = &(view), .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID}
#define WAITED_HEAD(size) "\x86" APPLIED "\xa7" "details" size TRANSACTION "\xa4" "type" "\xa4" "hold" CREATED_AT TRACE_ID \
         "\xaf" "idempotency_key" "\xa2" "k1" "\xad" "scheduled_for" "\xbb" "2026-11-23T12:00:00.000000Z"
#define JSON_WAITED JSON_APPLIED "\"details\":{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\"," \
         "\"type\":\"hold\",\"created_at\":\"2026-11-23T12:00:00.000000Z\",\"trace_id\":" \
         "\"4bf92f3577b34da6a3ce929d0e0e4736\",\"idempotency_key\":\"k1\",\"scheduled_for\":\"2026-11-23T12:00:00.000000Z\","
#define UUID_TEXT "\xd9\x24" "019aaf11-2233-7444-8555-66778899aabb"
#define JSON_UUID "\"019aaf11-2233-7444-8555-66778899aabb\""

static const struct golden goldens[] = {
    {"scheduled",
     {.result = RESULT_SCHEDULED, .has_transaction = true, .transaction = WIRE_TRANSACTION,
      .scheduled_us = WIRE_NOON_US, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\x87" "\xa6" "status" "\xa9" "scheduled" "\xa4" "code" "\xcc\xca"
         "\xa7" "message" "\xd9\x27" "accepted, and to be decided at its time" TRANSACTION
         "\xad" "scheduled_for" "\xbb" "2026-11-23T12:00:00.000000Z" TIMESTAMP TRACE_ID),
     WIRE_TEXT("{\"status\":\"scheduled\",\"code\":202,\"message\":\"accepted, and to be decided at its time\","
         "\"transaction\":" JSON_UUID ",\"scheduled_for\":\"2026-11-23T12:00:00.000000Z\"," JSON_END)},
    {"pending", OF_WAITED(waited[0]),
     WIRE_TEXT(WAITED_HEAD("\x87") "\xa5" "state" "\xa7" "pending" TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_WAITED "\"state\":\"pending\"}," JSON_END)},
    {"refused when it was due", OF_WAITED(waited[1]),
     WIRE_TEXT(WAITED_HEAD("\x89") "\xa5" "state" "\xa7" "refused" "\xab" "executed_by" UUID_TEXT
         "\xa5" "error" "\xb2" "insufficient_funds" TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_WAITED "\"state\":\"refused\",\"executed_by\":" JSON_UUID ",\"error\":\"insufficient_funds\"}," JSON_END)},
    {"executed", OF_WAITED(waited[2]),
     WIRE_TEXT(WAITED_HEAD("\x88") "\xa5" "state" "\xa8" "executed" "\xab" "executed_by" UUID_TEXT TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_WAITED "\"state\":\"executed\",\"executed_by\":" JSON_UUID "}," JSON_END)},
    {"cancelled", OF_WAITED(waited[3]),
     WIRE_TEXT(WAITED_HEAD("\x88") "\xa5" "state" "\xa9" "cancelled" "\xac" "cancelled_by" UUID_TEXT TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_WAITED "\"state\":\"cancelled\",\"cancelled_by\":" JSON_UUID "}," JSON_END)},
    {"a cancellation", OF_WAITED(executed),
     WIRE_TEXT("\x86" APPLIED "\xa7" "details" "\x86" TRANSACTION "\xa4" "type" "\xa6" "cancel" CREATED_AT TRACE_ID
         "\xaf" "idempotency_key" "\xa2" "k1" "\xa9" "scheduled" UUID_TEXT TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"details\":{\"transaction\":" JSON_UUID ",\"type\":\"cancel\","
         "\"created_at\":\"2026-11-23T12:00:00.000000Z\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
         "\"idempotency_key\":\"k1\",\"scheduled\":" JSON_UUID "}," JSON_END)},
    {"applied, two balances",
     {.result = RESULT_APPLIED, .has_transaction = true, .transaction = WIRE_TRANSACTION,
      .balances = {{{"a", 1}, {"EUR", 3}, 70000, 100, 7, true},
                   {{"fees", 4}, {"EUR", 3}, -1, 0, 0, false}},
      .balances_count = 2, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID, .replayed = true},
     WIRE_TEXT("\x88" APPLIED TRANSACTION
         "\xa8" "balances" "\x92"
         "\x86" "\xa7" "account" "\xa1" "a" "\xa5" "asset" "\xa3" "EUR"
                "\xa7" "balance" "\xce\x00\x01\x11\x70" "\xa4" "held" "\x64"
                "\xa9" "available" "\xce\x00\x01\x11\x0c" "\xa3" "seq" "\x07"
         "\x85" "\xa7" "account" "\xa4" "fees" "\xa5" "asset" "\xa3" "EUR"
                "\xa7" "balance" "\xff" "\xa4" "held" "\x00" "\xa9" "available" "\xff"
         TIMESTAMP TRACE_ID "\xa8" "replayed" "\xc3"),
     WIRE_TEXT(JSON_APPLIED "\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\",\"balances\":["
         "{\"account\":\"a\",\"asset\":\"EUR\",\"balance\":70000,\"held\":100,\"available\":69900,\"seq\":7},"
         "{\"account\":\"fees\",\"asset\":\"EUR\",\"balance\":-1,\"held\":0,\"available\":-1}],"
         "\"timestamp\":\"2026-11-23T12:00:00.000000Z\","
         "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"replayed\":true}")},
    {"an account opened",
     {.result = RESULT_APPLIED, .created = true, .message = {"hello", 5}, .has_transaction = true,
      .transaction = WIRE_TRANSACTION, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\x86" "\xa6" "status" "\xa7" "applied" "\xa4" "code" "\xcc\xc9"
         "\xa7" "message" "\xa5" "hello" TRANSACTION TIMESTAMP TRACE_ID),
     WIRE_TEXT("{\"status\":\"applied\",\"code\":201,\"message\":\"hello\","
         "\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\"," JSON_END)},
    {"refused",
     {.result = RESULT_ACCOUNT_NOT_FOUND, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\x86" "\xa6" "status" "\xa8" "rejected" "\xa4" "code" "\xcd\x01\x94"
         "\xa5" "error" "\xb1" "account_not_found" "\xa7" "message" "\xaf" "no such account"
         TIMESTAMP TRACE_ID),
     WIRE_TEXT("{\"status\":\"rejected\",\"code\":404,\"error\":\"account_not_found\","
         "\"message\":\"no such account\"," JSON_END)},
    {"a user",
     {.result = RESULT_APPLIED, .user = &user, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\x86" APPLIED "\xa4" "user" "\x86" "\xa7" "user_id" "\xa5" "alice"
         "\xa4" "name" "\xa5" "Alice" CREATED_AT "\xa8" "metadata" "\x81\xa1" "n" "\x01"
         "\xa8" "accounts" "\x92" "\xa9" "alice:eur" "\xa9" "alice:usd" "\xad" "more_accounts" "\xc3"
         TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"user\":{\"user_id\":\"alice\",\"name\":\"Alice\","
         "\"created_at\":\"2026-11-23T12:00:00.000000Z\",\"metadata\":{\"n\":1},\"accounts\":[\"alice:eur\",\"alice:usd\"],"
         "\"more_accounts\":true}," JSON_END)},
    {"an account",
     {.result = RESULT_APPLIED, .account = &account, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\x86" APPLIED "\xa7" "account" "\x87" "\xa7" "account" "\xa4" "fees"
         "\xa7" "user_id" "\xa4" "bank" "\xa5" "asset" "\xa3" "BHD" "\xa4" "kind" "\xa6" "system"
         "\xa5" "scale" "\x03" CREATED_AT "\xa8" "metadata" "\x81\xa1" "a" "\x01" TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"account\":{\"account\":\"fees\",\"user_id\":\"bank\",\"asset\":\"BHD\","
         "\"kind\":\"system\",\"scale\":3,\"created_at\":\"2026-11-23T12:00:00.000000Z\","
         "\"metadata\":{\"a\":1}}," JSON_END)},
    {"an account with a floor",
     {.result = RESULT_APPLIED, .account = &overdraft, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\x86" APPLIED "\xa7" "account" "\x87" "\xa7" "account" "\xa1" "a"
         "\xa7" "user_id" "\xa1" "u" "\xa5" "asset" "\xa3" "EUR" "\xa4" "kind" "\xa4" "user"
         "\xa5" "scale" "\x02" CREATED_AT "\xa5" "floor" "\xd1\xfe\x0c" TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"account\":{\"account\":\"a\",\"user_id\":\"u\",\"asset\":\"EUR\","
         "\"kind\":\"user\",\"scale\":2,\"created_at\":\"2026-11-23T12:00:00.000000Z\","
         "\"floor\":-500}," JSON_END)},
    {"a floor set",
     {.result = RESULT_APPLIED, .details = &floor_set, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\x86" APPLIED "\xa7" "details" "\x88" TRANSACTION "\xa4" "type" "\xa9" "set_floor"
         "\xa6" "credit" "\xa1" "a" "\xa5" "asset" "\xa3" "EUR" "\xa5" "floor" "\x00" CREATED_AT TRACE_ID
         "\xaf" "idempotency_key" "\xa2" "k1" TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"details\":{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\","
         "\"type\":\"set_floor\",\"credit\":\"a\",\"asset\":\"EUR\",\"floor\":0,"
         "\"created_at\":\"2026-11-23T12:00:00.000000Z\","
         "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"idempotency_key\":\"k1\"}," JSON_END)},
    {"a transaction",
     {.result = RESULT_APPLIED, .details = &details, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\x86" APPLIED "\xa7" "details" "\x8b" TRANSACTION "\xa4" "type" "\xa8" "transfer"
         "\xa5" "debit" "\xa1" "a" "\xa6" "credit" "\xa1" "b" "\xa5" "asset" "\xa3" "EUR"
         "\xa6" "amount" "\x05" CREATED_AT TRACE_ID "\xa6" "app_id" "\xa4" "shop"
         "\xaf" "idempotency_key" "\xa2" "k1" "\xa8" "metadata" "\x80" TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"details\":{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\","
         "\"type\":\"transfer\",\"debit\":\"a\",\"credit\":\"b\",\"asset\":\"EUR\",\"amount\":5,"
         "\"created_at\":\"2026-11-23T12:00:00.000000Z\","
         "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"app_id\":\"shop\","
         "\"idempotency_key\":\"k1\",\"metadata\":{}}," JSON_END)},
    {"a page of entries",
     {.result = RESULT_APPLIED, .history = &history, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\xde\x00\x07" APPLIED "\xac" "transactions" "\x93"
         "\x8e" TRANSACTION "\xa4" "type" "\xa7" "reverse" "\xa9" "direction" "\xa6" "credit"
         "\xac" "counterparty" "\xa9" "world:EUR" "\xa6" "amount" "\x05" "\xa7" "balance" "\xce\x00\x01\x11\x70"
         "\xa4" "held" "\x64" "\xa3" "seq" "\x07" "\xa8" "reverses" "\xd9\x24" "019aaf11-2233-7444-8555-66778899aabb"
         TIMESTAMP TRACE_ID "\xa6" "app_id" "\xa4" "shop" "\xaf" "idempotency_key" "\xa2" "k1" "\xa8" "metadata" "\x80"
         "\x8a" TRANSACTION "\xa4" "type" "\xa7" "release" "\xa6" "amount" "\x05" "\xa7" "balance" "\xff"
         "\xa4" "held" "\x00" "\xa3" "seq" "\x06" "\xa4" "hold" "\xd9\x24" "019aaf11-2233-7444-8555-66778899aabb"
         TIMESTAMP TRACE_ID "\xaf" "idempotency_key" "\xa2" "k2"
         "\x8b" TRANSACTION "\xa4" "type" "\xa8" "transfer" "\xa9" "direction" "\xa5" "debit"
         "\xac" "counterparty" "\xa1" "b" "\xa6" "amount" "\x09" "\xa7" "balance" "\x01"
         "\xa4" "held" "\x00" "\xa3" "seq" "\x05" TIMESTAMP TRACE_ID "\xaf" "idempotency_key" "\xa2" "k3"
         "\xa6" "cursor" "\xd9\x20" "0000000000000003a1099df51dcbe070" TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"transactions\":["
         "{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\",\"type\":\"reverse\",\"direction\":\"credit\","
         "\"counterparty\":\"world:EUR\",\"amount\":5,\"balance\":70000,\"held\":100,\"seq\":7,"
         "\"reverses\":\"019aaf11-2233-7444-8555-66778899aabb\",\"timestamp\":\"2026-11-23T12:00:00.000000Z\","
         "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"app_id\":\"shop\",\"idempotency_key\":\"k1\","
         "\"metadata\":{}},"
         "{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\",\"type\":\"release\",\"amount\":5,"
         "\"balance\":-1,\"held\":0,\"seq\":6,\"hold\":\"019aaf11-2233-7444-8555-66778899aabb\","
         "\"timestamp\":\"2026-11-23T12:00:00.000000Z\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
         "\"idempotency_key\":\"k2\"},"
         "{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\",\"type\":\"transfer\",\"direction\":\"debit\","
         "\"counterparty\":\"b\",\"amount\":9,\"balance\":1,\"held\":0,\"seq\":5,"
         "\"timestamp\":\"2026-11-23T12:00:00.000000Z\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
         "\"idempotency_key\":\"k3\"}],"
         "\"cursor\":\"0000000000000003a1099df51dcbe070\"," JSON_END)},
    {"no entries",
     {.result = RESULT_APPLIED, .history = &nothing, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\xde\x00\x06" APPLIED "\xac" "transactions" "\x90" TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"transactions\":[]," JSON_END)},
    {"a balance of the past",
     {.result = RESULT_APPLIED, .balances = {{{"a", 1}, {"EUR", 3}, 5, 0, 7, true}}, .balances_count = 1,
      .as_of = &as_of, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\xde\x00\x07" APPLIED "\xa8" "balances" "\x91"
         "\x86" "\xa7" "account" "\xa1" "a" "\xa5" "asset" "\xa3" "EUR" "\xa7" "balance" "\x05" "\xa4" "held" "\x00"
                "\xa9" "available" "\x05" "\xa3" "seq" "\x07"
         "\xa5" "as_of" "\x82" TRANSACTION TIMESTAMP TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"balances\":["
         "{\"account\":\"a\",\"asset\":\"EUR\",\"balance\":5,\"held\":0,\"available\":5,\"seq\":7}],"
         "\"as_of\":{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\","
         "\"timestamp\":\"2026-11-23T12:00:00.000000Z\"}," JSON_END)},
    {"one of before its first entry",
     {.result = RESULT_APPLIED, .balances = {{{"a", 1}, {"EUR", 3}, 0, 0, 0, true}}, .balances_count = 1,
      .as_of = &since_opened, .timestamp_us = WIRE_NOON_US, .trace_id = WIRE_TRACE_ID},
     WIRE_TEXT("\xde\x00\x07" APPLIED "\xa8" "balances" "\x91"
         "\x86" "\xa7" "account" "\xa1" "a" "\xa5" "asset" "\xa3" "EUR" "\xa7" "balance" "\x00" "\xa4" "held" "\x00"
                "\xa9" "available" "\x00" "\xa3" "seq" "\x00" "\xa5" "as_of" "\x81" TIMESTAMP TIMESTAMP TRACE_ID),
     WIRE_TEXT(JSON_APPLIED "\"balances\":["
         "{\"account\":\"a\",\"asset\":\"EUR\",\"balance\":0,\"held\":0,\"available\":0,\"seq\":0}],"
         "\"as_of\":{\"timestamp\":\"2026-11-23T12:00:00.000000Z\"}," JSON_END)},
};
/* clang-format on */
enum { GOLDENS = sizeof goldens / sizeof *goldens };

static struct bytes golden_body(uint32_t i, enum encoding encoding)
{
    return wire_bytes(encoding == ENCODING_JSON ? goldens[i].json : goldens[i].msgpack);
}

static bool balance_equal(const struct balance_view *a, const struct balance_view *b)
{
    return text_equal(a->account, b->account) && text_equal(a->asset, b->asset) &&
           a->balance == b->balance && a->held == b->held && a->has_seq == b->has_seq &&
           (!a->has_seq || a->seq == b->seq);
}

static bool user_equal(const struct user_view *a, const struct user_view *b)
{
    if (a == NULL || b == NULL) return a == b;
    if (a->accounts_count != b->accounts_count) return false;
    for (uint32_t i = 0; i < a->accounts_count; i++)
        if (!text_equal(a->accounts[i], b->accounts[i])) return false;
    return text_equal(a->user_id, b->user_id) && text_equal(a->name, b->name) &&
           a->created_us == b->created_us && a->more_accounts == b->more_accounts &&
           wire_bytes_equal(a->metadata, b->metadata);
}

static bool account_equal(const struct account_view *a, const struct account_view *b)
{
    if (a == NULL || b == NULL) return a == b;
    return text_equal(a->account, b->account) && text_equal(a->user_id, b->user_id) &&
           text_equal(a->asset, b->asset) && a->kind == b->kind && a->scale == b->scale &&
           a->created_us == b->created_us && wire_bytes_equal(a->metadata, b->metadata) &&
           a->floor == b->floor;
}

static bool schedule_equal(const struct transaction_view *a, const struct transaction_view *b)
{
    return a->scheduled_us == b->scheduled_us && wire_uuid_equal(a->ended, b->ended) &&
           a->cancelled == b->cancelled &&
           (a->scheduled_us == 0 || a->ended_result == b->ended_result);
}

static bool details_equal(const struct transaction_view *a, const struct transaction_view *b)
{
    if (a == NULL || b == NULL) return a == b;
    return wire_uuid_equal(a->transaction, b->transaction) && a->type == b->type &&
           text_equal(a->debit, b->debit) && text_equal(a->credit, b->credit) &&
           text_equal(a->asset, b->asset) && a->amount == b->amount &&
           a->created_us == b->created_us && wire_uuid_equal(a->trace_id, b->trace_id) &&
           text_equal(a->caller, b->caller) && text_equal(a->key, b->key) &&
           wire_bytes_equal(a->metadata, b->metadata) && a->floor == b->floor &&
           wire_uuid_equal(a->scheduled, b->scheduled) && schedule_equal(a, b);
}

static bool entry_equal(const struct entry_view *a, const struct entry_view *b)
{
    return wire_uuid_equal(a->transaction, b->transaction) && a->type == b->type &&
           a->amount == b->amount && a->moves == b->moves && a->is_credit == b->is_credit &&
           text_equal(a->counterparty, b->counterparty) && a->balance == b->balance &&
           a->held == b->held && a->seq == b->seq && a->timestamp_us == b->timestamp_us &&
           wire_uuid_equal(a->trace_id, b->trace_id) && wire_uuid_equal(a->refers, b->refers) &&
           a->floor == b->floor && text_equal(a->caller, b->caller) && text_equal(a->key, b->key) &&
           wire_bytes_equal(a->metadata, b->metadata);
}

static bool history_equal(const struct history_view *a, const struct history_view *b)
{
    if (a == NULL || b == NULL) return a == b;
    if (a->count != b->count || !wire_uuid_equal(a->cursor, b->cursor)) return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!entry_equal(&a->entries[i], &b->entries[i])) return false;
    return true;
}

static bool as_of_equal(const struct as_of_view *a, const struct as_of_view *b)
{
    if (a == NULL || b == NULL) return a == b;
    return wire_uuid_equal(a->transaction, b->transaction) && a->timestamp_us == b->timestamp_us;
}

static struct text message_of(const struct reply *reply)
{
    return reply->message.length > 0 ? reply->message : text_of(result_sentence(reply->result));
}

static bool reply_equal(const struct reply *a, const struct reply *b)
{
    if (a->balances_count != b->balances_count) return false;
    for (uint32_t i = 0; i < a->balances_count; i++)
        if (!balance_equal(&a->balances[i], &b->balances[i])) return false;
    if (a->has_transaction != b->has_transaction) return false;
    if (a->has_transaction && !wire_uuid_equal(a->transaction, b->transaction)) return false;
    return a->result == b->result && a->created == b->created &&
           text_equal(message_of(a), message_of(b)) && user_equal(a->user, b->user) &&
           account_equal(a->account, b->account) && details_equal(a->details, b->details) &&
           as_of_equal(a->as_of, b->as_of) && history_equal(a->history, b->history) &&
           a->timestamp_us == b->timestamp_us && wire_uuid_equal(a->trace_id, b->trace_id) &&
           a->replayed == b->replayed && a->scheduled_us == b->scheduled_us;
}

static void test_golden(void **state)
{
    struct bytes body;
    struct reply reply;
    char problem[PROBLEM_SIZE];

    (void)state;
    for (uint32_t i = 0; i < GOLDENS; i++) {
        for (int encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
            arena_reset(&arena);
            struct bytes want = golden_body(i, (enum encoding)encoding);
            assert_true(
                reply_encode(codec, &goldens[i].reply, (enum encoding)encoding, &arena, &body));
            if (body.size != want.size || memcmp(body.data, want.data, want.size) != 0)
                fail_msg("%s: %.*s", goldens[i].why, (int)body.size, (const char *)body.data);
            if (!reply_decode(codec, body, (enum encoding)encoding, &arena, &reply, problem))
                fail_msg("%s: %s", goldens[i].why, problem);
            if (!reply_equal(&reply, &goldens[i].reply))
                fail_msg("%s: read back otherwise", goldens[i].why);
        }
    }
}

static void test_truncations(void **state)
{
    struct reply reply;
    char problem[PROBLEM_SIZE];

    (void)state;
    for (uint32_t i = 0; i < GOLDENS; i++) {
        for (int encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
            struct bytes body = golden_body(i, (enum encoding)encoding);
            for (uint32_t size = 0; size < body.size; size++) {
                arena_reset(&arena);
                uint8_t *block;
                struct bytes part = wire_cut(body, size, &block);
                problem[0] = '\0';
                if (reply_decode(codec, part, (enum encoding)encoding, &arena, &reply, problem))
                    fail_msg("%s: %u of %u bytes were taken", goldens[i].why, size, body.size);
                assert_true(strlen(problem) > 0);
                free(block);
            }
        }
    }
}

/* An arena of any smaller size makes encoding and decoding fail, not overrun. */
static void test_small_arena(void **state)
{
    struct bytes body;
    struct reply reply;
    char problem[PROBLEM_SIZE];
    static uint8_t memory[4096];

    (void)state;
    for (uint32_t i = 0; i < GOLDENS; i++) {
        bool encoded = false, decoded = false;
        for (size_t size = 0; size <= sizeof memory; size += 16) {
            struct arena small = {.base = memory, .size = size};
            encoded = reply_encode(codec, &goldens[i].reply, ENCODING_JSON, &small, &body);
            small.used = 0;
            body = golden_body(i, ENCODING_MSGPACK);
            decoded = reply_decode(codec, body, ENCODING_MSGPACK, &small, &reply, problem);
            if (size == 0) assert_false(encoded);
            if (size == 0) assert_false(decoded);
        }
        assert_true(encoded);
        assert_true(decoded);
    }
}

/* clang-format off */
#define BASE "\"status\":\"applied\",\"code\":200,\"timestamp\":\"2026-11-23T12:00:00Z\"," \
             "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\""
#define BALANCE(account, balance, held, available, seq) BASE ",\"balances\":[{\"account\":" account \
    ",\"asset\":\"EUR\",\"balance\":" balance ",\"held\":" held ",\"available\":" available ",\"seq\":" seq "}]"
#define USER(user_id, created_at, accounts) BASE ",\"user\":{\"user_id\":" user_id \
    ",\"created_at\":" created_at ",\"accounts\":" accounts "}"
#define ACCOUNT(kind, scale, metadata) BASE ",\"account\":{\"account\":\"a\",\"user_id\":\"u\"," \
    "\"asset\":\"EUR\",\"kind\":" kind ",\"scale\":" scale \
    ",\"created_at\":\"2026-11-23T12:00:00Z\",\"metadata\":" metadata "}"
#define DETAILS(transaction, type, amount) BASE ",\"details\":{\"transaction\":" transaction \
    ",\"type\":" type ",\"amount\":" amount ",\"created_at\":\"2026-11-23T12:00:00Z\"," \
    "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}"
#define ENTRY(transaction, type, direction) BASE ",\"transactions\":[{\"transaction\":" transaction \
    ",\"type\":" type ",\"direction\":" direction ",\"balance\":1,\"held\":0,\"seq\":1,\"timestamp\":" \
    "\"2026-11-23T12:00:00Z\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}]"
#define TIME "\"2026-11-23T12:00:00Z\""
#define UUID "\"019aaf11-2233-7444-8555-66778899aabb\""

static const struct { const char *json, *begins; } refusals[] = {
    {"[]", "body: "},
    {"7", "body: "},
    {"{}", "status: is missing"},
    {"{\"status\":1}", "status: must be text"},
    {"{\"status\":\"\"}", "status: must be text"},
    {"{\"status\":\"done\",\"code\":200,\"timestamp\":" TIME ",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}",
     "status: 'done'"},
    {"{\"status\":\"applied\"}", "code: is missing"},
    {"{\"status\":\"applied\",\"code\":\"200\"}", "code: must be an integer"},
    {"{\"status\":\"applied\",\"code\":200.0}", "code: must be an integer"},
    {"{\"status\":\"applied\",\"code\":200}", "timestamp: is missing"},
    {"{\"status\":\"applied\",\"code\":200,\"timestamp\":1}", "timestamp: must be"},
    {"{\"status\":\"applied\",\"code\":200,\"timestamp\":\"noon\"}", "timestamp: must be"},
    {"{\"status\":\"applied\",\"code\":200,\"timestamp\":" TIME "}", "trace_id: is missing"},
    {"{\"trace_id\":\"4BF92F3577B34DA6A3CE929D0E0E4736\"}", "trace_id: must be"},
    {"{" BASE ",\"error\":\"insufficient_funds\"}", "error: does not belong"},
    {"{" BASE ",\"error\":\"out_of_luck\"}", "error: 'out_of_luck'"},
    {"{" BASE ",\"error\":null}", "error: must be text"},
    {"{" BASE ",\"message\":[]}", "message: must be text"},
    {"{" BASE ",\"transaction\":\"019aaf11\"}", "transaction: must be a UUID"},
    {"{" BASE ",\"transaction\":{}}", "transaction: must be a UUID"},
    {"{" BASE ",\"replayed\":1}", "replayed: must be true or false"},
    {"{" BASE ",\"balances\":{}}", "balances: must be a list"},
    {"{" BASE ",\"balances\":[1]}", "balances: body: must be a map"},
    {"{" BASE ",\"balances\":[{}]}", "balances: account: is missing"},
    {"{" BASE ",\"balances\":[{},{},{}]}", "balances: must be at most two"},
    {"{" BALANCE("1", "1", "0", "1", "1") "}", "balances: account: must be text"},
    {"{" BALANCE("\"a\"", "\"1\"", "0", "1", "1") "}", "balances: balance: must be an integer"},
    {"{" BALANCE("\"a\"", "1", "1.5", "1", "1") "}", "balances: held: must be an integer"},
    {"{" BALANCE("\"a\"", "1", "0", "1", "true") "}", "balances: seq: must be an integer"},
    {"{" BALANCE("\"a\"", "1", "0", "2", "1") "}", "balances: available: must be"},
    {"{" BALANCE("\"a\"", "-9223372036854775808", "1", "9223372036854775807", "1") "}",
     "balances: available: must be"},
    {"{" BASE ",\"user\":[]}", "user: must be a map"},
    {"{" USER("7", TIME, "[]") "}", "user: user_id: must be text"},
    {"{" USER("\"u\"", "7", "[]") "}", "user: created_at: must be"},
    {"{" USER("\"u\"", TIME, "7") "}", "user: accounts: must be a list"},
    {"{" USER("\"u\"", TIME, "[7]") "}", "user: accounts: must be texts"},
    {"{" ACCOUNT("\"world\"", "2", "{}") "}", "account: kind: must be"},
    {"{" ACCOUNT("\"user\"", "19", "{}") "}", "account: scale: must be"},
    {"{" ACCOUNT("\"user\"", "-1", "{}") "}", "account: scale: must be"},
    {"{" ACCOUNT("\"user\"", "2", "[]") "}", "account: metadata: must be a map"},
    {"{" ENTRY("7", "\"transfer\"", "\"credit\"") "}", "transactions: transaction: must be a UUID"},
    {"{" ENTRY(UUID, "\"teleport\"", "\"credit\"") "}", "transactions: type: 'teleport'"},
    {"{" ENTRY(UUID, "\"transfer\"", "\"up\"") "}", "transactions: direction: must be credit or debit"},
    {"{" BASE ",\"transactions\":{}}", "transactions: must be a list"},
    {"{" BASE ",\"transactions\":[1]}", "transactions: body: must be a map"},
    {"{" BASE ",\"transactions\":[],\"cursor\":\"1\"}", "cursor: must be 32"},
    {"{" BASE ",\"as_of\":[]}", "as_of: must be a map"},
    {"{" BASE ",\"as_of\":{}}", "as_of: timestamp: is missing"},
    {"{" DETAILS("7", "\"transfer\"", "1") "}", "details: transaction: must be a UUID"},
    {"{" DETAILS(UUID, "\"teleport\"", "1") "}", "details: type: 'teleport'"},
    {"{" DETAILS(UUID, "\"transfer\"", "1.0") "}", "details: amount: must be an integer"},
};
static const char *const acceptances[] = {
    "{" BASE "}",
    "{" BASE ",\"colour\":{\"status\":[1,2,{\"error\":null}]},\"error_code\":null}",
    "{" BALANCE("\"a\"", "1", "0", "1", "1") "}",
    "{" USER("\"u\"", TIME, "[]") "}",
    "{" ACCOUNT("\"user\"", "18", "{}") "}",
    "{" DETAILS(UUID, "\"transfer\"", "1") "}",
    "{" ENTRY(UUID, "\"transfer\"", "\"debit\"") "}",
};
/* clang-format on */

static void test_types(void **state)
{
    struct reply reply;
    char problem[PROBLEM_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        arena_reset(&arena);
        struct bytes body = wire_bytes(text_of(refusals[i].json));
        if (reply_decode(codec, body, ENCODING_JSON, &arena, &reply, problem))
            fail_msg("%s was taken", refusals[i].json);
        if (strncmp(problem, refusals[i].begins, strlen(refusals[i].begins)) != 0)
            fail_msg("%s: %s", refusals[i].json, problem);
    }
    for (size_t i = 0; i < sizeof acceptances / sizeof *acceptances; i++) {
        arena_reset(&arena);
        struct bytes body = wire_bytes(text_of(acceptances[i]));
        if (!reply_decode(codec, body, ENCODING_JSON, &arena, &reply, problem))
            fail_msg("%s: %s", acceptances[i], problem);
    }
}

static void test_doubled_key(void **state)
{
    static const uint8_t body[] = "\x82\xa4"
                                  "code"
                                  "\x01\xa4"
                                  "code"
                                  "\x01";
    struct reply reply;
    char problem[PROBLEM_SIZE];

    (void)state;
    arena_reset(&arena);
    assert_false(reply_decode(codec, (struct bytes){body, sizeof body - 1}, ENCODING_MSGPACK,
                              &arena, &reply, problem));
    assert_string_equal(problem, "code: is there twice");
}

static void test_too_many_accounts(void **state)
{
    static struct text accounts[USER_ACCOUNTS_MAX];
    struct user_view full = {.user_id = {"u", 1}, .accounts = accounts};
    struct reply reply = {.result = RESULT_APPLIED, .user = &full}, decoded;
    struct bytes body;
    char problem[PROBLEM_SIZE];

    (void)state;
    arena_reset(&arena);
    for (uint32_t i = 0; i < USER_ACCOUNTS_MAX; i++) accounts[i] = (struct text){"a", 1};
    full.accounts_count = USER_ACCOUNTS_MAX;
    assert_true(reply_encode(codec, &reply, ENCODING_MSGPACK, &arena, &body));
    assert_true(reply_decode(codec, body, ENCODING_MSGPACK, &arena, &decoded, problem));
    assert_int_equal(decoded.user->accounts_count, USER_ACCOUNTS_MAX);

    /* One more: the list's head is 0xdc 0x01 0x00 right after its key. */
    uint8_t *longer = arena_take(&arena, body.size + 2);
    const uint8_t *head = memmem(body.data, body.size, "accounts\xdc\x01\x00", 11);
    assert_non_null(head);
    size_t at = (size_t)(head - body.data) + 11;
    memcpy(longer, body.data, at);
    longer[at - 1] = 1;
    memcpy(longer + at,
           "\xa1"
           "b",
           2);
    memcpy(longer + at + 2, body.data + at, body.size - at);
    assert_false(reply_decode(codec, (struct bytes){longer, body.size + 2}, ENCODING_MSGPACK,
                              &arena, &decoded, problem));
    assert_string_equal(problem, "user: accounts: must be at most 256");
}

static void test_too_many_entries(void **state)
{
    static struct entry_view many[PAGE_ENTRIES_MAX + 1];
    struct history_view view = {.entries = many, .count = PAGE_ENTRIES_MAX};
    struct reply reply = {.result = RESULT_APPLIED, .history = &view}, decoded;
    struct bytes body;
    char problem[PROBLEM_SIZE];

    (void)state;
    arena_reset(&arena);
    assert_true(reply_encode(codec, &reply, ENCODING_MSGPACK, &arena, &body));
    assert_true(reply_decode(codec, body, ENCODING_MSGPACK, &arena, &decoded, problem));
    assert_int_equal(decoded.history->count, PAGE_ENTRIES_MAX);
    view.count++;
    assert_true(reply_encode(codec, &reply, ENCODING_MSGPACK, &arena, &body));
    assert_false(reply_decode(codec, body, ENCODING_MSGPACK, &arena, &decoded, problem));
    assert_string_equal(problem, "transactions: must be at most 200");
}

static struct entry_view random_entry(void)
{
    struct entry_view view = {.transaction = wire_random_uuid(),
                              .type = (enum command_type)(rand() % COMMANDS_COUNT),
                              .amount = wire_random_int(),
                              .moves = rand() % 2 == 0,
                              .counterparty = wire_random_optional(&arena, 64),
                              .balance = wire_random_int(),
                              .held = wire_random_int(),
                              .seq = wire_random_int(),
                              .timestamp_us = wire_random_time(),
                              .trace_id = wire_random_uuid(),
                              .caller = wire_random_optional(&arena, 255),
                              .key = wire_random_optional(&arena, 128),
                              .metadata = wire_random_metadata(&arena)};

    view.is_credit = view.moves && rand() % 2 == 0;
    if (view.type == COMMAND_SET_FLOOR) view.floor = wire_random_int();
    if (rand() % 2 == 0) view.refers = wire_random_uuid();
    return view;
}

static void random_past(struct reply *reply)
{
    static struct entry_view many[PAGE_ENTRIES_MAX];
    static struct history_view page;
    static struct as_of_view then;

    page = (struct history_view){.entries = many, .count = (uint32_t)rand() % 20};
    for (uint32_t i = 0; i < page.count; i++) many[i] = random_entry();
    if (rand() % 2 == 0) page.cursor = wire_random_uuid();
    then = (struct as_of_view){.timestamp_us = wire_random_time()};
    if (rand() % 2 == 0) then.transaction = wire_random_uuid();
    if (rand() % 4 == 0) reply->history = &page;
    if (rand() % 4 == 0) reply->as_of = &then;
}

static struct balance_view random_balance(void)
{
    struct balance_view view = {.account = wire_random_text(&arena, 64),
                                .asset = wire_random_text(&arena, 12)};
    int64_t available;

    do {
        view.balance = wire_random_int();
        view.held = wire_random_int();
    } while (__builtin_sub_overflow(view.balance, view.held, &available));
    view.has_seq = rand() % 2 == 0;
    if (view.has_seq) view.seq = wire_random_int();
    return view;
}

static void random_parts(struct reply *reply)
{
    static struct user_view user_view;
    static struct account_view account_view;
    static struct transaction_view transaction_view;
    static struct text accounts[USER_ACCOUNTS_MAX];

    user_view = (struct user_view){.user_id = wire_random_text(&arena, 64),
                                   .name = wire_random_optional(&arena, 256),
                                   .created_us = wire_random_time(),
                                   .metadata = wire_random_metadata(&arena),
                                   .accounts = accounts,
                                   .accounts_count = (uint32_t)rand() % (USER_ACCOUNTS_MAX + 1),
                                   .more_accounts = rand() % 2 == 0};
    for (uint32_t i = 0; i < user_view.accounts_count; i++)
        accounts[i] = wire_random_text(&arena, 64);
    account_view = (struct account_view){.account = wire_random_text(&arena, 64),
                                         .user_id = wire_random_text(&arena, 64),
                                         .asset = wire_random_text(&arena, 12),
                                         .kind = (enum account_kind)(rand() % 2),
                                         .scale = (uint8_t)(rand() % (SCALE_MAX + 1)),
                                         .created_us = wire_random_time(),
                                         .metadata = wire_random_metadata(&arena),
                                         .floor = wire_random_int()};
    transaction_view =
        (struct transaction_view){.transaction = wire_random_uuid(),
                                  .type = (enum command_type)(rand() % COMMANDS_COUNT),
                                  .debit = wire_random_optional(&arena, 64),
                                  .credit = wire_random_optional(&arena, 64),
                                  .asset = wire_random_optional(&arena, 12),
                                  .amount = wire_random_int(),
                                  .created_us = wire_random_time(),
                                  .trace_id = wire_random_uuid(),
                                  .caller = wire_random_optional(&arena, 255),
                                  .key = wire_random_optional(&arena, 128),
                                  .metadata = wire_random_metadata(&arena)};
    if (transaction_view.type == COMMAND_SET_FLOOR) transaction_view.floor = wire_random_int();
    if (rand() % 4 == 0) reply->user = &user_view;
    if (rand() % 4 == 0) reply->account = &account_view;
    if (rand() % 4 == 0) reply->details = &transaction_view;
}

static void test_round_trips(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct bytes body;
        struct reply decoded;
        char problem[PROBLEM_SIZE];

        srand(seed);
        arena_reset(&arena);
        struct reply reply = {.result = (enum result)(rand() % RESULTS_COUNT),
                              .message = wire_random_optional(&arena, 400),
                              .has_transaction = rand() % 2 == 0,
                              .transaction = wire_random_uuid(),
                              .balances = {random_balance(), random_balance()},
                              .balances_count = (uint32_t)rand() % 3,
                              .timestamp_us = wire_random_time(),
                              .trace_id = wire_random_uuid(),
                              .replayed = rand() % 2 == 0};
        reply.created = reply.result == RESULT_APPLIED && rand() % 2 == 0;
        random_parts(&reply);
        random_past(&reply);
        for (int encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
            if (!reply_encode(codec, &reply, (enum encoding)encoding, &arena, &body))
                fail_msg("seed %u: not encoded", seed);
            if (!reply_decode(codec, body, (enum encoding)encoding, &arena, &decoded, problem))
                fail_msg("seed %u: %s", seed, problem);
            if (!reply_equal(&decoded, &reply)) fail_msg("seed %u: read back otherwise", seed);
        }
    }
}

static int open_all(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, WIRE_ARENA_SIZE, &err) && codec_open(&codec, &err) ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),           cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_small_arena),      cmocka_unit_test(test_types),
        cmocka_unit_test(test_doubled_key),      cmocka_unit_test(test_too_many_accounts),
        cmocka_unit_test(test_too_many_entries), cmocka_unit_test(test_round_trips),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
