/*-------------------------------------------------------------------------
 *
 * health.h
 *	  Lines of todo_events.health() and todo_events.metrics() that are
 *	  computed when somebody asks, in the asking backend.
 *
 * What an engine notices while it works goes through te_worker_health()
 * instead and is kept in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_HEALTH_H
#define TE_RUNTIME_HEALTH_H

typedef struct TeHealthSink TeHealthSink;
typedef struct TeMetricSink TeMetricSink;

/* level: 1 ok, 2 warning, 3 error; hint may be NULL */
typedef void (*TeHealthCallback) (TeHealthSink *sink);
extern void te_health_register(TeHealthCallback callback);
extern void te_health_add(TeHealthSink *sink, int level, const char *component,
						  const char *message, const char *hint);

/*
 * name without the prefix "todo_events_", in Prometheus' naming; label and
 * its value may be NULL; kind "counter" or "gauge"
 */
typedef void (*TeMetricCallback) (TeMetricSink *sink);
extern void te_metric_register(TeMetricCallback callback);
extern void te_metric_add(TeMetricSink *sink, const char *name, const char *label,
						  const char *label_value, double value, const char *kind, const char *help);

#endif
