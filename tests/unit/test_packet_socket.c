/* Frames over a cable between two namespaces: another kernel answers our questions, and what isn't
 * for us never comes. */
#include "netlink/packet_socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "netlink/arp.h"
#include "netlink/frames.h"
#include "netlink/link_addresses.h"
#include "netlink/wire.h"
#include "tests/unit/netlink_world.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>

#define HEARD_MAXIMUM 2048

static struct packet_socket *near_socket;
static struct packet_socket *far_socket;
static uint8_t near_mac[FRAME_MAC_SIZE];
static uint8_t far_mac[FRAME_MAC_SIZE];
static int raw = -1; /* in the other namespace: sends anything */

static struct frame heard[HEARD_MAXIMUM];
static size_t heard_count;

static void on_frame(void *context, const struct frame *frame)
{
    (void)context;
    assert_true(heard_count < HEARD_MAXIMUM);
    heard[heard_count++] = *frame;
}

static int set_up(void **state)
{
    const int result = world_set_up(state);
    if (result != 0)
        return result;
    world_mac("here0", near_mac);
    world_enter(world.far);
    world_mac("there0", far_mac);
    world_ip("address add 192.0.2.2/24 dev there0");
    world_ip("address add 2001:db8::2/64 dev there0 nodad");
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = 0, .sll_ifindex = world.there};
    raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    assert_true(raw >= 0);
    assert_int_equal(bind(raw, (struct sockaddr *)&address, sizeof(address)), 0);
    world_enter(world.near);
    return 0;
}

static int tear_down(void **state)
{
    if (raw >= 0)
        close(raw);
    return world_tear_down(state);
}

static void open_sockets(enum packet_socket_kind kind)
{
    struct error error = {.text = ""};
    heard_count = 0;
    if (packet_socket_new(world.here, kind, &near_socket, &error) != 0)
        fail_msg("%s", error.text);
    world_enter(world.far);
    assert_int_equal(packet_socket_new(world.there, kind, &far_socket, NULL), 0);
    world_enter(world.near);
}

static int close_sockets(void **state)
{
    (void)state;
    packet_socket_free(near_socket);
    packet_socket_free(far_socket);
    near_socket = NULL;
    far_socket = NULL;
    return 0;
}

static void receive(struct packet_socket *socket)
{
    struct error error = {.text = ""};
    world_await(packet_socket_fd(socket));
    if (packet_socket_receive(socket, on_frame, NULL, &error) != 0)
        fail_msg("%s", error.text);
}

/* Waits for a frame of the kind about sender (NULL: any). Everything else is passed over: kernels
 * talk among themselves. */
static struct frame await(struct packet_socket *socket, enum frame_kind kind, const char *sender)
{
    for (;;) {
        for (size_t i = 0; i < heard_count; i++) {
            const struct address wanted = sender != NULL ? world_address(sender) : heard[i].sender;
            if (heard[i].kind == kind && address_equal(&heard[i].sender, &wanted)) {
                const struct frame found = heard[i];
                heard_count = 0;
                return found;
            }
        }
        heard_count = 0;
        receive(socket);
    }
}

static void send_near(const struct frame_bytes *frame)
{
    struct error error = {.text = ""};
    size_t sent = 0;
    if (packet_socket_send(near_socket, frame, 1, &sent, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(sent, 1);
}

static void add_far(const char *text, uint8_t prefix_length)
{
    struct link_addresses *addresses;
    struct link_addresses_change change = {
        .link = world.there, .address = world_address(text), .prefix_length = prefix_length};
    world_enter(world.far);
    assert_int_equal(link_addresses_new(&addresses, NULL), 0);
    world_enter(world.near);
    assert_int_equal(link_addresses_add(addresses, &change, 1, NULL), 0);
    assert_int_equal(change.result, 0);
    link_addresses_free(addresses);
}

/* The other namespace's kernel says that it has the address; no agent is there. */
static void test_probe(void **state)
{
    (void)state;
    static const struct {
        enum packet_socket_kind kind;
        const char *address;
        enum frame_kind answer;
    } cases[] = {
        {PACKET_SOCKET_ARP, "192.0.2.2", FRAME_REPLY},
        {PACKET_SOCKET_NDP, "2001:db8::2", FRAME_ANNOUNCEMENT},
        /* As an agent adds them: no sooner there than answered for. */
        {PACKET_SOCKET_ARP, "203.0.113.3", FRAME_REPLY},
        {PACKET_SOCKET_NDP, "2001:db8:1::3", FRAME_ANNOUNCEMENT},
    };
    add_far("203.0.113.3", 32);
    add_far("2001:db8:1::3", 128);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame_bytes frame;
        const struct address address = world_address(cases[i].address);
        open_sockets(cases[i].kind);
        frames_probe(&frame, near_mac, &address);
        send_near(&frame);
        const struct frame answer = await(near_socket, cases[i].answer, cases[i].address);
        assert_true(frame_mac_equal(answer.sender_mac, far_mac));
        assert_true(frame_mac_equal(answer.source_mac, far_mac));
        close_sockets(NULL);
    }
}

/* What a standby asks its neighbour for: it alone hears it, and its kernel answers. */
static void test_unicast_request(void **state)
{
    (void)state;
    static const struct {
        enum packet_socket_kind kind;
        const char *source;
        const char *address;
    } cases[] = {
        {PACKET_SOCKET_ARP, "192.0.2.1", "192.0.2.2"},
        {PACKET_SOCKET_NDP, "2001:db8::1", "2001:db8::2"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct frame_bytes frame;
        const struct address source = world_address(cases[i].source);
        const struct address address = world_address(cases[i].address);
        open_sockets(cases[i].kind);
        frames_request(&frame, near_mac, &source, &address, far_mac);
        send_near(&frame);
        const struct frame answer = await(near_socket, FRAME_REPLY, cases[i].address);
        assert_true(frame_mac_equal(answer.sender_mac, far_mac));
        assert_true(address_equal(&answer.target, &source));
        close_sockets(NULL);
    }
}

static void test_echo(void **state)
{
    (void)state;
    static const struct {
        enum packet_socket_kind kind;
        const char *source;
        const char *address;
    } cases[] = {
        {PACKET_SOCKET_ICMP, "192.0.2.1", "192.0.2.2"},
        {PACKET_SOCKET_NDP, "2001:db8::1", "2001:db8::2"},
    };
    world_ip("address add 192.0.2.1/24 dev here0");
    world_ip("address add 2001:db8::1/64 dev here0 nodad");
    for (size_t i = 0; i < 2; i++) {
        struct frame_bytes frame;
        const struct address source = world_address(cases[i].source);
        const struct address address = world_address(cases[i].address);
        open_sockets(cases[i].kind);
        frames_echo(&frame, near_mac, &source, &address, far_mac, 0x1234, 7);
        send_near(&frame);
        const struct frame answer = await(near_socket, FRAME_ECHO_REPLY, cases[i].address);
        assert_true(frame_mac_equal(answer.source_mac, far_mac));
        assert_int_equal(answer.identifier, 0x1234);
        assert_int_equal(answer.sequence, 7);
        close_sockets(NULL);
    }
    world_ip("address flush dev here0 scope global");
}

/* Announcements reach the kernel of the other side, and who listens there. */
static void test_announcement(void **state)
{
    (void)state;
    static const struct {
        enum packet_socket_kind kind;
        const char *address;
    } cases[] = {{PACKET_SOCKET_ARP, "192.0.2.77"}, {PACKET_SOCKET_NDP, "2001:db8::77"}};
    for (size_t i = 0; i < 2; i++) {
        struct frame_bytes frame;
        char command[128];
        const struct address address = world_address(cases[i].address);
        open_sockets(cases[i].kind);
        /* An outdated neighbour, as a router has it after a takeover. */
        snprintf(command, sizeof(command),
                 "neighbour replace %s dev there0 lladdr 02:00:00:00:00:99 nud reachable",
                 cases[i].address);
        world_ip_far(command);
        frames_announcement(&frame, near_mac, &address);
        send_near(&frame);
        const struct frame seen = await(far_socket, FRAME_ANNOUNCEMENT, cases[i].address);
        assert_true(frame_mac_equal(seen.sender_mac, near_mac));
        char text[FRAME_MAC_TEXT_SIZE];
        frame_mac_format(near_mac, text);
        snprintf(command, sizeof(command), "ip neighbour show %s dev there0 | grep -qi %s",
                 cases[i].address, text);
        world_enter(world.far);
        const int result = system(command);
        world_enter(world.near);
        assert_int_equal(result, 0);
        close_sockets(NULL);
    }
}

/* Somebody else probes for an address that nobody has, so no kernel is in its group. */
static void test_hears_probes_of_others(void **state)
{
    (void)state;
    static const struct {
        enum packet_socket_kind kind;
        const char *address;
    } cases[] = {{PACKET_SOCKET_ARP, "192.0.2.200"}, {PACKET_SOCKET_NDP, "2001:db8::c8:1"}};
    for (size_t i = 0; i < 2; i++) {
        struct frame_bytes frame;
        const struct address address = world_address(cases[i].address);
        open_sockets(cases[i].kind);
        frames_probe(&frame, far_mac, &address);
        assert_int_equal(packet_socket_send(far_socket, &frame, 1, NULL, NULL), 0);
        struct frame seen;
        do
            seen = await(near_socket, FRAME_PROBE, NULL);
        while (!address_equal(&seen.target, &address));
        assert_true(frame_mac_equal(seen.sender_mac, far_mac));
        close_sockets(NULL);
    }
}

/* A cable passes everything; a network card hears groups only that it is told of. */
static void test_hears_all_groups(void **state)
{
    (void)state;
    open_sockets(PACKET_SOCKET_NDP);
    assert_int_equal(system("ip -d link show dev here0 | grep -q 'allmulti 1 '"), 0);
    close_sockets(NULL);
    assert_int_equal(system("ip -d link show dev here0 | grep -q 'allmulti 0 '"), 0);
    open_sockets(PACKET_SOCKET_ARP);
    assert_int_equal(system("ip -d link show dev here0 | grep -q 'allmulti 0 '"), 0);
}

/* A batch as after a neighbour's death, all of it answered. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static struct frame_bytes frames[MANY];
    const struct address address = world_address("192.0.2.2");
    size_t sent = 0;
    size_t answers = 0;
    open_sockets(PACKET_SOCKET_ARP);
    for (size_t i = 0; i < MANY; i++)
        frames_probe(&frames[i], near_mac, &address);
    assert_int_equal(packet_socket_send(near_socket, frames, MANY, &sent, NULL), 0);
    assert_int_equal(sent, MANY);
    while (answers < MANY) {
        heard_count = 0;
        receive(near_socket);
        assert_true(heard_count <= PACKET_SOCKET_RECEIVE_MAXIMUM);
        for (size_t i = 0; i < heard_count; i++)
            answers += heard[i].kind == FRAME_REPLY;
    }
    struct packet_socket_counts counts;
    packet_socket_counts(near_socket, &counts);
    assert_int_equal(counts.sent, MANY);
    assert_true(counts.received >= MANY);
    assert_int_equal(counts.malformed, 0);
    assert_int_equal(counts.dropped, 0);
}

static void send_raw(const uint8_t *data, size_t length)
{
    assert_int_equal(send(raw, data, length, 0), (ssize_t)length);
}

/* Receives until last is heard of; foreign never is, and nothing undecodable comes. */
static void await_without(const char *foreign, const char *last)
{
    const struct address unwanted = world_address(foreign);
    const struct address wanted = world_address(last);
    for (bool found = false; !found;) {
        heard_count = 0;
        receive(near_socket);
        for (size_t i = 0; i < heard_count; i++) {
            assert_false(address_equal(&heard[i].sender, &unwanted));
            found = found || address_equal(&heard[i].sender, &wanted);
        }
    }
    struct packet_socket_counts counts;
    packet_socket_counts(near_socket, &counts);
    assert_int_equal(counts.malformed, 0);
}

static void send_announcement(const char *text, size_t offset, uint8_t change)
{
    struct frame_bytes frame;
    const struct address address = world_address(text);
    frames_announcement(&frame, far_mac, &address);
    frame.data[offset] ^= change;
    send_raw(frame.data, frame.length);
}

/* The filter: frames that are no word about addresses don't even wake us. Behind each comes one that
 * is. */
static void test_filter(void **state)
{
    (void)state;
    static const struct {
        enum packet_socket_kind kind;
        size_t offset; /* the byte that is another in the hostile frame */
        uint8_t change;
    } cases[] = {
        {PACKET_SOCKET_ARP, 13, 0x01},                                /* type */
        {PACKET_SOCKET_ARP, 15, 0x07},                                /* hardware */
        {PACKET_SOCKET_ARP, 17, 0x01},                                /* protocol */
        {PACKET_SOCKET_ARP, 18, 0x0E},                                /* sizes */
        {PACKET_SOCKET_ARP, 19, 0x14}, {PACKET_SOCKET_ARP, 21, 0x02}, /* operation */
        {PACKET_SOCKET_ARP, 0, 0xF9},                                 /* for another host */
        {PACKET_SOCKET_NDP, 13, 0x01},                                /* type */
        {PACKET_SOCKET_NDP, 20, 0x2B},                                /* UDP */
        {PACKET_SOCKET_NDP, 21, 0x01},                                /* hop limit */
        {PACKET_SOCKET_NDP, 54, 0x0E},                                /* a router's */
        {PACKET_SOCKET_NDP, 0, 0x35},                                 /* for another host */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const bool arp = cases[i].kind == PACKET_SOCKET_ARP;
        open_sockets(cases[i].kind);
        send_announcement(arp ? "192.0.2.201" : "2001:db8::c9", cases[i].offset, cases[i].change);
        send_announcement(arp ? "192.0.2.202" : "2001:db8::ca", 0, 0);
        await_without(arp ? "192.0.2.201" : "2001:db8::c9", arp ? "192.0.2.202" : "2001:db8::ca");
        close_sockets(NULL);
    }
}

/* An echo reply from the address; one byte is another. */
static void send_echo_reply(const char *from, size_t offset, uint8_t change)
{
    struct frame_bytes frame;
    const struct address source = world_address(from);
    const struct address target = world_address("192.0.2.1");
    frames_echo(&frame, far_mac, &source, &target, near_mac, 1, 1);
    /* Made of a request: type and checksum. */
    frame.data[34] = 0;
    const unsigned int sum = wire_get16(frame.data + 36) + 0x0800U;
    wire_put16(frame.data + 36, (uint16_t)((sum & 0xFFFF) + (sum >> 16)));
    frame.data[offset] ^= change;
    send_raw(frame.data, frame.length);
}

static void test_filter_of_echo(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        uint8_t change;
    } cases[] = {
        {13, 0x01}, /* type */
        {23, 0x10}, /* UDP */
        {20, 0x20}, /* more fragments */
        {21, 0x01}, /* a later fragment */
        {34, 0x08}, /* a request */
        {34, 0x03}, /* unreachable */
        {5, 0x01},  /* for another host */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        open_sockets(PACKET_SOCKET_ICMP);
        send_echo_reply("192.0.2.201", cases[i].offset, cases[i].change);
        send_echo_reply("192.0.2.202", 0, 0);
        await_without("192.0.2.201", "192.0.2.202");
        close_sockets(NULL);
    }
}

/* What the filter can't see is counted and says nothing. */
static void test_hostile(void **state)
{
    (void)state;
    struct frame_bytes frame;
    struct frame_bytes good;
    const struct address address = world_address("2001:db8::ca");
    open_sockets(PACKET_SOCKET_NDP);
    frames_announcement(&good, far_mac, &address);
    frame = good;
    frame.data[60] ^= 1; /* the checksum is wrong now */
    send_raw(frame.data, frame.length);
    send_raw(good.data, good.length - 1);
    uint8_t big[1400] = {0};
    memcpy(big, good.data, good.length);
    wire_put16(big + 18, sizeof(big) - 54);
    send_raw(big, sizeof(big));
    send_raw(good.data, good.length);
    await(near_socket, FRAME_ANNOUNCEMENT, "2001:db8::ca");
    struct packet_socket_counts counts;
    packet_socket_counts(near_socket, &counts);
    assert_int_equal(counts.malformed, 3);
}

/* A frame of a VLAN that this host isn't in is nobody's, though its content looks like ours. */
static void test_vlan(void **state)
{
    (void)state;
    struct frame_bytes frame;
    uint8_t tagged[ARP_FRAME_SIZE + 4];
    const struct address foreign = world_address("192.0.2.210");
    open_sockets(PACKET_SOCKET_ARP);
    frames_announcement(&frame, far_mac, &foreign);
    memcpy(tagged, frame.data, 12);
    memcpy(tagged + 12, "\x81\x00\x00\x0a", 4);
    memcpy(tagged + 16, frame.data + 12, frame.length - 12);
    send_raw(tagged, sizeof(tagged));
    send_announcement("192.0.2.211", 0, 0);
    await_without("192.0.2.210", "192.0.2.211");
}

/* Our own frames don't come back; the other side's do, so there was time. */
static void test_not_our_own(void **state)
{
    (void)state;
    struct frame_bytes frame;
    const struct address ours = world_address("192.0.2.220");
    const struct address address = world_address("192.0.2.2");
    open_sockets(PACKET_SOCKET_ARP);
    frames_announcement(&frame, near_mac, &ours);
    send_near(&frame);
    frames_probe(&frame, near_mac, &address);
    send_near(&frame);
    for (bool found = false; !found;) {
        heard_count = 0;
        receive(near_socket);
        for (size_t i = 0; i < heard_count; i++) {
            assert_false(frame_mac_equal(heard[i].source_mac, near_mac));
            found = found || heard[i].kind == FRAME_REPLY;
        }
    }
}

static void test_link_down_and_up(void **state)
{
    (void)state;
    struct frame_bytes frame;
    const struct address address = world_address("192.0.2.2");
    open_sockets(PACKET_SOCKET_ARP);
    frames_probe(&frame, near_mac, &address);
    world_ip("link set dev here0 down");
    size_t sent = 9;
    assert_int_equal(packet_socket_send(near_socket, &frame, 1, &sent, NULL), -ENETDOWN);
    assert_int_equal(sent, 0);
    assert_int_equal(packet_socket_receive(near_socket, on_frame, NULL, NULL), 0);
    world_ip("link set dev here0 name other0");
    world_ip("link set dev other0 name here0");
    world_ip("link set dev here0 up");
    /* What is sent before the carrier is back is lost. */
    struct pollfd answered = {.fd = packet_socket_fd(near_socket), .events = POLLIN};
    int ready = 0;
    for (int waited = 0; ready == 0 && waited < WORLD_PATIENCE; waited += 50) {
        send_near(&frame);
        ready = poll(&answered, 1, 50);
    }
    await(near_socket, FRAME_REPLY, "192.0.2.2");
}

static void test_unfit_links(void **state)
{
    (void)state;
    struct error error = {.text = ""};
    struct frame_bytes frame;
    const struct address address = world_address("192.0.2.2");
    assert_int_equal(packet_socket_new(1, PACKET_SOCKET_ARP, &near_socket, &error),
                     -EPROTONOSUPPORT);
    assert_non_null(strstr(error.text, "isn't an Ethernet"));
    assert_int_equal(packet_socket_new(9999, PACKET_SOCKET_ARP, &near_socket, &error), -ENODEV);
    /* One that goes away. */
    world_ip("link add name more0 type veth peer name more1");
    world_ip("link set dev more0 up");
    assert_int_equal(
        packet_socket_new((int)if_nametoindex("more0"), PACKET_SOCKET_NDP, &near_socket, &error),
        0);
    world_ip("link del dev more0");
    frames_probe(&frame, near_mac, &address);
    assert_int_equal(packet_socket_send(near_socket, &frame, 1, NULL, &error), -ENXIO);
    assert_int_equal(packet_socket_receive(near_socket, on_frame, NULL, NULL), 0);
    packet_socket_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_probe, close_sockets),
        cmocka_unit_test_teardown(test_unicast_request, close_sockets),
        cmocka_unit_test_teardown(test_echo, close_sockets),
        cmocka_unit_test_teardown(test_announcement, close_sockets),
        cmocka_unit_test_teardown(test_hears_probes_of_others, close_sockets),
        cmocka_unit_test_teardown(test_hears_all_groups, close_sockets),
        cmocka_unit_test_teardown(test_many, close_sockets),
        cmocka_unit_test_teardown(test_filter, close_sockets),
        cmocka_unit_test_teardown(test_filter_of_echo, close_sockets),
        cmocka_unit_test_teardown(test_hostile, close_sockets),
        cmocka_unit_test_teardown(test_vlan, close_sockets),
        cmocka_unit_test_teardown(test_not_our_own, close_sockets),
        cmocka_unit_test_teardown(test_link_down_and_up, close_sockets),
        cmocka_unit_test_teardown(test_unfit_links, close_sockets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
