/* Addresses added and removed in a real kernel: many at once, only our own, both families. */
#include "netlink/link_addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "tests/unit/netlink_world.h"

#include <time.h>

#define MANY 1000

static struct link_addresses *addresses;

static int open_addresses(void **state)
{
    const int result = world_set_up(state);
    if (result == 0)
        assert_int_equal(link_addresses_new(&addresses, NULL), 0);
    return result;
}

static int close_addresses(void **state)
{
    link_addresses_free(addresses);
    addresses = NULL;
    return world_tear_down(state);
}

static struct link_addresses_change change(int link, const char *text, uint8_t prefix_length)
{
    return (struct link_addresses_change){
        .link = link, .address = world_address(text), .prefix_length = prefix_length};
}

/* What the dump says of one address. */
struct search {
    struct address address;
    size_t found;
    struct link_address last;
};

static int look(void *context, const struct link_address *address)
{
    struct search *search = context;
    if (address_equal(&address->address, &search->address)) {
        search->found++;
        search->last = *address;
    }
    return 0;
}

static struct search find(const char *text)
{
    struct search search = {.address = world_address(text)};
    assert_int_equal(link_addresses_dump(addresses, look, &search, NULL), 0);
    return search;
}

static int count_ours(void *context, const struct link_address *address)
{
    size_t *count = context;
    if (address->ours)
        (*count)++;
    return 0;
}

static size_t ours(void)
{
    size_t count = 0;
    assert_int_equal(link_addresses_dump(addresses, count_ours, &count, NULL), 0);
    return count;
}

static void add(struct link_addresses_change *changes, size_t count)
{
    struct error error = {.text = ""};
    if (link_addresses_add(addresses, changes, count, &error) != 0)
        fail_msg("%s", error.text);
}

static void take_away(struct link_addresses_change *changes, size_t count)
{
    struct error error = {.text = ""};
    if (link_addresses_remove(addresses, changes, count, &error) != 0)
        fail_msg("%s", error.text);
}

static void test_both_families(void **state)
{
    (void)state;
    struct link_addresses_change changes[] = {change(world.here, "192.0.2.10", 32),
                                              change(world.here, "2001:db8::10", 128),
                                              change(1, "198.51.100.1", 32), /* lo */
                                              change(1, "2001:db8:1::1", 128)};
    add(changes, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(changes[i].result, 0);
    const struct search four = find("192.0.2.10");
    assert_int_equal(four.found, 1);
    assert_int_equal(four.last.link, world.here);
    assert_int_equal(four.last.prefix_length, 32);
    assert_int_equal(four.last.scope, RT_SCOPE_UNIVERSE);
    assert_true(four.last.ours);
    assert_true((four.last.flags & IFA_F_PERMANENT) != 0);
    const struct search six = find("2001:db8::10");
    assert_int_equal(six.found, 1);
    assert_int_equal(six.last.prefix_length, 128);
    assert_true(six.last.ours);
    /* In use at once, forever, and never chosen as a source. */
    assert_int_equal(six.last.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED), 0);
    assert_int_equal(six.last.flags & (IFA_F_NODAD | IFA_F_DEPRECATED | IFA_F_PERMANENT),
                     IFA_F_NODAD | IFA_F_DEPRECATED | IFA_F_PERMANENT);
    assert_int_equal(find("198.51.100.1").last.link, 1);
    take_away(changes, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(changes[i].result, 0);
    assert_int_equal(find("192.0.2.10").found, 0);
    assert_int_equal(find("2001:db8::10").found, 0);
    assert_int_equal(ours(), 0);
}

/* Of the processor, in the kernel as well: other programs of the machine don't count. */
static int64_t spent(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
    return now.tv_sec * CLOCK_SECOND + now.tv_nsec;
}

static void test_a_thousand(void **state)
{
    (void)state;
    static struct link_addresses_change changes[2 * MANY];
    for (size_t i = 0; i < MANY; i++) {
        changes[i] = change(world.here, "203.0.112.0", 32);
        changes[i].address.low += i;
        changes[MANY + i] = change(world.here, "2001:db8::1:0", 128);
        changes[MANY + i].address.low += i;
    }
    const int64_t begin = spent();
    add(changes, MANY);
    const int64_t four = spent();
    add(changes + MANY, MANY);
    const int64_t six = spent();
    for (size_t i = 0; i < 2 * (size_t)MANY; i++)
        assert_int_equal(changes[i].result, 0);
    assert_int_equal(ours(), 2 * MANY);
    const int64_t full = spent();
    take_away(changes, 2 * (size_t)MANY);
    const int64_t end = spent();
    for (size_t i = 0; i < 2 * (size_t)MANY; i++)
        assert_int_equal(changes[i].result, 0);
    assert_int_equal(ours(), 0);
    print_message("%d added: IPv4 %.1f ms, IPv6 %.1f ms; both listed %.1f ms, removed %.1f ms\n",
                  MANY, (double)(four - begin) / 1e6, (double)(six - four) / 1e6,
                  (double)(full - six) / 1e6, (double)(end - full) / 1e6);
    /* For IPv6 the kernel goes through all multicast groups of the link, for each address. */
    assert_true(four - begin < CLOCK_SECOND / 2 && six - four < CLOCK_SECOND);
}

/* Each has a result of its own, wherever in the batch it stands. */
static void test_results(void **state)
{
    (void)state;
    struct link_addresses_change changes[] = {
        change(world.here, "192.0.2.1", 32), change(world.here, "192.0.2.1", 32),
        change(9999, "192.0.2.2", 32),       change(world.here, "192.0.2.3", 33),
        change(world.here, "192.0.2.4", 32), change(9999, "2001:db8::1", 128),
    };
    static const int added[] = {0, -EEXIST, -ENODEV, -EINVAL, 0, -ENODEV};
    /* The second of two equal ones: the kernel's word for what just went. */
    static const int removed[] = {
        0, -EADDRNOTAVAIL, -EADDRNOTAVAIL, -EADDRNOTAVAIL, 0, -EADDRNOTAVAIL,
    };
    add(changes, 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(changes[i].result, added[i]);
    take_away(changes, 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(changes[i].result, removed[i]);
    add(NULL, 0);
    take_away(NULL, 0);
}

static void test_by_hand(void **state)
{
    (void)state;
    world_ip("address add 192.0.2.50/32 dev here0");
    world_ip("address add 2001:db8::50/128 dev here0 nodad");
    struct link_addresses_change changes[] = {change(world.here, "192.0.2.50", 32),
                                              change(world.here, "2001:db8::50", 128)};
    add(changes, 2);
    assert_int_equal(changes[0].result, -EEXIST);
    assert_int_equal(changes[1].result, -EEXIST);
    assert_false(find("192.0.2.50").last.ours);
    assert_false(find("2001:db8::50").last.ours);
    take_away(changes, 2);
    assert_int_equal(changes[0].result, -EPERM);
    assert_int_equal(changes[1].result, -EPERM);
    assert_int_equal(find("192.0.2.50").found, 1);
    assert_int_equal(find("2001:db8::50").found, 1);
    /* Unless our own records say that it is ours, on a kernel that keeps no mark. */
    changes[0].recorded = true;
    changes[1].recorded = true;
    take_away(changes, 2);
    assert_int_equal(changes[0].result, 0);
    assert_int_equal(changes[1].result, 0);
}

/* The kernel makes labels anew when a link is renamed; the first loses its end. */
static void test_mark_survives_rename(void **state)
{
    (void)state;
    struct link_addresses_change changes[] = {change(world.here, "192.0.2.60", 32),
                                              change(world.here, "192.0.2.61", 32),
                                              change(world.here, "2001:db8::60", 128)};
    add(changes, 3);
    world_ip("link set dev here0 down");
    world_ip("link set dev here0 name averylongname00");
    world_ip("link set dev averylongname00 up");
    assert_true(find("192.0.2.60").last.ours);
    assert_true(find("192.0.2.61").last.ours);
    take_away(changes, 2);
    assert_int_equal(changes[0].result, 0);
    assert_int_equal(changes[1].result, 0);
    /* The longest name there is: the label is cut, the mark isn't. */
    add(changes, 1);
    assert_int_equal(changes[0].result, 0);
    assert_true(find("192.0.2.60").last.ours);
    if (system("ip -4 address show dev averylongname00 | grep -q averylongna:ipw") != 0)
        fail_msg("the label isn't there");
    take_away(changes, 1);
    assert_int_equal(changes[0].result, 0);
    world_ip("link set dev averylongname00 down");
    world_ip("link set dev averylongname00 name here0");
    world_ip("link set dev here0 up");
}

/* An address of the link's own subnet comes second, so that it never speaks for the host. */
static void test_behind_the_primary(void **state)
{
    (void)state;
    world_ip("address add 192.0.2.100/24 dev here0");
    struct link_addresses_change changes[] = {change(world.here, "192.0.2.7", 24),
                                              change(world.here, "192.0.2.8", 32)};
    add(changes, 2);
    assert_true((find("192.0.2.7").last.flags & IFA_F_SECONDARY) != 0);
    if (system("ip route get 192.0.2.9 | grep -q 'src 192.0.2.100 '") != 0)
        fail_msg("the host speaks with another address than its own");
    take_away(changes, 2);
    assert_int_equal(changes[0].result, 0);
    assert_int_equal(changes[1].result, 0);
    assert_int_equal(find("192.0.2.100").found, 1);
    world_ip("address del 192.0.2.100/24 dev here0");
}

static int stop(void *context, const struct link_address *address)
{
    (void)context;
    (void)address;
    return 7;
}

static void test_dump_stops(void **state)
{
    (void)state;
    assert_int_equal(link_addresses_dump(addresses, stop, NULL, NULL), 7);
    /* And the socket is as good as before. */
    assert_int_equal(find("127.0.0.1").found, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_families),
        cmocka_unit_test(test_a_thousand),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_mark_survives_rename),
        cmocka_unit_test(test_behind_the_primary),
        cmocka_unit_test(test_dump_stops),
    };
    return cmocka_run_group_tests(tests, open_addresses, close_addresses);
}
