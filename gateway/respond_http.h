/*
 * respond_http.h - answers and pages as libmicrohttpd's responses, with the headers that every one
 * of them carries.
 */
#ifndef GATEWAY_RESPOND_HTTP_H
#define GATEWAY_RESPOND_HTTP_H

#include "gateway/answer.h"
#include "protocol/trace.h"

#include <microhttpd.h>

/* The body is copied. last: the connection is not kept. */
enum MHD_Result respond_answer(struct MHD_Connection *connection, const struct answer *answer,
                               const struct trace *trace, bool last);
/* /metrics, /health and such, /openapi.json. */
enum MHD_Result respond_admin(struct MHD_Connection *connection, const char *path,
                              const struct trace *trace, unsigned *code);

#endif
