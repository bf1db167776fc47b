/*
 * command_codec.c - commands from and to bodies, by two tables: what each key is and where it goes,
 * and which keys each type of command takes. A key that is in neither, twice, missing or of the
 * wrong kind is refused by its name, so that a typing error never moves money.
 */
#include "protocol/command.h"
#include "protocol/pack.h"
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
    KEY_METADATA,
    KEY_TRANSACTION,
    KEYS_COUNT
};

enum key_type { TYPE_ID, TYPE_NAME, TYPE_ASSET, TYPE_KIND, TYPE_AMOUNT, TYPE_METADATA, TYPE_UUID };

/* clang-format off */
static const struct {
    const char *name;
    enum key_type type;
    size_t offset;
} keys[] = {
#define KEY(member, type) {#member, type, offsetof(struct command, member)}
    [KEY_ACCOUNT]     = KEY(account,     TYPE_ID),
    [KEY_FROM]        = KEY(from,        TYPE_ID),
    [KEY_TO]          = KEY(to,          TYPE_ID),
    [KEY_USER_ID]     = KEY(user_id,     TYPE_ID),
    [KEY_NAME]        = KEY(name,        TYPE_NAME),
    [KEY_ASSET]       = KEY(asset,       TYPE_ASSET),
    [KEY_KIND]        = KEY(kind,        TYPE_KIND),
    [KEY_AMOUNT]      = KEY(amount,      TYPE_AMOUNT),
    [KEY_METADATA]    = KEY(metadata,    TYPE_METADATA),
    [KEY_TRANSACTION] = KEY(transaction, TYPE_UUID),
#undef KEY
};
_Static_assert(sizeof keys / sizeof *keys == KEYS_COUNT, "each key has its row");

#define BIT(name) (1U << KEY_##name)
static const struct {
    uint32_t required, optional;
} shapes[COMMANDS_COUNT] = {
    [COMMAND_OPEN_ACCOUNT]    = {BIT(ACCOUNT) | BIT(USER_ID) | BIT(ASSET),
                                 BIT(NAME) | BIT(KIND) | BIT(METADATA)},
    [COMMAND_DEPOSIT]         = {BIT(ACCOUNT) | BIT(AMOUNT),         BIT(ASSET) | BIT(METADATA)},
    [COMMAND_WITHDRAW]        = {BIT(ACCOUNT) | BIT(AMOUNT),         BIT(ASSET) | BIT(METADATA)},
    [COMMAND_TRANSFER]        = {BIT(FROM) | BIT(TO) | BIT(AMOUNT),  BIT(ASSET) | BIT(METADATA)},
    [COMMAND_GET_USER]        = {BIT(USER_ID),     0},
    [COMMAND_GET_ACCOUNT]     = {BIT(ACCOUNT),     0},
    [COMMAND_GET_BALANCE]     = {BIT(ACCOUNT),     0},
    [COMMAND_GET_TRANSACTION] = {BIT(TRANSACTION), 0},
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
    uint32_t seen; /* keys so far */
};

static bool refuse(struct decoding *decoding, enum key key, const char *reason)
{
    return problem_set(decoding->problem, PROBLEM_SIZE, "%s: %s", keys[key].name, reason);
}

static bool read_amount(struct decoding *decoding, struct amount *out)
{
    struct value value;

    if (!value_read(&decoding->rest, &value)) return refuse(decoding, KEY_AMOUNT, "cut short");
    switch (value.type) {
    case VALUE_INTEGER:
        *out = (struct amount){.value = value.integer};
        return true;
    case VALUE_LARGE:
        return refuse(decoding, KEY_AMOUNT, "does not fit in a signed 64-bit integer");
    case VALUE_TEXT:
        if (amount_parse(value.text, out)) return true;
        return problem_set(decoding->problem, PROBLEM_SIZE,
                           "amount: '%.*s' is not a decimal number of at most 19 digits",
                           TEXT_ARGS(problem_quote(value.text)));
    case VALUE_FLOAT:
        return refuse(decoding, KEY_AMOUNT,
                      "a float is refused; send an integer of minor units or a decimal string");
    case VALUE_NIL:
    case VALUE_BOOL:
    case VALUE_BINARY:
    case VALUE_EXTENSION:
    case VALUE_ARRAY:
    case VALUE_MAP:
        break;
    }
    return refuse(decoding, KEY_AMOUNT, "must be an integer of minor units or a decimal string");
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
    case TYPE_AMOUNT:
    case TYPE_METADATA:
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

static bool read_pair(struct decoding *decoding)
{
    struct value name;
    uint32_t allowed = shapes[decoding->type].required | shapes[decoding->type].optional;
    uint32_t key = 0;

    if (!value_read(&decoding->rest, &name) || name.type != VALUE_TEXT)
        return problem_set(decoding->problem, PROBLEM_SIZE, "body: keys must be text");
    while (key < KEYS_COUNT && !text_equal(text_of(keys[key].name), name.text)) key++;
    if (key == KEYS_COUNT || (allowed & 1U << key) == 0)
        return problem_set(decoding->problem, PROBLEM_SIZE, "%.*s: unknown key for %s",
                           TEXT_ARGS(problem_quote(name.text)), command_word(decoding->type));
    if ((decoding->seen & 1U << key) != 0) return refuse(decoding, key, "doubled key");
    decoding->seen |= 1U << key;

    if (key == KEY_AMOUNT) return read_amount(decoding, &decoding->out->amount);
    if (key == KEY_METADATA) return read_metadata(decoding, &decoding->out->metadata);
    return read_text(decoding, key, (uint8_t *)decoding->out + keys[key].offset);
}

static bool read_command(struct decoding *decoding)
{
    struct value body;

    if (!value_read(&decoding->rest, &body) || body.type != VALUE_MAP)
        return problem_set(decoding->problem, PROBLEM_SIZE, "body: must be a map");
    for (uint32_t i = 0; i < body.count; i++)
        if (!read_pair(decoding)) return false;
    for (uint32_t key = 0; key < KEYS_COUNT; key++)
        if ((shapes[decoding->type].required & ~decoding->seen & 1U << key) != 0)
            return refuse(decoding, key, "missing");
    return true;
}

bool command_decode(struct codec *codec, enum command_type type, enum encoding encoding,
                    struct bytes body, struct arena *arena, struct command *out,
                    char problem[static PROBLEM_SIZE])
{
    struct decoding decoding = {codec, type, body, arena, out, problem, 0};

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

/* A decimal amount as it was sent: "12.34" again. */
static void write_amount(struct pack_map *map, const struct amount *amount)
{
    char text[AMOUNT_TEXT_SIZE];

    if (!amount->is_decimal) {
        pack_int(map, "amount", amount->value);
        return;
    }
    amount_format(amount->value, amount->digits, text);
    pack_text(map, "amount", text_of(text));
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
        if (command->kind == ACCOUNT_SYSTEM) pack_text(map, name, TEXT_LITERAL("system"));
        return;
    case TYPE_AMOUNT:
        write_amount(map, &command->amount);
        return;
    case TYPE_METADATA:
        pack_raw(map, name, command->metadata);
        return;
    case TYPE_UUID:
        pack_uuid(map, name, &command->transaction);
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
    struct pack_map map = pack_map_open(&writer, KEYS_COUNT);
    for (uint32_t key = 0; key < KEYS_COUNT; key++)
        if (((shapes[command->type].required | shapes[command->type].optional) & 1U << key) != 0)
            write_key(&map, key, command);
    pack_map_close(&map);

    *out = (struct bytes){0};
    if (!writer_keep(&writer, arena, &msgpack)) return false;
    if (encoding == ENCODING_JSON) return msgpack_to_json(msgpack, arena, out);
    *out = msgpack;
    return true;
}
