/* The fields of a Service that decide which addresses it owns, listed once. The decoder reads
 * these and no others, the webhooks are called when one of them changes
 * (deploy/manifests/webhooks.yaml), and a test on a real API server derives from this list that a
 * change of each reaches ipwarden and that no other change does. (Whether a Service is headless, by
 * spec.clusterIP, changes only together with its type; spec.externalTrafficPolicy decides where an
 * address lives, not who has it: nobody need be asked about a change of it, the leader follows.) */
#ifndef IPWARDEN_OBJECTS_SERVICE_INPUTS_H
#define IPWARDEN_OBJECTS_SERVICE_INPUTS_H

/* X(NAME, PARENT, MEMBER): PARENT is a path of the object, its names separated by dots. */
#define SERVICE_INPUTS(X)                                                                          \
    X(AUTO, "metadata.annotations", "external-ip")                                                 \
    X(POOL, "metadata.annotations", "ipcontroller.ext/pool")                                       \
    X(ADDRESSES, "metadata.annotations", "ipcontroller.ext/addresses")                             \
    X(EXTERNAL_IPS, "spec", "externalIPs")                                                         \
    X(TYPE, "spec", "type")                                                                        \
    X(CLASS, "spec", "loadBalancerClass")                                                          \
    X(LOAD_BALANCER_IP, "spec", "loadBalancerIP")                                                  \
    X(FAMILIES, "spec", "ipFamilies")                                                              \
    X(FAMILY_POLICY, "spec", "ipFamilyPolicy")                                                     \
    X(PORTS, "spec", "ports")

enum service_input {
#define X(name, parent, member) SERVICE_INPUT_##name,
    SERVICE_INPUTS(X)
#undef X
        SERVICE_INPUT_COUNT
};

#endif
