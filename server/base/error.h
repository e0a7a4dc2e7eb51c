/* The error contract of the whole program.
 *
 * A function that can fail returns 0 or a negative code and takes `struct error *error` as its last
 * parameter. The caller owns the struct, may pass NULL, and need not initialise it. On failure the
 * function sets code (the same value it returns) and a text for a person; each layer may add
 * context in front with error_prefix(). On success the struct is left alone. Libraries never log
 * and never exit: the top layer logs an error once.
 *
 * Codes are negative errno values (-EINVAL, -ENOMEM, -ENOENT, -EEXIST, -ETIMEDOUT, ...). */
#ifndef IPWARDEN_BASE_ERROR_H
#define IPWARDEN_BASE_ERROR_H

#include <errno.h>
#include <stdarg.h>

struct error {
    int code;
    char text[256];
};

#define must_check __attribute__((warn_unused_result))

/* Sets code and text; text is cut, never overrun. Returns code, for `return error_set(...)`. A
 * macro, so that compilers and analysers see at each call that what it returns isn't 0: they know
 * then that nothing goes on after it. */
#define error_set(error, code, ...)                                                                \
    __extension__({                                                                                \
        const int error_set_code = (code);                                                         \
        error_fill(error, error_set_code, __VA_ARGS__);                                            \
        error_set_code;                                                                            \
    })

void error_fill(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int error_vset(struct error *error, int code, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* Puts context in front of the text ("context: text"). Returns error->code, or -EIO when NULL. */
int error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sets -ENOMEM with the customary text and returns it. */
static inline int error_no_memory(struct error *error)
{
    return error_set(error, -ENOMEM, "out of memory");
}

#endif
