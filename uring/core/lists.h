/* lists.h: lists of a fixed size, whose every push is checked. Part of core.h, which includes it.
 */
#ifndef RINGNET_LISTS_H
#define RINGNET_LISTS_H

/* Whether there was room for it. */
static inline bool push(struct rn_list *list, int64_t item)
{
	if (list->count == list->room)
		return false;
	list->items[list->count++] = item;
	return true;
}

/* The same where the list was made for as many as there can be: if not, the ring has failed. */
static inline void must_push(struct rn_core *core, struct rn_list *list, int64_t item)
{
	if (!push(list, item))
		core->failure = EOVERFLOW;
}

/* Takes the first `count` out of a list. */
static inline void shift(struct rn_list *list, int64_t count)
{
	list->count -= count;
	memmove(list->items, list->items + count, (size_t)list->count * sizeof *list->items);
}

#endif
