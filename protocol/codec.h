/*
 * codec.h - bytes from outside to bounded values: msgpack is canonical, JSON is translated from and
 * to it. The one place that calls msgpack-c and jansson.
 *
 * Unpackers that build objects believe claimed lengths (msgpack-c reserves 8 GiB for a 5-byte
 * body). Here msgpack-c only writes: a guard walks the bytes first and demands that every length
 * fit in what follows, within the limits here, and then they are read where they are (value.h).
 */
#ifndef PROTOCOL_CODEC_H
#define PROTOCOL_CODEC_H

#include "base/bytes.h"

enum encoding { ENCODING_MSGPACK, ENCODING_JSON };

enum {
    BODY_SIZE_MAX = 1 << 20, /* bytes; a larger body is dead-lettered unread */
    BODY_DEPTH_MAX = 8,
    BODY_ITEMS_MAX = 1 << 17, /* values in one body, keys among them */
    METADATA_DEPTH_MAX = 4,   /* the map itself is the first level */
};

struct codec; /* scratch memory, reused for every message; one per thread */

MUST_CHECK bool codec_open(struct codec **out, struct err *err);
void codec_close(struct codec *codec); /* NULL is fine */

/* "application/msgpack", "application/x-msgpack", "application/vnd.msgpack", "application/json"
 * (parameters after ';' ignored); the empty type is msgpack. False for any other. */
MUST_CHECK bool encoding_parse(struct text content_type, enum encoding *out);
const char *encoding_content_type(enum encoding encoding);

/* The guard: exactly one value within the limits, texts in UTF-8, nothing after it. NULL when fine,
 * else what is wrong. No recursion, no allocation. json_problem holds JSON to the same limits
 * before a parser that allocates and recurses sees it; whether it is JSON at all, the parser says.
 */
const char *msgpack_problem(struct bytes body);
const char *json_problem(struct bytes body);

/* Translate; problem gets a sentence. Strings must be UTF-8; msgpack bin and ext, keys that are no
 * text, NaN and the infinities have no JSON form and are refused; JSON integers must fit in
 * int64_t; doubled keys are refused. */
MUST_CHECK bool json_to_msgpack(struct codec *codec, struct bytes json, struct arena *arena,
                                struct bytes *out, char *problem, size_t problem_size);
MUST_CHECK bool msgpack_to_json(struct bytes msgpack, struct arena *arena, struct bytes *out);
/* Sorted keys (byte order), shortest forms; nothing that json_to_msgpack would refuse; for
 * metadata: at most METADATA_DEPTH_MAX levels. */
MUST_CHECK bool msgpack_canonical(struct codec *codec, struct bytes in, struct arena *arena,
                                  struct bytes *out, char *problem, size_t problem_size);

/* Of a JSON object of any size the texts under these names, copied into the arena; what is absent
 * is empty. For lines of files, which are larger than a message; the caller bounds their size. */
MUST_CHECK bool json_texts(struct bytes json, const char *const *names, uint32_t count,
                           struct arena *arena, struct text *out, char *problem,
                           size_t problem_size);

bool utf8_is_valid(struct text text); /* RFC 3629: no surrogates, no overlong forms */

/* Fills problem and returns false, as err_set does. What a caller sent may be quoted in it: all
 * that is not printable ASCII becomes '?', so that the sentence can go into any log or reply. */
bool problem_set(char *problem, size_t problem_size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
struct text problem_quote(struct text text); /* as much of it as a sentence should quote */

#endif
