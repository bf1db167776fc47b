/*
 * fingerprint.h - what makes two commands the same, and the key under which one is kept: digests
 * that the journal holds for ever, so they may never change.
 */
#ifndef PROTOCOL_FINGERPRINT_H
#define PROTOCOL_FINGERPRINT_H

#include "protocol/command.h"

/* The same for the same command in either encoding and any key order: SHA-256, cut to 16 bytes,
 * over type and fields, each length-prefixed. */
struct uuid command_fingerprint(const struct command *command);
/* Of a batch: over those of its legs and their keys too, `count` of each. */
struct uuid batch_fingerprint(const struct command *batch, const struct uuid *legs,
                              const struct text *keys, uint32_t count);
/* SHA-256 cut to 16 bytes over the length-prefixed caller and key: the journal's primary key. */
struct uuid idempotency_digest(struct text caller, struct text key);

/* Of a place in an account's history, and all of the question but its limit and cursor. */
struct uuid page_fingerprint(const struct page *page, struct text account, int64_t seq);

/* The key of what becomes of a scheduled command: of one part alone, so no caller and key have it.
 */
struct uuid scheduled_digest(const struct uuid *scheduled);

/* The same over the parts of a message, whatever they hold: for one that must not be decoded. */
struct uuid message_digest(struct text message_id, struct text correlation_id, struct bytes body);

#endif
