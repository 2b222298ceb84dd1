/* SPDX-License-Identifier: MIT */
/*
 * An intrusive doubly linked list with a head: the link lives in the element, so that adding one
 * never allocates. No locking of its own: whoever owns the list says what protects it.
 *
 *	struct up_list queue = UP_LIST_INIT(queue);
 *	up_list_push_back(&queue, &item->link);
 *	struct item *first = up_list_entry(up_list_pop_front(&queue), struct item, link);
 *
 * A link that is on no list points at itself once it was initialised or removed.
 */
#ifndef UP_BASE_LIST_H
#define UP_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bits.h"

/* Both the head and the link within an element. */
struct up_list {
	struct up_list *next;
	struct up_list *prev;
};

#define UP_LIST_INIT(name)       \
	{                        \
		&(name), &(name) \
	}
#define up_list_entry(link, type, member) up_container_of(link, type, member)

static inline void up_list_init(struct up_list *list)
{
	list->next = list;
	list->prev = list;
}

static inline bool up_list_is_empty(const struct up_list *list)
{
	return list->next == list;
}

/* Of a link: is it on some list? It must have been initialised once. */
static inline bool up_list_is_linked(const struct up_list *link)
{
	return link->next != link;
}

/* Puts link between at and its successor. */
static inline void up_list_insert_after(struct up_list *at, struct up_list *link)
{
	link->prev = at;
	link->next = at->next;
	at->next->prev = link;
	at->next = link;
}

static inline void up_list_push_front(struct up_list *list, struct up_list *link)
{
	up_list_insert_after(list, link);
}

static inline void up_list_push_back(struct up_list *list, struct up_list *link)
{
	up_list_insert_after(list->prev, link);
}

/* Twice does no harm. */
static inline void up_list_remove(struct up_list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	up_list_init(link);
}

/* The first or last link, or NULL. */
static inline struct up_list *up_list_first(const struct up_list *list)
{
	return up_list_is_empty(list) ? NULL : list->next;
}

static inline struct up_list *up_list_last(const struct up_list *list)
{
	return up_list_is_empty(list) ? NULL : list->prev;
}

static inline struct up_list *up_list_pop_front(struct up_list *list)
{
	struct up_list *link = up_list_first(list);

	if (link)
		up_list_remove(link);
	return link;
}

static inline struct up_list *up_list_pop_back(struct up_list *list)
{
	struct up_list *link = up_list_last(list);

	if (link)
		up_list_remove(link);
	return link;
}

/* Moves all of from to the end of list; from is empty afterwards. */
static inline void up_list_splice_back(struct up_list *list, struct up_list *from)
{
	if (up_list_is_empty(from))
		return;
	from->next->prev = list->prev;
	from->prev->next = list;
	list->prev->next = from->next;
	list->prev = from->prev;
	up_list_init(from);
}

static inline size_t up_list_len(const struct up_list *list)
{
	size_t len = 0;

	for (const struct up_list *at = list->next; at != list; at = at->next)
		len++;
	return len;
}

#define up_list_for_each(pos, list) for ((pos) = (list)->next; (pos) != (list); (pos) = (pos)->next)

/* pos may be removed in the body. */
#define up_list_for_each_safe(pos, after, list)                            \
	for ((pos) = (list)->next, (after) = (pos)->next; (pos) != (list); \
	     (pos) = (after), (after) = (pos)->next)

#define up_list_for_each_entry(pos, list, member)                             \
	for ((pos) = up_list_entry((list)->next, __typeof__(*(pos)), member); \
	     &(pos)->member != (list);                                        \
	     (pos) = up_list_entry((pos)->member.next, __typeof__(*(pos)), member))

#define up_list_for_each_entry_safe(pos, after, list, member)                        \
	for ((pos) = up_list_entry((list)->next, __typeof__(*(pos)), member),        \
	    (after) = up_list_entry((pos)->member.next, __typeof__(*(pos)), member); \
	     &(pos)->member != (list); (pos) = (after),                              \
	    (after) = up_list_entry((pos)->member.next, __typeof__(*(pos)), member))

#endif
