#define _GNU_SOURCE
#include "measures.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "samples.h"
#include "session.h"
#include "wire.h"

enum {
    EVENTS = 1024,
    BIGGEST_ECHO = 64 * 1024,
    PASTE_PIECE = 10 * 1024, /* noVNC's send buffer: the size of its messages in a large paste */
    STALL_S = 60,            /* a measure that makes no progress for so long has failed */
};
#define SECOND_NS 1000000000ull
#define MS_NS 1000000ull

static int epoll;
static struct session *sessions;
static int begun, open_count, room;       /* sessions begun, of these open, and how many fit */
static int failed;
static char first_fault[120];

static enum { IDLE, COUNTING, ECHOING, PULSING, STREAMING, PASTING } doing;
static int unfinished;                    /* sessions that the measure waits for */
static size_t message_size;
static uint64_t stop_sending_ns;
static uint64_t streamed;
static uint8_t message[BIGGEST_ECHO];

void measures_prepare(int descriptor, int most_sessions)
{
    epoll = descriptor;
    room = most_sessions;
    sessions = calloc((size_t)room, sizeof *sessions);
}

static void answer(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    printf("{");
    vprintf(format, values);
    va_end(values);
    printf(", ");
    samples_print();
    printf(", \"open\": %d, \"failed\": %d, \"fault\": \"%s\"}\n", open_count, failed,
           first_fault);
    fflush(stdout);
    samples_clear();
}

/* ---- what sessions tell ---- */

void session_changed(struct session *s, const char *why)
{
    if (s->phase == OPEN) {
        open_count++;
        samples_add(now_ns() - s->began_ns);
        return;
    }
    if (!why)
        return;
    failed++;
    if (!first_fault[0]) {
        snprintf(first_fault, sizeof first_fault, "%s", why);
        for (char *c = first_fault; *c; c++)
            if (*c == '"' || *c == '\\' || *c < ' ')
                *c = '\'';
    }
}

static void send_command(struct session *s, uint8_t operation, uint64_t bytes, uint32_t rate)
{
    struct command command = {.operation = operation, .rate = rate, .bytes = bytes};
    session_send(s, &command, sizeof command);
}

static void ask(struct session *s)
{
    s->wanted = message_size;
    s->sent_ns = now_ns();
    session_send(s, message, message_size);
}

static void paste_more(struct session *s)
{
    static const uint8_t piece[PASTE_PIECE];
    while (s->to_paste && !s->stream.out_size && s->phase == OPEN) {
        size_t size = s->to_paste < PASTE_PIECE ? s->to_paste : PASTE_PIECE;
        s->to_paste -= size;
        session_send(s, piece, size);
    }
}

void session_drained(struct session *s)
{
    if (doing == PASTING)
        paste_more(s);
}

void session_received(struct session *s, const uint8_t *bytes, size_t size)
{
    (void)bytes;
    if (doing == STREAMING && !s->echoing) {
        streamed += size;
        return;
    }
    s->wanted -= size < s->wanted ? size : s->wanted;
    if (s->wanted)
        return;
    uint64_t now = now_ns();
    if (s->sent_ns)
        samples_add(now - s->sent_ns);
    s->sent_ns = 0;
    if (doing == ECHOING && now < stop_sending_ns)
        ask(s);
    else
        unfinished--;
}

/* ---- the loop ---- */

void measures_turn(int wait_ms)
{
    static struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, wait_ms);
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr)
            session_serve(events[i].data.ptr, events[i].events);
}

static void turn_until(uint64_t when_ns)
{
    for (uint64_t now; (now = now_ns()) < when_ns;) {
        uint64_t left_ms = (when_ns - now) / MS_NS;
        /* Busy in the last millisecond, to be on time. */
        measures_turn(left_ms > 100 ? 100 : (int)left_ms);
    }
}

/* Return whether the measure came to its end. */
static int turn_until_finished(void)
{
    uint64_t now = now_ns(), until = stop_sending_ns > now ? stop_sending_ns : now;
    uint64_t give_up = until + STALL_S * SECOND_NS;
    while (unfinished > 0 && !failed && now_ns() < give_up)
        measures_turn(100);
    return unfinished <= 0;
}

static double since(uint64_t start_ns)
{
    return (double)(now_ns() - start_ns) / 1e9;
}

static void begin(int what, int waits_for)
{
    doing = what;
    unfinished = waits_for;
    stop_sending_ns = 0;
    samples_clear();
}

static void echo_from_now_on(struct session *s)
{
    if (!s->echoing)
        send_command(s, ECHO, 0, 0);
    s->echoing = 1;
}

/* ---- the commands ---- */

/* open COUNT IN_FLIGHT: open that many more sessions, so many at a time. */
static void do_open(int count, int in_flight)
{
    begin(IDLE, 0);
    uint64_t start = now_ns(), progress = start;
    int until = begun + count, before = open_count;
    if (until > room) {
        failed += count;
        answer("\"seconds\": 0, \"error\": \"too many sessions\"");
        return;
    }
    while (open_count - before + failed < count && now_ns() - progress < STALL_S * SECOND_NS) {
        while (begun < until && begun - open_count - failed < in_flight) {
            session_begin(&sessions[begun], begun);
            begun++;
            progress = now_ns();
        }
        measures_turn(100);
    }
    answer("\"seconds\": %.6f, \"finished\": %d", since(start), open_count - before == count);
}

/* close: close all of them. */
static void do_close(void)
{
    begin(IDLE, 0);
    uint64_t start = now_ns();
    for (int i = 0; i < begun; i++)
        session_close(&sessions[i], NULL);
    begun = open_count = failed = 0;
    first_fault[0] = 0;
    answer("\"seconds\": %.6f", since(start));
}

/* echo SESSIONS SIZE SECONDS: each of the first SESSIONS sends SIZE bytes, and again as soon as
 * they have come back. */
static void do_echo(int count, size_t size, double seconds)
{
    begin(ECHOING, count);
    message_size = size;
    for (int i = 0; i < count; i++)
        echo_from_now_on(&sessions[i]);
    uint64_t start = now_ns();
    stop_sending_ns = start + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < count; i++)
        ask(&sessions[i]);
    int done = turn_until_finished();
    answer("\"seconds\": %.6f, \"finished\": %d", since(start), done);
}

/* flood BYTES: the first session takes that many. */
static void do_flood(uint64_t bytes)
{
    begin(COUNTING, 1);
    sessions[0].wanted = bytes;
    uint64_t start = now_ns();
    send_command(&sessions[0], FLOOD, bytes, 0);
    int done = turn_until_finished();
    answer("\"seconds\": %.6f, \"finished\": %d", since(start), done);
}

/* paste BYTES: the first session sends that many, and waits until the target has them all. */
static void do_paste(uint64_t bytes)
{
    begin(PASTING, 1);
    struct session *s = &sessions[0];
    s->wanted = 1;
    s->to_paste = bytes;
    uint64_t start = now_ns();
    send_command(s, SINK, bytes, 0);
    paste_more(s);
    int done = turn_until_finished();
    answer("\"seconds\": %.6f, \"finished\": %d", since(start), done);
}

/* trap COUNT: a message that nobody answers, 5 ms later one that is; how long that answer takes. */
static void do_trap(int count)
{
    begin(COUNTING, 0);
    struct session *s = &sessions[0];
    for (int i = 0; i < count && !failed; i++) {
        send_command(s, NOTHING, 0, 0);
        turn_until(now_ns() + 5 * MS_NS);
        unfinished = 1;
        s->wanted = 16;
        s->sent_ns = now_ns();
        send_command(s, FLOOD, 16, 0);
        turn_until_finished();
        turn_until(now_ns() + 60 * MS_NS); /* the delayed acknowledgement must not help the next */
    }
    answer("\"finished\": %d", unfinished == 0);
}

/* desktop SESSIONS SIZE RATE SECONDS: SESSIONS of them take updates and send as many unanswered
 * messages; the session after them sends 8 bytes every 5 ms, and its echo is timed. */
static void do_desktop(int count, uint64_t size, uint32_t rate, double seconds)
{
    begin(STREAMING, 0);
    struct session *typist = &sessions[count];
    uint64_t interval = SECOND_NS / rate, now = now_ns();
    echo_from_now_on(typist);
    for (int i = 0; i < count; i++) {
        turn_until(now + interval * (uint64_t)i / (uint64_t)count); /* spread over one interval */
        send_command(&sessions[i], PACE, size, rate);
        sessions[i].due_ns = now_ns() + interval;
    }
    turn_until(now_ns() + SECOND_NS / 2);
    streamed = 0;
    samples_clear();
    message_size = 8;
    uint64_t start = now_ns(), next_key = start, end = start + (uint64_t)(seconds * 1e9);
    while ((now = now_ns()) < end && !failed) {
        for (int i = 0; i < count; i++) {
            if (sessions[i].due_ns <= now) {
                sessions[i].due_ns += interval;
                send_command(&sessions[i], NOTHING, 0, 0);
            }
        }
        if (next_key <= now && !typist->sent_ns) {
            next_key = now + 5 * MS_NS;
            ask(typist);
        }
        measures_turn(1);
    }
    double took = since(start);
    answer("\"seconds\": %.6f, \"bytes\": %llu", took, (unsigned long long)streamed);
}

/* pulse SECONDS RATE: every session echoes 8 bytes, RATE times a second. */
static void do_pulse(double seconds, int rate)
{
    begin(PULSING, 0);
    message_size = 8;
    uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
    uint64_t interval = SECOND_NS / (uint64_t)rate;
    int missed = 0, next = 0;
    for (int i = 0; i < begun; i++) {
        echo_from_now_on(&sessions[i]);
        sessions[i].due_ns = start + interval * (uint64_t)i / (uint64_t)begun;
        if (i % 64 == 0)
            measures_turn(0);
    }
    for (uint64_t now; (now = now_ns()) < end && !failed;) {
        for (; sessions[next].due_ns <= now; next = (next + 1) % begun) {
            struct session *s = &sessions[next];
            s->due_ns += interval;
            if (s->sent_ns) {
                missed++;
            } else {
                unfinished++;
                ask(s);
            }
        }
        measures_turn(1);
    }
    int done = turn_until_finished();
    answer("\"seconds\": %.6f, \"missed\": %d, \"finished\": %d", since(start), missed, done);
}

/* stall BYTES: the first session is offered that many, and does not read; drain: it reads them. */
static void do_stall(uint64_t bytes)
{
    begin(COUNTING, 1);
    sessions[0].wanted = bytes;
    send_command(&sessions[0], FLOOD, bytes, 0);
    stream_read_on(&sessions[0].stream, 0);
    answer("\"seconds\": 0");
}

static void do_drain(void)
{
    uint64_t start = now_ns();
    stream_read_on(&sessions[0].stream, 1);
    int done = turn_until_finished();
    answer("\"seconds\": %.6f, \"finished\": %d", since(start), done);
}

void measures_obey(const char *line)
{
    unsigned long long a = 0, b = 0;
    double c = 0, d = 0;
    char verb[16] = "";
    if (sscanf(line, "%15s %llu %llu %lf %lf", verb, &a, &b, &c, &d) < 1)
        return;
    if (!strcmp(verb, "open"))
        do_open((int)a, (int)b);
    else if (!strcmp(verb, "close"))
        do_close();
    else if (!strcmp(verb, "echo"))
        do_echo((int)a, b <= BIGGEST_ECHO ? b : BIGGEST_ECHO, c);
    else if (!strcmp(verb, "flood"))
        do_flood(a);
    else if (!strcmp(verb, "paste"))
        do_paste(a);
    else if (!strcmp(verb, "trap"))
        do_trap((int)a);
    else if (!strcmp(verb, "desktop"))
        do_desktop((int)a, b, (uint32_t)c, d);
    else if (!strcmp(verb, "pulse"))
        do_pulse((double)a, b ? (int)b : 1);
    else if (!strcmp(verb, "stall"))
        do_stall(a);
    else if (!strcmp(verb, "drain"))
        do_drain();
    else
        answer("\"error\": \"not a command\"");
}
