/*
 * tls.h
 *		What is asked of TLS beyond libcurl's own options.
 */
#ifndef KEYPUP_TLS_H
#define KEYPUP_TLS_H

#include <curl/curl.h>

/*
 * Of TLS 1.2, what agrees on a key for one connection only: whoever gets the
 * server's key later reads nothing that was recorded (RFC 9325, 4.1). All of
 * TLS 1.3 does.
 */
#define TLS12_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

/*
 * check_revocations
 *		For CURLOPT_SSL_CTX_FUNCTION: the revocation lists (CRLs) that stand in the
 *		file of certificate authorities are asked.
 *
 * A certificate whose authority has none there passes; one that is revoked, or
 * whose list is out of date, does not. RFC 5280, 6.3.
 */
extern CURLcode check_revocations(CURL *easy, void *ssl_context, void *argument);

#endif
