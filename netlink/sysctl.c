/* Strict ARP. The kernel takes the greater of a link's value and that of "all", so that "all" is
 * enough for links that come later, too. */
#include "netlink/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct setting {
    const char *path;
    long wanted;
    long strictest; /* up to this, a value is at least as good */
} settings[] = {
    /* Answer only for addresses of the link that was asked (1), and only to its own subnet (2). */
    {"net/ipv4/conf/all/arp_ignore", 1, 2},
    /* Never ask with an address of another link, so that nobody learns where lo's are. */
    {"net/ipv4/conf/all/arp_announce", 2, 2},
};

static int read_value(const char *path, long *ret_value)
{
    char text[32];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const ssize_t length = read(fd, text, sizeof(text) - 1);
    const int code = length < 0 ? -errno : 0;
    (void)close(fd);
    if (code != 0)
        return code;
    text[length] = '\0';
    char *end = NULL;
    const long value = strtol(text, &end, 10);
    if (end == text)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

static int write_value(const char *path, long value)
{
    char text[32];
    const int length = snprintf(text, sizeof(text), "%ld\n", value);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const int code = write(fd, text, (size_t)length) < 0 ? -errno : 0;
    (void)close(fd);
    return code;
}

static int establish(const char *root, const struct setting *setting)
{
    char path[PATH_MAX];
    long value = 0;
    if (snprintf(path, sizeof(path), "%s/%s", root, setting->path) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    const int code = read_value(path, &value);
    if (code != 0)
        return code;
    if (value >= setting->wanted && value <= setting->strictest)
        return 0;
    return write_value(path, setting->wanted);
}

int sysctl_loopback_addresses(const char *root, struct error *error)
{
    char missing[192] = "";
    size_t length = 0;
    int result = 0;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        const int code = establish(root, &settings[i]);
        if (code == 0)
            continue;
        const int written =
            snprintf(missing + length, sizeof(missing) - length, "%s%s=%ld (%s)",
                     length > 0 ? ", " : "", settings[i].path, settings[i].wanted, strerror(-code));
        if (written > 0 && (size_t)written < sizeof(missing) - length)
            length += (size_t)written;
        result = code;
    }
    if (result == 0)
        return 0;
    return error_set(error, result, "every link answers for addresses of lo until somebody sets %s",
                     missing);
}
