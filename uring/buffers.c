/* buffers.c: receive buffers, and who waits for one.
 *
 * The law of this file: a buffer is the kernel's, or lent to the caller until the next turn. Who
 * finds none waits in a line that nobody can be pushed out of.
 */
#include "core.h"

#include <stdlib.h>
#include <sys/mman.h>

static size_t ring_size(const struct group *group)
{
	return group->count * sizeof(struct io_uring_buf);
}

/* Give the kernel the buffers of a group, if it has not got them yet. */
int group_open(struct rn_core *core, unsigned id)
{
	struct group *group = &core->groups[id];
	if (group->ring)
		return 0;
	struct io_uring_buf_ring *ring = map(ring_size(group));
	group->lent = calloc(group->count, sizeof *group->lent);
	if (!ring || !group->lent) {
		group_close(core, id);
		return -ENOMEM;
	}
	struct io_uring_buf_reg reg = {
		.ring_addr = (uint64_t)(uintptr_t)ring,
		.ring_entries = group->count,
		.bgid = (uint16_t)id,
	};
	int ret = io_uring_register_buf_ring(&core->ring, &reg, 0);
	if (ret < 0) {
		munmap(ring, ring_size(group));
		return ret;
	}
	group->ring = ring;
	io_uring_buf_ring_init(ring);
	for (unsigned i = 0; i < group->count; i++)
		group_give_back(core, group, i);
	return 0;
}

/* The ring it was registered with is gone, or never knew it. */
void group_close(struct rn_core *core, unsigned id)
{
	struct group *group = &core->groups[id];
	if (group->ring)
		munmap(group->ring, ring_size(group));
	free(group->lent);
	group->ring = NULL;
	group->lent = NULL;
}

struct group *group_of(struct rn_core *core, const struct slot *slot)
{
	return &core->groups[slot->role == ROLE_PACKETS ? PACKET_GROUP : STREAM_GROUP];
}

void group_give_back(struct rn_core *core, struct group *group, unsigned id)
{
	io_uring_buf_ring_add(group->ring,
			      core->shared.memory + buffer_offset(group, id) + group->lead,
			      group->size, (uint16_t)id, io_uring_buf_ring_mask(group->count), 0);
	io_uring_buf_ring_advance(group->ring, 1);
	group->back++;
}

void lend(struct group *group, unsigned id)
{
	group->lent[group->lent_count++] = (uint16_t)id;
}

void give_back_lent(struct rn_core *core)
{
	for (struct group *group = core->groups; group < core->groups + GROUPS; group++) {
		for (uint32_t i = 0; i < group->lent_count; i++)
			group_give_back(core, group, group->lent[i]);
		group->lent_count = 0;
	}
}

/* No buffer was left for it: it waits behind the others; but where it got none at all since it was
 * fed, it keeps its place before them, in the order of those who were fed with it. */
void starve(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & STARVED)
		return;
	struct group *group = group_of(core, slot);
	uint32_t index = index_of(core, slot);
	uint32_t before = slot->flags & SERVED ? group->starved.tail : group->passed_over;
	uint32_t *link = before == NO_SLOT ? &group->starved.head : &core->slots[before].next_starved;
	slot->flags |= STARVED;
	slot->next_starved = *link;
	*link = index;
	if (slot->next_starved == NO_SLOT)
		group->starved.tail = index;
	if (!(slot->flags & SERVED))
		group->passed_over = index;
}

/* Receive again for as many as buffers came back: the first of them may take all there are, so the
 * others keep their places, and whoever is left out once comes first the next time. */
static void feed(struct rn_core *core, struct group *group)
{
	uint32_t count = group->back ? group->back : 1;
	group->back = 0;
	group->passed_over = NO_SLOT;
	while (group->starved.head != NO_SLOT && count--) {
		struct slot *slot = &core->slots[group->starved.head];
		group->starved.head = slot->next_starved;
		if (group->starved.head == NO_SLOT)
			group->starved.tail = NO_SLOT;
		slot->flags &= ~(STARVED | SERVED);
		slot_read(core, slot);
	}
}

void feed_starved(struct rn_core *core)
{
	feed(core, &core->groups[STREAM_GROUP]);
	feed(core, &core->groups[PACKET_GROUP]);
}

bool is_anyone_starved(const struct rn_core *core)
{
	return core->groups[STREAM_GROUP].starved.head != NO_SLOT ||
	       core->groups[PACKET_GROUP].starved.head != NO_SLOT;
}

/* A slot that ends leaves the line: its index may be used again. */
void unstarve(struct rn_core *core, struct slot *slot)
{
	if (!(slot->flags & STARVED))
		return;
	struct group *group = group_of(core, slot);
	uint32_t index = index_of(core, slot);
	uint32_t *link = &group->starved.head;
	uint32_t before = NO_SLOT;
	while (*link != index) {
		before = *link;
		link = &core->slots[before].next_starved;
	}
	*link = slot->next_starved;
	if (group->starved.tail == index)
		group->starved.tail = before;
	if (group->passed_over == index)
		group->passed_over = before;
	slot->flags &= ~STARVED;
}
