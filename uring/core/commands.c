/* commands.c: what the caller asked for since the last turn.
 *
 * The law of this file: nothing in the block is trusted. A command that is cut short, names no
 * slot or holds an unknown word ends the turn with -EINVAL, and can never read or write outside.
 * (The addresses in RN_SENDS are the one thing that cannot be checked.)
 */
#include "core.h"

#include <string.h>

struct reader {
	const char *at, *end;
};

static bool read_bytes(struct reader *in, void *out, size_t count)
{
	if ((size_t)(in->end - in->at) < count)
		return false;
	memcpy(out, in->at, count);
	in->at += count;
	return true;
}

static bool skip_bytes(struct reader *in, int64_t count)
{
	if (count < 0 || in->end - in->at < count)
		return false;
	in->at += count;
	return true;
}

static struct slot *find(struct rn_core *core, int64_t handle)
{
	uint32_t index = (uint32_t)handle & INDEX_MASK;
	if (index >= core->slots_used)
		return NULL;
	struct slot *slot = &core->slots[index];
	bool alive = slot->role != ROLE_FREE && slot->phase != ENDED &&
		     slot->generation == (uint32_t)(handle >> INDEX_BITS);
	return alive ? slot : NULL;
}

/* What is no number of a descriptor is not made one by cutting it. */
static int descriptor_in(int64_t op, int64_t argument)
{
	int64_t fd = op == RN_POLL ? argument & 0xffffffff : argument;
	return fd >= 0 && fd <= INT32_MAX ? (int)fd : -1;
}

static int start(struct rn_core *core, int64_t op, int64_t handle, int64_t argument,
		 struct reader *in)
{
	static const uint8_t roles[] = {[RN_LISTEN] = ROLE_LISTENER,
					[RN_ADOPT] = ROLE_STREAM,
					[RN_CONNECT] = ROLE_STREAM,
					[RN_POLL] = ROLE_POLL,
					[RN_ADOPT_PACKETS] = ROLE_PACKETS};
	struct slot *slot;
	const char *address = NULL;
	int64_t size = 0;
	if (((uint64_t)handle & INDEX_MASK) >= core->bounds.slots)
		return -EINVAL;
	if (op == RN_CONNECT) {
		if (!read_bytes(in, &size, sizeof size))
			return -EINVAL;
		address = in->at;
		if (!skip_bytes(in, size))
			return -EINVAL;
	}
	int ret = slot_start(core, handle, roles[op], descriptor_in(op, argument), &slot);
	if (ret < 0)
		return ret;
	if (op == RN_LISTEN)
		slot_listen(core, slot);
	else if (op == RN_ADOPT)
		slot_adopt(core, slot);
	else if (op == RN_CONNECT)
		slot_connect(core, slot, address, (size_t)size);
	else if (op == RN_ADOPT_PACKETS)
		packets_adopt(core, slot);
	else
		slot_poll(core, slot, (uint32_t)(argument >> 32));
	return 0;
}

/* What is in the block is not aligned, hence memcpy. */
static int64_t word_at(const char *at, int64_t offset)
{
	int64_t word;
	memcpy(&word, at + offset, sizeof word);
	return word;
}

static const char *address_at(const char *at, int64_t offset)
{
	return (const char *)(intptr_t)word_at(at, offset);
}

static int take_sends(struct rn_core *core, int64_t count, int64_t layout, struct reader *in)
{
	const char *list = in->at;
	if (count < 0 || count > (in->end - in->at) / 8 - 1 || !skip_bytes(in, 8 * (1 + count)))
		return -EINVAL;
	if (!count)
		return 0;
	const char *handles = list + 8;
	const char *pieces = address_at(address_at(list, 0), layout >> 48);
	for (int64_t i = 0; i < count; i++) {
		const char *piece = address_at(pieces, 8 * i);
		int64_t size = word_at(piece, layout & 0xffffffff);
		struct slot *slot = find(core, word_at(handles, 8 * i));
		if (size < 0)
			return -EINVAL;
		if (slot)
			stage_borrow(core, slot, piece + (layout >> 32 & 0xffff), (size_t)size);
	}
	return 0;
}

static int take_send_to(struct rn_core *core, int64_t handle, int64_t count, struct reader *in)
{
	int64_t name_size;
	if (!read_bytes(in, &name_size, sizeof name_size))
		return -EINVAL;
	const char *name = in->at;
	if (!skip_bytes(in, name_size))
		return -EINVAL;
	const char *bytes = in->at;
	if (!skip_bytes(in, count))
		return -EINVAL;
	struct slot *slot = find(core, handle);
	if (slot)
		packets_keep(core, slot, name, (size_t)name_size, bytes, (size_t)count);
	return 0;
}

static int control(struct rn_core *core, struct slot *slot, int64_t op, int64_t argument)
{
	switch (op) {
	case RN_NOTIFY:
		slot_notify(core, slot);
		return 0;
	case RN_PAUSE:
		slot_pause(core, slot);
		return 0;
	case RN_RESUME:
		slot_resume(core, slot);
		return 0;
	case RN_SHUTDOWN:
		slot_shutdown(core, slot);
		return 0;
	case RN_CLOSE:
		if (argument < RN_GRACEFUL || (argument > RN_RESET && argument != RN_LEAVE))
			return -EINVAL;
		slot_close(core, slot, (int)argument);
		return 0;
	}
	return -EINVAL;
}

static int take_command(struct rn_core *core, struct reader *in)
{
	int64_t word[3]; /* operation, handle, argument */
	if (!read_bytes(in, word, sizeof word))
		return -EINVAL;
	switch (word[0]) {
	case RN_SENDS:
		return take_sends(core, word[1], word[2], in);
	case RN_WAKE_OTHER:
		wake_other(core, (int)(word[2] & 0xffffffff));
		return 0;
	case RN_SEND_TO:
		return take_send_to(core, word[1], word[2], in);
	case RN_LISTEN:
	case RN_ADOPT:
	case RN_ADOPT_PACKETS:
	case RN_CONNECT:
	case RN_POLL:
		return start(core, word[0], word[1], word[2], in);
	case RN_NOTIFY:
	case RN_PAUSE:
	case RN_RESUME:
	case RN_SHUTDOWN:
	case RN_CLOSE: {
		struct slot *slot = find(core, word[1]);
		return slot ? control(core, slot, word[0], word[2]) : 0;
	}
	}
	return -EINVAL;
}

int take_commands(struct rn_core *core, const char *commands, int64_t size)
{
	if (!size)
		return 0; /* `commands` may be NULL, to which not even 0 may be added */
	struct reader in = {commands, commands + size};
	int ret = 0;
	while (in.at < in.end && !ret && !core->failure)
		ret = take_command(core, &in);
	return ret;
}
