/*
 * page.h - what is asked of an account's past: its balance at a time, and a page of its entries,
 * with the cursor from one page to the next.
 *
 * A cursor is opaque to callers: the place of the last entry that was looked at, and a digest of
 * that, the account and the rest of the question. It keeps a page from being asked for with the
 * cursor of another question; it is no secret, and grants nothing.
 */
#ifndef PROTOCOL_PAGE_H
#define PROTOCOL_PAGE_H

#include "base/uuid.h"

enum { PAGE_ENTRIES = 50, PAGE_ENTRIES_MAX = 200 };

struct page {
    uint32_t limit;            /* 0: PAGE_ENTRIES */
    int64_t from_us, until_us; /* not before, and before; 0: any time */
    int16_t kind;              /* the number of a type of command; 0: any */
    struct uuid trace_id;      /* zero: any */
    bool ascending;            /* else the youngest come first */
    struct uuid cursor;        /* from the last page; zero: the first page */
};

/* A time, or right after a transaction; neither: now. */
struct as_of {
    int64_t time_us;
    struct uuid transaction;
};

/* Behind the entry of this sequence number. */
struct uuid page_cursor(const struct page *page, struct text account, int64_t seq);
/* The sequence number behind which the page begins; 0: at the beginning. False when its cursor is
 * not from a page of the same question. */
MUST_CHECK bool page_resumes(const struct page *page, struct text account, int64_t *seq);

#endif
