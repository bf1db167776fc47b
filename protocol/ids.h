/*
 * ids.h - what may name something.
 */
#ifndef PROTOCOL_IDS_H
#define PROTOCOL_IDS_H

#include "base/bytes.h"

enum {
    ID_LENGTH_MAX = 64,    /* account and user ids: A-Z a-z 0-9 . _ : - */
    ASSET_LENGTH_MAX = 12, /* A-Z 0-9 . */
    NAME_LENGTH_MAX = 256,
};

bool id_is_valid(struct text id);
bool asset_is_valid(struct text code);
/* 1 to NAME_LENGTH_MAX bytes of UTF-8 without NUL, which PostgreSQL cannot store. */
bool name_is_valid(struct text name);

#endif
