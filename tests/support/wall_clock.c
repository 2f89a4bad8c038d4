/* Another clock on the wall, for the processes that load this before the C library: the real one, moved
   by the seconds that stand in a file. Clocks that nobody can set, which have other names, stay. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int outcome = (int)syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("WALL_CLOCK_IS_AHEAD");
    if (outcome == 0 && clock == CLOCK_REALTIME && path != NULL) {
        FILE *file = fopen(path, "r");
        long long seconds = 0;
        if (file != NULL) {
            if (fscanf(file, "%lld", &seconds) == 1) now->tv_sec += seconds;
            fclose(file);
        }
    }
    return outcome;
}
