/*
 * broker.c - the verb broker-definitions: exchanges, queues, bindings, and a RabbitMQ user for each
 * kind of process and each caller whose password lies in the folder, for `rabbitmqctl
 * import_definitions`. With them the processes run under LEDGER_TOPOLOGY=check, and none but the
 * gateway (its own queue of events), webhooks (its queues) and the operator's tool may declare.
 */
#include "ledgerctl/ledgerctl.h"
#include "ledgerctl/password.h"
#include "protocol/names.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

enum { SALT_SIZE = 4, DIGEST_SIZE = 32, PATTERN_SIZE = 256, NAME_SIZE = 256 };

/* %s is the prefix, as a pattern. A reply goes by the default exchange, amq.default; a queue that
 * the broker names is amq.gen-..., which is exclusive to its connection. */
static const struct kind {
    const char *name, *configure, *write, *read;
} KINDS[] = {
    {"worker", "^$", "^amq\\.default$", "^%s\\.commands\\.[0-9]+$"},
    {"relay", "^$", "^(%s\\.(events|dlx)|amq\\.default)$", "^%s\\.dlq$"},
    {"gateway", "^amq\\.gen-.*$", "^(%s\\.commands|amq\\.gen-.*)$", "^(%s\\.events|amq\\.gen-.*)$"},
    {"webhooks", "^%s\\.webhooks(\\..*)?$", "^(%s\\.(dlx|webhooks(\\..*)?)|amq\\.default)$",
     "^%s\\.(events|webhooks(\\..*)?)$"},
    {"operator", "^%s\\.(dlx|dlq(\\.watch\\..*)?)$", "^%s\\.(commands|dlx|dlq(\\.watch\\..*)?)$",
     "^%s\\.(dlx|dlq(\\.watch\\..*)?)$"},
};
/* Replies come by direct reply-to, which needs no right and is nobody else's. */
static const struct kind CALLER = {"caller", "^$", "^%s\\.commands$", "^$"};
enum { KINDS_COUNT = sizeof KINDS / sizeof KINDS[0] };

struct sheet { /* what is being written */
    const struct options *options;
    json_t *users, *permissions;
};

/* The one character of a prefix that means something in a pattern is the point. */
static void pattern_make(const char *format, const char *prefix, char out[static PATTERN_SIZE])
{
    char quoted[2 * (PREFIX_LENGTH_MAX + 1)];
    size_t length = 0;

    for (; *prefix != '\0'; prefix++) {
        if (*prefix == '.') quoted[length++] = '\\';
        quoted[length++] = *prefix;
    }
    quoted[length] = '\0';
    const char *place = strstr(format, "%s");
    (void)snprintf(out, PATTERN_SIZE, "%.*s%s%s", place == NULL ? 0 : (int)(place - format), format,
                   place == NULL ? "" : quoted, place == NULL ? format : place + 2);
}

/* RabbitMQ's own form: base64 of a salt and SHA-256 of salt and password. */
static bool hash_make(const char *password, char *out, struct err *err)
{
    uint8_t salted[SALT_SIZE + PASSWORD_SIZE], hash[SALT_SIZE + DIGEST_SIZE];
    size_t length = strlen(password);

    if (RAND_bytes(hash, SALT_SIZE) != 1)
        return err_set(err, ERR_RETRY, "could not hash a password: no random bytes");
    memcpy(salted, hash, SALT_SIZE);
    memcpy(salted + SALT_SIZE, password, length);
    int ok = EVP_Digest(salted, SALT_SIZE + length, hash + SALT_SIZE, NULL, EVP_sha256(), NULL);
    explicit_bzero(salted, sizeof salted);
    if (ok != 1) return err_set(err, ERR_FATAL, "could not hash a password: no SHA-256");
    (void)EVP_EncodeBlock((unsigned char *)out, hash, sizeof hash);
    return true;
}

static bool add_user(struct sheet *sheet, const char *folder, const char *file, const char *user,
                     const struct kind *kind, struct err *err)
{
    char password[PASSWORD_SIZE], hash[2 * (SALT_SIZE + DIGEST_SIZE)];
    char configure[PATTERN_SIZE], write[PATTERN_SIZE], read[PATTERN_SIZE];
    bool there = false;

    bool ok = password_read(folder, file, password, &there, err) &&
              (!there || hash_make(password, hash, err));
    explicit_bzero(password, sizeof password);
    if (!ok || !there) return ok;
    pattern_make(kind->configure, sheet->options->prefix, configure);
    pattern_make(kind->write, sheet->options->prefix, write);
    pattern_make(kind->read, sheet->options->prefix, read);
    ok = json_array_append_new(sheet->users, json_pack("{ss ss ss s[]}", "name", user,
                                                       "password_hash", hash, "hashing_algorithm",
                                                       "rabbit_password_hashing_sha256", "tags")) ==
             0 &&
         json_array_append_new(sheet->permissions, json_pack("{ss ss ss ss ss}", "user", user,
                                                             "vhost", "/", "configure", configure,
                                                             "write", write, "read", read)) == 0;
    return ok || err_set(err, ERR_FATAL, "could not write down the user %s", user);
}

/* FOLDER/callers/NAME is the password of the caller NAME. */
static bool add_callers(struct sheet *sheet, const char *folder, struct err *err)
{
    char path[PATH_MAX];
    struct dirent *entry;
    bool ok = true;

    if (snprintf(path, sizeof path, "%s/callers", folder) >= (int)sizeof path)
        return err_set(err, ERR_FATAL, "could not read %s: the path is too long", folder);
    DIR *callers = opendir(path);
    if (callers == NULL && errno == ENOENT) return true;
    if (callers == NULL)
        return err_set(err, ERR_FATAL, "could not open %s: %s", path, strerror(errno));
    while (ok && (entry = readdir(callers)) != NULL)
        if (entry->d_name[0] != '.')
            ok = add_user(sheet, path, entry->d_name, entry->d_name, &CALLER, err);
    (void)closedir(callers);
    return ok;
}

static json_t *arguments_of(const struct topology_queue *queue)
{
    json_t *out = json_object();

    for (uint32_t i = 0; i < queue->arguments_count; i++) {
        const struct topology_argument *argument = &queue->arguments[i];
        json_t *value = argument->is_flag        ? json_boolean(argument->number != 0)
                        : argument->text != NULL ? json_string(argument->text)
                                                 : json_integer(argument->number);
        (void)json_object_set_new(out, argument->name, value);
    }
    return out;
}

static json_t *topology_of(const struct topology *topology)
{
    json_t *exchanges = json_array(), *queues = json_array(), *bindings = json_array();

    for (uint32_t i = 0; i < topology->exchanges_count; i++)
        (void)json_array_append_new(
            exchanges, json_pack("{ss ss ss sb sb sb s{}}", "name", topology->exchanges[i].name,
                                 "vhost", "/", "type", topology->exchanges[i].type, "durable", 1,
                                 "auto_delete", 0, "internal", 0, "arguments"));
    for (uint32_t i = 0; i < topology->queues_count; i++)
        (void)json_array_append_new(queues,
                                    json_pack("{ss ss sb sb so}", "name", topology->queues[i].name,
                                              "vhost", "/", "durable", 1, "auto_delete", 0,
                                              "arguments", arguments_of(&topology->queues[i])));
    for (uint32_t i = 0; i < topology->bindings_count; i++) {
        const struct topology_binding *binding = &topology->bindings[i];
        (void)json_array_append_new(
            bindings, json_pack("{ss ss ss ss ss s{}}", "source", binding->source, "vhost", "/",
                                "destination", binding->destination, "destination_type",
                                binding->to_exchange ? "exchange" : "queue", "routing_key",
                                binding->key, "arguments"));
    }
    return json_pack("{so so so}", "exchanges", exchanges, "queues", queues, "bindings", bindings);
}

static bool add_users(struct sheet *sheet, const char *folder, struct err *err)
{
    for (size_t i = 0; i < KINDS_COUNT; i++) {
        char user[NAME_SIZE];
        (void)snprintf(user, sizeof user, "%s-%s", sheet->options->prefix, KINDS[i].name);
        if (!add_user(sheet, folder, KINDS[i].name, user, &KINDS[i], err)) return false;
    }
    return add_callers(sheet, folder, err);
}

enum exit_code run_broker_definitions(const struct options *options, const char *verb,
                                      char **arguments)
{
    static struct names names;
    static struct names_topology topology;
    struct err err = {0};
    struct sheet sheet = {.options = options};

    (void)verb;
    if (!names_make(&names, options->prefix, options->shards, &err)) return complain_err(&err);
    names_topology(&names, &topology);
    json_t *out = topology_of(&topology.topology);
    if (out == NULL) return complain(EXIT_FAILED, "could not write the definitions: out of memory");
    sheet.users = json_array();
    sheet.permissions = json_array();
    (void)json_object_set_new(out, "vhosts", json_pack("[{ss}]", "name", "/"));
    (void)json_object_set_new(out, "users", sheet.users);
    (void)json_object_set_new(out, "permissions", sheet.permissions);
    bool ok = add_users(&sheet, arguments[0], &err);
    if (ok && json_array_size(sheet.users) == 0)
        ok = err_set(&err, ERR_FATAL,
                     "%s has none of worker, relay, gateway, webhooks, operator, callers/NAME",
                     arguments[0]);
    if (ok &&
        (json_dumpf(out, stdout, JSON_INDENT(1)) != 0 || puts("") == EOF || fflush(stdout) != 0))
        ok = err_set(&err, ERR_FATAL, "could not write the definitions: %s", strerror(errno));
    json_decref(out);
    return ok ? EXIT_DONE : complain_err(&err);
}
