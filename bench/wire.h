/* What the client asks of the target, once the RFB handshake is done. Both run on one machine, so
 * the numbers travel in its own byte order. */
#ifndef WIRE_H
#define WIRE_H

#include <stdint.h>
#include <time.h>

enum {
    NOTHING = 'n', /* is not answered, like a key event */
    FLOOD = 'f',   /* send `bytes` bytes */
    SINK = 's',    /* take `bytes` bytes, then send one */
    ECHO = 'e',    /* from now on send back whatever comes */
    PACE = 'p',    /* from now on send `bytes` bytes `rate` times a second; commands go on */
};

struct command {
    uint8_t operation;
    uint8_t unused[3];
    uint32_t rate;
    uint64_t bytes;
};

_Static_assert(sizeof(struct command) == 16, "a command is 16 bytes");

static const char RFB_VERSION[] = "RFB 003.008\n";
enum { RFB_VERSION_LENGTH = 12, RFB_NONE = 1 };

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
