/*
 * address.h
 *	  Which addresses may be connected to, where somebody who may only use SQL
 *	  has named the host.
 *
 * Pure.
 */
#ifndef TE_IO_ADDRESS_H
#define TE_IO_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* IPv4 as IPv4-mapped IPv6, so that there is one kind of address */
typedef struct TeNetwork
{
	unsigned char prefix[16];
	int			bits;
} TeNetwork;

typedef struct TeNetworks
{
	TeNetwork  *networks;
	int			count;
} TeNetworks;

/*
 * "10.0.0.0/8, fd00::/8"; an address without a length is a network of its own.
 * False, with the element in bad, if it is no such list.
 */
extern bool te_networks_parse(TeNetworks *networks, const char *text, char *bad, size_t bad_size);
extern void te_networks_free(TeNetworks *networks);

/* reachable on the Internet, and nobody's own? */
extern bool te_address_is_public(const struct sockaddr *address);

/* public, or in one of the networks; anything but IPv4 and IPv6 is neither */
extern bool te_address_allowed(const struct sockaddr *address, const TeNetworks *networks);

/* "127.0.0.1"; the port is left out */
extern void te_address_text(const struct sockaddr *address, char *text, size_t size);

#endif							/* TE_IO_ADDRESS_H */
