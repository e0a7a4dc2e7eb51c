/* `ipwarden agent`: the agent of a node. */
#ifndef IPWARDEN_SERVER_COMMAND_AGENT_H
#define IPWARDEN_SERVER_COMMAND_AGENT_H

int command_agent(int argc, char **argv);

#endif
