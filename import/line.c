/*
 * line.c - where a line ends, and a line of JSON.
 *
 * Whether a quote is where it may be is the field's business (csv.c). For the line's end it counts
 * only where a field begins, so that a stray one does not swallow the lines that follow.
 */
#include "import/line.h"

#include "protocol/request.h"
#include "protocol/value.h"

#include <string.h>

/* --- where it ends ----------------------------------------------------------------------- */

static size_t csv_size(struct bytes bytes)
{
    bool begins = true, quoted = false;

    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t byte = bytes.data[i];
        bool was_quoted = quoted;
        if (byte == '"' && (quoted || begins))
            quoted = !quoted; /* a doubled one ends the quotes and begins them again */
        else if (byte == '\n' && !quoted)
            return i + 1;
        begins = !quoted && (byte == ',' || was_quoted);
    }
    return 0;
}

size_t line_size(enum format format, struct bytes bytes, bool at_end)
{
    size_t size = 0;

    if (bytes.size == 0) return 0;
    if (format == FORMAT_CSV) {
        size = csv_size(bytes);
    } else {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.size);
        if (end != NULL) size = (size_t)(end - bytes.data) + 1;
    }
    return size == 0 && at_end ? bytes.size : size;
}

struct bytes line_trim(struct bytes line)
{
    if (line.size > 0 && line.data[line.size - 1] == '\n') line.size--;
    if (line.size > 0 && line.data[line.size - 1] == '\r') line.size--;
    return line;
}

/* --- what every line has ----------------------------------------------------------------- */

bool line_is_text(struct bytes text, char problem[static PROBLEM_SIZE])
{
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL)
        return problem_set(problem, PROBLEM_SIZE, "holds a NUL byte");
    if (!utf8_is_valid((struct text){(const char *)text.data, text.size}))
        return problem_set(problem, PROBLEM_SIZE, "is not UTF-8");
    return true;
}

bool line_set_type(struct line *line, struct text word, char problem[static PROBLEM_SIZE])
{
    if (word.length == 0)
        return problem_set(problem, PROBLEM_SIZE, "type: missing; it names the command");
    if (!command_type_parse(word, &line->type))
        return problem_set(problem, PROBLEM_SIZE, "type: '%.*s' is not a command",
                           TEXT_ARGS(problem_quote(word)));
    if (command_changes(line->type)) return true;
    return problem_set(problem, PROBLEM_SIZE, "type: %s changes nothing", command_word(line->type));
}

bool line_set_key(struct line *line, struct text key, char problem[static PROBLEM_SIZE])
{
    line->key = key;
    if (key.length >= 1 && key.length <= KEY_LENGTH_MAX && utf8_is_valid(key) &&
        memchr(key.bytes, '\0', key.length) == NULL)
        return true;
    return problem_set(problem, PROBLEM_SIZE,
                       "key: must be 1 to 128 bytes of UTF-8 text without NUL");
}
_Static_assert(KEY_LENGTH_MAX == 128, "the sentence says so");

bool line_set_time(struct line *line, struct text time, char problem[static PROBLEM_SIZE])
{
    if (time_parse(time, &line->at_us) && line->at_us > 0) return true;
    return problem_set(problem, PROBLEM_SIZE,
                       "at: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z");
}

/* --- JSON -------------------------------------------------------------------------------- */

/* The three keys that are about the line; *taken says whether this is one. */
static bool take_own(struct line *line, struct text name, struct bytes whole, bool *taken,
                     char problem[static PROBLEM_SIZE])
{
    static const struct {
        const char *name;
        bool (*set)(struct line *, struct text, char problem[static PROBLEM_SIZE]);
    } own[] = {{"type", line_set_type}, {"key", line_set_key}, {"at", line_set_time}};
    struct value value;
    size_t i = 0;

    while (i < sizeof own / sizeof own[0] && !text_equal(text_of(own[i].name), name)) i++;
    *taken = i < sizeof own / sizeof own[0];
    if (!*taken) return true;
    if (!value_read(&whole, &value) || value.type != VALUE_TEXT)
        return problem_set(problem, PROBLEM_SIZE, "%s: must be a text", own[i].name);
    return own[i].set(line, value.text, problem);
}

/* What is not about the line is the command's: copied as it is, behind a head that counts it. */
static bool take_pairs(struct line *line, struct bytes map, uint32_t pairs, struct writer *writer,
                       uint32_t *kept, char problem[static PROBLEM_SIZE])
{
    for (*kept = 0; pairs > 0; pairs--) {
        struct bytes name, value, at;
        struct value text;
        bool taken;

        if (!value_take(&map, &name) || !value_take(&map, &value))
            return problem_set(problem, PROBLEM_SIZE, "cut short");
        at = name;
        if (!value_read(&at, &text)) return problem_set(problem, PROBLEM_SIZE, "cut short");
        if (!take_own(line, text.text, value, &taken, problem)) return false;
        if (taken) continue;
        write_bytes(writer, name.data, name.size);
        write_bytes(writer, value.data, value.size);
        ++*kept;
    }
    return true;
}

enum { MAP32 = 0xdf, MAP32_SIZE = 5 };

static void set_count(uint8_t head[static MAP32_SIZE], uint32_t count)
{
    struct writer writer = writer_over(head, MAP32_SIZE);

    write_u8(&writer, MAP32);
    write_u32(&writer, count);
}

bool line_of_json(struct codec *codec, struct bytes text, struct text key, struct arena *arena,
                  struct line *out, char problem[static PROBLEM_SIZE])
{
    uint8_t head[MAP32_SIZE] = {0};
    struct bytes map;
    struct value value;
    uint32_t kept;

    *out = (struct line){.type = COMMANDS_COUNT, .key = key};
    if (!line_is_text(text, problem) ||
        !json_to_msgpack(codec, text, arena, &map, problem, PROBLEM_SIZE))
        return false;
    if (!value_read(&map, &value) || value.type != VALUE_MAP)
        return problem_set(problem, PROBLEM_SIZE, "must be an object");
    struct writer writer = writer_in(arena);
    write_bytes(&writer, head, sizeof head);
    if (!take_pairs(out, map, value.count, &writer, &kept, problem)) return false;
    if (!writer.overflowed) set_count(writer.data, kept);
    if (!writer_keep(&writer, arena, &out->body))
        return problem_set(problem, PROBLEM_SIZE, "no memory is left for it");
    return out->type != COMMANDS_COUNT || line_set_type(out, (struct text){0}, problem);
}
