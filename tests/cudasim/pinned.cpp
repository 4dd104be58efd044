/* Memory of the host that copies read when they are done, and not when they are asked for. */
#include "tests/cudasim/stream.h"

#include <algorithm>
#include <map>
#include <stdlib.h>

namespace
{

std::map<uintptr_t, cudasim_shared_pinned> allocations; /* those that live, by their start */

/* To tell whether bytes were changed. */
uint64_t sum_of(uintptr_t start, size_t bytes)
{
    const unsigned char *from = reinterpret_cast<const unsigned char *>(start);
    uint64_t sum = bytes, word;
    for (; bytes >= sizeof word; bytes -= sizeof word, from += sizeof word) {
        memcpy(&word, from, sizeof word);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
        sum ^= sum >> 29;
    }
    for (; bytes; bytes--)
        sum = (sum ^ *from++) * 0x9e3779b97f4a7c15u;
    return sum;
}

} // namespace

cudasim_shared_pinned cudasim_pinned_find(const void *memory, size_t bytes)
{
    uintptr_t at = reinterpret_cast<uintptr_t>(memory);
    auto after = allocations.upper_bound(at);
    if (after == allocations.begin())
        return nullptr;
    auto found = std::prev(after)->second;
    return at <= found->end && bytes <= found->end - at ? found : nullptr;
}

cudasim_shared_reading cudasim_pinned_ask(cudasim_pinned *pinned, const void *memory, size_t bytes)
{
    uintptr_t at = reinterpret_cast<uintptr_t>(memory);
    uint64_t sum = pinned->live ? sum_of(at, bytes) : 0;
    auto reading = std::make_shared<cudasim_reading>(cudasim_reading{at, at + bytes, sum, false});
    pinned->readings.push_back(reading);
    return reading;
}

const char *cudasim_pinned_done(cudasim_pinned *pinned, const cudasim_shared_reading &reading)
{
    auto &all = pinned->readings;
    all.erase(std::remove(all.begin(), all.end(), reading), all.end());
    if (!pinned->live)
        return " that was released";
    bool same = reading->rewritten || sum_of(reading->start, reading->end - reading->start) == reading->sum;
    return same ? nullptr : ": the host changed them before the copy was done";
}

bool cudasim_pinned_awaited(cudasim_pinned *pinned, const void *memory, size_t bytes, bool rewritten)
{
    uintptr_t at = reinterpret_cast<uintptr_t>(memory);
    bool awaited = false;
    for (const auto &reading : pinned->readings)
        if (reading->start < at + bytes && at < reading->end) {
            awaited = true;
            reading->rewritten |= rewritten;
        }
    return awaited;
}

void cudasim_pinned_reset()
{
    for (const auto &pinned : allocations)
        pinned.second->readings.clear();
}

/* Its contents are nothing to rely on: NaNs. */
cudaError_t cudaMallocHost(void **memory, size_t bytes)
{
    *memory = nullptr;
    if (cudaError_t error = cudasim_uncaptured(nullptr))
        return error;
    if (!bytes)
        return cudasim_state();
    if (posix_memalign(memory, 4096, bytes))
        return cudasim_refuse(cudaErrorMemoryAllocation);
    memset(*memory, 0xff, bytes);
    uintptr_t start = reinterpret_cast<uintptr_t>(*memory);
    allocations[start] = std::make_shared<cudasim_pinned>(cudasim_pinned{start, start + bytes, true, {}});
    return cudasim_state();
}

/* Does not wait for the copies that still need it. */
cudaError_t cudaFreeHost(void *memory)
{
    if (cudaError_t error = cudasim_uncaptured(nullptr))
        return error;
    auto found = allocations.find(reinterpret_cast<uintptr_t>(memory));
    if (memory && found == allocations.end()) {
        cudasim_note("cudaFreeHost: %p is no live allocation", memory);
        return cudasim_refuse(cudaErrorInvalidValue);
    }
    if (memory) {
        found->second->live = false;
        allocations.erase(found);
        free(memory);
    }
    return cudasim_state();
}
