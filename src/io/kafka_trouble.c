/*-------------------------------------------------------------------------
 *
 * kafka_trouble.c
 *	  From librdkafka's error text to one line that names cause and setting.
 *
 * Pure.  The texts are not an interface of the library, so each is matched
 * loosely, and one that is not recognized is passed on as it is.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_private.h"

/* OpenSSL's X509_V_ERR_*; numbers are fixed, and linking OpenSSL is librdkafka's affair */
enum
{
	X509_NOT_YET_VALID = 9,
	X509_EXPIRED = 10,
	X509_SELF_SIGNED = 18,
	X509_SELF_SIGNED_IN_CHAIN = 19,
	X509_NO_ISSUER_LOCALLY = 20,
	X509_NO_LEAF_SIGNATURE = 21,
	X509_REVOKED = 23,
	X509_HOSTNAME_MISMATCH = 62,
	X509_IP_MISMATCH = 64
};

static void __attribute__((format(printf, 3, 4)))
format(char *out, size_t size, const char *fmt, ...)
{
	va_list		args;

	va_start(args, fmt);
	vsnprintf(out, size, fmt, args);
	va_end(args);
}

#define MESSAGE(...) format(trouble->message, sizeof(trouble->message), __VA_ARGS__)
#define HINT(...) format(trouble->hint, sizeof(trouble->hint), __VA_ARGS__)

/*
 * "sasl_ssl://host:9093/bootstrap: Text (after 3ms in state CONNECT, 2
 * identical error(s) suppressed)" into "host:9093" and "Text"; the scheme is
 * missing without TLS, and the address may be there twice.  The suffix changes
 * with every try, and would make each look like a new cause.
 */
static void
split(const char *text, char *address, size_t address_size, char *reason, size_t reason_size)
{
	char	   *p;

	address[0] = '\0';
	for (;;)
	{
		const char *colon = strstr(text, ": ");
		const char *slash = colon ? memrchr(text, '/', (size_t) (colon - text)) : NULL;
		const char *scheme = strstr(text, "://");

		/* an address is one word with a node's name or number behind a slash */
		if (slash == NULL || memchr(text, ' ', (size_t) (colon - text)))
			break;
		if (scheme && scheme < slash)
			text = scheme + 3;
		snprintf(address, address_size, "%.*s", (int) (slash - text), text);
		text = colon + 2;
	}
	snprintf(reason, reason_size, "%s", text);
	if ((p = strstr(reason, " (after ")) != NULL)
		*p = '\0';
}

static bool
has(const char *text, const char *part)
{
	return strcasestr(text, part) != NULL;
}

static void
explain_tls(const TeTroubleFacts *facts, const char *address, const char *reason,
			TeTrouble *trouble)
{
	switch (facts->x509_error)
	{
		case X509_EXPIRED:
			MESSAGE("the TLS certificate of Kafka at %s, or its CA's, has expired", address);
			HINT("Renew the broker's certificate; if it is the CA's that has expired, also the file "
				 "named by todo_events.ca_file.");
			return;
		case X509_NOT_YET_VALID:
			MESSAGE("the TLS certificate of Kafka at %s is not yet valid", address);
			HINT("Check the clocks, the broker's certificate, and the file named by "
				 "todo_events.ca_file.");
			return;
		case X509_SELF_SIGNED:
		case X509_SELF_SIGNED_IN_CHAIN:
		case X509_NO_ISSUER_LOCALLY:
		case X509_NO_LEAF_SIGNATURE:
			MESSAGE("the TLS certificate of Kafka at %s is signed by an unknown CA", address);
			if (*facts->config->ca_file)
				HINT("The file named by todo_events.ca_file (\"%s\") does not hold the CA that "
					 "signed it.", facts->config->ca_file);
			else
				HINT("Set todo_events.ca_file to the CA that signed it.");
			return;
		case X509_HOSTNAME_MISMATCH:
		case X509_IP_MISMATCH:
			MESSAGE("the TLS certificate of Kafka at %s is for another host", address);
			HINT("todo_events.brokers must name the broker as its certificate does.");
			return;
		case X509_REVOKED:
			MESSAGE("the TLS certificate of Kafka at %s is revoked", address);
			HINT("Renew the broker's certificate.");
			return;
		default:
			break;
	}
	if (has(reason, "PLAINTEXT") || has(reason, "closed by peer") ||
		has(reason, "wrong version number") ||
		has(reason, "packet length too long") || has(reason, "unexpected eof") ||
		has(reason, "record layer failure"))
	{
		MESSAGE("Kafka at %s does not speak TLS on this port", address);
		HINT("Let todo_events.brokers name the port of its TLS listener, or set todo_events.tls "
			 "to off.");
	}
	else if (has(reason, "alert"))
	{
		MESSAGE("Kafka at %s refused our TLS certificate: %s", address, reason);
		HINT("todo_events.cert_file and todo_events.key_file must name a certificate that the "
			 "broker's truststore accepts.");
	}
	else if (has(reason, "certificate verify failed"))
	{
		MESSAGE("the TLS certificate of Kafka at %s was not accepted: %s", address, reason);
		HINT("Check the file named by todo_events.ca_file, and the host names in "
			 "todo_events.brokers.");
	}
	else
	{
		MESSAGE("TLS with Kafka at %s failed: %s", address, reason);
		HINT("Check todo_events.tls, todo_events.ca_file and todo_events.cert_file.");
	}
}

static void
explain_login(const TeTroubleFacts *facts, const char *address, const char *reason,
			  TeTrouble *trouble)
{
	const char *mechanism = facts->config->sasl_mechanism;

	if (has(reason, "mechanism handshake") || has(reason, "Unsupported SASL mechanism") ||
		facts->code == RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM)
	{
		MESSAGE("Kafka at %s does not offer SASL mechanism %s: %s", address, mechanism, reason);
		HINT("Set todo_events.sasl_mechanism to one that the broker's listener has enabled.");
		return;
	}
	if (*mechanism == '\0')
	{
		MESSAGE("Kafka at %s requires a login: %s", address, reason);
		HINT("Set todo_events.sasl_mechanism, todo_events.sasl_username and "
			 "todo_events.sasl_password_file.");
		return;
	}
	MESSAGE("Kafka at %s refused the login of user \"%s\": %s", address,
			facts->config->sasl_username, reason);
	if (*mechanism == 'S' && facts->library_version < TE_RDKAFKA_SCRAM_OK)
		HINT("This version, %s, cannot do SCRAM with Kafka 4, even with the right password: build "
			 "todo_events with 2.6.1 or later (make deps).", te_kafka_library());
	else
		HINT("Check todo_events.sasl_username and the password (todo_events.sasl_password_file).");
}

/*
 * Kafka says no to the wrong protocol by hanging up: on the first request, or,
 * where a login is required, on the one after that.
 */
static bool
closed_at_once(const char *text)
{
	const char *after = strstr(text, "(after ");

	return has(text, "in state APIVERSION_QUERY") || has(text, "in state AUTH") ||
		(has(text, "in state UP") && after && atoi(after + 7) < 1000);
}

static void
explain_transport(const TeTroubleFacts *facts, const char *address, const char *reason,
				  TeTrouble *trouble)
{
	if (facts->refused)
	{
		trouble->refused = true;
		MESSAGE("address %s of brokers set by SQL is not public and not in "
				"todo_events.allowed_networks", facts->refused);
		HINT("A superuser may add its network to todo_events.allowed_networks, or set "
			 "todo_events.brokers in the configuration file.");
		return;
	}
	if (has(reason, "SSL handshake") || has(reason, "SSL routines") ||
		(has(reason, "closed by peer") && has(facts->text, "in state SSL_HANDSHAKE")))
	{
		explain_tls(facts, address, reason, trouble);
		return;
	}
	if (has(reason, "security.protocol") || has(reason, "require SASL") ||
		(has(reason, "closed by peer") && closed_at_once(facts->text)))
	{
		MESSAGE("Kafka at %s closed the connection at once", address);
		if (facts->config->use_tls)
			HINT("Its listener may expect another login: check todo_events.sasl_mechanism and "
				 "todo_events.tls.");
		else
			HINT("Its listener may expect TLS or a login: check todo_events.tls and "
				 "todo_events.sasl_mechanism, and the port in todo_events.brokers.");
		return;
	}
	MESSAGE("could not reach Kafka at %s: %s", address, reason);
	HINT("Check that the broker runs, and the addresses in todo_events.brokers.");
}

void
te_kafka_explain(const TeTroubleFacts *facts, TeTrouble *trouble)
{
	char		address[256];
	char		reason[400];

	memset(trouble, 0, sizeof(*trouble));
	split(facts->text ? facts->text : "", address, sizeof(address), reason, sizeof(reason));
	if (*address == '\0')
		snprintf(address, sizeof(address), "%.200s", facts->config->brokers);

	switch (facts->code)
	{
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
			trouble->all_down = true;
			return;
		case RD_KAFKA_RESP_ERR__RESOLVE:
			MESSAGE("unknown host in todo_events.brokers: %s", reason);
			HINT("Check the host names in todo_events.brokers, and name resolution on this machine.");
			return;
		case RD_KAFKA_RESP_ERR__SSL:
			explain_tls(facts, address, reason, trouble);
			return;
		case RD_KAFKA_RESP_ERR__AUTHENTICATION:
		case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
		case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
			explain_login(facts, address, reason, trouble);
			return;
		case RD_KAFKA_RESP_ERR__TRANSPORT:
		case RD_KAFKA_RESP_ERR__TIMED_OUT:
			explain_transport(facts, address, reason, trouble);
			return;
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			MESSAGE("Kafka at %s does not allow user \"%s\" to produce idempotently: %s", address,
					facts->config->sasl_username, reason);
			HINT("Give the user WRITE on the topics (before Kafka 2.8: IDEMPOTENT_WRITE on the "
				 "cluster), or change todo_events.sasl_username.");
			return;
		default:
			MESSAGE("trouble with Kafka at %s: %s", address, reason);
			return;
	}
}
