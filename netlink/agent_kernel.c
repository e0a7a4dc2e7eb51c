/* The function table of the real network. */
#include "netlink/agent_kernel.h"

#include "netlink/frames.h"
#include "netlink/sysctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ECHO_IDENTIFIER 0x6970 /* "ip" */

static const char *link_name(const struct agent_kernel *kernel, int link)
{
    const struct link *found = links_by_index(kernel->links, link);
    return found != NULL ? found->name : "";
}

static bool recorded(void *context, int link, const struct address *address)
{
    const struct agent_kernel *kernel = context;
    if (kernel->keeps_marks || address->family == ADDRESS_IPV4)
        return false; /* what has no mark isn't ours */
    return agent_record_has(kernel->record, link_name(kernel, link), address);
}

void agent_kernel_save(struct agent_kernel *kernel)
{
    if (agent_record_save(kernel->record, NULL) != 0)
        kernel->failures++;
}

/* Whether an address that is there already has been added by us: the table may not have heard. */
static bool is_ours(const struct agent_kernel *kernel, const struct agent_binding *binding,
                    bool was_recorded)
{
    const struct link_address *present =
        links_find(kernel->links, binding->link, &binding->address);
    return present != NULL
               ? present->ours || recorded((void *)kernel, binding->link, &binding->address)
               : was_recorded;
}

static struct link_addresses_change *changes_of(const struct agent_kernel *kernel,
                                                const struct agent_binding *bindings, size_t count)
{
    struct link_addresses_change *changes = calloc(count, sizeof(*changes));
    for (size_t i = 0; changes != NULL && i < count; i++) {
        changes[i].link = bindings[i].link;
        changes[i].address = bindings[i].address;
        changes[i].prefix_length = bindings[i].prefix_length;
        /* Whether it was there before: tells ours from others' in an -EEXIST. */
        changes[i].recorded = agent_record_has(kernel->record, link_name(kernel, bindings[i].link),
                                               &bindings[i].address);
        changes[i].result = -EINPROGRESS;
    }
    return changes;
}

static void set_loopback(struct agent_kernel *kernel, const struct agent_binding *bindings,
                         size_t count)
{
    for (size_t i = 0; i < count && !kernel->loopback_set; i++) {
        const struct link *link = links_by_index(kernel->links, bindings[i].link);
        if (link == NULL || !link->loopback)
            continue;
        kernel->loopback_set = true;
        if (sysctl_loopback_addresses(SYSCTL_ROOT, NULL) != 0)
            kernel->failures++;
    }
}

static void bind_addresses(void *context, struct agent_binding *bindings, size_t count)
{
    struct agent_kernel *kernel = context;
    struct link_addresses_change *changes = changes_of(kernel, bindings, count);
    set_loopback(kernel, bindings, count);
    /* Written down before it is done: an address that nobody knows of would stay for ever. */
    for (size_t i = 0; changes != NULL && i < count; i++) {
        if (agent_record_add(kernel->record, link_name(kernel, bindings[i].link),
                             &bindings[i].address, NULL) != 0)
            kernel->failures++;
    }
    agent_kernel_save(kernel);
    if (changes != NULL && link_addresses_add(kernel->addresses, changes, count, NULL) != 0)
        kernel->failures++;
    for (size_t i = 0; i < count; i++) {
        struct agent_binding *binding = &bindings[i];
        binding->result = changes != NULL ? changes[i].result : -ENOMEM;
        if (binding->result == -EEXIST && is_ours(kernel, binding, changes[i].recorded))
            binding->result = -EALREADY;
        if (binding->result != 0 && binding->result != -EALREADY && binding->result != -EINPROGRESS)
            agent_record_remove(kernel->record, link_name(kernel, binding->link),
                                &binding->address);
    }
    free(changes);
}

static void unbind_addresses(void *context, struct agent_binding *bindings, size_t count)
{
    struct agent_kernel *kernel = context;
    struct link_addresses_change *changes = changes_of(kernel, bindings, count);
    for (size_t i = 0; changes != NULL && i < count; i++)
        changes[i].recorded = recorded(kernel, bindings[i].link, &bindings[i].address);
    if (changes != NULL && link_addresses_remove(kernel->addresses, changes, count, NULL) != 0)
        kernel->failures++;
    for (size_t i = 0; i < count; i++) {
        int result = changes != NULL ? changes[i].result : -ENOMEM;
        if (result == -EADDRNOTAVAIL || result == -ENODEV)
            result = 0;
        bindings[i].result = result;
        if (result == 0 || result == -EPERM)
            agent_record_remove(kernel->record, link_name(kernel, bindings[i].link),
                                &bindings[i].address);
    }
    agent_kernel_save(kernel);
    free(changes);
}

/* --- frames --- */

static void send_frame(struct agent_kernel *kernel, int link, uint8_t family,
                       const struct frame_bytes *frame)
{
    enum packet_socket_kind kind = family == ADDRESS_IPV4 ? PACKET_SOCKET_ARP : PACKET_SOCKET_NDP;
    if (agent_ports_send(kernel->ports, link, kind, frame, NULL) != 0)
        kernel->failures++;
}

static const uint8_t *mac_of(const struct agent_kernel *kernel, int link)
{
    const struct link *found = links_by_index(kernel->links, link);
    return found != NULL && found->ethernet ? found->mac : NULL;
}

static void probe(void *context, int link, const struct address *address)
{
    struct agent_kernel *kernel = context;
    struct frame_bytes frame;
    const uint8_t *mac = mac_of(kernel, link);
    if (mac == NULL)
        return;
    frames_probe(&frame, mac, address);
    send_frame(kernel, link, address->family, &frame);
}

static void announce(void *context, int link, const struct address *address)
{
    struct agent_kernel *kernel = context;
    struct frame_bytes frame;
    const uint8_t *mac = mac_of(kernel, link);
    if (mac == NULL)
        return;
    frames_announcement(&frame, mac, address);
    send_frame(kernel, link, address->family, &frame);
}

static void solicit(void *context, int link, const struct address *address, const uint8_t *to)
{
    struct agent_kernel *kernel = context;
    struct frame_bytes frame;
    const uint8_t *mac = mac_of(kernel, link);
    const struct link_address *own = links_source(kernel->links, link, address);
    if (mac == NULL)
        return;
    if (kernel->probe_with == AGENT_PROBE_ICMP && to != NULL && own != NULL) {
        if (address->family == ADDRESS_IPV4 &&
            agent_ports_open(kernel->ports, link, PACKET_SOCKET_ICMP, NULL) != 0)
            kernel->failures++;
        frames_echo(&frame, mac, &own->address, address, to, ECHO_IDENTIFIER, kernel->sequence++);
        send_frame(kernel, link, address->family, &frame);
        return;
    }
    if (own == NULL && address->family == ADDRESS_IPV6)
        return; /* nobody to answer to */
    const struct address nobody = {0};
    frames_request(&frame, mac, own != NULL ? &own->address : &nobody, address, to);
    send_frame(kernel, link, address->family, &frame);
}

const struct agent_network agent_kernel_network = {
    .recorded = recorded,
    .bind = bind_addresses,
    .unbind = unbind_addresses,
    .probe = probe,
    .announce = announce,
    .solicit = solicit,
};

/* --- open and close --- */

/* Linux 5.18 and newer. */
static bool keeps_marks(void)
{
    struct utsname name;
    if (uname(&name) != 0)
        return false;
    char *rest = NULL;
    unsigned long major = strtoul(name.release, &rest, 10);
    unsigned long minor = *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;
    return major > 5 || (major == 5 && minor >= 18);
}

static void read_boot(char *ret_boot, size_t size)
{
    (void)snprintf(ret_boot, size, "unknown");
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL)
        return;
    char line[64];
    if (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(ret_boot, size, "%s", line);
    }
    (void)fclose(file);
}

int agent_kernel_open(struct agent_kernel *kernel, const char *state_file, struct error *error)
{
    char boot[64];
    read_boot(boot, sizeof(boot));
    kernel->keeps_marks = keeps_marks();
    int result = agent_record_new(state_file, boot, &kernel->record, error);
    if (result == 0)
        result = link_addresses_new(&kernel->addresses, error);
    if (result != 0) {
        agent_kernel_close(kernel);
        return result;
    }
    if (agent_record_load(kernel->record, NULL) != 0)
        kernel->failures++;
    return 0;
}

void agent_kernel_close(struct agent_kernel *kernel)
{
    link_addresses_free(kernel->addresses);
    agent_record_free(kernel->record);
    kernel->addresses = NULL;
    kernel->record = NULL;
}
