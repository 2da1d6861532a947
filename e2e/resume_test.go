package e2e

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
)

// resumeChecks are the names of what a stock client with stateful reconnect
// is put to, on connections that are cut (protocol §9).
//
// ASP.NET Core itself fails those of a cut that the server has not noticed,
// when a new socket takes the connection over (protocol §9.4), and those of a
// cut after an upload or rejected items, as it does not count stream items
// that nobody wants (protocol §9.1).
func resumeChecks() (checks []string) {
	for _, how := range []manner{ended, reset, unnoticed} {
		for _, what := range []string{"same connection", "method under way", "stream", "upload", "messages", "both ways while away", "group kept"} {
			checks = append(checks, fmt.Sprintf("%s: %s", how, what))
		}
	}
	checks = append(checks, "cut after an upload", "cut after rejected items", "cut after a stream")
	return append(checks, "roughly: echoes", "roughly: messages", "roughly: upload and stream", "roughly: stream", "roughly: same connection")
}

// roughPlan cuts a dozen times, mostly in the middle of a message. The first
// bytes of a connection pass: clients try once to resume.
func roughPlan() (plan []cut) {
	for i := range 12 {
		how := ended
		if i%2 == 1 {
			how = reset
		}
		plan = append(plan, cut{how, 100 + rand.Int64N(1400)})
	}
	return plan
}

func (p peer) resume(t *testing.T) {
	command := p.command(t, "resume")
	server := startConformance(t)
	for _, encoding := range []string{"json", "messagepack"} {
		t.Run(encoding, func(t *testing.T) {
			plan := roughPlan()
			t.Log("planned", plan)
			cutter, rough := startCutter(t, server), startCutter(t, server, plan...)
			run := exec.Command(command.Path, append(command.Args[1:], "--server", server, "--proxy", cutter.url,
				"--cutter", cutter.controlURL, "--rough", rough.url, "--encoding", encoding)...)
			runChecks(t, run, p.can(resumeChecks()))
			if left := rough.planned(); left > 0 {
				t.Errorf("all was done with %d of %d cuts left", left, len(plan))
			}
		})
	}
}

// The stock JavaScript client with stateful reconnect.
func TestJavaScriptResume(t *testing.T) { javascriptPeer.resume(t) }

// The stock .NET client with stateful reconnect.
func TestDotnetResume(t *testing.T) { dotnetPeer.resume(t) }
