/* SPDX-License-Identifier: MIT */
/* base/list.h: order, removal from any place, splicing, and the empty list. */
#include "unit.h"

#include "base/list.h"

struct item {
	int value;
	struct up_list link;
};

static void order_is(struct up_list *list, const int *values, size_t nr)
{
	struct item *item;
	size_t at = 0;

	up_list_for_each_entry (item, list, link) {
		assert_true(at < nr);
		assert_int_equal(item->value, values[at++]);
	}
	assert_int_equal(at, nr);
	/* Backwards too: a link with a wrong prev shows only here. */
	for (struct up_list *link = list->prev; link != list; link = link->prev)
		assert_int_equal(up_list_entry(link, struct item, link)->value, values[--at]);
	assert_int_equal(at, 0);
}

static void both_ends_keep_order(void **state)
{
	struct up_list list = UP_LIST_INIT(list);
	struct item items[3] = { { .value = 1 }, { .value = 2 }, { .value = 3 } };

	assert_true(up_list_is_empty(&list));
	assert_null(up_list_pop_front(&list));
	assert_null(up_list_pop_back(&list));
	up_list_push_back(&list, &items[1].link);
	up_list_push_back(&list, &items[2].link);
	up_list_push_front(&list, &items[0].link);
	order_is(&list, (int[]){ 1, 2, 3 }, 3);
	assert_int_equal(up_list_len(&list), 3);
	assert_ptr_equal(up_list_pop_back(&list), &items[2].link);
	assert_ptr_equal(up_list_pop_front(&list), &items[0].link);
	order_is(&list, (int[]){ 2 }, 1);
}

static void removal_in_the_middle_and_twice(void **state)
{
	struct up_list list = UP_LIST_INIT(list);
	struct item items[3] = { { .value = 1 }, { .value = 2 }, { .value = 3 } };

	for (int i = 0; i < 3; i++)
		up_list_push_back(&list, &items[i].link);
	assert_true(up_list_is_linked(&items[1].link));
	up_list_remove(&items[1].link);
	assert_false(up_list_is_linked(&items[1].link));
	up_list_remove(&items[1].link);
	order_is(&list, (int[]){ 1, 3 }, 2);
}

static void safe_walk_may_empty_the_list(void **state)
{
	struct up_list list = UP_LIST_INIT(list);
	struct item items[4] = { { .value = 1 }, { .value = 2 }, { .value = 3 }, { .value = 4 } };
	struct item *item, *after;
	int sum = 0;

	for (int i = 0; i < 4; i++)
		up_list_push_back(&list, &items[i].link);
	up_list_for_each_entry_safe (item, after, &list, link) {
		sum += item->value;
		up_list_remove(&item->link);
	}
	assert_int_equal(sum, 10);
	assert_true(up_list_is_empty(&list));
}

static void splice_appends_in_order_and_empties(void **state)
{
	struct up_list list = UP_LIST_INIT(list), other = UP_LIST_INIT(other);
	struct item items[4] = { { .value = 1 }, { .value = 2 }, { .value = 3 }, { .value = 4 } };

	up_list_splice_back(&list, &other);
	assert_true(up_list_is_empty(&list));
	up_list_push_back(&list, &items[0].link);
	up_list_push_back(&list, &items[1].link);
	up_list_push_back(&other, &items[2].link);
	up_list_push_back(&other, &items[3].link);
	up_list_splice_back(&list, &other);
	order_is(&list, (int[]){ 1, 2, 3, 4 }, 4);
	assert_true(up_list_is_empty(&other));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(both_ends_keep_order),
	cmocka_unit_test(removal_in_the_middle_and_twice),
	cmocka_unit_test(safe_walk_may_empty_the_list),
	cmocka_unit_test(splice_appends_in_order_and_empties),
};

UNIT_MAIN(tests)
