#include "samples.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t *samples; /* in tenths of a microsecond */
static size_t count, room;

void samples_clear(void)
{
    count = 0;
}

void samples_add(uint64_t nanoseconds)
{
    if (count == room) {
        room = room ? 2 * room : 1 << 16;
        samples = realloc(samples, room * sizeof *samples);
    }
    samples[count++] = (uint32_t)(nanoseconds / 100);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_us(double part)
{
    return count ? samples[(size_t)(part * (double)(count - 1))] / 10.0 : 0.0;
}

void samples_print(void)
{
    if (count)
        qsort(samples, count, sizeof *samples, compare);
    printf("\"count\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f", count,
           quantile_us(0.5), quantile_us(0.99), quantile_us(1));
}
