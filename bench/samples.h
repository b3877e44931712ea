/* The times of one measure, in nanoseconds, and what they come to. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stddef.h>
#include <stdint.h>

void samples_clear(void);
void samples_add(uint64_t nanoseconds);
/* Print them as fields of a JSON object: count, median, quantiles and maximum, in microseconds. */
void samples_print(void);

#endif
