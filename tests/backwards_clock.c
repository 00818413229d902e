/* Preloaded, sets the system's clock back by an hour every two seconds; the monotonic clock goes on. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, id, now);
    if (!failed && id == CLOCK_REALTIME) {
        struct timespec since_boot;
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &since_boot);
        now->tv_sec -= 3600 * (since_boot.tv_sec / 2);
        now->tv_sec += 3600 * (since_boot.tv_sec / 2 / 5000 * 5000); /* within 7 months of today */
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *stored) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (stored)
        *stored = precise.tv_sec;
    return precise.tv_sec;
}
