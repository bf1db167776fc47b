/*
 * jwt.c - see jwt.h. The order: the algorithm is one that is allowed and fits the key, then the
 * signature, and only then what the token claims. A token never chooses how it is judged: a key is
 * used for its own kind of signature alone, so a public key is nobody's shared secret.
 */
#include "gateway/jwt.h"

#include <assert.h>
#include <cjose/cjose.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_SIZE = 16, US_PER_S = 1000000 };

struct jwt_key {
    cjose_jwk_t *jwk;
    char algorithm[WORD_SIZE]; /* the only one it is for; empty: any of its kind */
};

struct jwt_keys {
    struct jwt_key keys[JWT_KEYS_MAX];
    uint32_t count;
};

static const struct {
    const char *name;
    cjose_jwk_kty_t kind;
    cjose_jwk_ec_curve curve; /* of an elliptic key */
} ALGORITHMS[] = {
    {"RS256", CJOSE_JWK_KTY_RSA, CJOSE_JWK_EC_INVALID},
    {"RS384", CJOSE_JWK_KTY_RSA, CJOSE_JWK_EC_INVALID},
    {"RS512", CJOSE_JWK_KTY_RSA, CJOSE_JWK_EC_INVALID},
    {"PS256", CJOSE_JWK_KTY_RSA, CJOSE_JWK_EC_INVALID},
    {"PS384", CJOSE_JWK_KTY_RSA, CJOSE_JWK_EC_INVALID},
    {"PS512", CJOSE_JWK_KTY_RSA, CJOSE_JWK_EC_INVALID},
    {"ES256", CJOSE_JWK_KTY_EC, CJOSE_JWK_EC_P_256},
    {"ES384", CJOSE_JWK_KTY_EC, CJOSE_JWK_EC_P_384},
    {"ES512", CJOSE_JWK_KTY_EC, CJOSE_JWK_EC_P_521},
    {"HS256", CJOSE_JWK_KTY_OCT, CJOSE_JWK_EC_INVALID},
    {"HS384", CJOSE_JWK_KTY_OCT, CJOSE_JWK_EC_INVALID},
    {"HS512", CJOSE_JWK_KTY_OCT, CJOSE_JWK_EC_INVALID},
};
enum { ALGORITHMS_COUNT = sizeof ALGORITHMS / sizeof ALGORITHMS[0] };

static int algorithm_of(struct text name)
{
    for (int i = 0; i < ALGORITHMS_COUNT; i++)
        if (text_equal(name, text_of(ALGORITHMS[i].name))) return i;
    return -1;
}

/* The next word of a list; false at its end. */
static bool next_word(struct text *list, char between, struct text *word)
{
    while (list->length > 0 && list->bytes[0] == between)
        *list = (struct text){list->bytes + 1, list->length - 1};
    if (list->length == 0) return false;
    *word = (struct text){list->bytes, 0};
    while (word->length < list->length && list->bytes[word->length] != between) word->length++;
    *list = (struct text){list->bytes + word->length, list->length - word->length};
    return true;
}

bool jwt_rules_check(const struct jwt_rules *rules, struct err *err)
{
    struct text list = text_of(rules->algorithms), word;
    uint32_t count = 0;

    for (; next_word(&list, ',', &word); count++)
        if (algorithm_of(word) < 0)
            return err_set(err, ERR_FATAL, "could not use the algorithm %.*s for tokens",
                           TEXT_ARGS(word));
    if (count > 0 && rules->issuer[0] != '\0' && rules->audience[0] != '\0') return true;
    return err_set(err, ERR_FATAL,
                   "could not judge tokens: issuer, audience and algorithms of a "
                   "token must be given");
}

static bool is_allowed(const struct jwt_rules *rules, struct text name)
{
    struct text list = text_of(rules->algorithms), word;

    while (next_word(&list, ',', &word))
        if (text_equal(word, name)) return true;
    return false;
}

/* --- keys ------------------------------------------------------------------------------------- */

/* Leaves out what it cannot use: a set may hold keys for others. */
static void add_key(struct jwt_keys *keys, json_t *json)
{
    const char *use = json_string_value(json_object_get(json, "use"));
    const char *algorithm = json_string_value(json_object_get(json, "alg"));
    struct jwt_key *key = &keys->keys[keys->count];
    char *text = json_dumps(json, JSON_COMPACT);

    *key = (struct jwt_key){0};
    bool is_ours = text != NULL && (use == NULL || strcmp(use, "sig") == 0) &&
                   text_copy(text_of(algorithm), key->algorithm, sizeof key->algorithm);
    if (is_ours) key->jwk = cjose_jwk_import(text, strlen(text), NULL);
    free(text);
    if (key->jwk != NULL) keys->count++;
}

bool jwt_keys_open(struct jwt_keys **out, struct text json, struct err *err)
{
    struct jwt_keys *keys = calloc(1, sizeof *keys);
    json_t *set = json_loadb(json.bytes, json.length, JSON_REJECT_DUPLICATES, NULL), *one;
    json_t *list = json_object_get(set, "keys");
    size_t i;

    *out = NULL;
    json_array_foreach(list, i, one)
    {
        if (keys != NULL && keys->count < JWT_KEYS_MAX) add_key(keys, one);
    }
    json_decref(set);
    if (keys != NULL && keys->count > 0) {
        *out = keys;
        return true;
    }
    jwt_keys_close(keys);
    return err_set(err, ERR_FATAL,
                   "could not read the JWKS: it is none, or holds no key for "
                   "signatures");
}

void jwt_keys_close(struct jwt_keys *keys)
{
    if (keys == NULL) return;
    for (uint32_t i = 0; i < keys->count; i++) cjose_jwk_release(keys->keys[i].jwk);
    free(keys);
}

static bool fits(const struct jwt_key *key, int algorithm)
{
    const char *name = ALGORITHMS[algorithm].name;

    if (key->algorithm[0] != '\0' && strcmp(key->algorithm, name) != 0) return false;
    if (cjose_jwk_get_kty(key->jwk, NULL) != ALGORITHMS[algorithm].kind) return false;
    return ALGORITHMS[algorithm].kind != CJOSE_JWK_KTY_EC ||
           cjose_jwk_EC_get_curve(key->jwk, NULL) == ALGORITHMS[algorithm].curve;
}

/* A token that names a key is that key's; one that names none may be any's. */
static bool is_named(const struct jwt_key *key, const char *kid)
{
    const char *own = cjose_jwk_get_kid(key->jwk, NULL);

    return kid == NULL || (own != NULL && strcmp(own, kid) == 0);
}

/* --- the signature ---------------------------------------------------------------------------- */

static enum auth_result refuse(char why[static JWT_WHY_SIZE], const char *reason)
{
    (void)snprintf(why, JWT_WHY_SIZE, "%s", reason);
    return AUTH_INVALID;
}

static enum auth_result check_signature(const struct jwt_keys *keys, const struct jwt_rules *rules,
                                        cjose_jws_t *jws, char why[static JWT_WHY_SIZE])
{
    cjose_header_t *header = cjose_jws_get_protected(jws);
    const char *name = cjose_header_get(header, CJOSE_HDR_ALG, NULL);
    const char *kid = cjose_header_get(header, CJOSE_HDR_KID, NULL);
    char *critical = cjose_header_get_raw(header, "crit", NULL);
    bool has_critical = critical != NULL;

    free(critical);
    if (has_critical) return refuse(why, "it asks for an extension");
    int algorithm = name == NULL ? -1 : algorithm_of(text_of(name));
    if (algorithm < 0 || !is_allowed(rules, text_of(name)))
        return refuse(why, "its algorithm is not allowed");
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct jwt_key *key = &keys->keys[i];
        if (fits(key, algorithm) && is_named(key, kid) && cjose_jws_verify(jws, key->jwk, NULL))
            return AUTH_GOOD;
    }
    return refuse(why, "no key has signed it");
}

/* --- the claims ------------------------------------------------------------------------------- */

static bool is_for(json_t *audience, const char *wanted)
{
    json_t *one;
    size_t i;

    if (json_is_string(audience)) return strcmp(json_string_value(audience), wanted) == 0;
    json_array_foreach(audience, i, one)
    {
        const char *text = json_string_value(one);
        if (text != NULL && strcmp(text, wanted) == 0) return true;
    }
    return false;
}

static uint32_t scopes_of(json_t *claims)
{
    const char *scope = json_string_value(json_object_get(claims, "scope"));
    struct text list = text_of(scope), word;
    uint32_t scopes = 0;

    while (next_word(&list, ' ', &word)) {
        if (text_equal(word, TEXT_LITERAL("ledger:read"))) scopes |= SCOPE_READ;
        if (text_equal(word, TEXT_LITERAL("ledger:write"))) scopes |= SCOPE_WRITE;
    }
    return scopes;
}

/* It becomes an AMQP property: printable, and not too long. */
static bool take_caller(json_t *claims, const char *claim, struct identity *out)
{
    json_t *value = json_object_get(claims, claim);
    size_t length = json_string_length(value);

    if (!json_is_string(value) || length == 0 || length >= CALLER_SIZE) return false;
    const char *text = json_string_value(value);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) return false;
    return text_copy((struct text){text, (uint32_t)length}, out->caller, CALLER_SIZE);
}

static enum auth_result check_claims(json_t *claims, const struct jwt_rules *rules, int64_t now_us,
                                     struct identity *out, char why[static JWT_WHY_SIZE])
{
    const char *issuer = json_string_value(json_object_get(claims, "iss"));
    json_t *expiry = json_object_get(claims, "exp"), *start = json_object_get(claims, "nbf");
    double now = (double)now_us / US_PER_S, leeway = rules->leeway_s;

    if (!json_is_object(claims)) return refuse(why, "it claims nothing");
    if (issuer == NULL || strcmp(issuer, rules->issuer) != 0)
        return refuse(why, "somebody else has issued it");
    if (!is_for(json_object_get(claims, "aud"), rules->audience))
        return refuse(why, "it is for somebody else");
    if (!json_is_number(expiry)) return refuse(why, "it never expires");
    if (json_number_value(expiry) + leeway <= now) return refuse(why, "it has expired");
    if (start != NULL && !json_is_number(start)) return refuse(why, "its nbf is no time");
    if (start != NULL && json_number_value(start) - leeway > now)
        return refuse(why, "it is not valid yet");
    if (!take_caller(claims, rules->claim, out)) return refuse(why, "it names no caller");
    out->scopes = scopes_of(claims);
    return AUTH_GOOD;
}

enum auth_result jwt_verify(const struct jwt_keys *keys, const struct jwt_rules *rules,
                            struct text token, int64_t now_us, struct identity *out,
                            char why[static JWT_WHY_SIZE])
{
    uint8_t *payload = NULL; /* the library's */
    size_t size = 0;

    *out = (struct identity){.caller = ""};
    why[0] = '\0';
    if (token.length == 0 || token.length > JWT_SIZE_MAX) return refuse(why, "it is too long");
    cjose_jws_t *jws = cjose_jws_import(token.bytes, token.length, NULL);
    if (jws == NULL) return refuse(why, "it is no signed token");
    enum auth_result result = check_signature(keys, rules, jws, why);
    if (result == AUTH_GOOD && !cjose_jws_get_plaintext(jws, &payload, &size, NULL))
        result = refuse(why, "it is empty");
    if (result == AUTH_GOOD) {
        json_t *claims = json_loadb((const char *)payload, size, JSON_REJECT_DUPLICATES, NULL);
        result = check_claims(claims, rules, now_us, out, why);
        json_decref(claims);
    }
    cjose_jws_release(jws);
    if (result != AUTH_GOOD) *out = (struct identity){.caller = ""};
    return result;
}
