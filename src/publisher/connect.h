/*
 * connect.h
 *	  What the I/O process is told before it may publish: CONFIG and TOPIC
 *	  frames, made from settings, secrets and topics.
 */
#ifndef TE_PUBLISHER_CONNECT_H
#define TE_PUBLISHER_CONNECT_H

#include "common/sha2.h"
#include "runtime/io_process.h"

/* a digest of all that CONFIG says, contents of files included as far as their times tell */
typedef struct TeFingerprint
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
} TeFingerprint;

/* both in a transaction */
extern void te_connect_fingerprint(TeFingerprint *fingerprint);
extern void te_connect_send_config(TeIoProcess *io, TeFingerprint *fingerprint);

/* every configured topic */
extern void te_connect_send_topics(TeIoProcess *io);

#endif
