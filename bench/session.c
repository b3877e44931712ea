#define _GNU_SOURCE
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "wire.h"

enum { CHUNK = 256 * 1024, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

static const struct way *way;
static int epoll;
static uint8_t shared[CHUNK];
static const uint8_t MASK[4] = {0x5a, 0xc3, 0x17, 0x8e};

void sessions_prepare(const struct way *where, int descriptor)
{
    way = where;
    epoll = descriptor;
}

void session_begin(struct session *s, int index)
{
    memset(s, 0, sizeof *s);
    s->index = index;
    s->began_ns = now_ns();
    if (stream_begin(&s->stream, way->port, epoll, s) < 0)
        session_close(s, strerror(errno));
}

void session_close(struct session *s, const char *why)
{
    if (s->phase == CLOSED)
        return;
    s->phase = CLOSED;
    stream_close(&s->stream);
    session_changed(s, why);
}

static void put(struct session *s, const uint8_t *bytes, size_t size)
{
    if (stream_write(&s->stream, bytes, size) < 0)
        session_close(s, "lost while sending");
}

static void put_frame(struct session *s, int opcode, const uint8_t *bytes, size_t size)
{
    static uint8_t frame[14 + CHUNK];
    size_t at = 0;
    frame[at++] = (uint8_t)(0x80 | opcode);
    if (size < 126) {
        frame[at++] = (uint8_t)(0x80 | size);
    } else if (size < 65536) {
        frame[at++] = 0x80 | 126;
        frame[at++] = (uint8_t)(size >> 8);
        frame[at++] = (uint8_t)size;
    } else {
        frame[at++] = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            frame[at++] = (uint8_t)((uint64_t)size >> shift);
    }
    memcpy(frame + at, MASK, 4);
    at += 4;
    for (size_t i = 0; i < size; i++)
        frame[at + i] = bytes[i] ^ MASK[i & 3];
    put(s, frame, at + size);
}

void session_send(struct session *s, const void *bytes, size_t size)
{
    if (s->phase == CLOSED)
        return;
    if (way->websocket)
        put_frame(s, BINARY, bytes, size);
    else
        put(s, bytes, size);
}

/* ---- the RFB handshake (RFC 6143, section 7) ---- */

static int rfb_message_size(const struct session *s)
{
    const uint8_t *head = (const uint8_t *)s->head;
    switch (s->rfb_step) {
    case 0: /* ProtocolVersion */
        return RFB_VERSION_LENGTH;
    case 1: /* security types */
        return s->head_size ? 1 + head[0] : 1;
    case 2: /* SecurityResult */
        return 4;
    default: /* ServerInit */
        return s->head_size < 24 ? 24 : 24 + head[22] * 256 + head[23];
    }
}

static void rfb_answer(struct session *s)
{
    static const uint8_t none[] = {RFB_NONE}, shared_flag[] = {1};
    switch (s->rfb_step++) {
    case 0:
        session_send(s, RFB_VERSION, RFB_VERSION_LENGTH);
        break;
    case 1:
        if (!memchr(s->head + 1, RFB_NONE, (size_t)s->head_size - 1))
            session_close(s, "the security type None is not offered");
        else
            session_send(s, none, 1);
        break;
    case 2:
        if (memcmp(s->head, "\0\0\0\0", 4))
            session_close(s, "the security handshake failed");
        else
            session_send(s, shared_flag, 1);
        break;
    case 3:
        s->phase = OPEN;
        session_changed(s, NULL);
    }
    s->head_size = 0;
}

static void take_console(struct session *s, const uint8_t *bytes, size_t size)
{
    while (size && s->phase == RFB) {
        s->head[s->head_size++] = (char)*bytes++;
        size--;
        if (s->head_size == (int)sizeof s->head)
            session_close(s, "an RFB message is too long");
        else if (s->head_size == rfb_message_size(s))
            rfb_answer(s);
    }
    if (size && s->phase == OPEN)
        session_received(s, bytes, size);
}

/* ---- the WebSocket (RFC 6455) ---- */

static void ask_for_upgrade(struct session *s)
{
    char request[1024];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n"
                        "Origin: %s://127.0.0.1:%d\r\n\r\n",
                        way->paths[s->index % way->path_count], way->port,
                        way->tls ? "https" : "http", way->port);
    put(s, (uint8_t *)request, (size_t)size);
}

/* Return how many of the bytes belong to the answer's head. */
static size_t take_answer(struct session *s, const uint8_t *bytes, size_t size)
{
    size_t used = 0;
    while (used < size && s->phase == UPGRADING) {
        s->head[s->head_size++] = (char)bytes[used++];
        if (s->head_size >= 4 && !memcmp(s->head + s->head_size - 4, "\r\n\r\n", 4)) {
            if (strncmp(s->head, "HTTP/1.1 101", 12)) {
                char why[80];
                snprintf(why, sizeof why, "no upgrade: %.*s", (int)strcspn(s->head, "\r\n"), s->head);
                session_close(s, why);
            } else {
                s->phase = RFB;
                s->head_size = 0;
            }
        } else if (s->head_size == (int)sizeof s->head) {
            session_close(s, "the HTTP answer is too long");
        }
    }
    return used;
}

static int frame_header_size(const struct session *s)
{
    if (s->frame_size < 2)
        return 2;
    int length = s->frame[1] & 127;
    return length == 126 ? 4 : length == 127 ? 10 : 2;
}

static void begin_frame(struct session *s)
{
    uint64_t length = s->frame[1] & 127;
    if (length > 125) {
        length = 0;
        for (int i = 2; i < s->frame_size; i++)
            length = length << 8 | s->frame[i];
    }
    s->opcode = s->frame[0] & 15;
    s->payload_left = length;
    s->control_size = 0;
}

static void end_frame(struct session *s)
{
    s->frame_size = 0;
    if (s->opcode == PING)
        put_frame(s, PONG, s->control, (size_t)s->control_size);
    else if (s->opcode == CLOSE)
        session_close(s, "closed by the gateway");
}

static void take_frames(struct session *s, const uint8_t *bytes, size_t size)
{
    while (size && s->phase != CLOSED) {
        if (s->frame_size < frame_header_size(s)) {
            s->frame[s->frame_size++] = *bytes++;
            size--;
            if (s->frame_size < frame_header_size(s))
                continue;
            begin_frame(s);
        } else {
            size_t part = size < s->payload_left ? size : (size_t)s->payload_left;
            s->payload_left -= part;
            if (s->opcode <= BINARY) {
                take_console(s, bytes, part);
            } else if (s->control_size + part <= sizeof s->control) {
                memcpy(s->control + s->control_size, bytes, part);
                s->control_size += (int)part;
            }
            bytes += part;
            size -= part;
        }
        if (!s->payload_left && s->phase != CLOSED)
            end_frame(s);
    }
}

static void take(struct session *s, const uint8_t *bytes, size_t size)
{
    if (s->phase == UPGRADING) {
        size_t used = take_answer(s, bytes, size);
        bytes += used;
        size -= used;
    }
    if (way->websocket)
        take_frames(s, bytes, size);
    else
        take_console(s, bytes, size);
}

/* ---- the order of it all ---- */

static void read_some(struct session *s)
{
    /* TLS keeps what it has decrypted, of which epoll knows nothing: read until it has no more. */
    do {
        ssize_t size = stream_read(&s->stream, shared, sizeof shared);
        if (size == 0)
            return;
        if (size < 0) {
            session_close(s, size == -1 ? "lost" : "closed by the gateway");
            return;
        }
        take(s, shared, (size_t)size);
    } while (s->stream.tls && s->phase != CLOSED && (s->stream.watched & EPOLLIN));
}

static void begin_conversation(struct session *s)
{
    s->phase = way->websocket ? UPGRADING : RFB;
    if (way->websocket)
        ask_for_upgrade(s);
}

static void secure(struct session *s)
{
    s->phase = SECURING;
    int done = stream_secure(&s->stream, way->tls);
    if (done > 0)
        begin_conversation(s);
    else if (done < 0)
        session_close(s, "the TLS handshake failed");
}

static void connected(struct session *s)
{
    int error = stream_connect_error(&s->stream);
    if (error) {
        session_close(s, strerror(error));
    } else if (way->tls) {
        secure(s);
    } else {
        stream_read_on(&s->stream, 1);
        stream_write_kept(&s->stream); /* nothing yet: no more events of that kind */
        begin_conversation(s);
    }
}

static void write_kept(struct session *s)
{
    int done = stream_write_kept(&s->stream);
    if (done < 0)
        session_close(s, "lost while sending");
    else if (done > 0 && s->phase == OPEN)
        session_drained(s);
}

void session_serve(struct session *s, uint32_t events)
{
    if (s->phase == CLOSED) /* by an earlier event of the same wake-up */
        return;
    if (s->phase == CONNECTING) {
        connected(s);
        return;
    }
    if (s->phase == SECURING) {
        secure(s);
        return;
    }
    if (events & EPOLLOUT)
        write_kept(s);
    if (s->phase != CLOSED && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        read_some(s);
}
