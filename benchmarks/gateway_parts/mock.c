/* A model that costs nothing: answers at once, or one token a tick, over two doors.

     mock SOCKET PORT DESCRIPTION TICK_US

   SOCKET: a Unix socket that speaks the runtime's protocol (docs: runtime/protocol.py).
   PORT: OpenAI's chat completions over HTTP/1.1 on loopback, for those who cannot speak the other.
   DESCRIPTION: a file with the runtime's description (MessagePack fields after `type` and `id`).
   TICK_US: 0 answers at once; else each stream gets one token every so many microseconds.

   One thread, epoll, no allocation a request beyond the buffers. It is no model server: it takes
   only what the benchmark sends. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define STREAMS_MAX 4096
#define PIECE 5 /* bytes a token of a prompt */
#define TEXT " word"

typedef struct {
    char *data;
    size_t size, room;
} Bytes;

typedef struct Peer {
    int fd, is_http;
    Bytes in, out;
} Peer;

typedef struct {
    Peer *peer;
    char id[64];
    int left, written, prompt_tokens;
} Stream;

static int poller;
static long tick_us;
static char *description;
static size_t description_size;
static Stream streams[STREAMS_MAX];
static int stream_count;
static Peer listening[2], timer;

static void put(Bytes *b, const void *data, size_t size) {
    if (b->size + size > b->room) {
        b->room = (b->size + size) * 2 + 4096;
        b->data = realloc(b->data, b->room);
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void drop(Bytes *b, size_t size) {
    memmove(b->data, b->data + size, b->size - size);
    b->size -= size;
}

static void watch(Peer *peer, int op, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    epoll_ctl(poller, op, peer->fd, &event);
}

static void flush_out(Peer *peer) {
    while (peer->out.size) {
        ssize_t n = send(peer->fd, peer->out.data, peer->out.size, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) watch(peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            else peer->out.size = 0;
            return;
        }
        drop(&peer->out, n);
    }
}

/* MessagePack: just what is needed. */

static void put_text(Bytes *b, const char *text, size_t size) {
    if (size < 32) {
        char head = 0xa0 | size;
        put(b, &head, 1);
    } else {
        char head[2] = {(char)0xd9, (char)size};
        put(b, head, 2);
    }
    put(b, text, size);
}

#define WORD(b, s) put_text(b, s, sizeof(s) - 1)

static void put_number(Bytes *b, uint32_t n) {
    unsigned char head[5] = {0xce, n >> 24, n >> 16, n >> 8, n};
    put(b, head, 5);
}

static size_t begin(Bytes *b, const char *type, const char *id, int fields) {
    size_t at = b->size;
    char head = 0x80 | (fields + 2);
    put(b, "\0\0\0\0", 4);
    put(b, &head, 1);
    WORD(b, "type");
    put_text(b, type, strlen(type));
    WORD(b, "id");
    put_text(b, id, strlen(id));
    return at;
}

static void finish(Bytes *b, size_t at) {
    uint32_t length = htonl(b->size - at - 4);
    memcpy(b->data + at, &length, 4);
}

static int text_at(const unsigned char *p, const unsigned char **text, size_t *size) {
    if ((*p & 0xe0) == 0xa0) { *size = *p & 31; *text = p + 1; return 1; }
    if (*p == 0xd9) { *size = p[1]; *text = p + 2; return 1; }
    if (*p == 0xda) { *size = p[1] << 8 | p[2]; *text = p + 3; return 1; }
    return 0;
}

/* The last turn's content (the benchmark sends one turn), cut into tokens of five bytes. */
static size_t content_of(const char *frame, size_t size, const unsigned char **text) {
    const char *at = memmem(frame, size, "\xa7" "content", 8);
    size_t length = 0;
    if (!at || !text_at((const unsigned char *)at + 8, text, &length)) return 0;
    return length;
}

static void send_token(Stream *s) {
    Bytes *b = &s->peer->out;
    if (s->peer->is_http) {
        char chunk[512];
        int n = snprintf(chunk + 8, 480,
            "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1,"
            "\"model\":\"mock\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
            "\"finish_reason\":null}]}\n\n", TEXT);
        char head[16];
        int h = snprintf(head, sizeof head, "%x\r\n", n);
        put(b, head, h);
        put(b, chunk + 8, n);
        put(b, "\r\n", 2);
    } else {
        size_t at = begin(b, "token", s->id, 6);
        WORD(b, "token_id"); put_number(b, 1000 + s->written);
        WORD(b, "text"); WORD(b, TEXT);
        WORD(b, "logprob"); put(b, "\xc0", 1);
        WORD(b, "top"); put(b, "\x90", 1);
        WORD(b, "data"); put(b, "\xc4\x05" TEXT, 7);
        WORD(b, "prompt"); put(b, "\xc2", 1);
        finish(b, at);
    }
    s->written++;
    s->left--;
}

static void send_end(Stream *s) {
    Bytes *b = &s->peer->out;
    if (s->peer->is_http) {
        const char *last =
            "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1,"
            "\"model\":\"mock\",\"choices\":[{\"index\":0,\"delta\":{},"
            "\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
        char head[16];
        put(b, head, snprintf(head, sizeof head, "%zx\r\n", strlen(last)));
        put(b, last, strlen(last));
        put(b, "\r\n0\r\n\r\n", 7);
    } else {
        size_t at = begin(b, "done", s->id, 4);
        WORD(b, "reason"); WORD(b, "length");
        WORD(b, "prompt_tokens"); put_number(b, s->prompt_tokens);
        WORD(b, "completion_tokens"); put_number(b, s->written);
        WORD(b, "verdicts"); put(b, "\x90", 1);
        finish(b, at);
    }
}

static void run_stream(Stream s) {
    if (tick_us && stream_count < STREAMS_MAX) {
        streams[stream_count++] = s;
        return;
    }
    while (s.left) send_token(&s);
    send_end(&s);
}

static void tick(void) {
    for (int i = 0; i < stream_count;) {
        Stream *s = &streams[i];
        if (s->left) send_token(s);
        if (!s->left) {
            send_end(s);
            flush_out(s->peer);
            streams[i] = streams[--stream_count];
            continue;
        }
        if (s->peer->is_http) flush_out(s->peer);
        i++;
    }
    for (int i = 0; i < stream_count; i++) flush_out(streams[i].peer);
}

static void forget(Peer *peer, const char *id) {
    for (int i = 0; i < stream_count;) {
        Stream *s = &streams[i];
        if (s->peer == peer && (!id || !strcmp(s->id, id))) *s = streams[--stream_count];
        else i++;
    }
}

static void take_frame(Peer *peer, const char *frame, size_t size) {
    const unsigned char *p = (const unsigned char *)frame, *type, *id, *text = NULL;
    size_t type_size, id_size, at;
    p += *p == 0xde ? 3 : 1;
    p += 5; /* "type" */
    if (!text_at(p, &type, &type_size)) return;
    p = type + type_size + 3; /* "id" */
    if (!text_at(p, &id, &id_size) || id_size > 63) return;
    p = id + id_size;
    char name[64] = {0};
    memcpy(name, id, id_size);
    Bytes *b = &peer->out;
    if (!strncmp((char *)type, "describe", type_size)) {
        at = begin(b, "description", name, description[0]);
        put(b, description + 1, description_size - 1);
        finish(b, at);
    } else if (!strncmp((char *)type, "tokenize", type_size)) {
        size_t length = content_of(frame, size, &text), count = (length + PIECE - 1) / PIECE;
        unsigned char head[3] = {0xdc, count >> 8, count};
        at = begin(b, "tokenized", name, 2);
        WORD(b, "token_ids"); put(b, head, 3);
        for (size_t i = 0; i < count; i++) put(b, "\xcd\x04\x00", 3);
        WORD(b, "pieces"); put(b, head, 3);
        for (size_t i = 0; i < length; i += PIECE) {
            size_t n = length - i < PIECE ? length - i : PIECE;
            char bin[2] = {(char)0xc4, (char)n};
            put(b, bin, 2);
            put(b, text + i, n);
        }
        finish(b, at);
    } else if (!strncmp((char *)type, "generate", type_size)) {
        size_t length = content_of(frame, size, &text);
        Stream s = {.peer = peer, .prompt_tokens = (length + PIECE - 1) / PIECE};
        memcpy(s.id, name, sizeof name);
        p += 11; /* "tokens_max" */
        s.left = *p < 0x80 ? *p : *p == 0xcc ? p[1] : p[1] << 8 | p[2];
        at = begin(b, "accepted", name, 2);
        WORD(b, "prompt_tokens"); put_number(b, s.prompt_tokens);
        WORD(b, "verdicts"); put(b, "\x91\x83", 2);
        WORD(b, "layer"); WORD(b, "mock");
        WORD(b, "version"); WORD(b, "mock-1");
        WORD(b, "action"); WORD(b, "allow");
        finish(b, at);
        run_stream(s);
    } else if (!strncmp((char *)type, "cancel", type_size)) {
        forget(peer, name);
    }
}

static void take_http(Peer *peer, const char *body, size_t size) {
    const char *limit = memmem(body, size, "\"max_tokens\":", 13);
    int tokens = limit ? atoi(limit + 13) : 1;
    int is_stream = memmem(body, size, "\"stream\":true", 13) != NULL ||
                    memmem(body, size, "\"stream\": true", 14) != NULL;
    Bytes *b = &peer->out;
    if (is_stream) {
        const char *head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                           "transfer-encoding: chunked\r\n\r\n";
        put(b, head, strlen(head));
        run_stream((Stream){.peer = peer, .left = tokens});
        return;
    }
    char answer[16384], head[128];
    int n = snprintf(answer, 512,
        "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"mock\","
        "\"choices\":[{\"index\":0,\"finish_reason\":\"length\",\"message\":"
        "{\"role\":\"assistant\",\"content\":\"");
    for (int i = 0; i < tokens && n < 15000; i++) n += sprintf(answer + n, TEXT);
    n += sprintf(answer + n, "\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%d,"
                             "\"total_tokens\":%d}}", tokens, tokens + 1);
    put(b, head, snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                                             "content-length: %d\r\n\r\n", n));
    put(b, answer, n);
}

static size_t next_message(Peer *peer) {
    char *data = peer->in.data;
    size_t size = peer->in.size;
    if (!peer->is_http) {
        uint32_t length;
        if (size < 4) return 0;
        memcpy(&length, data, 4);
        length = ntohl(length);
        if (size < 4 + (size_t)length) return 0;
        take_frame(peer, data + 4, length);
        return 4 + length;
    }
    char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = end + 4 - data, length = 0;
    for (char *line = data; line < end; line = strchr(line, '\n') + 1)
        if (!strncasecmp(line, "content-length:", 15)) length = atol(line + 15);
    if (size < head + length) return 0;
    take_http(peer, data + head, length);
    return head + length;
}

static void take_in(Peer *peer) {
    char buffer[65536];
    ssize_t n;
    while ((n = recv(peer->fd, buffer, sizeof buffer, 0)) > 0) put(&peer->in, buffer, n);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        forget(peer, NULL);
        close(peer->fd);
        free(peer->in.data);
        free(peer->out.data);
        free(peer);
        return;
    }
    size_t used;
    put(&peer->in, "", 1); /* so that text searches end */
    peer->in.size--;
    while ((used = next_message(peer))) drop(&peer->in, used);
    flush_out(peer);
}

static int listen_on(struct sockaddr *address, socklen_t size) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, address, size) || listen(fd, 1024)) { perror("listen"); exit(1); }
    return fd;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[2])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    strncpy(un.sun_path, arguments[1], sizeof un.sun_path - 1);
    unlink(un.sun_path);
    description = malloc(65536);
    FILE *file = fopen(arguments[3], "rb");
    if (!file || !description) return 2;
    description_size = fread(description, 1, 65536, file);
    fclose(file);
    tick_us = atol(arguments[4]);
    poller = epoll_create1(0);
    listening[0] = (Peer){.fd = listen_on((struct sockaddr *)&un, sizeof un)};
    listening[1] = (Peer){.fd = listen_on((struct sockaddr *)&in, sizeof in), .is_http = 1};
    watch(&listening[0], EPOLL_CTL_ADD, EPOLLIN);
    watch(&listening[1], EPOLL_CTL_ADD, EPOLLIN);
    if (tick_us) {
        struct timespec every = {tick_us / 1000000, tick_us % 1000000 * 1000};
        struct itimerspec spec = {every, every};
        timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        timerfd_settime(timer.fd, 0, &spec, NULL);
        watch(&timer, EPOLL_CTL_ADD, EPOLLIN);
    }
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            Peer *peer = events[i].data.ptr;
            if (peer == &timer) {
                uint64_t ticks;
                if (read(timer.fd, &ticks, 8) == 8) tick();
            } else if (peer == &listening[0] || peer == &listening[1]) {
                int fd = accept4(peer->fd, NULL, NULL, SOCK_NONBLOCK), one = 1;
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                Peer *made = calloc(1, sizeof *made);
                made->fd = fd;
                made->is_http = peer->is_http;
                watch(made, EPOLL_CTL_ADD, EPOLLIN);
            } else if (events[i].events & EPOLLOUT) {
                watch(peer, EPOLL_CTL_MOD, EPOLLIN);
                flush_out(peer);
            } else {
                take_in(peer);
            }
        }
    }
}
