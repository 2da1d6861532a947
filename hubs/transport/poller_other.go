//go:build !linux

package transport

// poller is something that other systems have, but not yet here: connections
// keep a goroutine.
type poller struct{}

type watched struct{}

func newPoller() *poller             { return nil }
func (p *poller) watch(*socket) bool { return false }
func (p *poller) forget(*socket)     {}
func (p *poller) close()             {}
func (p *poller) wait()              {}
