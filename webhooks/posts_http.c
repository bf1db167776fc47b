/*
 * posts_http.c - see posts_http.h.
 */
#include "webhooks/posts_http.h"

#include "base/version.h"
#include "webhooks/address.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define USER_AGENT "user-agent: ledger-webhooks/" LEDGER_VERSION

enum { ANSWER_MAX = 4096, ANSWER_HEADERS_MAX = 65536, US_PER_MS = 1000, CACHE_MAX = 256 };

struct posts {
    struct posts_options options;
    CURLM *multi;
    struct under_way *first;
    uint32_t count;
};

struct under_way {
    struct under_way *next, **link; /* the pointer that points here */
    CURL *easy;
    struct curl_slist *headers;
    void *context;
    const struct posts *posts;
    size_t answered, headed; /* bytes */
    bool refused;            /* its address is not public */
    bool answered_much;      /* the rest of the answer is not wanted */
};

/* --- what curl asks --------------------------------------------------------------------------- */

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct under_way *one = context;

    if (purpose != CURLSOCKTYPE_IPCXN ||
        (!one->posts->options.allow_private && !address_is_public(&address->addr))) {
        one->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libcurl says which type */
static size_t take_answer(char *data, size_t size, size_t count, void *context)
{
    struct under_way *one = context;

    (void)data;
    one->answered += size * count;
    one->answered_much = one->answered > ANSWER_MAX;
    return one->answered_much ? 0 : size * count;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libcurl says which type */
static size_t take_header(char *data, size_t size, size_t count, void *context)
{
    struct under_way *one = context;

    (void)data;
    one->headed += size * count;
    return one->headed > ANSWER_HEADERS_MAX ? 0 : size * count;
}

/* --- one post --------------------------------------------------------------------------------- */

static void release(struct posts *posts, struct under_way *one)
{
    if (one->easy != NULL) {
        (void)curl_multi_remove_handle(posts->multi, one->easy);
        curl_easy_cleanup(one->easy);
    }
    curl_slist_free_all(one->headers);
    free(one);
}

static void forget(struct posts *posts, struct under_way *one)
{
    *one->link = one->next;
    if (one->next != NULL) one->next->link = one->link;
    posts->count--;
    release(posts, one);
}

static bool add_headers(struct under_way *one, const struct post *post)
{
    static const char *const always[] = {"content-type: application/json",
                                         "accept:", "expect:", USER_AGENT};

    for (size_t i = 0; i < sizeof always / sizeof always[0] + post->headers_count; i++) {
        size_t own = sizeof always / sizeof always[0];
        struct curl_slist *longer =
            curl_slist_append(one->headers, i < own ? always[i] : post->headers[i - own]);
        if (longer == NULL) return false;
        one->headers = longer;
    }
    return true;
}

static bool set_limits(CURL *easy, const struct posts_options *options)
{
    bool ok =
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
                         options->allow_private ? "https,http" : "https") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms) ==
            CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms) == CURLE_OK;
    if (ok && options->ca_file[0] != '\0')
        ok = curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file) == CURLE_OK;
    return ok;
}

static bool set_post(struct under_way *one, const struct post *post)
{
    CURL *easy = one->easy;

    return curl_easy_setopt(easy, CURLOPT_URL, post->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)post->body.size) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDS, (const char *)post->body.data) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, one->headers) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, one) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, one) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, one) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, one) == CURLE_OK;
}

bool posts_start(struct posts *posts, const struct post *post, void *context, struct err *err)
{
    struct under_way *one = calloc(1, sizeof *one);

    if (one == NULL) return err_set(err, ERR_RETRY, "could not post: out of memory");
    one->posts = posts;
    one->context = context;
    one->easy = curl_easy_init();
    if (one->easy == NULL || !add_headers(one, post) || !set_limits(one->easy, &posts->options) ||
        !set_post(one, post) || curl_multi_add_handle(posts->multi, one->easy) != CURLM_OK) {
        release(posts, one);
        return err_set(err, ERR_RETRY, "could not post: libcurl refused the request");
    }
    one->next = posts->first;
    one->link = &posts->first;
    if (one->next != NULL) one->next->link = &one->next;
    posts->first = one;
    posts->count++;
    return true;
}

/* --- all of them ------------------------------------------------------------------------------ */

bool posts_open(struct posts **out, const struct posts_options *options, struct err *err)
{
    struct posts *posts = calloc(1, sizeof *posts);

    *out = posts;
    if (posts == NULL) return err_set(err, ERR_FATAL, "could not open posts: out of memory");
    posts->options = *options;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        (posts->multi = curl_multi_init()) == NULL)
        return err_set(err, ERR_FATAL, "could not open posts: libcurl does not start");
    (void)curl_multi_setopt(posts->multi, CURLMOPT_MAXCONNECTS, (long)CACHE_MAX);
    return true;
}

void posts_close(struct posts *posts)
{
    if (posts == NULL) return;
    for (struct under_way *one = posts->first, *next; one != NULL; one = next) {
        next = one->next;
        release(posts, one);
    }
    (void)curl_multi_cleanup(posts->multi);
    free(posts);
}

uint32_t posts_in_flight(const struct posts *posts)
{
    return posts->count;
}

static void take_result(struct posts *posts, CURL *easy, CURLcode code, struct post_result *out)
{
    struct under_way *one = NULL;
    curl_off_t took_us = 0;
    long status = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&one);
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &took_us);
    *out =
        (struct post_result){.context = one->context, .took_ms = (uint32_t)(took_us / US_PER_MS)};
    if (code == CURLE_OK || one->answered_much)
        out->status = (int)status;
    else if (one->refused)
        out->error = "the address is not a public one";
    else
        out->error = curl_easy_strerror(code);
    forget(posts, one);
}

uint32_t posts_turn(struct posts *posts, uint32_t wait_ms, struct post_result *out, uint32_t max)
{
    uint32_t ended = 0;
    int running, left;

    (void)curl_multi_perform(posts->multi, &running);
    if (wait_ms > 0 && running == (int)posts->count) { /* nothing has ended yet */
        (void)curl_multi_poll(posts->multi, NULL, 0, (int)wait_ms, NULL);
        (void)curl_multi_perform(posts->multi, &running);
    }
    while (ended < max) {
        const CURLMsg *message = curl_multi_info_read(posts->multi, &left);
        if (message == NULL) break;
        if (message->msg == CURLMSG_DONE)
            take_result(posts, message->easy_handle, message->data.result, &out[ended++]);
    }
    return ended;
}

/* --- URLs ------------------------------------------------------------------------------------- */

static bool host_is_allowed(const char *host)
{
    char bare[INET6_ADDRSTRLEN];
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr_in in = {.sin_family = AF_INET};
    size_t length = strlen(host);

    if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
        return address_is_public((const struct sockaddr *)&in);
    if (host[0] != '[') return strcmp(host, "localhost") != 0;
    if (length < 3 || length - 2 >= sizeof bare) return false;
    memcpy(bare, host + 1, length - 2);
    bare[length - 2] = '\0';
    return inet_pton(AF_INET6, bare, &in6.sin6_addr) == 1 &&
           address_is_public((const struct sockaddr *)&in6);
}

static const char *url_problem(CURLU *parsed, const char *url, bool allow_private)
{
    char *scheme = NULL, *host = NULL, *user = NULL;
    const char *problem = NULL;

    if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        problem = "it is no absolute URL";
    else if (curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_OK)
        problem = "it holds a user's name, which would be in every log";
    else if (strcmp(scheme, "https") != 0 && !(allow_private && strcmp(scheme, "http") == 0))
        problem = "it must begin with https://";
    else if (!allow_private && !host_is_allowed(host))
        problem = "its address is not a public one";
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    return problem;
}

bool post_url_is_allowed(const char *url, bool allow_private, struct err *err)
{
    CURLU *parsed = curl_url();
    const char *problem =
        parsed == NULL ? "out of memory" : url_problem(parsed, url, allow_private);

    curl_url_cleanup(parsed);
    return problem == NULL || err_set(err, ERR_REJECT, "could not take the URL: %s", problem);
}
