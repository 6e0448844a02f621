/* Load generator for one HTTP/1.1 target on the loopback: closed loop (always N in flight) or open loop (a schedule fixed
 * beforehand). One thread, epoll. In the open loop every latency runs from the scheduled time, so a server that stalls is
 * charged for all the requests that had to wait (no coordinated omission).
 *
 *   load PORT REQUESTS OUT closed|open CONNECTIONS COUNT RATE_PER_S MAX_S NONCE_START MARKER
 *
 * REQUESTS: any number of [uint32 length][a whole HTTP request]; used in turn. The first "@NONCE@" in each is replaced by
 * seven letters that differ in every request (counting from NONCE_START).
 * OUT: per request four doubles, seconds since the start: scheduled, sent, first event (or body byte), done; done < 0: failed.
 * A request is good when its status is 200, its body is whole and holds MARKER. stdout: one JSON object of counts.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NONCE "@NONCE@"
enum { NONCE_LEN = 7, LINE_MAX_KEPT = 4096, HEAD_MAX = 65536 };
enum { IDLE, HEAD, BODY, CLOSED };
enum { SIZE, SIZE_REST, DATA, DATA_END, TRAILER }; /* parts of a chunked body */

typedef struct { char *data; size_t len, nonce_at; } Request;
typedef struct { double scheduled, sent, first, done; } Sample;
typedef struct {
    int fd, state, fresh, watches_out;
    long index;                      /* the request in flight */
    char *out; size_t out_len, out_at, out_cap;
    char head[HEAD_MAX]; size_t head_len;
    int status, chunked, is_stream, closes, marker_seen, done_seen, part, trailer_len;
    long long left;                  /* bytes of the body or of the chunk still to come; -1: until the end of the connection */
    char line[LINE_MAX_KEPT]; size_t line_len;
} Conn;

static Request *requests;
static Sample *samples;
static Conn *conns;
static int *idle, n_idle, n_conns, port, ep, timer, is_open;
static long n_requests, count, next_index, n_finished, n_bad, n_reconnects, n_streams_whole, n_streams, n_events, n_event_reads;
static long nonce, last_bad_status;
static double rate, start_s;
static const char *marker;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9 - start_s;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void read_requests(const char *path) {
    FILE *f = fopen(path, "rb");
    uint32_t len;
    if (!f) die(path);
    while (fread(&len, sizeof len, 1, f) == 1) {
        requests = realloc(requests, sizeof *requests * (size_t)(n_requests + 1));
        char *data = malloc(len + 1u);
        if (!requests || !data || fread(data, 1, len, f) != len) die("load: requests");
        char *at = memmem(data, len, NONCE, NONCE_LEN);
        requests[n_requests++] = (Request){data, len, at ? (size_t)(at - data) : SIZE_MAX};
    }
    fclose(f);
    if (!n_requests) die("load: no requests");
}

static void connect_to_target(Conn *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) die("load: connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    c->state = IDLE, c->fresh = 1, c->watches_out = 0;
}

static void disconnect(Conn *c) {
    close(c->fd);
    c->state = CLOSED;
}

static void flush(Conn *c) {
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0) break; /* EAGAIN waits for EPOLLOUT; any other error comes back from recv */
        c->out_at += (size_t)n;
    }
    int out = c->out_at < c->out_len;
    if (out == c->watches_out) return;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
    c->watches_out = out;
}

static void send_request(Conn *c, long index) {
    const Request *r = &requests[index % n_requests];
    if (c->state == CLOSED) connect_to_target(c);
    if (r->len > c->out_cap) {
        c->out_cap = r->len;
        c->out = realloc(c->out, c->out_cap);
        if (!c->out) die("load: memory");
    }
    memcpy(c->out, r->data, r->len);
    if (r->nonce_at != SIZE_MAX) {
        long n = nonce++;
        for (int i = 0; i < NONCE_LEN; i++, n /= 26) c->out[r->nonce_at + (size_t)i] = (char)('a' + n % 26);
    }
    c->out_len = r->len, c->out_at = 0, c->index = index, c->state = HEAD;
    c->head_len = c->line_len = 0, c->marker_seen = c->done_seen = 0;
    samples[index].sent = now_s();
    if (!is_open) samples[index].scheduled = samples[index].sent;
    samples[index].first = -1;
    flush(c);
}

static void send_what_is_due(void) {
    double now = now_s();
    while (n_idle && next_index < count && (!is_open || samples[next_index].scheduled <= now)) {
        send_request(&conns[idle[--n_idle]], next_index);
        next_index++;
    }
    if (!is_open || next_index >= count || !n_idle) return;
    double at = samples[next_index].scheduled + start_s;
    struct itimerspec spec = {.it_value = {(time_t)at, (long)((at - (double)(time_t)at) * 1e9)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void finish(Conn *c, int whole) {
    Sample *s = &samples[c->index];
    int good = whole && c->status == 200 && (c->is_stream ? c->done_seen : c->marker_seen);
    s->done = good ? now_s() : -1;
    n_bad += !good, n_finished++, n_streams += c->is_stream, n_streams_whole += c->is_stream && c->done_seen && whole;
    if (!good) last_bad_status = c->status;
    c->fresh = 0, c->state = IDLE;
    if (!whole || c->closes) disconnect(c);
    idle[n_idle++] = (int)(c - conns);
}

static void end_line(Conn *c) {
    if (c->line_len >= 5 && !memcmp(c->line, "data:", 5)) {
        n_events++;
        if (samples[c->index].first < 0) samples[c->index].first = now_s();
        if (c->line_len >= 12 && memmem(c->line, 16 < c->line_len ? 16 : c->line_len, "[DONE]", 6)) c->done_seen = 1;
    }
    c->line_len = 0;
}

static void take_body(Conn *c, const char *p, size_t n) { /* decoded bytes: events of a stream, or text searched for the marker */
    if (!c->is_stream && samples[c->index].first < 0) samples[c->index].first = now_s();
    while (n) {
        const char *eol = memchr(p, '\n', n);
        size_t len = eol ? (size_t)(eol - p) : n, room = sizeof c->line - 1 - c->line_len, kept = len < room ? len : room;
        memcpy(c->line + c->line_len, p, kept);
        c->line_len += kept;
        if (!c->is_stream && !c->marker_seen) c->marker_seen = memmem(c->line, c->line_len, marker, strlen(marker)) != NULL;
        if (eol) end_line(c), len++;
        p += len, n -= len;
    }
}

static int take_chunked(Conn *c, const char *p, size_t n) { /* 1: the last chunk has come */
    while (n) {
        if (c->part == DATA) {
            size_t len = (long long)n < c->left ? n : (size_t)c->left;
            take_body(c, p, len);
            p += len, n -= len, c->left -= (long long)len;
            if (!c->left) c->part = DATA_END;
            continue;
        }
        char b = *p++;
        n--;
        if (c->part == DATA_END && b == '\n') c->part = SIZE, c->left = 0;
        else if (c->part == TRAILER && b == '\n' && !c->trailer_len) return 1;
        else if (c->part == TRAILER) c->trailer_len = b == '\n' ? 0 : c->trailer_len + (b != '\r');
        else if ((c->part == SIZE || c->part == SIZE_REST) && b == '\n') c->part = c->left ? DATA : TRAILER, c->trailer_len = 0;
        else if (c->part == SIZE && strchr("0123456789abcdefABCDEF", b)) c->left = c->left * 16 + (b <= '9' ? b - '0' : (b | 32) - 'a' + 10);
        else if (c->part == SIZE) c->part = SIZE_REST;
    }
    return 0;
}

static int take_head(Conn *c, const char *p, size_t n, size_t *used) { /* 1: the head is whole; *used of the new bytes belong to it */
    size_t before = c->head_len, room = HEAD_MAX - 1 - before, kept = n < room ? n : room;
    memcpy(c->head + before, p, kept);
    c->head_len += kept, c->head[c->head_len] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    *used = kept;
    if (!end) return 0;
    *used = (size_t)(end - c->head) + 4 - before;
    end[2] = 0;
    char *length = strcasestr(c->head, "\ncontent-length:");
    c->status = c->head_len > 12 ? atoi(c->head + 9) : 0;
    c->chunked = strcasestr(c->head, "\ntransfer-encoding: chunked") != NULL;
    c->is_stream = strcasestr(c->head, "text/event-stream") != NULL;
    c->closes = strcasestr(c->head, "\nconnection: close") != NULL;
    c->left = c->chunked ? 0 : length ? atoll(length + 16) : -1;
    c->part = SIZE;
    return 1;
}

static void on_readable(Conn *c) {
    static char buffer[1 << 18];
    for (;;) {
        ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0 && c->state == IDLE) return disconnect(c); /* a kept-alive connection timed out; it stays in the idle list */
        if (got <= 0 && c->state == HEAD && !c->head_len && !c->fresh) { /* closed just as we sent: once more on a new one */
            n_reconnects++;
            disconnect(c);
            connect_to_target(c);
            c->state = HEAD, c->out_at = 0;
            return flush(c);
        }
        if (got <= 0) return finish(c, c->state == BODY && c->left == -1);
        const char *p = buffer;
        size_t n = (size_t)got, used = 0;
        long events_before = n_events;
        if (c->state == HEAD) {
            if (!take_head(c, p, n, &used)) {
                if (c->head_len == HEAD_MAX - 1) return finish(c, 0);
                continue;
            }
            c->state = BODY, p += used, n -= used;
        }
        int whole = 0;
        if (c->chunked) whole = take_chunked(c, p, n);
        else {
            take_body(c, p, n);
            if (c->left >= 0) c->left -= (long long)n, whole = c->left <= 0;
        }
        n_event_reads += n_events > events_before;
        if (whole) return finish(c, 1);
        if ((size_t)got < sizeof buffer) return;
    }
}

static void write_samples(const char *path) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(samples, sizeof *samples, (size_t)next_index, f) != (size_t)next_index || fclose(f)) die(path);
}

int main(int argc, char **argv) {
    if (argc != 11) return fprintf(stderr, "usage: see the head of load.c\n"), 2;
    port = atoi(argv[1]), is_open = !strcmp(argv[4], "open"), n_conns = atoi(argv[5]), count = atol(argv[6]), rate = atof(argv[7]);
    double max_s = atof(argv[8]);
    nonce = atol(argv[9]), marker = argv[10];
    read_requests(argv[2]);
    samples = calloc((size_t)count, sizeof *samples), conns = calloc((size_t)n_conns, sizeof *conns), idle = calloc((size_t)n_conns, sizeof *idle);
    if (!samples || !conns || !idle) die("load: memory");
    for (long i = 0; is_open && i < count; i++) samples[i].scheduled = (double)i / rate;
    ep = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &timer}, events[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e);
    for (int i = n_conns - 1; i >= 0; i--) conns[i].state = CLOSED, idle[n_idle++] = i;
    start_s = now_s();
    send_what_is_due();
    while (n_finished < count && now_s() < max_s) {
        int n = epoll_wait(ep, events, 256, 100);
        for (int i = 0; i < n; i++) {
            uint64_t expirations;
            Conn *c = events[i].data.ptr;
            if (events[i].data.ptr == &timer) { if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) die("load: timer"); continue; }
            if (events[i].events & EPOLLOUT) flush(c);
            if (events[i].events & ~EPOLLOUT && c->state != CLOSED) on_readable(c);
        }
        send_what_is_due();
    }
    double elapsed = now_s();
    /* What was due and has no answer waited at least until now: it is charged that much and counted as unfinished. */
    for (long i = 0; is_open && i < count; i++)
        if (samples[i].scheduled < elapsed && i >= next_index) next_index = i + 1;
    for (int i = 0; i < n_conns; i++)
        if (conns[i].state == HEAD || conns[i].state == BODY) samples[conns[i].index].done = elapsed;
    for (long i = 0; i < next_index; i++)
        if (samples[i].done == 0) samples[i].done = elapsed;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    write_samples(argv[3]);
    printf("{\"sent\":%ld,\"finished\":%ld,\"bad\":%ld,\"last_bad_status\":%ld,\"reconnects\":%ld,\"elapsed_s\":%.9f,\"streams\":%ld,\"streams_whole\":%ld,"
           "\"events\":%ld,\"event_reads\":%ld,\"client_cpu_s\":%.6f}\n", next_index, n_finished, n_bad, last_bad_status, n_reconnects, elapsed, n_streams,
           n_streams_whole, n_events, n_event_reads,
           (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6);
    return 0;
}
