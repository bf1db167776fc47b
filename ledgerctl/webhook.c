/*
 * webhook.c - the verb for endpoints that are told of events over HTTP, see docs/webhooks.md. A
 * secret is printed once, when it is made.
 */
#include "webhooks/webhook.h"
#include "base/clock.h"
#include "base/publisher_amqp.h"
#include "base/query_pg.h"
#include "ledger/migrate_pg.h"
#include "ledgerctl/ledgerctl.h"
#include "protocol/names.h"
#include "webhooks/posts_http.h"
#include "webhooks/store_pg.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OVERLAP_S = 86400, SECONDS_MAX = 31622400, LIMIT = 20, LIMIT_MAX = 1000, POLL_MS = 100 };
enum { ID_RANDOM_SIZE = 8, HEARTBEAT_S = 20, ARENA_SIZE = 1 << 16, BODY_SIZE = 256 };
enum { US_PER_S = 1000000 };

static void print_json(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    if (text != NULL) printf("%s\n", text);
    free(text);
    json_decref(json);
}

static void set_text(json_t *json, const char *name, struct text text)
{
    if (text.length > 0)
        (void)json_object_set_new(json, name, json_stringn(text.bytes, text.length));
}

static void set_time(json_t *json, const char *name, int64_t wall_us)
{
    char text[TIME_TEXT_SIZE];

    if (wall_us == 0) return;
    time_format(wall_us, text);
    (void)json_object_set_new(json, name, json_string(text));
}

static enum exit_code find_complaint(const char *id)
{
    return complain(EXIT_FAILED, "there is no endpoint %s that this could be done to", id);
}

/* --- list, attempts --------------------------------------------------------------------------- */

static const char *state_of(const struct endpoint *endpoint)
{
    return endpoint->removed ? "removed" : endpoint->paused ? "paused" : "active";
}

static void print_endpoint(void *context, const struct endpoint_state *state)
{
    const struct endpoint *endpoint = &state->endpoint;
    char last[TIME_TEXT_SIZE] = "-", result[128] = "-";

    (void)context;
    if (state->last_us != 0) time_format(state->last_us, last);
    if (state->last_us != 0 && state->last_error.length > 0)
        (void)snprintf(result, sizeof result, "%.*s", TEXT_ARGS(state->last_error));
    else if (state->last_us != 0)
        (void)snprintf(result, sizeof result, "accepted");
    printf("%-16s %-8s %-7s %-28s %-24s %-24s %-16s %s%s%.*s\n", endpoint->id, state_of(endpoint),
           endpoint->ordered ? "ordered" : "", last, result,
           endpoint->types[0] == '\0' ? "all" : endpoint->types,
           endpoint->account[0] == '\0' ? "all" : endpoint->account, endpoint->url,
           state->pause_reason.length > 0 ? "  paused: " : "", TEXT_ARGS(state->pause_reason));
}

static void add_json_endpoint(void *context, const struct endpoint_state *state)
{
    const struct endpoint *endpoint = &state->endpoint;
    json_t *json = json_pack("{s:s, s:s, s:s, s:b}", "id", endpoint->id, "url", endpoint->url,
                             "state", state_of(endpoint), "ordered", endpoint->ordered);

    set_text(json, "types", text_of(endpoint->types));
    set_text(json, "account", text_of(endpoint->account));
    set_text(json, "pause_reason", state->pause_reason);
    set_time(json, "created_at", state->created_us);
    set_time(json, "last_attempt_at", state->last_us);
    if (state->last_us != 0)
        (void)json_object_set_new(json, "last_status", json_integer(state->last_status));
    set_text(json, "last_error", state->last_error);
    (void)json_array_append_new(context, json);
}

static enum exit_code list(const struct options *options, struct db *db, char **arguments)
{
    struct err err = {0};

    (void)arguments;
    if (options->output == OUTPUT_JSON) {
        json_t *endpoints = json_array();
        bool ok = endpoints_list(db, add_json_endpoint, endpoints, &err);
        print_json(json_pack("{s:o}", "endpoints", endpoints));
        return ok ? EXIT_DONE : complain_err(&err);
    }
    printf("%-16s %-8s %-7s %-28s %-24s %-24s %-16s %s\n", "ID", "STATE", "ORDER", "LAST ATTEMPT",
           "RESULT", "TYPES", "ACCOUNT", "URL");
    return endpoints_list(db, print_endpoint, NULL, &err) ? EXIT_DONE : complain_err(&err);
}

static void print_attempt(void *context, const struct attempt *attempt)
{
    char when[TIME_TEXT_SIZE];

    (void)context;
    time_format(attempt->attempted_us, when);
    printf("%-28s %-44.*s %-24.*s %3" PRId32 " %6" PRId32 " %6" PRId32 " %-32.*s %.*s\n", when,
           TEXT_ARGS(attempt->event), TEXT_ARGS(attempt->type), attempt->tries, attempt->status,
           attempt->took_ms, TEXT_ARGS(attempt->trace_id), TEXT_ARGS(attempt->error));
}

static void add_json_attempt(void *context, const struct attempt *attempt)
{
    json_t *json = json_pack("{s:i, s:i, s:i}", "try", attempt->tries, "status", attempt->status,
                             "took_ms", attempt->took_ms);

    set_time(json, "attempted_at", attempt->attempted_us);
    set_text(json, "event", attempt->event);
    set_text(json, "type", attempt->type);
    set_text(json, "error", attempt->error);
    set_text(json, "trace_id", attempt->trace_id);
    (void)json_array_append_new(context, json);
}

static enum exit_code attempts(const struct options *options, struct db *db, char **arguments)
{
    int64_t limit = LIMIT;
    struct err err = {0};

    if (options->limit != NULL &&
        parse_number("--limit", options->limit, 1, LIMIT_MAX, &limit) != EXIT_DONE)
        return EXIT_USAGE;
    if (options->output == OUTPUT_JSON) {
        json_t *all = json_array();
        bool ok = attempts_list(db, arguments[0], "", (uint32_t)limit, add_json_attempt, all, &err);
        print_json(json_pack("{s:o}", "attempts", all));
        return ok ? EXIT_DONE : complain_err(&err);
    }
    printf("%-28s %-44s %-24s %3s %6s %6s %-32s %s\n", "AT", "EVENT", "TYPE", "TRY", "STATUS", "MS",
           "TRACE", "ERROR");
    return attempts_list(db, arguments[0], "", (uint32_t)limit, print_attempt, NULL, &err)
               ? EXIT_DONE
               : complain_err(&err);
}

/* --- add, rotate-secret ----------------------------------------------------------------------- */

static void make_secret(struct secret *out)
{
    *out = (struct secret){.size = SECRET_NEW_SIZE};
    random_bytes(out->bytes, out->size);
}

/* The secret goes to standard output, alone: for a pipe into whatever keeps secrets. */
static void show(const struct options *options, const char *id, const struct secret *secret)
{
    char text[SECRET_TEXT_SIZE];

    secret_format(secret, text);
    if (options->output == OUTPUT_JSON) {
        print_json(json_pack("{s:s, s:s}", "id", id, "secret", text));
    } else {
        (void)fprintf(stderr, "endpoint %s; this is the only time that its secret is shown:\n", id);
        printf("%s\n", text);
    }
    OPENSSL_cleanse(text, sizeof text);
}

static enum exit_code fill(const struct options *options, const char *url, struct endpoint *out)
{
    uint8_t random[ID_RANDOM_SIZE];
    struct err err = {0};

    *out = (struct endpoint){.ordered = options->ordered};
    if (!post_url_is_allowed(url, options->webhook_private, &err))
        return complain(EXIT_USAGE, "%s", err.text);
    if (!text_copy(text_of(url), out->url, sizeof out->url) ||
        !text_copy(text_of(options->types), out->types, sizeof out->types) ||
        !text_copy(text_of(options->account), out->account, sizeof out->account))
        return complain(EXIT_USAGE, "URL, --types or --account is too long");
    if (!endpoint_filters_are_valid(out))
        return complain(EXIT_USAGE, "--types is as transaction.*,hold.placed and --account is an "
                                    "account, or what it begins with and a star");
    random_bytes(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        (void)snprintf(out->id + 2 * i, sizeof out->id - 2 * i, "%02x", random[i]);
    make_secret(&out->secret);
    return EXIT_DONE;
}

static enum exit_code add(const struct options *options, struct db *db, char **arguments)
{
    struct endpoint endpoint;
    struct err err = {0};
    enum exit_code code = fill(options, arguments[0], &endpoint);

    if (code != EXIT_DONE) return code;
    bool ok = endpoint_add(db, &endpoint, &err);
    if (ok) show(options, endpoint.id, &endpoint.secret);
    OPENSSL_cleanse(&endpoint, sizeof endpoint);
    return ok ? EXIT_DONE : complain_err(&err);
}

static enum exit_code rotate(const struct options *options, struct db *db, char **arguments)
{
    int64_t overlap_s = OVERLAP_S;
    struct secret secret;
    struct err err = {0};
    bool found = false;

    if (options->overlap != NULL &&
        parse_number("--overlap", options->overlap, 0, SECONDS_MAX, &overlap_s) != EXIT_DONE)
        return EXIT_USAGE;
    make_secret(&secret);
    bool ok = endpoint_rotate(db, arguments[0], &secret, (uint32_t)overlap_s, &found, &err);
    if (ok && found) show(options, arguments[0], &secret);
    OPENSSL_cleanse(&secret, sizeof secret);
    if (!ok) return complain_err(&err);
    return found ? EXIT_DONE : find_complaint(arguments[0]);
}

/* --- pause, resume, remove -------------------------------------------------------------------- */

static enum exit_code told(const struct options *options, const char *id, const char *what, bool ok,
                           bool found, const struct err *err)
{
    if (!ok) return complain_err(err);
    if (!found) return find_complaint(id);
    if (options->output == OUTPUT_TABLE) printf("endpoint %s %s\n", id, what);
    return EXIT_DONE;
}

static enum exit_code pause_it(const struct options *options, struct db *db, char **arguments)
{
    struct err err = {0};
    bool found = false;
    bool ok = endpoint_pause(db, arguments[0], "by hand", &found, &err);

    return told(options, arguments[0], "is paused; its events gather", ok, found, &err);
}

static enum exit_code resume(const struct options *options, struct db *db, char **arguments)
{
    struct err err = {0};
    bool found = false;
    bool ok = endpoint_resume(db, arguments[0], &found, &err);

    return told(options, arguments[0], "is posted to again", ok, found, &err);
}

static enum exit_code remove_it(const struct options *options, struct db *db, char **arguments)
{
    struct err err = {0};
    bool found = false;
    bool ok = endpoint_remove(db, arguments[0], &found, &err);

    return told(options, arguments[0], "will be gone in some seconds, with what waits for it", ok,
                found, &err);
}

/* --- test ------------------------------------------------------------------------------------- */

static bool publish(const struct options *options, const struct message *message, struct err *err)
{
    const struct publisher_options publisher_options = {.url = options->amqp_url,
                                                        .name = "ledgerctl",
                                                        .heartbeat_s = HEARTBEAT_S,
                                                        .timeout_ms = options->timeout_ms,
                                                        .window = 1};
    uint64_t deadline_ms = clock_monotonic_ms() + options->timeout_ms, sequence;
    struct publisher *publisher = NULL;
    struct confirm confirm = {0};
    uint32_t count = 0;

    bool ok = publisher_open(&publisher, &publisher_options, err) &&
              publisher_send(publisher, message, &sequence, err);
    while (ok && count == 0 && clock_monotonic_ms() < deadline_ms)
        ok = publisher_poll(publisher, POLL_MS, &confirm, 1, &count, err);
    publisher_close(publisher);
    if (ok && (count == 0 || confirm.result != CONFIRM_ACK))
        return err_set(err, ERR_RETRY,
                       "could not publish: is ledger-webhooks running, and the prefix right?");
    return ok;
}

static bool send_test(const struct options *options, const char *id, const char *event,
                      struct err *err)
{
    static const char format[] = "{\"type\":\"webhook.test\",\"timestamp\":\"%s\",\"data\":{"
                                 "\"event_type\":\"webhook.test\"}}";
    const struct webhook webhook = {.id = text_of(event),
                                    .type = TEXT_LITERAL("webhook.test"),
                                    .endpoint = text_of(id),
                                    .timestamp_s = clock_wall_us() / US_PER_S};
    char body[BODY_SIZE], now[TIME_TEXT_SIZE];
    struct message message = {.mandatory = true};
    struct arena arena = {0};
    struct names names;

    time_format(clock_wall_us(), now);
    int size = snprintf(body, sizeof body, format, now);
    message.body = (struct bytes){(const uint8_t *)body, (uint32_t)size};
    bool ok = arena_open(&arena, ARENA_SIZE, err) && names_make(&names, options->prefix, 1, err);
    if (ok && !webhook_write(&webhook, &arena, &message.properties))
        ok = err_set(err, ERR_FATAL, "could not write properties: they are too large");
    message.routing_key = text_of(names.webhooks);
    ok = ok && publish(options, &message, err);
    arena_close(&arena);
    return ok;
}

struct verdict {
    const struct options *options;
    bool there, accepted;
};

static void take_verdict(void *context, const struct attempt *attempt)
{
    struct verdict *verdict = context;

    verdict->there = true;
    verdict->accepted = attempt->error.length == 0;
    if (verdict->options->output == OUTPUT_JSON) {
        json_t *all = json_array();
        add_json_attempt(all, attempt);
        print_json(json_incref(json_array_get(all, 0)));
        json_decref(all);
        return;
    }
    printf("%s after %" PRId32 " ms%s%.*s\n", verdict->accepted ? "accepted" : "not accepted",
           attempt->took_ms, verdict->accepted ? "" : ": ", TEXT_ARGS(attempt->error));
}

/* By the way that every event goes; what the endpoint says is then on record. */
static enum exit_code test(const struct options *options, struct db *db, char **arguments)
{
    uint64_t deadline_ms = clock_monotonic_ms() + options->timeout_ms;
    struct verdict verdict = {.options = options};
    char event[UUID_TEXT_SIZE];
    struct err err = {0};
    uint8_t random[UUID_RANDOM_SIZE];

    random_bytes(random, sizeof random);
    struct uuid id = uuid_v7((uint64_t)clock_wall_us() / 1000, random);
    uuid_format(&id, event);
    if (!send_test(options, arguments[0], event, &err)) return complain_err(&err);
    while (!verdict.there && clock_monotonic_ms() < deadline_ms) {
        clock_sleep_ms(POLL_MS);
        if (!attempts_list(db, arguments[0], event, 1, take_verdict, &verdict, &err))
            return complain_err(&err);
    }
    if (!verdict.there)
        return complain(EXIT_CONNECT,
                        "no attempt within %" PRIu32 " ms: is there such an endpoint, not paused?",
                        options->timeout_ms);
    return verdict.accepted ? EXIT_DONE : EXIT_FAILED;
}

/* --- which ------------------------------------------------------------------------------------ */

static const struct verb {
    const char *name, *arguments;
    int count;
    enum exit_code (*run)(const struct options *, struct db *, char **);
} VERBS[] = {
    {"list", "", 0, list},
    {"add", "URL [--types transaction.*,hold.placed] [--account PATTERN] [--ordered]", 1, add},
    {"test", "ID", 1, test},
    {"attempts", "ID [--limit N]", 1, attempts},
    {"pause", "ID", 1, pause_it},
    {"resume", "ID", 1, resume},
    {"rotate-secret", "ID [--overlap SECONDS]", 1, rotate},
    {"remove", "ID", 1, remove_it},
};

static const struct verb *find_verb(char **arguments)
{
    int count = 0;

    while (arguments[1 + count] != NULL) count++;
    for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++)
        if (strcmp(VERBS[i].name, arguments[0]) == 0 && count == VERBS[i].count) return &VERBS[i];
    (void)fputs("usage:\n", stderr);
    for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++)
        (void)fprintf(stderr, "  ledgerctl webhook %s %s\n", VERBS[i].name, VERBS[i].arguments);
    return NULL;
}

enum exit_code run_webhook(const struct options *options, const char *verb, char **arguments)
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
