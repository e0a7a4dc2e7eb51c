/* The table of links: filling it, looking things up, and being told everything again. */
#include "netlink/links.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct links *links;

static struct address address_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, &address, NULL), 0);
    return address;
}

static bool put(int index, const char *name, bool loopback)
{
    struct link link = {.index = index, .up = true, .loopback = loopback};
    bool changed = false;
    snprintf(link.name, sizeof(link.name), "%s", name);
    assert_int_equal(links_put(links, &link, &changed), 0);
    return changed;
}

static struct link_address make(int link, const char *text, uint8_t prefix_length)
{
    return (struct link_address){
        .link = link, .address = address_of(text), .prefix_length = prefix_length};
}

static bool put_address(struct link_address address)
{
    bool changed = false;
    assert_int_equal(links_put_address(links, &address, &changed), 0);
    return changed;
}

static int set_up(void **state)
{
    (void)state;
    links = links_new();
    assert_non_null(links);
    put(7, "wan0", false);
    put(1, "lo", true);
    put(3, "lan0", false);
    put_address(make(1, "127.0.0.1", 8));
    put_address(make(3, "192.0.2.1", 24));
    put_address(make(3, "2001:db8:3::1", 64));
    put_address(make(7, "192.0.2.129", 25));
    put_address(make(7, "198.51.100.1", 32));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    links_free(links);
    links = NULL;
    return 0;
}

static void test_lookup(void **state)
{
    (void)state;
    static const int order[] = {1, 3, 7};
    assert_int_equal(links_count(links), 3);
    size_t at = 0;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(links_next(links, &at)->index, order[i]);
    assert_null(links_next(links, &at));
    assert_string_equal(links_by_index(links, 7)->name, "wan0");
    assert_null(links_by_index(links, 2));
    assert_null(links_by_index(links, 8));
    assert_int_equal(links_by_name(links, "lan0")->index, 3);
    assert_null(links_by_name(links, "lan"));
    assert_int_equal(links_loopback(links)->index, 1);
    const struct address address = address_of("192.0.2.129");
    assert_int_equal(links_find(links, 7, &address)->prefix_length, 25);
    assert_null(links_find(links, 3, &address));
    assert_null(links_find(links, 4, &address));
}

static void test_containing(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        int link; /* 0: none */
    } cases[] = {
        {"192.0.2.7", 3},        {"192.0.2.127", 3},  {"192.0.2.128", 7}, {"192.0.2.200", 7},
        {"192.0.3.1", 0},        {"198.51.100.1", 0}, {"127.0.0.1", 0},   {"2001:db8:3::ffff", 3},
        {"2001:db8:4::ffff", 0}, {"203.0.113.9", 0},
    };
    /* What is ours says nothing about where neighbours are. */
    struct link_address ours = make(7, "203.0.113.1", 24);
    ours.ours = true;
    put_address(ours);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct address address = address_of(cases[i].address);
        const struct link *link = links_containing(links, &address);
        assert_int_equal(link != NULL ? link->index : 0, cases[i].link);
    }
}

static void expect_source(const char *target, const char *wanted)
{
    char text[ADDRESS_TEXT_SIZE] = "";
    const struct address address = address_of(target);
    const struct link_address *source = links_source(links, 3, &address);
    if (source != NULL)
        address_format(&source->address, text);
    assert_string_equal(text, wanted);
}

static void test_source(void **state)
{
    (void)state;
    struct link_address address = make(3, "192.0.2.9", 32);
    address.ours = true;
    put_address(address);
    expect_source("192.0.2.9", "192.0.2.1");
    expect_source("203.0.113.1", "192.0.2.1");
    expect_source("2001:db8:3::9", "2001:db8:3::1");
    expect_source("2001:db8:4::9", "2001:db8:3::1");
    address = make(3, "fe80::1", 64);
    address.scope = RT_SCOPE_LINK;
    put_address(address);
    expect_source("2001:db8:3::9", "2001:db8:3::1");
    expect_source("2001:db8:4::9", "fe80::1");
    /* Nor one that isn't sure to be ours, or is on its way out. */
    address = make(3, "203.0.113.5", 24);
    address.flags = IFA_F_TENTATIVE;
    put_address(address);
    expect_source("203.0.113.1", "192.0.2.1");
    address.flags = IFA_F_DADFAILED;
    put_address(address);
    expect_source("203.0.113.1", "192.0.2.1");
    address.flags = IFA_F_SECONDARY;
    put_address(address);
    put_address(make(3, "203.0.113.6", 24));
    expect_source("203.0.113.1", "203.0.113.6");
    address = make(3, "198.51.100.1", 24);
    address.scope = RT_SCOPE_HOST;
    put_address(address);
    expect_source("198.51.100.2", "192.0.2.1");
    const struct address any = address_of("192.0.2.2");
    assert_null(links_source(links, 4, &any));
    assert_null(links_source(links, 1, &(struct address){.family = ADDRESS_IPV6}));
}

static void test_changes(void **state)
{
    (void)state;
    const struct link *wan = links_by_index(links, 7);
    assert_false(put(7, "wan0", false));
    /* Renamed: the same link with the same addresses. */
    assert_true(put(7, "wan1", false));
    assert_ptr_equal(links_by_name(links, "wan1"), wan);
    assert_null(links_by_name(links, "wan0"));
    assert_int_equal(wan->address_count, 2);
    struct link link = *wan;
    bool changed = false;
    bool *const members[] = {&link.ethernet, &link.up, &link.carrier, &link.loopback};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        *members[i] = !*members[i];
        assert_int_equal(links_put(links, &link, &changed), 0);
        assert_true(changed);
        assert_int_equal(links_put(links, &link, &changed), 0);
        assert_false(changed);
    }
    link.mac[5] = 9;
    assert_int_equal(links_put(links, &link, &changed), 0);
    assert_true(changed);

    struct link_address address = make(7, "198.51.100.1", 32);
    assert_false(put_address(address));
    address.flags = IFA_F_DEPRECATED;
    assert_true(put_address(address));
    address.ours = true;
    assert_true(put_address(address));
    address.scope = RT_SCOPE_LINK;
    assert_true(put_address(address));
    assert_false(put_address(address));
    /* The same with another prefix is another. */
    assert_true(put_address(make(7, "198.51.100.1", 24)));
    assert_int_equal(links_by_index(links, 7)->address_count, 3);
    address = make(9, "198.51.100.1", 24);
    assert_int_equal(links_put_address(links, &address, NULL), -ENOENT);
}

static void test_removal(void **state)
{
    (void)state;
    const struct link_address address = make(3, "192.0.2.1", 24);
    const struct link_address other = make(3, "192.0.2.1", 25);
    assert_false(links_remove_address(links, &other));
    assert_true(links_remove_address(links, &address));
    assert_false(links_remove_address(links, &address));
    assert_int_equal(links_by_index(links, 3)->address_count, 1);
    assert_true(links_remove(links, 3));
    assert_false(links_remove(links, 3));
    assert_false(links_remove_address(links, &address));
    assert_int_equal(links_count(links), 2);
    assert_string_equal(links_by_index(links, 7)->name, "wan0");
}

static void test_rounds(void **state)
{
    (void)state;
    assert_null(links_unseen(links));
    assert_null(links_unseen_address(links));
    links_begin_round(links);
    put(3, "lan0", false);
    put(1, "lo", true);
    put_address(make(3, "192.0.2.1", 24));
    put_address(make(1, "127.0.0.1", 8));
    size_t addresses = 0;
    const struct link_address *address;
    while ((address = links_unseen_address(links)) != NULL) {
        assert_true(links_remove_address(links, address));
        addresses++;
    }
    assert_int_equal(addresses, 3);
    assert_int_equal(links_unseen(links)->index, 7);
    assert_true(links_remove(links, 7));
    assert_null(links_unseen(links));
    assert_int_equal(links_count(links), 2);
}

/* Many, in an order that isn't theirs. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 2003 };
    for (unsigned int i = 0; i < MANY; i++) {
        struct link_address address = make(7, "203.0.0.0", 32);
        address.address.low += i * 997 % MANY;
        assert_true(put_address(address));
    }
    const struct link *wan = links_by_index(links, 7);
    assert_int_equal(wan->address_count, MANY + 2);
    for (size_t i = 1; i < wan->address_count; i++)
        assert_true(address_compare(&wan->addresses[i - 1].address, &wan->addresses[i].address) <
                    0);
    for (unsigned int i = 0; i < MANY; i++) {
        struct link_address address = make(7, "203.0.0.0", 32);
        address.address.low += i * 991 % MANY;
        assert_non_null(links_find(links, 7, &address.address));
        assert_true(links_remove_address(links, &address));
        assert_null(links_find(links, 7, &address.address));
    }
    assert_int_equal(wan->address_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lookup, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_containing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_source, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_removal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
