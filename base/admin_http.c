/*
 * admin_http.c - see admin_http.h. libmicrohttpd runs the thread; a request is answered from
 * memory, at once.
 */
#include "base/admin_http.h"

#include "base/admin_page.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS_MAX = 64, IDLE_S = 5, MEMORY_SIZE = 8192 };

struct admin {
    struct MHD_Daemon *daemon;
    uint16_t port;
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned code, const char *type,
                               char *text, size_t size, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(size, text, mode);
    enum MHD_Result result;

    if (response == NULL) {
        if (mode == MHD_RESPMEM_MUST_FREE) free(text);
        return MHD_NO;
    }
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) != MHD_YES ||
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") != MHD_YES ||
        (code == MHD_HTTP_METHOD_NOT_ALLOWED &&
         MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") != MHD_YES))
        result = MHD_NO;
    else
        result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_size, void **request)
{
    static char not_found[] =
        "{\"error\":\"not found; try /metrics, /health, /health/live, /health/ready\"}\n";
    static char not_allowed[] = "{\"error\":\"only GET and HEAD\"}\n";
    static const char json[] = "application/json";
    struct admin_page page;

    (void)context;
    (void)version;
    (void)data;
    (void)request;
    *data_size = 0;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, json, not_allowed,
                       sizeof not_allowed - 1, MHD_RESPMEM_PERSISTENT);
    if (admin_page(url, &page))
        return page.text == NULL ? MHD_NO
                                 : respond(connection, page.code, page.type, page.text, page.size,
                                           MHD_RESPMEM_MUST_FREE);
    return respond(connection, MHD_HTTP_NOT_FOUND, json, not_found, sizeof not_found - 1,
                   MHD_RESPMEM_PERSISTENT);
}

bool admin_open(struct admin **out, const char *address, uint16_t port, struct err *err)
{
    struct sockaddr_in bound = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct admin *admin = calloc(1, sizeof *admin);
    const union MHD_DaemonInfo *info;

    *out = NULL;
    if (admin == NULL) return err_set(err, ERR_FATAL, "could not open HTTP: out of memory");
    if (inet_pton(AF_INET, address, &bound.sin_addr) != 1) {
        free(admin);
        return err_set(err, ERR_FATAL, "LEDGER_HTTP_ADDRESS: '%s' is not an IPv4 address", address);
    }
    errno = 0;
    admin->daemon = MHD_start_daemon(
        MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, port, NULL, NULL, answer, NULL,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&bound, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_SIZE, MHD_OPTION_END);
    if (admin->daemon == NULL) {
        free(admin);
        return err_set(err, ERR_FATAL, "could not listen on %s port %u: %s; set LEDGER_HTTP_PORT",
                       address, port, errno != 0 ? strerror(errno) : "unknown reason");
    }
    info = MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_BIND_PORT);
    admin->port = info == NULL ? port : info->port;
    *out = admin;
    return true;
}

uint16_t admin_port(const struct admin *admin)
{
    return admin->port;
}

void admin_close(struct admin *admin)
{
    if (admin == NULL) return;
    MHD_stop_daemon(admin->daemon);
    free(admin);
}
