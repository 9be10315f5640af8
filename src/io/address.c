/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Which addresses may be connected to.
 *
 *-------------------------------------------------------------------------
 */
#include "address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const unsigned char nat64_prefix[12] = {0, 0x64, 0xff, 0x9b};

/* IANA's special-purpose registry, and multicast */
static const struct
{
	unsigned char prefix[4];
	int			bits;
}			special4[] = {
	{{0}, 8},					/* this network, unspecified */
	{{10}, 8},
	{{100, 64}, 10},			/* carrier-grade NAT */
	{{127}, 8},
	{{169, 254}, 16},			/* link-local, with the clouds' metadata service */
	{{172, 16}, 12},
	{{192, 0, 0}, 24},
	{{192, 0, 2}, 24},			/* documentation */
	{{192, 88, 99}, 24},		/* 6to4 relays, withdrawn */
	{{192, 168}, 16},
	{{198, 18}, 15},			/* benchmarks */
	{{198, 51, 100}, 24},
	{{203, 0, 113}, 24},
	{{224}, 4},					/* multicast */
	{{240}, 4},					/* reserved, broadcast */
};

/* of 2000::/3; outside of it nothing is public */
static const struct
{
	unsigned char prefix[4];
	int			bits;
}			special6[] = {
	{{0x20, 0x01, 0x00}, 23},	/* protocol assignments, Teredo among them */
	{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
	{{0x20, 0x02}, 16},			/* 6to4: an IPv4 address, by way of somebody else */
	{{0x3f, 0xff}, 20},			/* documentation */
};

static bool
same_bits(const unsigned char *a, const unsigned char *b, int bits)
{
	int			bytes = bits / 8;
	int			rest = bits % 8;

	return memcmp(a, b, (size_t) bytes) == 0 &&
		(rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0);
}

static bool
to_bytes(const struct sockaddr *address, unsigned char bytes[16])
{
	if (address->sa_family == AF_INET)
	{
		memcpy(bytes, mapped_prefix, sizeof(mapped_prefix));
		memcpy(bytes + 12, &((const struct sockaddr_in *) address)->sin_addr, 4);
		return true;
	}
	if (address->sa_family == AF_INET6)
	{
		memcpy(bytes, &((const struct sockaddr_in6 *) address)->sin6_addr, 16);
		return true;
	}
	return false;
}

static bool
is_mapped(const unsigned char *bytes)
{
	return memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

/* what a translator connects to in the end */
static void
unwrap(unsigned char bytes[16])
{
	if (memcmp(bytes, nat64_prefix, sizeof(nat64_prefix)) == 0)
		memcpy(bytes, mapped_prefix, sizeof(mapped_prefix));
}

static bool
is_public(const unsigned char *bytes)
{
	if (is_mapped(bytes))
	{
		for (size_t i = 0; i < sizeof(special4) / sizeof(special4[0]); i++)
			if (same_bits(bytes + 12, special4[i].prefix, special4[i].bits))
				return false;
		return true;
	}
	if ((bytes[0] & 0xe0) != 0x20)
		return false;
	for (size_t i = 0; i < sizeof(special6) / sizeof(special6[0]); i++)
		if (same_bits(bytes, special6[i].prefix, special6[i].bits))
			return false;
	return true;
}

static bool
is_listed(const unsigned char *bytes, const TeNetworks *networks)
{
	/* ::/0 is all of IPv6, and no IPv4 */
	int			least = is_mapped(bytes) ? 96 : 0;

	for (int i = 0; i < networks->count; i++)
		if (networks->networks[i].bits >= least &&
			same_bits(bytes, networks->networks[i].prefix, networks->networks[i].bits))
			return true;
	return false;
}

static bool
parse_one(char *item, TeNetwork *network)
{
	char	   *slash = strchr(item, '/');
	int			base = 0;
	int			bits = 128;

	if (slash)
		*slash++ = '\0';
	if (inet_pton(AF_INET, item, network->prefix + 12) == 1)
	{
		memcpy(network->prefix, mapped_prefix, sizeof(mapped_prefix));
		base = 96;
	}
	else if (inet_pton(AF_INET6, item, network->prefix) != 1)
		return false;
	if (slash)
	{
		size_t		len = strlen(slash);

		if (len == 0 || len > 3 || strspn(slash, "0123456789") != len)
			return false;
		bits = base + atoi(slash);
	}
	network->bits = bits;
	return bits <= 128;
}

bool
te_networks_parse(TeNetworks *networks, const char *text, char *bad, size_t bad_size)
{
	const char *p = text;

	networks->networks = NULL;
	networks->count = 0;
	while (*p)
	{
		const char *start = p;
		const char *end = start + strcspn(start, ",");
		TeNetwork	network;
		char		item[INET6_ADDRSTRLEN + 8];

		p = *end ? end + 1 : end;
		while (start < end && isspace((unsigned char) *start))
			start++;
		while (end > start && isspace((unsigned char) end[-1]))
			end--;
		snprintf(bad, bad_size, "%.*s", (int) (end - start), start);
		if ((size_t) (end - start) >= sizeof(item))
			return false;
		snprintf(item, sizeof(item), "%.*s", (int) (end - start), start);
		if (!parse_one(item, &network))
			return false;
		networks->networks = te_realloc(networks->networks,
										(size_t) (networks->count + 1) * sizeof(TeNetwork));
		networks->networks[networks->count++] = network;
	}
	return true;
}

void
te_networks_free(TeNetworks *networks)
{
	free(networks->networks);
	networks->networks = NULL;
	networks->count = 0;
}

bool
te_address_is_public(const struct sockaddr *address)
{
	unsigned char bytes[16];

	if (!to_bytes(address, bytes))
		return false;
	unwrap(bytes);
	return is_public(bytes);
}

bool
te_address_allowed(const struct sockaddr *address, const TeNetworks *networks)
{
	unsigned char bytes[16];

	if (!to_bytes(address, bytes))
		return false;
	if (is_listed(bytes, networks))
		return true;
	unwrap(bytes);
	return is_public(bytes) || is_listed(bytes, networks);
}

void
te_address_text(const struct sockaddr *address, char *text, size_t size)
{
	const void *bytes = address->sa_family == AF_INET6
		? (const void *) &((const struct sockaddr_in6 *) address)->sin6_addr
		: (const void *) &((const struct sockaddr_in *) address)->sin_addr;

	if ((address->sa_family != AF_INET && address->sa_family != AF_INET6) ||
		inet_ntop(address->sa_family, bytes, text, (socklen_t) size) == NULL)
		snprintf(text, size, "of family %d", address->sa_family);
}
