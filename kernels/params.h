/* Named parameters in one contiguous buffer, their gradients in another of the same layout, and buffers that
 * training changes but no gradient does (running statistics) in a third. The optimizer, clipping, all-reduce
 * and checkpoints are each one pass over these. Names and layouts are those of the published checkpoints. */
#ifndef DUET_KERNELS_PARAMS_H
#define DUET_KERNELS_PARAMS_H

#include "kernels/graph.h"

typedef struct dt_backend dt_backend;

typedef enum { DT_INIT_ZEROS, DT_INIT_FILL, DT_INIT_NORMAL, DT_INIT_UNIFORM } dt_init_kind;

/* How a parameter starts: the fill value, the standard deviation, or the bound of U(-a, a). */
typedef struct dt_init {
    dt_init_kind kind;
    float value;
} dt_init;

#define dt_zeros        ((dt_init){DT_INIT_ZEROS, 0})
#define dt_ones         ((dt_init){DT_INIT_FILL, 1})
#define dt_filled(v)    ((dt_init){DT_INIT_FILL, (v)})
#define dt_gaussian(sd) ((dt_init){DT_INIT_NORMAL, (sd)})
#define dt_within(a)    ((dt_init){DT_INIT_UNIFORM, (a)})

typedef struct dt_param_info {
    const char *name;
    dt_shape shape;
    dt_init init;
    bool trainable;
    bool decay;     /* weight decay applies: two or more dimensions, as the references have it */
    float rate;     /* its share of the learning rate, 1 at first; 0: frozen (dt_params_set_rate) */
    size_t offset;  /* in floats, into values (trainable) or buffers (not) */
    size_t count;
} dt_param_info;

dt_params *dt_params_new(void); /* NULL: no memory */
void dt_params_free(dt_params *params);

/* The parameter NAME below the scope, declared when first met; later uses must agree on the shape. After
 * dt_params_allocate a new name is an error of the graph. The same name gives the same handle in one graph. */
dt_tensor *dt_param(dt_scope scope, const char *name, dt_shape shape, dt_init init);

/* The same for a buffer: a value that is saved with the parameters but not trained. */
dt_tensor *dt_buffer(dt_scope scope, const char *name, dt_shape shape, dt_init init);

/* Allocates the buffers and sets initial values, a pure function of (seed, name). False: no memory. */
bool dt_params_allocate(dt_params *params, uint64_t seed);

/* In place of dt_params_allocate, for a model that is read: all values are zero, except that those of parameter or buffer i
 * lie at lent[i] where that is not NULL (`lent` may be NULL too). Lent values stay the lender's, are only read, and must
 * outlive the params. With any lent, dt_params_values and dt_params_buffers do not hold the whole, and to record gradients is
 * an error of the graph. False: no memory. */
bool dt_params_place(dt_params *params, const float *const *lent);

bool dt_params_allocated(const dt_params *params); /* by either */

/* Parameters and buffers in the order of declaration. */
int dt_params_count(const dt_params *params);
const dt_param_info *dt_params_info(const dt_params *params, int i);
int dt_params_find(const dt_params *params, const char *name); /* -1: none */

/* How much of the learning rate parameter i gets, 0 or more. A frozen one (0) has no gradient, is not decayed, and what only
 * its gradient would need is not computed: to be set before dt_store_gradients. Without effect on a buffer. */
void dt_params_set_rate(dt_params *params, int i, float rate);

/* All of the following give host memory. Where a device of its own memory computes, what it wrote last is fetched first, and
 * what the caller writes is sent before the next run: a pointer is good for writing until then, and for reading until the params are
 * freed, if it is asked for again after each run. */

/* The values of parameter or buffer i, and its gradient (NULL for a buffer). */
float *dt_params_value(dt_params *params, int i);
float *dt_params_gradient(dt_params *params, int i);

/* The same only to look at, which spares the sending. */
const float *dt_params_look(dt_params *params, int i);

/* The whole contiguous buffers and their lengths in floats. Between parameters lie pads of zeros to 64 bytes. */
float *dt_params_values(dt_params *params);
float *dt_params_gradients(dt_params *params);
float *dt_params_buffers(dt_params *params);
size_t dt_params_size(const dt_params *params);
size_t dt_params_buffer_size(const dt_params *params);
size_t dt_params_trainable(const dt_params *params); /* numbers that are trained, pads not counted */

/* Records d loss / d p for every trainable, not frozen parameter that the graph uses, stored into the gradient buffer when a
 * plan runs; added to what is there when `accumulate`. The second form takes given upstream gradients dys of
 * the results ys. Parameters that the graph does not use keep their gradient (zero from the start). */
void dt_store_gradients(dt_tensor *loss, bool accumulate);
void dt_store_gradients_from(dt_tensor *const *ys, dt_tensor *const *dys, int results, bool accumulate);

/* NULL, or what went wrong on the device that values were brought back from: they are not to be trusted then, nor written anywhere. A text
 * that lives until the next time. */
const char *dt_params_trouble(const dt_params *params);

/* One number of parameter or buffer i, which may lie on a device. */
float dt_params_number(dt_params *params, int i, size_t at);

/* Values of parameter i are kept in [low, high], where the backend computes. */
void dt_params_limit(dt_params *params, const dt_backend *backend, int i, float low, float high);

/* Values i of params := keep values + (1 - keep) values of parameter j of `from`, where the backend computes. Both sets are settled
 * there. */
void dt_params_blend(dt_params *params, int i, dt_params *from, int j, const dt_backend *backend, float keep);

/* Gradients that are all zero, before they are added to. */
void dt_params_clear_gradients(dt_params *params);

/* Records buffer := value, done at the end of a run. `buffer` comes from dt_buffer. */
void dt_update(dt_tensor *buffer, dt_tensor *value);

/* ---- For plans and optimizers (kernels/residence.c) ----
 *
 * Three parts, each of which lies on the host and, where a backend has memory of its own, there too; a set computes on one such
 * backend in its life. */

typedef enum { DT_VALUES = 1, DT_GRADIENTS = 2, DT_BUFFERS = 4, DT_NARROWED = 8 /* values in bfloat16 */ } dt_params_part;

/* Makes room for parts there. False: no memory. */
bool dt_params_settle(dt_params *params, const dt_backend *backend, unsigned parts);

/* Where the backend finds a part, and parameter or buffer i, its gradient (NULL: none) and its values in bfloat16. */
float *dt_params_part_at(dt_params *params, const dt_backend *backend, dt_params_part part);
float *dt_params_value_at(dt_params *params, const dt_backend *backend, int i);
float *dt_params_gradient_at(dt_params *params, const dt_backend *backend, int i);
uint16_t *dt_params_narrowed(dt_params *params); /* of all values; NULL: nobody asked for them */
uint16_t *dt_params_narrowed_at(dt_params *params, int i);

/* Before a run that reads parts: what was written last elsewhere is brought there. After one that wrote them: it is what counts. */
void dt_params_bring(dt_params *params, const dt_backend *backend, unsigned parts);
void dt_params_wrote(dt_params *params, const dt_backend *backend, unsigned parts);

#endif
