/*
 * proof.c - the verbs proof and check-proof, and a proof as JSON, both ways: the entry's fields by
 * their names (docs/protocol.md), hashes in hexadecimal. A field that is not known is refused: what
 * is not hashed must not be believed.
 */
#include "ledger/proof.h"

#include "base/hex.h"
#include "ledger/migrate_pg.h"
#include "ledger/proof_pg.h"
#include "ledgerctl/keys.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_SIZE = 1 << 28, FILE_MAX = 1 << 27, PROOF_ANSWER_MS = 600 * 1000 };
enum { CHAINED_PARTS = 6, UNCHAINED_PARTS = 4 };

/* --- writing ----------------------------------------------------------------------------- */

static json_t *json_hex(const uint8_t *data, size_t size)
{
    char text[2 * SIGNATURE_SIZE + 1];

    assert(2 * size < sizeof text);
    hex_format(data, size, text);
    return json_string(text);
}

static json_t *json_of_bytes(struct bytes value)
{
    char *text = malloc(2 * (size_t)value.size + 1);
    json_t *json = NULL;

    if (text == NULL) return NULL;
    hex_format(value.data, value.size, text);
    json = json_string(text);
    free(text);
    return json;
}

static json_t *json_field(enum chain_field field, struct bytes value)
{
    char text[UUID_TEXT_SIZE];
    struct uuid uuid;
    uint64_t number = 0;

    switch (chain_field_kind(field)) {
    case CHAIN_TEXT:
        return json_stringn((const char *)value.data, value.size);
    case CHAIN_NUMBER:
        for (uint32_t i = 0; i < value.size; i++) number = number << 8 | value.data[i];
        return json_integer((int64_t)number);
    case CHAIN_UUID:
        assert(value.size == sizeof uuid.bytes);
        memcpy(uuid.bytes, value.data, sizeof uuid.bytes);
        uuid_format(&uuid, text);
        return json_string(text);
    case CHAIN_BOOL:
        return json_boolean(value.data[0] != 0);
    case CHAIN_BYTES:
        return json_of_bytes(value);
    }
    return NULL;
}

static json_t *json_entry(const struct chain_entry *entry)
{
    json_t *object = json_object();

    for (uint32_t i = 0; i < CHAIN_FIELDS_COUNT; i++)
        if (entry->fields[i].data != NULL)
            (void)json_object_set_new(object, chain_field_name(i), json_field(i, entry->fields[i]));
    return object;
}

static json_t *json_hashes(const struct sha256 *hashes, uint32_t count)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_hex(hashes[i].bytes, SHA256_SIZE));
    return array;
}

static json_t *json_checkpoint(const struct checkpoint *point)
{
    json_t *object = json_object();

    (void)json_object_set_new(object, "number", json_integer(point->number));
    (void)json_object_set_new(object, "previous", json_hex(point->previous.bytes, SHA256_SIZE));
    (void)json_object_set_new(object, "root", json_hex(point->root.bytes, SHA256_SIZE));
    (void)json_object_set_new(object, "leaves", json_integer(point->leaves));
    (void)json_object_set_new(object, "created_us", json_integer(point->created_us));
    (void)json_object_set_new(object, "key", json_hex(point->key, KEY_ID_SIZE));
    (void)json_object_set_new(object, "signature", json_hex(point->signature, SIGNATURE_SIZE));
    return object;
}

/* What is in no chain has no entries beside it. */
static bool print_proof(const struct proof *proof, struct err *err)
{
    bool is_chained = proof->entry.fields[CHAIN_SEQ].data != NULL;
    json_t *object = json_object();

    (void)json_object_set_new(object, "entry", json_entry(&proof->entry));
    if (is_chained) {
        (void)json_object_set_new(object, "previous", json_hex(proof->previous.bytes, SHA256_SIZE));
        (void)json_object_set_new(object, "following",
                                  json_hashes(proof->following, proof->following_count));
    }
    (void)json_object_set_new(object, "position", json_integer(proof->position));
    (void)json_object_set_new(object, "path", json_hashes(proof->path, proof->path_count));
    (void)json_object_set_new(object, "checkpoint", json_checkpoint(&proof->checkpoint));
    bool ok = json_object_size(object) == (is_chained ? CHAINED_PARTS : UNCHAINED_PARTS) &&
              json_dumpf(object, stdout, JSON_INDENT(1)) == 0;
    json_decref(object);
    (void)putchar('\n');
    return ok || err_set(err, ERR_FATAL, "could not write the proof: no memory");
}

enum exit_code run_proof(const struct options *options, const char *verb, char **arguments)
{
    struct arena arena = {0};
    struct uuid transaction;
    struct err err = {0};
    struct db *db = NULL;
    struct proof proof;

    (void)verb;
    if (!uuid_parse(text_of(arguments[0]), &transaction))
        return complain(EXIT_USAGE, "TRANSACTION is a UUID");
    bool ok = arena_open(&arena, ARENA_SIZE, &err) &&
              open_db(options, PROOF_ANSWER_MS, &db, &err) && migrate_check(db, &err) &&
              proof_make(db, &transaction, text_of(options->account), &arena, &proof, &err) &&
              print_proof(&proof, &err);
    db_close(db);
    arena_close(&arena);
    return ok ? EXIT_DONE : complain_err(&err);
}

/* --- reading ----------------------------------------------------------------------------- */

static bool take_hex(const json_t *json, uint8_t *data, size_t size)
{
    return json_is_string(json) &&
           hex_parse((struct text){json_string_value(json), (uint32_t)json_string_length(json)},
                     data, size);
}

static bool take_integer(const json_t *json, int64_t *out)
{
    if (!json_is_integer(json)) return false;
    *out = json_integer_value(json);
    return true;
}

static uint8_t *take_room(struct arena *arena, size_t size)
{
    return arena_take(arena, size == 0 ? 1 : size);
}

/* False when it is not of the field's kind, or there is no memory. */
static bool take_field(const json_t *json, enum chain_kind kind, struct arena *arena,
                       struct bytes *out)
{
    const char *text = json_string_value(json);
    size_t length = json_is_string(json) ? json_string_length(json) : 0;
    size_t size = kind == CHAIN_NUMBER  ? CHAIN_NUMBER_SIZE
                  : kind == CHAIN_UUID  ? sizeof(struct uuid)
                  : kind == CHAIN_BOOL  ? 1
                  : kind == CHAIN_BYTES ? length / 2
                                        : length;
    uint8_t *data = take_room(arena, size);
    struct uuid uuid;
    int64_t number;

    if (data == NULL) return false;
    *out = (struct bytes){data, (uint32_t)size};
    switch (kind) {
    case CHAIN_TEXT:
        if (text != NULL) memcpy(data, text, length);
        return text != NULL;
    case CHAIN_NUMBER:
        if (!take_integer(json, &number)) return false;
        (void)chain_number(data, number);
        return true;
    case CHAIN_UUID:
        if (text == NULL || !uuid_parse((struct text){text, (uint32_t)length}, &uuid)) return false;
        memcpy(data, uuid.bytes, sizeof uuid.bytes);
        return true;
    case CHAIN_BOOL:
        data[0] = json_is_true(json);
        return json_is_boolean(json);
    case CHAIN_BYTES:
        return take_hex(json, data, size);
    }
    return false;
}

static bool take_entry(const json_t *object, struct arena *arena, struct chain_entry *out)
{
    size_t taken = 0;

    for (uint32_t i = 0; i < CHAIN_FIELDS_COUNT; i++) {
        const json_t *value = json_object_get(object, chain_field_name(i));
        if (value == NULL) continue;
        taken++;
        if (!take_field(value, chain_field_kind(i), arena, &out->fields[i])) return false;
    }
    return json_is_object(object) && taken == json_object_size(object);
}

static bool take_hashes(const json_t *array, struct sha256 *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!take_hex(json_array_get(array, i), out[i].bytes, SHA256_SIZE)) return false;
    return true;
}

static bool take_checkpoint(const json_t *object, struct checkpoint *out)
{
    return json_object_size(object) == 7 &&
           take_integer(json_object_get(object, "number"), &out->number) &&
           take_hex(json_object_get(object, "previous"), out->previous.bytes, SHA256_SIZE) &&
           take_hex(json_object_get(object, "root"), out->root.bytes, SHA256_SIZE) &&
           take_integer(json_object_get(object, "leaves"), &out->leaves) &&
           take_integer(json_object_get(object, "created_us"), &out->created_us) &&
           take_hex(json_object_get(object, "key"), out->key, KEY_ID_SIZE) &&
           take_hex(json_object_get(object, "signature"), out->signature, SIGNATURE_SIZE);
}

/* The entries beside it. */
static bool take_chain(const json_t *object, struct arena *arena, struct proof *out)
{
    const json_t *after = json_object_get(object, "following");
    size_t count = json_array_size(after);
    struct sha256 *contents = (struct sha256 *)take_room(arena, count * sizeof *contents);

    out->following = contents;
    out->following_count = (uint32_t)count;
    return contents != NULL && json_object_size(object) == CHAINED_PARTS && json_is_array(after) &&
           take_hex(json_object_get(object, "previous"), out->previous.bytes, SHA256_SIZE) &&
           take_hashes(after, contents, count);
}

static bool take_proof(const json_t *object, struct arena *arena, struct proof *out)
{
    const json_t *path = json_object_get(object, "path");
    size_t path_count = json_array_size(path);

    *out = (struct proof){.path_count = (uint32_t)path_count};
    if (!take_entry(json_object_get(object, "entry"), arena, &out->entry)) return false;
    if (out->entry.fields[CHAIN_SEQ].data != NULL ? !take_chain(object, arena, out)
                                                  : json_object_size(object) != UNCHAINED_PARTS)
        return false;
    return json_is_array(path) && path_count <= MERKLE_DEPTH_MAX &&
           take_integer(json_object_get(object, "position"), &out->position) &&
           take_hashes(path, out->path, path_count) &&
           take_checkpoint(json_object_get(object, "checkpoint"), &out->checkpoint);
}

static bool read_proof(const char *path, struct arena *arena, struct proof *out, struct err *err)
{
    json_error_t error;
    json_t *object = NULL;
    char *text = NULL;
    size_t size;
    bool ok = file_read(path, FILE_MAX, &text, &size, err);

    if (ok) {
        object = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        ok = take_proof(object, arena, out) ||
             err_set(err, ERR_FATAL, "%s is no proof%s%s", path, object == NULL ? ": " : "",
                     object == NULL ? error.text : "");
    }
    json_decref(object);
    free(text);
    return ok;
}

/* What is proven, for a person. */
static void show_proven(const struct proof *proof)
{
    struct bytes account = proof->entry.fields[CHAIN_ACCOUNT];

    printf("the entry of account %.*s is what checkpoint %" PRId64 " attests\n", (int)account.size,
           (const char *)account.data, proof->checkpoint.number);
}

enum exit_code run_check_proof(const struct options *options, const char *verb, char **arguments)
{
    struct ed25519 *keys[PUBLIC_KEYS_MAX];
    const char *problem = NULL;
    struct arena arena = {0};
    struct err err = {0};
    struct proof proof;

    (void)verb;
    if (options->public_keys_count == 0)
        return complain(EXIT_USAGE, "a proof is checked with --public-key FILE");
    bool ok = keys_open(options, keys, &err) && arena_open(&arena, ARENA_SIZE, &err) &&
              read_proof(arguments[0], &arena, &proof, &err);
    if (ok)
        problem =
            proof_problem(&proof, (const struct ed25519 *const *)keys, options->public_keys_count);
    if (ok && problem == NULL) show_proven(&proof);
    keys_close(keys);
    arena_close(&arena);
    if (!ok) return complain_err(&err);
    return problem == NULL ? EXIT_DONE
                           : complain(EXIT_FAILED, "the proof does not hold: %s", problem);
}
