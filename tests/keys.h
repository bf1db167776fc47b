/*
 * keys.h - the keys of RFC 8032, 7.1, tests 1 and 2, in PEM: everybody knows them.
 */
#ifndef TESTS_KEYS_H
#define TESTS_KEYS_H

#define PEM(kind, text) "-----BEGIN " kind " KEY-----\n" text "\n-----END " kind " KEY-----\n"

static const char *const private_pems[] = {
    PEM("PRIVATE", "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g"),
    PEM("PRIVATE", "MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7"),
};
static const char *const public_pems[] = {
    PEM("PUBLIC", "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
    PEM("PUBLIC", "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="),
};

#endif
