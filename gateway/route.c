/*
 * route.c - see route.h. A path has few segments and there are few routes: a look at each will do.
 */
#include "gateway/route.h"

#include <string.h>

static const struct entry {
    const char *method, *path, *word;
    enum command_type query;
} ROUTE_TABLE[ROUTES_COUNT] = {
#define X(name, method, path, word, query) [ROUTE_##name] = {method, path, word, COMMAND_##query},
    ROUTES(X)
#undef X
};

/* What stands for {} is one segment, and not empty. */
static bool path_matches(const char *pattern, const char *path, struct text *id)
{
    while (*pattern != '\0') {
        if (pattern[0] == '{') {
            uint32_t length = (uint32_t)strcspn(path, "/");
            if (length == 0) return false;
            *id = (struct text){path, length};
            path += length;
            pattern += 2;
            continue;
        }
        if (*pattern++ != *path++) return false;
    }
    return *path == '\0';
}

struct route_match route_find(const char *method, const char *path)
{
    struct route_match match = {.route = ROUTE_NONE};
    const char *asked = strcmp(method, "HEAD") == 0 ? "GET" : method;

    for (int i = 0; i < ROUTES_COUNT; i++) {
        struct text id = {0};
        if (!path_matches(ROUTE_TABLE[i].path, path, &id)) continue;
        match.allow = strcmp(ROUTE_TABLE[i].method, "GET") == 0 ? "GET, HEAD" : "POST";
        if (strcmp(ROUTE_TABLE[i].method, asked) != 0) continue;
        return (struct route_match){.route = (enum route)i, .id = id};
    }
    return match;
}

const char *route_word(enum route route)
{
    return route == ROUTE_NONE ? "other" : ROUTE_TABLE[route].word;
}

bool route_writes(enum route route)
{
    return route == ROUTE_OPEN_ACCOUNT || route == ROUTE_CREATE_TRANSACTION;
}

bool route_is_admin(enum route route)
{
    return route >= ROUTE_LIVE && route < ROUTES_COUNT;
}

enum command_type route_query(enum route route)
{
    return ROUTE_TABLE[route].query;
}
