package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"sync"
	"time"
)

// Options are how a scenario is played.
type Options struct {
	// Unordered lets the frames of one client come in any order within a step: with a
	// backplane a method's answer may overtake what the method sends.
	Unordered bool
	// Dial connects to the server. Default: over TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Patience is how long something that is expected may take to come. 0 means 30 s.
	Patience time.Duration
}

const usualPatience = 30 * time.Second

// Play plays a scenario on the server at base, like http://127.0.0.1:5000. The error says
// which step went wrong, what was wanted and what came.
func Play(base string, s *Scenario, options Options) error {
	p := newPlayer(base, options)
	defer p.end()
	for i := range s.Steps {
		if err := p.step(&s.Steps[i]); err != nil {
			return fmt.Errorf("%s, step %d of %d\n  do   %s\n%w", s.Name, i+1, len(s.Steps), s.Steps[i].done, err)
		}
	}
	return nil
}

// player plays one scenario. Only its goroutine uses it; what comes arrives in its clients.
type player struct {
	base      string
	http      *http.Client
	patience  time.Duration
	unordered bool
	arrived   chan struct{} // something came to a client

	names   names
	clients map[string]*client // the latest of each name
	all     []*client
	running sync.WaitGroup // what reads
}

func newPlayer(base string, options Options) *player {
	if options.Patience == 0 {
		options.Patience = usualPatience
	}
	return &player{
		base: base,
		http: &http.Client{
			Transport:     &http.Transport{DisableCompression: true, DialContext: options.Dial},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		patience:  options.Patience,
		unordered: options.Unordered,
		arrived:   make(chan struct{}, 1),
		names:     names{values: make(map[string]string)},
		clients:   make(map[string]*client),
	}
}

func (p *player) newClient(name string) *client {
	c := &client{arrived: p.arrived}
	p.clients[name] = c
	p.all = append(p.all, c)
	return c
}

// end drops all clients and waits until nothing runs.
func (p *player) end() {
	for _, c := range p.all {
		if c.socket != nil {
			c.socket.CloseNow()
		}
		if c.drop != nil {
			c.drop()
		}
	}
	p.running.Wait()
	p.http.CloseIdleConnections()
}

// step does what a step says and compares what comes of it.
func (p *player) step(s *Step) error {
	var mask *regexp.Regexp
	if s.Do.Mask != "" {
		var err error
		if mask, err = regexp.Compile(s.Do.Mask); err != nil {
			return fmt.Errorf("mask: %w", err)
		}
	}
	answer, err := p.perform(&s.Do)
	if err != nil {
		return err
	}
	unordered := p.unordered || s.Do.Unordered
	wanted := canonical(s.Outcome, unordered)
	got, matches := p.settle(&s.Do, func() (Outcome, bool) {
		got := Outcome{HTTP: answer, Received: p.received(mask)}
		return got, canonical(got, unordered) == wanted
	})
	if !matches {
		return fmt.Errorf("  want %s\n  got  %s", marshal(s.Outcome), marshal(got))
	}
	for _, c := range p.all {
		c.seen = nil
	}
	return nil
}

// perform does one thing; a request gives a report of its answer.
func (p *player) perform(a *Action) (json.RawMessage, error) {
	switch {
	case a.Open != "":
		return nil, p.open(a)
	case a.Send != nil:
		return nil, p.send(a)
	case a.Close != "":
		return nil, p.close(a.Close)
	case a.Kill != "":
		return nil, p.kill(a.Kill)
	case a.Abort != "":
		return nil, p.abort(a.Abort)
	case a.Background != "":
		return nil, p.background(a)
	case a.HTTP != nil:
		return p.request(a)
	case a.StartStream != nil:
		return p.startStream(a)
	}
	return nil, nil
}

// settle waits until what came is what is wanted and then nothing more comes, or the patience is over.
func (p *player) settle(a *Action, look func() (Outcome, bool)) (Outcome, bool) {
	<-time.After(milliseconds(a.Wait))
	patience := time.NewTimer(max(p.patience, milliseconds(a.Max-a.Wait)))
	defer patience.Stop()
	quiet := time.NewTimer(a.quiet())
	defer quiet.Stop()
	for {
		select {
		case <-p.arrived:
			quiet.Reset(a.quiet())
		case <-quiet.C:
			if got, matches := look(); matches {
				return got, true
			}
			quiet.Reset(a.quiet())
		case <-patience.C:
			return look()
		}
	}
}

// until blocks until something holds that comes about by what c receives, and says whether it
// does: the connection may end before, or the patience.
func (p *player) until(c *client, holds func() bool) bool {
	patience := time.NewTimer(p.patience)
	defer patience.Stop()
	for {
		open := c.isOpen()
		if holds() {
			return true
		}
		if !open {
			return false
		}
		select {
		case <-p.arrived:
		case <-patience.C:
			return false
		}
	}
}

// received is what came to each client in this step so far.
func (p *player) received(mask *regexp.Regexp) map[string][]string {
	received := make(map[string][]string)
	for name, c := range p.clients {
		c.take()
		p.learnAsks(name, c.seen)
		shown := present(c.seen, c.keepPings, c.keepAcks)
		for i, text := range shown {
			shown[i] = hide(mask, p.names.show(text))
		}
		if len(shown) > 0 {
			received[name] = shown
		}
	}
	return received
}

func (p *player) learnAsks(client string, frames []frame) {
	for _, f := range frames {
		for _, id := range f.asked() {
			p.names.learnAsk(client, id)
		}
	}
}

// hide puts ${any} in place of what the mask's group matches.
func hide(mask *regexp.Regexp, text string) string {
	if mask == nil {
		return text
	}
	match := mask.FindStringSubmatchIndex(text)
	if len(match) < 4 || match[2] < 0 {
		return text
	}
	return text[:match[2]] + "${any}" + text[match[3]:]
}
