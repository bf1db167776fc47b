/*
 * walk.c - through the dead letters from the oldest to the newest, a page at a time, holding the
 * turn. What a page's function does not take goes back to its place when the walk is closed.
 */
#include "base/clock.h"
#include "base/stop.h"
#include "dlq/tool.h"

#include <stdlib.h>
#include <string.h>

static bool take_turn(struct walk *walk, bool to_act, struct err *err)
{
    struct tool *tool = walk->tool;
    struct audit_options options = {.url = tool->database_url,
                                    .role = tool->database_role,
                                    .who = tool->who,
                                    .queue = tool->names.dlq,
                                    .timeout_ms = tool->timeout_ms};

    if (audit_open(&walk->audit, &options, err))
        return audit_take_turn(walk->audit, tool->wait_ms, err);
    audit_close(walk->audit);
    walk->audit = NULL;
    if (to_act || err->kind != ERR_RETRY) return false;
    (void)complain(EXIT_DONE, "warning: %s; looking without knowing whether somebody else does",
                   err->text);
    *err = (struct err){0};
    return true;
}

bool walk_open(struct walk **out, struct tool *tool, bool to_act, struct err *err)
{
    struct walk *walk = calloc(1, sizeof *walk);

    *out = walk;
    if (walk == NULL) return err_set(err, ERR_FATAL, "could not begin: out of memory");
    walk->tool = tool;
    walk->until_us = clock_wall_us();
    return arena_open(&walk->arena, TOOL_ARENA_SIZE, err) && take_turn(walk, to_act, err);
}

static void note_met(struct tool *tool, const struct letter *letter)
{
    for (uint32_t i = 0; tool->met != NULL && i < tool->filter.ids_count; i++)
        tool->met[i] = tool->met[i] || strcmp(tool->filter.ids[i], letter->id) == 0;
}

static void read_page(struct walk *walk, uint32_t count, uint32_t *matching)
{
    *matching = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct delivery *delivery = &walk->page[i];
        struct letter *letter = &walk->letters[*matching];
        if (delivery->oversized) {
            walk->oversized++;
            continue;
        }
        letter_read(walk->tool->codec, delivery->routing_key, delivery->properties, delivery->body,
                    &walk->arena, letter);
        if (letter->last_death_us > walk->until_us) {
            walk->younger++;
            continue;
        }
        if (!filter_matches(&walk->tool->filter, letter, walk->until_us)) continue;
        note_met(walk->tool, letter);
        walk->tags[(*matching)++] = delivery->tag;
    }
}

/* After a failure: closing the connection gives everything back, when the broker notices. */
static void browse_drop(struct walk *walk)
{
    struct err failed = {.kind = ERR_RETRY};
    struct browse *browse = walk->browse;

    walk->browse = NULL;
    if (!browse_finish(browse, &failed)) (void)complain(EXIT_DONE, "%s", failed.text);
}

bool walk_run(struct walk *walk, walk_page page, void *context, struct err *err)
{
    struct browse_options options = {.url = walk->tool->amqp_url,
                                     .name = "ledger-dlq",
                                     .names = &walk->tool->names,
                                     .timeout_ms = walk->tool->timeout_ms,
                                     .body_max = LETTER_BODY_MAX};

    browse_drop(walk);
    walk->seen = 0;
    walk->oversized = walk->younger = 0;
    walk->enough = false;
    if (!browse_open(&walk->browse, &options, err)) return false;
    walk->total = browse_total(walk->browse);
    while (!walk->enough && !stop_requested()) {
        uint32_t count = 0, matching = 0;
        arena_reset(&walk->arena);
        if (!browse_next(walk->browse, walk->page, PAGE_LETTERS, &walk->arena, &count, err))
            return false;
        if (count == 0) break;
        read_page(walk, count, &matching);
        walk->seen += count;
        if (matching > 0 && !page(context, walk, walk->letters, matching, err)) return false;
    }
    if (walk->oversized > 0)
        (void)complain(EXIT_DONE, "%u letters of over %d MiB were left alone", walk->oversized,
                       LETTER_BODY_MAX >> 20);
    if (walk->younger > 0)
        (void)complain(EXIT_DONE, "%u letters died after this began, by the clock here: left alone",
                       walk->younger);
    struct browse *browse = walk->browse;
    walk->browse = NULL;
    return browse_finish(browse, err);
}

void walk_close(struct walk *walk)
{
    if (walk == NULL) return;
    browse_drop(walk);
    audit_close(walk->audit);
    arena_close(&walk->arena);
    free(walk);
}
