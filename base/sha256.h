/*
 * sha256.h - SHA-256, many times a second, without the heap: each thread has one state. One digest
 * at a time per thread: begin, add..., end.
 */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, SHA256_HEX_SIZE = 65 }; /* the text: hex.h */

struct sha256 { /* a digest */
    uint8_t bytes[SHA256_SIZE];
};

void sha256_begin(void);
void sha256_add(const void *data, size_t size); /* data may be NULL when size is 0 */
void sha256_end(struct sha256 *out);

#endif
