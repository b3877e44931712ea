/* One connection of the client: TCP on loopback, and TLS on it where asked for. */
#ifndef STREAM_H
#define STREAM_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stream {
    int fd;
    SSL *tls;
    int epoll;
    void *owner;                /* what epoll gives with this connection's events */
    uint32_t watched;           /* events that epoll tells of */
    uint8_t *out;               /* what the kernel has not taken yet */
    size_t out_size, out_sent, out_room;
};

/* Begin to connect; return 0, or -1 with errno. */
int stream_begin(struct stream *s, int port, int epoll, void *owner);
/* Return the error of the connect that has ended, or 0. */
int stream_connect_error(const struct stream *s);
/* Go on with the TLS handshake; return 1 when it is done, 0 to be called again, -1 for a failure. */
int stream_secure(struct stream *s, SSL_CTX *context);
/* Return bytes read, 0 for none now, -1 for a lost connection, -2 for its orderly end. */
ssize_t stream_read(struct stream *s, uint8_t *into, size_t size);
/* Send, or keep what the kernel does not take; return -1 for a lost connection. */
int stream_write(struct stream *s, const uint8_t *bytes, size_t size);
/* Send what was kept; return 1 when all of it is gone, 0 for more to do, -1 for a lost connection. */
int stream_write_kept(struct stream *s);
/* Watch for what comes in, or don't. */
void stream_read_on(struct stream *s, int wanted);
void stream_close(struct stream *s);

#endif
