/* One console session of the client: TCP, TLS where asked for, the WebSocket's upgrade and frames
 * (or none of them), and the RFB handshake. Above it there are only the bytes of the console. */
#ifndef SESSION_H
#define SESSION_H

#include "stream.h"

enum phase { CONNECTING, SECURING, UPGRADING, RFB, OPEN, CLOSED };

struct session {
    enum phase phase;
    struct stream stream;
    int index;
    uint64_t began_ns;
    /* what comes in */
    char head[2048];            /* of the HTTP answer, then of an RFB message */
    int head_size;
    int rfb_step;
    uint8_t frame[10];          /* header of the frame under way */
    int frame_size;
    uint8_t opcode;
    uint64_t payload_left;
    uint8_t control[125];
    int control_size;
    /* what the measure under way keeps here */
    int echoing;
    uint64_t wanted;            /* bytes still to come */
    uint64_t sent_ns;
    uint64_t due_ns;
    uint64_t to_paste;
};

/* Where sessions lead, the same for all. */
struct way {
    int port;
    int websocket;
    SSL_CTX *tls;               /* NULL for none */
    char **paths;               /* of the WebSockets' URLs, taken in turn */
    int path_count;
};

/* Called when the session's phase becomes OPEN or CLOSED (why is a text then). */
extern void session_changed(struct session *s, const char *why);
/* Called with bytes of the console. */
extern void session_received(struct session *s, const uint8_t *bytes, size_t size);
/* Called when everything that was to be sent is with the kernel. */
extern void session_drained(struct session *s);

void sessions_prepare(const struct way *where, int epoll);
void session_begin(struct session *s, int index);
void session_serve(struct session *s, uint32_t events);
void session_send(struct session *s, const void *bytes, size_t size);
void session_close(struct session *s, const char *why);

#endif
