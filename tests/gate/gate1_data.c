/* SPDX-License-Identifier: MIT */
/*
 * Gate 1's jobs in sqlite3 and zlib.
 */
#include "gate1.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* ---- sqlite3 ---- */

static uint64_t added; /* to the shared database, by all */
static char db_path[4096];

static bool sql(sqlite3 *db, const char *text)
{
	char *err = NULL;
	int r = sqlite3_exec(db, text, NULL, NULL, &err);

	if (r != SQLITE_OK)
		gate1_bad(__FILE__, __LINE__, err ? err : text);
	sqlite3_free(err);
	return r == SQLITE_OK;
}

static int64_t number(sqlite3 *db, const char *text)
{
	sqlite3_stmt *st = NULL;
	int64_t v = -1;

	CHECK(sqlite3_prepare_v2(db, text, -1, &st, NULL) == SQLITE_OK);
	CHECK(sqlite3_step(st) == SQLITE_ROW);
	v = sqlite3_column_int64(st, 0);
	CHECK(sqlite3_step(st) == SQLITE_DONE);
	CHECK(sqlite3_finalize(st) == SQLITE_OK);
	return v;
}

static void run_memory_db(struct gate1_me *me)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	int64_t sum = 0, v;
	int i, n = 20 + (int)gate1_below(me, 100);

	CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
	sql(db, "create table t(id integer primary key, v integer, s text);"
		"create index i on t(v); begin");
	CHECK(sqlite3_prepare_v2(db, "insert into t(v, s) values(?, ?)", -1, &st, NULL) ==
	      SQLITE_OK);
	for (i = 0; i < n; i++) {
		v = (int64_t)gate1_below(me, 100000);
		sum += v;
		sqlite3_bind_int64(st, 1, v);
		sqlite3_bind_text(st, 2, "some text", -1, SQLITE_STATIC);
		CHECK(sqlite3_step(st) == SQLITE_DONE && sqlite3_reset(st) == SQLITE_OK);
	}
	sqlite3_finalize(st);
	sql(db, "commit");
	CHECK(number(db, "select sum(v) from t") == sum);
	CHECK(number(db, "select count(*) from t where s like 'some%'") == n);
	CHECK(number(db, "select count(*) from (select v from t order by v desc)") == n);
	CHECK(sqlite3_close(db) == SQLITE_OK);
}

static int before_file_db(void)
{
	sqlite3 *db = NULL;
	bool good;

	__atomic_store_n(&added, 0, __ATOMIC_RELAXED);
	snprintf(db_path, sizeof(db_path), "%s/db", gate1_dir());
	good = sqlite3_open(db_path, &db) == SQLITE_OK &&
	       sql(db, "create table sum(v integer); insert into sum values(0)");
	sqlite3_close(db);
	return good ? 0 : -1;
}

/* Several connections to one file: its locks, and sqlite's sleeping while it is busy. */
static void run_file_db(struct gate1_me *me)
{
	uint64_t v = gate1_below(me, 1000);
	sqlite3 *db = NULL;
	char text[80];

	CHECK(sqlite3_open(db_path, &db) == SQLITE_OK);
	sqlite3_busy_timeout(db, 60000);
	snprintf(text, sizeof(text), "begin immediate; update sum set v = v + %u; commit",
		 (unsigned)v);
	if (sql(db, "pragma synchronous = off; pragma journal_mode = memory") && sql(db, text))
		__atomic_fetch_add(&added, v, __ATOMIC_RELAXED);
	CHECK(number(db, "select v from sum") >= 0);
	CHECK(sqlite3_close(db) == SQLITE_OK);
}

static void after_file_db(void)
{
	sqlite3 *db = NULL;

	CHECK(sqlite3_open(db_path, &db) == SQLITE_OK);
	CHECK(number(db, "select v from sum") == (int64_t)added);
	sqlite3_close(db);
	unlink(db_path);
}

/* ---- zlib ---- */

static void run_zlib(struct gate1_me *me)
{
	size_t sz = 1000 + gate1_below(me, 30000), i;
	uLongf packed_sz = compressBound(sz), back_sz = sz;
	unsigned char *text = malloc(sz), *packed = malloc(packed_sz), *back = malloc(sz);

	CHECK(text && packed && back);
	gate1_fill(me, text, sz);
	for (i = 0; i < sz; i++)
		text[i] = "abcdefgh"[text[i] % 8];
	CHECK(compress2(packed, &packed_sz, text, sz, 1 + (int)gate1_below(me, 9)) == Z_OK);
	CHECK(packed_sz < sz);
	CHECK(uncompress(back, &back_sz, packed, packed_sz) == Z_OK && back_sz == sz);
	CHECK(!memcmp(text, back, sz));
	CHECK(crc32(0, text, (uInt)sz) == crc32(crc32(0, text, 500), text + 500, (uInt)(sz - 500)));
	CHECK(adler32(1, (const unsigned char *)"Wikipedia", 9) == 0x11e60398);
	free(text);
	free(packed);
	free(back);
}

const struct gate1_job gate1_data_jobs[] = {
	{ "sqlite3 in memory", run_memory_db, 4, NULL, NULL },
	{ "sqlite3 on a file", run_file_db, 3, before_file_db, after_file_db },
	{ "zlib", run_zlib, 2, NULL, NULL },
	{ NULL, NULL, 0, NULL, NULL },
};
