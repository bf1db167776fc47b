/*
 * command_codec.c - commands from and to bodies, by two tables: what each key is and where it goes,
 * and which keys each type of command takes. A key that is in neither, twice, missing or of the
 * wrong kind is refused by its name, so that a typing error never moves money.
 */
#include "protocol/command.h"
#include "protocol/pack.h"
#include "protocol/request.h"
#include "protocol/value.h"

#include <assert.h>
#include <stdio.h>

enum key {
    KEY_ACCOUNT,
    KEY_FROM,
    KEY_TO,
    KEY_USER_ID,
    KEY_NAME,
    KEY_ASSET,
    KEY_KIND,
    KEY_AMOUNT,
    KEY_FLOOR,
    KEY_METADATA,
    KEY_TRANSACTION,
    KEY_HOLD,
    KEY_EXPIRES_IN,
    KEY_FINAL,
    KEY_DIRECTION,
    KEY_IF_SEQ,
    KEY_IF_BALANCE_AT_LEAST,
    KEY_NOT_BEFORE,
    KEY_NOT_AFTER,
    KEY_DRY_RUN,
    KEY_ATOMIC,
    KEY_COMMANDS,
    KEY_AS_OF,
    KEY_LIMIT,
    KEY_CURSOR,
    KEY_PAGE_FROM,
    KEY_PAGE_TO,
    KEY_PAGE_KIND,
    KEY_TRACE_ID,
    KEY_ORDER,
    KEYS_COUNT
};

enum key_type {
    TYPE_ID,
    TYPE_NAME,
    TYPE_ASSET,
    TYPE_KIND,
    TYPE_AMOUNT,
    TYPE_METADATA,
    TYPE_UUID,
    TYPE_SECONDS,
    TYPE_BOOL,
    TYPE_NOT, /* a bool that is kept inverted: its default is true */
    TYPE_DIRECTION,
    TYPE_SEQ,
    TYPE_TIME,
    TYPE_LEGS,
    TYPE_AS_OF,
    TYPE_LIMIT,
    TYPE_HEX, /* 16 bytes, as a trace id */
    TYPE_COMMAND,
    TYPE_ORDER,
};

/* clang-format off */
static const struct {
    const char *name;
    enum key_type type;
    size_t offset;
} keys[] = {
#define NAMED(name, type, member) {name, type, offsetof(struct command, member)}
#define KEY(member, type) NAMED(#member, type, member)
    [KEY_ACCOUNT]     = KEY(account,     TYPE_ID),
    [KEY_FROM]        = KEY(from,        TYPE_ID),
    [KEY_TO]          = KEY(to,          TYPE_ID),
    [KEY_USER_ID]     = KEY(user_id,     TYPE_ID),
    [KEY_NAME]        = KEY(name,        TYPE_NAME),
    [KEY_ASSET]       = KEY(asset,       TYPE_ASSET),
    [KEY_KIND]        = KEY(kind,        TYPE_KIND),
    [KEY_AMOUNT]      = KEY(amount,      TYPE_AMOUNT),
    [KEY_FLOOR]       = NAMED("floor",      TYPE_AMOUNT,  amount),
    [KEY_METADATA]    = KEY(metadata,    TYPE_METADATA),
    [KEY_TRANSACTION] = KEY(transaction, TYPE_UUID),
    [KEY_HOLD]        = NAMED("hold",       TYPE_UUID,    transaction),
    [KEY_EXPIRES_IN]  = NAMED("expires_in", TYPE_SECONDS, expires_in_s),
    [KEY_FINAL]       = NAMED("final",      TYPE_NOT,     keeps_rest),
    [KEY_DIRECTION]   = KEY(direction,   TYPE_DIRECTION),
    [KEY_IF_SEQ]      = NAMED("if_seq",     TYPE_SEQ,     conditions.if_seq),
    [KEY_IF_BALANCE_AT_LEAST] = NAMED("if_balance_at_least", TYPE_AMOUNT, conditions.if_balance),
    [KEY_NOT_BEFORE]  = NAMED("not_before", TYPE_TIME,    conditions.not_before_us),
    [KEY_NOT_AFTER]   = NAMED("not_after",  TYPE_TIME,    conditions.not_after_us),
    [KEY_ATOMIC]      = NAMED("atomic",     TYPE_NOT,     independent),
    [KEY_COMMANDS]    = NAMED("commands",   TYPE_LEGS,    legs),
    [KEY_DRY_RUN]     = KEY(dry_run,     TYPE_BOOL),
    [KEY_AS_OF]       = KEY(as_of,       TYPE_AS_OF),
    [KEY_LIMIT]       = NAMED("limit",      TYPE_LIMIT,   page.limit),
    [KEY_CURSOR]      = NAMED("cursor",     TYPE_HEX,     page.cursor),
    /* Of list_transactions alone: other types give these three words another meaning. */
    [KEY_PAGE_FROM]   = NAMED("from",       TYPE_TIME,    page.from_us),
    [KEY_PAGE_TO]     = NAMED("to",         TYPE_TIME,    page.until_us),
    [KEY_PAGE_KIND]   = NAMED("kind",       TYPE_COMMAND, page.kind),
    [KEY_TRACE_ID]    = NAMED("trace_id",   TYPE_HEX,     page.trace_id),
    [KEY_ORDER]       = NAMED("order",      TYPE_ORDER,   page.ascending),
#undef KEY
#undef NAMED
};
_Static_assert(sizeof keys / sizeof *keys == KEYS_COUNT, "each key has its row");

#define BIT(name) (UINT64_C(1) << KEY_##name)
/* Of every command that changes something, except that a cancellation is never early. */
#define TIMES (BIT(NOT_BEFORE) | BIT(NOT_AFTER) | BIT(DRY_RUN))
#define CONDITIONS (BIT(IF_SEQ) | BIT(IF_BALANCE_AT_LEAST) | TIMES)
static const struct {
    uint64_t required, optional;
} shapes[COMMANDS_COUNT] = {
    [COMMAND_OPEN_ACCOUNT]    = {BIT(ACCOUNT) | BIT(USER_ID) | BIT(ASSET),
                                 BIT(NAME) | BIT(KIND) | BIT(METADATA) | TIMES},
    [COMMAND_DEPOSIT]         = {BIT(ACCOUNT) | BIT(AMOUNT),         BIT(ASSET) | BIT(METADATA) | CONDITIONS},
    [COMMAND_WITHDRAW]        = {BIT(ACCOUNT) | BIT(AMOUNT),         BIT(ASSET) | BIT(METADATA) | CONDITIONS},
    [COMMAND_TRANSFER]        = {BIT(FROM) | BIT(TO) | BIT(AMOUNT),  BIT(ASSET) | BIT(METADATA) | CONDITIONS},
    [COMMAND_HOLD]            = {BIT(ACCOUNT) | BIT(AMOUNT),
                                 BIT(ASSET) | BIT(EXPIRES_IN) | BIT(METADATA) | CONDITIONS},
    [COMMAND_CAPTURE]         = {BIT(HOLD),
                                 BIT(AMOUNT) | BIT(TO) | BIT(FINAL) | BIT(METADATA) | CONDITIONS},
    [COMMAND_RELEASE]         = {BIT(HOLD),        BIT(METADATA) | CONDITIONS},
    [COMMAND_EXPIRE_HOLD]     = {BIT(HOLD),        BIT(METADATA) | CONDITIONS},
    [COMMAND_REVERSE]         = {BIT(TRANSACTION), BIT(AMOUNT) | BIT(METADATA) | CONDITIONS},
    [COMMAND_FREEZE_ACCOUNT]  = {BIT(ACCOUNT),     BIT(DIRECTION) | BIT(METADATA) | CONDITIONS},
    [COMMAND_UNFREEZE_ACCOUNT] = {BIT(ACCOUNT),    BIT(DIRECTION) | BIT(METADATA) | CONDITIONS},
    [COMMAND_CLOSE_ACCOUNT]   = {BIT(ACCOUNT),     BIT(METADATA) | CONDITIONS},
    [COMMAND_SET_FLOOR]       = {BIT(ACCOUNT) | BIT(FLOOR),          BIT(METADATA) | CONDITIONS},
    [COMMAND_BATCH]           = {BIT(COMMANDS),    BIT(ATOMIC) | TIMES},
    [COMMAND_CANCEL]          = {BIT(TRANSACTION), BIT(METADATA) | BIT(NOT_AFTER) | BIT(DRY_RUN)},
    [COMMAND_UPDATE_USER]     = {BIT(USER_ID),     BIT(NAME) | BIT(METADATA) | TIMES},
    [COMMAND_GET_USER]        = {BIT(USER_ID),     0},
    [COMMAND_GET_ACCOUNT]     = {BIT(ACCOUNT),     0},
    [COMMAND_GET_BALANCE]     = {BIT(ACCOUNT),     BIT(AS_OF)},
    [COMMAND_GET_TRANSACTION] = {BIT(TRANSACTION), 0},
    [COMMAND_LIST_TRANSACTIONS] = {BIT(ACCOUNT),
                                 BIT(LIMIT) | BIT(CURSOR) | BIT(PAGE_FROM) | BIT(PAGE_TO) | BIT(PAGE_KIND) |
                                 BIT(TRACE_ID) | BIT(ORDER)},
};
/* clang-format on */

/* What all the functions below work on. */
struct decoding {
    struct codec *codec;
    enum command_type type;
    struct bytes rest; /* of the body */
    struct arena *arena;
    struct command *out;
    char *problem;
    uint64_t seen;        /* keys so far */
    struct text *leg_key; /* of a batch's leg: where its idempotency key goes; else NULL */
    bool has_type;
};

static bool refuse(struct decoding *decoding, enum key key, const char *reason)
{
    return problem_set(decoding->problem, PROBLEM_SIZE, "%s: %s", keys[key].name, reason);
}

static bool read_amount(struct decoding *decoding, enum key key, struct amount *out)
{
    struct value value;

    if (!value_read(&decoding->rest, &value)) return refuse(decoding, key, "cut short");
    switch (value.type) {
    case VALUE_INTEGER:
        *out = (struct amount){.value = value.integer};
        return true;
    case VALUE_LARGE:
        return refuse(decoding, key, "does not fit in a signed 64-bit integer");
    case VALUE_TEXT:
        if (amount_parse(value.text, out)) return true;
        return problem_set(decoding->problem, PROBLEM_SIZE,
                           "%s: '%.*s' is not a decimal number of at most 19 digits",
                           keys[key].name, TEXT_ARGS(problem_quote(value.text)));
    case VALUE_FLOAT:
        return refuse(decoding, key,
                      "a float is refused; send an integer of minor units or a decimal string");
    case VALUE_NIL:
    case VALUE_BOOL:
    case VALUE_BINARY:
    case VALUE_EXTENSION:
    case VALUE_ARRAY:
    case VALUE_MAP:
        break;
    }
    return refuse(decoding, key, "must be an integer of minor units or a decimal string");
}

static bool read_metadata(struct decoding *decoding, struct bytes *out)
{
    struct value value;
    struct bytes whole, head;

    if (!value_take(&decoding->rest, &whole)) return refuse(decoding, KEY_METADATA, "cut short");
    head = whole;
    if (!value_read(&head, &value) || value.type != VALUE_MAP)
        return refuse(decoding, KEY_METADATA, "must be a map");
    if (!msgpack_canonical(decoding->codec, whole, decoding->arena, out, decoding->problem,
                           PROBLEM_SIZE))
        return false;
    if (out->size <= METADATA_SIZE_MAX) return true;
    return problem_set(decoding->problem, PROBLEM_SIZE,
                       "metadata: %u bytes as msgpack; at most %d are accepted", out->size,
                       METADATA_SIZE_MAX);
}

static bool command_set(struct text text, int16_t *out)
{
    enum command_type type;
    bool is_one = command_type_parse(text, &type) && command_changes(type);

    if (is_one) *out = command_number(type);
    return is_one;
}

static bool as_of_set(struct text text, struct as_of *out)
{
    if (uuid_parse(text, &out->transaction)) return !uuid_is_zero(&out->transaction);
    return time_parse(text, &out->time_us) && out->time_us > 0;
}

/* The keys whose value is a text: NULL when this one is right, else what it must be. */
static const char *text_set(enum key_type type, struct text text, void *target)
{
    bool is_system = text_equal(text, TEXT_LITERAL("system"));

    switch (type) {
    case TYPE_ID:
        *(struct text *)target = text;
        return id_is_valid(text) ? NULL : "must be 1 to 64 characters of A-Z a-z 0-9 . _ : -";
    case TYPE_ASSET:
        *(struct text *)target = text;
        return asset_is_valid(text) ? NULL : "must be 1 to 12 characters of A-Z 0-9 .";
    case TYPE_NAME:
        *(struct text *)target = text;
        return name_is_valid(text) ? NULL : "must be 1 to 256 bytes of UTF-8 text without NUL";
    case TYPE_KIND:
        *(enum account_kind *)target = is_system ? ACCOUNT_SYSTEM : ACCOUNT_USER;
        if (is_system || text_equal(text, TEXT_LITERAL("user"))) return NULL;
        return "must be user or system";
    case TYPE_UUID:
        if (uuid_parse(text, target) && !uuid_is_zero(target)) return NULL;
        return "must be a UUID as text, 8-4-4-4-12 hexadecimal digits";
    case TYPE_DIRECTION:
        return direction_parse(text, target) ? NULL : "must be in, out or both";
    case TYPE_TIME:
        if (time_parse(text, target) && *(int64_t *)target > 0) return NULL;
        return "must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z";
    case TYPE_AS_OF:
        if (as_of_set(text, target)) return NULL;
        return "must be an RFC 3339 time with a zone, or a transaction's UUID";
    case TYPE_HEX:
        if (uuid_parse_hex(text, target) && !uuid_is_zero(target)) return NULL;
        return "must be 32 lower-case hexadecimal digits, not all 0";
    case TYPE_COMMAND:
        return command_set(text, target) ? NULL : "must be the type of a command, no query";
    case TYPE_ORDER:
        *(bool *)target = text_equal(text, TEXT_LITERAL("asc"));
        if (*(bool *)target || text_equal(text, TEXT_LITERAL("desc"))) return NULL;
        return "must be asc or desc";
    case TYPE_AMOUNT:
    case TYPE_METADATA:
    case TYPE_SECONDS:
    case TYPE_BOOL:
    case TYPE_NOT:
    case TYPE_SEQ:
    case TYPE_LEGS:
    case TYPE_LIMIT:
        break;
    }
    assert(false);
    return "";
}
_Static_assert(ID_LENGTH_MAX == 64 && ASSET_LENGTH_MAX == 12 && NAME_LENGTH_MAX == 256,
               "said above");

/* Any other type reads as the empty text, which is never right. */
static bool read_text(struct decoding *decoding, enum key key, void *target)
{
    struct bytes whole;
    struct value value;

    if (!value_take(&decoding->rest, &whole) || !value_read(&whole, &value))
        return refuse(decoding, key, "cut short");
    struct text text = value.type == VALUE_TEXT ? value.text : (struct text){0};
    const char *wrong = text_set(keys[key].type, text, target);
    return wrong == NULL || refuse(decoding, key, wrong);
}

static bool read_integer(struct decoding *decoding, enum key key, int64_t most, int64_t *out)
{
    struct bytes whole;
    struct value value;

    if (!value_take(&decoding->rest, &whole) || !value_read(&whole, &value))
        return refuse(decoding, key, "cut short");
    int64_t least = keys[key].type == TYPE_SEQ ? 0 : 1;
    *out = value.type == VALUE_INTEGER ? value.integer : -1;
    if (*out >= least && *out <= most) return true;
    return problem_set(decoding->problem, PROBLEM_SIZE, "%s: must be an integer of %d to %jd",
                       keys[key].name, (int)least, (intmax_t)most);
}

static bool read_bool(struct decoding *decoding, enum key key, bool *out)
{
    struct bytes whole;
    struct value value;

    if (!value_take(&decoding->rest, &whole) || !value_read(&whole, &value))
        return refuse(decoding, key, "cut short");
    *out = value.type == VALUE_BOOL && value.boolean != (keys[key].type == TYPE_NOT);
    return value.type == VALUE_BOOL || refuse(decoding, key, "must be true or false");
}

/* What is in it is read leg by leg, see command_decode_leg. */
static bool read_legs(struct decoding *decoding, struct command *out)
{
    struct bytes head;
    struct value value;

    if (!value_take(&decoding->rest, &out->legs))
        return refuse(decoding, KEY_COMMANDS, "cut short");
    head = out->legs;
    if (!value_read(&head, &value) || value.type != VALUE_ARRAY)
        return refuse(decoding, KEY_COMMANDS, "must be a list of maps");
    if (value.count < 1 || value.count > LEGS_MAX)
        return problem_set(decoding->problem, PROBLEM_SIZE, "commands: %u; must be 1 to %d",
                           value.count, LEGS_MAX);
    out->legs_count = value.count;
    return true;
}

static bool read_value(struct decoding *decoding, enum key key)
{
    struct command *out = decoding->out;
    void *target = (uint8_t *)out + keys[key].offset;
    int64_t number = 0;

    switch (keys[key].type) {
    case TYPE_AMOUNT:
        out->conditions.has_if_balance |= key == KEY_IF_BALANCE_AT_LEAST;
        out->has_amount |= key == KEY_AMOUNT;
        return read_amount(decoding, key, target);
    case TYPE_METADATA:
        return read_metadata(decoding, &out->metadata);
    case TYPE_BOOL:
    case TYPE_NOT:
        return read_bool(decoding, key, target);
    case TYPE_SEQ:
        out->conditions.has_if_seq = true;
        return read_integer(decoding, key, INT64_MAX, &out->conditions.if_seq);
    case TYPE_SECONDS:
    case TYPE_LIMIT:
        if (!read_integer(decoding, key, key == KEY_LIMIT ? PAGE_ENTRIES_MAX : HOLD_SECONDS_MAX,
                          &number))
            return false;
        *(uint32_t *)target = (uint32_t)number;
        return true;
    case TYPE_LEGS:
        return read_legs(decoding, out);
    case TYPE_ID:
    case TYPE_NAME:
    case TYPE_ASSET:
    case TYPE_KIND:
    case TYPE_UUID:
    case TYPE_DIRECTION:
    case TYPE_TIME:
    case TYPE_AS_OF:
    case TYPE_HEX:
    case TYPE_COMMAND:
    case TYPE_ORDER:
        break;
    }
    return read_text(decoding, key, target);
}

/* The two keys that a leg has beside those of its command. Its type is known already. */
static bool read_leg_pair(struct decoding *decoding, struct text name, bool *taken)
{
    bool is_type = text_equal(name, TEXT_LITERAL("type"));
    struct value value;

    *taken = is_type || text_equal(name, TEXT_LITERAL("idempotency_key"));
    if (!*taken) return true;
    if (is_type ? decoding->has_type : decoding->leg_key->length > 0)
        return problem_set(decoding->problem, PROBLEM_SIZE, "%.*s: doubled key", TEXT_ARGS(name));
    struct bytes whole;
    if (!value_take(&decoding->rest, &whole) || !value_read(&whole, &value) ||
        value.type != VALUE_TEXT || value.text.length == 0)
        return problem_set(decoding->problem, PROBLEM_SIZE, "%.*s: must be a text",
                           TEXT_ARGS(name));
    decoding->has_type |= is_type;
    if (!is_type) *decoding->leg_key = value.text;
    return true;
}

static bool read_pair(struct decoding *decoding)
{
    struct value name;
    uint64_t allowed = shapes[decoding->type].required | shapes[decoding->type].optional;
    uint32_t key = 0;
    bool taken = false;

    if (!value_read(&decoding->rest, &name) || name.type != VALUE_TEXT)
        return problem_set(decoding->problem, PROBLEM_SIZE, "body: keys must be text");
    if (decoding->leg_key != NULL && !read_leg_pair(decoding, name.text, &taken)) return false;
    if (taken) return true;
    if (decoding->leg_key != NULL) allowed &= ~(BIT(DRY_RUN) | BIT(NOT_BEFORE));
    while (key < KEYS_COUNT &&
           ((allowed >> key & 1) == 0 || !text_equal(text_of(keys[key].name), name.text)))
        key++;
    if (key == KEYS_COUNT)
        return problem_set(decoding->problem, PROBLEM_SIZE, "%.*s: unknown key for %s",
                           TEXT_ARGS(problem_quote(name.text)), command_word(decoding->type));
    if ((decoding->seen >> key & 1) != 0) return refuse(decoding, key, "doubled key");
    decoding->seen |= UINT64_C(1) << key;

    return read_value(decoding, key);
}

/* What only all of a page's keys together show. */
static bool check_page(struct decoding *decoding)
{
    const struct page *page = &decoding->out->page;
    int64_t ignored;

    if (page->from_us != 0 && page->until_us != 0 && page->until_us < page->from_us)
        return refuse(decoding, KEY_PAGE_TO, "is before from");
    if (page_resumes(page, decoding->out->account, &ignored)) return true;
    return refuse(decoding, KEY_CURSOR, "is from no reply to this question");
}

static bool check_times(struct decoding *decoding)
{
    const struct conditions *conditions = &decoding->out->conditions;
    bool never =
        conditions->not_after_us != 0 && conditions->not_after_us < conditions->not_before_us;

    return !never || refuse(decoding, KEY_NOT_AFTER, "must not be before not_before");
}

static bool read_command(struct decoding *decoding)
{
    struct value body;

    if (!value_read(&decoding->rest, &body) || body.type != VALUE_MAP)
        return problem_set(decoding->problem, PROBLEM_SIZE, "body: must be a map");
    for (uint32_t i = 0; i < body.count; i++)
        if (!read_pair(decoding)) return false;
    for (uint32_t key = 0; key < KEYS_COUNT; key++)
        if (((shapes[decoding->type].required & ~decoding->seen) >> key & 1) != 0)
            return refuse(decoding, key, "missing");
    return check_times(decoding) && check_page(decoding);
}

bool command_decode(struct codec *codec, enum command_type type, enum encoding encoding,
                    struct bytes body, struct arena *arena, struct command *out,
                    char problem[static PROBLEM_SIZE])
{
    struct decoding decoding = {
        .codec = codec, .type = type, .rest = body, .arena = arena, .out = out, .problem = problem};

    assert(type < COMMANDS_COUNT);
    *out = (struct command){.type = type};
    problem[0] = '\0';
    if (encoding == ENCODING_JSON &&
        !json_to_msgpack(codec, body, arena, &decoding.rest, problem, PROBLEM_SIZE))
        return false;
    const char *wrong = msgpack_problem(decoding.rest);
    if (wrong != NULL) return problem_set(problem, PROBLEM_SIZE, "body: %s", wrong);
    return read_command(&decoding);
}

/* The text under "type", wherever it stands in the map; empty when there is none. */
static struct text type_of_leg(struct bytes map)
{
    struct value value, name;
    struct bytes whole;

    if (!value_read(&map, &value) || value.type != VALUE_MAP) return (struct text){0};
    for (uint32_t left = value.count; left > 0; left--) {
        if (!value_read(&map, &name) || name.type != VALUE_TEXT || !value_take(&map, &whole)) break;
        if (!text_equal(name.text, TEXT_LITERAL("type"))) continue;
        return value_read(&whole, &value) && value.type == VALUE_TEXT ? value.text
                                                                      : (struct text){0};
    }
    return (struct text){0};
}

bool command_decode_leg(struct codec *codec, struct bytes map, struct arena *arena,
                        struct command *out, struct text *key, char problem[static PROBLEM_SIZE])
{
    struct text type = type_of_leg(map);
    enum command_type parsed;

    *out = (struct command){0};
    *key = (struct text){0};
    if (!command_type_parse(type, &parsed))
        return problem_set(problem, PROBLEM_SIZE, "type: '%.*s' is not a command",
                           TEXT_ARGS(problem_quote(type)));
    if (!command_changes(parsed) || parsed == COMMAND_BATCH)
        return problem_set(problem, PROBLEM_SIZE, "type: %s cannot be part of a batch",
                           command_word(parsed));
    *out = (struct command){.type = parsed};
    struct decoding decoding = {.codec = codec,
                                .type = parsed,
                                .rest = map,
                                .arena = arena,
                                .out = out,
                                .problem = problem,
                                .leg_key = key};
    if (!read_command(&decoding)) return false;
    return key->length > 0 || problem_set(problem, PROBLEM_SIZE, "idempotency_key: missing");
}

/* A decimal amount as it was sent: "12.34" again. */
static void write_amount(struct pack_map *map, const char *name, const struct amount *amount)
{
    char text[AMOUNT_TEXT_SIZE];

    if (!amount->is_decimal) {
        pack_int(map, name, amount->value);
        return;
    }
    amount_format(amount->value, amount->digits, text);
    pack_text(map, name, text_of(text));
}

/* Of an optional key, absent is zero; but an amount may be meant to be zero. */
static bool is_absent(enum key key, const struct command *command)
{
    const struct conditions *conditions = &command->conditions;
    const void *source = (const uint8_t *)command + keys[key].offset;

    switch (keys[key].type) {
    case TYPE_AMOUNT:
        if (key == KEY_IF_BALANCE_AT_LEAST) return !conditions->has_if_balance;
        return command_has_target(command->type) && !command->has_amount;
    case TYPE_SECONDS:
    case TYPE_LIMIT:
        return *(const uint32_t *)source == 0;
    case TYPE_BOOL:
        return !command->dry_run;
    case TYPE_NOT:
        return key == KEY_ATOMIC ? !command->independent : !command->keeps_rest;
    case TYPE_SEQ:
        return !conditions->has_if_seq;
    case TYPE_TIME:
        return *(const int64_t *)source == 0;
    case TYPE_AS_OF:
        return !command_asks_past(command);
    case TYPE_HEX:
        return uuid_is_zero(source);
    case TYPE_COMMAND:
        return command->page.kind == 0;
    case TYPE_ORDER:
        return !command->page.ascending;
    case TYPE_DIRECTION:
        return command->direction == 0;
    case TYPE_KIND:
        return command->kind == ACCOUNT_USER;
    case TYPE_ID:
    case TYPE_NAME:
    case TYPE_ASSET:
    case TYPE_METADATA: /* left out by pack.h when empty */
    case TYPE_UUID:
    case TYPE_LEGS:
        break;
    }
    return false;
}

static void write_as_of(struct pack_map *map, const char *name, const struct as_of *as_of)
{
    if (as_of->time_us != 0)
        pack_time(map, name, as_of->time_us);
    else
        pack_uuid(map, name, &as_of->transaction);
}

static enum command_type kind_of(const struct page *page)
{
    enum command_type type;
    bool is_known = command_type_of_number(page->kind, &type);

    assert(is_known);
    return type;
}

static void write_key(struct pack_map *map, enum key key, const struct command *command)
{
    const char *name = keys[key].name;
    const void *source = (const uint8_t *)command + keys[key].offset;

    switch (keys[key].type) {
    case TYPE_ID:
    case TYPE_NAME:
    case TYPE_ASSET:
        pack_text(map, name, *(const struct text *)source);
        return;
    case TYPE_KIND:
        pack_text(map, name, TEXT_LITERAL("system"));
        return;
    case TYPE_AMOUNT:
        write_amount(map, name, source);
        return;
    case TYPE_METADATA:
    case TYPE_LEGS:
        pack_raw(map, name, *(const struct bytes *)source);
        return;
    case TYPE_UUID:
        pack_uuid(map, name, &command->transaction);
        return;
    case TYPE_SECONDS:
    case TYPE_LIMIT:
        pack_int(map, name, *(const uint32_t *)source);
        return;
    case TYPE_BOOL:
        pack_bool(map, name, true);
        return;
    case TYPE_NOT:
        pack_bool(map, name, false);
        return;
    case TYPE_DIRECTION:
        pack_text(map, name, text_of(direction_word(command->direction)));
        return;
    case TYPE_SEQ:
        pack_int(map, name, command->conditions.if_seq);
        return;
    case TYPE_TIME:
        pack_time(map, name, *(const int64_t *)source);
        return;
    case TYPE_AS_OF:
        write_as_of(map, name, source);
        return;
    case TYPE_HEX:
        pack_hex(map, name, source);
        return;
    case TYPE_COMMAND:
        pack_text(map, name, text_of(command_word(kind_of(&command->page))));
        return;
    case TYPE_ORDER:
        pack_text(map, name, TEXT_LITERAL("asc"));
        return;
    }
}

bool command_encode(struct codec *codec, const struct command *command, enum encoding encoding,
                    struct arena *arena, struct bytes *out)
{
    struct writer writer = writer_in(arena);
    struct bytes msgpack = {0};

    (void)codec;
    assert(command->type < COMMANDS_COUNT);
    uint64_t shape = shapes[command->type].required | shapes[command->type].optional;
    struct pack_map map = pack_map_open(&writer, (uint32_t)__builtin_popcountll(shape));
    for (uint32_t key = 0; key < KEYS_COUNT; key++)
        if ((shape >> key & 1) != 0 && !is_absent(key, command)) write_key(&map, key, command);
    pack_map_close(&map);

    *out = (struct bytes){0};
    if (!writer_keep(&writer, arena, &msgpack)) return false;
    if (encoding == ENCODING_JSON) return msgpack_to_json(msgpack, arena, out);
    *out = msgpack;
    return true;
}
