/*
 * heap.h: keeping malloc's memory at what is in use.
 *
 * glibc gives nearly every thread a heap of its own and keeps what was freed for it: with thirty
 * threads, each of which has had a large answer or a long document at some time, that adds up, and
 * goes on growing for hours. So they share a few heaps, large blocks are kept out of them, and now
 * and then what is free goes back to the kernel. The vectors are not in there: the index maps its
 * own memory.
 */
#ifndef TEKUPD_HEAP_H
#define TEKUPD_HEAP_H

/* Before there are threads. */
void heap_begin(void);

/* To be called every few seconds, by one thread. */
void heap_tend(void);

#endif
