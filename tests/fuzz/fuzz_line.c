/*
 * fuzz_line.c - any bytes are a file to be imported: its lines cover it, however it is cut; each is
 * a command or a sentence about what is wrong with it. The first byte chooses the format.
 */
#include "import/csv.h"
#include "protocol/request.h"
#include "tests/fuzz/fuzz.h"

static void check_command(const struct line *line)
{
    char problem[PROBLEM_SIZE] = "";
    struct command command;

    fuzz_check(line->type < COMMANDS_COUNT);
    fuzz_check(command_changes(line->type));
    fuzz_check(line->key.length >= 1 && line->key.length <= KEY_LENGTH_MAX);
    fuzz_check(line->at_us >= 0);
    fuzz_check(msgpack_problem(line->body) == NULL);
    if (!command_decode(fuzz_codec, line->type, ENCODING_MSGPACK, line->body, &fuzz_arena, &command,
                        problem))
        fuzz_check_problem(problem);
}

static void check_line(enum format format, const struct csv *csv, struct bytes text)
{
    char problem[PROBLEM_SIZE] = "";
    struct text key = TEXT_LITERAL("import:x:1");
    struct line line;
    bool ok = format == FORMAT_JSON
                  ? line_of_json(fuzz_codec, text, key, &fuzz_arena, &line, problem)
                  : csv_line(csv, fuzz_codec, text, key, &fuzz_arena, &line, problem);

    if (ok)
        check_command(&line);
    else
        fuzz_check_problem(problem);
}

/* The end of a line does not depend on how much of what follows is here already. */
static void check_cut(enum format format, struct bytes rest, size_t size)
{
    for (uint32_t cut = 0; cut <= size && cut < 64; cut++) {
        size_t found = line_size(format, (struct bytes){rest.data, cut}, false);
        fuzz_check(found == 0 || found == size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum format format = size > 0 && data[0] % 2 == 0 ? FORMAT_CSV : FORMAT_JSON;
    struct bytes rest = {data + (size > 0), (uint32_t)(size - (size > 0))};
    bool has_header = format == FORMAT_JSON;
    char problem[PROBLEM_SIZE] = "";
    struct csv csv;

    for (size_t length; (length = line_size(format, rest, true)) > 0;) {
        struct bytes text = line_trim((struct bytes){rest.data, (uint32_t)length});
        fuzz_begin();
        fuzz_check(length <= rest.size);
        check_cut(format, rest, length);
        if (has_header) {
            check_line(format, &csv, text);
        } else if (csv_header(text, &fuzz_arena, &csv, problem)) {
            has_header = true;
            fuzz_check(csv.count >= 1 && csv.count <= CSV_COLUMNS_MAX);
        } else {
            fuzz_check_problem(problem);
            return 0;
        }
        rest = (struct bytes){rest.data + length, rest.size - (uint32_t)length};
    }
    fuzz_check(rest.size == 0);
    return 0;
}
