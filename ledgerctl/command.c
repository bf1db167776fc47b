/*
 * command.c - verbs that are commands and queries: from arguments to a call, from the reply to an
 * exit code.
 */
#include "base/clock.h"
#include "ledgerctl/ledgerctl.h"
#include "protocol/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The verb is the command's word with dashes. */
static bool type_of_verb(const char *verb, enum command_type *type)
{
    char word[32];
    size_t length = strlen(verb);

    if (length >= sizeof word) return false;
    for (size_t i = 0; i <= length; i++) word[i] = verb[i] == '-' ? '_' : verb[i];
    return command_type_parse(text_of(word), type);
}

enum exit_code parse_amount(const struct options *options, const char *text, struct amount *out)
{
    if (!amount_parse(text_of(text), out))
        return complain(EXIT_USAGE,
                        "'%s' is not an amount; give a decimal such as 12.34, or --minor and"
                        " an integer",
                        text);
    if (options->minor && out->digits > 0)
        return complain(EXIT_USAGE, "'%s' has decimals; with --minor an amount is an integer",
                        text);
    out->is_decimal = !options->minor;
    return EXIT_DONE;
}

static enum exit_code parse_metadata(const struct options *options, struct codec *codec,
                                     struct arena *arena, struct bytes *out)
{
    char problem[PROBLEM_SIZE];
    struct bytes json, packed;

    if (options->metadata == NULL) return EXIT_DONE;
    json = (struct bytes){(const uint8_t *)options->metadata, (uint32_t)strlen(options->metadata)};
    if (!json_to_msgpack(codec, json, arena, &packed, problem, sizeof problem) ||
        !msgpack_canonical(codec, packed, arena, out, problem, sizeof problem))
        return complain(EXIT_USAGE, "--metadata: %s", problem);
    return EXIT_DONE;
}

static enum exit_code parse_id(const char *text, struct uuid *out)
{
    if (uuid_parse(text_of(text), out)) return EXIT_DONE;
    return complain(EXIT_USAGE, "'%s' is not a transaction's UUID", text);
}

enum exit_code parse_number(const char *name, const char *text, int64_t least, int64_t most,
                            int64_t *out)
{
    char *end;

    errno = 0;
    long long value = strtoll(text, &end, 10);
    *out = value;
    if (errno == 0 && end != text && *end == '\0' && value >= least && value <= most)
        return EXIT_DONE;
    return complain(EXIT_USAGE, "%s is an integer of %jd to %jd", name, (intmax_t)least,
                    (intmax_t)most);
}

static enum exit_code fill_open(const struct options *options, struct command *command)
{
    if (options->user == NULL || options->asset == NULL)
        return complain(EXIT_USAGE, "open-account needs --user and --asset");
    command->user_id = text_of(options->user);
    command->name = text_of(options->name);
    if (options->kind != NULL && strcmp(options->kind, "system") == 0)
        command->kind = ACCOUNT_SYSTEM;
    else if (options->kind != NULL && strcmp(options->kind, "user") != 0)
        return complain(EXIT_USAGE, "--kind is user or system");
    return EXIT_DONE;
}

/* What is about a hold or a transaction; an amount may follow. */
static enum exit_code fill_target(const struct options *options, char **arguments,
                                  struct command *command)
{
    enum exit_code code = parse_id(arguments[0], &command->transaction);

    command->to = text_of(options->to);
    command->keeps_rest = options->keep_rest;
    if (code != EXIT_DONE || arguments[1] == NULL) return code;
    command->has_amount = true;
    return parse_amount(options, arguments[1], &command->amount);
}

static enum exit_code fill_hold(const struct options *options, char **arguments,
                                struct command *command)
{
    int64_t seconds = 0;

    if (options->expires_in != NULL && parse_number("--expires-in", options->expires_in, 1,
                                                    HOLD_SECONDS_MAX, &seconds) != EXIT_DONE)
        return EXIT_USAGE;
    command->expires_in_s = (uint32_t)seconds;
    return parse_amount(options, arguments[1], &command->amount);
}

static enum exit_code fill_conditions(const struct options *options, struct command *command)
{
    struct conditions *conditions = &command->conditions;

    command->dry_run = options->dry_run;
    if (options->if_seq != NULL &&
        parse_number("--if-seq", options->if_seq, 0, INT64_MAX, &conditions->if_seq) != EXIT_DONE)
        return EXIT_USAGE;
    conditions->has_if_seq = options->if_seq != NULL;
    conditions->has_if_balance = options->if_balance != NULL;
    if (conditions->has_if_balance &&
        parse_amount(options, options->if_balance, &conditions->if_balance) != EXIT_DONE)
        return EXIT_USAGE;
    if (parse_time("--not-before", options->not_before, &conditions->not_before_us) != EXIT_DONE)
        return EXIT_USAGE;
    return parse_time("--not-after", options->not_after, &conditions->not_after_us);
}

/* A JSON list of commands from a file; "-" is standard input. */
static enum exit_code fill_batch(const struct options *options, struct codec *codec,
                                 struct arena *arena, const char *path, struct command *command)
{
    char problem[PROBLEM_SIZE];
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    uint8_t *json = arena_take(arena, BODY_SIZE_MAX);

    if (file == NULL || json == NULL)
        return complain(EXIT_USAGE, "could not open %s: %s", path, strerror(errno));
    size_t size = fread(json, 1, BODY_SIZE_MAX, file);
    bool whole = feof(file) && !ferror(file);
    if (file != stdin && fclose(file) != 0) whole = false;
    if (!whole)
        return complain(EXIT_USAGE, "could not read %s, or it is over %d bytes", path,
                        BODY_SIZE_MAX);
    command->independent = options->independent;
    if (json_to_msgpack(codec, (struct bytes){json, (uint32_t)size}, arena, &command->legs, problem,
                        sizeof problem))
        return EXIT_DONE;
    return complain(EXIT_USAGE, "%s: %s", path, problem);
}

static enum exit_code fill(const struct options *options, struct codec *codec, struct arena *arena,
                           char **arguments, struct command *command)
{
    command->asset = text_of(options->asset);
    switch (command->type) {
    case COMMAND_OPEN_ACCOUNT:
        command->account = text_of(arguments[0]);
        return fill_open(options, command);
    case COMMAND_DEPOSIT:
    case COMMAND_WITHDRAW:
        command->account = text_of(arguments[0]);
        return parse_amount(options, arguments[1], &command->amount);
    case COMMAND_TRANSFER:
        command->from = text_of(arguments[0]);
        command->to = text_of(arguments[1]);
        return parse_amount(options, arguments[2], &command->amount);
    case COMMAND_HOLD:
        command->account = text_of(arguments[0]);
        return fill_hold(options, arguments, command);
    case COMMAND_CAPTURE:
    case COMMAND_RELEASE:
    case COMMAND_EXPIRE_HOLD:
    case COMMAND_REVERSE:
        return fill_target(options, arguments, command);
    case COMMAND_FREEZE_ACCOUNT:
    case COMMAND_UNFREEZE_ACCOUNT:
        command->account = text_of(arguments[0]);
        if (options->direction != NULL &&
            !direction_parse(text_of(options->direction), &command->direction))
            return complain(EXIT_USAGE, "--direction is in, out or both");
        return EXIT_DONE;
    case COMMAND_SET_FLOOR:
        command->account = text_of(arguments[0]);
        return parse_amount(options, arguments[1], &command->amount);
    case COMMAND_BATCH:
        return fill_batch(options, codec, arena, arguments[0], command);
    case COMMAND_CLOSE_ACCOUNT:
    case COMMAND_GET_ACCOUNT:
        command->account = text_of(arguments[0]);
        return EXIT_DONE;
    case COMMAND_GET_BALANCE:
        command->account = text_of(arguments[0]);
        return fill_as_of(options, command);
    case COMMAND_LIST_TRANSACTIONS:
        command->account = text_of(arguments[0]);
        return fill_page(options, command);
    case COMMAND_UPDATE_USER:
        command->user_id = text_of(arguments[0]);
        command->name = text_of(options->name);
        return EXIT_DONE;
    case COMMAND_GET_USER:
        command->user_id = text_of(arguments[0]);
        return EXIT_DONE;
    case COMMAND_CANCEL:
    case COMMAND_GET_TRANSACTION:
        return parse_id(arguments[0], &command->transaction);
    case COMMANDS_COUNT:
        break;
    }
    return complain(EXIT_USAGE, "no such command");
}

static enum exit_code send(const struct options *options, struct codec *codec,
                           const struct ledger_call *call)
{
    struct ledger_client_options client_options = {
        .url = options->amqp_url,
        .prefix = options->prefix,
        .app_id = options->app_id,
        .user_id = options->user_id[0] != '\0' ? options->user_id : NULL};
    struct ledger_client *client;
    struct reply reply = {0};
    struct err err = {0};
    enum exit_code code = EXIT_DONE;

    if (!ledger_client_open(&client, &client_options, &err)) return complain_err(&err);
    if (options->no_wait) {
        if (!ledger_client_publish(client, call, 1, &err)) code = complain_err(&err);
    } else if (!ledger_client_call(client, call, options->timeout_ms, &reply, &err)) {
        code = complain_err(&err);
    } else {
        print_reply(options, codec, &reply);
        if (result_error(reply.result)[0] != '\0') code = EXIT_FAILED;
    }
    ledger_client_close(client);
    return code;
}

enum exit_code run_command(const struct options *options, const char *verb, char **arguments)
{
    struct ledger_call call = {.idempotency_key = text_of(options->key),
                               .traceparent = text_of(options->traceparent),
                               .trace_id = text_of(options->trace_id),
                               .deadline = text_of(options->deadline)};
    uint8_t random[UUID_RANDOM_SIZE];
    char key[UUID_TEXT_SIZE];
    struct codec *codec = NULL;
    struct arena arena = {0};
    struct err err = {0};
    enum exit_code code;

    if (!type_of_verb(verb, &call.command.type)) return complain(EXIT_USAGE, "no such command");
    if (command_changes(call.command.type) && options->key == NULL) {
        random_bytes(random, sizeof random);
        struct uuid made = uuid_v7((uint64_t)clock_wall_us() / 1000, random);
        uuid_format(&made, key);
        call.idempotency_key = text_of(key);
        (void)fprintf(stderr, "key %s\n", key);
    }
    if (!codec_open(&codec, &err) || !arena_open(&arena, 8 << 20, &err)) {
        code = complain_err(&err);
    } else {
        code = fill(options, codec, &arena, arguments, &call.command);
        if (code == EXIT_DONE) code = fill_conditions(options, &call.command);
        if (code == EXIT_DONE)
            code = parse_metadata(options, codec, &arena, &call.command.metadata);
        if (code == EXIT_DONE) code = send(options, codec, &call);
    }
    arena_close(&arena);
    codec_close(codec);
    return code;
}
