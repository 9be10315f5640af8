/*-------------------------------------------------------------------------
 *
 * answers.c
 *	  What the producer says about batches.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "publisher/answers.h"
#include "publisher/topics.h"

bool
te_answer_ack(TeWireIn *in, TeWindow *window, TeCounters *counters)
{
	uint64		batch = te_wire_get_u64(in);
	uint32		acked;

	if (!te_wire_done(in) || !te_window_ack(window, batch, &acked))
		return false;
	pg_atomic_fetch_add_u64(&counters->messages_acked, acked);
	return true;
}

bool
te_answer_refused(TeWireIn *in, TeWindow *window, TeRefusals *refusals, TeCounters *counters)
{
	TeRefusal	refusal;
	const TeTopic *topic;
	char		code_name[64];
	char		reason[512];

	refusal.batch = te_wire_get_u64(in);
	refusal.event = (int64) te_wire_get_u64(in);
	topic = te_routes_topic(te_wire_get_u16(in));
	refusal.code = (int32) te_wire_get_u32(in);
	te_outside_text(code_name, sizeof(code_name), te_wire_get_str(in));
	te_outside_text(reason, sizeof(reason), te_wire_get_str(in));
	refusal.attempts = te_wire_get_u32(in);
	if (!te_wire_done(in) || topic == NULL || !te_window_refuse(window, refusal.batch))
		return false;
	refusal.topic = topic->name;
	refusal.code_name = code_name;
	refusal.reason = reason;
	te_refusals_add(refusals, &refusal);
	pg_atomic_fetch_add_u64(&counters->messages_refused, 1);
	return true;
}

bool
te_answer_stats(TeWireIn *in, TeCounters *counters)
{
	uint32		p50;
	uint32		p99;

	for (int i = 0; i < 4; i++)
		(void) te_wire_get_u64(in); /* we count ourselves */
	(void) te_wire_get_u32(in);
	p50 = te_wire_get_u32(in);
	p99 = te_wire_get_u32(in);
	if (!te_wire_done(in))
		return false;
	pg_atomic_write_u64(&counters->ack_p50_us, p50);
	pg_atomic_write_u64(&counters->ack_p99_us, p99);
	return true;
}
