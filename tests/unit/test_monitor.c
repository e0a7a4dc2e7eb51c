/* The monitor against a real kernel: what it tells, in which order, and that nothing stays untold
 * when news are lost. */
#include "netlink/monitor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "netlink/link_addresses.h"
#include "tests/unit/netlink_world.h"

#define MANY 1000

static struct monitor *monitor;

/* What was told. */
static struct {
    unsigned int changed;
    unsigned int gone;
    unsigned int added;
    unsigned int removed;
    unsigned int begun;
    unsigned int ended;
    struct link link;
    struct link_address address;
} told;

static void on_changed(void *context, const struct link *link)
{
    assert_ptr_equal(context, &told);
    assert_non_null(links_by_index(monitor_links(monitor), link->index));
    told.changed++;
    told.link = *link;
}

static void on_gone(void *context, const struct link *link)
{
    (void)context;
    assert_null(links_by_index(monitor_links(monitor), link->index));
    assert_int_equal(link->address_count, 0);
    told.gone++;
    told.link = *link;
}

static void on_added(void *context, const struct link_address *address)
{
    (void)context;
    assert_non_null(links_find(monitor_links(monitor), address->link, &address->address));
    told.added++;
    told.address = *address;
}

static void on_removed(void *context, const struct link_address *address)
{
    (void)context;
    told.removed++;
    told.address = *address;
}

static void on_begin(void *context)
{
    (void)context;
    told.begun++;
}

static void on_end(void *context)
{
    (void)context;
    told.ended++;
}

static const struct monitor_upcalls upcalls = {
    .link_changed = on_changed,
    .link_gone = on_gone,
    .address_added = on_added,
    .address_removed = on_removed,
    .resync_begin = on_begin,
    .resync_end = on_end,
};

static void receive(void)
{
    struct error error = {.text = ""};
    world_await(monitor_fd(monitor));
    if (monitor_receive(monitor, &error) != 0)
        fail_msg("%s", error.text);
}

/* Receives until it is so. */
#define until(condition)                                                                           \
    do {                                                                                           \
        while (!(condition))                                                                       \
            receive();                                                                             \
    } while (0)

static void start(size_t receive_buffer)
{
    const struct monitor_options options = {.receive_buffer = receive_buffer};
    memset(&told, 0, sizeof(told));
    assert_int_equal(monitor_new(&options, &upcalls, &told, &monitor, NULL), 0);
    until(told.ended == 1);
    assert_int_equal(told.begun, 1);
    assert_int_equal(monitor_resyncs(monitor), 0);
}

static int stop(void **state)
{
    (void)state;
    monitor_free(monitor);
    monitor = NULL;
    return 0;
}

static const struct link *here(void)
{
    return links_by_index(monitor_links(monitor), world.here);
}

static bool has(const char *text)
{
    const struct address address = world_address(text);
    return links_find(monitor_links(monitor), world.here, &address) != NULL;
}

static void test_first_reading(void **state)
{
    (void)state;
    uint8_t mac[FRAME_MAC_SIZE];
    world_mac("here0", mac);
    start(0);
    const struct link *link = links_by_name(monitor_links(monitor), "here0");
    assert_non_null(link);
    assert_int_equal(link->index, world.here);
    assert_true(link->ethernet && frame_mac_equal(link->mac, mac) && !link->loopback);
    assert_true(link->up);
    const struct link *lo = links_loopback(monitor_links(monitor));
    assert_non_null(lo);
    assert_int_equal(lo->index, 1);
    assert_true(lo->up && !lo->ethernet);
    const struct address home = world_address("127.0.0.1");
    assert_non_null(links_find(monitor_links(monitor), 1, &home));
    assert_int_equal(links_count(monitor_links(monitor)), 2);
    assert_int_equal(told.changed, 2);
}

static void test_addresses(void **state)
{
    (void)state;
    start(0);
    world_ip("address add 192.0.2.1/24 dev here0");
    until(has("192.0.2.1"));
    assert_false(told.address.ours);
    assert_int_equal(told.address.prefix_length, 24);
    const struct address neighbour = world_address("192.0.2.99");
    assert_ptr_equal(links_containing(monitor_links(monitor), &neighbour), here());
    world_ip("address del 192.0.2.1/24 dev here0");
    until(!has("192.0.2.1"));
    assert_int_equal(told.removed, 1);

    struct link_addresses *addresses;
    struct link_addresses_change change = {
        .link = world.here, .address = world_address("2001:db8::1"), .prefix_length = 128};
    assert_int_equal(link_addresses_new(&addresses, NULL), 0);
    assert_int_equal(link_addresses_add(addresses, &change, 1, NULL), 0);
    assert_int_equal(change.result, 0);
    until(has("2001:db8::1"));
    assert_true(told.address.ours);
    link_addresses_free(addresses);
    world_ip("address flush dev here0 scope global");
    until(!has("2001:db8::1"));
}

/* The cable's other end, the administrator, and the name. */
static void test_link_changes(void **state)
{
    (void)state;
    start(0);
    until(here()->carrier);
    world_ip_far("link set dev there0 down");
    until(!here()->carrier);
    assert_true(here()->up);
    world_ip_far("link set dev there0 up");
    until(here()->carrier);
    world_ip("link set dev here0 down");
    until(!here()->up);
    assert_false(here()->carrier);
    world_ip("link set dev here0 name other0");
    until(links_by_name(monitor_links(monitor), "other0") != NULL);
    assert_ptr_equal(links_by_name(monitor_links(monitor), "other0"), here());
    assert_null(links_by_name(monitor_links(monitor), "here0"));
    world_ip("link set dev other0 name here0");
    world_ip("link set dev here0 up address 02:00:00:00:00:07");
    until(here()->carrier && here()->mac[5] == 7);
}

static void test_link_comes_and_goes(void **state)
{
    (void)state;
    start(0);
    world_ip("link add name more0 type veth peer name more1");
    world_ip("address add 192.0.2.1/24 dev more0");
    const struct address address = world_address("192.0.2.1");
    const struct link *more;
    until((more = links_by_name(monitor_links(monitor), "more0")) != NULL &&
          more->address_count == 1);
    assert_int_equal(more->addresses[0].address.low, address.low);
    /* A bridge takes a link in and lets it go: it is there all the time. */
    world_ip("link add name bridge0 type bridge");
    world_ip("link set dev more0 master bridge0");
    world_ip("link set dev more0 nomaster");
    world_ip("link set dev more0 address 02:00:00:00:00:08");
    until(links_by_name(monitor_links(monitor), "more0")->mac[5] == 8);
    assert_int_equal(told.gone, 0);
    world_ip("link del dev more0");
    until(told.gone == 2);
    assert_int_equal(told.removed, 1);
    assert_null(links_by_name(monitor_links(monitor), "more0"));
    world_ip("link del dev bridge0");
    until(told.gone == 3);
}

/* The kernel's own detection of duplicates: another host has the address. */
static void test_duplicate(void **state)
{
    (void)state;
    start(0);
    world_ip_far("address add 2001:db8::d/64 dev there0 nodad");
    world_ip("address add 2001:db8::d/64 dev here0");
    const struct address address = world_address("2001:db8::d");
    const struct link_address *found;
    until((found = links_find(monitor_links(monitor), world.here, &address)) != NULL &&
          (found->flags & IFA_F_DADFAILED) != 0);
    assert_true((told.address.flags & IFA_F_DADFAILED) != 0);
    world_ip("address del 2001:db8::d/64 dev here0");
    world_ip_far("address del 2001:db8::d/64 dev there0");
    until(!has("2001:db8::d"));
}

static size_t count_ours(void)
{
    size_t count = 0;
    for (size_t i = 0; i < here()->address_count; i++)
        count += here()->addresses[i].ours ? 1 : 0;
    return count;
}

/* A flood that the socket can't hold: afterwards the table is as the kernel's, and everything that
 * went was told. */
static void test_lost_news(void **state)
{
    (void)state;
    static struct link_addresses_change changes[MANY];
    struct link_addresses *addresses;
    for (size_t i = 0; i < MANY; i++) {
        changes[i] = (struct link_addresses_change){
            .link = world.here, .address = world_address("203.0.112.0"), .prefix_length = 32};
        changes[i].address.low += i;
    }
    start(4096);
    assert_int_equal(link_addresses_new(&addresses, NULL), 0);
    assert_int_equal(link_addresses_add(addresses, changes, MANY, NULL), 0);
    until(told.ended == 2);
    assert_true(monitor_resyncs(monitor) > 0);
    assert_int_equal(count_ours(), MANY);
    assert_int_equal(told.added - told.removed, here()->address_count + 2 /* of lo */);

    /* What goes away unnoticed, a link with its address as well. */
    world_ip("link add name more0 type veth peer name more1");
    world_ip("address add 192.0.2.1/24 dev more0");
    until(links_by_name(monitor_links(monitor), "more0") != NULL &&
          links_by_name(monitor_links(monitor), "more0")->address_count == 1);
    const unsigned int ended = told.ended;
    const unsigned int gone = told.gone;
    const unsigned int removed = told.removed;
    assert_int_equal(link_addresses_remove(addresses, changes, MANY, NULL), 0);
    world_ip("link del dev more0");
    until(told.ended > ended && told.gone == gone + 2);
    assert_int_equal(count_ours(), 0);
    assert_int_equal(told.removed - removed, MANY + 1);
    link_addresses_free(addresses);
}

static struct link_addresses *toggled;

static void toggle(const struct link_address *address, bool add)
{
    struct link_addresses_change change = {
        .link = world.here, .address = world_address("192.0.2.77"), .prefix_length = 32};
    if (toggled == NULL || !address_equal(&address->address, &change.address))
        return;
    assert_int_equal(add ? link_addresses_add(toggled, &change, 1, NULL)
                         : link_addresses_remove(toggled, &change, 1, NULL),
                     0);
    assert_int_equal(change.result, 0);
}

static void add_again(void *context, const struct link_address *address)
{
    on_removed(context, address);
    toggle(address, true);
}

static void remove_again(void *context, const struct link_address *address)
{
    on_added(context, address);
    toggle(address, false);
}

/* Each change causes the next one, so that no list is ever without news: it ends nevertheless. */
static void test_never_still(void **state)
{
    (void)state;
    struct monitor_upcalls restless = upcalls;
    restless.address_added = remove_again;
    restless.address_removed = add_again;
    memset(&told, 0, sizeof(told));
    assert_int_equal(link_addresses_new(&toggled, NULL), 0);
    struct link_addresses_change first = {
        .link = world.here, .address = world_address("192.0.2.77"), .prefix_length = 32};
    assert_int_equal(monitor_new(NULL, &restless, &told, &monitor, NULL), 0);
    assert_int_equal(link_addresses_add(toggled, &first, 1, NULL), 0);
    for (unsigned int i = 0; told.ended == 0; i++) {
        receive();
        assert_true(i < 1000);
    }
    assert_int_equal(monitor_resyncs(monitor), 0);
    assert_true(told.added > 2 && told.removed > 2);
    link_addresses_free(toggled);
    toggled = NULL;
    world_ip("address flush dev here0 scope global");
    until(!has("192.0.2.77"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_first_reading, stop),
        cmocka_unit_test_teardown(test_addresses, stop),
        cmocka_unit_test_teardown(test_link_changes, stop),
        cmocka_unit_test_teardown(test_link_comes_and_goes, stop),
        cmocka_unit_test_teardown(test_duplicate, stop),
        cmocka_unit_test_teardown(test_lost_news, stop),
        cmocka_unit_test_teardown(test_never_still, stop),
    };
    return cmocka_run_group_tests(tests, world_set_up, world_tear_down);
}
