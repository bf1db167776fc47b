/*
 * health_http.c - the verb health: asks a process on this machine how it is. For the HEALTHCHECK of
 * an image that has neither a shell nor curl. Certificates are not verified, as a probe of
 * Kubernetes does not: it says nothing secret, and 127.0.0.1 is in few of them.
 */
#include "ledgerctl/ledgerctl.h"

#include <curl/curl.h>
#include <stdio.h>

enum { URL_SIZE = 512 };

static size_t to_stdout(char *data, size_t size, size_t count, void *context)
{
    (void)context;
    return fwrite(data, size, count, stdout);
}

static enum exit_code ask(CURL *curl, const char *url, const struct options *options)
{
    long code = 0;

    if (curl_easy_setopt(curl, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, to_stdout) != CURLE_OK)
        return complain(EXIT_FAILED, "could not ask %s: out of memory", url);
    CURLcode result = curl_easy_perform(curl);
    if (result != CURLE_OK)
        return complain(EXIT_CONNECT, "could not ask %s: %s", url, curl_easy_strerror(result));
    if (curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code) != CURLE_OK) return EXIT_FAILED;
    return code == 200 ? EXIT_DONE : EXIT_FAILED;
}

enum exit_code run_health(const struct options *options, const char *verb, char **arguments)
{
    char url[URL_SIZE];

    (void)verb;
    if (arguments[0] == NULL)
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/health/live", options->http_port);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return complain(EXIT_FAILED, "could not set libcurl up");
    CURL *curl = curl_easy_init();
    enum exit_code code = curl == NULL
                              ? complain(EXIT_FAILED, "out of memory")
                              : ask(curl, arguments[0] == NULL ? url : arguments[0], options);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return code;
}
