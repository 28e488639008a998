/* pins.c: bytes of the caller that are still to be sent when their turn ends.
 *
 * The law of this file: nothing is pinned before the turn ends, however much comes and goes in it. So
 * the lists have room for all that there can be, and what came and went needs neither.
 */
#include "core.h"

/* Whether the flight points to bytes that stay for this turn only. */
bool is_borrowed(const struct slot *slot)
{
	return (slot->flags & (REFERRED | PINNED)) == REFERRED;
}

/* At the end of the turn this one has to be looked at. */
void note_fresh(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & IS_FRESH)
		return;
	slot->flags |= IS_FRESH;
	must_push(core, &core->fresh, index_of(core, slot));
}

static void pin(struct rn_core *core, const char *bytes)
{
	must_push(core, &core->shared.pinned, (int64_t)(intptr_t)bytes);
}

static void pin_flight(struct rn_core *core, struct slot *slot)
{
	if (!is_borrowed(slot))
		return;
	slot->flags |= PINNED;
	pin(core, slot->flight.at);
}

static void pin_waiting(struct rn_core *core, struct slot *slot)
{
	for (struct piece *piece = slot->waiting; piece; piece = piece->next) {
		if (piece->fresh)
			pin(core, piece->bytes.at);
		piece->fresh = false;
	}
}

/* The end of a turn: what of its bytes is still to be sent has to stay where it is. */
void stage_pin(struct rn_core *core)
{
	for (int64_t i = 0; i < core->inline_sends.count; i++) {
		struct slot *slot = &core->slots[core->inline_sends.items[i]];
		if (slot->flags & INLINE)
			pin_flight(core, slot);
	}
	for (int64_t i = 0; i < core->fresh.count; i++) {
		struct slot *slot = &core->slots[core->fresh.items[i]];
		slot->flags &= ~IS_FRESH;
		if (slot->role != ROLE_STREAM)
			continue;
		pin_flight(core, slot);
		pin_waiting(core, slot);
	}
	core->fresh.count = 0;
}

/* What was pinned in an earlier turn need not stay any more. */
void unpin(struct rn_core *core, const char *bytes)
{
	must_push(core, &core->shared.released, (int64_t)(intptr_t)bytes);
}
