/*
 * db_kind_pg.c - the one place that knows SQLSTATEs. Everything above sees a kind: RETRY, REJECT or
 * FATAL. (The codes: PostgreSQL documentation, appendix A.)
 *
 * A text never holds an error's DETAIL, which quotes whole rows.
 */
#include "base/db_internal_pg.h"

#include <string.h>

enum { SQLSTATE_LENGTH = 5 };

/* The first row that the SQLSTATE begins with decides; what is not listed is FATAL: a statement of
 * ours is wrong, or the server is broken. */
static const struct {
    const char *prefix;
    enum err_kind kind;
    const char *hint;
} kinds[] = {
    {"08", ERR_RETRY, ""},    /* connection */
    {"22", ERR_REJECT, ""},   /* data */
    {"23505", ERR_RETRY, ""}, /* unique: run again, the batch finds what the other one stored */
    {"23", ERR_REJECT, ""},   /* constraints */
    {"25", ERR_RETRY, ""},    /* transaction state: failed, timed out idle, read-only standby */
    {"3F000", ERR_FATAL, "; run ledgerctl migrate"}, /* no such schema */
    {"40", ERR_RETRY, ""},                           /* serialization, deadlock */
    {"42501", ERR_FATAL, "; grant this login one of the ledger's roles"},
    {"42703", ERR_FATAL, "; run ledgerctl migrate"}, /* no such column */
    {"42P01", ERR_FATAL, "; run ledgerctl migrate"}, /* no such table */
    {"53", ERR_RETRY, ""},                           /* memory, disk, connections */
    {"54", ERR_REJECT, ""},                          /* too large, too complex */
    {"55", ERR_RETRY, ""},                           /* lock not available, in use */
    {"57", ERR_RETRY, ""},                           /* cancelled (also by a timeout), shutdown */
    {"58", ERR_RETRY, ""},                           /* the server's own input and output */
};

static enum err_kind kind_of(const char *sqlstate, const char **hint)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strncmp(sqlstate, kinds[i].prefix, strlen(kinds[i].prefix)) != 0) continue;
        *hint = kinds[i].hint;
        return kinds[i].kind;
    }
    *hint = "";
    return ERR_FATAL;
}

/* libpq's own words, several lines, without advice (indented) and places in the server's source. */
static bool set_lines(struct err *err, enum err_kind kind, const char *verb, const char *lines)
{
    char text[ERR_TEXT_SIZE];
    struct writer writer = writer_over(text, sizeof(text));

    while (*lines != '\0') {
        size_t length = strcspn(lines, "\n");
        bool told = lines[0] != '\t' && strncmp(lines, "LOCATION:", strlen("LOCATION:")) != 0;
        if (told && writer.size > 0) write_u8(&writer, ' ');
        if (told) write_bytes(&writer, lines, length);
        lines += length + (lines[length] == '\n');
    }
    return err_set(err, kind, "could not %s: %.*s", verb, (int)writer.size, text);
}

bool db_kind_of_result(const PGresult *result, const char *statement, struct err *err)
{
    const char *what = statement == NULL ? "SQL" : statement;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = "";

    if (sqlstate == NULL || message == NULL) { /* libpq made it up: the link broke */
        set_lines(err, ERR_RETRY, "reach PostgreSQL", PQresultErrorMessage(result));
        return err_wrap(err, "could not run %s", what);
    }
    enum err_kind kind = kind_of(sqlstate, &hint);
    if (statement == NULL) hint = "";
    return err_set(err, kind, "could not run %s: %s (SQLSTATE %s)%s", what, message, sqlstate,
                   hint);
}

bool db_kind_ends_link(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (severity == NULL || sqlstate == NULL) return true;
    if (strcmp(severity, "ERROR") != 0) return true;         /* FATAL, PANIC: the session ends */
    return strncmp(sqlstate, "25006", SQLSTATE_LENGTH) == 0; /* a standby: look for the primary */
}

/* While connecting libpq keeps the SQLSTATE to itself, but with PQERRORS_VERBOSE it is in the text:
 * "... failed: FATAL:  28P01: password authentication failed ...". The last one is that of the last
 * server tried. */
static const char *sqlstate_in(const char *message)
{
    const char *found = NULL;
    for (const char *at = strstr(message, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        const char *code = at + 3;
        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == SQLSTATE_LENGTH &&
            code[SQLSTATE_LENGTH] == ':')
            found = code;
    }
    return found;
}

bool db_kind_of_connect(const PGconn *conn, struct err *err)
{
    const char *message = PQerrorMessage(conn);
    const char *sqlstate = sqlstate_in(message);
    const char *hint = "";
    enum err_kind kind = ERR_RETRY;

    if (sqlstate != NULL) kind = kind_of(sqlstate, &hint);
    if (PQconnectionNeedsPassword(conn)) kind = ERR_FATAL; /* it asks for one, and none is set */
    return set_lines(err, kind, "connect to PostgreSQL", message);
}
