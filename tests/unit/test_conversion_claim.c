/* IpClaim in v1 and v2. */
#include "tests/unit/conversion_fixture.h"

static const struct conversion_kind *const kind = &conversion_claim;

#define OWNER(key)                                                                                 \
    "{'apiVersion':'ipcontroller.ext/v1','kind':'ServiceReference','name':'s','uid':'" key "'}"
#define OWNERS(list) "'ownerReferences':[" list "]"
#define LONG_NAME "node-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"

static void says_the_same_in_both(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        /* A hold, with the mask of its link. */
        {{.body = "'spec':{'cidr':'10.10.0.2/24','link':'eth0'}"},
         {.body = "'spec':{'cidr':'10.10.0.2/24','link':'eth0'}"}},
        {{.body = "'spec':{'cidr':'10.10.0.2/24','nodeName':'node-1'}",
          .metadata = "'labels':{'a':'b','ip-pool-name':'lan','ipnode':'node-1'}," OWNERS(
              OWNER("shop/web") "," OWNER("shop/api"))},
         {.body = "'spec':{'cidr':'10.10.0.2/24','nodeName':'node-1','pool':'lan','services':["
                  "{'namespace':'shop','name':'web'},{'namespace':'shop','name':'api'}]}",
          .metadata = "'labels':{'a':'b','ip-pool-name':'lan','ipnode':'node-1'}," OWNERS(
              OWNER("shop/web") "," OWNER("shop/api"))}},
        /* Only references of the older system name Services. */
        {{.body = "'spec':{'cidr':'10.10.0.2/24'}",
          .metadata = OWNERS("{'kind':'Service','uid':'shop/web'}," OWNER("shop") "," OWNER(
              "/x") "," OWNER("x/") "," OWNER("a/b/c") ",7")},
         {.body = "'spec':{'cidr':'10.10.0.2/24'}",
          .metadata = OWNERS("{'kind':'Service','uid':'shop/web'}," OWNER("shop") "," OWNER(
              "/x") "," OWNER("x/") "," OWNER("a/b/c") ",7")}},
        /* As ipwarden makes one. */
        {{.body =
              "'spec':{'cidr':'10.0.0.7/32','nodeName':'node-1'},'status':{'boundNode':'node-1'}",
          .metadata = "'labels':{'ip-pool-name':'lan','ipnode':'node-1'}",
          .data = "{'v2':{'spec':{'services':[{'namespace':'shop','name':'web','uid':'u-1','given':"
                  "true,'ports':['TCP/80']}],'standbyNode':'node-2'},'metadata.labels':"
                  "{'ipnode':null}}}"},
         {.body = "'spec':{'cidr':'10.0.0.7/32','pool':'lan','nodeName':'node-1','standbyNode':"
                  "'node-2','services':[{'namespace':'shop','name':'web','uid':'u-1','given':true,"
                  "'ports':['TCP/80']}]},'status':{'boundNode':'node-1'}",
          .metadata = "'labels':{'ip-pool-name':'lan'}"}},
        /* ... and as it keeps an older one: the references stay, and are known by what was carried. */
        {{.body = "'spec':{'cidr':'10.0.0.7/24'}",
          .metadata = OWNERS(OWNER("shop/web")),
          .data = "{'v2':{'spec':{'services':[{'namespace':'shop','name':'web','uid':'u-1'}]},"
                  "'metadata.ownerReferences':['shop/web']}}"},
         {.body = "'spec':{'cidr':'10.0.0.7/24','services':[{'namespace':'shop','name':'web','uid':"
                  "'u-1'}]}",
          .metadata = OWNERS(OWNER("shop/web"))}},
        /* Labels that disagree, and what can be none. */
        {{.body = "'spec':{'cidr':'10.0.0.7/24','nodeName':'node-2'}",
          .metadata = "'labels':{'ipnode':'node-1'}"},
         {.body = "'spec':{'cidr':'10.0.0.7/24','nodeName':'node-2'}",
          .metadata = "'labels':{'ipnode':'node-1'}",
          .data = "{'v1':{'metadata.labels':{'ipnode':'node-1'}}}"}},
        {{.body = "'spec':{'cidr':'10.0.0.7/24','nodeName':'" LONG_NAME "'}",
          .data = "{'v2':{'spec':{'pool':'-not-a-label-'}}}"},
         {.body =
              "'spec':{'cidr':'10.0.0.7/24','nodeName':'" LONG_NAME "','pool':'-not-a-label-'}"}},
        {{.body = "'spec':{'cidr':'10.0.0.7/24'}",
          .data = "{'v2':{'metadata.labels':{'ip-pool-name':"
                  "'lan'}}}"},
         {.body = "'spec':{'cidr':'10.0.0.7/24'}", .metadata = "'labels':{'ip-pool-name':'lan'}"}},
        {{.body = "'spec':{'cidr':'x','nodeName':7}"},
         {.body = "'spec':{'cidr':'x','nodeName':7}"}},
        {{.body = "'spec':null"}, {.body = "'spec':null"}},
        {{.body = ""}, {.body = ""}},
    };
    check_pairs(kind, pairs, COUNT(pairs));
}

static void lets_an_edit_of_the_older_version_win(void **state)
{
    (void)state;
#define HELD(services, owners)                                                                     \
    "{'v2':{'spec':{'services':[" services "],'hold':true},'metadata.ownerReferences':[" owners    \
    "]}}"
#define SERVICE(space, name, more) "{'namespace':'" space "','name':'" name "'" more "}"
    static const struct step steps[] = {
        /* A Service joins, one leaves, and one that v1 never knew of stays. */
        {{.body = "'spec':{'cidr':'10.0.0.7/24'}",
          .metadata = OWNERS(OWNER("a/new") "," OWNER("a/kept")),
          .data = HELD(SERVICE("a", "kept", ",'uid':'1'") "," SERVICE(
                           "a", "gone", ",'uid':'2'") "," SERVICE("b", "unknown", ",'uid':'3'"),
                       "'a/kept','a/gone'")},
         {.body = "'spec':{'cidr':'10.0.0.7/24','hold':true,'services':[" SERVICE(
              "a", "kept", ",'uid':'1'") "," SERVICE("b", "unknown",
                                                     ",'uid':'3'") "," SERVICE("a", "new", "") "]"
                                                                                               "}",
          .metadata = OWNERS(OWNER("a/new") "," OWNER("a/kept"))}},
        /* One that lost the address in v2 doesn't come back with the one that joins. */
        {{.body = "'spec':{'cidr':'10.0.0.7/24'}",
          .metadata = OWNERS(OWNER("a/freed") "," OWNER("a/new")),
          .data = HELD("", "'a/freed'")},
         {.body =
              "'spec':{'cidr':'10.0.0.7/24','hold':true,'services':[" SERVICE("a", "new", "") "]}",
          .metadata = OWNERS(OWNER("a/freed") "," OWNER("a/new"))}},
        /* One that joins and is there already. */
        {{.body = "'spec':{'cidr':'10.0.0.7/24'}",
          .metadata = OWNERS(OWNER("a/new")),
          .data = HELD(SERVICE("a", "new", ",'uid':'1'"), "")},
         {.body = "'spec':{'cidr':'10.0.0.7/24','hold':true,'services':[" SERVICE(
              "a", "new", ",'uid':'1'") "]}",
          .metadata = OWNERS(OWNER("a/new"))}},
        /* Another pool, another node. */
        {{.body = "'spec':{'cidr':'10.0.0.7/24','nodeName':'node-2'}",
          .metadata = "'labels':{'ip-pool-name':'wan','ipnode':'node-2'}",
          .data = "{'v2':{'spec':{'pool':'-lan','standbyNode':'node-3'},'metadata.labels':"
                  "{'ipnode':null}}}"},
         {.body = "'spec':{'cidr':'10.0.0.7/24','nodeName':'node-2','standbyNode':'node-3','pool':"
                  "'wan'}",
          .metadata = "'labels':{'ip-pool-name':'wan'}"}},
    };
    check_steps(kind, CONVERSION_CURRENT, steps, COUNT(steps));
}

static void lets_an_edit_of_the_current_version_win(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{.body = "'spec':{'cidr':'10.0.0.7/24','nodeName':'node-3'}",
          .metadata = "'labels':{'ipnode':'node-1'}",
          .data = "{'v1':{'metadata.labels':{'ipnode':'node-2'}}}"},
         {.body = "'spec':{'cidr':'10.0.0.7/24','nodeName':'node-3'}",
          .metadata = "'labels':{'ipnode':'node-3'}",
          .data = "{'v2':{'metadata.labels':{'ipnode':'node-1'}}}"}},
        /* A Service that lost the address stays away, though the reference remains. */
        {{.body = "'spec':{'cidr':'10.0.0.7/24','services':[]}",
          .metadata = OWNERS(OWNER("shop/web"))},
         {.body = "'spec':{'cidr':'10.0.0.7/24'}",
          .metadata = OWNERS(OWNER("shop/web")),
          .data = "{'v2':{'spec':{'services':[]},'metadata.ownerReferences':['shop/web']}}"}},
    };
    check_steps(kind, CONVERSION_OLDER, steps, COUNT(steps));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_the_same_in_both),
        cmocka_unit_test(lets_an_edit_of_the_older_version_win),
        cmocka_unit_test(lets_an_edit_of_the_current_version_win),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
