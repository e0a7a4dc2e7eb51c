/* Places where a build for tests can be made to stop, so that a test may meet the moment between
 * two steps. */
#ifndef IPWARDEN_RECONCILE_TEST_HOOK_H
#define IPWARDEN_RECONCILE_TEST_HOOK_H

/* With -DIPWARDEN_TEST_HOOKS and the environment variable IPWARDEN_STOP_AT=DIRECTORY: when the
 * file DIRECTORY/name exists, removes it and stops the process with SIGSTOP. Otherwise nothing,
 * and in other builds it isn't even there. */
#ifdef IPWARDEN_TEST_HOOKS
void test_hook(const char *name);
#else
#define test_hook(name) ((void)0)
#endif

#endif
