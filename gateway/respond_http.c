/*
 * respond_http.c - see respond_http.h.
 */
#include "gateway/respond_http.h"

#include "base/admin_page.h"
#include "gateway/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

/* What the answer may be kept for, and who may ask. */
static bool add_terms(struct MHD_Response *response, const struct answer *answer)
{
    bool kept = answer->etag[0] != '\0';
    bool ok = add(response, MHD_HTTP_HEADER_CACHE_CONTROL, kept ? "private, no-cache" : "no-store");

    if (kept) ok = add(response, MHD_HTTP_HEADER_ETAG, answer->etag) && ok;
    if (answer->challenge != NULL)
        ok = add(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, answer->challenge) && ok;
    if (answer->rate_policy != NULL)
        ok = add(response, "RateLimit-Policy", answer->rate_policy) &&
             add(response, "RateLimit", answer->rate_state) && ok;
    return ok;
}

/* As the caller gave it, or our own. */
static bool add_trace(struct MHD_Response *response, const struct trace *trace)
{
    char traceparent[TRACEPARENT_SIZE], id[TRACE_VERBATIM_MAX + 1];

    traceparent_format(trace, traceparent);
    if (trace->verbatim.length == 0 || !text_copy(trace->verbatim, id, sizeof id))
        uuid_format_hex(&trace->trace_id, id);
    return add(response, "traceparent", traceparent) && add(response, "X-Trace-Id", id);
}

static bool add_number(struct MHD_Response *response, const char *name, uint32_t value)
{
    char text[12];

    (void)snprintf(text, sizeof text, "%u", value);
    return add(response, name, text);
}

enum MHD_Result respond_answer(struct MHD_Connection *connection, const struct answer *answer,
                               const struct trace *trace, bool last)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->body.size, (void *)(uintptr_t)answer->body.data, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_NO;

    if (response == NULL) return MHD_NO;
    const char *type = answer->is_problem ? "application/problem+json" : "application/json";
    bool ok = add_trace(response, trace) && add_terms(response, answer);
    if (answer->body.size > 0) ok = add(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) && ok;
    if (answer->replayed) ok = add(response, "Idempotent-Replayed", "true") && ok;
    if (answer->retry_after_s > 0)
        ok = add_number(response, MHD_HTTP_HEADER_RETRY_AFTER, answer->retry_after_s) && ok;
    if (last) ok = add(response, MHD_HTTP_HEADER_CONNECTION, "close") && ok;
    if (answer->allow != NULL) ok = add(response, MHD_HTTP_HEADER_ALLOW, answer->allow) && ok;
    if (ok) result = MHD_queue_response(connection, answer->code, response);
    MHD_destroy_response(response);
    return result;
}

static bool page_of(const char *path, struct admin_page *page)
{
    if (strcmp(path, "/openapi.json") != 0) return admin_page(path, page);
    *page = (struct admin_page){.code = MHD_HTTP_OK,
                                .type = "application/json",
                                .text = (char *)(uintptr_t)openapi_document,
                                .size = openapi_document_size};
    return true;
}

enum MHD_Result respond_admin(struct MHD_Connection *connection, const char *path,
                              const struct trace *trace, unsigned *code)
{
    struct admin_page page;
    enum MHD_Result result = MHD_NO;

    if (!page_of(path, &page) || page.text == NULL) return MHD_NO;
    bool is_static = page.text == (const char *)openapi_document;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        page.size, page.text, is_static ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        if (!is_static) free(page.text);
        return MHD_NO;
    }
    *code = page.code;
    if (add(response, MHD_HTTP_HEADER_CONTENT_TYPE, page.type) && add_trace(response, trace) &&
        add(response, MHD_HTTP_HEADER_CACHE_CONTROL, is_static ? "no-cache" : "no-store"))
        result = MHD_queue_response(connection, page.code, response);
    MHD_destroy_response(response);
    return result;
}
