/* From the table of links to what is told of it. */
#include "netlink/agent_links.h"

#include "netlink/default_route.h"

#include <stdlib.h>
#include <string.h>

int agent_links_default(const struct links *links, const char *name)
{
    if (name != NULL) {
        const struct link *link = links_by_name(links, name);
        return link != NULL ? link->index : 0;
    }
    static const uint8_t families[] = {ADDRESS_IPV4, ADDRESS_IPV6};
    for (size_t i = 0; i < sizeof(families); i++) {
        int link = 0;
        if (default_route_find(families[i], &link, NULL, NULL) == 0 &&
            links_by_index(links, link) != NULL)
            return link;
    }
    return 0;
}

/* All that a call needs: the links, and behind each other the addresses of all. */
struct told {
    struct agent_link *links;
    struct cidr *addresses;
    bool *ours;
    size_t count;
    size_t address_count;
};

static void add(struct told *told, const struct link *link, int default_link)
{
    struct agent_link *shown = &told->links[told->count++];
    *shown = (struct agent_link){
        .index = link->index,
        .name = link->name,
        .up = link->up && link->carrier,
        .announcing = link->index == default_link,
        .addresses = &told->addresses[told->address_count],
        .ours = &told->ours[told->address_count],
        .address_count = link->address_count,
    };
    memcpy(shown->mac, link->mac, sizeof(shown->mac));
    for (size_t i = 0; i < link->address_count; i++) {
        const struct link_address *address = &link->addresses[i];
        told->addresses[told->address_count] =
            (struct cidr){.address = address->address, .prefix_length = address->prefix_length};
        told->ours[told->address_count++] = address->ours;
    }
}

void agent_links_tell(const struct links *links, int default_link,
                      const struct agent_upcalls *upcalls, void *context)
{
    size_t addresses = 0;
    size_t at = 0;
    const struct link *link;
    while ((link = links_next(links, &at)) != NULL)
        addresses += link->address_count;
    struct told told = {
        .links = calloc(links_count(links) + 1, sizeof(*told.links)),
        .addresses = calloc(addresses + 1, sizeof(*told.addresses)),
        .ours = calloc(addresses + 1, sizeof(*told.ours)),
    };
    if (told.links != NULL && told.addresses != NULL && told.ours != NULL) {
        at = 0;
        while ((link = links_next(links, &at)) != NULL) {
            if (!link->loopback)
                add(&told, link, default_link);
        }
        upcalls->links_changed(context, told.links, told.count);
    }
    free(told.links);
    free(told.addresses);
    free(told.ours);
}
