/*
 * bare_loop.c
 *		The least that AES-256-GCM can cost with OpenSSL: one key made ready, then
 *		a fresh random IV, 96 bytes beside and a 40-byte token, again and again.
 *
 * Prints nanoseconds a record: to seal, and to open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#define RECORDS 1000000

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void
require(int result)
{
	if (result != 1)
		abort();
}

int
main(void)
{
	static unsigned char key[32] = {1}, beside[96] = {2}, token[40] = {3};
	unsigned char iv[12], sealed[40], opened[40], tag[16];
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	double start;
	int n;

	require(EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, NULL));
	start = seconds();
	for (int i = 0; i < RECORDS; i++)
	{
		require(RAND_bytes(iv, sizeof(iv)));
		require(EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, iv));
		require(EVP_EncryptUpdate(cipher, NULL, &n, beside, sizeof(beside)));
		require(EVP_EncryptUpdate(cipher, sealed, &n, token, sizeof(token)));
		require(EVP_EncryptFinal_ex(cipher, sealed + n, &n));
		require(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag));
	}
	printf("%.1f", (seconds() - start) / RECORDS * 1e9);

	require(EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, NULL));
	start = seconds();
	for (int i = 0; i < RECORDS; i++)
	{
		require(EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, iv));
		require(EVP_DecryptUpdate(cipher, NULL, &n, beside, sizeof(beside)));
		require(EVP_DecryptUpdate(cipher, opened, &n, sealed, sizeof(sealed)));
		require(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, sizeof(tag), tag));
		require(EVP_DecryptFinal_ex(cipher, opened + n, &n));
	}
	printf(" %.1f\n", (seconds() - start) / RECORDS * 1e9);
	EVP_CIPHER_CTX_free(cipher);
	return 0;
}
