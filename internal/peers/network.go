package peers

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"testing"
)

// Network is a network namespace of Linux, joined to this process's by links that
// can be taken down, as when somebody pulls a cable: neither side is told.
type Network struct {
	Links []*Link

	name string
}

// Link is a pair of virtual interfaces.
type Link struct {
	t       testing.TB
	network string
	far     string // the interface at the other end
	address netip.Addr
}

// linkNetworks are used for tests of networks by RFC 2544; each link takes four
// addresses.
var linkNetworks = netip.MustParsePrefix("198.18.0.0/15")

// NewNetwork makes a namespace with links to it, until the test ends. The test is
// skipped where that is not permitted.
func NewNetwork(t testing.TB, links int) *Network {
	t.Helper()
	find(t, "ip", "install iproute2 so that ip is in PATH (on Linux)", "ip")
	tag := fmt.Sprintf("sr%06x", rand.N(1<<24))
	n := &Network{name: tag}
	if out, err := exec.Command("ip", "netns", "add", n.name).CombinedOutput(); err != nil {
		t.Skipf("network namespaces are not permitted here; run as root, with CAP_SYS_ADMIN and CAP_NET_ADMIN: %v: %s", err, out)
	}
	t.Cleanup(func() { ip(t, "netns", "delete", n.name) })
	for i := range links {
		n.Links = append(n.Links, newLink(t, n.name, fmt.Sprint(tag, "n", i), fmt.Sprint(tag, "f", i)))
	}
	return n
}

func newLink(t testing.TB, network, near, far string) *Link {
	t.Helper()
	first := linkNetworks.Addr().As4()
	base := binary.BigEndian.Uint32(first[:]) + 4*rand.N(uint32(1)<<(32-linkNetworks.Bits())/4)
	address := func(host uint32) netip.Addr {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, base+host)))
	}
	l := &Link{t: t, network: network, far: far, address: address(2)}
	ip(t, "link", "add", near, "type", "veth", "peer", "name", far, "netns", network)
	ip(t, "address", "add", address(1).String()+"/30", "dev", near)
	ip(t, "-n", network, "address", "add", l.address.String()+"/30", "dev", far)
	ip(t, "link", "set", near, "up")
	l.Up()
	return l
}

// Addr is the address of the network at the other end of the link.
func (l *Link) Addr() string { return l.address.String() }

// Down takes the link down, at the other end.
func (l *Link) Down() { ip(l.t, "-n", l.network, "link", "set", l.far, "down") }

// Up has it pass packets again.
func (l *Link) Up() { ip(l.t, "-n", l.network, "link", "set", l.far, "up") }

// Command is one that runs in the network.
func (n *Network) Command(name string, arguments ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.name, name}, arguments...)...)
}

func ip(t testing.TB, arguments ...string) {
	t.Helper()
	if out, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
		t.Errorf("ip %q: %v: %s", arguments, err, out)
	}
}
