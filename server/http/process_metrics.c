/* What the kernel knows of this process, read at each rendering: nothing here is kept. */
#include "server/http/process_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Fields of /proc/self/stat counted from the state, which follows the name in parentheses (proc(5)
 * counts it as field 3). */
enum stat_field { STAT_THREADS = 17, STAT_START = 19, STAT_VIRTUAL = 20, STAT_RESIDENT = 21 };

/* Reads the first size - 1 bytes of a file in /proc as text. */
static bool read_text(const char *path, char *ret_text, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && (got = read(file, ret_text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    close(file);
    ret_text[length] = '\0';
    return length > 0;
}

/* The values of /proc/self/stat from the state on; false when one is missing. */
static bool read_stat(unsigned long long ret_fields[STAT_RESIDENT + 1])
{
    char text[1024];
    if (!read_text("/proc/self/stat", text, sizeof(text)))
        return false;
    char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ' || at[2] == '\0')
        return false;
    at += 3;
    ret_fields[0] = 0; /* the state, which is a letter and not a number */
    for (int i = 1; i <= STAT_RESIDENT; i++) {
        char *end;
        ret_fields[i] = strtoull(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

/* Seconds since 1970 when the machine started, or 0. */
static double boot_time(void)
{
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL)
        return 0;
    char *line = NULL;
    size_t size = 0;
    double result = 0;
    while (result <= 0 && getline(&line, &size, file) > 0) {
        if (strncmp(line, "btime ", 6) == 0)
            result = strtod(line + 6, NULL);
    }
    free(line);
    fclose(file);
    return result;
}

/* Open descriptors, without the one that lists them; -1 when that can't be told. */
static long count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return -1;
    long count = -1;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void append(struct buffer *buffer, const char *name, const char *type, const char *help,
                   double value)
{
    buffer_printf(buffer, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name,
                  value);
}

static void append_stat(struct buffer *buffer)
{
    unsigned long long fields[STAT_RESIDENT + 1];
    if (!read_stat(fields))
        return;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    double page = (double)sysconf(_SC_PAGESIZE);
    double boot = boot_time();
    append(buffer, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
           (double)fields[STAT_RESIDENT] * page);
    append(buffer, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
           (double)fields[STAT_VIRTUAL]);
    append(buffer, "process_threads", "gauge", "Number of OS threads in the process.",
           (double)fields[STAT_THREADS]);
    if (boot > 0 && ticks > 0)
        append(buffer, "process_start_time_seconds", "gauge",
               "Start time of the process since unix epoch in seconds.",
               boot + (double)fields[STAT_START] / ticks);
}

void process_metrics_append(struct buffer *buffer)
{
    struct timespec used;
    struct rlimit limit;
    long descriptors = count_descriptors();
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0)
        append(buffer, "process_cpu_seconds_total", "counter",
               "Total user and system CPU time spent in seconds.",
               (double)used.tv_sec + (double)used.tv_nsec / 1e9);
    append_stat(buffer);
    if (descriptors >= 0)
        append(buffer, "process_open_fds", "gauge", "Number of open file descriptors.",
               (double)descriptors);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        append(buffer, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
               (double)limit.rlim_cur);
}
