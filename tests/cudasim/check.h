/* For the tests of the simulator itself: launches as launch.h makes them, on a stream of the test's choice, and
 * checks of what is found. */
#ifndef DUET_TESTS_CUDASIM_CHECK_H
#define DUET_TESTS_CUDASIM_CHECK_H

#include "tests/cudasim/control.h"
#include "tests/cudasim/cuda_runtime.h"

#include "tests/tap.h"

#define LAUNCH_ON(on, kernel, grid, block, shared, ...)                                                           \
    cudasim_launch({#kernel, __FILE__, __LINE__}, grid, block, shared, on, kernel, __VA_ARGS__)
#define LAUNCH(kernel, grid, block, shared, ...) LAUNCH_ON(stream, kernel, grid, block, shared, __VA_ARGS__)
#define SHARED(type, name, count)                                                                                 \
    static const char name##_site = 0;                                                                            \
    type *name = static_cast<type *>(cudasim_shared(&name##_site, #name, sizeof(type) * (count)))

/* The device's complaint after all that waits is done; "" where there is none. */
static inline const char *complaint(void)
{
    cudaError_t error = cudaDeviceSynchronize();
    return error ? cudaGetErrorString(error) : "";
}

/* What was asked for is found wrong, by every order of turns, in words that hold both texts. */
static inline void expect(const char *name, void (*ask)(), const char *first, const char *second)
{
    const cudasim_turns orders[] = {CUDASIM_FORWARD, CUDASIM_REVERSE, CUDASIM_RANDOM};
    for (int i = 0; i < 3; i++) {
        cudasim_set_order(orders[i]);
        ask();
        const char *found = complaint();
        ok(strstr(found, first) && strstr(found, second), "%s: %s", name, *found ? found : "not found");
        cudasim_reset();
    }
}

static inline void expect_none(const char *name, void (*ask)())
{
    for (int order = CUDASIM_FORWARD; order <= CUDASIM_RANDOM; order++) {
        cudasim_set_order((cudasim_turns)order);
        ask();
        const char *found = complaint();
        ok(!*found, "%s passes: %s", name, *found ? found : "no fault");
        cudasim_reset();
    }
}

#endif
