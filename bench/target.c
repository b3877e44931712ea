/* A VNC server without a screen: it does the RFB handshake (3.8, security type None), then what
 * the commands of wire.h ask for. One thread, epoll, any number of connections.
 *
 *     target PORT          listens on 127.0.0.1; prints "listening" and runs until it is killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

enum { CHUNK = 256 * 1024, EVENTS = 1024, MOST_PACED = 4096, PACE_BACKLOG = 1 << 20 };
enum stage { VERSION, SECURITY, CLIENT_INIT, COMMANDS, SINKING, ECHOING };

struct connection {
    enum stage stage;
    int held;             /* bytes in `part` */
    uint8_t part[16];     /* of a message that is not complete */
    uint64_t to_sink;
    uint64_t to_send;     /* of a flood */
    uint8_t *backlog;     /* of an echo that the socket did not take */
    size_t backlog_size, backlog_sent;
    int waits_to_write;
    uint64_t pace_bytes, pace_interval_ns, pace_next_ns;
};

static int epoll;
static struct connection **connections; /* by descriptor */
static int most_connections;
static int paced[MOST_PACED], paced_count;
static uint8_t shared[CHUNK]; /* what is read */
static uint8_t picture[CHUNK]; /* what floods are made of */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, operation, fd, &event) < 0)
        die("epoll_ctl");
}

static void drop(int fd)
{
    for (int i = 0; i < paced_count; i++)
        if (paced[i] == fd)
            paced[i--] = paced[--paced_count];
    free(connections[fd]->backlog);
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static void wait_to_write(int fd, int wanted)
{
    struct connection *c = connections[fd];
    if (c->waits_to_write == wanted)
        return;
    c->waits_to_write = wanted;
    /* What can't be echoed is not read either. */
    int reads = !(wanted && c->backlog);
    watch(fd, EPOLL_CTL_MOD, (reads ? EPOLLIN : 0) | (wanted ? EPOLLOUT : 0));
}

/* Send what is due; return -1 when the connection was dropped. */
static int write_due(int fd)
{
    struct connection *c = connections[fd];
    while (c->backlog || c->to_send) {
        const uint8_t *from = c->backlog ? c->backlog + c->backlog_sent : picture;
        size_t size = c->backlog ? c->backlog_size - c->backlog_sent
                                 : (c->to_send < CHUNK ? c->to_send : CHUNK);
        ssize_t sent = send(fd, from, size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (sent < 0) {
            drop(fd);
            return -1;
        }
        if (!c->backlog) {
            c->to_send -= (uint64_t)sent;
        } else if ((c->backlog_sent += (size_t)sent) == c->backlog_size) {
            free(c->backlog);
            c->backlog = NULL;
        }
    }
    wait_to_write(fd, c->backlog || c->to_send);
    return 0;
}

static int say(int fd, const void *bytes, size_t size)
{
    ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
    if (sent == (ssize_t)size)
        return 0;
    if (sent < 0 && errno != EAGAIN) {
        drop(fd);
        return -1;
    }
    struct connection *c = connections[fd];
    c->backlog_size = size - (sent > 0 ? (size_t)sent : 0);
    c->backlog_sent = 0;
    c->backlog = malloc(c->backlog_size);
    memcpy(c->backlog, (const uint8_t *)bytes + size - c->backlog_size, c->backlog_size);
    wait_to_write(fd, 1);
    return 0;
}

static int obey(int fd, const struct command *command)
{
    struct connection *c = connections[fd];
    switch (command->operation) {
    case NOTHING:
        return 0;
    case FLOOD:
        c->to_send += command->bytes;
        return write_due(fd);
    case SINK:
        c->to_sink = command->bytes;
        c->stage = SINKING;
        return 0;
    case ECHO:
        c->stage = ECHOING;
        return 0;
    case PACE:
        if (paced_count == MOST_PACED || !command->rate)
            break;
        paced[paced_count++] = fd;
        c->pace_bytes = command->bytes;
        c->pace_interval_ns = 1000000000u / command->rate;
        c->pace_next_ns = now_ns();
        return 0;
    }
    fprintf(stderr, "target: not a command: %d\n", command->operation);
    drop(fd);
    return -1;
}

/* How many bytes the next message of this stage has. */
static int message_size(enum stage stage)
{
    switch (stage) {
    case VERSION:
        return RFB_VERSION_LENGTH;
    case SECURITY:
    case CLIENT_INIT:
        return 1;
    default:
        return sizeof(struct command);
    }
}

static int answer(int fd)
{
    static const uint8_t types[] = {1, RFB_NONE}, ok[4] = {0};
    static const uint8_t server_init[] = {
        4, 0, 3, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0,
        0, 0, 0, 5, 'b', 'e', 'n', 'c', 'h',
    };
    struct connection *c = connections[fd];
    switch (c->stage) {
    case VERSION:
        c->stage = SECURITY;
        return say(fd, types, sizeof types);
    case SECURITY:
        c->stage = CLIENT_INIT;
        return say(fd, ok, sizeof ok);
    case CLIENT_INIT:
        c->stage = COMMANDS;
        return say(fd, server_init, sizeof server_init);
    default: {
        struct command command;
        memcpy(&command, c->part, sizeof command);
        return obey(fd, &command);
    }
    }
}

static void take(int fd, const uint8_t *bytes, size_t size)
{
    struct connection *c = connections[fd];
    while (size) {
        if (c->stage == ECHOING) {
            say(fd, bytes, size);
            return;
        }
        if (c->stage == SINKING) {
            size_t sunk = size < c->to_sink ? size : c->to_sink;
            c->to_sink -= sunk;
            bytes += sunk;
            size -= sunk;
            if (!c->to_sink) {
                c->stage = COMMANDS;
                if (say(fd, "k", 1) < 0)
                    return;
            }
            continue;
        }
        c->part[c->held++] = *bytes++;
        size--;
        if (c->held == message_size(c->stage)) {
            c->held = 0;
            if (answer(fd) < 0)
                return;
        }
    }
}

static void greet(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
            return;
        if (fd < 0 || fd >= most_connections)
            die("accept");
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connections[fd] = calloc(1, sizeof(struct connection));
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
        say(fd, RFB_VERSION, RFB_VERSION_LENGTH);
    }
}

static void serve(const struct epoll_event *event)
{
    int fd = event->data.fd;
    if (!connections[fd]) /* dropped by an earlier event of the same wake-up */
        return;
    if ((event->events & EPOLLOUT) && write_due(fd) < 0)
        return;
    if (!(event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t size = recv(fd, shared, sizeof shared, 0);
    if (size > 0)
        take(fd, shared, (size_t)size);
    else if (size == 0 || (errno != EAGAIN && errno != EINTR))
        drop(fd);
}

/* Send what the paced connections are due; return milliseconds until the next one, or -1. */
static int send_paced(void)
{
    if (!paced_count)
        return -1;
    uint64_t now = now_ns(), next = UINT64_MAX;
    for (int i = paced_count - 1; i >= 0; i--) {
        struct connection *c = connections[paced[i]];
        if (c->pace_next_ns <= now) {
            c->pace_next_ns += c->pace_interval_ns;
            if (c->to_send < PACE_BACKLOG)
                c->to_send += c->pace_bytes;
            if (write_due(paced[i]) < 0)
                continue;
        }
        if (c->pace_next_ns < next)
            next = c->pace_next_ns;
    }
    return next <= now ? 0 : (int)((next - now + 999999) / 1000000);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    most_connections = (int)limit.rlim_max;
    connections = calloc((size_t)most_connections, sizeof *connections);
    for (size_t i = 0; i < sizeof picture; i++)
        picture[i] = (uint8_t)(i * 2654435761u >> 13);

    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0)
        die("target: can't listen");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    puts("listening");
    fflush(stdout);

    static struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, send_paced());
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                greet(listener);
            else
                serve(&events[i]);
        }
    }
}
