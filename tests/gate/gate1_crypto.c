/* SPDX-License-Identifier: MIT */
/*
 * Gate 1's jobs in OpenSSL's libcrypto: known answers, round trips, signatures, random numbers (which
 * it keeps per thread).
 */
#include "gate1.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

static EVP_PKEY *key;

static int before_sign(void)
{
	key = EVP_EC_gen("P-256");
	return key ? 0 : -1;
}

static void after_sign(void)
{
	EVP_PKEY_free(key);
	key = NULL;
}

/* FIPS 180-4's own examples, and pieces against the whole. */
static void run_digest(struct gate1_me *me)
{
	static const unsigned char abc[] = {
		0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
		0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
		0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
	};
	unsigned char data[12000], one[32], two[32];
	size_t at, cut;
	EVP_MD_CTX *ctx;
	unsigned len;

	CHECK(EVP_Digest("abc", 3, one, &len, EVP_sha256(), NULL) && len == 32);
	CHECK(!memcmp(one, abc, 32));
	gate1_fill(me, data, sizeof(data));
	CHECK(EVP_Digest(data, sizeof(data), one, &len, EVP_sha256(), NULL));
	ctx = EVP_MD_CTX_new();
	CHECK(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL));
	for (at = 0; at < sizeof(data); at += cut) {
		cut = 1 + gate1_below(me, 3000);
		cut = cut > sizeof(data) - at ? sizeof(data) - at : cut;
		CHECK(EVP_DigestUpdate(ctx, data + at, cut));
	}
	CHECK(EVP_DigestFinal_ex(ctx, two, &len) && !memcmp(one, two, 32));
	EVP_MD_CTX_free(ctx);
}

static int gcm(int enc, const unsigned char *k, const unsigned char *iv, const unsigned char *in,
	       int sz, unsigned char *out, unsigned char *tag)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, last = 0, good;

	good = ctx && EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, k, iv, enc) &&
	       EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)"header", 6) &&
	       EVP_CipherUpdate(ctx, out, &n, in, sz);
	if (good && !enc)
		good = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, 16, tag);
	good = good && EVP_CipherFinal_ex(ctx, out + n, &last) > 0;
	if (good && enc)
		good = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, tag);
	EVP_CIPHER_CTX_free(ctx);
	return good && n + last == sz;
}

static void run_gcm(struct gate1_me *me)
{
	unsigned char k[32], iv[12], text[6000], secret[6000], back[6000], tag[16];
	int sz = 1 + (int)gate1_below(me, sizeof(text));

	CHECK(RAND_bytes(k, sizeof(k)) == 1 && RAND_bytes(iv, sizeof(iv)) == 1);
	gate1_fill(me, text, sizeof(text));
	CHECK(gcm(1, k, iv, text, sz, secret, tag));
	CHECK(sz < 16 || memcmp(secret, text, (size_t)sz));
	CHECK(gcm(0, k, iv, secret, sz, back, tag) && !memcmp(text, back, (size_t)sz));
	tag[gate1_below(me, 16)] ^= 1;
	CHECK(!gcm(0, k, iv, secret, sz, back, tag));
	ERR_clear_error();
}

static void run_sign(struct gate1_me *me)
{
	unsigned char text[100], sig[128];
	size_t sz = sizeof(sig);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	gate1_fill(me, text, sizeof(text));
	CHECK(ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1);
	CHECK(EVP_DigestSign(ctx, sig, &sz, text, sizeof(text)) == 1);
	EVP_MD_CTX_reset(ctx);
	CHECK(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1);
	CHECK(EVP_DigestVerify(ctx, sig, sz, text, sizeof(text)) == 1);
	text[5] ^= 1;
	EVP_MD_CTX_reset(ctx);
	CHECK(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1);
	CHECK(EVP_DigestVerify(ctx, sig, sz, text, sizeof(text)) != 1);
	ERR_clear_error();
	EVP_MD_CTX_free(ctx);
}

const struct gate1_job gate1_crypto_jobs[] = {
	{ "SHA-256", run_digest, 2, NULL, NULL },
	{ "AES-GCM", run_gcm, 2, NULL, NULL },
	{ "signatures", run_sign, 2, before_sign, after_sign },
	{ NULL, NULL, 0, NULL, NULL },
};
