/* A closed loop of callers: each connection sends its request again as soon as it was answered.

     load PORT REQUEST CONNECTIONS SECONDS

   REQUEST: a file with the whole HTTP/1.1 request. Prints one line of JSON: answers, seconds,
   latencies in microseconds (p50, p99, max; to the first event too), server-sent events, and
   answers that were no 200. The first fifth of the time warms up and is not counted. */

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
#include <time.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX (1 << 20)
#define SAMPLES_MAX (8 << 20)

typedef struct {
    int fd;
    char *data;
    size_t size, head, length;
    int is_chunked;
    uint64_t began_ns, first_ns;
} Caller;

static char request[1 << 20];
static size_t request_size;
static uint32_t *whole, *first;
static size_t whole_count, first_count;
static uint64_t events_count, failures, from_ns, to_ns;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void ask(Caller *caller) {
    caller->size = caller->head = caller->length = 0;
    caller->is_chunked = 0;
    caller->first_ns = 0;
    caller->began_ns = now_ns();
    if (send(caller->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) {
        perror("send");
        exit(1);
    }
}

static int is_whole(Caller *c) {
    c->data[c->size] = 0;
    if (!c->head) {
        char *end = memmem(c->data, c->size, "\r\n\r\n", 4);
        if (!end) return 0;
        c->head = end + 4 - c->data;
        for (char *line = c->data; line < end; line = strchr(line, '\n') + 1) {
            if (!strncasecmp(line, "content-length:", 15)) c->length = atol(line + 15);
            if (!strncasecmp(line, "transfer-encoding: chunked", 26)) c->is_chunked = 1;
        }
    }
    if (!c->first_ns && c->size > c->head) c->first_ns = now_ns();
    if (!c->is_chunked) return c->size >= c->head + c->length;
    return c->size >= c->head + 5 && !memcmp(c->data + c->size - 5, "0\r\n\r\n", 5);
}

static void count(Caller *c) {
    uint64_t at = now_ns();
    if (strncmp(c->data, "HTTP/1.1 200", 12)) {
        if (!failures++) fprintf(stderr, "not a 200: %.600s\n", c->data);
        return;
    }
    if (at < from_ns || at > to_ns || whole_count == SAMPLES_MAX) return;
    whole[whole_count++] = (at - c->began_ns) / 1000;
    if (!c->is_chunked) return;
    first[first_count++] = (c->first_ns - c->began_ns) / 1000;
    for (char *at = c->data; (at = memmem(at, c->data + c->size - at, "data: {", 7)); at += 7)
        events_count++;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(uint32_t *)a, y = *(uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t share(uint32_t *rows, size_t count, double part) {
    return count ? rows[(size_t)(part * (count - 1))] : 0;
}

int main(int argument_count, char **arguments) {
    if (argument_count != 5) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    FILE *file = fopen(arguments[2], "rb");
    int connections = atoi(arguments[3]);
    double seconds = atof(arguments[4]);
    if (!file) return 2;
    request_size = fread(request, 1, sizeof request, file);
    whole = malloc(SAMPLES_MAX * 4);
    first = malloc(SAMPLES_MAX * 4);
    int poller = epoll_create1(0);
    Caller *callers = calloc(connections, sizeof *callers);
    uint64_t began_ns = now_ns();
    from_ns = began_ns + seconds * 0.2e9;
    to_ns = began_ns + seconds * 1e9;
    for (int i = 0; i < connections; i++) {
        Caller *c = &callers[i];
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        c->data = malloc(ANSWER_BYTES_MAX + 1);
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
            perror("connect");
            return 1;
        }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
        ask(c);
    }
    struct epoll_event events[256];
    while (now_ns() < to_ns) {
        int ready = epoll_wait(poller, events, 256, 100);
        for (int i = 0; i < ready; i++) {
            Caller *c = events[i].data.ptr;
            ssize_t n = recv(c->fd, c->data + c->size, ANSWER_BYTES_MAX - c->size, 0);
            if (n <= 0) {
                fprintf(stderr, "the connection was closed\n");
                return 1;
            }
            c->size += n;
            if (is_whole(c)) {
                count(c);
                ask(c);
            }
        }
    }
    qsort(whole, whole_count, 4, by_size);
    qsort(first, first_count, 4, by_size);
    printf("{\"answers\": %zu, \"seconds\": %.3f, \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u, "
           "\"first_p50_us\": %u, \"first_p99_us\": %u, \"events\": %lu, \"failures\": %lu}\n",
           whole_count, seconds * 0.8, share(whole, whole_count, 0.5),
           share(whole, whole_count, 0.99), share(whole, whole_count, 1.0),
           share(first, first_count, 0.5), share(first, first_count, 0.99),
           (unsigned long)events_count, (unsigned long)failures);
    return 0;
}
