/* buffers.c: receive buffers, and the slots that wait for one.
 *
 * From kernel 6.15 on several receives fill a buffer one after the other, so that a buffer can be
 * large, and small messages still lie close together.
 *
 * The law of this file: a buffer is the kernel's, or lent to the caller until the next turn. A
 * slot that finds none waits in a line, and keeps its place there.
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t ring_size(const struct group *group)
{
	return group->count * sizeof(struct io_uring_buf);
}

/* Old headers call the field of the flags a padding. */
static int register_buffers(struct io_uring *ring, void *at, unsigned count, unsigned id,
			    bool incremental)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uint64_t)(uintptr_t)at,
		.ring_entries = count,
		.bgid = (uint16_t)id,
	};
	uint16_t flags = incremental ? BUFFERS_INCREMENTAL : 0;
	memcpy((char *)&reg + offsetof(struct io_uring_buf_reg, bgid) + sizeof reg.bgid, &flags,
	       sizeof flags);
	return io_uring_register_buf_ring(ring, &reg, 0);
}

/* Where the bytes of a receive are follows from the order of the completions. The last one of a
 * multishot request was once told later than others; kernels before 6.15 are not relied on. */
static bool keeps_order(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool keeps = probe && io_uring_opcode_supported(probe, OP_EPOLL_WAIT);
	io_uring_free_probe(probe);
	return keeps;
}

/* Whether the kernel has such rings: 0, -EINVAL where it has not, or why that is not known. */
int try_buffer_ring(struct io_uring *ring, bool incremental)
{
	_Alignas(4096) char entries[4096];
	if (incremental && !keeps_order(ring))
		return -EINVAL;
	int ret = register_buffers(ring, entries, 4, STREAM_GROUP, incremental);
	if (!ret)
		io_uring_unregister_buf_ring(ring, STREAM_GROUP);
	return ret;
}

/* Give the kernel the buffers of a group. */
int group_open(struct rn_core *core, unsigned id)
{
	struct group *group = &core->groups[id];
	group->ring = map(ring_size(group));
	group->lent = (struct rn_list){calloc(group->count, sizeof *group->lent.items), 0, group->count};
	group->filled = calloc(group->count, sizeof *group->filled);
	int ret = -ENOMEM;
	if (group->ring && group->lent.items && group->filled)
		ret = register_buffers(&core->ring, group->ring, group->count, id, group->incremental);
	if (ret < 0) {
		group_close(core, id);
		return ret;
	}
	io_uring_buf_ring_init(group->ring);
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
	free(group->lent.items);
	free(group->filled);
	group->ring = NULL;
	group->filled = NULL;
	group->lent = (struct rn_list){0};
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
	group->filled[id] = 0;
	group->back++;
}

void lend(struct group *group, unsigned id)
{
	(void)push(&group->lent, id); /* there is room for each of the group */
}

/* The bytes of a completion are the caller's until the next turn; returns where they are. */
size_t take_buffer(struct group *group, unsigned flags, size_t size)
{
	unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
	size_t at = buffer_offset(group, id);
	if (group->incremental) {
		at += group->filled[id];
		group->filled[id] += (uint32_t)size;
	}
	if (!group->incremental || !(flags & IORING_CQE_F_BUF_MORE))
		lend(group, id);
	return at;
}

/* The bytes of a completion are not wanted. */
void drop_buffer(struct rn_core *core, struct group *group, unsigned flags, size_t size)
{
	if (!group->incremental)
		group_give_back(core, group, flags >> IORING_CQE_BUFFER_SHIFT);
	else if (size) /* without bytes none of it was used, whatever the flags are */
		take_buffer(group, flags, size); /* other bytes of it may be the caller's now */
}

void give_back_lent(struct rn_core *core)
{
	for (struct group *group = core->groups; group < core->groups + GROUPS; group++) {
		for (int64_t i = 0; i < group->lent.count; i++)
			group_give_back(core, group, (unsigned)group->lent.items[i]);
		group->lent.count = 0;
	}
}

static void put_behind(struct rn_core *core, struct group *group, struct slot *slot, uint32_t before)
{
	uint32_t index = index_of(core, slot);
	uint32_t after = before == NO_SLOT ? group->starved.head : core->slots[before].next_starved;
	slot->last_starved = before;
	slot->next_starved = after;
	*(before == NO_SLOT ? &group->starved.head : &core->slots[before].next_starved) = index;
	*(after == NO_SLOT ? &group->starved.tail : &core->slots[after].last_starved) = index;
	slot->flags |= STARVED;
}

/* No buffer was left for it: it waits behind the others; but where it got none at all since it was
 * fed, it keeps its place before them, in the order of those who were fed with it. */
void starve(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & STARVED)
		return;
	struct group *group = group_of(core, slot);
	if (slot->flags & SERVED) {
		put_behind(core, group, slot, group->starved.tail);
	} else {
		put_behind(core, group, slot, group->passed_over);
		group->passed_over = index_of(core, slot);
	}
}

/* A slot that needs a buffer no more leaves the line, wherever it stands. */
void unstarve(struct rn_core *core, struct slot *slot)
{
	if (!(slot->flags & STARVED))
		return;
	struct group *group = group_of(core, slot);
	uint32_t before = slot->last_starved, after = slot->next_starved;
	*(before == NO_SLOT ? &group->starved.head : &core->slots[before].next_starved) = after;
	*(after == NO_SLOT ? &group->starved.tail : &core->slots[after].last_starved) = before;
	if (group->passed_over == index_of(core, slot))
		group->passed_over = before;
	slot->flags &= ~STARVED;
}

/* Receive again for as many as buffers came back: the first of them may take all there are, so the
 * others keep their places, and what is left out once comes first the next time. */
static void feed(struct rn_core *core, struct group *group)
{
	uint32_t count = group->back ? group->back : 1;
	group->back = 0;
	group->passed_over = NO_SLOT;
	while (group->starved.head != NO_SLOT && count--) {
		struct slot *slot = &core->slots[group->starved.head];
		unstarve(core, slot);
		slot->flags &= ~SERVED;
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
