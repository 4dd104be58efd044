/* The rows of a matrix that are nearest to a query, by the inner product. */
#ifndef DUET_EVAL_SEARCH_H
#define DUET_EVAL_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* The k rows of gallery [n, dim] nearest to each query [queries, dim], best first, of equals the first one:
 * indices and scores [queries, k], the caller's. k is 1 to n, n at most INT32_MAX; an embedding that is not
 * finite is refused. The gallery is read once for every 1,024 queries, at the memory's rate for one; of the
 * similarities 16 MiB stand in memory. A score's last bits depend on how many queries are asked at a time. */
bool dt_search(const float *query, size_t queries, const float *gallery, size_t n, size_t dim, size_t k,
               int32_t *indices, float *scores, dt_error *error);

#endif
