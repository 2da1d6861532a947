package notify

import (
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"signalrd/internal/floodgate"
)

// Outcome is what became of one notification.
type Outcome struct {
	// Channel is the one that it was published on.
	Channel string

	// ID and Key are what it says of itself, as far as it has the form that
	// signatures need. Without Options.Signing nobody has looked whether they
	// are true.
	ID, Key string

	// User is whom it is for, empty for everybody, and Message what they see.
	// Message is nil if there is none. Both are empty if it could not be read.
	User    string
	Message *string

	// Bytes is the size of it all, as published.
	Bytes int

	// Connections are those of this server that received it.
	Connections int

	// Refused is why nobody did, nil if it was not refused. It quotes no
	// message.
	Refused error

	// Reason is Refused without particulars: one of a few texts. Empty if
	// it was not refused.
	Reason string
}

func (s *Subscriber) outcome(payload string, n notification, receivers int, err error) Outcome {
	o := Outcome{
		Channel:     s.opts.Channel,
		ID:          s.envelope.id,
		Key:         s.envelope.key,
		User:        n.user,
		Message:     n.message,
		Bytes:       len(payload),
		Connections: receivers,
		Refused:     err,
	}
	if err != nil {
		o.Reason = reasonOf(err).Error()
	}
	return o
}

const (
	// loggedAtOnce refusals for one reason are logged one by one, and then one
	// every few seconds.
	loggedAtOnce = 10
	loggedEach   = 6 * time.Second

	// countEach is how often the log says how many were not.
	countEach = 10 * time.Second
)

func newLogGate() *floodgate.Gate { return floodgate.New(loggedAtOnce, 1/loggedEach.Seconds()) }

// refuse counts a notification that nobody gets and logs why, without a word
// of what is in it.
func (s *Subscriber) refuse(payload string, err error) {
	reason := reasonOf(err)
	s.counts.refused[reason].Add(1)
	if s.logged.Pass(reason.Error()) {
		_ = level.Warn(s.opts.Logger).Log("msg", "notification refused",
			"channel", s.opts.Channel, "bytes", len(payload), "reason", err)
	}
}

// countRefusals logs from time to time how many refusals have not been logged,
// until it is stopped, and then once more.
func (s *Subscriber) countRefusals() (stop func()) {
	ended := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		look := time.NewTicker(countEach)
		defer look.Stop()
		for {
			select {
			case <-look.C:
				s.logLeftOut()
			case <-ended:
				s.logLeftOut()
				return
			}
		}
	})
	return func() {
		close(ended)
		running.Wait()
	}
}

func (s *Subscriber) logLeftOut() {
	for reason, count := range s.logged.LeftOut() {
		_ = level.Warn(s.opts.Logger).Log("msg", "more notifications refused than are logged one by one",
			"channel", s.opts.Channel, "reason", reason, "more", count)
	}
}
