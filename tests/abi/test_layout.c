/* SPDX-License-Identifier: MIT */
/*
 * Prints where every word of the boundary lies.  The list is kept (layout.txt), so that a change of
 * the contract shows as one, and asks for another UPABI_VERSION.  No argument: compare; --print: print.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/region.h"
#include "tap.h"

#define FIELD(type, field) \
	add(#type, #field, offsetof(struct type, field), sizeof(((struct type *)0)->field))
#define SIZE(type) add(#type, "-", 0, sizeof(struct type))

static char dump[16384];
static size_t len;

static void add(const char *type, const char *field, size_t off, size_t sz)
{
	len += (size_t)snprintf(dump + len, sizeof(dump) - len, "%s %s %zu %zu\n", type, field, off,
				sz);
}

static void dump_events(void)
{
	SIZE(upabi_evt_vector);
	FIELD(upabi_evt_vector, vcore);
	FIELD(upabi_evt_vector, flags);
	SIZE(upabi_event);
	FIELD(upabi_event, nr);
	FIELD(upabi_event, flags);
	FIELD(upabi_event, arg);
	FIELD(upabi_event, val);
	FIELD(upabi_event, aux);
	FIELD(upabi_event, time_ns);
}

static void dump_info(void)
{
	SIZE(upabi_procinfo);
	FIELD(upabi_procinfo, magic);
	FIELD(upabi_procinfo, version);
	FIELD(upabi_procinfo, header_sz);
	FIELD(upabi_procinfo, region_sz);
	FIELD(upabi_procinfo, max_vcores);
	FIELD(upabi_procinfo, max_pcores);
	FIELD(upabi_procinfo, max_acts);
	FIELD(upabi_procinfo, off_vcoremap);
	FIELD(upabi_procinfo, off_pcoremap);
	FIELD(upabi_procinfo, off_actmap);
	FIELD(upabi_procinfo, pid);
	FIELD(upabi_procinfo, os_pid);
	FIELD(upabi_procinfo, state);
	FIELD(upabi_procinfo, num_vcores);
	FIELD(upabi_procinfo, coremap_seq);
	FIELD(upabi_procinfo, s_vcore);
	FIELD(upabi_procinfo, nr_events);
	FIELD(upabi_procinfo, mechanisms);
	FIELD(upabi_procinfo, blocked);
	FIELD(upabi_procinfo, pooled);
	FIELD(upabi_procinfo, nr_blocked);
	FIELD(upabi_procinfo, nr_unblocked);
	FIELD(upabi_procinfo, nr_preempts);
	FIELD(upabi_procinfo, nr_refused);
	FIELD(upabi_procinfo, res);
}

static void dump_maps(void)
{
	SIZE(upabi_vcoremap);
	FIELD(upabi_vcoremap, valid);
	FIELD(upabi_vcoremap, pcore);
	FIELD(upabi_vcoremap, act);
	FIELD(upabi_vcoremap, act_gen);
	FIELD(upabi_vcoremap, preempts_sent);
	FIELD(upabi_vcoremap, preempts_done);
	FIELD(upabi_vcoremap, preempt_pending);
	FIELD(upabi_vcoremap, resume_ns);
	FIELD(upabi_vcoremap, total_ns);
	FIELD(upabi_vcoremap, flags);
	FIELD(upabi_vcoremap, standby);
	FIELD(upabi_vcoremap, posted);
	FIELD(upabi_vcoremap, overflow);
	SIZE(upabi_pcoremap);
	FIELD(upabi_pcoremap, vcore);
	FIELD(upabi_pcoremap, valid);
	SIZE(upabi_actmap);
	FIELD(upabi_actmap, starts);
	FIELD(upabi_actmap, state);
	FIELD(upabi_actmap, gen);
	FIELD(upabi_actmap, vcore);
	FIELD(upabi_actmap, call_ack);
	FIELD(upabi_actmap, call_result);
	FIELD(upabi_actmap, call_val);
	FIELD(upabi_actmap, task);
}

static void dump_data(void)
{
	SIZE(upabi_procdata);
	FIELD(upabi_procdata, magic);
	FIELD(upabi_procdata, version);
	FIELD(upabi_procdata, header_sz);
	FIELD(upabi_procdata, region_sz);
	FIELD(upabi_procdata, off_vcore);
	FIELD(upabi_procdata, off_call);
	FIELD(upabi_procdata, off_call_pending);
	FIELD(upabi_procdata, bell);
	FIELD(upabi_procdata, res);
	FIELD(upabi_procdata, evt);
	SIZE(upabi_vcoredata);
	FIELD(upabi_vcoredata, notif_disabled);
	FIELD(upabi_vcoredata, ring_head);
	FIELD(upabi_vcoredata, entry);
	FIELD(upabi_vcoredata, stack);
	FIELD(upabi_vcoredata, uthread_ctx);
	FIELD(upabi_vcoredata, notif_pending);
	FIELD(upabi_vcoredata, flags);
	FIELD(upabi_vcoredata, mask);
	FIELD(upabi_vcoredata, ring_tail);
	FIELD(upabi_vcoredata, ring);
	SIZE(upabi_call);
	FIELD(upabi_call, seq);
	FIELD(upabi_call, op);
	FIELD(upabi_call, arg);
	FIELD(upabi_call, gate);
}

/* No array may run into the next one, whatever the numbers of vcores and activations. */
static bool regions_add_up(void)
{
	static const upabi_u32 numbers[] = { 1, 2, 3, 63, 64, 65, 1000, 16384 };
	const unsigned nr = sizeof(numbers) / sizeof(numbers[0]);

	for (unsigned v = 0; v < nr; v++)
		for (unsigned a = 0; a < nr; a++) {
			upabi_u32 vcores = numbers[v], acts = numbers[a], pcores = numbers[a];
			upabi_u64 at = upabi_info_off_actmap(vcores, pcores);

			if (at % UPABI_LINE ||
			    at < upabi_info_off_pcoremap(vcores) +
					    sizeof(struct upabi_pcoremap) * (upabi_u64)pcores ||
			    upabi_info_size(vcores, pcores, acts) !=
				    at + sizeof(struct upabi_actmap) *
						    (upabi_u64)upabi_call_slots(acts))
				return false;
			if (upabi_data_off_call(vcores) % UPABI_LINE ||
			    upabi_data_size(vcores, acts) <
				    upabi_data_off_call_pending(vcores, acts) +
					    8 * (upabi_u64)upabi_call_pending_words(acts) ||
			    64 * (upabi_u64)upabi_call_pending_words(acts) < upabi_call_slots(acts))
				return false;
		}
	return true;
}

int main(int argc, char **argv)
{
	static char kept[sizeof(dump)];
	FILE *file;

	dump_events();
	dump_info();
	dump_maps();
	dump_data();
	if (argc > 1 && !strcmp(argv[1], "--print")) {
		fputs(dump, stdout);
		return 0;
	}
	tap_plan(3);
	file = argc > 1 ? fopen(argv[1], "r") : NULL;
	if (!file)
		tap_bail("the kept layout cannot be read");
	kept[fread(kept, 1, sizeof(kept) - 1, file)] = 0;
	fclose(file);
	tap_ok(!strcmp(kept, dump), "the layout is the one that was agreed upon");
	tap_ok(UPABI_VERSION == 4, "and so is its version");
	tap_ok(regions_add_up(), "arrays lie one after the other");
	return tap_done();
}
