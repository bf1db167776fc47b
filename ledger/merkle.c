/*
 * merkle.c - see merkle.h.
 */
#include "ledger/merkle.h"

#include <assert.h>
#include <string.h>

enum { LEAF = 0x00, NODE = 0x01 };

void merkle_account(struct text id, int64_t seq, const struct sha256 *head, struct sha256 *leaf)
{
    uint8_t front[6], back[8];
    struct writer begins = writer_over(front, sizeof front), ends = writer_over(back, sizeof back);

    write_u8(&begins, LEAF);
    write_u8(&begins, 'A');
    write_u32(&begins, id.length);
    write_u64(&ends, (uint64_t)seq);
    sha256_begin();
    sha256_add(front, sizeof front);
    sha256_add(id.bytes, id.length);
    sha256_add(back, sizeof back);
    sha256_add(head->bytes, SHA256_SIZE);
    sha256_end(leaf);
}

void merkle_transaction(const struct uuid *id, const struct sha256 *content, struct sha256 *leaf)
{
    static const uint8_t front[] = {LEAF, 'T'};

    sha256_begin();
    sha256_add(front, sizeof front);
    sha256_add(id->bytes, sizeof id->bytes);
    sha256_add(content->bytes, SHA256_SIZE);
    sha256_end(leaf);
}

static void node_of(const struct sha256 *left, const struct sha256 *right, struct sha256 *out)
{
    uint8_t buffer[1 + 2 * SHA256_SIZE] = {NODE};

    memcpy(buffer + 1, left->bytes, SHA256_SIZE);
    memcpy(buffer + 1 + SHA256_SIZE, right->bytes, SHA256_SIZE);
    sha256_begin();
    sha256_add(buffer, sizeof buffer);
    sha256_end(out);
}

void merkle_add(struct merkle *merkle, const struct sha256 *leaf)
{
    struct sha256 root = *leaf;

    for (uint64_t bits = merkle->count; (bits & 1) != 0; bits >>= 1)
        node_of(&merkle->roots[--merkle->roots_count], &root, &root);
    assert(merkle->roots_count < MERKLE_DEPTH_MAX);
    merkle->roots[merkle->roots_count++] = root;
    merkle->count++;
}

void merkle_root(const struct merkle *merkle, struct sha256 *out)
{
    assert(merkle->count > 0);
    *out = merkle->roots[merkle->roots_count - 1];
    for (uint32_t i = merkle->roots_count - 1; i > 0; i--) node_of(&merkle->roots[i - 1], out, out);
}

static void root_of(const struct sha256 *leaves, uint64_t count, struct sha256 *out)
{
    struct merkle merkle = {0};

    for (uint64_t i = 0; i < count; i++) merkle_add(&merkle, &leaves[i]);
    merkle_root(&merkle, out);
}

uint32_t merkle_path(const struct sha256 *leaves, uint64_t count, uint64_t at,
                     struct sha256 path[static MERKLE_DEPTH_MAX])
{
    uint32_t length = 0;

    assert(at < count);
    while (count > 1) { /* from the root down, the other half each time */
        uint64_t left = 1;
        while (left * 2 < count) left *= 2;
        assert(length < MERKLE_DEPTH_MAX);
        if (at < left) {
            root_of(leaves + left, count - left, &path[length++]);
            count = left;
        } else {
            root_of(leaves, left, &path[length++]);
            leaves += left;
            count -= left;
            at -= left;
        }
    }
    for (uint32_t i = 0; i < length / 2; i++) {
        struct sha256 swapped = path[i];
        path[i] = path[length - 1 - i];
        path[length - 1 - i] = swapped;
    }
    return length;
}

bool merkle_proves(const struct sha256 *leaf, uint64_t at, uint64_t count,
                   const struct sha256 *path, uint32_t path_count, const struct sha256 *root)
{
    struct sha256 hash = *leaf;
    uint64_t last = count - 1;

    if (count == 0 || at >= count) return false;
    for (uint32_t i = 0; i < path_count; i++) {
        if (last == 0) return false;
        if ((at & 1) != 0 || at == last) {
            node_of(&path[i], &hash, &hash);
            for (; (at & 1) == 0 && at != 0; at >>= 1) last >>= 1;
        } else {
            node_of(&hash, &path[i], &hash);
        }
        at >>= 1;
        last >>= 1;
    }
    return last == 0 && memcmp(&hash, root, sizeof hash) == 0;
}
