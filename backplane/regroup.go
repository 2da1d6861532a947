package backplane

import (
	"context"
	"time"

	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"
)

// strangers is how many servers of the farm are not signalrd's. They cannot ask for
// what they missed. So after an outage, what waits for Redis is held back until they
// are subscribed again, or for timing.regroup if they do not come.
//
// It is the publisher's, and an estimate: every server subscribes to the group commands
// of its hubs, and only signalrd's to the channel of the farm. On a cluster it
// may see fewer.
type strangers struct {
	bus     *Bus
	known   int64
	counted time.Time
	until   time.Time // hold back; zero: do not
	said    bool      // that they cannot be counted
}

// regroup begins to hold back, with a new connection.
func (s *strangers) regroup(now time.Time) {
	s.until = time.Time{}
	if s.known > 0 {
		s.until = now.Add(s.bus.timing.regroup)
	}
}

// absent says whether what waits is to be held back still. It asks Redis.
func (s *strangers) absent(ctx context.Context, client *redis.Client) bool {
	if s.until.IsZero() {
		return false
	}
	channels := s.channels()
	counts, err := client.PubSubNumSub(ctx, channels...).Result()
	missing := s.known - s.count(channels, counts)
	if err == nil && missing > 0 && time.Now().Before(s.until) {
		s.bus.answered.set(time.Now())
		return true
	}
	if err == nil && missing > 0 {
		level.Warn(s.bus.logger).Log("msg", "servers that are not signalrd's have not come back; they may miss messages", "servers", missing)
	}
	s.until = time.Time{}
	return false
}

// ask adds the question how many there are to a batch, every now and then while
// everything works.
func (s *strangers) ask(ctx context.Context, pipeline redis.Pipeliner) (learn func()) {
	now := time.Now()
	if now.Sub(s.counted) < s.bus.timing.probe || s.bus.Healthy() != nil {
		return func() {}
	}
	s.counted = now
	channels := s.channels()
	answer := pipeline.PubSubNumSub(ctx, channels...)
	return func() {
		counts, err := answer.Result()
		switch {
		case err == nil && s.bus.Healthy() == nil:
			s.known = s.count(channels, counts)
		case isReply(err) && !s.said:
			s.said = true
			level.Warn(s.bus.logger).Log("msg", "servers that are not signalrd's cannot be counted, and will not be waited for", "err", err)
		}
	}
}

// channels is that of the farm, and those for group commands.
func (s *strangers) channels() []string {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	channels := []string{s.bus.prefix + farmName}
	for _, hub := range s.bus.hubs {
		channels = append(channels, s.bus.prefix+hub.channels.groups())
	}
	return channels
}

func (s *strangers) count(channels []string, subscribed map[string]int64) (strangers int64) {
	for _, channel := range channels[1:] {
		strangers = max(strangers, subscribed[channel]-subscribed[channels[0]])
	}
	return strangers
}
