/*-------------------------------------------------------------------------
 *
 * config.h
 *	  The CONFIG frame, checked and typed.
 *
 * Names in the frame are those of the settings without the prefix
 * "todo_events.", plus "kafka.NAME" for each option of
 * todo_events.kafka_options, and "restrict_addresses".  This file does no I/O; password files are read
 * by te_config_read_secrets.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_CONFIG_H
#define TE_IO_CONFIG_H

#include "address.h"
#include "wire.h"

typedef enum TeTlsMode
{
	TE_TLS_AUTO,
	TE_TLS_ON,
	TE_TLS_OFF
} TeTlsMode;

typedef struct TeKafkaOption
{
	char	   *name;			/* librdkafka's */
	char	   *value;
} TeKafkaOption;

typedef struct TeConfig
{
	/* "" when not given, except sasl_password: NULL */
	char	   *brokers;
	char	   *client_id;
	char	   *sasl_mechanism;
	char	   *sasl_username;
	char	   *sasl_password;
	char	   *sasl_password_file;
	char	   *tls;
	char	   *ca_file;
	char	   *cert_file;
	char	   *key_file;
	char	   *key_password;
	char	   *restrict_addresses; /* "on": brokers are from SQL */
	char	   *allowed_networks;

	/* derived by te_config_check */
	bool		embedded;		/* brokers = 'embedded' */
	bool		use_tls;
	bool		restricted;		/* only to public addresses and those in networks */
	TeNetworks	networks;

	TeKafkaOption *options;
	int			option_count;
} TeConfig;

/* what is wrong, in the words of a STATUS frame */
typedef struct TeConfigError
{
	char		message[512];
	char		hint[512];
} TeConfigError;

/* All return false with *error filled in.  No message ever holds a secret. */
extern bool te_config_decode(TeConfig *config, const char *body, uint32_t len,
							 TeConfigError *error, bool *malformed);
extern bool te_config_check(TeConfig *config, TeConfigError *error);
extern bool te_config_read_secrets(TeConfig *config, TeConfigError *error);

/*
 * The setting that owns this librdkafka option ("todo_events.tls"), "" if it
 * cannot be changed at all, NULL if kafka_options may set it.
 */
extern const char *te_config_option_owner(const char *option);

/* overwrites what may be secret */
extern void te_config_free(TeConfig *config);

#endif							/* TE_IO_CONFIG_H */
