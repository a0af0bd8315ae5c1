/*
 * follower_tickets.c: those who wait.
 *
 * A ticket is somebody who waits. One that is about a document is served between two pages of
 * changes, so that a backlog of somebody else's changes holds nobody up; one that is about
 * everything is done when a reading of the feed has ended that began after it came.
 */
#include "tools/tekupd/mirror/follower_internal.h"

#include "ingest/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_S = 5 }; /* while PostgreSQL is away */

struct ticket {
    struct ticket *next;
    void (*done)(void *arg, bool applied);
    void *arg;
    double came_s;
    char document[DOCUMENT_ID_SIZE]; /* empty: everything */
};

void ticket_queue_init(struct ticket_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static void queue_add(struct ticket_queue *queue, struct ticket *ticket)
{
    ticket->next = NULL;
    *queue->last = ticket;
    queue->last = &ticket->next;
}

void ticket_queue_move(struct ticket_queue *from, struct ticket_queue *to)
{
    if (from->first == NULL) return;
    *to->last = from->first;
    to->last = from->last;
    ticket_queue_init(from);
}

void ticket_queue_finish(struct ticket_queue *queue, bool applied)
{
    struct ticket *ticket = queue->first;
    ticket_queue_init(queue);
    while (ticket != NULL) {
        struct ticket *next = ticket->next;
        ticket->done(ticket->arg, applied);
        free(ticket);
        ticket = next;
    }
}

void follower_give_up(struct follower *follower, bool all)
{
    struct ticket_queue old, kept;
    struct ticket_queue *const queues[] = {&follower->documents, &follower->everything};
    const double time = clock_now();
    ticket_queue_init(&old);
    pthread_mutex_lock(&follower->lock);
    ticket_queue_move(&follower->reading, &follower->everything);
    for (int i = 0; i < 2; i++) {
        ticket_queue_init(&kept);
        for (struct ticket *ticket = queues[i]->first, *next; ticket != NULL; ticket = next) {
            next = ticket->next;
            queue_add(all || time - ticket->came_s > PATIENCE_S ? &old : &kept, ticket);
        }
        ticket_queue_init(queues[i]);
        ticket_queue_move(&kept, queues[i]);
    }
    pthread_mutex_unlock(&follower->lock);
    ticket_queue_finish(&old, false);
}

static void put_back(struct follower *follower, struct ticket_queue *queue)
{
    pthread_mutex_lock(&follower->lock);
    ticket_queue_move(&follower->documents, queue);
    ticket_queue_move(queue, &follower->documents);
    pthread_mutex_unlock(&follower->lock);
}

int follower_serve(struct follower *follower, struct error *err)
{
    struct ticket_queue waiting, some;
    int rc = 0;
    ticket_queue_init(&waiting);
    pthread_mutex_lock(&follower->lock);
    ticket_queue_move(&follower->documents, &waiting);
    pthread_mutex_unlock(&follower->lock);
    while (rc == 0 && waiting.first != NULL) {
        const char *ids[FOLLOW_DOCUMENTS];
        size_t count = 0;
        ticket_queue_init(&some);
        while (waiting.first != NULL && count < FOLLOW_DOCUMENTS) {
            struct ticket *ticket = waiting.first;
            waiting.first = ticket->next;
            if (waiting.first == NULL) ticket_queue_init(&waiting);
            queue_add(&some, ticket);
            ids[count++] = ticket->document;
        }
        rc = follow_documents(&follower->follow, ids, count, err);
        if (rc == 0)
            ticket_queue_finish(&some, true);
        else
            put_back(follower, &some);
    }
    put_back(follower, &waiting);
    return rc;
}

static struct ticket *make_ticket(const char *document, void (*done)(void *, bool), void *arg)
{
    struct ticket *ticket = calloc(1, sizeof(*ticket));
    if (ticket == NULL) return NULL;
    ticket->done = done;
    ticket->arg = arg;
    ticket->came_s = clock_now();
    if (document != NULL) snprintf(ticket->document, sizeof(ticket->document), "%s", document);
    return ticket;
}

void follower_kick(struct follower *follower)
{
    const uint64_t one = 1;
    (void)!write(follower->wake, &one, sizeof(one));
}

void follower_settle(struct follower *follower, const char *document,
                     void (*done)(void *arg, bool applied), void *arg)
{
    struct ticket *ticket = make_ticket(document, done, arg);
    pthread_mutex_lock(&follower->lock);
    const bool waits = ticket != NULL && follower->report.answering && !follower->joined &&
                       follower->report.state != FOLLOWER_LOADING;
    if (waits) queue_add(document != NULL ? &follower->documents : &follower->everything, ticket);
    pthread_mutex_unlock(&follower->lock);
    if (waits) {
        follower_kick(follower);
        return;
    }
    free(ticket);
    done(arg, false);
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over;
};

static void stop_waiting(void *arg, bool applied)
{
    struct waiting *waiting = arg;
    (void)applied;
    pthread_mutex_lock(&waiting->lock);
    waiting->over = true;
    pthread_cond_signal(&waiting->changed);
    pthread_mutex_unlock(&waiting->lock);
}

void follower_wait(struct follower *follower)
{
    struct waiting waiting = {.over = false};
    pthread_mutex_init(&waiting.lock, NULL);
    pthread_cond_init(&waiting.changed, NULL);
    follower_settle(follower, NULL, stop_waiting, &waiting);
    pthread_mutex_lock(&waiting.lock);
    while (!waiting.over) pthread_cond_wait(&waiting.changed, &waiting.lock);
    pthread_mutex_unlock(&waiting.lock);
    pthread_cond_destroy(&waiting.changed);
    pthread_mutex_destroy(&waiting.lock);
}
