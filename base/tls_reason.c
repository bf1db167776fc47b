/*
 * tls_reason.c - why TLS failed, in words that say what to do.
 */
#include "base/bytes.h"
#include "base/tls_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { ADDRESS_SIZE = INET6_ADDRSTRLEN };

/* --- a certificate that is refused ------------------------------------------------------------ */

static void write_time(const ASN1_TIME *time, char *out, size_t size)
{
    struct tm parts;

    if (ASN1_TIME_to_tm(time, &parts) != 1)
        (void)snprintf(out, size, "an unknown time");
    else
        (void)snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900,
                       parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

static void add_word(struct writer *writer, const char *word, size_t size)
{
    static const char comma[] = ", ";

    for (size_t i = 0; i < size; i++)
        if (word[i] <= ' ' || word[i] > '~') return; /* for a log: nothing but a name */
    if (writer->size > 0) write_bytes(writer, comma, sizeof comma - 1);
    write_bytes(writer, word, size);
}

static void add_name(struct writer *writer, const GENERAL_NAME *name)
{
    char address[ADDRESS_SIZE];

    if (name->type == GEN_DNS)
        add_word(writer, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                 (size_t)ASN1_STRING_length(name->d.dNSName));
    if (name->type != GEN_IPADD) return;
    int family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
    if (family == AF_INET6 && ASN1_STRING_length(name->d.iPAddress) != 16) return;
    if (inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), address, sizeof address) ==
        NULL)
        return;
    add_word(writer, address, strlen(address));
}

/* Whom the certificate is for; cut where there is no room. */
static void write_names(const X509 *certificate, char *out, size_t size)
{
    struct writer writer = writer_over((uint8_t *)out, size - 1);
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !writer.overflowed; i++)
        add_name(&writer, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    out[writer.size] = '\0';
    if (writer.size == 0) (void)snprintf(out, size, "nobody");
}

int tls_note_refusal(int is_good, X509_STORE_CTX *context)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(context);

    if (is_good || certificate == NULL) return is_good;
    switch (X509_STORE_CTX_get_error(context)) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        write_time(X509_get0_notAfter(certificate), tls->detail, sizeof tls->detail);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        write_time(X509_get0_notBefore(certificate), tls->detail, sizeof tls->detail);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        write_names(certificate, tls->detail, sizeof tls->detail);
        break;
    default:
        break;
    }
    return is_good;
}

static void write_refusal(const struct tls *tls, const struct tls_options *options, char *out,
                          size_t size)
{
    const char *ca = options->files->ca[0] == '\0' ? "that the system trusts" : options->files->ca;
    long code = SSL_get_verify_result(tls->ssl);

    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        (void)snprintf(out, size, "its certificate expired at %s; renew it", tls->detail);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        (void)snprintf(out, size,
                       "its certificate is good only from %s; are the clocks of both right?",
                       tls->detail);
        return;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        (void)snprintf(out, size,
                       "its certificate is for %s, not for %s; use such a name in the URL, or have "
                       "a certificate made for this one",
                       tls->detail, options->host);
        return;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        (void)snprintf(out, size,
                       "its certificate is signed by no CA %s%s; give the file of its CA",
                       options->files->ca[0] == '\0' ? "" : "in ", ca);
        return;
    default:
        (void)snprintf(out, size, "its certificate is refused: %s",
                       X509_verify_cert_error_string(code));
    }
}

/* --- everything else -------------------------------------------------------------------------- */

const char *tls_error_text(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = ERR_reason_error_string(code);

    ERR_clear_error();
    if (ERR_SYSTEM_ERROR(code)) return strerror(ERR_GET_REASON(code));
    return text == NULL ? "unknown reason" : text;
}

static bool is_alert(unsigned long code)
{
    return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET;
}

static void write_failure(unsigned long code, const struct tls_options *options, char *out,
                          size_t size)
{
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;

    if (code == 0 || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        (void)snprintf(out, size, "%s; is this its port for TLS?",
                       code == 0 && errno != 0 ? strerror(errno) : "it closed the connection");
    else if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION)
        (void)snprintf(out, size, "it has no TLS 1.2 or later; allow it there");
    else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
             reason == SSL_R_HTTP_REQUEST || reason == SSL_R_UNEXPECTED_MESSAGE)
        (void)snprintf(out, size, "it does not speak TLS at this port; use its port for TLS, or %s",
                       options->plain);
    else if (is_alert(code))
        (void)snprintf(out, size, "it refused us: %s; look at its log, and at certfile and keyfile",
                       ERR_reason_error_string(code));
    else
        (void)snprintf(out, size, "%s", tls_error_text());
}

bool tls_explain(const struct tls *tls, const struct tls_options *options, struct err *err)
{
    unsigned long code = ERR_peek_error();
    char reason[ERR_TEXT_SIZE];

    if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        write_refusal(tls, options, reason, sizeof reason);
    else
        write_failure(code, options, reason, sizeof reason);
    ERR_clear_error();
    return err_set(err, ERR_RETRY, "could not connect to %s at %s:%d by TLS: %s", options->server,
                   options->host, options->port, reason);
}

/* A client certificate that TLS 1.3 asks for is missed only after the handshake. */
void tls_explain_end(char why[static TLS_DETAIL_SIZE])
{
    unsigned long code = ERR_peek_error();

    if (is_alert(code))
        (void)snprintf(why, TLS_DETAIL_SIZE, "the server ended TLS: %s; see certfile and keyfile",
                       ERR_reason_error_string(code));
    else if (code != 0 && ERR_GET_REASON(code) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
        (void)snprintf(why, TLS_DETAIL_SIZE, "TLS failed: %s", tls_error_text());
    ERR_clear_error();
}
