/*
 * api_key.c - the verb for the keys of those who call the gateway, see docs/operations.md. A secret
 * is printed once, when it is made, and never asked for.
 */
#include "ledger/api_key_pg.h"

#include "base/clock.h"
#include "ledger/migrate_pg.h"
#include "ledgerctl/ledgerctl.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OVERLAP_S = 86400, SECONDS_MAX = 316224000, US_PER_S = 1000000 };

struct new_key {
    struct api_key key;
    char text[API_KEY_TEXT_SIZE];
};

/* --- list ------------------------------------------------------------------------------------- */

static const char *time_or_dash(int64_t wall_us, char text[static TIME_TEXT_SIZE])
{
    if (wall_us == 0) return "-";
    time_format(wall_us, text);
    return text;
}

static const char *state_of(const struct api_key *key)
{
    if (key->revoked_us != 0) return "revoked";
    if (key->expires_us != 0 && key->expires_us <= clock_wall_us()) return "expired";
    return "in force";
}

static void print_key(void *context, const struct api_key *key)
{
    char created[TIME_TEXT_SIZE], expires[TIME_TEXT_SIZE];

    (void)context;
    printf("%-17s %-20s %-11s %-9s %-28s %-28s %s\n", key->id, key->caller,
           scopes_word(key->scopes), state_of(key), time_or_dash(key->created_us, created),
           time_or_dash(key->expires_us, expires), key->note);
}

static void set_time(json_t *json, const char *name, int64_t wall_us)
{
    char text[TIME_TEXT_SIZE];

    if (wall_us == 0) return;
    time_format(wall_us, text);
    (void)json_object_set_new(json, name, json_string(text));
}

static json_t *json_key(const struct api_key *key)
{
    json_t *json = json_object();

    (void)json_object_set_new(json, "id", json_string(key->id));
    (void)json_object_set_new(json, "caller", json_string(key->caller));
    (void)json_object_set_new(json, "scope", json_string(scopes_word(key->scopes)));
    (void)json_object_set_new(json, "state", json_string(state_of(key)));
    set_time(json, "created_at", key->created_us);
    set_time(json, "expires_at", key->expires_us);
    set_time(json, "revoked_at", key->revoked_us);
    if (key->note[0] != '\0') (void)json_object_set_new(json, "note", json_string(key->note));
    return json;
}

static void add_json_key(void *context, const struct api_key *key)
{
    (void)json_array_append_new(context, json_key(key));
}

static void print_json(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    if (text != NULL) printf("%s\n", text);
    free(text);
    json_decref(json);
}

static enum exit_code list(const struct options *options, struct db *db, char **arguments)
{
    struct err err = {0};

    (void)arguments;
    if (options->output == OUTPUT_JSON) {
        json_t *keys = json_array();
        bool ok = api_keys_list(db, add_json_key, keys, &err);
        print_json(json_pack("{s:o}", "keys", keys));
        return ok ? EXIT_DONE : complain_err(&err);
    }
    printf("%-17s %-20s %-11s %-9s %-28s %-28s %s\n", "ID", "CALLER", "SCOPE", "STATE", "CREATED",
           "EXPIRES", "NOTE");
    return api_keys_list(db, print_key, NULL, &err) ? EXIT_DONE : complain_err(&err);
}

/* --- add, rotate, revoke ---------------------------------------------------------------------- */

static enum exit_code make(const struct options *options, struct new_key *out)
{
    uint8_t random[API_KEY_RANDOM_SIZE];
    int64_t seconds = 0;

    *out = (struct new_key){.text = ""};
    if (options->expires_in != NULL &&
        parse_number("--expires-in", options->expires_in, 1, SECONDS_MAX, &seconds) != EXIT_DONE)
        return EXIT_USAGE;
    random_bytes(random, sizeof random);
    api_key_make(random, out->key.id, &out->key.digest, out->text);
    OPENSSL_cleanse(random, sizeof random);
    out->key.created_us = clock_wall_us();
    if (seconds > 0) out->key.expires_us = out->key.created_us + seconds * US_PER_S;
    return EXIT_DONE;
}

/* The secret goes to standard output, alone: for a pipe into whatever keeps secrets. */
static void show(const struct options *options, const struct new_key *made)
{
    if (options->output == OUTPUT_JSON) {
        print_json(json_pack("{s:s, s:s}", "id", made->key.id, "key", made->text));
        return;
    }
    (void)fprintf(stderr, "key %s; this is the only time that it is shown:\n", made->key.id);
    printf("%s\n", made->text);
}

static enum exit_code add(const struct options *options, struct db *db, char **arguments)
{
    struct text note = text_of(options->note);
    struct new_key made;
    struct err err = {0};

    if (make(options, &made) != EXIT_DONE) return EXIT_USAGE;
    if (!id_is_valid(text_of(arguments[0])) ||
        !text_copy(text_of(arguments[0]), made.key.caller, sizeof made.key.caller))
        return complain(EXIT_USAGE, "CALLER is 1 to 64 characters of A-Z a-z 0-9 . _ : -");
    if (!scopes_parse(text_of(options->scope == NULL ? "read" : options->scope), &made.key.scopes))
        return complain(EXIT_USAGE, "--scope is read, write or read,write");
    if (!text_copy(note, made.key.note, sizeof made.key.note))
        return complain(EXIT_USAGE, "--note is at most 256 bytes");
    bool ok = api_key_add(db, &made.key, &err);
    if (ok) show(options, &made);
    OPENSSL_cleanse(made.text, sizeof made.text);
    return ok ? EXIT_DONE : complain_err(&err);
}

static enum exit_code rotate(const struct options *options, struct db *db, char **arguments)
{
    int64_t overlap_s = OVERLAP_S;
    struct new_key made;
    struct err err = {0};
    bool found = false;

    if (options->overlap != NULL &&
        parse_number("--overlap", options->overlap, 0, SECONDS_MAX, &overlap_s) != EXIT_DONE)
        return EXIT_USAGE;
    if (make(options, &made) != EXIT_DONE) return EXIT_USAGE;
    bool ok = api_key_rotate(db, arguments[0], &made.key, (uint32_t)overlap_s, &found, &err);
    if (ok && found) show(options, &made);
    OPENSSL_cleanse(made.text, sizeof made.text);
    if (!ok) return complain_err(&err);
    return found ? EXIT_DONE : complain(EXIT_FAILED, "no key %s is in force", arguments[0]);
}

static enum exit_code revoke(const struct options *options, struct db *db, char **arguments)
{
    struct err err = {0};
    bool found = false;

    if (!api_key_revoke(db, arguments[0], &found, &err)) return complain_err(&err);
    if (!found) return complain(EXIT_FAILED, "there is no key %s, or it is revoked", arguments[0]);
    if (options->output == OUTPUT_TABLE) printf("key %s is revoked\n", arguments[0]);
    return EXIT_DONE;
}

/* --- which ------------------------------------------------------------------------------------ */

static const struct verb {
    const char *name, *arguments;
    int count;
    enum exit_code (*run)(const struct options *, struct db *, char **);
} VERBS[] = {
    {"list", "", 0, list},
    {"add", "CALLER [--scope read,write] [--expires-in SECONDS] [--note TEXT]", 1, add},
    {"rotate", "ID [--overlap SECONDS] [--expires-in SECONDS]", 1, rotate},
    {"revoke", "ID", 1, revoke},
};

static const struct verb *find_verb(char **arguments)
{
    int count = 0;

    while (arguments[1 + count] != NULL) count++;
    for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++)
        if (strcmp(VERBS[i].name, arguments[0]) == 0 && count == VERBS[i].count) return &VERBS[i];
    (void)fputs("usage:\n", stderr);
    for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++)
        (void)fprintf(stderr, "  ledgerctl key %s %s\n", VERBS[i].name, VERBS[i].arguments);
    return NULL;
}

enum exit_code run_key(const struct options *options, const char *verb, char **arguments)
{
    const struct verb *one = find_verb(arguments);
    struct err err = {0};
    struct db *db = NULL;
    enum exit_code code;

    (void)verb;
    if (one == NULL) return EXIT_USAGE;
    if (open_db(options, ADMIN_ANSWER_MS, &db, &err) && migrate_check(db, &err))
        code = one->run(options, db, arguments + 1);
    else
        code = complain_err(&err);
    db_close(db);
    return code;
}
