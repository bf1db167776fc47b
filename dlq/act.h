/*
 * act.h - what the acting verbs have in common: an operation on record, done in small steps. Each
 * step is staged (committed to the record), done, confirmed, and only then taken out of the queue;
 * so a tool that is killed at any point leaves every letter where somebody will find it.
 */
#ifndef DLQ_ACT_H
#define DLQ_ACT_H

#include "base/publisher_amqp.h"
#include "dlq/tool.h"

struct act {
    struct tool *tool;
    const char *verb;
    int64_t operation;
    uint64_t done, skipped, listed;
    uint64_t next_step_us; /* for the rate */
    bool routable;         /* a mandatory message was taken: the exchange has its bindings */
    struct publisher *publisher;
    struct arena scratch; /* of one step */
    FILE *file;
};

/* Needs letters to be chosen: ids, a filter, or --all. */
MUST_CHECK bool act_chosen(struct tool *tool, int count, char **arguments, struct err *err);
MUST_CHECK bool act_open(struct act *act, struct tool *tool, const char *verb, struct err *err);
void act_close(struct act *act);

/* Opens the operation in the record. */
MUST_CHECK bool act_begin(struct act *act, struct audit *audit, struct err *err);
/* How many letters the next step may have, having waited for the rate. */
uint32_t act_step(struct act *act, uint32_t count);
/* Ends it there, and says on standard error what was done. */
enum exit_code act_end(struct act *act, struct audit *audit, bool ok, const char *done_word,
                       struct err *err);

/* Publishes, waits for every confirm. properties and routing keys are the letters' own, or those of
 * a replay; a letter that cannot be published is left out and marked so. */
struct posting {
    struct message message;
    bool skipped;
};
MUST_CHECK bool act_publish(struct act *act, struct posting *postings, uint32_t count,
                            struct err *err);

#endif
