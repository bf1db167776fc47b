/*
 * codec_canonical.c - one spelling for each value, so that equal metadata has equal bytes: keys
 * sorted, every head in its shortest form, a float in 32 bits where these hold it exactly.
 *
 * The scratch memory holds the pairs of the maps that are open at the moment, the inner ones behind
 * the outer. A guarded body has at most BODY_ITEMS_MAX values, so there is always room.
 */
#include "protocol/codec.h"
#include "protocol/sink.h"
#include "protocol/value.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS_MAX = BODY_ITEMS_MAX / 2 };

struct pair {
    struct text key;
    struct bytes value;
};

struct codec {
    uint32_t pairs_count;
    struct pair pairs[PAIRS_MAX];
};

bool codec_open(struct codec **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return err_set(err, ERR_FATAL, "could not open codec: no memory");
    return true;
}

void codec_close(struct codec *codec)
{
    free(codec);
}

static int pair_compare(const void *a, const void *b)
{
    return text_compare(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

/* JSON has a form for it, which few parsers read. */
static const char NUL_IN_TEXT[] = "NUL in a text is refused";
static bool has_nul(struct text text)
{
    return memchr(text.bytes, '\0', text.length) != NULL;
}

static int pack_real(msgpack_packer *packer, double real)
{
    if (fabs(real) <= (double)FLT_MAX) {
        float single = (float)real;
        if (!islessgreater((double)single, real)) return msgpack_pack_float(packer, single);
    }
    return msgpack_pack_double(packer, real);
}

/* NULL when written, else what is wrong, as all below. */
static const char *write_canonical(struct codec *codec, msgpack_packer *packer, struct bytes *rest,
                                   uint32_t depth);

static const char *write_map(struct codec *codec, msgpack_packer *packer, struct bytes *rest,
                             uint32_t count, uint32_t depth)
{
    struct value key;
    struct pair *pairs = codec->pairs + codec->pairs_count;

    assert(count <= PAIRS_MAX - codec->pairs_count);
    for (uint32_t i = 0; i < count; i++) {
        bool taken = value_read(rest, &key);
        assert(taken);
        if (key.type != VALUE_TEXT) return "keys must be text";
        if (has_nul(key.text)) return NUL_IN_TEXT;
        pairs[i].key = key.text;
        taken = value_take(rest, &pairs[i].value);
        assert(taken);
    }
    qsort(pairs, count, sizeof *pairs, pair_compare);
    codec->pairs_count += count;

    int status = msgpack_pack_map(packer, count);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && text_equal(pairs[i - 1].key, pairs[i].key)) return "doubled key in it";
        status |= msgpack_pack_str_with_body(packer, pairs[i].key.bytes, pairs[i].key.length);
        const char *wrong = write_canonical(codec, packer, &pairs[i].value, depth);
        if (wrong != NULL) return wrong;
    }
    assert(status == 0);
    codec->pairs_count -= count;
    return NULL;
}

static const char *write_array(struct codec *codec, msgpack_packer *packer, struct bytes *rest,
                               uint32_t count, uint32_t depth)
{
    int status = msgpack_pack_array(packer, count);

    assert(status == 0);
    for (uint32_t i = 0; i < count; i++) {
        const char *wrong = write_canonical(codec, packer, rest, depth);
        if (wrong != NULL) return wrong;
    }
    return NULL;
}

static const char *write_canonical(struct codec *codec, msgpack_packer *packer, struct bytes *rest,
                                   uint32_t depth)
{
    struct value value;
    int status = 0;
    bool taken = value_read(rest, &value);

    assert(taken);
    switch (value.type) {
    case VALUE_NIL:
        status = msgpack_pack_nil(packer);
        break;
    case VALUE_BOOL:
        status = value.boolean ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
        break;
    case VALUE_INTEGER:
        status = msgpack_pack_int64(packer, value.integer);
        break;
    case VALUE_LARGE:
        return "integers must fit in 64 signed bits";
    case VALUE_FLOAT:
        if (!isfinite(value.real)) return "NaN and the infinities are refused";
        status = pack_real(packer, value.real);
        break;
    case VALUE_TEXT:
        if (has_nul(value.text)) return NUL_IN_TEXT;
        status = msgpack_pack_str_with_body(packer, value.text.bytes, value.text.length);
        break;
    case VALUE_BINARY:
    case VALUE_EXTENSION:
        return "binary and extension values are refused";
    case VALUE_ARRAY:
    case VALUE_MAP:
        if (depth == METADATA_DEPTH_MAX) return "deeper than 4 levels";
        if (value.type == VALUE_MAP) return write_map(codec, packer, rest, value.count, depth + 1);
        return write_array(codec, packer, rest, value.count, depth + 1);
    }
    assert(status == 0);
    return NULL;
}
_Static_assert(METADATA_DEPTH_MAX == 4, "the sentence says so");

bool msgpack_canonical(struct codec *codec, struct bytes in, struct arena *arena, struct bytes *out,
                       char *problem, size_t problem_size)
{
    msgpack_packer packer;
    struct writer writer = writer_in(arena);
    const char *wrong = msgpack_problem(in);

    *out = (struct bytes){0};
    codec->pairs_count = 0;
    msgpack_packer_init(&packer, &writer, sink_write);
    if (wrong == NULL) wrong = write_canonical(codec, &packer, &in, 0);
    if (wrong == NULL && !writer_keep(&writer, arena, out)) wrong = "no memory is left for it";
    if (wrong == NULL) return true;
    return problem_set(problem, problem_size, "metadata: %s", wrong);
}
