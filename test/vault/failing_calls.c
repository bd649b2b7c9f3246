/*
 * failing_calls.c
 *		Every OpenSSL call of the vault fails once: nothing opens, nothing is left
 *		behind in clear, and nothing is sealed without its tag.
 *
 * Linked with --wrap for each function below, whose Nth call then fails.
 */
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "records.h"
#include "token/envelope.h"

static int calls_left = -1;
static int calls = 0;

static bool
fails_now(void)
{
	calls++;
	return calls_left >= 0 && calls_left-- == 0;
}

#define WRAP(type, name, parameters, arguments, failure)                                           \
	type __real_##name parameters;                                                                 \
	type __wrap_##name parameters;                                                                 \
	type __wrap_##name parameters                                                                  \
	{                                                                                              \
		return fails_now() ? (failure) : __real_##name arguments;                                  \
	}

WRAP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_new, (void), (), NULL)
WRAP(int, EVP_CipherInit_ex,
	 (EVP_CIPHER_CTX * c, const EVP_CIPHER *t, ENGINE *e, const unsigned char *k,
	  const unsigned char *iv, int d),
	 (c, t, e, k, iv, d), 0)
WRAP(int, EVP_CipherUpdate,
	 (EVP_CIPHER_CTX * c, unsigned char *out, int *n, const unsigned char *in, int l),
	 (c, out, n, in, l), 0)
WRAP(int, EVP_CipherFinal_ex, (EVP_CIPHER_CTX * c, unsigned char *out, int *n), (c, out, n), 0)
WRAP(int, EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX * c, int type, int arg, void *p), (c, type, arg, p),
	 0)
WRAP(int, RAND_bytes, (unsigned char *bytes, int length), (bytes, length), 0)
WRAP(int, pthread_atfork, (void (*before)(void), void (*parent)(void), void (*child)(void)),
	 (before, parent, child), 1)

static const uint8_t key_bytes[AES_GCM_KEY_BYTES] = {1, 2, 3};
static const uint8_t token[] = "ghp_0123456789abcdef";
static const char context[] = "a/b";

static bool
seal(uint8_t *envelope)
{
	AesGcmKey key = {0};
	bool sealed = prepare_aes_gcm_key(&key, key_bytes) &&
				  seal_envelope(&key, 7, context, sizeof(context), token, sizeof(token), envelope);

	release_aes_gcm_key(&key);
	return sealed;
}

static bool
unseal(const uint8_t *envelope, uint8_t *opened)
{
	AesGcmKey key = {0};
	bool answer = prepare_aes_gcm_key(&key, key_bytes) &&
				  open_envelope(&key, context, sizeof(context), envelope,
								sizeof(token) + ENVELOPE_OVERHEAD, opened);

	release_aes_gcm_key(&key);
	return answer;
}

static bool
shows_token(const uint8_t *bytes)
{
	for (size_t i = 0; i < sizeof(token); i++)
	{
		if (memcmp(bytes, token, 4) == 0 || bytes[i] != 0)
			return true;
	}
	return false;
}

/* The bytes behind these lengths are not there: a function that reads them crashes. */
static bool
refuses_lengths(void)
{
	uint8_t out[sizeof(token) + ENVELOPE_OVERHEAD], iv[AES_GCM_IV_BYTES],
		tag[AES_GCM_TAG_BYTES] = {0};
	ByteSpan huge = {token, (size_t) INT32_MAX + 1};
	ByteSpan nothing = {token, 0};
	AesGcmKey key;
	bool refused;

	if (!prepare_aes_gcm_key(&key, key_bytes))
		abort();
	refused = !seal_envelope(&key, 1, context, 3, token, 0, out) &&
			  !seal_envelope(&key, 1, context, 3, token, ENVELOPE_MAX_PLAINTEXT + 1, out) &&
			  !seal_envelope(&key, 1, context, huge.length, token, sizeof(token), out) &&
			  !seal_aes_gcm(&key, &nothing, 1, &huge, iv, out, tag) &&
			  !open_aes_gcm(&key, iv, &nothing, 1, &huge, tag, out) &&
			  !open_aes_gcm(&key, iv, &huge, 1, &nothing, tag, out);
	release_aes_gcm_key(&key);
	return refused;
}

int
main(void)
{
	uint8_t envelope[sizeof(token) + ENVELOPE_OVERHEAD], opened[sizeof(token)];
	bool refused = true, wiped = true;
	int number = 1, sealing, opening;
	char line[80];

	/* The first record of a process makes a call that later ones do not. */
	calls_left = 4;
	number = report(!seal(envelope), number,
					"the first record is not sealed if forks cannot be watched");
	calls_left = -1;
	number = report(seal(envelope), number, "but the next");
	calls = 0;
	number = report(seal(envelope), number, "without a failure it seals");
	sealing = calls;
	for (calls_left = 0; calls_left < sealing;)
	{
		int failing = calls_left;
		uint8_t other[sizeof(envelope)];

		refused = refused && !seal(other);
		calls_left = failing + 1;
	}
	calls_left = -1;
	snprintf(line, sizeof(line), "each of the %d calls that may fail makes sealing fail", sealing);
	number = report(refused && sealing > 8, number, line);

	calls = 0;
	number = report(unseal(envelope, opened) && memcmp(opened, token, sizeof(token)) == 0, number,
					"without a failure it opens");
	opening = calls;
	refused = true;
	for (calls_left = 0; calls_left < opening;)
	{
		int failing = calls_left;

		memset(opened, 0, sizeof(opened));
		refused = refused && !unseal(envelope, opened);
		wiped = wiped && !shows_token(opened);
		calls_left = failing + 1;
	}
	calls_left = -1;
	snprintf(line, sizeof(line), "each of the %d calls that may fail makes opening fail", opening);
	number = report(refused && opening > 8, number, line);
	number = report(wiped, number, "and leaves nothing in clear");
	number = report(unseal(envelope, opened), number, "afterwards it opens again");
	number = report(refuses_lengths(), number, "lengths that are out of range are refused, unread");
	printf("1..%d\n", number - 1);
	return 0;
}
