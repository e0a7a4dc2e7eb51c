/* IpNodes: what is read of them, and that what is written reads back. */
#include "server/objects/ip_node.h"

#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdio.h>

static struct ip_node *decode(const char *text)
{
    struct ip_node *node = NULL;
    struct error error = {0};
    assert_int_equal(ip_node_decode_text(text, strlen(text), &node, &error), 0);
    return node;
}

static void what_an_agent_says_is_read(void **state)
{
    (void)state;
    _cleanup_ip_node_ struct ip_node *node = decode(
        Q("{'metadata':{'name':'n1','uid':'u'},'spec':{'nodeName':'n1'},'status':{'revision':'17',"
          "'heartbeatInterval':'2s','addresses':['192.0.2.10','nonsense','2001:db8::a'],'links':[{"
          "'name':'eth0','mac':'52:54:00:12:34:5F','up':true,'addresses':['192.0.2.10/24',"
          "'192.0.2.11','192.0.2.12/33']},{'up':true},{'name':'a-name-that-is-too-long'}],"
          "'conditions':[{'type':'Ready','status':'True'},{'type':'Alive','status':'False'}]}}"));
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x5f};
    assert_string_equal(node->meta.name, "n1");
    assert_string_equal(node->revision, "17");
    assert_int_equal(node->interval, 2 * CLOCK_SECOND);
    assert_int_equal(node->address_count, 2);
    assert_int_equal(node->link_count, 1);
    assert_string_equal(node->links[0].name, "eth0");
    assert_memory_equal(node->links[0].mac, mac, 6);
    assert_true(node->links[0].up);
    assert_int_equal(node->links[0].address_count, 1);
    assert_int_equal(node->links[0].addresses[0].prefix_length, 24);
    assert_int_equal(node->ready, IP_NODE_YES);
    assert_int_equal(node->alive, IP_NODE_NO);
}

static void what_can_not_be_read_is_not_told(void **state)
{
    (void)state;
    static const struct {
        const char *interval;
        int64_t expected;
    } intervals[] = {
        {"2s", 2 * CLOCK_SECOND},
        {"2500ms", 2500 * CLOCK_MILLISECOND},
        {"0s", 0},
        {"2", 0},
        {"", 0},
        {"-2s", 0},
        {"2m", 0},
        {"99999999999s", 0},
        {"9999999999999999s", 0},
        {"+2s", 0},
    };
    for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
        char text[200];
        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"n\"},\"status\":{\"heartbeatInterval\":\"%s\"}}",
                 intervals[i].interval);
        _cleanup_ip_node_ struct ip_node *node = decode(text);
        assert_int_equal(node->interval, intervals[i].expected);
    }
    static const char *const macs[] = {"52:54:00:12:34", "52-54-00-12-34-5f", "52:54:00:12:34:5g",
                                       "", "5"};
    for (size_t i = 0; i < sizeof(macs) / sizeof(macs[0]); i++) {
        static const uint8_t none[6];
        char text[200];
        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"n\"},\"status\":{\"links\":[{\"name\":\"e\","
                 "\"mac\":\"%s\"}]}}",
                 macs[i]);
        _cleanup_ip_node_ struct ip_node *node = decode(text);
        assert_memory_equal(node->links[0].mac, none, 6);
    }
    _cleanup_ip_node_ struct ip_node *bare = decode(Q("{'metadata':{'name':'n'}}"));
    assert_string_equal(bare->revision, "");
    assert_int_equal(bare->ready, IP_NODE_UNKNOWN);
    assert_string_equal(bare->status, "");
    struct ip_node *none = NULL;
    assert_int_equal(ip_node_decode_text("{}", 2, &none, NULL), -EINVAL);
    assert_null(none);
}

/* Two patches of one object, as the API server would have merged them. */
static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct clock_fake clock;
    struct buffer buffer;
    struct address own = fixture_address("192.0.2.10");
    struct ip_node_address listed = {.address = own, .prefix_length = 24};
    struct ip_node_link link = {.name = "eth0",
                                .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x5f},
                                .up = true,
                                .addresses = &listed,
                                .address_count = 1};
    struct condition ready = {IP_NODE_READY, true, "Ready", "fine"};
    struct ip_node_report report = {.addresses = &own,
                                    .address_count = 1,
                                    .links = &link,
                                    .link_count = 1,
                                    .conditions = &ready,
                                    .condition_count = 1};
    struct ip_node_heartbeat beat = {.revision = 7, .interval = 2 * CLOCK_SECOND};
    clock_fake_init(&clock, 0, 0);
    buffer_init(&buffer, 65536);
    ip_node_encode_status(&buffer, "n1", &report, "", &clock.clock);
    assert_non_null(strstr(buffer.data, Q("'kind':'IpNode','metadata':{'name':'n1'}")));
    _cleanup_ip_node_ struct ip_node *node = decode(buffer.data);
    assert_int_equal(node->ready, IP_NODE_YES);
    assert_int_equal(node->link_count, 1);
    assert_memory_equal(node->links[0].mac, link.mac, 6);
    assert_int_equal(node->links[0].addresses[0].prefix_length, 24);
    assert_true(address_equal(&node->addresses[0], &own));
    buffer_clear(&buffer);
    ip_node_encode_heartbeat(&buffer, &beat);
    assert_string_equal(buffer.data,
                        Q("{'status':{'revision':'7','heartbeatTime':'1970-01-01T00:00:00Z',"
                          "'heartbeatInterval':'2s'}}"));
    buffer_clear(&buffer);
    beat.interval = 2500 * CLOCK_MILLISECOND;
    ip_node_encode_heartbeat(&buffer, &beat);
    assert_non_null(strstr(buffer.data, Q("'heartbeatInterval':'2500ms'")));
    buffer_clear(&buffer);
    struct condition alive = {IP_NODE_ALIVE, false, "HeartbeatMissed", ""};
    ip_node_encode_alive(&buffer, "n1", "u-1", &alive, "", &clock.clock);
    _cleanup_ip_node_ struct ip_node *dead = decode(buffer.data);
    assert_string_equal(dead->meta.uid, "u-1");
    assert_int_equal(dead->alive, IP_NODE_NO);
    assert_int_equal(dead->link_count, 0);
    buffer_clear(&buffer);
    ip_node_encode(&buffer, "n2");
    assert_non_null(strstr(buffer.data, Q("'spec':{'nodeName':'n2'}")));
    buffer_clear(&buffer);
}

static void only_what_others_know_it_by_is_compared(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool same;
    } cases[] = {
        {Q("{'metadata':{'name':'n'},'status':{'revision':'9','addresses':['192.0.2.1'],'links':[{"
           "'name':'e','up':true}]}}"),
         true},
        {Q("{'metadata':{'name':'n'},'status':{'addresses':['192.0.2.2'],'links':[{'name':'e',"
           "'up':true}]}}"),
         false},
        {Q("{'metadata':{'name':'n'},'status':{'addresses':['192.0.2.1'],'links':[{'name':'e',"
           "'up':false}]}}"),
         false},
        {Q("{'metadata':{'name':'n'},'status':{'addresses':['192.0.2.1']}}"), false},
    };
    _cleanup_ip_node_ struct ip_node *node =
        decode(Q("{'metadata':{'name':'n'},'status':{'revision':'1','addresses':['192.0.2.1'],"
                 "'links':[{'name':'e','up':true}]}}"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_ip_node_ struct ip_node *other = decode(cases[i].text);
        assert_int_equal(ip_node_says_the_same(node, other), cases[i].same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_agent_says_is_read),
        cmocka_unit_test(what_can_not_be_read_is_not_told),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(only_what_others_know_it_by_is_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
