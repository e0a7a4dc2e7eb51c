/* Packet sockets. A socket of one protocol only gets packets that the kernel has looked into already:
 * VLAN tags are off, and a bridge or bond has taken what belongs to it. Those which such a look found
 * to be somebody else's still come, marked; the filter drops them. */
#include "netlink/packet_socket.h"

#include "netlink/frames.h"
#include "netlink/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <linux/pkt_sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFERS (2 * 1024 * 1024) /* bytes, each way: a thousand frames at once fit */
#define SLOTS 32                  /* frames in one call */
#define SLOT_SIZE 512             /* bytes: longer ones say nothing to us */

struct packet_socket {
    int fd;
    int link;
    struct packet_socket_counts counts;
    struct mmsghdr messages[SLOTS];
    struct iovec parts[SLOTS];
    uint8_t slots[SLOTS][SLOT_SIZE];
};

/* The filters are for the old virtual machine (Documentation/networking/filter). Each ends with: take
 * the frame, drop it. Jumps count from the next line on. */
#define LOAD8(offset) BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offset)
#define LOAD16(offset) BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offset)
#define LOAD32(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define IF_ABOVE(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, value, yes, no)
#define IF_ANY_BIT(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, value, yes, no)
/* PACKET_HOST, PACKET_BROADCAST and PACKET_MULTICAST are 0 to 2. */
#define FOR_OTHERS(drop)                                                                           \
    LOAD32((uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)), IF_ABOVE(PACKET_MULTICAST, drop, 0)
#define TAKE BPF_STMT(BPF_RET | BPF_K, SLOT_SIZE + 1)
#define DROP BPF_STMT(BPF_RET | BPF_K, 0)

static struct sock_filter arp_filter[] = {
    FOR_OTHERS(10),
    LOAD16(12),
    IF_EQUAL(WIRE_TYPE_ARP, 0, 8),
    LOAD32(14),
    IF_EQUAL(ARPHRD_ETHER << 16 | WIRE_TYPE_IPV4, 0, 6),
    LOAD16(18),
    IF_EQUAL(FRAME_MAC_SIZE << 8 | 4, 0, 4),
    LOAD16(20),
    IF_EQUAL(ARPOP_REQUEST, 1, 0),
    IF_EQUAL(ARPOP_REPLY, 0, 1),
    TAKE,
    DROP,
};

static struct sock_filter ndp_filter[] = {
    FOR_OTHERS(11),      LOAD16(12), IF_EQUAL(WIRE_TYPE_IPV6, 0, 9),
    LOAD8(20),                      /* next header */
    IF_EQUAL(58, 0, 7),  LOAD8(54), /* type */
    IF_EQUAL(129, 4, 0),            /* echo reply */
    IF_EQUAL(135, 1, 0),            /* solicitation */
    IF_EQUAL(136, 0, 3),            /* advertisement */
    LOAD8(21),                      /* hop limit */
    IF_EQUAL(255, 0, 1), TAKE,       DROP,
};

static struct sock_filter icmp_filter[] = {
    FOR_OTHERS(10),
    LOAD16(12),
    IF_EQUAL(WIRE_TYPE_IPV4, 0, 8),
    LOAD8(23), /* protocol */
    IF_EQUAL(1, 0, 6),
    LOAD16(20), /* fragments */
    IF_ANY_BIT(0x3FFF, 4, 0),
    BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),
    BPF_STMT(BPF_LD | BPF_B | BPF_IND, 14), /* type: 0 is a reply */
    IF_EQUAL(0, 0, 1),
    TAKE,
    DROP,
};

#define PROGRAM(name)                                                                              \
    {                                                                                              \
        .len = sizeof(name) / sizeof((name)[0]), .filter = (name)                                  \
    }
static const struct {
    uint16_t protocol;
    struct sock_fprog program;
} kinds[] = {
    [PACKET_SOCKET_ARP] = {WIRE_TYPE_ARP, PROGRAM(arp_filter)},
    [PACKET_SOCKET_NDP] = {WIRE_TYPE_IPV6, PROGRAM(ndp_filter)},
    [PACKET_SOCKET_ICMP] = {WIRE_TYPE_IPV4, PROGRAM(icmp_filter)},
};

/* What is only better to have. */
static void tune(int fd)
{
    const int size = BUFFERS;
    const int priority = TC_PRIO_CONTROL;
    const int yes = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    /* Ahead of the host's other traffic, where a queue has bands. */
    (void)setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
    (void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes));
}

/* The filter first: what comes between bind and filter would pass. */
static int set_up(int fd, int link, enum packet_socket_kind kind)
{
    const struct sock_fprog program = kinds[kind].program;
    const struct packet_mreq all_multicast = {.mr_ifindex = link, .mr_type = PACKET_MR_ALLMULTI};
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(kinds[kind].protocol), .sll_ifindex = link};
    socklen_t length = sizeof(address);
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return -errno;
    if (address.sll_hatype != ARPHRD_ETHER || address.sll_halen != FRAME_MAC_SIZE)
        return -EPROTONOSUPPORT;
    /* Others ask for addresses that we don't have yet in groups that the host isn't in. */
    if (kind == PACKET_SOCKET_NDP && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP,
                                                &all_multicast, sizeof(all_multicast)) != 0)
        return -errno;
    return 0;
}

static void lay_out(struct packet_socket *socket)
{
    for (size_t i = 0; i < SLOTS; i++) {
        socket->parts[i] = (struct iovec){.iov_base = socket->slots[i], .iov_len = SLOT_SIZE};
        socket->messages[i].msg_hdr =
            (struct msghdr){.msg_iov = &socket->parts[i], .msg_iovlen = 1};
    }
}

int packet_socket_new(int link, enum packet_socket_kind kind, struct packet_socket **ret_socket,
                      struct error *error)
{
    struct packet_socket *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return error_no_memory(error);
    lay_out(made);
    made->link = link;
    made->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int code = made->fd < 0 ? -errno : set_up(made->fd, link, kind);
    if (code != 0) {
        packet_socket_free(made);
        return error_set(error, code, "cannot open a packet socket on link %d: %s", link,
                         code == -EPROTONOSUPPORT ? "it isn't an Ethernet" : strerror(-code));
    }
    tune(made->fd);
    *ret_socket = made;
    return 0;
}

void packet_socket_free(struct packet_socket *socket)
{
    if (socket == NULL)
        return;
    if (socket->fd >= 0)
        (void)close(socket->fd);
    free(socket);
}

int packet_socket_fd(const struct packet_socket *socket)
{
    return socket->fd;
}

int packet_socket_send(struct packet_socket *socket, const struct frame_bytes *frames, size_t count,
                       size_t *ret_sent, struct error *error)
{
    size_t sent = 0;
    int code = 0;
    while (sent < count && code == 0) {
        struct mmsghdr messages[SLOTS];
        struct iovec parts[SLOTS];
        const size_t wanted = count - sent < SLOTS ? count - sent : SLOTS;
        for (size_t i = 0; i < wanted; i++) {
            parts[i] = (struct iovec){.iov_base = (void *)(uintptr_t)frames[sent + i].data,
                                      .iov_len = frames[sent + i].length};
            messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
        }
        const int out = sendmmsg(socket->fd, messages, (unsigned int)wanted, 0);
        if (out >= 0)
            sent += (size_t)out;
        else if (errno != EINTR)
            code = -errno;
    }
    socket->counts.sent += sent;
    if (ret_sent != NULL)
        *ret_sent = sent;
    if (code != 0)
        return error_set(error, code, "cannot send on link %d: %s", socket->link, strerror(-code));
    return 0;
}

/* Returns how many frames there were, or a negative errno. */
static int receive_some(struct packet_socket *socket,
                        void (*upcall)(void *context, const struct frame *frame), void *context)
{
    const int count = recvmmsg(socket->fd, socket->messages, SLOTS, MSG_TRUNC, NULL);
    if (count < 0)
        return -errno;
    for (int i = 0; i < count; i++) {
        struct frame frame;
        const size_t length = socket->messages[i].msg_len;
        socket->counts.received++;
        if (length > SLOT_SIZE || frames_decode(socket->slots[i], length, &frame) != 0)
            socket->counts.malformed++;
        else
            upcall(context, &frame);
    }
    return count;
}

int packet_socket_receive(struct packet_socket *socket,
                          void (*upcall)(void *context, const struct frame *frame), void *context,
                          struct error *error)
{
    for (size_t total = 0; total < PACKET_SOCKET_RECEIVE_MAXIMUM;) {
        const int count = receive_some(socket, upcall, context);
        if (count >= 0) {
            total += (size_t)count;
            if (count < SLOTS)
                return 0;
        } else if (count == -EAGAIN) {
            return 0;
        } else if (count != -EINTR && count != -ENETDOWN) {
            return error_set(error, count, "cannot receive on link %d: %s", socket->link,
                             strerror(-count));
        }
    }
    return 0;
}

void packet_socket_counts(struct packet_socket *socket, struct packet_socket_counts *ret_counts)
{
    struct tpacket_stats statistics = {.tp_drops = 0};
    socklen_t length = sizeof(statistics);
    /* Reading sets them to zero. */
    if (getsockopt(socket->fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) == 0)
        socket->counts.dropped += statistics.tp_drops;
    *ret_counts = socket->counts;
}
