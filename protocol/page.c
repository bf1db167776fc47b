/*
 * page.c - see page.h. A cursor's first half is a sequence number in network byte order, its second
 * one of the digest.
 */
#include "protocol/page.h"

#include "protocol/fingerprint.h"

#include <assert.h>
#include <string.h>

enum { SEQ_SIZE = 8 };
_Static_assert(sizeof((struct uuid *)NULL)->bytes == 2 * SEQ_SIZE, "two halves");

struct uuid page_cursor(const struct page *page, struct text account, int64_t seq)
{
    struct uuid cursor, digest = page_fingerprint(page, account, seq);

    assert(seq > 0);
    for (uint32_t i = 0; i < SEQ_SIZE; i++)
        cursor.bytes[i] = (uint8_t)((uint64_t)seq >> (56 - 8 * i));
    memcpy(cursor.bytes + SEQ_SIZE, digest.bytes, SEQ_SIZE);
    return cursor;
}

bool page_resumes(const struct page *page, struct text account, int64_t *seq)
{
    uint64_t place = 0;

    *seq = 0;
    if (uuid_is_zero(&page->cursor)) return true;
    for (uint32_t i = 0; i < SEQ_SIZE; i++) place = place << 8 | page->cursor.bytes[i];
    if (place == 0 || place > INT64_MAX) return false;
    *seq = (int64_t)place;
    struct uuid wanted = page_cursor(page, account, *seq);
    return uuid_compare(&wanted, &page->cursor) == 0;
}
