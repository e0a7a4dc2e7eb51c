/* Changing addresses. Requests go out by the hundred in one datagram, which the kernel works through
 * before the call returns; then their acknowledgements are read, each found by its sequence number.
 * A batch is small enough for its acknowledgements to fit the socket's buffer. */
#include "netlink/link_addresses.h"

#include "netlink/link_messages.h"
#include "netlink/netlink_socket.h"
#include "netlink/wire.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 100                /* requests in one datagram */
#define REQUEST_MAXIMUM 256      /* bytes: more than any takes */
#define RECEIVE_BUFFER (1 << 20) /* bytes: acknowledgements count several hundred each */
/* How often a list that changes while it is read is read. */
#define READINGS 20

struct link_addresses {
    struct netlink_socket socket;
    size_t batch_length;
    uint8_t batch[BATCH * REQUEST_MAXIMUM];
};

int link_addresses_new(struct link_addresses **ret_addresses, struct error *error)
{
    struct link_addresses *addresses = calloc(1, sizeof(*addresses));
    if (addresses == NULL)
        return error_no_memory(error);
    const int result = netlink_socket_open(&addresses->socket, true, RECEIVE_BUFFER, error);
    if (result != 0) {
        free(addresses);
        return result;
    }
    *ret_addresses = addresses;
    return 0;
}

void link_addresses_free(struct link_addresses *addresses)
{
    if (addresses == NULL)
        return;
    netlink_socket_close(&addresses->socket);
    free(addresses);
}

/* "<link>:ipw", the name cut where it is too long for a label. False: there is no such link. */
static bool make_label(int link, char ret_label[LINKS_NAME_SIZE])
{
    char name[IF_NAMESIZE];
    if (if_indextoname((unsigned int)link, name) == NULL)
        return false;
    (void)snprintf(ret_label, LINKS_NAME_SIZE, "%.*s%s",
                   LINKS_NAME_SIZE - (int)sizeof(LINKS_OUR_LABEL), name, LINKS_OUR_LABEL);
    return true;
}

/* What only an added address has: the mark and a lifetime. Returns other than 0 when out of memory. */
static int put_additions(struct nl_msg *message, const struct link_addresses_change *change)
{
    /* Deprecated IPv6 addresses serve like others, but aren't chosen as a source: the host's own
     * connections must not leave with an address that moves. IPv4 chooses by the order in which
     * addresses were added, and ours come behind the host's own. */
    const struct ifa_cacheinfo lifetime = {
        .ifa_valid = UINT32_MAX,
        .ifa_prefered = change->address.family == ADDRESS_IPV6 ? 0 : UINT32_MAX};
    char label[LINKS_NAME_SIZE];
    int failed = nla_put_u8(message, IFA_PROTO, LINKS_OUR_PROTOCOL);
    failed |= nla_put(message, IFA_CACHEINFO, sizeof(lifetime), &lifetime);
    if (change->address.family == ADDRESS_IPV4 && make_label(change->link, label))
        failed |= nla_put_string(message, IFA_LABEL, label);
    if (change->address.family == ADDRESS_IPV6)
        failed |= nla_put_u32(message, IFA_FLAGS, IFA_F_NODAD);
    return failed;
}

static struct nl_msg *make_request(const struct link_addresses_change *change, bool add,
                                   uint32_t sequence)
{
    const struct ifaddrmsg info = {
        .ifa_family = change->address.family == ADDRESS_IPV4 ? AF_INET : AF_INET6,
        .ifa_prefixlen = change->prefix_length,
        .ifa_scope = RT_SCOPE_UNIVERSE,
        .ifa_index = (unsigned int)change->link,
    };
    const int flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
    struct nl_msg *message = nlmsg_alloc_size(REQUEST_MAXIMUM);
    if (message == NULL)
        return NULL;
    struct nlmsghdr *header =
        nlmsg_put(message, NL_AUTO_PORT, sequence, add ? RTM_NEWADDR : RTM_DELADDR, 0, flags);
    uint8_t bytes[16];
    const int size = (int)wire_address_size(change->address.family);
    wire_put_address(bytes, &change->address);
    if (header == NULL || nlmsg_append(message, (void *)&info, sizeof(info), NLMSG_ALIGNTO) != 0 ||
        nla_put(message, IFA_LOCAL, size, bytes) != 0 ||
        nla_put(message, IFA_ADDRESS, size, bytes) != 0 ||
        (add && put_additions(message, change) != 0)) {
        nlmsg_free(message);
        return NULL;
    }
    return message;
}

/* Puts the request for a change behind those of the batch. */
static int append_request(struct link_addresses *addresses,
                          const struct link_addresses_change *change, bool add, uint32_t sequence)
{
    struct nl_msg *message = make_request(change, add, sequence);
    if (message == NULL)
        return -ENOMEM;
    const struct nlmsghdr *header = nlmsg_hdr(message);
    const size_t length = NLMSG_ALIGN(header->nlmsg_len);
    assert(addresses->batch_length + length <= sizeof(addresses->batch));
    memset(addresses->batch + addresses->batch_length, 0, length);
    memcpy(addresses->batch + addresses->batch_length, header, header->nlmsg_len);
    addresses->batch_length += length;
    nlmsg_free(message);
    return 0;
}

/* A batch that is under way. */
struct batch {
    struct link_addresses_change **changes; /* count of them, in order of their sequence numbers */
    size_t count;
    size_t answered;
    uint32_t first; /* sequence number */
};

static void take_answers(struct link_addresses *addresses, struct batch *batch,
                         struct nlmsghdr *message, int length)
{
    for (; nlmsg_ok(message, length); message = nlmsg_next(message, &length)) {
        const uint32_t place = message->nlmsg_seq - batch->first;
        if (message->nlmsg_type != NLMSG_ERROR || message->nlmsg_pid != addresses->socket.port ||
            place >= batch->count || batch->changes[place]->result != -EINPROGRESS)
            continue;
        batch->changes[place]->result = netlink_socket_code(message);
        batch->answered++;
    }
}

static int run_batch(struct link_addresses *addresses, struct batch *batch, bool add)
{
    addresses->batch_length = 0;
    batch->first = addresses->socket.sequence + 1;
    for (size_t i = 0; i < batch->count; i++) {
        const int code =
            append_request(addresses, batch->changes[i], add, ++addresses->socket.sequence);
        if (code != 0)
            return code;
    }
    int code = netlink_socket_send(&addresses->socket, addresses->batch, addresses->batch_length);
    while (code == 0 && batch->answered < batch->count) {
        int length = 0;
        struct nlmsghdr *message = netlink_socket_receive(&addresses->socket, &length, &code);
        if (message != NULL)
            take_answers(addresses, batch, message, length);
    }
    return code;
}

/* Runs those changes whose result is -EINPROGRESS. */
static int run(struct link_addresses *addresses, struct link_addresses_change *changes,
               size_t count, bool add, struct error *error)
{
    struct link_addresses_change *chosen[BATCH];
    for (size_t at = 0; at < count;) {
        struct batch batch = {.changes = chosen};
        for (; at < count && batch.count < BATCH; at++) {
            if (changes[at].result == -EINPROGRESS)
                chosen[batch.count++] = &changes[at];
        }
        const int code = batch.count > 0 ? run_batch(addresses, &batch, add) : 0;
        if (code != 0)
            return error_set(error, code, "cannot %s addresses: %s", add ? "add" : "remove",
                             strerror(-code));
    }
    return 0;
}

int link_addresses_add(struct link_addresses *addresses, struct link_addresses_change *changes,
                       size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        changes[i].result = -EINPROGRESS;
    return run(addresses, changes, count, true, error);
}

/* All addresses of the host. */
struct list {
    struct link_address *items;
    size_t count;
    size_t capacity;
};

static void list_clear(struct list *list)
{
    free(list->items);
    *list = (struct list){.items = NULL};
}

static int collect(void *context, struct nlmsghdr *message)
{
    struct list *list = context;
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity > 0 ? list->capacity * 2 : 64;
        struct link_address *grown = reallocarray(list->items, capacity, sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        list->items = grown;
        list->capacity = capacity;
    }
    if (message->nlmsg_type == RTM_NEWADDR &&
        link_messages_read_address(message, &list->items[list->count]) == 0)
        list->count++;
    return 0;
}

static int read_list(struct link_addresses *addresses, struct list *ret_list, struct error *error)
{
    int code = -EINTR;
    for (unsigned int i = 0; i < READINGS && code == -EINTR; i++) {
        struct ifaddrmsg request = {.ifa_family = AF_UNSPEC};
        list_clear(ret_list);
        code = netlink_socket_send_dump(&addresses->socket, RTM_GETADDR, &request, sizeof(request),
                                        error);
        if (code != 0)
            return code;
        code = netlink_socket_read_dump(&addresses->socket, collect, ret_list);
    }
    if (code != 0)
        return error_set(error, code, "cannot list addresses: %s", strerror(-code));
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct link_address *one = left;
    const struct link_address *other = right;
    if (one->link != other->link)
        return one->link < other->link ? -1 : 1;
    const int order = address_compare(&one->address, &other->address);
    return order != 0 ? order : one->prefix_length - other->prefix_length;
}

/* Whether the change may go ahead: -EINPROGRESS, or the result it gets instead. */
static int judge_removal(const struct list *list, const struct link_addresses_change *change)
{
    const struct link_address wanted = {
        .link = change->link, .address = change->address, .prefix_length = change->prefix_length};
    const struct link_address *found =
        list->count > 0 ? bsearch(&wanted, list->items, list->count, sizeof(wanted), compare)
                        : NULL;
    if (found == NULL)
        return -EADDRNOTAVAIL;
    return found->ours || change->recorded ? -EINPROGRESS : -EPERM;
}

int link_addresses_remove(struct link_addresses *addresses, struct link_addresses_change *changes,
                          size_t count, struct error *error)
{
    struct list list = {.items = NULL};
    for (size_t i = 0; i < count; i++)
        changes[i].result = -EINPROGRESS;
    int result = count > 0 ? read_list(addresses, &list, error) : 0;
    if (result == 0 && count > 0) {
        if (list.count > 0)
            qsort(list.items, list.count, sizeof(*list.items), compare);
        for (size_t i = 0; i < count; i++)
            changes[i].result = judge_removal(&list, &changes[i]);
        result = run(addresses, changes, count, false, error);
    }
    list_clear(&list);
    return result;
}

int link_addresses_dump(struct link_addresses *addresses,
                        int (*upcall)(void *context, const struct link_address *address),
                        void *context, struct error *error)
{
    struct list list = {.items = NULL};
    int result = read_list(addresses, &list, error);
    for (size_t i = 0; result == 0 && i < list.count; i++)
        result = upcall(context, &list.items[i]);
    list_clear(&list);
    return result;
}
