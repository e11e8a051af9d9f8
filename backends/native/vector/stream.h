/* Writing past the caches, for files that are compiled once for each instruction set; and a sink
 * for results that are made piece by piece. */
#ifndef BACKENDS_NATIVE_VECTOR_STREAM_H
#define BACKENDS_NATIVE_VECTOR_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

/* 64 bytes to a cache line of their own, which is not fetched. */
static inline void stream_line(void *to, const void *from)
{
#if defined __AVX512F__
    _mm512_stream_si512(to, _mm512_loadu_si512(from));
#elif defined __AVX__
    for (int i = 0; i < 2; i++)
        _mm256_stream_si256((__m256i *)to + i, _mm256_loadu_si256((const __m256i *)from + i));
#elif defined __SSE2__
    for (int i = 0; i < 4; i++)
        _mm_stream_si128((__m128i *)to + i, _mm_loadu_si128((const __m128i *)from + i));
#else
    memcpy(to, from, 64);
#endif
}

static inline void stream_finish(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

static inline void stream_bytes(void *to_data, const void *from_data, size_t n_bytes)
{
    char *to = to_data;
    const char *from = from_data;
    size_t head = (size_t)(-(uintptr_t)to % 64);
    head = head < n_bytes ? head : n_bytes;
    if (head > 0)
        memcpy(to, from, head);
    size_t i = head;
    for (; i + 64 <= n_bytes; i += 64)
        stream_line(to + i, from + i);
    if (i < n_bytes)
        memcpy(to + i, from + i, n_bytes - i);
}

/* Takes pieces of at most SINK_PIECE bytes, one after the other: straight into the result, or by
 * way of a buffer that leaves in whole cache lines past the caches. */
#define SINK_PIECE 8192
#define SINK_LEAST 512 /* leaves at once */
typedef struct sink {
    char *to;
    size_t n_waiting;
    bool is_streamed;
    _Alignas(64) char buffer[SINK_PIECE + SINK_LEAST];
} sink;

static inline void sink_start(sink *s, void *to, bool is_streamed)
{
    s->to = to;
    s->n_waiting = 0;
    s->is_streamed = is_streamed;
}

/* Where the next piece belongs. */
static inline void *sink_place(sink *s)
{
    return s->is_streamed ? s->buffer + s->n_waiting : s->to;
}

/* n_bytes lie there now. */
static inline void sink_take(sink *s, size_t n_bytes)
{
    if (!s->is_streamed) {
        s->to += n_bytes;
        return;
    }
    s->n_waiting += n_bytes;
    const size_t rest = (size_t)((uintptr_t)s->to + s->n_waiting) % 64;
    if (s->n_waiting < SINK_LEAST || rest >= s->n_waiting)
        return;
    const size_t gone = s->n_waiting - rest;
    stream_bytes(s->to, s->buffer, gone);
    s->to += gone;
    s->n_waiting = rest;
    if (rest > 0)
        memcpy(s->buffer, s->buffer + gone, rest);
}

static inline void sink_finish(sink *s)
{
    if (!s->is_streamed)
        return;
    memcpy(s->to, s->buffer, s->n_waiting);
    stream_finish();
}

#endif
