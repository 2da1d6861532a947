package backplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// sentinels know which of several servers is the master now.
type sentinels struct {
	master string
	ask    []redis.Options
}

// Sentinel is the master of that name, whichever server it is: the sentinels are
// asked anew for each connection, all at once, and what most of those that answer
// say counts, so that it does no harm if some are away or behind. A server that is
// no master, or no longer, is not used. When the master changes, Redis ends the
// connections to the old one, and the next go to the new one.
//
// server says who we are at the servers; it has no address. Each of the sentinels
// has its own address, and says who we are there.
func Sentinel(master string, server *redis.Options, ask ...*redis.Options) (*Deployment, error) {
	s := &sentinels{master: master}
	if master == "" {
		return nil, errors.New("the name of the sentinels' master is missing, such as mymaster")
	}
	if len(ask) == 0 {
		return nil, errors.New("the sentinels' addresses are missing, such as sentinel.example.com:26379")
	}
	if server.Addr != "" {
		return nil, fmt.Errorf("the sentinels say where the master is: %s is one address too many", server.Addr)
	}
	addrs := make([]string, len(ask))
	for i, options := range ask {
		if err := checkAddress(options.Addr); err != nil {
			return nil, fmt.Errorf("sentinel: %w", err)
		}
		addrs[i] = options.Addr
		s.ask = append(s.ask, sentinelOptions(*options))
	}
	return &Deployment{
		name:    fmt.Sprintf("%s of sentinels %s", master, strings.Join(addrs, ", ")),
		options: *server,
		find:    s.dial,
		check:   checkMaster,
	}, nil
}

func sentinelOptions(o redis.Options) redis.Options {
	dial := newDialer(&o)
	o = impatient(o, 0)
	o.Dialer = func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) }
	o.ContextTimeoutEnabled = true
	return o
}

func (s *sentinels) dial(ctx context.Context, dial dialer) (net.Conn, error) {
	addr, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("the master: %w", err)
	}
	return conn, nil
}

// find returns the address that most sentinels give. It waits for no more of
// them than it takes to know that, and leaves as much time as it takes to
// connect.
func (s *sentinels) find(ctx context.Context) (addr string, err error) {
	ctx, cancel := share(ctx, 2)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	answers := make(chan finding, len(s.ask))
	for _, options := range s.ask {
		asking.Go(func() { answers <- s.askOne(ctx, options) })
	}
	votes := make(map[string]int)
	var failed failures
	for range s.ask {
		a := <-answers
		if a.err != nil {
			failed = append(failed, a.err)
			continue
		}
		votes[a.addr]++
		if votes[a.addr] > votes[addr] {
			addr = a.addr
		}
		if votes[addr] > len(s.ask)/2 {
			break
		}
	}
	if addr == "" {
		return "", failed
	}
	return addr, nil
}

// share is a context for one of several things that have to be done in the time
// that is left.
func share(ctx context.Context, things int) (context.Context, context.CancelFunc) {
	end, limited := ctx.Deadline()
	if !limited {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(things))
}

// finding is what a sentinel says.
type finding struct {
	addr string
	err  error
}

func (s *sentinels) askOne(ctx context.Context, options redis.Options) finding {
	client := redis.NewSentinelClient(&options)
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer func() {
		if stop() {
			client.Close()
		}
	}()
	master, err := client.GetMasterAddrByName(ctx, s.master).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return finding{err: fmt.Errorf("sentinel %s: it knows no master %s", options.Addr, s.master)}
	case err != nil:
		return finding{err: fmt.Errorf("sentinel %s: %w", options.Addr, explain(err))}
	case len(master) != 2:
		return finding{err: fmt.Errorf("sentinel %s: it answers %q", options.Addr, master)}
	}
	return finding{addr: net.JoinHostPort(master[0], master[1])}
}

// checkMaster makes sure that the server is what the sentinels say, which know
// with some delay.
func checkMaster(ctx context.Context, c *redis.Conn) error {
	role, err := c.Do(ctx, "ROLE").Slice()
	if err != nil {
		return fmt.Errorf("ask the server that the sentinels name for its role: %w", err)
	}
	if len(role) == 0 || role[0] != "master" {
		return fmt.Errorf("the server that the sentinels name is no master: its role is %v", cmp.Or(fmt.Sprint(role...), "unknown"))
	}
	return nil
}
