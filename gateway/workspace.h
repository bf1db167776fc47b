/*
 * workspace.h - scratch memory of a thread that turns requests into messages and replies into
 * answers. Reset for each; nothing in it outlives the call that made it.
 */
#ifndef GATEWAY_WORKSPACE_H
#define GATEWAY_WORKSPACE_H

#include "protocol/codec.h"

struct workspace {
    struct codec *codec;
    struct arena arena;
};

/* This thread's, made when first asked for and freed when the thread ends; empty again. NULL when
 * memory is short. */
struct workspace *workspace_take(void);

#endif
