/*
 * admin_page.h - what every process shows of itself over HTTP, whoever serves it: /metrics,
 * /health/live, /health/ready, /health.
 */
#ifndef BASE_ADMIN_PAGE_H
#define BASE_ADMIN_PAGE_H

#include <stdbool.h>
#include <stddef.h>

struct admin_page {
    unsigned code; /* HTTP's */
    const char *type;
    char *text; /* malloc'ed, the caller's; NULL: memory is short */
    size_t size;
};

/* False when the path is none of the above. Thread safe. */
bool admin_page(const char *path, struct admin_page *out);

#endif
