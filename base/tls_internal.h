/*
 * tls_internal.h - what tls.c, tls_pump.c and tls_reason.c share, and nobody else includes.
 */
#ifndef BASE_TLS_INTERNAL_H
#define BASE_TLS_INTERNAL_H

#include "base/tls.h"

#include <openssl/ssl.h>
#include <pthread.h>

enum { TLS_DETAIL_SIZE = 160 };

struct tls {
    SSL *ssl; /* this and the sockets are the thread's from when it runs; it closes them */
    int socket, inner;
    uint32_t linger_ms;
    pthread_t thread;
    bool runs;
    char detail[TLS_DETAIL_SIZE]; /* of the certificate that was refused */
    char why[TLS_DETAIL_SIZE];    /* what ended the connection, when TLS has words for it; read
                                   * after the thread has ended */
};

/* Notes what is wrong with a certificate. For SSL_set_verify; app data is the struct tls. */
int tls_note_refusal(int is_good, X509_STORE_CTX *context);
/* Why the handshake failed, and what to do: ERR_RETRY, returns false. Takes OpenSSL's errors. */
bool tls_explain(const struct tls *tls, const struct tls_options *options, struct err *err);
/* OpenSSL's first error in words; takes all of them. */
const char *tls_error_text(void);
/* Words for the end of an established connection; "" when it just ended. Takes OpenSSL's errors. */
void tls_explain_end(char why[static TLS_DETAIL_SIZE]);

/* The thread: carries bytes until either side has ended. context: the struct tls. */
void *tls_pump(void *context);

#endif
