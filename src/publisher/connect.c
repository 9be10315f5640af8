/*-------------------------------------------------------------------------
 *
 * connect.c
 *	  CONFIG and TOPIC frames.
 *
 * The names in CONFIG are those of the settings, "kafka.NAME" for each option
 * of todo_events.kafka_options, and "restrict_addresses", which says that the
 * brokers are from SQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "common/cryptohash.h"

#include "publisher/connect.h"
#include "publisher/routes.h"
#include "runtime/settings.h"

#define MAX_ITEMS	256

typedef struct Item
{
	const char *name;
	const char *value;			/* never NULL */
} Item;

typedef struct Items
{
	int			n;
	Item		items[MAX_ITEMS];
	char	   *secrets[2];		/* to be wiped */
} Items;

static void
add(Items *items, const char *name, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return;
	if (items->n == MAX_ITEMS)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many options in todo_events.kafka_options")));
	items->items[items->n].name = name;
	items->items[items->n].value = value;
	items->n++;
}

static void
collect(Items *items)
{
	TeKafkaOption *options;
	int			n;

	items->n = 0;
	te_settings_refresh();
	add(items, "brokers", te_setting_string(TE_SET_BROKERS));
	/* an owner's row must not reach what only the server can */
	if (te_setting_is_row(TE_SET_BROKERS))
	{
		add(items, "restrict_addresses", "on");
		add(items, "allowed_networks", te_setting_string(TE_SET_ALLOWED_NETWORKS));
	}
	add(items, "client_id", "todo_events");
	add(items, "sasl_mechanism", te_setting_string(TE_SET_SASL_MECHANISM));
	add(items, "sasl_username", te_setting_string(TE_SET_SASL_USERNAME));
	add(items, "sasl_password", items->secrets[0] = te_setting_secret("sasl_password"));
	add(items, "sasl_password_file", te_setting_string(TE_SET_SASL_PASSWORD_FILE));
	add(items, "tls", te_setting_string(TE_SET_TLS));
	add(items, "ca_file", te_setting_string(TE_SET_CA_FILE));
	add(items, "cert_file", te_setting_string(TE_SET_CERT_FILE));
	add(items, "key_file", te_setting_string(TE_SET_KEY_FILE));
	add(items, "key_password", items->secrets[1] = te_setting_secret("key_password"));
	n = te_settings_kafka_options(&options);
	for (int i = 0; i < n; i++)
		add(items, psprintf("kafka.%s", options[i].name), options[i].value);
}

static void
forget(Items *items)
{
	for (int i = 0; i < (int) lengthof(items->secrets); i++)
	{
		if (items->secrets[i] != NULL)
			explicit_bzero(items->secrets[i], strlen(items->secrets[i]));
	}
}

static void
hash(pg_cryptohash_ctx *ctx, const void *data, size_t len)
{
	if (pg_cryptohash_update(ctx, data, len) < 0)
		elog(ERROR, "could not compute a hash: %s", pg_cryptohash_error(ctx));
}

/* a password or certificate that is renewed in place is a change as well */
static void
hash_file(pg_cryptohash_ctx *ctx, TeSettingId id)
{
	const char *path = te_setting_string(id);
	struct stat st;

	if (path[0] == '\0' || stat(path, &st) != 0)
		return;
	hash(ctx, &st.st_mtim, sizeof(st.st_mtim));
	hash(ctx, &st.st_size, sizeof(st.st_size));
	hash(ctx, &st.st_ino, sizeof(st.st_ino));
}

static void
digest(const Items *items, TeFingerprint *fingerprint)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0)
		elog(ERROR, "could not compute a hash: %s", pg_cryptohash_error(ctx));
	for (int i = 0; i < items->n; i++)
	{
		/* with the terminators, which keep neighbours apart */
		hash(ctx, items->items[i].name, strlen(items->items[i].name) + 1);
		hash(ctx, items->items[i].value, strlen(items->items[i].value) + 1);
	}
	hash_file(ctx, TE_SET_SASL_PASSWORD_FILE);
	hash_file(ctx, TE_SET_CA_FILE);
	hash_file(ctx, TE_SET_CERT_FILE);
	hash_file(ctx, TE_SET_KEY_FILE);
	if (pg_cryptohash_final(ctx, fingerprint->digest, sizeof(fingerprint->digest)) < 0)
		elog(ERROR, "could not compute a hash: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
}

void
te_connect_fingerprint(TeFingerprint *fingerprint)
{
	Items		items;

	collect(&items);
	digest(&items, fingerprint);
	forget(&items);
}

void
te_connect_send_config(TeIoProcess *io, TeFingerprint *fingerprint)
{
	Items		items;
	size_t		room = sizeof(uint32);
	char	   *start;
	char	   *p;

	collect(&items);
	digest(&items, fingerprint);
	for (int i = 0; i < items.n; i++)
		room += 2 * sizeof(uint32) + strlen(items.items[i].name) + strlen(items.items[i].value);

	start = te_io_frame_begin(io, TE_FRAME_CONFIG, room);
	p = te_wire_put_u32(start, items.n);
	for (int i = 0; i < items.n; i++)
	{
		p = te_wire_put_str(p, items.items[i].name, strlen(items.items[i].name));
		p = te_wire_put_str(p, items.items[i].value, strlen(items.items[i].value));
	}
	te_io_frame_end(io, p - start);
	forget(&items);
}

void
te_connect_send_topics(TeIoProcess *io)
{
	const TeTopic *topic;

	for (int i = 0; (topic = te_routes_topic(i)) != NULL; i++)
	{
		size_t		len = strlen(topic->name);
		char	   *start;
		char	   *p;

		if (!topic->configured)
			continue;
		start = te_io_frame_begin(io, TE_FRAME_TOPIC, 2 + 4 + len + 4 + 8 + 1);
		p = te_wire_put_u16(start, topic->number);
		p = te_wire_put_str(p, topic->name, len);
		p = te_wire_put_u32(p, (uint32) topic->partitions);
		p = te_wire_put_u64(p, (uint64) topic->retention_ms);
		p = te_wire_put_u8(p, topic->create);
		te_io_frame_end(io, p - start);
	}
}
