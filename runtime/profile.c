/* Taking the time of steps; what comes of it is written by profile_report.c. */
#include "runtime/profile.h"

#include <string.h>
#include <time.h>

int64_t ebb_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

ebb_status ebb_executable_start_profile(ebb_executable *e)
{
    e->profile = ebb_allocate(e->allocator, sizeof *e->profile);
    if (!e->profile)
        return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "profile: out of memory");
    *e->profile = (ebb_profile){ .n_steps = e->steps.n };
    e->profile->times = ebb_allocate(e->allocator, e->steps.n * sizeof *e->profile->times);
    e->profile->events =
        ebb_allocate(e->allocator, EBB_PROFILE_EVENTS * sizeof *e->profile->events);
    if (!e->profile->times || !e->profile->events)
        return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "profile: out of memory");
    ebb_profile_reset(e);
    return EBB_OK;
}

void ebb_executable_stop_profile(ebb_executable *e)
{
    if (!e->profile)
        return;
    ebb_release(e->allocator, e->profile->times, e->profile->n_steps * sizeof *e->profile->times);
    ebb_release(e->allocator, e->profile->events, EBB_PROFILE_EVENTS * sizeof *e->profile->events);
    ebb_release(e->allocator, e->profile, sizeof *e->profile);
    e->profile = NULL;
}

void ebb_profile_reset(ebb_executable *e)
{
    if (!e || !e->profile)
        return;
    memset(e->profile->times, 0, e->profile->n_steps * sizeof *e->profile->times);
    e->profile->n_events = 0;
    e->profile->n_runs = 0;
}

ebb_status ebb_profile_tasks(ebb_executable *e, size_t begin, size_t end, size_t *failed)
{
    ebb_profile *profile = e->profile;
    profile->n_runs += begin == 0 && end > 0; /* a run may begin with an empty head */
    int64_t start = ebb_now_ns();
    for (size_t at = begin; at < end; at++) {
        const ebb_task *task = &e->tasks[at];
        ebb_status status = task->run(&task->call);
        const int64_t stop = ebb_now_ns(), taken = stop - start;
        ebb_step_time *time = &profile->times[at];
        time->least_ns = time->n_runs && time->least_ns < taken ? time->least_ns : taken;
        time->total_ns += taken;
        time->n_runs++;
        profile->events[profile->n_events++ % EBB_PROFILE_EVENTS] =
            (ebb_profile_event){ start, taken, e->n_runs, (uint32_t)at };
        start = stop;
        if (status) {
            *failed = at;
            return status;
        }
    }
    return EBB_OK;
}
