/* The measuring client: opens console sessions, and does with them what lines on its standard
 * input ask for (measures.c has the commands). Each line is answered by one line of JSON.
 *
 *     client PORT raw|tls|ws|wss [FILE]      FILE has the WebSockets' paths, one a line
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "measures.h"
#include "session.h"

static struct way way;

static void read_paths(const char *name)
{
    static char *root[] = {"/"};
    way.paths = root;
    way.path_count = 1;
    if (!name)
        return;
    FILE *file = fopen(name, "r");
    if (!file) {
        perror(name);
        exit(1);
    }
    way.paths = NULL;
    way.path_count = 0;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        way.paths = realloc(way.paths, (size_t)(way.path_count + 1) * sizeof *way.paths);
        way.paths[way.path_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: client PORT raw|tls|ws|wss [FILE]\n", stderr);
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    way.port = atoi(argv[1]);
    way.websocket = argv[2][0] == 'w';
    read_paths(argc > 3 ? argv[3] : NULL);
    if (!strcmp(argv[2], "tls") || !strcmp(argv[2], "wss")) {
        way.tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(way.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    measures_prepare(epoll, limit.rlim_max < 100000 ? (int)limit.rlim_max : 100000);
    sessions_prepare(&way, epoll);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}; /* the standard input */
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    setvbuf(stdin, NULL, _IONBF, 0);

    char line[256];
    for (;;) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        while (poll(&input, 1, 0) <= 0) /* idle sessions answer their pings meanwhile */
            measures_turn(100);
        if (!fgets(line, sizeof line, stdin))
            return 0;
        measures_obey(line);
    }
}
