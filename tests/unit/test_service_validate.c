/* The validating call on a Service: the one place of admission that writes. Each row says what is asked of the API server, what
 * the answer is, and what the claim of 192.0.2.1 says afterwards. */
#include "tests/unit/admission_fixture.h"

#define BLUE "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/29']}}"
#define TINY "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.1/32']}}"
#define WEB(metadata, spec)                                                                        \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1'" metadata "},'spec':{" spec "}}"
#define AUTO ",'annotations':{'external-ip':'auto'}"
#define GOING ",'deletionTimestamp':'1970-01-01T00:00:10Z'"
#define BY_HAND                                                                                    \
    ",'managedFields':[{'manager':'kubectl','fieldsV1':{'f:spec':{'f:externalIPs':{}}}}]"
#define LIST(addresses) "'externalIPs':[" addresses "]"
#define PORT(port) ",'ports':[{'port':" port "}]"
#define BALANCER "'type':'LoadBalancer'"
#define SHOWN(spec)                                                                                \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1'},'spec':{" spec                         \
    "},'status':{'loadBalancer':{'ingress':[{'ip':'192.0.2.1'}]}}}"
#define CLAIM_AT(version, metadata, services)                                                      \
    "{'metadata':{'name':'192-0-2-1-32','uid':'c-1','resourceVersion':'" version "'" metadata      \
    "},'spec':{'cidr':'192.0.2.1/32','pool':'blue','services':[" services "]}}"
#define CLAIM_WITH(metadata, services) CLAIM_AT("7", metadata, services)
#define CLAIM(services) CLAIM_WITH("", services)
#define ENTRY(namespace, name, uid, ports, given)                                                  \
    "{'namespace':'" namespace "','name':'" name "','uid':'" uid "','ports':[" ports               \
                               "],'given':" given ",'since':'1970-01-01T00:00:10.000000Z'}"
#define OWNER ENTRY("b", "owner", "u-2", "", "true")
#define NEIGHBOUR(ports) ENTRY("a", "api", "u-3", ports, "false")
#define GIVEN ENTRY("a", "web", "u-1", "", "true")
#define LISTED ENTRY("a", "web", "u-1", "", "false")
#define LISTED_AS(objects) "{'metadata':{'resourceVersion':'9'},'items':[" objects "]}"
#define READ_CLAIM "GET/192-0-2-1-32"
#define READ_SERVICE "GET/api/v1/namespaces/a/services/web"
#define READ_POOLS "GET/apis/ipcontroller.ext/v2/ipclaimpools?limit=500"
#define LIST_CLAIMS "GET?labelSelector=ip-pool-name%3Dblue&limit=500"

struct row {
    const char *name;
    const char *pool; /* NULL: BLUE */
    const char
        *known; /* a claim that memory has, and the API server, too, if stored says nothing else */
    const char *stored;  /* the claim of 192.0.2.1 that the API server has; "": none */
    const char *claims;  /* what the API server lists as claims; NULL: not to be had */
    const char *service; /* a Service that memory has */
    const char *read;    /* what the API server has as a/web */
    struct fake_answer fault;
    const char *object;
    const char *old; /* UPDATE */
    bool dry;
    int64_t code; /* 0: allowed */
    const char *message;
    const char *cause;    /* NULL: none */
    const char *warning;  /* NULL: none */
    const char *requests; /* NULL: none */
    /* spec.services of the claim of 192.0.2.1 afterwards, without since; NULL: as it was stored */
    const char *services;
    bool renewed; /* since is new */
};

#define EXTERNAL_IPS "spec.externalIPs"
#define NOT_GIVEN ",'given':false"
#define SERVICES(entries) "[" entries "]"
#define ENTRY_AFTER(namespace, name, uid, ports, given)                                            \
    "{'namespace':'" namespace "','name':'" name "','uid':'" uid "'" given ports "}"
#define WEB_AFTER(ports, given) ENTRY_AFTER("a", "web", "u-1", ports, given)

static const struct row rows[] = {
    /* --- creates --- */
    {.name = "nothing listed", .object = WEB("", "")},
    {.name = "listed by hand",
     .object = WEB(BY_HAND, LIST("'192.0.2.1'") PORT("80")),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER(",'ports':['TCP/80']", NOT_GIVEN)),
     .renewed = true},
    {.name = "listed by hand beside the annotation",
     .object = WEB(AUTO BY_HAND, LIST("'192.0.2.1'")),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "chosen by the mutating call",
     .object = WEB(AUTO, LIST("'192.0.2.1'")),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER("", ",'given':true")),
     .renewed = true},
    {.name = "listed, and nobody owns the field: nothing was asked for, so it was by hand",
     .object = WEB("", LIST("'192.0.2.1'")),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "a repeated call, as memory knows",
     .known = CLAIM(GIVEN),
     .object = WEB(AUTO, LIST("'192.0.2.1'"))},
    {.name = "a repeated call, as the API server knows",
     .stored = CLAIM(GIVEN),
     .object = WEB(AUTO, LIST("'192.0.2.1'")),
     .requests = "POST " READ_CLAIM},
    {.name = "a claim of an earlier Service of that name",
     .known = CLAIM(ENTRY("a", "web", "u-0", "", "true")),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .code = 0,
     .requests = "PATCH/192-0-2-1-32",
     .services =
         SERVICES(ENTRY_AFTER("a", "web", "u-0", "", ",'given':true") "," WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "named by hand, another's",
     .known = CLAIM(OWNER),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .code = 403,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "named by hand, another's as only the API server knows",
     .stored = CLAIM(OWNER),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .code = 403,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = "POST " READ_CLAIM " " READ_CLAIM},
    {.name = "named by hand, another's as only memory knows",
     .known = CLAIM(OWNER),
     .stored = "",
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .requests = READ_CLAIM " POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "named by hand, another's, and the API server can't be asked",
     .known = CLAIM(OWNER),
     .fault = {.request = "GET", .status = 403},
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .code = 403,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "named by hand, being released",
     .known = CLAIM_WITH(GOING, GIVEN),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'") PORT("80")),
     .old = WEB("", ""),
     .code = 403,
     .message = "being released",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "named by hand, held back by hand",
     .known = CLAIM(""),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .code = 403,
     .message = "names no Service",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "named by hand, in no pool",
     .object = WEB(BY_HAND, LIST("'198.51.100.1'")),
     .code = 403,
     .message = "in no pool",
     .cause = EXTERNAL_IPS,
     .requests = READ_POOLS},
    {.name = "a lost choice",
     .known = CLAIM(OWNER),
     .object = WEB(AUTO, LIST("'192.0.2.1'")),
     .code = 429,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "a lost choice, as only the API server knows",
     .stored = CLAIM(OWNER),
     .object = WEB(AUTO, LIST("'192.0.2.1'")),
     .code = 429,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = "POST " READ_CLAIM " " READ_CLAIM},
    {.name = "a lost choice, as only memory knows",
     .known = CLAIM(OWNER),
     .stored = "",
     .object = WEB(AUTO, LIST("'192.0.2.1'")),
     .requests = READ_CLAIM " POST",
     .services = SERVICES(WEB_AFTER("", ",'given':true")),
     .renewed = true},
    {.name = "a choice that is in no pool isn't lost, it can't be had",
     .object = WEB(AUTO, LIST("'198.51.100.1'")),
     .code = 403,
     .message = "in no pool",
     .cause = EXTERNAL_IPS,
     .requests = READ_POOLS},
    {.name = "shared with a neighbour",
     .known = CLAIM(NEIGHBOUR("'TCP/80'")),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'") PORT("81")),
     .requests = "PATCH/192-0-2-1-32",
     .services = SERVICES(ENTRY_AFTER("a", "api", "u-3", ",'ports':['TCP/80']",
                                      NOT_GIVEN) "," WEB_AFTER(",'ports':['TCP/81']", NOT_GIVEN)),
     .renewed = true},
    {.name = "shared with a neighbour who uses the port",
     .known = CLAIM(NEIGHBOUR("'TCP/80'")),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'") PORT("80")),
     .code = 403,
     .message = "TCP/80",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "shared with a neighbour who came meanwhile",
     .stored = CLAIM(NEIGHBOUR("'TCP/80'")),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'") PORT("81")),
     .requests = "POST " READ_CLAIM " PATCH/192-0-2-1-32",
     .services = SERVICES(ENTRY_AFTER("a", "api", "u-3", ",'ports':['TCP/80']",
                                      NOT_GIVEN) "," WEB_AFTER(",'ports':['TCP/81']", NOT_GIVEN)),
     .renewed = true},
    {.name = "a server in trouble",
     .fault = {.request = "POST", .status = 500},
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .code = 503,
     .message = "try again",
     .requests = "POST"},
    {.name = "no name",
     .object = "{'metadata':{'namespace':'a','uid':'u-1'},'spec':{" LIST("'192.0.2.1'") "}}",
     .code = 422,
     .message = "metadata.name"},
    {.name = "what can't be read",
     .object = WEB("", LIST("'10.0.0.300'")),
     .code = 422,
     .message = EXTERNAL_IPS},
    /* --- a create under a name that is stored --- */
    {.name = "the name is stored",
     .service = WEB(",'resourceVersion':'3'", ""),
     .read = WEB(",'resourceVersion':'3'", ""),
     .object = WEB("", LIST("'192.0.2.1'")),
     .code = 409,
     .message = "services \"web\" already exists",
     .requests = READ_SERVICE},
    {.name = "the name was stored, as memory knows",
     .service = WEB(",'resourceVersion':'3'", ""),
     .object = WEB("", LIST("'192.0.2.1'")),
     .requests = READ_SERVICE " POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "the name can't be read: the API server says so after us",
     .service = WEB(",'resourceVersion':'3'", ""),
     .fault = {.request = "GET /api/v1", .status = 403},
     .object = WEB("", LIST("'192.0.2.1'")),
     .requests = READ_SERVICE " POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "the name is stored, and it is a dry run: nothing would be left behind",
     .service = WEB(",'resourceVersion':'3'", ""),
     .read = WEB(",'resourceVersion':'3'", ""),
     .object = WEB("", LIST("'192.0.2.1'")),
     .dry = true},
    /* --- LoadBalancers without externalIPs --- */
    {.name = "a LoadBalancer gets one",
     .object = WEB("", BALANCER PORT("80")),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER(",'ports':['TCP/80']", ",'given':true")),
     .renewed = true},
    {.name = "a LoadBalancer of another class",
     .object = WEB("", BALANCER ",'loadBalancerClass':'example.com/other'")},
    {.name = "a LoadBalancer that was given one already",
     .known = CLAIM(GIVEN),
     .object = WEB("", BALANCER)},
    {.name = "a LoadBalancer gets the next one when another replica was faster",
     .stored = CLAIM(OWNER),
     .object = WEB("", BALANCER),
     .requests = "POST " READ_CLAIM " POST"},
    {.name = "a LoadBalancer, and nothing is free",
     .pool = TINY,
     .known = CLAIM(OWNER),
     .claims = LISTED_AS(CLAIM(OWNER)),
     .object = WEB("", BALANCER),
     .warning = "the Service waits",
     .requests = "some"},
    {.name = "a LoadBalancer, and nothing is free, as memory knows",
     .pool = TINY,
     .known = CLAIM(OWNER),
     .stored = "",
     .claims = LISTED_AS(""),
     .object = WEB("", BALANCER),
     .requests = "some",
     .services = SERVICES(WEB_AFTER("", ",'given':true")),
     .renewed = true},
    {.name = "a LoadBalancer, and the API server is in trouble",
     .fault = {.request = "POST", .status = 500},
     .object = WEB("", BALANCER),
     .warning = "soon",
     .requests = "POST"},
    {.name = "a LoadBalancer uses a port on the address that it shows only once the claim has it",
     .known = CLAIM(GIVEN),
     .fault = {.request = "PATCH", .status = 500},
     .object = SHOWN(BALANCER PORT("80")),
     .old = SHOWN(BALANCER),
     .code = 503,
     .message = "try again",
     .requests = "PATCH/192-0-2-1-32"},
    {.name = "a LoadBalancer that lists an address by hand is held up, too",
     .fault = {.request = "POST", .status = 500},
     .object = WEB(BY_HAND, BALANCER "," LIST("'192.0.2.1'")),
     .code = 503,
     .message = "try again",
     .requests = "some"},
    {.name = "a LoadBalancer that names what another has",
     .known = CLAIM(OWNER),
     .object = WEB("", BALANCER ",'loadBalancerIP':'192.0.2.1'"),
     .warning = "b/owner",
     .requests = READ_CLAIM},
    {.name = "a LoadBalancer that names what is in no pool",
     .object = WEB("", BALANCER ",'loadBalancerIP':'198.51.100.1'"),
     .code = 403,
     .message = "in no pool",
     .cause = "spec.loadBalancerIP",
     .requests = READ_POOLS},
    {.name = "a Service becomes a LoadBalancer",
     .object = WEB("", BALANCER),
     .old = WEB("", ""),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER("", ",'given':true")),
     .renewed = true},
    /* --- dry runs --- */
    {.name = "a dry run of what can be had", .object = WEB("", LIST("'192.0.2.1'")), .dry = true},
    {.name = "a dry run of what can't be had",
     .known = CLAIM(OWNER),
     .object = WEB("", LIST("'192.0.2.1'")),
     .dry = true,
     .code = 403,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "a dry run of what can be had by now",
     .known = CLAIM(OWNER),
     .stored = "",
     .object = WEB("", LIST("'192.0.2.1'")),
     .dry = true,
     .requests = READ_CLAIM},
    {.name = "a dry run of a lost choice",
     .known = CLAIM(OWNER),
     .object = WEB(AUTO, LIST("'192.0.2.1'")),
     .dry = true,
     .code = 429,
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "a dry run of a LoadBalancer", .object = WEB("", BALANCER), .dry = true},
    {.name = "a dry run of an edit that lists an address again",
     .known = CLAIM(LISTED),
     .object = WEB("", LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .dry = true},
    {.name = "a dry run of an edit that adds a port",
     .known = CLAIM(LISTED),
     .object = WEB("", LIST("'192.0.2.1'") PORT("81")),
     .old = WEB("", LIST("'192.0.2.1'") PORT("80")),
     .dry = true},
    /* --- edits --- */
    {.name = "an edit of something else",
     .known = CLAIM(LISTED),
     .object = WEB(",'labels':{'a':'b'}", LIST("'192.0.2.1'")),
     .old = WEB("", LIST("'192.0.2.1'"))},
    {.name = "an edit of something else, and the claim isn't there yet: the reconciler makes it",
     .object = WEB(",'labels':{'a':'b'}", LIST("'192.0.2.1'")),
     .old = WEB("", LIST("'192.0.2.1'"))},
    {.name = "an edit of something else, of one that another has: nothing that runs is touched",
     .known = CLAIM(OWNER),
     .object = WEB(",'labels':{'a':'b'}", LIST("'192.0.2.1'")),
     .old = WEB("", LIST("'192.0.2.1'"))},
    {.name = "an edit takes the address out",
     .known = CLAIM(LISTED),
     .object = WEB("", ""),
     .old = WEB("", LIST("'192.0.2.1'"))},
    {.name = "an edit adds an address",
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "an edit adds an address that another has",
     .known = CLAIM(OWNER),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .code = 403,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "an edit, and a lost choice",
     .known = CLAIM(OWNER),
     .object = WEB(AUTO, LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .code = 429,
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "uid, name and namespace are those of the stored object",
     .object = "{'metadata':{'namespace':'b','name':'other','uid':'u-9'},'spec':{" LIST(
         "'192.0.2.1'") "}}",
     .old = WEB("", ""),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "whoever writes the owner's uid doesn't become the owner",
     .known = CLAIM(OWNER),
     .object = "{'metadata':{'namespace':'b','name':'owner','uid':'u-2'},'spec':{" LIST(
         "'192.0.2.1'") "}}",
     .old = WEB("", ""),
     .code = 403,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "an edit lists the address again: a release under way must fail",
     .known = CLAIM(LISTED),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .requests = "PATCH/192-0-2-1-32",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "an edit lists the address again, and it has been released meanwhile",
     .known = CLAIM(LISTED),
     .stored = "",
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .requests = "PATCH/192-0-2-1-32 " READ_CLAIM " POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "an edit lists the address again, and the claim has changed meanwhile",
     .known = CLAIM(LISTED),
     .stored = CLAIM_AT("8", "", NEIGHBOUR("") "," LISTED),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .requests = "some",
     .services =
         SERVICES(ENTRY_AFTER("a", "api", "u-3", "", NOT_GIVEN) "," WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "an edit lists by hand what was given before: it isn't given any more",
     .known = CLAIM(GIVEN),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .requests = "PATCH/192-0-2-1-32",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "an edit lists by hand what it was given as a LoadBalancer",
     .known = CLAIM(GIVEN),
     .object = WEB(BY_HAND, LIST("'192.0.2.1'")),
     .old = "{'metadata':{'namespace':'a','name':'web','uid':'u-1'},'spec':{" BALANCER
            "},'status':{'loadBalancer':{'ingress':[{'ip':'192.0.2.1'}]}}}",
     .requests = "PATCH/192-0-2-1-32",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "an edit asks again, and gets what it had",
     .known = CLAIM(GIVEN),
     .object = WEB(AUTO, LIST("'192.0.2.1'")),
     .old = WEB("", ""),
     .requests = "PATCH/192-0-2-1-32",
     .services = SERVICES(WEB_AFTER("", ",'given':true")),
     .renewed = true},
    {.name = "an edit adds a port, of one that another has: nothing that runs is touched",
     .known = CLAIM(OWNER),
     .object = WEB("", LIST("'192.0.2.1'") PORT("81")),
     .old = WEB("", LIST("'192.0.2.1'") PORT("80")),
     .requests = READ_CLAIM},
    {.name = "an edit adds a port: until it is stored either may be in use",
     .known = CLAIM(ENTRY("a", "web", "u-1", "'TCP/80'", "true")),
     .object = WEB(AUTO, LIST("'192.0.2.1'") PORT("81")),
     .old = WEB(AUTO, LIST("'192.0.2.1'") PORT("80")),
     .requests = "PATCH/192-0-2-1-32",
     .services = SERVICES(WEB_AFTER(",'ports':['TCP/81','TCP/80']", ",'given':true")),
     .renewed = true},
    {.name = "an edit takes a port away: the claim follows once it is stored",
     .known = CLAIM(ENTRY("a", "web", "u-1", "'TCP/80','TCP/81'", "true")),
     .object = WEB(AUTO, LIST("'192.0.2.1'") PORT("80")),
     .old = WEB(AUTO, LIST("'192.0.2.1'") ",'ports':[{'port':80},{'port':81}]")},
    {.name = "an edit adds a port that a neighbour uses",
     .known = CLAIM(ENTRY("a", "web", "u-1", "'TCP/80'", "false") "," NEIGHBOUR("'TCP/81'")),
     .object = WEB("", LIST("'192.0.2.1'") PORT("81")),
     .old = WEB("", LIST("'192.0.2.1'") PORT("80")),
     .code = 403,
     .message = "TCP/81",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "an edit beside an old way of writing",
     .object = WEB("", LIST("'010.0.0.1'")),
     .old = WEB("", LIST("'010.0.0.1'"))},
    {.name = "an edit adds a port to an old way of writing: claimed as it is read",
     .object = WEB("", LIST("'010.0.0.1'") PORT("81")),
     .old = WEB("", LIST("'010.0.0.1'") PORT("80")),
     .requests = "GET/10-0-0-1-32 POST"},
    {.name = "an edit of an old way of writing",
     .object = WEB("", LIST("'010.0.0.2'")),
     .old = WEB("", LIST("'010.0.0.1'")),
     .code = 422,
     .message = EXTERNAL_IPS},
    /* --- on its way out: a finalizer keeps it so for ever, and kube-proxy goes on --- */
    {.name = "on its way out: its finalizers must come off",
     .object = WEB(GOING, LIST("'010.0.0.1','198.51.100.1'")),
     .old = WEB(GOING, LIST("'010.0.0.1','198.51.100.1'"))},
    {.name = "on its way out: a LoadBalancer gets nothing new",
     .object = WEB(GOING, BALANCER),
     .old = WEB(GOING, BALANCER)},
    {.name = "on its way out: what is added is claimed",
     .object = WEB(GOING, LIST("'192.0.2.1'")),
     .old = WEB(GOING, ""),
     .requests = "POST",
     .services = SERVICES(WEB_AFTER("", NOT_GIVEN)),
     .renewed = true},
    {.name = "on its way out: what is added is another's",
     .known = CLAIM(OWNER),
     .object = WEB(GOING, LIST("'192.0.2.1'")),
     .old = WEB(GOING, ""),
     .code = 403,
     .message = "b/owner",
     .cause = EXTERNAL_IPS,
     .requests = READ_CLAIM},
    {.name = "on its way out: what is added is in no pool",
     .object = WEB(GOING, LIST("'198.51.100.1'")),
     .old = WEB(GOING, ""),
     .code = 403,
     .message = "in no pool",
     .cause = EXTERNAL_IPS,
     .requests = READ_POOLS},
};

#define CLAIM_ONE CLAIM_PATH "/192-0-2-1-32"

static void prepare(const struct row *row)
{
    const char *stored = row->stored != NULL ? row->stored : row->known;
    fixture_put_pool(world, Q(row->pool != NULL ? row->pool : BLUE));
    if (row->known != NULL)
        fixture_put_claim(world, Q(row->known));
    if (stored != NULL && *stored != '\0')
        fake_cluster_put(cluster, CLAIM_ONE, stored);
    if (row->claims != NULL)
        fake_cluster_put(cluster, CLAIM_PATH, row->claims);
    if (row->service != NULL)
        fixture_put_service(world, Q(row->service));
    if (row->read != NULL)
        fake_cluster_put(cluster, "/api/v1/namespaces/a/services/web", row->read);
    if (row->fault.request != NULL)
        fake_cluster_fault(cluster, &row->fault);
}

static void check_answer(const struct row *row, const struct verdict *verdict)
{
    if (verdict->code != row->code || verdict->retry_after != (row->code == 429 ? 1 : 0))
        fail_msg("%s: %lld %s", row->name, (long long)verdict->code, verdict->message);
    if (row->message != NULL && strstr(verdict->message, row->message) == NULL)
        fail_msg("%s: %s", row->name, verdict->message);
    if (strcmp(verdict->causes, row->cause != NULL ? row->cause : "") != 0)
        fail_msg("%s: cause %s", row->name, verdict->causes);
    if (row->warning != NULL ? strstr(verdict->warning, row->warning) == NULL
                             : verdict->warning[0] != '\0')
        fail_msg("%s: warning %s", row->name, verdict->warning);
    assert_string_equal(verdict->patch, "");
}

static void check_requests(const struct row *row)
{
    const char *requests = fake_cluster_requests(cluster, 0);
    const char *wanted = row->requests != NULL ? row->requests : "";
    bool some = strcmp(wanted, "some") == 0;
    if (some ? *requests == '\0' : strcmp(requests, wanted) != 0)
        fail_msg("%s: %s", row->name, requests);
    for (unsigned int i = 0; row->dry && i < fake_api_count(cluster->api); i++)
        if (strncmp(fake_api_request(cluster->api, i)->line, "GET ", 4) != 0)
            fail_msg("%s: %s", row->name, requests);
}

/* The entries of the stored claim, without their since; the last entry's since goes to ret_since. */
static void read_services(char *ret_text, size_t size, char *ret_since, size_t since_size)
{
    static const char member[] = ",\"since\":\"";
    const char *at = strstr(fake_cluster_get(cluster, CLAIM_ONE), "\"services\":");
    size_t length = 0;
    *ret_since = '\0';
    at = at != NULL ? at + strlen("\"services\":") : "";
    while (*at != '\0' && length + 1 < size) {
        if (strncmp(at, member, strlen(member)) == 0) {
            at += strlen(member);
            size_t digits = strcspn(at, "\"");
            snprintf(ret_since, since_size, "%.*s", (int)digits, at);
            at += digits + 1;
        } else {
            ret_text[length++] = *at++;
        }
    }
    ret_text[length > 2 ? length - 2 : length] = '\0'; /* of the ends of spec and claim */
}

/* What is before is what prepare() put there. */
static void check_claim(const struct row *row, const char *before, const char *since_before)
{
    char after[2048];
    char since[64];
    const char *wanted = row->services != NULL ? Q(row->services) : before;
    read_services(after, sizeof(after), since, sizeof(since));
    if (strcmp(after, wanted) != 0)
        fail_msg("%s: %s", row->name, after);
    if ((strcmp(since, since_before) != 0) != row->renewed)
        fail_msg("%s: since %s", row->name, since);
}

/* Nothing is left in memory that holds an address back. */
static void check_nothing_under_way(const struct row *row)
{
    size_t position = 0;
    mutex_guard(&world->mutex);
    for (const struct state_address *entry;
         (entry = map_next(world->addresses, &position)) != NULL;)
        if (entry->claiming != 0)
            fail_msg("%s: an address is still being claimed", row->name);
}

static void claims_what_is_added(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct verdict verdict;
        char before[2048];
        char since[64];
        prepare(row);
        read_services(before, sizeof(before), since, sizeof(since));
        review(false, "services", row->old != NULL ? "UPDATE" : "CREATE", row->object, row->old,
               row->dry ? ",'dryRun':true" : "", &verdict);
        check_answer(row, &verdict);
        check_requests(row);
        check_claim(row, before, since);
        check_nothing_under_way(row);
        admission_tear_down(state);
        admission_set_up(state);
    }
}

static void a_dry_run_leaves_no_trace(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    int64_t active = world->last_activity;
    review(false, "services", "CREATE", WEB("", LIST("'192.0.2.1'")), NULL, ",'dryRun':true",
           &verdict);
    assert_true(verdict.allowed);
    assert_int_equal(map_count(world->addresses), 0);
    assert_int_equal(world->last_activity, active);
}

/* The mutating call chose; the claim is in memory by the time of the answer. */
static void what_was_claimed_is_known_at_once(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    review(false, "services", "CREATE", WEB("", LIST("'192.0.2.1'")), NULL, "", &verdict);
    assert_true(verdict.allowed);
    mutex_guard(&world->mutex);
    const struct state_claim *claim = state_claim(world, "192-0-2-1-32");
    assert_non_null(claim);
    assert_string_equal(claim->claim->services[0].uid, "u-1");
}

/* The client comes again by itself, and gets another one. */
static void a_lost_choice_is_made_anew(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    fake_cluster_put(cluster, CLAIM_ONE, CLAIM(OWNER));
    review(false, "services", "CREATE", WEB(AUTO, LIST("'192.0.2.1'")), NULL, "", &verdict);
    assert_int_equal(verdict.code, 429);
    review(true, "services", "CREATE", WEB(AUTO, ""), NULL, "", &verdict);
    assert_non_null(strstr(verdict.patch, "['192.0.2.2']"));
    review(false, "services", "CREATE", WEB(AUTO, LIST("'192.0.2.2'")), NULL, "", &verdict);
    assert_true(verdict.allowed);
}

/* All or nothing: what the request has claimed is taken back before it is refused. */
static void what_was_claimed_in_vain_is_taken_back(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    fake_cluster_put(cluster, CLAIM_ONE, CLAIM(OWNER));
    review(false, "services", "CREATE", WEB(BY_HAND, LIST("'192.0.2.2','192.0.2.1'")), NULL, "",
           &verdict);
    assert_int_equal(verdict.code, 403);
    assert_non_null(strstr(verdict.message, "b/owner"));
    assert_string_equal(fake_cluster_get(cluster, CLAIM_PATH "/192-0-2-2-32"), "");
    assert_non_null(strstr(fake_cluster_requests(cluster, 0), "DELETE/192-0-2-2-32"));
    assert_non_null(strstr(fake_cluster_get(cluster, CLAIM_ONE), "owner"));
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(claims_what_is_added),
        TEST(a_dry_run_leaves_no_trace),
        TEST(what_was_claimed_is_known_at_once),
        TEST(a_lost_choice_is_made_anew),
        TEST(what_was_claimed_in_vain_is_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
