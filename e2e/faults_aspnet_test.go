package e2e

import (
	"os/exec"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// With an ASP.NET Core server in the farm the signalrd servers still lose nothing of one
// another's. What is sent to or by the clients of that server may get lost, for
// it keeps nothing; it does not come twice.
func TestFaultsWithASPNETCore(t *testing.T) {
	reference := peers.Reference(t)
	farm := func(t *testing.T) *streams {
		s := behindWalls(2)(t)
		s.before = 4 * time.Second // every second signalrd servers count those that they are to wait for
		url, process := serve(t, "ASP.NET Core", firstStart, func(url string) *exec.Cmd {
			return exec.Command(reference, "--urls", url, "--redis", s.store.Addr(), "--detailed", "true")
		})
		s.servers = append(s.servers, &streamServer{process: process, url: url + "/reference", aspnet: true})
		return s
	}
	try(t, []fault{
		{"Redis killed, and started again; ASP.NET Core in the farm", farm, restart, onceAtMost},
		{"Redis stands still for 5 s; ASP.NET Core in the farm", farm, standStill(5 * time.Second), onceAtMost},
	})
}

// onceAtMost is exactlyOnce, but that what an ASP.NET Core server has to do with may get
// lost.
func onceAtMost(t *testing.T, s *streams, r *trial) {
	t.Helper()
	exactlyOnce(t, s, r)
	for _, f := range []fate{r.toASPNET, r.fromASPNET} {
		if f.delivered == 0 || f.doubled+f.disordered > 0 {
			t.Errorf("ASP.NET Core: %+v", f)
		}
	}
}
