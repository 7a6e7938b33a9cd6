package webhook

import (
	"fmt"
	"net/netip"
	"strings"
)

// Allow lists the addresses that deliveries may reach although they are not public. The zero
// value allows none. A Sender asks Permits for the address that it is about to dial, after
// name resolution, so a name that changes its address gains nothing.
type Allow []netip.Prefix

// ParseAllow reads a list of networks, such as 10.0.0.0/8, and of single addresses.
func ParseAllow(list []string) (Allow, error) {
	var a Allow
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("%q is not a network, such as 10.1.0.0/16, and not an address", text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("%q has bits beyond its length; write %s", text, prefix.Masked())
		}
		a = append(a, prefix)
	}
	return a, nil
}

// Loopback are the addresses of the machine itself.
var Loopback = Allow{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// notPublic lists the networks that are not reachable by anyone on the Internet, or that
// lead to such an address (RFC 6890 and the registries of IANA).
var notPublic = parsePrefixes(`
	0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
	192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
	168.63.129.16/32
	2001::/23 2001:db8::/32 2002::/16 3fff::/20`)

// global is the network of all public IPv6 addresses.
var global = netip.MustParsePrefix("2000::/3")

func parsePrefixes(list string) (all []netip.Prefix) {
	for _, text := range strings.Fields(list) {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// Permits reports whether deliveries may reach an address: a public one, or one that is
// listed. Addresses of IPv6 that contain one of IPv4 (NAT64, 6to4, Teredo) are not public,
// except the mapped form ::ffff:192.0.2.1, which is the address that it contains.
func (a Allow) Permits(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	for _, prefix := range a {
		if prefix.Contains(addr) {
			return true
		}
	}
	if !addr.IsValid() || !addr.Is4() && !global.Contains(addr) {
		return false
	}
	for _, prefix := range notPublic {
		if prefix.Contains(addr) {
			return false
		}
	}
	return true
}
