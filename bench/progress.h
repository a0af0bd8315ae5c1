/* progress.h: says on standard error what is being done, on one line that is written over. */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

/* Nothing where standard error is not a terminal. */
void progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Takes the line away, so that results can be printed. */
void progress_end(void);

#endif
