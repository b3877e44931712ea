#define _GNU_SOURCE
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void watch(struct stream *s, uint32_t events)
{
    if (s->watched == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = s->owner};
    epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->fd, &event);
    s->watched = events;
}

int stream_begin(struct stream *s, int port, int epoll, void *owner)
{
    memset(s, 0, sizeof *s);
    s->epoll = epoll;
    s->owner = owner;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return -1;
    int one = 1;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    s->watched = EPOLLOUT;
    struct epoll_event event = {.events = s->watched, .data.ptr = owner};
    epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int done = connect(s->fd, (struct sockaddr *)&to, sizeof to);
    return done < 0 && errno != EINPROGRESS ? -1 : 0;
}

int stream_connect_error(const struct stream *s)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

int stream_secure(struct stream *s, SSL_CTX *context)
{
    if (!s->tls) {
        s->tls = SSL_new(context);
        SSL_set_fd(s->tls, s->fd);
    }
    ERR_clear_error();
    int done = SSL_connect(s->tls);
    if (done == 1) {
        watch(s, EPOLLIN);
        return 1;
    }
    switch (SSL_get_error(s->tls, done)) {
    case SSL_ERROR_WANT_READ:
        watch(s, EPOLLIN);
        return 0;
    case SSL_ERROR_WANT_WRITE:
        watch(s, EPOLLIN | EPOLLOUT);
        return 0;
    default:
        return -1;
    }
}

/* Whether a TLS call could do nothing now, but may later. */
static int tls_waits(const struct stream *s, int done)
{
    int error = SSL_get_error(s->tls, done);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

ssize_t stream_read(struct stream *s, uint8_t *into, size_t size)
{
    if (!s->tls) {
        ssize_t got = recv(s->fd, into, size, 0);
        return got > 0 ? got : got == 0 ? -2 : (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    ERR_clear_error();
    int got = SSL_read(s->tls, into, (int)size);
    if (got > 0)
        return got;
    return tls_waits(s, got) ? 0 : SSL_get_shutdown(s->tls) & SSL_RECEIVED_SHUTDOWN ? -2 : -1;
}

static ssize_t put(struct stream *s, const uint8_t *bytes, size_t size)
{
    if (!s->tls) {
        ssize_t sent = send(s->fd, bytes, size, MSG_NOSIGNAL);
        return sent >= 0 ? sent : (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    ERR_clear_error();
    int sent = SSL_write(s->tls, bytes, (int)size);
    return sent > 0 ? sent : tls_waits(s, sent) ? 0 : -1;
}

int stream_write(struct stream *s, const uint8_t *bytes, size_t size)
{
    while (size && !s->out_size) {
        ssize_t sent = put(s, bytes, size);
        if (sent < 0)
            return -1;
        if (!sent)
            break;
        bytes += sent;
        size -= (size_t)sent;
    }
    if (!size)
        return 0;
    if (s->out_size + size > s->out_room) {
        s->out_room = 2 * (s->out_size + size);
        s->out = realloc(s->out, s->out_room);
    }
    memcpy(s->out + s->out_size, bytes, size);
    s->out_size += size;
    watch(s, s->watched | EPOLLOUT);
    return 0;
}

int stream_write_kept(struct stream *s)
{
    while (s->out_sent < s->out_size) {
        ssize_t sent = put(s, s->out + s->out_sent, s->out_size - s->out_sent);
        if (sent <= 0)
            return (int)sent;
        s->out_sent += (size_t)sent;
    }
    s->out_size = s->out_sent = 0;
    watch(s, s->watched & ~(uint32_t)EPOLLOUT);
    return 1;
}

void stream_read_on(struct stream *s, int wanted)
{
    watch(s, wanted ? s->watched | EPOLLIN : s->watched & ~(uint32_t)EPOLLIN);
}

void stream_close(struct stream *s)
{
    if (s->tls) {
        ERR_clear_error();
        SSL_shutdown(s->tls);
        SSL_free(s->tls);
    }
    if (s->fd >= 0)
        close(s->fd);
    free(s->out);
    s->tls = NULL;
    s->out = NULL;
    s->fd = -1;
}
