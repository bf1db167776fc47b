/*
 * checkpoint.h - what the notary attests from time to time: the state of all accounts that changed,
 * as the root of a tree over them, behind the checkpoint before; signed; published as an event.
 *
 *     header = 0x04 || number (8 bytes) || hash of the header before (32) || root (32)
 *              || leaves (8) || created_us (8) || key id (8)              97 bytes, which are
 * signed hash   = SHA-256(header)
 */
#ifndef PROTOCOL_CHECKPOINT_H
#define PROTOCOL_CHECKPOINT_H

#include "base/ed25519.h"
#include "base/sha256.h"
#include "protocol/codec.h"
#include "protocol/command.h"

#define CHECKPOINT_EVENT "checkpoint.created"

enum { CHECKPOINT_HEADER_SIZE = 97 };

struct checkpoint {
    int64_t number;         /* 1, 2, 3, ... */
    struct sha256 previous; /* zero bytes in the first */
    struct sha256 root;
    int64_t leaves;
    int64_t created_us;
    uint8_t key[KEY_ID_SIZE];
    uint8_t signature[SIGNATURE_SIZE];
};

void checkpoint_header(const struct checkpoint *checkpoint,
                       uint8_t header[static CHECKPOINT_HEADER_SIZE]);
void checkpoint_hash(const struct checkpoint *checkpoint, struct sha256 *out);
/* Fills key and signature. */
MUST_CHECK bool checkpoint_sign(struct checkpoint *checkpoint, const struct ed25519 *key,
                                struct err *err);
MUST_CHECK bool checkpoint_verify(const struct checkpoint *checkpoint, const struct ed25519 *key);

/* The body of the event. */
MUST_CHECK bool checkpoint_encode(const struct checkpoint *checkpoint, enum encoding encoding,
                                  struct arena *arena, struct bytes *out);
MUST_CHECK bool checkpoint_decode(struct codec *codec, struct bytes body, enum encoding encoding,
                                  struct arena *arena, struct checkpoint *out,
                                  char problem[static PROBLEM_SIZE]);

#endif
