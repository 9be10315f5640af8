/*
 * answers.h
 *	  What the producer says about batches: frames into bookkeeping.  Each
 *	  returns false if the frame is malformed, or about nothing in flight.
 */
#ifndef TE_PUBLISHER_ANSWERS_H
#define TE_PUBLISHER_ANSWERS_H

#include "publisher/dead_letters.h"
#include "publisher/window.h"
#include "runtime/shmem.h"
#include "wire.h"

extern bool te_answer_ack(TeWireIn *in, TeWindow *window, TeCounters *counters);
extern bool te_answer_refused(TeWireIn *in, TeWindow *window, TeRefusals *refusals,
							  TeCounters *counters);
extern bool te_answer_stats(TeWireIn *in, TeCounters *counters);

#endif
