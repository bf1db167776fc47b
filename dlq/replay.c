/*
 * replay.c - dead letters become commands again: staged in the record, published as they were,
 * confirmed, and only then taken out of the queue. Killed between the last two, a letter is there
 * although its command was published: replaying it once more does no harm, because its key decides.
 * Nothing in a letter is edited.
 *
 * What was for a webhook goes back to the queue of webhooks, and nowhere else: a header of a letter
 * says to whom, not to which queue.
 */
#include "dlq/act.h"

#include "base/clock.h"
#include "base/stop.h"

#include <inttypes.h>

enum { TRIES = 5, PAUSE_MS = 1000 };

/* NULL: it can be published. A command without a key would only die again. One without a message_id
 * cannot be mandatory (a returned message is told by it), so it goes only where others have gone.
 */
static const char *why_not(const struct act *act, const struct letter *letter)
{
    if (letter->key.length == 0) return "it has no idempotency key, and would die again";
    if (letter->parsed.message_id.length == 0 && !act->routable && !act->tool->dry_run)
        return "it has no message_id; replay it together with one that has";
    return NULL;
}

static bool posting_make(struct act *act, const struct letter *letter, struct posting *out)
{
    const char *problem = why_not(act, letter);

    *out = (struct posting){.message = {.exchange = text_of(act->tool->names.commands),
                                        .routing_key = letter->routing_key,
                                        .body = letter->body,
                                        .mandatory = letter->parsed.message_id.length > 0}};
    if (letter_is_webhook(letter)) {
        out->message.exchange = (struct text){0}; /* the default one */
        out->message.routing_key = text_of(act->tool->names.webhooks);
    }
    if (problem == NULL && !letter_replay_properties(letter, text_of(act->tool->user_id),
                                                     &act->scratch, &out->message.properties))
        problem = "its properties cannot be read";
    out->skipped = problem != NULL;
    if (out->skipped) (void)complain(EXIT_DONE, "skipped %s: %s", letter->id, problem);
    return !out->skipped;
}

static void print_plan(struct act *act, const struct letter *letter)
{
    struct tool *tool = act->tool;
    struct posting posting;

    bool fits = posting_make(act, letter, &posting);
    if (tool->output == OUTPUT_TABLE) {
        printf("would %s %s: %.*s of %.*s, key %.*s, to %s with routing key %.*s\n",
               fits ? "publish" : "skip", letter->id, TEXT_ARGS(letter->type),
               TEXT_ARGS(letter->caller), TEXT_ARGS(letter->key),
               letter_is_webhook(letter) ? "the default exchange" : tool->names.commands,
               TEXT_ARGS(posting.message.routing_key));
        return;
    }
    printf("{\"would\":\"%s\",\"id\":\"%s\",\"exchange\":\"%s\",\"routing_key\":",
           fits ? "publish" : "skip", letter->id,
           letter_is_webhook(letter) ? "" : tool->names.commands);
    print_json_text(stdout, posting.message.routing_key);
    printf(",\"command\":");
    print_json_text(stdout, letter->type);
    printf(",\"caller\":");
    print_json_text(stdout, letter->caller);
    printf(",\"key\":");
    print_json_text(stdout, letter->key);
    printf("}\n");
}

static bool replay_step(struct act *act, struct walk *walk, const struct letter *letters,
                        const uint64_t *tags, uint32_t count, struct err *err)
{
    static struct posting postings[PAGE_LETTERS];

    arena_reset(&act->scratch);
    if (!audit_stage(walk->audit, act->operation, letters, count, &act->scratch, err)) return false;
    for (uint32_t i = 0; i < count; i++) (void)posting_make(act, &letters[i], &postings[i]);
    if (!act_publish(act, postings, count, err)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!postings[i].skipped && !browse_take(walk->browse, tags[i], err)) return false;
        act->routable = act->routable || (!postings[i].skipped && postings[i].message.mandatory &&
                                          !letter_is_webhook(&letters[i]));
        act->done += !postings[i].skipped;
        act->skipped += postings[i].skipped;
    }
    return audit_finish(walk->audit, act->operation, count, err);
}

static bool replay_page(void *context, struct walk *walk, struct letter *letters, uint32_t count,
                        struct err *err)
{
    struct act *act = context;
    struct tool *tool = act->tool;
    uint64_t left = tool->limit == 0 ? UINT64_MAX : tool->limit - act->listed;

    if (count >= left) walk->enough = true;
    if (count > left) count = (uint32_t)left;
    arena_reset(&act->scratch);
    for (uint32_t i = 0; i < count && tool->dry_run; i++) {
        print_plan(act, &letters[i]);
        act->listed++;
    }
    if (tool->dry_run) return true;
    for (uint32_t at = 0, step; at < count && !stop_requested(); at += step) {
        step = act_step(act, count - at);
        if (!replay_step(act, walk, &letters[at], &walk->tags[at], step, err)) return false;
        act->listed += step;
        print_progress(tool, "replayed", act->done, walk->total, false);
    }
    return true;
}

/* The broker may go away in the middle, and gives up on a letter that is held for half an hour. */
static bool replay_all(struct act *act, struct walk *walk, struct err *err)
{
    for (uint32_t tries = 1;; tries++) {
        uint64_t done = act->done;
        if (walk_run(walk, replay_page, act, err)) return true;
        if (act->done > done) tries = 1;
        if (err->kind != ERR_RETRY || tries >= TRIES || stop_requested()) return false;
        (void)complain(EXIT_DONE, "%s; going on in a moment", err->text);
        clock_sleep_ms(PAUSE_MS);
        *err = (struct err){0};
    }
}

enum exit_code run_replay(struct tool *tool, int count, char **arguments)
{
    struct walk *walk = NULL;
    struct err err = {0};
    struct act act;

    if (!act_chosen(tool, count, arguments, &err)) return complain(EXIT_USAGE, "%s", err.text);
    bool ok = act_open(&act, tool, "replay", &err) &&
              walk_open(&walk, tool, !tool->dry_run, &err) &&
              (tool->dry_run || act_begin(&act, walk->audit, &err)) && replay_all(&act, walk, &err);
    if (ok && !tool->dry_run) print_progress(tool, "replayed", act.done, act.done, true);
    if (ok && tool->dry_run && tool->output == OUTPUT_TABLE && !tool->quiet)
        (void)fprintf(stderr, "%" PRIu64 " letters; nothing was done\n", act.listed);
    enum exit_code code = act_end(&act, walk == NULL ? NULL : walk->audit, ok, "replayed", &err);
    walk_close(walk);
    act_close(&act);
    return code;
}
