package web

import (
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Remote finds the address of the client of a request, for the request log. The zero
// value finds none.
//
// A client can write any address into a header. So the headers count only if the
// connection comes from a trusted proxy, and they are read from the right: each proxy
// appends its client's address. The first address that is not a trusted proxy is
// the client's; the text to the left of it can be invented.
type Remote struct {
	Form    AddrForm
	Proxies []netip.Prefix // the trusted proxies; see ParseProxies
	Unix    bool           // the process that connects to a unix socket is a trusted proxy
	Header  ProxyHeader    // default XForwardedFor
}

// An AddrForm is the form in which an address is logged.
type AddrForm string

// The forms of addresses.
const (
	FullAddr AddrForm = "full"
	AddrNet  AddrForm = "network" // the first 24 bits of an IPv4 address and the first 48 of an IPv6 address
	NoAddr   AddrForm = "off"
)

// A ProxyHeader is the header in which the trusted proxies pass on the address of their
// client. The other one is not read: a proxy that does not set a header passes on what the
// client has written into it.
type ProxyHeader string

// The headers of proxies.
const (
	XForwardedFor ProxyHeader = "x-forwarded-for"
	Forwarded     ProxyHeader = "forwarded" // RFC 7239
)

// ParseProxies reads a list of trusted proxies: networks such as 10.0.0.0/8, addresses,
// and the word unix for the process that connects to a unix socket.
func ParseProxies(list []string) (proxies []netip.Prefix, unix bool, err error) {
	for _, text := range list {
		if text == "unix" {
			unix = true
			continue
		}
		p, err := parseProxy(text)
		if err != nil {
			return nil, false, err
		}
		proxies = append(proxies, p)
	}
	return proxies, unix, nil
}

func parseProxy(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is not a network such as 10.0.0.0/8, an address, or unix", text)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%q is an IPv4 network in the form of IPv6; write it as 10.0.0.0/8", text)
	case p != p.Masked():
		return p, fmt.Errorf("%q has bits outside its network; write %v", text, p.Masked())
	case p.Bits() == 0:
		return p, fmt.Errorf("%q contains every address, so every client could choose the address that is logged; name the networks of the proxies", text)
	}
	return p, nil
}

// Of returns the address of the client of r as it is logged, or "" if it is unknown or
// not logged. If a proxy does not know the address of its client, this is the address of
// that proxy.
func (m Remote) Of(r *http.Request) string {
	if m.isOff() {
		return ""
	}
	peer, isProxy := netip.Addr{}, m.Unix
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); !ok || local.Network() != "unix" {
		peer = parseAddr(r.RemoteAddr)
		isProxy = m.trusts(peer)
	}
	if !isProxy {
		return m.format(peer)
	}
	client := peer
	for hop := range m.hops(r.Header) {
		addr := parseAddr(hop)
		if !addr.IsValid() {
			break
		}
		client = addr
		if !m.trusts(client) {
			break
		}
	}
	return m.format(client)
}

// ofPeer returns the address of the other end of a connection on which no request could be
// read.
func (m Remote) ofPeer(peer net.Addr) string {
	if m.isOff() || peer == nil || peer.Network() == "unix" {
		return ""
	}
	return m.format(parseAddr(peer.String()))
}

func (m Remote) isOff() bool { return m.Form == "" || m.Form == NoAddr }

func (m Remote) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(m.Proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (m Remote) format(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	if m.Form == AddrNet {
		bits := 48
		if addr.Is4() {
			bits = 24
		}
		p, _ := addr.Prefix(bits) // bits is in range
		return p.String()
	}
	return addr.String()
}

// hops returns the addresses that the proxies have written into the header, from the last
// one on. An empty text is an address that cannot be read.
func (m Remote) hops(h http.Header) iter.Seq[string] {
	name, split := "X-Forwarded-For", lastItem
	if m.Header == Forwarded {
		name, split = "Forwarded", lastElement
	}
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(h[name]) {
			for more := true; more; {
				var hop string
				if line, hop, more = split(line); !yield(hop) {
					return
				}
			}
		}
	}
}

// lastItem cuts the last item off a list with commas.
func lastItem(line string) (before, item string, more bool) {
	i := strings.LastIndexByte(line, ',')
	if i < 0 {
		return "", line, false
	}
	return line[:i], line[i+1:], true
}

// lastElement cuts the last element off a header Forwarded and returns the address of its
// parameter for. It searches from the right: a quotation mark that a client leaves open
// cannot reach the element that the proxy appends.
func lastElement(line string) (before, hop string, more bool) {
	element := line
	quoted := false
search:
	for i := len(line) - 1; i >= 0; i-- {
		switch c := line[i]; {
		case c == '\\':
			return "", "", false // no address needs an escaped character
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			before, element, more = line[:i], line[i+1:], true
			break search
		}
	}
	found := 0
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(strings.TrimSpace(name), "for") {
			hop = strings.Trim(strings.TrimSpace(value), `"`)
			found++
		}
	}
	if found != 1 {
		hop = ""
	}
	return before, hop, more
}

// parseAddr reads an address with or without a port, as connections and proxies write it.
// It returns the zero Addr for any other text. IPv4 addresses in the form of IPv6 become
// IPv4 addresses, and zones are removed: a zone can contain any text.
func parseAddr(text string) netip.Addr {
	text = strings.TrimSpace(text)
	addr, err := netip.ParseAddr(text)
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(text)
		addr = withPort.Addr()
	}
	if err != nil && strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		addr, err = netip.ParseAddr(text[1 : len(text)-1])
	}
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
