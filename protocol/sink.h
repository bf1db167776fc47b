/*
 * sink.h - lets msgpack-c write into a writer (bytes.h); for the codec alone.
 */
#ifndef PROTOCOL_SINK_H
#define PROTOCOL_SINK_H

#include <stddef.h>

/* A msgpack_packer_write. Never fails: what does not fit, the writer remembers. */
int sink_write(void *writer, const char *bytes, size_t size);

#endif
