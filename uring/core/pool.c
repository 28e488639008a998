/* pool.c: memory for bytes that wait, in a few sizes.
 *
 * The law of this file: what is free is kept up to a bound, so that a steady load allocates nothing.
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>

#define SMALLEST_BLOCK 512U
#define POOL_KEEPS ((size_t)4 << 20) /* bytes; beyond, a free block goes back to the system */

static size_t class_size(int class)
{
	return (size_t)SMALLEST_BLOCK << (2 * class); /* 512 B, 2, 8, 32, 128 KiB */
}

static int class_for(size_t size)
{
	for (int class = 0; class < POOL_CLASSES; class++)
		if (size <= class_size(class))
			return class;
	return -1;
}

bool pool_take(struct pool *pool, struct block *block, size_t size)
{
	int class = class_for(size);
	block->used = 0;
	block->size = class < 0 ? size : class_size(class);
	if (class >= 0 && pool->free[class]) {
		block->at = pool->free[class];
		memcpy(&pool->free[class], block->at, sizeof(void *));
		pool->kept -= block->size;
		return true;
	}
	block->at = malloc(block->size);
	return block->at != NULL;
}

void pool_give(struct pool *pool, struct block *block)
{
	int class = class_for(block->size);
	if (class >= 0 && class_size(class) == block->size && pool->kept + block->size <= POOL_KEEPS) {
		memcpy(block->at, &pool->free[class], sizeof(void *));
		pool->free[class] = block->at;
		pool->kept += block->size;
	} else {
		free(block->at);
	}
	*block = (struct block){0};
}

void pool_dispose(struct pool *pool)
{
	for (int class = 0; class < POOL_CLASSES; class++) {
		while (pool->free[class]) {
			void *next;
			memcpy(&next, pool->free[class], sizeof next);
			free(pool->free[class]);
			pool->free[class] = next;
		}
	}
}
