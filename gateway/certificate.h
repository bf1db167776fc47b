/*
 * certificate.h - the certificate of this gateway, read again when its files change, so that a
 * renewal needs no restart. One a process: who asks for it (GnuTLS, in a handshake) brings no
 * context. All thread safe.
 */
#ifndef GATEWAY_CERTIFICATE_H
#define GATEWAY_CERTIFICATE_H

#include "base/err.h"

#include <gnutls/abstract.h>

/* PEM files: the certificate with its chain behind it, and the key. The paths are kept. ERR_FATAL
 * when they cannot be used. */
MUST_CHECK bool certificate_open(const char *cert_path, const char *key_path, struct err *err);
void certificate_close(void); /* when no handshake can be under way; never opened is fine */

/* Looks at the files. *changed: others are in use from now on. False, and the old ones stay in use,
 * when what is there now cannot be used (one of the two may still be the old one): look again. */
MUST_CHECK bool certificate_refresh(bool *changed, struct err *err);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK2: copies, which GnuTLS frees. */
int certificate_choose(gnutls_session_t session, const struct gnutls_cert_retr_st *asked,
                       gnutls_pcert_st **chain, unsigned *chain_length, gnutls_ocsp_data_st **ocsp,
                       unsigned *ocsp_length, gnutls_privkey_t *key, unsigned *flags);

#endif
