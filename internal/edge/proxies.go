package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are those in front of the server whose word is taken for where a
// request comes from. The zero value takes nobody's.
//
// Each proxy tells whom it got the request from, the last one on the right. So the
// client is the rightmost that is no trusted proxy itself: what stands further left
// anybody can have written.
type Proxies struct {
	prefixes []netip.Prefix
	unix     bool // whoever connects to a Unix socket is one
	standard bool // they say it with Forwarded (RFC 7239), not with X-Forwarded-*
}

// ParseProxies takes addresses and networks, such as 10.0.0.0/8 or fd00::1, and
// "unix" for whoever connects to a Unix socket. header is "x-forwarded" for proxies that set
// X-Forwarded-For, -Proto and -Host, or "forwarded": only one of them is believed,
// for the proxies hand on what a client has written into the other.
func ParseProxies(list []string, header string) (Proxies, error) {
	p := Proxies{standard: header == "forwarded"}
	for _, text := range list {
		if text == "unix" {
			p.unix = true
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if addr, single := netip.ParseAddr(text); single == nil {
			prefix, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		if err != nil {
			return Proxies{}, fmt.Errorf("%q: say a network such as 10.0.0.0/8, an address, or unix", text)
		}
		if prefix.Bits() == 0 {
			return Proxies{}, errors.New(text + " would let everybody say where they come from; name the networks that your proxies are in")
		}
		p.prefixes = append(p.prefixes, prefix.Masked())
	}
	return p, nil
}

// Trusted says whether there is any proxy to believe.
func (p *Proxies) Trusted() bool { return p.unix || len(p.prefixes) > 0 }

func (p *Proxies) trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// origin is where a request comes from, as far as that is known.
type origin struct {
	client netip.AddrPort // port 0: unknown
	scheme string         // "http" or "https"
	host   string         // empty: the one of the request
}

// rewrite has a request say who the client is and what it asked for, as if there
// were no proxy: RemoteAddr, Host and URL.Scheme.
func (p *Proxies) rewrite(r *http.Request) {
	r.URL.Scheme = "http"
	if r.TLS != nil {
		r.URL.Scheme = "https"
	}
	if !p.Trusted() {
		return
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case err == nil && !p.trusts(peer.Addr()), err != nil && !p.unix:
		return
	}
	from := p.follow(peer, r.Header)
	if from.client.IsValid() {
		r.RemoteAddr = from.client.String()
	}
	if from.scheme != "" {
		r.URL.Scheme = from.scheme
	}
	if from.host != "" {
		r.Host = from.host
	}
}

// follow goes from a trusted peer, which has no address if it came by a Unix socket,
// to the client.
func (p *Proxies) follow(peer netip.AddrPort, header http.Header) origin {
	hops := forwardedBy(header)
	if p.standard {
		hops = forwarded(header)
	}
	from := origin{client: peer}
	for i := len(hops) - 1; i >= 0; i-- {
		hop := hops[i]
		if hop.scheme != "" {
			from.scheme = hop.scheme
		}
		if hop.host != "" {
			from.host = hop.host
		}
		if !hop.client.IsValid() { // unknown, or none of our business
			break
		}
		from.client = hop.client
		if !p.trusts(hop.client.Addr()) {
			break
		}
	}
	return from
}

// Client is the address of whoever sends a request that has come through a Front:
// of the client, not of a trusted proxy. It is not valid for who connects to a Unix socket
// and is no trusted proxy.
func Client(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}

// parseNode takes an address with a port or without: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1], [2001:db8::1]:80. What else is said is no address.
func parseNode(text string) netip.AddrPort {
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return netip.AddrPortFrom(addr.Unmap(), 0)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}
	}
	number, err := netip.ParseAddrPort("0.0.0.0:" + port)
	if err != nil { // obfuscated
		return netip.AddrPortFrom(addr.Unmap(), 0)
	}
	return netip.AddrPortFrom(addr.Unmap(), number.Port())
}
