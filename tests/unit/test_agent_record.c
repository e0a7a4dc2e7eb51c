/* What an agent writes down: written, read again, of another boot, broken, and too old or new. */
#include "netlink/agent_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/agent-record-XXXXXX";
static char path[64];

static struct address make_address(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, &address, NULL), 0);
    return address;
}

static struct agent_record *open_record(const char *boot)
{
    struct agent_record *record = NULL;
    assert_int_equal(agent_record_new(path, boot, &record, NULL), 0);
    return record;
}

static void count_node(void *context, const struct agent_neighbour *node)
{
    unsigned int *count = context;
    assert_string_equal(node->name, "worker-2");
    assert_int_equal(node->mac_count, 2);
    assert_int_equal(node->macs[1][5], 3);
    (*count)++;
}

static void test_file(void **state)
{
    (void)state;
    static const uint8_t macs[2][AGENT_MAC_SIZE] = {{2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}};
    const struct address one = make_address("192.0.2.10");
    const struct address other = make_address("2001:db8::10");
    struct agent_record *record = open_record("boot-1");
    assert_int_equal(agent_record_load(record, NULL), 0); /* there is none yet */
    assert_int_equal(agent_record_add(record, "eth0", &one, NULL), 0);
    assert_int_equal(agent_record_add(record, "eth0", &one, NULL), 0);
    assert_int_equal(agent_record_add(record, "eth0", &other, NULL), 0);
    assert_int_equal(agent_record_node(record, "worker-2", macs, 2, NULL), 0);
    assert_int_equal(agent_record_node(record, "no name", macs, 2, NULL), -EINVAL);
    agent_record_remove(record, "eth0", &other);
    agent_record_remove(record, "eth1", &one);
    assert_int_equal(agent_record_save(record, NULL), 0);
    agent_record_free(record);

    static const struct {
        const char *boot;
        size_t addresses;
    } cases[] = {{"boot-1", 1}, {"boot-2", 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned int nodes = 0;
        record = open_record(cases[i].boot);
        assert_int_equal(agent_record_load(record, NULL), 0);
        assert_int_equal(agent_record_count(record), cases[i].addresses);
        assert_int_equal(agent_record_has(record, "eth0", &one), cases[i].addresses > 0);
        assert_false(agent_record_has(record, "eth1", &one));
        agent_record_nodes(record, count_node, &nodes);
        assert_int_equal(nodes, 1);
        agent_record_free(record);
    }
}

static void test_broken(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "ipwarden agent 2\n",
        "something else\n",
        "ipwarden agent 1\nunknown line\n",
        "ipwarden agent 1\nboot b\naddress 192.0.2.10\n",
        "ipwarden agent 1\nboot b\naddress 192.0.2.300 eth0\n",
        "ipwarden agent 1\nboot b\naddress 192.0.2.10 eth0 more\n",
        "ipwarden agent 1\nboot b\naddress 192.0.2.10 a-name-that-is-too-long\n",
        "ipwarden agent 1\nboot b\naddress 192.0.2.10 eth0\nnode worker 02:00\n",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error = {0};
        struct agent_record *record = open_record("b");
        assert_int_equal(agent_record_parse(record, cases[i], strlen(cases[i]), &error), -EBADMSG);
        assert_int_equal(error.code, -EBADMSG);
        assert_int_equal(agent_record_count(record), 0);
        agent_record_free(record);
    }
}

static void test_unwritable(void **state)
{
    (void)state;
    struct agent_record *record = NULL;
    struct error error = {0};
    const struct address one = make_address("192.0.2.10");
    assert_int_equal(agent_record_new("/nowhere/record", "b", &record, NULL), 0);
    assert_int_equal(agent_record_add(record, "eth0", &one, NULL), 0);
    assert_int_equal(agent_record_save(record, &error), -ENOENT);
    assert_non_null(strstr(error.text, "/nowhere/record"));
    agent_record_free(record);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/record", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)rmdir(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_file), cmocka_unit_test(test_broken),
                                       cmocka_unit_test(test_unwritable)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
