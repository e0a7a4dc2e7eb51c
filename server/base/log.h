/* Structured log lines on standard error: one JSON object or one text line an event. Any thread. */
#ifndef IPWARDEN_BASE_LOG_H
#define IPWARDEN_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Sets the process-wide format and lowest level. Call once, before threads start. */
void log_configure(enum log_format format, enum log_level lowest);
bool log_enabled(enum log_level level);

/* Writes one line: the message and pairs of const char * (name, value; a NULL value prints as null)
 * ended by a NULL name. Control characters and invalid UTF-8 are escaped: a value can't forge a
 * line. */
void log_event(enum log_level level, const char *message, ...) __attribute__((sentinel));

#define log_debug(...) log_event(LOG_LEVEL_DEBUG, __VA_ARGS__, NULL)
#define log_info(...) log_event(LOG_LEVEL_INFO, __VA_ARGS__, NULL)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, __VA_ARGS__, NULL)
#define log_error(...) log_event(LOG_LEVEL_ERROR, __VA_ARGS__, NULL)

#endif
