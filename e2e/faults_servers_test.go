package e2e

import (
	"maps"
	"strings"
	"testing"
	"time"
)

// killServer kills the last server. Its clients come back to another one.
func killServer(t *testing.T, s *streams) {
	last := s.servers[len(s.servers)-1]
	if err := last.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-last.exited
	s.move(t, last)
}

// killServerCutOff kills a server that has messages for others. They are lost.
func killServerCutOff(t *testing.T, s *streams) {
	s.walls[len(s.walls)-1].Silence()
	s.awaitLosses(t, 1)
	time.Sleep(someTime)
	killServer(t, s)
}

// drainServer ends the last server as an operator does. Its clients are told to come
// back, and do so elsewhere; nothing of it is left on Redis.
func drainServer(t *testing.T, s *streams) {
	last := s.servers[len(s.servers)-1]
	s.awaitChannels(t)
	if code := last.terminate(t); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	for _, r := range s.receivers {
		if r.server == last {
			r.expectAllowReconnect(t)
		}
	}
	s.move(t, last)
	s.awaitChannels(t)
}

func (r *receiver) expectAllowReconnect(t *testing.T) {
	t.Helper()
	r.await(t, "its end", func(_ []string, closed error) bool { return closed != nil })
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.records[len(r.records)-1]; got != `{"type":7,"allowReconnect":true}` {
		t.Errorf("%s was told at the end: %s", r.name, got)
	}
}

// move has the clients of a server that has ended connect to the others, one after the
// other.
func (s *streams) move(t *testing.T, from *streamServer) {
	t.Helper()
	from.gone = true
	var others []*streamServer
	for _, server := range s.servers {
		if !server.gone {
			others = append(others, server)
		}
	}
	for _, one := range s.senders {
		if one.server == from {
			<-one.ended
		}
	}
	for i, r := range s.receivers[:len(s.receivers):len(s.receivers)] {
		if r.server != from {
			continue
		}
		r.await(t, "the end of its server", func(_ []string, closed error) bool { return closed != nil })
		r.departed = true
		s.reconnected++
		if r.member {
			s.receive(t, others[i%len(others)])
		}
	}
	s.sendAgain(t, from, others[0])
}

// sendAgain has the senders of a server that has ended send from another one.
func (s *streams) sendAgain(t *testing.T, from, to *streamServer) {
	t.Helper()
	for _, one := range s.senders[:len(s.senders):len(s.senders)] {
		if one.server == from {
			s.send(t, to, one.name+" again", one.target)
		}
	}
}

// channels is what should be subscribed to on Redis, put as those of a farm, with all
// connections as one.
func (s *streams) channels() map[string]int64 {
	count := make(map[string]int64)
	for _, server := range s.servers {
		if server.gone {
			continue
		}
		for _, hub := range []string{referenceHub, chatHub} {
			for _, own := range []string{":all", ":internal:groups", ":internal:ack", ":internal:return"} {
				count[hub+own]++
			}
		}
		count[farmChannel]++
		count[serverChannel]++
		count[referenceHub+":group:"+groupName]++
		count[referenceHub+":user:"+userName]++
	}
	for _, r := range s.receivers {
		if r.departed {
			continue
		}
		count[referenceHub+":connection:"]++
		if !r.member {
			count[referenceHub+":user:"+r.name]++
		}
	}
	return count
}

// subscribed is what is subscribed to on Redis, put as channels does.
func (s *streams) subscribed(t *testing.T) map[string]int64 {
	t.Helper()
	f := farm{redis: s.admin}
	count := make(map[string]int64)
	for name, n := range f.subscribed(t) {
		if connections := referenceHub + ":connection:"; strings.HasPrefix(name, connections) {
			name = connections
		}
		count[name] += n
	}
	return count
}

// awaitChannels waits until what is subscribed to is exactly what should be.
func (s *streams) awaitChannels(t *testing.T) {
	t.Helper()
	want := s.channels()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // Redis does not say when
		got := s.subscribed(t)
		if maps.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("channels and subscribers:\n%s", strings.Join(differences(got, want), "\n"))
		}
	}
}
