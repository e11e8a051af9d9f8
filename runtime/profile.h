/* What a profiled executable keeps. */
#ifndef RUNTIME_PROFILE_H
#define RUNTIME_PROFILE_H

#include "runtime/runtime.h"

#include <ebb/profile.h>

#define EBB_PROFILE_EVENTS 65536

/* Of a clock that only goes forward. */
int64_t ebb_now_ns(void);

typedef struct ebb_step_time {
    int64_t n_runs, total_ns, least_ns;
} ebb_step_time;

typedef struct ebb_profile_event {
    int64_t start_ns, taken_ns;
    uint64_t run;
    uint32_t position; /* in the order of running */
} ebb_profile_event;

typedef struct ebb_profile {
    ebb_step_time *times; /* by position */
    size_t n_steps;
    ebb_profile_event *events; /* a ring: event i is at i % EBB_PROFILE_EVENTS */
    uint64_t n_events;         /* ever */
    int64_t n_runs;
} ebb_profile;

#endif
