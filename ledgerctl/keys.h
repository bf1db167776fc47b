/*
 * keys.h - what a check needs from outside the database: public keys, and checkpoints that somebody
 * kept.
 */
#ifndef LEDGERCTL_KEYS_H
#define LEDGERCTL_KEYS_H

#include "ledgerctl/ledgerctl.h"
#include "protocol/checkpoint.h"

/* The files of --public-key. keys_close after either outcome. */
MUST_CHECK bool keys_open(const struct options *options,
                          struct ed25519 *keys[static PUBLIC_KEYS_MAX], struct err *err);
void keys_close(struct ed25519 *keys[static PUBLIC_KEYS_MAX]);

/* A file of checkpoint.created events, JSON, one a line, in any order; sorted by number. The caller
 * frees *out, after either outcome. */
MUST_CHECK bool checkpoints_read(const char *path, struct checkpoint **out, uint32_t *count,
                                 struct err *err);

/* A whole file of at most max bytes; malloc'ed, terminated. */
MUST_CHECK bool file_read(const char *path, size_t max, char **out, size_t *size, struct err *err);

#endif
