/*
 * dispatcher_internal.h - what dispatcher.c, fan.c, deliver.c and receipts.c share; nobody else
 * includes it.
 */
#ifndef WEBHOOKS_DISPATCHER_INTERNAL_H
#define WEBHOOKS_DISPATCHER_INTERNAL_H

#include "base/backoff.h"
#include "base/confirms.h"
#include "base/consumer_amqp.h"
#include "webhooks/delivery_report.h"
#include "webhooks/dispatcher.h"
#include "webhooks/posts_http.h"
#include "webhooks/queues.h"
#include "webhooks/split.h"
#include "webhooks/store_pg.h"
#include "webhooks/webhook.h"

enum { WINDOW = 1024, ATTEMPTS_KEPT = 512, QUEUE_EVENTS = 0, QUEUE_FIRST = 1 };

struct outlet { /* an endpoint, and what this process does about it; its queue is QUEUE_FIRST + i */
    bool used, declared, consumes;
    struct endpoint endpoint;
    uint64_t removed_ms;       /* since when it is being removed; 0: it is not */
    uint64_t failing_since_ms; /* 0: the last post was accepted */
};

struct receipt { /* of a delivery that is acknowledged when all that it led to is confirmed */
    struct receipt *next;
    uint64_t tag; /* 0: of none */
    uint32_t due; /* confirms */
    bool open;    /* there will be more */
};

struct feed { /* a message of the first queue */
    struct feed *next;
    uint64_t tag;
    struct text routing_key;
    struct bytes properties, body;
    uint8_t memory[];
};

enum job_state { JOB_NEW, JOB_POSTING, JOB_ACCEPTED, JOB_RETRY, JOB_DEAD, JOB_UNREAD };

struct job { /* a message of an endpoint's queue */
    struct job *next;
    uint64_t tag;
    struct outlet *outlet;
    enum job_state state;
    struct webhook webhook;
    struct bytes properties, body;
    char error[96]; /* why the last post failed */
    uint8_t memory[];
};

struct dispatcher {
    const struct dispatcher_settings *settings;
    struct names names;
    struct schedule schedule;
    struct codec *codec;
    struct arena arena, scratch; /* of one fetch; of one message that is published */
    struct db *db;
    struct consumer *consumer;
    struct publisher *publisher;
    struct posts *posts;
    struct backoff backoff;
    uint32_t posts_max;
    bool leaves;
    uint64_t refresh_due_ms, expire_due_ms, flush_due_ms;

    struct outlet outlets[ENDPOINTS_MAX];
    struct receipt *receipts;
    struct receipt *of_sequence[CONFIRMS_MAX]; /* of what is not confirmed, by its number */

    struct feed *feeds, **feeds_end;
    struct receipt *feed_receipt; /* of the first one, which is being sent on; NULL: not begun */
    struct arena split_arena;
    struct split split;
    uint32_t next_event, next_outlet;

    struct job *jobs, **jobs_end; /* in the order of arrival */

    struct attempt attempts[ATTEMPTS_KEPT]; /* to be written together */
    uint32_t attempts_count;
    struct arena attempts_arena;
};

/* --- receipts.c --- */

MUST_CHECK bool receipt_open(struct dispatcher *dispatcher, uint64_t tag, struct receipt **out,
                             struct err *err);
/* Needs publisher_room. To a queue by its name, or to the dead letters. */
MUST_CHECK bool send_to_queue(struct dispatcher *dispatcher, const char *queue,
                              struct bytes properties, struct bytes body, struct receipt *receipt,
                              struct err *err);
MUST_CHECK bool send_to_dead_letters(struct dispatcher *dispatcher, struct text type,
                                     struct bytes properties, struct bytes body,
                                     struct receipt *receipt, struct err *err);
MUST_CHECK bool receipts_turn(struct dispatcher *dispatcher, uint32_t wait_ms, struct err *err);
void receipts_drop(struct dispatcher *dispatcher);

/* --- fan.c --- */

MUST_CHECK bool feed_take(struct dispatcher *dispatcher, const struct delivery *delivery,
                          struct err *err);
MUST_CHECK bool feeds_turn(struct dispatcher *dispatcher, struct err *err);
void feeds_drop(struct dispatcher *dispatcher);

/* --- deliver.c --- */

MUST_CHECK bool job_take(struct dispatcher *dispatcher, const struct delivery *delivery,
                         struct err *err);
/* Starts posts, takes what has ended (waiting at most wait_ms), and sees to what failed. */
MUST_CHECK bool jobs_turn(struct dispatcher *dispatcher, uint32_t wait_ms, struct err *err);
/* Whoever missed his turn has it. */
MUST_CHECK bool wake_missed(struct dispatcher *dispatcher, struct err *err);
MUST_CHECK bool attempts_flush(struct dispatcher *dispatcher, struct err *err);
void jobs_drop(struct dispatcher *dispatcher);

#endif
