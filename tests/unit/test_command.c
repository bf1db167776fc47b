/*
 * test_command.c - each command against golden bytes in both encodings; every truncation, wrong
 * type, unknown, doubled and missing key refused with its sentence; random commands come back the
 * same.
 */
#include "protocol/command.h"
#include "protocol/fingerprint.h"
#include "tests/wire.h"

enum { RANDOM_COMMANDS = 10000 };

static struct arena arena;
static struct codec *codec;

/* clang-format off */
static const struct golden {
    struct command command;
    struct bytes msgpack;
    const char *json;
} goldens[] = {
    {{.type = COMMAND_OPEN_ACCOUNT, .account = WIRE_TEXT("alice:eur"), .user_id = WIRE_TEXT("alice"),
      .name = WIRE_TEXT("Al"), .asset = WIRE_TEXT("EUR"), .kind = ACCOUNT_SYSTEM,
      .metadata = WIRE_BYTES("\x81\xa1""a\x01")},
     WIRE_BYTES("\x86\xa7""account\xa9""alice:eur\xa7user_id\xa5""alice\xa4name\xa2""Al\xa5""asset\xa3""EUR"
                "\xa4kind\xa6system\xa8metadata\x81\xa1""a\x01"),
     "{\"account\":\"alice:eur\",\"user_id\":\"alice\",\"name\":\"Al\",\"asset\":\"EUR\",\"kind\":\"system\","
     "\"metadata\":{\"a\":1}}"},
    {{.type = COMMAND_OPEN_ACCOUNT, .account = WIRE_TEXT("a"), .user_id = WIRE_TEXT("u"), .asset = WIRE_TEXT("X.1")},
     WIRE_BYTES("\x83\xa7""account\xa1""a\xa7user_id\xa1u\xa5""asset\xa3X.1"),
     "{\"account\":\"a\",\"user_id\":\"u\",\"asset\":\"X.1\"}"},
    {{.type = COMMAND_DEPOSIT, .account = WIRE_TEXT("a"), .amount = {1000, 0, false}},
     WIRE_BYTES("\x82\xa7""account\xa1""a\xa6""amount\xcd\x03\xe8"),
     "{\"account\":\"a\",\"amount\":1000}"},
    {{.type = COMMAND_DEPOSIT, .account = WIRE_TEXT("a"), .amount = {1234, 2, true}, .asset = WIRE_TEXT("EUR")},
     WIRE_BYTES("\x83\xa7""account\xa1""a\xa5""asset\xa3""EUR\xa6""amount\xa5""12.34"),
     "{\"account\":\"a\",\"asset\":\"EUR\",\"amount\":\"12.34\"}"},
    {{.type = COMMAND_WITHDRAW, .account = WIRE_TEXT("a"), .amount = {-1, 0, false}},
     WIRE_BYTES("\x82\xa7""account\xa1""a\xa6""amount\xff"),
     "{\"account\":\"a\",\"amount\":-1}"},
    {{.type = COMMAND_TRANSFER, .from = WIRE_TEXT("a"), .to = WIRE_TEXT("b"), .amount = {INT64_MAX, 0, false}},
     WIRE_BYTES("\x83\xa4""from\xa1""a\xa2to\xa1""b\xa6""amount\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"),
     "{\"from\":\"a\",\"to\":\"b\",\"amount\":9223372036854775807}"},
    {{.type = COMMAND_GET_USER, .user_id = WIRE_TEXT("alice")},
     WIRE_BYTES("\x81\xa7user_id\xa5""alice"), "{\"user_id\":\"alice\"}"},
    {{.type = COMMAND_GET_ACCOUNT, .account = WIRE_TEXT("a")},
     WIRE_BYTES("\x81\xa7""account\xa1""a"), "{\"account\":\"a\"}"},
    {{.type = COMMAND_GET_BALANCE, .account = WIRE_TEXT("a")},
     WIRE_BYTES("\x81\xa7""account\xa1""a"), "{\"account\":\"a\"}"},
    {{.type = COMMAND_GET_BALANCE, .account = WIRE_TEXT("a"), .as_of.time_us = WIRE_NOON_US},
     WIRE_BYTES("\x82\xa7""account\xa1""a\xa5""as_of\xbb""2026-11-23T12:00:00.000000Z"),
     "{\"account\":\"a\",\"as_of\":\"2026-11-23T12:00:00.000000Z\"}"},
    {{.type = COMMAND_GET_BALANCE, .account = WIRE_TEXT("a"), .as_of.transaction = WIRE_TRANSACTION},
     WIRE_BYTES("\x82\xa7""account\xa1""a\xa5""as_of\xd9\x24""019aaf11-2233-7444-8555-66778899aabb"),
     "{\"account\":\"a\",\"as_of\":\"019aaf11-2233-7444-8555-66778899aabb\"}"},
    {{.type = COMMAND_LIST_TRANSACTIONS, .account = WIRE_TEXT("a")},
     WIRE_BYTES("\x81\xa7""account\xa1""a"), "{\"account\":\"a\"}"},
    {{.type = COMMAND_LIST_TRANSACTIONS, .account = WIRE_TEXT("a"),
      .page = {.limit = 200, .from_us = WIRE_NOON_US, .until_us = WIRE_NOON_US + 1, .kind = 4,
               .trace_id = WIRE_TRACE_ID, .ascending = true,
               .cursor = {{0, 0, 0, 0, 0, 0, 0, 77, 0x2e, 0x8c, 0xf2, 0x7f, 0x94, 0xb1, 0x96, 0xe3}}}},
     WIRE_BYTES("\x88\xa7""account\xa1""a\xa5limit\xcc\xc8\xa6""cursor\xd9\x20""000000000000004d2e8cf27f94b196e3"
                "\xa4""from\xbb""2026-11-23T12:00:00.000000Z\xa2to\xbb""2026-11-23T12:00:00.000001Z"
                "\xa4kind\xa8transfer\xa8trace_id\xd9\x20""4bf92f3577b34da6a3ce929d0e0e4736\xa5order\xa3""asc"),
     "{\"account\":\"a\",\"limit\":200,\"cursor\":\"000000000000004d2e8cf27f94b196e3\","
     "\"from\":\"2026-11-23T12:00:00.000000Z\",\"to\":\"2026-11-23T12:00:00.000001Z\",\"kind\":\"transfer\","
     "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"order\":\"asc\"}"},
    {{.type = COMMAND_GET_TRANSACTION, .transaction = WIRE_TRANSACTION},
     WIRE_BYTES("\x81\xabtransaction\xd9\x24""019aaf11-2233-7444-8555-66778899aabb"),
     "{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\"}"},
    {{.type = COMMAND_BATCH, .independent = true, .legs = WIRE_BYTES("\x92\x80\x81\xa1""a\x01"), .legs_count = 2},
     WIRE_BYTES("\x82\xa6""atomic\xc2\xa8""commands\x92\x80\x81\xa1""a\x01"),
     "{\"atomic\":false,\"commands\":[{},{\"a\":1}]}"},
    {{.type = COMMAND_BATCH, .legs = WIRE_BYTES("\x91\xc0"), .legs_count = 1},
     WIRE_BYTES("\x81\xa8""commands\x91\xc0"), "{\"commands\":[null]}"},
    {{.type = COMMAND_SET_FLOOR, .account = WIRE_TEXT("a"), .amount = {-5005, 2, true}},
     WIRE_BYTES("\x82\xa7""account\xa1""a\xa5""floor\xa6""-50.05"),
     "{\"account\":\"a\",\"floor\":\"-50.05\"}"},
    {{.type = COMMAND_SET_FLOOR, .account = WIRE_TEXT("a"), .amount = {INT64_MIN, 0, false}},
     WIRE_BYTES("\x82\xa7""account\xa1""a\xa5""floor\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
     "{\"account\":\"a\",\"floor\":-9223372036854775808}"},
    {{.type = COMMAND_WITHDRAW, .account = WIRE_TEXT("a"), .amount = {1, 0, false},
      .conditions = {.not_before_us = 1795417200000000, .not_after_us = 1795417200000001}},
     WIRE_BYTES("\x84\xa7""account\xa1""a\xa6""amount\x01\xaanot_before\xbb""2026-11-23T07:00:00.000000Z"
                "\xa9not_after\xbb""2026-11-23T07:00:00.000001Z"),
     "{\"account\":\"a\",\"amount\":1,\"not_before\":\"2026-11-23T07:00:00.000000Z\","
     "\"not_after\":\"2026-11-23T07:00:00.000001Z\"}"},
    {{.type = COMMAND_CANCEL, .transaction = WIRE_TRANSACTION, .dry_run = true},
     WIRE_BYTES("\x82\xabtransaction\xd9\x24""019aaf11-2233-7444-8555-66778899aabb\xa7""dry_run\xc3"),
     "{\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\",\"dry_run\":true}"},
    {{.type = COMMAND_UPDATE_USER, .user_id = WIRE_TEXT("alice"), .name = WIRE_TEXT("A.")},
     WIRE_BYTES("\x82\xa7user_id\xa5""alice\xa4name\xa2""A."), "{\"user_id\":\"alice\",\"name\":\"A.\"}"},
};

#define FLOAT_REFUSED "amount: a float is refused; send an integer of minor units or a decimal string"
#define ID_RULE ": must be 1 to 64 characters of A-Z a-z 0-9 . _ : -"
#define SECONDS_RULE "expires_in: must be an integer of 1 to 316224000"
#define ASSET_RULE "asset: must be 1 to 12 characters of A-Z 0-9 ."
#define NAME_RULE "name: must be 1 to 256 bytes of UTF-8 text without NUL"
#define UUID_RULE "transaction: must be a UUID as text, 8-4-4-4-12 hexadecimal digits"
#define AMOUNT_RULE "amount: must be an integer of minor units or a decimal string"
#define AS_OF_RULE "as_of: must be an RFC 3339 time with a zone, or a transaction's UUID"
#define LIMIT_RULE "limit: must be an integer of 1 to 200"
#define HEX_RULE ": must be 32 lower-case hexadecimal digits, not all 0"
#define CURSOR_RULE "cursor: is from no reply to this question"
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    enum command_type type;
    const char *json, *problem;
} refused[] = {
    {COMMAND_DEPOSIT, "{}",                                   "account: missing"},
    {COMMAND_DEPOSIT, "{\"account\":\"a\"}",                  "amount: missing"},
    {COMMAND_DEPOSIT, "{\"amount\":1}",                       "account: missing"},
    {COMMAND_DEPOSIT, "{\"account\":\"a\",\"amuont\":1}",     "amuont: unknown key for deposit"},
    {COMMAND_DEPOSIT, "{\"account\":\"a\",\"amount\":1,\"from\":\"b\"}", "from: unknown key for deposit"},
    {COMMAND_DEPOSIT, "{\"Account\":\"a\"}",                  "Account: unknown key for deposit"},
    {COMMAND_DEPOSIT, "{\"\":1}",                             ": unknown key for deposit"},
    {COMMAND_DEPOSIT, "{\"\xe2\x82\xac\":1}",                 "???: unknown key for deposit"},
    {COMMAND_DEPOSIT, "{\"" A64 "\":1}",  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: unknown key for deposit"},
    {COMMAND_GET_ACCOUNT, "{\"account\":\"a\",\"as_of\":1}",  "as_of: unknown key for get_account"},
    {COMMAND_GET_BALANCE, "{\"account\":\"a\",\"as_of\":1}",  AS_OF_RULE},
    {COMMAND_GET_BALANCE, "{\"account\":\"a\",\"as_of\":\"yesterday\"}", AS_OF_RULE},
    {COMMAND_GET_BALANCE, "{\"account\":\"a\",\"as_of\":\"2026-11-23T12:00:00\"}", AS_OF_RULE},
    {COMMAND_GET_BALANCE, "{\"account\":\"a\",\"as_of\":\"00000000-0000-0000-0000-000000000000\"}", AS_OF_RULE},
    {COMMAND_GET_BALANCE, "{\"account\":\"a\",\"limit\":1}",  "limit: unknown key for get_balance"},
    {COMMAND_LIST_TRANSACTIONS, "{}",                           "account: missing"},
    {COMMAND_LIST_TRANSACTIONS, "{\"limit\":0}",                LIMIT_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"limit\":201}",              LIMIT_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"limit\":\"5\"}",            LIMIT_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"from\":\"bob\"}",           "from: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z"},
    {COMMAND_LIST_TRANSACTIONS, "{\"to\":7}",                   "to: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z"},
    {COMMAND_LIST_TRANSACTIONS, "{\"kind\":\"user\"}",          "kind: must be the type of a command, no query"},
    {COMMAND_LIST_TRANSACTIONS, "{\"kind\":\"get_user\"}",      "kind: must be the type of a command, no query"},
    {COMMAND_LIST_TRANSACTIONS, "{\"order\":\"up\"}",           "order: must be asc or desc"},
    {COMMAND_LIST_TRANSACTIONS, "{\"trace_id\":\"4BF92F3577B34DA6A3CE929D0E0E4736\"}", "trace_id" HEX_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"trace_id\":\"00000000000000000000000000000000\"}", "trace_id" HEX_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"cursor\":\"\"}",            "cursor" HEX_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"cursor\":\"0000000000000003a1099df51dcbe0\"}", "cursor" HEX_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"account\":\"alice:eur\",\"cursor\":\"0000000000000004a1099df51dcbe070\"}", CURSOR_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"account\":\"bob:eur\",\"cursor\":\"0000000000000003a1099df51dcbe070\"}", CURSOR_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"account\":\"alice:eur\",\"cursor\":\"8000000000000003a1099df51dcbe070\"}", CURSOR_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"account\":\"alice:eur\",\"cursor\":\"0000000000000000a1099df51dcbe070\"}", CURSOR_RULE},
    {COMMAND_LIST_TRANSACTIONS, "{\"account\":\"a\",\"from\":\"2026-11-23T12:00:01Z\",\"to\":\"2026-11-23T12:00:00Z\"}",
     "to: is before from"},
    {COMMAND_GET_USER, "{}",                                  "user_id: missing"},
    {COMMAND_UPDATE_USER, "{\"name\":\"A.\"}",                 "user_id: missing"},
    {COMMAND_UPDATE_USER, "{\"user_id\":\"u\",\"name\":\"\"}", "name: must be 1 to 256 bytes of UTF-8 text without NUL"},
    {COMMAND_UPDATE_USER, "{\"account\":\"a\"}",              "account: unknown key for update_user"},
    {COMMAND_UPDATE_USER, "{\"if_seq\":1}",                   "if_seq: unknown key for update_user"},
    {COMMAND_GET_TRANSACTION, "{}",                           "transaction: missing"},
    {COMMAND_TRANSFER, "{\"from\":\"a\",\"amount\":1}",       "to: missing"},
    {COMMAND_TRANSFER, "{\"account\":\"a\"}",                 "account: unknown key for transfer"},
    {COMMAND_OPEN_ACCOUNT, "{\"account\":\"a\",\"user_id\":\"u\"}", "asset: missing"},
    {COMMAND_OPEN_ACCOUNT, "{\"amount\":1}",                  "amount: unknown key for open_account"},
    {COMMAND_SET_FLOOR, "{\"account\":\"a\"}",               "floor: missing"},
    {COMMAND_SET_FLOOR, "{\"account\":\"a\",\"amount\":1}",  "amount: unknown key for set_floor"},
    {COMMAND_SET_FLOOR, "{\"floor\":-0.5}",
     "floor: a float is refused; send an integer of minor units or a decimal string"},
    {COMMAND_SET_FLOOR, "{\"floor\":true}",
     "floor: must be an integer of minor units or a decimal string"},
    {COMMAND_DEPOSIT, "{\"floor\":0}",                        "floor: unknown key for deposit"},
    {COMMAND_DEPOSIT, "[]",                                   "body: must be a map"},
    {COMMAND_DEPOSIT, "null",                                 "body: must be a map"},
    {COMMAND_DEPOSIT, "{\"amount\":1.0}",                     FLOAT_REFUSED},
    {COMMAND_DEPOSIT, "{\"amount\":1e2}",                     FLOAT_REFUSED},
    {COMMAND_DEPOSIT, "{\"amount\":null}",                    AMOUNT_RULE},
    {COMMAND_DEPOSIT, "{\"amount\":true}",                    AMOUNT_RULE},
    {COMMAND_DEPOSIT, "{\"amount\":{}}",                      AMOUNT_RULE},
    {COMMAND_DEPOSIT, "{\"amount\":[1]}",                     AMOUNT_RULE},
    {COMMAND_DEPOSIT, "{\"amount\":\"1,5\"}",   "amount: '1,5' is not a decimal number of at most 19 digits"},
    {COMMAND_DEPOSIT, "{\"amount\":\"\"}",      "amount: '' is not a decimal number of at most 19 digits"},
    {COMMAND_DEPOSIT, "{\"account\":\"\"}",                   "account" ID_RULE},
    {COMMAND_DEPOSIT, "{\"account\":\"a b\"}",                "account" ID_RULE},
    {COMMAND_DEPOSIT, "{\"account\":\"\xc3\xa9\"}",           "account" ID_RULE},
    {COMMAND_DEPOSIT, "{\"account\":\"" A64 "a\"}",           "account" ID_RULE},
    {COMMAND_DEPOSIT, "{\"account\":7}",                      "account" ID_RULE},
    {COMMAND_DEPOSIT, "{\"account\":null}",                   "account" ID_RULE},
    {COMMAND_DEPOSIT, "{\"account\":[\"a\"]}",                "account" ID_RULE},
    {COMMAND_DEPOSIT, "{\"account\":{\"a\":1}}",              "account" ID_RULE},
    {COMMAND_DEPOSIT, "{\"asset\":\"eur\"}",                  ASSET_RULE},
    {COMMAND_DEPOSIT, "{\"asset\":\"ABCDEFGHIJKLM\"}",        ASSET_RULE},
    {COMMAND_DEPOSIT, "{\"asset\":null}",                     ASSET_RULE},
    {COMMAND_OPEN_ACCOUNT, "{\"name\":\"\"}",                 NAME_RULE},
    {COMMAND_OPEN_ACCOUNT, "{\"name\":5}",                    NAME_RULE},
    {COMMAND_OPEN_ACCOUNT, "{\"kind\":\"admin\"}",            "kind: must be user or system"},
    {COMMAND_OPEN_ACCOUNT, "{\"kind\":1}",                    "kind: must be user or system"},
    {COMMAND_GET_TRANSACTION, "{\"transaction\":\"x\"}",      UUID_RULE},
    {COMMAND_GET_TRANSACTION, "{\"transaction\":1}",          UUID_RULE},
    {COMMAND_GET_TRANSACTION, "{\"transaction\":\"00000000-0000-0000-0000-000000000000\"}", UUID_RULE},
    {COMMAND_RELEASE, "{}",                                   "hold: missing"},
    {COMMAND_RELEASE, "{\"hold\":\"x\"}",                     "hold: must be a UUID as text, 8-4-4-4-12 hexadecimal digits"},
    {COMMAND_RELEASE, "{\"amount\":1}",                       "amount: unknown key for release"},
    {COMMAND_HOLD, "{\"expires_in\":0}",                      SECONDS_RULE},
    {COMMAND_HOLD, "{\"expires_in\":316224001}",              SECONDS_RULE},
    {COMMAND_HOLD, "{\"expires_in\":\"60\"}",                 SECONDS_RULE},
    {COMMAND_CAPTURE, "{\"final\":1}",                        "final: must be true or false"},
    {COMMAND_CAPTURE, "{\"dry_run\":null}",                   "dry_run: must be true or false"},
    {COMMAND_FREEZE_ACCOUNT, "{\"direction\":\"up\"}",        "direction: must be in, out or both"},
    {COMMAND_DEPOSIT, "{\"if_seq\":-1}",                      "if_seq: must be an integer of 0 to 9223372036854775807"},
    {COMMAND_DEPOSIT, "{\"if_balance_at_least\":1.5}",        "if_balance_at_least: a float is refused; send an integer of minor units or a decimal string"},
    {COMMAND_DEPOSIT, "{\"if_balance_at_least\":\"1,5\"}",    "if_balance_at_least: '1,5' is not a decimal number of at most 19 digits"},
    {COMMAND_DEPOSIT, "{\"not_after\":\"tomorrow\"}",         "not_after: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z"},
    {COMMAND_DEPOSIT, "{\"not_before\":1795417200}",          "not_before: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z"},
    {COMMAND_DEPOSIT, "{\"account\":\"a\",\"amount\":1,\"not_after\":\"2026-11-23T07:00:00Z\",\"not_before\":\"2026-11-23T07:00:00.000001Z\"}",
                                                              "not_after: must not be before not_before"},
    {COMMAND_CANCEL, "{}",                                    "transaction: missing"},
    {COMMAND_CANCEL, "{\"not_before\":\"2026-11-23T07:00:00Z\"}", "not_before: unknown key for cancel"},
    {COMMAND_CANCEL, "{\"if_seq\":1}",                        "if_seq: unknown key for cancel"},
    {COMMAND_GET_BALANCE, "{\"not_before\":\"2026-11-23T07:00:00Z\"}", "not_before: unknown key for get_balance"},
    {COMMAND_GET_BALANCE, "{\"if_seq\":1}",                   "if_seq: unknown key for get_balance"},
    {COMMAND_DEPOSIT, "{\"metadata\":[]}",                    "metadata: must be a map"},
    {COMMAND_DEPOSIT, "{\"metadata\":\"\"}",                  "metadata: must be a map"},
    {COMMAND_DEPOSIT, "{\"metadata\":{\"a\":{\"b\":{\"c\":{\"d\":{}}}}}}", "metadata: deeper than 4 levels"},
    {COMMAND_DEPOSIT, "{\"metadata\":{\"a\":[[[[[[[]]]]]]]}}", "body: nested deeper than 8 levels"},
};

/* What JSON cannot say, or jansson says in its own words. */
static const struct {
    struct bytes msgpack;
    const char *problem;
} refused_msgpack[] = {
    {WIRE_BYTES("\x82\xa6""amount\x01\xa6""amount\x01"),    "amount: doubled key"},
    {WIRE_BYTES("\x82\xa7""account\xa1""a\xa7""account\xa1""a"), "account: doubled key"},
    {WIRE_BYTES("\x81\x01\x01"),                            "body: keys must be text"},
    {WIRE_BYTES("\x81\x80\x01"),                            "body: keys must be text"},
    {WIRE_BYTES("\x81\xa6""amount\xcf\x80\x00\x00\x00\x00\x00\x00\x00"), "amount: does not fit in a signed 64-bit integer"},
    {WIRE_BYTES("\x81\xa6""amount\xca\x3f\x80\x00\x00"),    FLOAT_REFUSED},
    {WIRE_BYTES("\x81\xa6""amount\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), FLOAT_REFUSED},
    {WIRE_BYTES("\x81\xa6""amount\xc4\x01""1"),             AMOUNT_RULE},
    {WIRE_BYTES("\x81\xa6""amount\xd4\x01""1"),             AMOUNT_RULE},
    {WIRE_BYTES("\x81\xa7""account\xc4\x01""a"),            "account" ID_RULE},
    {WIRE_BYTES("\x81\xa7""account\xa2""a\0"),              "account" ID_RULE},
    {WIRE_BYTES("\x81\xa7""account\xa1\xff"),               "body: a text is not UTF-8"},
    {WIRE_BYTES("\x81\xa8metadata\x81\xa1""a\xc4\x00"),     "metadata: binary and extension values are refused"},
    {WIRE_BYTES("\x81\xa8metadata\x82\xa1""a\x01\xa1""a\x01"), "metadata: doubled key in it"},
    {WIRE_BYTES("\x81\xa8metadata\x81\x01\x01"),            "metadata: keys must be text"},
    {WIRE_BYTES("\x81\xa8metadata\x81\xa1""a\xca\x7f\x80\x00\x00"), "metadata: NaN and the infinities are refused"},
    {WIRE_BYTES("\xdd\xff\xff\xff\xff"),                    "body: cut short: a claimed length is not covered"},
    {WIRE_BYTES(""),                                        "body: cut short, or not msgpack"},
};
/* clang-format on */

#define ROWS(table) (sizeof(table) / sizeof *(table))

static bool page_equal(const struct page *a, const struct page *b)
{
    return a->limit == b->limit && a->from_us == b->from_us && a->until_us == b->until_us &&
           a->kind == b->kind && a->ascending == b->ascending &&
           wire_uuid_equal(a->trace_id, b->trace_id) && wire_uuid_equal(a->cursor, b->cursor);
}

static bool command_equal(const struct command *a, const struct command *b)
{
    return a->type == b->type && text_equal(a->account, b->account) &&
           text_equal(a->from, b->from) && text_equal(a->to, b->to) &&
           text_equal(a->user_id, b->user_id) && text_equal(a->name, b->name) &&
           text_equal(a->asset, b->asset) && a->kind == b->kind &&
           a->amount.value == b->amount.value && a->amount.digits == b->amount.digits &&
           a->amount.is_decimal == b->amount.is_decimal &&
           wire_bytes_equal(a->metadata, b->metadata) &&
           wire_uuid_equal(a->transaction, b->transaction) &&
           a->as_of.time_us == b->as_of.time_us &&
           wire_uuid_equal(a->as_of.transaction, b->as_of.transaction) &&
           page_equal(&a->page, &b->page) &&
           (!command_has_target(a->type) || a->has_amount == b->has_amount) &&
           a->expires_in_s == b->expires_in_s && a->keeps_rest == b->keeps_rest &&
           a->direction == b->direction && a->dry_run == b->dry_run &&
           a->independent == b->independent && a->legs_count == b->legs_count &&
           wire_bytes_equal(a->legs, b->legs) &&
           a->conditions.has_if_seq == b->conditions.has_if_seq &&
           a->conditions.if_seq == b->conditions.if_seq &&
           a->conditions.has_if_balance == b->conditions.has_if_balance &&
           a->conditions.if_balance.value == b->conditions.if_balance.value &&
           a->conditions.if_balance.digits == b->conditions.if_balance.digits &&
           a->conditions.if_balance.is_decimal == b->conditions.if_balance.is_decimal &&
           a->conditions.not_before_us == b->conditions.not_before_us &&
           a->conditions.not_after_us == b->conditions.not_after_us;
}

static struct bytes golden_body(const struct golden *golden, enum encoding encoding)
{
    return encoding == ENCODING_JSON ? wire_bytes(text_of(golden->json)) : golden->msgpack;
}

static void goldens_decode_and_encode(void **state)
{
    char problem[PROBLEM_SIZE];
    struct command command;
    struct bytes body;

    (void)state;
    for (size_t i = 0; i < 2 * ROWS(goldens); i++) {
        const struct golden *golden = &goldens[i / 2];
        enum encoding encoding = i % 2 == 0 ? ENCODING_MSGPACK : ENCODING_JSON;
        struct bytes wanted = golden_body(golden, encoding);

        arena_reset(&arena);
        if (!command_decode(codec, golden->command.type, encoding, wanted, &arena, &command,
                            problem))
            fail_msg("row %zu: %s", i / 2, problem);
        if (!command_equal(&command, &golden->command)) fail_msg("row %zu decoded", i / 2);
        assert_true(command_encode(codec, &golden->command, encoding, &arena, &body));
        if (!wire_bytes_equal(body, wanted)) fail_msg("row %zu encoded", i / 2);
    }
}

static void no_truncation_decodes(void **state)
{
    char problem[PROBLEM_SIZE];
    struct command command;
    uint8_t *block;

    (void)state;
    for (size_t i = 0; i < 2 * ROWS(goldens); i++) {
        const struct golden *golden = &goldens[i / 2];
        enum encoding encoding = i % 2 == 0 ? ENCODING_MSGPACK : ENCODING_JSON;
        struct bytes whole = golden_body(golden, encoding);

        for (uint32_t size = 0; size < whole.size; size++) {
            struct bytes cut = wire_cut(whole, size, &block);
            arena_reset(&arena);
            if (command_decode(codec, golden->command.type, encoding, cut, &arena, &command,
                               problem))
                fail_msg("row %zu cut at %u", i / 2, size);
            assert_int_equal(strncmp(problem, "body: ", 6), 0);
            free(block);
        }
    }
}

static void wrong_bodies_are_refused_precisely(void **state)
{
    char problem[PROBLEM_SIZE];
    struct command command;
    struct bytes body;

    (void)state;
    for (size_t i = 0; i < ROWS(refused); i++) {
        struct bytes json = wire_bytes(text_of(refused[i].json));
        arena_reset(&arena);
        assert_false(
            command_decode(codec, refused[i].type, ENCODING_JSON, json, &arena, &command, problem));
        assert_string_equal(problem, refused[i].problem);
        if (!json_to_msgpack(codec, json, &arena, &body, problem, sizeof problem)) continue;
        assert_false(command_decode(codec, refused[i].type, ENCODING_MSGPACK, body, &arena,
                                    &command, problem));
        assert_string_equal(problem, refused[i].problem);
    }
    for (size_t i = 0; i < ROWS(refused_msgpack); i++) {
        assert_false(command_decode(codec, COMMAND_DEPOSIT, ENCODING_MSGPACK,
                                    refused_msgpack[i].msgpack, &arena, &command, problem));
        assert_string_equal(problem, refused_msgpack[i].problem);
    }
}

/* A deposit whose metadata is one text of this size under the key "a". */
static struct bytes deposit_with_metadata(uint32_t size)
{
    struct writer writer = writer_in(&arena);
    struct bytes body;

    struct pack_map map = pack_map_open(&writer, 3);
    pack_text(&map, "account", text_of("a"));
    pack_int(&map, "amount", 1);
    pack_key(&map, "metadata");
    struct pack_map metadata = pack_map_open(&writer, 1);
    pack_key(&metadata, "a");
    write_u8(&writer, 0xda);
    write_u16(&writer, (uint16_t)size);
    for (uint32_t i = 0; i < size; i++) write_u8(&writer, 'x');
    metadata.count = 1;
    pack_map_close(&metadata);
    pack_map_close(&map);
    assert_true(writer_keep(&writer, &arena, &body));
    return body;
}

static void limits_are_exact(void **state)
{
    enum { METADATA_HEADS = 1 + 2 + 3 }; /* map, key, text */
    static char name[NAME_LENGTH_MAX + 2];
    char problem[PROBLEM_SIZE];
    struct command command;

    (void)state;
    arena_reset(&arena);
    struct bytes body = deposit_with_metadata(METADATA_SIZE_MAX - METADATA_HEADS);
    assert_true(
        command_decode(codec, COMMAND_DEPOSIT, ENCODING_MSGPACK, body, &arena, &command, problem));
    assert_int_equal(command.metadata.size, METADATA_SIZE_MAX);
    body = deposit_with_metadata(METADATA_SIZE_MAX - METADATA_HEADS + 1);
    assert_false(
        command_decode(codec, COMMAND_DEPOSIT, ENCODING_MSGPACK, body, &arena, &command, problem));
    assert_string_equal(problem, "metadata: 4097 bytes as msgpack; at most 4096 are accepted");

    memset(name, 'n', NAME_LENGTH_MAX + 1);
    assert_false(name_is_valid(text_of(name)));
    name[NAME_LENGTH_MAX] = '\0';
    assert_true(name_is_valid(text_of(name)));
    assert_false(name_is_valid((struct text){name, NAME_LENGTH_MAX + 1}));
    assert_false(name_is_valid((struct text){name + NAME_LENGTH_MAX, 1})); /* NUL */
    assert_true(id_is_valid(text_of(A64)));
    assert_false(id_is_valid(text_of(A64 "a")));
    assert_true(id_is_valid(text_of("AZaz09._:-")));
    assert_true(asset_is_valid(text_of("AZ09.AZ09.AZ")));
    assert_false(asset_is_valid(text_of("AZ09.AZ09.AZ0")));
    assert_false(asset_is_valid(text_of("A-Z")));
    for (int byte = 0; byte < 256; byte++) { /* against the rule written another way */
        char one = (char)byte;
        bool is_ascii_word =
            byte < 128 && byte != 0 &&
            strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-", byte) !=
                NULL;
        assert_int_equal(id_is_valid((struct text){&one, 1}), is_ascii_word);
    }
}

static struct text random_id(uint32_t most)
{
    static const char letters[] = "ABCXYZ0189.abcxyz_:-"; /* an asset takes the first eleven */
    struct writer writer = writer_in(&arena);
    struct bytes bytes;
    uint32_t kinds = most == ASSET_LENGTH_MAX ? 11 : sizeof letters - 1;

    for (uint32_t left = 1 + (uint32_t)rand() % most; left > 0; left--)
        write_u8(&writer, (uint8_t)letters[(uint32_t)rand() % kinds]);
    assert_true(writer_keep(&writer, &arena, &bytes));
    return (struct text){(const char *)bytes.data, bytes.size};
}

static struct amount random_amount(void)
{
    struct amount amount = {.value = wire_random_int()};
    char text[AMOUNT_TEXT_SIZE];

    if (rand() % 2 == 0) return amount;
    amount_format(amount.value, (uint8_t)(rand() % (SCALE_MAX + 1)), text);
    assert_true(amount_parse(text_of(text), &amount));
    return amount;
}

/* Canonical, within what the wire of JSON can say. */
static struct bytes random_metadata(void)
{
    struct bytes metadata = wire_random_metadata(&arena);
    char problem[PROBLEM_SIZE];

    if (metadata.size == 0) return metadata;
    assert_true(msgpack_canonical(codec, metadata, &arena, &metadata, problem, sizeof problem));
    return metadata;
}

static void random_conditions(struct command *command)
{
    struct conditions *conditions = &command->conditions;

    command->dry_run = rand() % 4 == 0;
    conditions->has_if_seq = rand() % 4 == 0;
    if (conditions->has_if_seq) conditions->if_seq = rand() % 3 == 0 ? INT64_MAX : rand() % 9;
    conditions->has_if_balance = rand() % 4 == 0;
    if (conditions->has_if_balance) conditions->if_balance = random_amount();
    if (command->type != COMMAND_CANCEL && rand() % 4 == 0) conditions->not_before_us = 1 + rand();
    if (rand() % 4 == 0) conditions->not_after_us = conditions->not_before_us + 1 + rand() % 9;
}

static void random_target(struct command *command)
{
    command->transaction = wire_random_uuid();
    command->has_amount =
        command->type != COMMAND_RELEASE && command->type != COMMAND_EXPIRE_HOLD && rand() % 2 == 0;
    if (command->has_amount) command->amount = random_amount();
    if (command->type != COMMAND_CAPTURE) return;
    command->keeps_rest = rand() % 2 == 0;
    if (rand() % 2 == 0) command->to = random_id(ID_LENGTH_MAX);
}

static void random_page(struct command *command)
{
    struct page *page = &command->page;

    if (rand() % 2 == 0) page->limit = 1 + (uint32_t)rand() % PAGE_ENTRIES_MAX;
    if (rand() % 2 == 0) page->from_us = 1 + wire_random_time();
    if (rand() % 2 == 0) page->until_us = page->from_us + 1 + wire_random_time();
    if (rand() % 2 == 0)
        page->kind = command_number((enum command_type)((uint32_t)rand() % COMMAND_BATCH));
    if (rand() % 2 == 0) page->trace_id = wire_random_uuid();
    page->ascending = rand() % 2 == 0;
    if (rand() % 2 == 0) page->cursor = page_cursor(page, command->account, 1 + rand());
}

static void random_query(struct command *command)
{
    struct as_of *as_of = &command->as_of;

    if (command->type == COMMAND_GET_USER) {
        command->user_id = random_id(ID_LENGTH_MAX);
        return;
    }
    if (command->type == COMMAND_GET_TRANSACTION) {
        command->transaction = wire_random_uuid();
        return;
    }
    command->account = random_id(ID_LENGTH_MAX);
    if (command->type == COMMAND_LIST_TRANSACTIONS) random_page(command);
    if (command->type != COMMAND_GET_BALANCE) return;
    if (rand() % 3 == 0)
        as_of->time_us = 1 + wire_random_time();
    else if (rand() % 2 == 0)
        as_of->transaction = wire_random_uuid();
}

/* A batch's legs are read elsewhere. */
static void random_without_account(struct command *command)
{
    struct conditions *conditions = &command->conditions;

    *conditions = (struct conditions){.not_before_us = conditions->not_before_us,
                                      .not_after_us = conditions->not_after_us};
    if (command->type == COMMAND_CANCEL) {
        command->transaction = wire_random_uuid();
        return;
    }
    if (command->type == COMMAND_UPDATE_USER) {
        command->user_id = random_id(ID_LENGTH_MAX);
        if (rand() % 2 == 0) command->name = wire_random_text(&arena, NAME_LENGTH_MAX / 4);
        command->metadata = random_metadata();
        return;
    }
    command->independent = rand() % 2 == 0;
    command->legs = (struct bytes)WIRE_BYTES("\x92\x80\x80");
    command->legs_count = 2;
}

static struct command random_command(void)
{
    struct command command = {.type = (enum command_type)((uint32_t)rand() % COMMANDS_COUNT)};

    if (command_changes(command.type) && command.type != COMMAND_OPEN_ACCOUNT)
        random_conditions(&command);
    switch (command.type) {
    case COMMAND_HOLD:
        command.account = random_id(ID_LENGTH_MAX);
        command.amount = random_amount();
        if (rand() % 2 == 0) command.expires_in_s = 1 + (uint32_t)rand() % HOLD_SECONDS_MAX;
        return command;
    case COMMAND_CAPTURE:
    case COMMAND_RELEASE:
    case COMMAND_EXPIRE_HOLD:
    case COMMAND_REVERSE:
        random_target(&command);
        return command;
    case COMMAND_FREEZE_ACCOUNT:
    case COMMAND_UNFREEZE_ACCOUNT:
        command.account = random_id(ID_LENGTH_MAX);
        command.direction = (enum direction)((uint32_t)rand() % 4);
        return command;
    case COMMAND_OPEN_ACCOUNT:
        command.user_id = random_id(ID_LENGTH_MAX);
        command.name =
            rand() % 2 == 0 ? wire_random_text(&arena, NAME_LENGTH_MAX / 4) : (struct text){0};
        command.kind = rand() % 2 == 0 ? ACCOUNT_USER : ACCOUNT_SYSTEM;
        command.account = random_id(ID_LENGTH_MAX);
        command.asset = random_id(ASSET_LENGTH_MAX);
        command.metadata = random_metadata();
        return command;
    case COMMAND_DEPOSIT:
    case COMMAND_WITHDRAW:
    case COMMAND_TRANSFER:
        if (rand() % 2 == 0) command.asset = random_id(ASSET_LENGTH_MAX);
        command.amount = random_amount();
        command.metadata = random_metadata();
        if (command.type == COMMAND_TRANSFER) {
            command.from = random_id(ID_LENGTH_MAX);
            command.to = random_id(ID_LENGTH_MAX);
        } else {
            command.account = random_id(ID_LENGTH_MAX);
        }
        return command;
    case COMMAND_CLOSE_ACCOUNT:
        command.account = random_id(ID_LENGTH_MAX);
        return command;
    case COMMAND_SET_FLOOR:
        command.account = random_id(ID_LENGTH_MAX);
        command.amount = random_amount();
        return command;
    case COMMAND_CANCEL:
    case COMMAND_UPDATE_USER:
    case COMMAND_BATCH:
        random_without_account(&command);
        return command;
    case COMMAND_GET_USER:
    case COMMAND_GET_ACCOUNT:
    case COMMAND_GET_BALANCE:
    case COMMAND_GET_TRANSACTION:
    case COMMAND_LIST_TRANSACTIONS:
        random_query(&command);
        return command;
    case COMMANDS_COUNT:
        break;
    }
    return command;
}

static void random_commands_come_back(void **state)
{
    char problem[PROBLEM_SIZE];
    struct command command, decoded[2] = {{.amount = {0}}, {.amount = {0}}};
    struct bytes body;

    (void)state;
    for (uint32_t seed = 1; seed <= RANDOM_COMMANDS; seed++) {
        srand(seed);
        arena_reset(&arena);
        command = random_command();
        struct uuid fingerprint = command_fingerprint(&command);
        for (uint32_t i = 0; i < 2; i++) {
            enum encoding encoding = i == 0 ? ENCODING_MSGPACK : ENCODING_JSON;
            if (!command_encode(codec, &command, encoding, &arena, &body) ||
                !command_decode(codec, command.type, encoding, body, &arena, &decoded[i], problem))
                fail_msg("seed %u: %s", seed, problem);
            if (!command_equal(&command, &decoded[i]) ||
                !wire_uuid_equal(fingerprint, command_fingerprint(&decoded[i])))
                fail_msg("seed %u, encoding %u", seed, i);
        }
    }
}

/* The pairs of a map in another order, and with the longest heads there are. */
static void key_order_does_not_matter(void **state)
{
    static const struct bytes bodies[] = {
        WIRE_BYTES("\x83\xa7"
                   "account\xa1"
                   "a\xa6"
                   "amount\x01\xa8metadata\x82\xa1"
                   "x\x01\xa1"
                   "y\x02"),
        WIRE_BYTES("\x83\xa8metadata\x82\xa1"
                   "y\x02\xa1"
                   "x\x01\xa6"
                   "amount\x01\xa7"
                   "account\xa1"
                   "a"),
        WIRE_BYTES("\xdf\x00\x00\x00\x03\xd9\x06"
                   "amount\xd3\x00\x00\x00\x00\x00\x00\x00\x01\xda\x00\x07"
                   "account\xdb\x00\x00\x00\x01"
                   "a\xa8metadata\xde\x00\x02\xa1"
                   "y\xcc\x02\xa1"
                   "x\xd1\x00\x01"),
    };
    char problem[PROBLEM_SIZE];
    struct command command;
    struct uuid first = {{0}};

    (void)state;
    arena_reset(&arena);
    for (size_t i = 0; i < ROWS(bodies); i++) {
        assert_true(command_decode(codec, COMMAND_DEPOSIT, ENCODING_MSGPACK, bodies[i], &arena,
                                   &command, problem));
        struct uuid fingerprint = command_fingerprint(&command);
        if (i == 0) first = fingerprint;
        assert_true(wire_uuid_equal(first, fingerprint));
    }
}

static void every_field_counts(void **state)
{
    const struct command base = {
        .type = COMMAND_DEPOSIT, .account = WIRE_TEXT("ab"), .amount = {1, 1, true}};
    struct command variants[16];
    uint32_t count = 0;

    (void)state;
    for (uint32_t i = 0; i < ROWS(variants); i++) variants[i] = base;
    count++;
    variants[count++].type = COMMAND_WITHDRAW;
    variants[count++].account = text_of("ac");
    variants[count++].account = text_of("a");
    variants[count++].from = text_of("ab");
    variants[count++].to = text_of("ab");
    variants[count++].user_id = text_of("ab");
    variants[count++].name = text_of("ab");
    variants[count++].asset = text_of("ab");
    variants[count++].kind = ACCOUNT_SYSTEM;
    variants[count++].amount.value = 2;
    variants[count++].amount.digits = 2;
    variants[count++].amount.is_decimal = false;
    variants[count++].metadata = (struct bytes)WIRE_BYTES("\x80");
    variants[count++].transaction.bytes[15] = 1;
    variants[count].account = text_of("a"); /* the boundary between two fields moved */
    variants[count++].from = text_of("b");
    assert_int_equal(count, ROWS(variants));
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (wire_uuid_equal(command_fingerprint(&variants[i]),
                                command_fingerprint(&variants[k])))
                fail_msg("variants %u and %u", i, k);
}

/* The journal keeps digests for ever: these values may never change. */
static void digests_are_for_ever(void **state)
{
    char hex[UUID_HEX_SIZE];
    struct uuid digest = idempotency_digest(text_of("shop"), text_of("order-1"));

    (void)state;
    uuid_format_hex(&digest, hex);
    assert_string_equal(hex, "a8ef18bbdb26cc5acb22848d20a82d14");
    digest = command_fingerprint(&goldens[3].command);
    uuid_format_hex(&digest, hex);
    assert_string_equal(hex, "6236348584fa6f694e280db5a371d323");

    digest = scheduled_digest(&digest);
    uuid_format_hex(&digest, hex);
    assert_string_equal(hex, "9eeba8505d8c8bcc74e1b902d1d01a34");

    struct uuid shifted = idempotency_digest(text_of("shopo"), text_of("rder-1"));
    assert_false(wire_uuid_equal(shifted, idempotency_digest(text_of("shop"), text_of("order-1"))));
    shifted = idempotency_digest(text_of(""), text_of("order-1"));
    assert_false(wire_uuid_equal(shifted, idempotency_digest(text_of("order-1"), text_of(""))));
}

/* clang-format off */
static const struct {
    enum command_type type;
    const char *word, *ordering_key;
    int16_t number;
    bool changes;
} types[] = {
    {COMMAND_OPEN_ACCOUNT,    "open_account",    "account", 1,   true},
    {COMMAND_DEPOSIT,         "deposit",         "account", 2,   true},
    {COMMAND_WITHDRAW,        "withdraw",        "account", 3,   true},
    {COMMAND_TRANSFER,        "transfer",        "from",    4,   true},
    {COMMAND_HOLD,            "hold",            "account", 5,   true},
    {COMMAND_CAPTURE,         "capture",         "",        6,   true},
    {COMMAND_RELEASE,         "release",         "",        7,   true},
    {COMMAND_EXPIRE_HOLD,     "expire_hold",     "",        8,   true},
    {COMMAND_REVERSE,         "reverse",         "",        9,   true},
    {COMMAND_FREEZE_ACCOUNT,  "freeze_account",  "account", 10,  true},
    {COMMAND_UNFREEZE_ACCOUNT, "unfreeze_account", "account", 11, true},
    {COMMAND_CLOSE_ACCOUNT,   "close_account",   "account", 12,  true},
    {COMMAND_BATCH,           "batch",           "",        13,  true},
    {COMMAND_SET_FLOOR,       "set_floor",       "account", 14,  true},
    {COMMAND_CANCEL,          "cancel",          "",        15,  true},
    {COMMAND_UPDATE_USER,     "update_user",     "user",    16,  true},
    {COMMAND_GET_USER,        "get_user",        "user",    101, false},
    {COMMAND_GET_ACCOUNT,     "get_account",     "account", 102, false},
    {COMMAND_GET_BALANCE,     "get_balance",     "account", 103, false},
    {COMMAND_GET_TRANSACTION, "get_transaction", "",        104, false},
    {COMMAND_LIST_TRANSACTIONS, "list_transactions", "account", 105, false},
};
/* clang-format on */
_Static_assert(ROWS(types) == COMMANDS_COUNT, "each type has its row");

static void types_have_words_and_numbers(void **state)
{
    enum command_type type;

    (void)state;
    for (size_t i = 0; i < ROWS(types); i++) {
        struct command command = {.type = types[i].type,
                                  .account = WIRE_TEXT("account"),
                                  .from = WIRE_TEXT("from"),
                                  .user_id = WIRE_TEXT("user")};
        assert_string_equal(command_word(types[i].type), types[i].word);
        assert_int_equal(command_number(types[i].type), types[i].number);
        assert_int_equal(command_changes(types[i].type), types[i].changes);
        assert_true(command_type_parse(text_of(types[i].word), &type) && type == types[i].type);
        assert_true(command_type_of_number(types[i].number, &type) && type == types[i].type);
        assert_true(text_equal(command_ordering_key(&command), text_of(types[i].ordering_key)));
    }
    assert_false(command_type_parse(text_of("Deposit"), &type));
    assert_false(command_type_parse(text_of("deposi"), &type));
    assert_false(command_type_parse(text_of(""), &type));
    assert_false(command_type_of_number(0, &type));
}

/* A cursor is of one question, whatever its limit, and of one place. */
static void a_cursor_is_of_one_question(void **state)
{
    const struct page page = {
        .limit = 10, .from_us = 1, .until_us = 9, .kind = 4, .ascending = true};
    struct page others[6];
    int64_t seq;

    (void)state;
    for (int i = 0; i < 6; i++) others[i] = page;
    others[0].limit = 20;
    others[1].from_us = 2;
    others[2].until_us = 8;
    others[3].kind = 3;
    others[4].ascending = false;
    others[5].trace_id.bytes[15] = 1;
    for (int i = 0; i < 6; i++) {
        others[i].cursor = page_cursor(&page, text_of("a"), INT64_MAX - 1);
        assert_int_equal(page_resumes(&others[i], text_of("a"), &seq), i == 0);
        assert_int_equal(seq, INT64_MAX - 1);
    }
    assert_false(page_resumes(&others[0], text_of("b"), &seq));
    for (uint32_t bit = 0; bit < 128; bit++) {
        struct page changed = others[0];
        changed.cursor.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (page_resumes(&changed, text_of("a"), &seq)) fail_msg("bit %u", bit);
    }
    others[0].cursor = (struct uuid){{0}};
    assert_true(page_resumes(&others[0], text_of("a"), &seq));
    assert_int_equal(seq, 0);
}

static void full_arena_is_reported(void **state)
{
    uint8_t memory[16];
    struct arena small = {.base = memory, .size = sizeof memory};
    struct bytes out;

    (void)state;
    for (size_t i = 0; i < 2 * ROWS(goldens); i++)
        if (goldens[i / 2].msgpack.size > sizeof memory)
            assert_false(command_encode(codec, &goldens[i / 2].command,
                                        i % 2 == 0 ? ENCODING_MSGPACK : ENCODING_JSON, &small,
                                        &out));
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    return codec_open(&codec, &err) && arena_open(&arena, WIRE_ARENA_SIZE, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goldens_decode_and_encode),
        cmocka_unit_test(no_truncation_decodes),
        cmocka_unit_test(wrong_bodies_are_refused_precisely),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(random_commands_come_back),
        cmocka_unit_test(key_order_does_not_matter),
        cmocka_unit_test(every_field_counts),
        cmocka_unit_test(digests_are_for_ever),
        cmocka_unit_test(types_have_words_and_numbers),
        cmocka_unit_test(a_cursor_is_of_one_question),
        cmocka_unit_test(full_arena_is_reported),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
