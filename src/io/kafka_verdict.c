/*-------------------------------------------------------------------------
 *
 * kafka_verdict.c
 *	  What an error code means: for good, or for now.
 *
 * This decides between a dead letter and another try, so every code that a
 * broker can answer is placed on purpose, and what is not known is tried
 * again: a message kept too long does less harm than one given up.
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_private.h"

/* of the protocol; librdkafka names it since 2.9 or so */
#define INCONSISTENT_TOPIC_ID	((rd_kafka_resp_err_t) 103)

TeVerdict
te_kafka_verdict(int code)
{
	switch (code)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			return TE_VERDICT_DELIVERED;

			/* nothing about the message will make the broker accept it */
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
		case RD_KAFKA_RESP_ERR__KEY_SERIALIZATION:
		case RD_KAFKA_RESP_ERR__VALUE_SERIALIZATION:
			return TE_VERDICT_REFUSED;

			/* the broker judges a whole record batch */
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
		case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_INVALID_RECORD:
		case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
		case RD_KAFKA_RESP_ERR_INVALID_MSG:
			return TE_VERDICT_BATCH;

		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case TE_ERR_UNKNOWN_TOPIC_ID:
		case INCONSISTENT_TOPIC_ID:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			return TE_VERDICT_TOPIC;

			/* the state behind "in order and once" is lost: only a new producer helps */
		case RD_KAFKA_RESP_ERR__FATAL:
		case RD_KAFKA_RESP_ERR__INCONSISTENT:
		case RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE:
		case RD_KAFKA_RESP_ERR__FENCED:
		case RD_KAFKA_RESP_ERR__STATE:
		case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
		case RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER:
		case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
		case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
		case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
		case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
			return TE_VERDICT_RESTART;

		default:
			return TE_VERDICT_AGAIN;
	}
}

TeAdminVerdict
te_kafka_admin_verdict(int code)
{
	switch (code)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			return TE_ADMIN_OK;

		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case TE_ERR_UNKNOWN_TOPIC_ID:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
			return TE_ADMIN_ABSENT;

		case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
			return TE_ADMIN_EXISTS;

		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			return TE_ADMIN_DENIED;

		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
		case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
		case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
		case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
		case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
		case RD_KAFKA_RESP_ERR__INVALID_ARG:
			return TE_ADMIN_REFUSED;

			/*
			 * Among these on purpose: INVALID_REPLICATION_FACTOR.  A cluster
			 * with a broker down has too few for its own default, and will
			 * have enough again.
			 */
		default:
			return TE_ADMIN_AGAIN;
	}
}

const char *
te_kafka_code_name(int code)
{
	return rd_kafka_err2name((rd_kafka_resp_err_t) code);
}

const char *
te_kafka_code_text(int code)
{
	return rd_kafka_err2str((rd_kafka_resp_err_t) code);
}

int
te_kafka_code_too_large(void)
{
	return RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
}

bool
te_kafka_code_denies(int code)
{
	return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
}

bool
te_kafka_code_neighbour(int code)
{
	return code == TE_ERR_INVALID_DIFFERENT_RECORD;
}
