/*
 * openapi.h - the gateway's description, gateway/openapi.json, as it is served; made into C by
 * scripts/embed.
 */
#ifndef GATEWAY_OPENAPI_H
#define GATEWAY_OPENAPI_H

#include <stddef.h>

extern const unsigned char openapi_document[];
extern const size_t openapi_document_size;

#endif
