/* The measures that the client can take of its sessions. */
#ifndef MEASURES_H
#define MEASURES_H

void measures_prepare(int epoll, int most_sessions);
/* Do what a line asks for, and answer it with a line of JSON. */
void measures_obey(const char *line);
/* Serve what is ready, after waiting for so long at most. */
void measures_turn(int wait_ms);

#endif
