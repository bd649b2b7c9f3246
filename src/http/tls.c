/*
 * tls.c
 *		What is asked of TLS beyond libcurl's own options.
 *
 * CURLOPT_CRLFILE would do for a file with the lists of all authorities, and
 * refuse every server of another: nobody has those of the whole Internet. OpenSSL
 * reads lists and certificates from one file.
 */
#include "postgres.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "http/tls.h"

/* Called for each thing that is wrong with a chain, and for each certificate of a good one. */
static int
pass_without_list(int is_good, X509_STORE_CTX *chain)
{
	if (is_good || X509_STORE_CTX_get_error(chain) != X509_V_ERR_UNABLE_TO_GET_CRL)
		return is_good;
	X509_STORE_CTX_set_error(chain, X509_V_OK);
	return 1;
}

CURLcode
check_revocations(CURL *easy, void *ssl_context, void *argument)
{
	SSL_CTX *context = ssl_context;
	struct curl_tlssessioninfo *session = NULL;

	/* Another library's context is something else. */
	if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &session) != CURLE_OK || session == NULL ||
		session->backend != CURLSSLBACKEND_OPENSSL)
		return CURLE_NOT_BUILT_IN;
	if (X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context),
									X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) != 1)
		return CURLE_SSL_CERTPROBLEM;
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, pass_without_list);
	return CURLE_OK;
}
