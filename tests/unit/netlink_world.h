/* Two network namespaces of the test's own, joined by a cable: "near" has link here0, "far" has link
 * there0, both up. They are nowhere named, so nothing is left of them when the process ends. Needs the
 * right to make namespaces; without it the tests fail, and say so. */
#ifndef IPWARDEN_TESTS_UNIT_NETLINK_WORLD_H
#define IPWARDEN_TESTS_UNIT_NETLINK_WORLD_H

#include "allocator/address.h"
#include "netlink/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORLD_PATIENCE 5000 /* milliseconds: longer than anything takes on a busy machine */

static struct {
    bool made;
    int near; /* namespaces */
    int far;
    int here; /* the index of here0 */
    int there;
} world;

/* The calling thread goes to the namespace. */
static void world_enter(int namespace)
{
    assert_int_equal(setns(namespace, CLONE_NEWNET), 0);
}

/* Runs ip(8) with these arguments in the current namespace. */
static void world_ip(const char *format, ...) __attribute__((format(printf, 1, 2), unused));
static void world_ip(const char *format, ...)
{
    char arguments[256];
    char command[300];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof(arguments), format, list);
    va_end(list);
    snprintf(command, sizeof(command), "ip %s", arguments);
    if (system(command) != 0)
        fail_msg("%s failed", command);
}

/* Runs ip(8) in the other namespace. */
static void world_ip_far(const char *arguments) __attribute__((unused));
static void world_ip_far(const char *arguments)
{
    world_enter(world.far);
    world_ip("%s", arguments);
    world_enter(world.near);
}

static void world_mac(const char *link, uint8_t ret_mac[FRAME_MAC_SIZE]) __attribute__((unused));
static void world_mac(const char *link, uint8_t ret_mac[FRAME_MAC_SIZE])
{
    struct ifreq request = {.ifr_flags = 0};
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", link);
    assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &request), 0);
    memcpy(ret_mac, request.ifr_hwaddr.sa_data, FRAME_MAC_SIZE);
    close(fd);
}

static int world_open_namespace(void)
{
    if (unshare(CLONE_NEWNET) != 0)
        return -1;
    /* Handed to ip(8), so not closed there. */
    const int fd = open("/proc/thread-self/ns/net", O_RDONLY); /* NOLINT */
    assert_true(fd >= 0);
    world_ip("link set lo up");
    return fd;
}

static int world_set_up(void **state) __attribute__((unused));
static int world_set_up(void **state)
{
    (void)state;
    world.far = world_open_namespace();
    if (world.far < 0) {
        fprintf(stderr,
                "no network namespaces for this test: %s (needs CAP_SYS_ADMIN and "
                "CAP_NET_ADMIN)\n",
                strerror(errno));
        return -1;
    }
    world.near = world_open_namespace();
    /* The second one is never refused after the first. */
    assert_true(world.near >= 0);
    world_ip("link add name here0 type veth peer name there0");
    world_ip("link set dev there0 netns /proc/%d/fd/%d", getpid(), world.far);
    world_ip("link set dev here0 up");
    world.here = (int)if_nametoindex("here0");
    world_enter(world.far);
    world_ip("link set dev there0 up");
    world.there = (int)if_nametoindex("there0");
    world_enter(world.near);
    assert_true(world.here > 0 && world.there > 0);
    world.made = true;
    return 0;
}

static int world_tear_down(void **state) __attribute__((unused));
static int world_tear_down(void **state)
{
    (void)state;
    if (!world.made)
        return 0;
    close(world.near);
    close(world.far);
    world.made = false;
    return 0;
}

/* Waits until fd has something to read; fails when it takes too long. */
static void world_await(int fd) __attribute__((unused));
static void world_await(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&wanted, 1, WORLD_PATIENCE), 1);
}

static struct address world_address(const char *text) __attribute__((unused));
static struct address world_address(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, &address, NULL), 0);
    return address;
}

#endif
