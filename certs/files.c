/* Watching a directory of certificates. Kubernetes mounts a Secret as symlinks through "..data",
 * which it swaps by one rename: all files are read through one descriptor of what "..data" was
 * at that moment, so that a swap between two reads can't mix generations. Other writers replace
 * file by file; what they leave in between doesn't match and is waited out. */
#include "certs/files.h"

#include "certs/certificate.h"
#include "certs/pem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define WATCHED                                                                                    \
    (IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |        \
     IN_ONLYDIR)

struct certs_files {
    char *directory;
    const struct clock *clock;
    int64_t poll;
    int64_t read_at; /* monotonic: of the last reading, good or not */
    int inotify;     /* -1: none */
    int watch;       /* of the directory; -1: it must be set up again */
    bool dirty;      /* something changed, or the last reading wasn't good */
    bool has_bundle;
    struct certs_bundle bundle;
};

static const struct {
    const char *name;
    size_t offset; /* of the char * in struct certs_bundle */
    mode_t mode;
} files_table[] = {
    /* Written in this order. */
    {"ca.key", offsetof(struct certs_bundle, ca_key_pem), 0600},
    {"ca.crt", offsetof(struct certs_bundle, ca_pem), 0644},
    {"tls.key", offsetof(struct certs_bundle, key_pem), 0600},
    {"tls.crt", offsetof(struct certs_bundle, chain_pem), 0644},
};
#define FILES (sizeof(files_table) / sizeof(files_table[0]))

static void watch_directory(struct certs_files *files)
{
    if (files->inotify >= 0 && files->watch < 0)
        files->watch = inotify_add_watch(files->inotify, files->directory, WATCHED);
}

int certs_files_open(const char *directory, const struct clock *clock, int64_t poll,
                     struct certs_files **ret_files, struct error *error)
{
    struct stat status;
    if (stat(directory, &status) != 0)
        return error_set(error, -errno, "%s: %s", directory, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return error_set(error, -ENOTDIR, "%s: %s", directory, strerror(ENOTDIR));
    struct certs_files *files = calloc(1, sizeof(*files));
    char *copy = strdup(directory);
    if (files == NULL || copy == NULL) {
        free(files);
        free(copy);
        return error_no_memory(error);
    }
    *files = (struct certs_files){
        .directory = copy,
        .clock = clock,
        .poll = poll > 0 ? poll : CERTS_FILES_POLL,
        .inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC),
        .watch = -1,
        .dirty = true,
    };
    watch_directory(files);
    *ret_files = files;
    return 0;
}

void certs_files_close(struct certs_files *files)
{
    if (files == NULL)
        return;
    if (files->inotify >= 0)
        close(files->inotify);
    certs_bundle_clear(&files->bundle);
    free(files->directory);
    free(files);
}

int certs_files_fd(const struct certs_files *files)
{
    return files->inotify;
}

const struct certs_bundle *certs_files_bundle(const struct certs_files *files)
{
    return files->has_bundle ? &files->bundle : NULL;
}

/* Empties the queue of events. What they say doesn't matter, except that the directory itself
 * has gone. */
static void drain(struct certs_files *files)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    for (;;) {
        ssize_t length = read(files->inotify, events, sizeof(events));
        if (length <= 0)
            return;
        files->dirty = true;
        for (const char *at = events; at < events + length;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
            if ((event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
                /* A directory that was moved is still watched, under its old name. */
                if ((event->mask & IN_MOVE_SELF) != 0)
                    inotify_rm_watch(files->inotify, files->watch);
                files->watch = -1;
            }
            at += sizeof(*event) + event->len;
        }
    }
}

/* Reads all of an open file, at most a PEM text's worth. */
static int read_all(int file, const char *name, char **ret_text, struct error *error)
{
    struct stat status;
    if (fstat(file, &status) != 0)
        return error_set(error, -errno, "%s: %s", name, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size > (off_t)CERTS_PEM_MAXIMUM)
        return error_set(error, -EINVAL, "%s: not a file of at most 1 MiB", name);
    size_t capacity = (size_t)status.st_size + 1;
    size_t length = 0;
    char *text = malloc(capacity);
    if (text == NULL)
        return error_no_memory(error);
    while (length < capacity) {
        ssize_t got = read(file, text + length, capacity - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    /* The file grew: it is being written to. */
    if (length == capacity || memchr(text, '\0', length) != NULL) {
        OPENSSL_cleanse(text, length);
        free(text);
        return error_set(error, -EINVAL, "%s: is being written, or no text", name);
    }
    text[length] = '\0';
    *ret_text = text;
    return 0;
}

/* Reads a file of the directory; a file that doesn't exist is "". */
static int read_file(int directory, const char *name, char **ret_text, struct error *error)
{
    int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 && errno == ENOENT) {
        *ret_text = strdup("");
        return *ret_text != NULL ? 0 : error_no_memory(error);
    }
    if (file < 0)
        return error_set(error, -errno, "%s: %s", name, strerror(errno));
    int code = read_all(file, name, ret_text, error);
    close(file);
    return code;
}

static int read_path(int directory, struct certs_bundle *bundle, struct error *error)
{
    char *text = NULL;
    int code = read_file(directory, "path", &text, error);
    if (code != 0)
        return code;
    text[strcspn(text, "\r\n")] = '\0';
    if (text[0] != '\0' && !certs_path_is_sane(text))
        code = error_set(error, -EINVAL, "path: not %d lower-case hexadecimal digits",
                         CERTS_PATH_LENGTH);
    else
        memcpy(bundle->path, text, strlen(text) + 1);
    free(text);
    return code;
}

static int read_bundle(int directory, struct certs_bundle *ret_bundle, struct error *error)
{
    struct certs_bundle bundle = {0};
    int code = read_path(directory, &bundle, error);
    for (size_t i = 0; i < FILES; i++) {
        char **text = (char **)(void *)((char *)&bundle + files_table[i].offset);
        if (code == 0)
            code = read_file(directory, files_table[i].name, text, error);
    }
    if (code != 0) {
        certs_bundle_clear(&bundle);
        return code;
    }
    *ret_bundle = bundle;
    return 0;
}

/* Opens what the files are to be read through: "..data" if it is there and has them, else the
 * directory. */
static int open_generation(const char *directory)
{
    int top = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return -1;
    int data = openat(top, "..data", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (data < 0)
        return top;
    if (faccessat(data, "tls.crt", F_OK, 0) != 0) {
        close(data);
        return top;
    }
    close(top);
    return data;
}

int certs_files_read(const char *directory, struct certs_bundle *ret_bundle, struct error *error)
{
    int generation = open_generation(directory);
    if (generation < 0)
        return error_set(error, -errno, "%s: %s", directory, strerror(errno));
    int code = read_bundle(generation, ret_bundle, error);
    close(generation);
    if (code != 0)
        error_prefix(error, "%s", directory);
    return code;
}

/* Whether what was read can be served. */
static int judge(const struct certs_bundle *bundle, struct error *error)
{
    int code = 0;
    assert(bundle->chain_pem != NULL && bundle->key_pem != NULL);
    if (bundle->chain_pem[0] == '\0' || bundle->key_pem[0] == '\0')
        return error_set(error, -ENOENT, "tls.crt and tls.key aren't both there");
    code = certs_key_check(bundle->chain_pem, bundle->key_pem, error);
    if (code == 0 && bundle->ca_pem[0] != '\0' &&
        (code = certs_verify_timeless(bundle->chain_pem, bundle->ca_pem, error)) != 0)
        error_prefix(error, "ca.crt doesn't go with tls.crt");
    return code;
}

static int take_over(struct certs_files *files, bool *ret_changed, struct error *error)
{
    struct certs_bundle bundle = {0};
    char *nothing = strdup("");
    if (nothing == NULL)
        return error_no_memory(error);
    int code = certs_files_read(files->directory, &bundle, error);
    if (code != 0) {
        free(nothing);
        return code;
    }
    /* A key of an authority that happens to lie there is none of our business. */
    certs_pem_free(bundle.ca_key_pem);
    bundle.ca_key_pem = nothing;
    if (files->has_bundle && certs_bundle_equals(&bundle, &files->bundle)) {
        certs_bundle_clear(&bundle);
        *ret_changed = false;
        return 0;
    }
    code = judge(&bundle, error);
    if (code != 0) {
        certs_bundle_clear(&bundle);
        error_prefix(error, "%s", files->directory);
        return code;
    }
    certs_bundle_clear(&files->bundle);
    files->bundle = bundle;
    files->has_bundle = true;
    *ret_changed = true;
    return 0;
}

int certs_files_check(struct certs_files *files, bool *ret_changed, struct error *error)
{
    int64_t now = clock_monotonic(files->clock);
    if (files->inotify >= 0)
        drain(files);
    if (!files->dirty && now - files->read_at < files->poll) {
        *ret_changed = false;
        return 0;
    }
    /* Watching comes before reading: a change in between is seen one way or the other. */
    watch_directory(files);
    files->read_at = now;
    int code = take_over(files, ret_changed, error);
    files->dirty = code != 0;
    return code;
}

static int write_all(int file, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t written = write(file, text, left);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        text += written;
        left -= (size_t)written;
    }
    return fsync(file) == 0 ? 0 : -errno;
}

/* Writes a complete file beside the old one and renames it into its place. */
static int write_file(int directory, const char *name, mode_t mode, const char *text,
                      struct error *error)
{
    char temporary[64];
    snprintf(temporary, sizeof(temporary), ".%s.%ld", name, (long)getpid());
    (void)unlinkat(directory, temporary, 0);
    int file =
        openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (file < 0)
        return error_set(error, -errno, "%s: %s", name, strerror(errno));
    /* umask may have taken bits away from the mode given to open(). */
    int code = fchmod(file, mode) == 0 ? write_all(file, text) : -errno;
    close(file);
    if (code == 0 && renameat(directory, temporary, directory, name) != 0)
        code = -errno;
    if (code != 0) {
        (void)unlinkat(directory, temporary, 0);
        return error_set(error, code, "%s: %s", name, strerror(-code));
    }
    return 0;
}

int certs_files_write(const char *directory, const struct certs_bundle *bundle, struct error *error)
{
    int top = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return error_set(error, -errno, "%s: %s", directory, strerror(errno));
    char path[CERTS_PATH_LENGTH + 2];
    snprintf(path, sizeof(path), "%s\n", bundle->path);
    int code = write_file(top, "path", 0600, path, error);
    for (size_t i = 0; code == 0 && i < FILES; i++) {
        const char *text =
            *(char *const *)(const void *)((const char *)bundle + files_table[i].offset);
        code = write_file(top, files_table[i].name, files_table[i].mode, text, error);
    }
    close(top);
    if (code != 0)
        error_prefix(error, "%s", directory);
    return code;
}
