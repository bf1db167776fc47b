/*
 * scheduled.c - the verb that lists what waits to be executed, straight from the database: a role
 * that may read suffices.
 */
#include "base/clock.h"
#include "ledger/migrate_pg.h"
#include "ledger/pending_pg.h"
#include "ledgerctl/ledgerctl.h"
#include "protocol/pack.h"

#include <stdio.h>

enum { PENDING_FIELDS = 8, PENDING_ARENA = 16 << 20, LIST_ANSWER_MS = 3600 * 1000 };

/* One line of JSON each, with the command's body in it. */
static void show_pending_json(struct arena *arena, const struct pending *pending)
{
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, PENDING_FIELDS);
    struct bytes packed, json;

    pack_uuid(&map, "transaction", &pending->id);
    pack_text(&map, "type", text_of(command_word(pending->type)));
    pack_time(&map, "scheduled_for", pending->due_us);
    pack_bool(&map, "overdue", pending->is_due);
    pack_time(&map, "created_at", pending->accepted_us);
    pack_text(&map, "app_id", pending->caller);
    pack_text(&map, "idempotency_key", pending->key);
    pack_raw(&map, "command", pending->body);
    pack_map_close(&map);
    if (writer_keep(&writer, arena, &packed) && msgpack_to_json(packed, arena, &json))
        printf("%.*s\n", (int)json.size, (const char *)json.data);
}

struct shown {
    const struct options *options;
    struct arena arena;
};

static void show_pending(void *context, const struct pending *pending)
{
    char id[UUID_TEXT_SIZE], due[TIME_TEXT_SIZE];
    struct shown *shown = context;

    arena_reset(&shown->arena);
    if (shown->options->output == OUTPUT_JSON) {
        show_pending_json(&shown->arena, pending);
        return;
    }
    uuid_format(&pending->id, id);
    time_format(pending->due_us, due);
    printf("%-28s %-8s %-36s %-16s %-16.*s %.*s\n", due, pending->is_due ? "overdue" : "", id,
           command_word(pending->type), TEXT_ARGS(pending->caller), TEXT_ARGS(pending->key));
}

enum exit_code run_scheduled(const struct options *options, const char *verb, char **arguments)
{
    struct shown shown = {.options = options};
    struct err err = {0};
    struct db *db = NULL;
    bool ok;

    (void)verb;
    (void)arguments;
    ok = arena_open(&shown.arena, PENDING_ARENA, &err) &&
         open_db(options, LIST_ANSWER_MS, &db, &err) && migrate_check(db, &err);
    if (ok && options->output == OUTPUT_TABLE)
        printf("%-28s %-8s %-36s %-16s %-16s %s\n", "DUE", "", "TRANSACTION", "TYPE", "CALLER",
               "KEY");
    ok = ok && pending_list(db, show_pending, &shown, &err);
    db_close(db);
    arena_close(&shown.arena);
    return ok ? EXIT_DONE : complain_err(&err);
}
