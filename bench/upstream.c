/* A fake OpenAI upstream that is never the bottleneck: one thread, epoll, every answer rendered before the first request.
 *
 *   upstream PORT        serves 127.0.0.1:PORT until SIGTERM
 *
 * The field "user" chooses the answer, else the model's name, so that every gateway can pass the choice through:
 *   bench-plain          canned JSON completion with usage (also anything else, when not streamed)
 *   bench-burst-N        SSE: role, N content events, finish, [usage], [DONE], all in one write
 *   bench-paced-N        SSE: role after 20 ms, then N content events 10 ms apart, each written alone, then the tail
 * GET /v1/models answers a list; GET /stats answers what was served: {"plain":..,"burst":..,"paced":..,"cut":..}.
 */
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
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 8192, MAX_BODY = 4 << 20, MAX_EVENTS_PER_STREAM = 1000 };
static const uint64_t FIRST_NS = 20000000, GAP_NS = 10000000;

typedef struct {
    int fd, wants_usage, watches_out;
    int paced_index, paced_left, paced_size; /* place in `paced` or -1; events still to send, of how many */
    uint64_t due_ns;
    char *in, *out;
    size_t in_len, in_cap, out_len, out_cap, out_at;
} Conn;

static Conn *paced[MAX_FDS];
static int n_paced, ep, timer;
static uint64_t n_plain, n_burst, n_paced_served, n_cut;

static const char HEAD_SSE[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
#define CHUNK(delta, finish) \
    "data: {\"id\":\"chatcmpl-canned\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\"," \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
static const char ROLE[] = CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null");
static const char WORD[] = CHUNK("{\"content\":\" canned\"}", "null");
static const char FINISH[] = CHUNK("{}", "\"stop\"");
static const char USAGE[] =
    "data: {\"id\":\"chatcmpl-canned\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","
    "\"choices\":[],\"usage\":{\"prompt_tokens\":40,\"completion_tokens\":100,\"total_tokens\":140}}\n\n";
static const char DONE[] = "data: [DONE]\n\n";
static const char PLAIN[] =
    "{\"id\":\"chatcmpl-canned\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
    "\"message\":{\"role\":\"assistant\",\"content\":\"This is the canned answer of the benchmark upstream.\"},"
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":40,\"completion_tokens\":9,\"total_tokens\":49}}";
static const char MODELS[] = "{\"object\":\"list\",\"data\":[{\"id\":\"bench-plain\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"bench\"}]}";

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void put(Conn *c, const char *data, size_t n) {
    if (c->out_len + n > c->out_cap) {
        c->out_cap = (c->out_len + n) * 2;
        c->out = realloc(c->out, c->out_cap);
        if (!c->out) abort();
    }
    memcpy(c->out + c->out_len, data, n), c->out_len += n;
}

static void put_event(Conn *c, const char *event, size_t n) { /* one SSE event as one HTTP chunk */
    char size[24];
    put(c, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", n));
    put(c, event, n), put(c, "\r\n", 2);
}

static void put_tail(Conn *c) {
    put_event(c, FINISH, sizeof FINISH - 1);
    if (c->wants_usage) put_event(c, USAGE, sizeof USAGE - 1);
    put_event(c, DONE, sizeof DONE - 1);
    put(c, "0\r\n\r\n", 5);
}

static void put_json(Conn *c, const char *body, size_t n) {
    static const char form[] = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n";
    char head[160];
    put(c, head, (size_t)snprintf(head, sizeof head, form, n)), put(c, body, n);
}

static void arm_timer(void) {
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < n_paced; i++)
        if (paced[i]->due_ns < due) due = paced[i]->due_ns;
    struct itimerspec spec = {0};
    if (n_paced) spec.it_value = (struct timespec){(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void stop_pacing(Conn *c) {
    if (c->paced_index < 0) return;
    paced[c->paced_index] = paced[--n_paced], paced[c->paced_index]->paced_index = c->paced_index;
    c->paced_index = -1;
}

static void drop(Conn *c) {
    if (c->paced_index >= 0 || c->out_at < c->out_len) n_cut++;
    stop_pacing(c), close(c->fd);
    free(c->in), free(c->out), free(c);
}

static void watch(Conn *c, int out) {
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    c->watches_out = out, epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static int flush(Conn *c) { /* 0: the peer is gone */
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return 0;
        if (n < 0) return watch(c, 1), 1;
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
    if (c->watches_out) watch(c, 0);
    return 1;
}

static const char *field(const char *p, const char *name) { /* where the value of the first such JSON key starts, or NULL */
    while ((p = strstr(p, name))) {
        p += strlen(name);
        p += strspn(p, " ");
        if (*p == ':') return p + 1 + strspn(p + 1, " ");
    }
    return NULL;
}

static void answer(Conn *c, const char *head, const char *body) {
    if (!strncmp(head, "GET /stats", 10)) {
        char s[160];
        const char *form = "{\"plain\":%lu,\"burst\":%lu,\"paced\":%lu,\"cut\":%lu}";
        return put_json(c, s, (size_t)snprintf(s, sizeof s, form, n_plain, n_burst, n_paced_served, n_cut));
    }
    if (!strncmp(head, "GET ", 4)) return put_json(c, MODELS, sizeof MODELS - 1);
    const char *stream = field(body, "\"stream\""), *usage = field(body, "\"include_usage\""), *model = field(body, "\"model\"");
    if (!stream || strncmp(stream, "true", 4)) return n_plain++, put_json(c, PLAIN, sizeof PLAIN - 1);
    c->wants_usage = usage && !strncmp(usage, "true", 4);
    const char *user = field(body, "\"user\""), *kind = user && !strncmp(user, "\"bench-", 7) ? user + 1 : model ? model + 1 : NULL;
    if (kind && strncmp(kind, "bench-", 6)) kind = NULL;
    int is_paced = kind && !strncmp(kind + 6, "paced-", 6), n = kind && strlen(kind) > 12 ? atoi(kind + 12) : 0;
    if (n < 1 || n > MAX_EVENTS_PER_STREAM) n = 100;
    put(c, HEAD_SSE, sizeof HEAD_SSE - 1);
    if (is_paced) {
        c->paced_left = c->paced_size = n + 1, c->due_ns = now_ns() + FIRST_NS;
        c->paced_index = n_paced, paced[n_paced++] = c, n_paced_served++;
        return arm_timer();
    }
    n_burst++, put_event(c, ROLE, sizeof ROLE - 1);
    for (int i = 0; i < n; i++) put_event(c, WORD, sizeof WORD - 1);
    put_tail(c);
}

/* Answers every complete request in the buffer. 0: the connection is to be dropped. */
static int serve(Conn *c) {
    while (c->in_len && c->paced_index < 0) {
        c->in[c->in_len] = 0;
        char *end = strstr(c->in, "\r\n\r\n");
        if (!end) return c->in_len < 65536;
        size_t head_len = (size_t)(end - c->in) + 4, body_len = 0;
        *end = 0;
        char *length = strcasestr(c->in, "\ncontent-length:");
        if (length) body_len = (size_t)atol(length + 16);
        if (strcasestr(c->in, "\ntransfer-encoding:") || body_len > MAX_BODY) return 0;
        if (c->in_len < head_len + body_len) return *end = '\r', 1;
        char *after = c->in + head_len + body_len, kept = *after;
        *after = 0, answer(c, c->in, c->in + head_len), *after = kept;
        c->in_len -= head_len + body_len;
        memmove(c->in, c->in + head_len + body_len, c->in_len);
        if (!flush(c)) return 0;
    }
    return 1;
}

static int on_readable(Conn *c) {
    for (;;) {
        if (c->in_len + 1 >= c->in_cap) {
            if (c->in_cap > MAX_BODY + 65536) return 0;
            c->in_cap = c->in_cap ? c->in_cap * 2 : 16384;
            c->in = realloc(c->in, c->in_cap);
            if (!c->in) abort();
        }
        size_t room = c->in_cap - c->in_len - 1;
        ssize_t n = recv(c->fd, c->in + c->in_len, room, 0);
        if (n == 0) return 0;
        if (n < 0) return errno == EAGAIN;
        c->in_len += (size_t)n;
        if (!serve(c)) return 0;
        if ((size_t)n < room) return 1;
    }
}

static void on_timer(void) {
    uint64_t expirations, now = now_ns();
    if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) abort();
    for (int i = n_paced - 1; i >= 0; i--) {
        Conn *c = paced[i];
        if (c->due_ns > now) continue;
        c->due_ns += GAP_NS; /* absolute: one late event does not delay the next */
        if (c->paced_left == c->paced_size) put_event(c, ROLE, sizeof ROLE - 1);
        else if (c->paced_left > 0) put_event(c, WORD, sizeof WORD - 1);
        else put_tail(c), stop_pacing(c);
        c->paced_left--;
        if (!flush(c) || (c->paced_index < 0 && !serve(c))) drop(c);
    }
    arm_timer();
}

static void on_accept(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
    if (fd < 0) return;
    if (fd >= MAX_FDS) return (void)close(fd);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    Conn *c = calloc(1, sizeof *c);
    if (!c) abort();
    c->fd = fd, c->paced_index = -1;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: upstream PORT\n"), 2;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) return perror("upstream: bind"), 1;
    ep = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    e.data.ptr = &timer, epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e);
    for (;;) {
        int n = epoll_wait(ep, events, 256, -1), timer_fired = 0;
        if (n < 0 && errno != EINTR) return perror("upstream: epoll_wait"), 1;
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (!events[i].data.ptr) on_accept(listener);
            else if (events[i].data.ptr == &timer) timer_fired = 1;
            else if ((events[i].events & EPOLLOUT && !flush(c)) || (events[i].events & ~EPOLLOUT && !on_readable(c))) drop(c);
        }
        if (timer_fired) on_timer(); /* last: it may drop connections of this batch */
    }
}
