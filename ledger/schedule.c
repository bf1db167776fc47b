/*
 * schedule.c - see schedule.h.
 */
#include "ledger/schedule.h"

enum { TRACE_HEADERS_MAX = 3 };

bool schedule_keep(struct codec *codec, const struct request *request, struct arena *arena,
                   struct bytes *properties, struct bytes *body)
{
    const struct trace *trace = &request->trace;
    struct command command = request->command;
    struct header headers[TRACE_HEADERS_MAX];
    char traceparent[TRACEPARENT_SIZE];
    uint32_t count = 0;

    traceparent_format(trace, traceparent);
    headers[count++] =
        (struct header){.name = TEXT_LITERAL("traceparent"), .text = text_of(traceparent)};
    if (trace->tracestate.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("tracestate"), .text = trace->tracestate};
    if (trace->verbatim.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("x-trace-id"), .text = trace->verbatim};
    struct properties_out out = {.content_type = text_of(encoding_content_type(ENCODING_MSGPACK)),
                                 .type = text_of(command_word(command.type)),
                                 .message_id = request->key,
                                 .app_id = request->properties.app_id,
                                 .user_id = request->properties.user_id,
                                 .headers = headers,
                                 .headers_count = count};
    command.conditions.not_before_us = 0;
    return properties_write(&out, arena, properties) &&
           command_encode(codec, &command, ENCODING_MSGPACK, arena, body);
}
