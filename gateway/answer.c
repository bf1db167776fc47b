/*
 * answer.c - see answer.h. A reply is a map whose keys are passed on as they are, apart from those
 * that HTTP says in other ways; so what a newer ledger adds comes through.
 */
#include "gateway/answer.h"

#include "base/hex.h"
#include "base/sha256.h"
#include "protocol/pack.h"
#include "protocol/reply.h"
#include "protocol/unpack.h"
#include "protocol/value.h"

#include <stdio.h>
#include <string.h>

enum {
    MOST = 40,
    CODE_OK = 200,
    CODE_NOT_MODIFIED = 304,
    ETAG_BYTES = 16,
    CODE_EXPIRED = 408,
    CODE_REFUSED = 400,
    CODE_FAILED = 500
};

#define PROBLEM_TYPE "urn:problem-type:ledger:"

static const struct refusal_entry {
    unsigned code;
    const char *word, *title;
    uint32_t retry_after_s;
} REFUSAL_TABLE[] = {
#define X(name, code, word, title, retry) [REFUSAL_##name] = {code, word, title, retry},
    REFUSALS(X)
#undef X
};

/* --- problem details ---------------------------------------------------------------------- */

static void answer_static(struct answer *out)
{
    static const char text[] =
        "{\"type\":\"" PROBLEM_TYPE "internal\",\"status\":500,"
        "\"title\":\"the gateway is short of memory\",\"error\":\"internal\"}";
    *out = (struct answer){
        .code = CODE_FAILED, .is_problem = true, .body = {(const uint8_t *)text, sizeof text - 1}};
}

static struct pack_map problem_open(struct writer *writer, unsigned code, struct text word,
                                    struct text title, struct text detail)
{
    char type[sizeof PROBLEM_TYPE + 64];
    struct pack_map map = pack_map_open(writer, MOST);

    (void)snprintf(type, sizeof type, PROBLEM_TYPE "%.*s", TEXT_ARGS(word));
    pack_text(&map, "type", text_of(type));
    pack_text(&map, "title", title);
    pack_int(&map, "status", code);
    pack_text(&map, "detail", detail);
    pack_text(&map, "error", word);
    return map;
}

/* The map that was written, as JSON. */
static void finish(struct writer *writer, struct arena *arena, struct answer *out)
{
    struct bytes map;

    if (!writer_keep(writer, arena, &map) || !msgpack_to_json(map, arena, &out->body))
        answer_static(out);
}

static void answer_problem(struct arena *arena, unsigned code, const char *word, const char *title,
                           const char *detail, struct answer *out)
{
    struct writer writer = writer_in(arena);
    struct pack_map map =
        problem_open(&writer, code, text_of(word), text_of(title), text_of(detail));

    pack_map_close(&map);
    *out = (struct answer){.code = code, .is_problem = true};
    finish(&writer, arena, out);
}

void answer_refusal(struct arena *arena, enum refusal refusal, const char *detail,
                    struct answer *out)
{
    const struct refusal_entry *entry = &REFUSAL_TABLE[refusal];

    answer_problem(arena, entry->code, entry->word, entry->title, detail, out);
    out->retry_after_s = entry->retry_after_s;
}

void answer_fault(struct arena *arena, enum result fault, const char *detail, struct answer *out)
{
    answer_problem(arena, (unsigned)result_code(fault), result_error(fault), result_sentence(fault),
                   detail, out);
}

/* --- what the ledger replied -------------------------------------------------------------- */

struct said { /* the part of a reply that HTTP says in its own way */
    struct text status, error, message;
    int64_t code;
    bool replayed;
    struct bytes whole;
};

static bool read_reply(struct codec *codec, struct arena *arena, struct bytes reply,
                       struct said *out)
{
    char problem[PROBLEM_SIZE];

    *out = (struct said){0};
    struct field fields[] = {
        {.name = "status", .type = FIELD_TEXT, .target = &out->status, .required = true},
        {.name = "error", .type = FIELD_TEXT, .target = &out->error},
        {.name = "message", .type = FIELD_TEXT, .target = &out->message},
        {.name = "code", .type = FIELD_INT, .target = &out->code, .required = true},
        {.name = "replayed", .type = FIELD_BOOL, .target = &out->replayed},
    };
    (void)codec;
    (void)arena;
    out->whole = reply;
    return msgpack_problem(reply) == NULL &&
           unpack_fields(reply, fields, sizeof fields / sizeof *fields, problem) &&
           out->code >= CODE_OK && out->code < 600;
}

static bool is_among(struct text key, const char *const *names)
{
    for (; *names != NULL; names++)
        if (text_equal(key, text_of(*names))) return true;
    return false;
}

/* Every pair of a map that is not among these. Guarded bytes: what they begin is there. */
static void copy_without(struct pack_map *out, struct bytes map, const char *const *names)
{
    struct value head, key;
    struct bytes value;

    if (!value_read(&map, &head)) return;
    for (uint32_t i = 0; i < head.count && out->count < out->most; i++) {
        if (!value_read(&map, &key) || !value_take(&map, &value)) return;
        if (is_among(key.text, names)) continue;
        out->count++;
        pack_text_value(out->writer, key.text);
        write_bytes(out->writer, value.data, value.size);
    }
}

/* A client that is told 408 may send the same again by itself, in vain: the refusal stands. */
static unsigned code_of(const struct said *said)
{
    return said->code == CODE_EXPIRED ? CODE_REFUSED : (unsigned)said->code;
}

static void answer_refused(struct arena *arena, const struct said *said, struct answer *out)
{
    static const char *const said_already[] = {"status",  "code",     "error",
                                               "message", "replayed", NULL};
    struct writer writer = writer_in(arena);
    enum result result;
    struct text title = said->message, detail = {0};

    if (result_parse(said->error, &result)) {
        title = text_of(result_sentence(result));
        if (!text_equal(title, said->message)) detail = said->message;
    }
    *out = (struct answer){.code = code_of(said), .is_problem = true, .replayed = said->replayed};
    if (out->code == 409 && result_parse(said->error, &result) && result == RESULT_KEY_IN_PROGRESS)
        out->retry_after_s = 1;
    struct pack_map map = problem_open(&writer, out->code, said->error, title, detail);
    copy_without(&map, said->whole, said_already);
    pack_map_close(&map);
    finish(&writer, arena, out);
}

/* A command's outcome: all of the reply, without what the status line and headers say. */
static void answer_outcome(struct arena *arena, const struct said *said, struct answer *out)
{
    static const char *const said_already[] = {"code", "message", "replayed", NULL};
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, MOST);

    *out = (struct answer){.code = (unsigned)said->code, .replayed = said->replayed};
    copy_without(&map, said->whole, said_already);
    pack_map_close(&map);
    finish(&writer, arena, out);
}

/* A query's: the one thing that was asked for. */
static bool take_resource(enum route route, struct bytes reply, struct bytes *out)
{
    char problem[PROBLEM_SIZE];
    struct field field = {.name = "account", .type = FIELD_MAP, .target = out, .required = true};

    if (route == ROUTE_USER) field.name = "user";
    if (route == ROUTE_TRANSACTION) field.name = "details";
    return unpack_fields(reply, &field, 1, problem);
}

static void answer_list(struct arena *arena, const struct said *said, struct answer *out)
{
    static const char *const left_out[] = {"status", "code", "message", "trace_id", NULL};
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, MOST);

    copy_without(&map, said->whole, left_out);
    pack_map_close(&map);
    finish(&writer, arena, out);
}

/* One account's: what its reply lists, and when that was. */
static bool pack_balance_of(struct writer *writer, const struct said *said)
{
    static const char *const none[] = {NULL};
    struct bytes balances = {0}, as_of = {0}, balance;
    struct value head;
    struct text timestamp = {0};
    char problem[PROBLEM_SIZE];
    struct field fields[] = {
        {.name = "balances", .type = FIELD_ARRAY, .target = &balances, .required = true},
        {.name = "as_of", .type = FIELD_MAP, .target = &as_of},
        {.name = "timestamp", .type = FIELD_TEXT, .target = &timestamp, .required = true},
    };

    if (!unpack_fields(said->whole, fields, 3, problem) || !value_read(&balances, &head) ||
        head.count != 1 || !value_take(&balances, &balance))
        return false;
    struct pack_map map = pack_map_open(writer, MOST);
    copy_without(&map, balance, none);
    pack_raw(&map, "as_of", as_of);
    pack_text(&map, "timestamp", timestamp);
    pack_map_close(&map);
    return true;
}

static void answer_balance(struct arena *arena, const struct said *said, struct answer *out)
{
    struct writer writer = writer_in(arena);

    if (pack_balance_of(&writer, said)) {
        finish(&writer, arena, out);
        return;
    }
    answer_refusal(arena, REFUSAL_FAILED, "the ledger's reply lacks a balance", out);
}

void answer_reply(struct codec *codec, struct arena *arena, enum route route, struct bytes reply,
                  struct answer *out)
{
    struct said said;
    struct bytes resource;

    if (!read_reply(codec, arena, reply, &said)) {
        answer_refusal(arena, REFUSAL_FAILED, "what came is no reply of the ledger", out);
        return;
    }
    if (said.code >= CODE_REFUSED) {
        answer_refused(arena, &said, out);
        return;
    }
    if (route_writes(route)) {
        answer_outcome(arena, &said, out);
        return;
    }
    *out = (struct answer){.code = CODE_OK};
    if (route == ROUTE_ACCOUNT_TRANSACTIONS) {
        answer_list(arena, &said, out);
        return;
    }
    if (route == ROUTE_ACCOUNT_BALANCE) {
        answer_balance(arena, &said, out);
        return;
    }
    if (!take_resource(route, reply, &resource) || !msgpack_to_json(resource, arena, &out->body))
        answer_refusal(arena, REFUSAL_FAILED, "the ledger's reply lacks what was asked", out);
}

/* --- what the caller may have already ----------------------------------------------------- */

/* Any of a list of tags, or "*"; a weak one is as good for a read. */
static bool is_listed(struct text list, const char *etag)
{
    return text_equal(list, TEXT_LITERAL("*")) ||
           (list.length > 0 && memmem(list.bytes, list.length, etag, strlen(etag)) != NULL);
}

void answer_body(struct bytes body, struct text if_none_match, struct answer *out)
{
    struct sha256 digest;
    char hex[2 * ETAG_BYTES + 1];

    sha256_begin();
    sha256_add(body.data, body.size);
    sha256_end(&digest);
    hex_format(digest.bytes, ETAG_BYTES, hex);
    *out = (struct answer){.code = CODE_OK, .body = body};
    (void)snprintf(out->etag, ETAG_SIZE, "\"%s\"", hex);
    if (!is_listed(if_none_match, out->etag)) return;
    out->code = CODE_NOT_MODIFIED;
    out->body = (struct bytes){0};
}
_Static_assert(2 * ETAG_BYTES + 3 == ETAG_SIZE, "with its quotes");

/* --- the balances of a user --------------------------------------------------------------- */

bool answer_accounts(struct codec *codec, struct arena *arena, struct bytes reply,
                     const struct text **accounts, uint32_t *count)
{
    struct reply said;
    char problem[PROBLEM_SIZE];

    if (!reply_decode(codec, reply, ENCODING_MSGPACK, arena, &said, problem) || said.user == NULL)
        return false;
    *accounts = said.user->accounts;
    *count = said.user->accounts_count;
    return true;
}

static bool did_not_exist(const struct said *said)
{
    enum result result;

    return result_parse(said->error, &result) &&
           (result == RESULT_ACCOUNT_NOT_FOUND || result == RESULT_SYSTEM_ACCOUNT);
}

/* Those that belong into the list, from the front of `said`; false when one of the rest says no, or
 * is no reply: that is the answer then. */
static bool sort_replies(struct codec *codec, struct arena *arena, const struct bytes *replies,
                         uint32_t count, bool past, struct said *said, uint32_t *kept,
                         struct answer *out)
{
    *kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct said *one = &said[*kept];
        if (!read_reply(codec, arena, replies[i], one)) {
            answer_refusal(arena, REFUSAL_FAILED, "what came is no reply of the ledger", out);
            return false;
        }
        if (one->code < CODE_REFUSED) {
            (*kept)++;
            continue;
        }
        if (past && did_not_exist(one)) continue;
        answer_refused(arena, one, out);
        return false;
    }
    return true;
}

void answer_balances(struct codec *codec, struct arena *arena, struct text user_id,
                     const struct bytes *replies, uint32_t count, bool past, struct answer *out)
{
    struct said *said = arena_take(arena, (count + 1U) * sizeof *said);
    uint32_t kept;
    bool ok = true;

    answer_static(out);
    if (said == NULL || !sort_replies(codec, arena, replies, count, past, said, &kept, out)) return;
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, MOST);
    pack_text(&map, "user_id", user_id);
    pack_key(&map, "balances");
    pack_array_value(&writer, kept);
    for (uint32_t i = 0; i < kept; i++) ok = pack_balance_of(&writer, &said[i]) && ok;
    pack_map_close(&map);
    if (!ok) {
        answer_refusal(arena, REFUSAL_FAILED, "the ledger's reply lacks a balance", out);
        return;
    }
    *out = (struct answer){.code = CODE_OK};
    finish(&writer, arena, out);
}
