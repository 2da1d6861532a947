package main

import (
	"fmt"
	"strconv"
	"strings"

	"signalrd/hubs"
	"signalrd/hubs/transport"
)

// limitFlags say what clients can make the server hold and do.
type limitFlags struct {
	MaxConnections           int      `default:"200000" placeholder:"N" help:"How many connections there may be; 0: no limit (default: ${default})."`
	MaxConnectionsPerUser    int      `default:"10000" placeholder:"N" help:"How many of them one user may have; 0: no limit (default: ${default})."`
	MaxConnectionsPerAddress int      `default:"0" placeholder:"N" help:"How many of them may come from one address, or for IPv6 from one /64; 0: no limit (default: ${default}, for behind a proxy all have its address)."`
	ConnectRate              rateFlag `default:"5000:10000" placeholder:"RATE" help:"How many connections may begin a second, and after the colon at once; 0: no limit (default: ${default})."`
	MaxPending               int      `default:"20000" placeholder:"N" help:"How many connections may be negotiated whose clients have not come yet; 0: no limit (default: ${default})."`
	MaxPostedBytes           int      `default:"268435456" placeholder:"BYTES" help:"How much of what clients post over SSE and long polling may be in memory; 0: no limit (default: ${default})."`

	InvocationRate     rateFlag `default:"0" placeholder:"RATE" help:"How many hub methods one connection may invoke a second, such as 100, or 100:500 with 500 at once; 0: no limit (default: ${default})."`
	UserInvocationRate rateFlag `default:"0" placeholder:"RATE" help:"The same for all connections of a user together; 0: no limit (default: ${default})."`
	ByteRate           rateFlag `default:"0" placeholder:"RATE" help:"How many bytes of messages are taken from one connection a second, such as 100000, or 100000:1000000; what is beyond that is read later; 0: no limit (default: ${default})."`
	UserByteRate       rateFlag `default:"0" placeholder:"RATE" help:"The same for all connections of a user together; 0: no limit (default: ${default})."`

	MaxGroups  int      `default:"10000" placeholder:"N" help:"How many groups one connection may be in; 0: no limit (default: ${default})."`
	MaxStreams int      `default:"1000" placeholder:"N" help:"How many streams one connection may have open, in either direction; 0: no limit (default: ${default})."`
	DropOldest []string `placeholder:"METHOD" help:"Client methods of which only the latest invocations matter, such as Price,Cursor: where more than --queue-bytes would wait for a client, the oldest of these make room (default: none)."`
}

// rateFlag is RATE or RATE:BURST.
type rateFlag struct{ transport.Rate }

// UnmarshalText reads what is said on the command line or in the environment.
func (r *rateFlag) UnmarshalText(text []byte) error {
	perSecond, burst, hasBurst := strings.Cut(string(text), ":")
	var err error
	if r.PerSecond, err = strconv.ParseFloat(perSecond, 64); err != nil || !(r.PerSecond >= 0 && r.PerSecond <= 1e9) {
		return fmt.Errorf("%q is no rate: say how many a second, such as 100, or 100:500 with how many at once", text)
	}
	if !hasBurst {
		return nil
	}
	if r.Burst, err = strconv.Atoi(burst); err != nil || r.Burst < 1 || r.PerSecond == 0 {
		return fmt.Errorf("%q: how many at once is a whole number above zero, behind a rate above zero", text)
	}
	return nil
}

// limits are those of the hub. What is 0 on the command line is below 0 there.
func (f *limitFlags) limits() hubs.Limits {
	return hubs.Limits{
		Limits: transport.Limits{
			MaxConnections:           anyIfZero(f.MaxConnections),
			MaxConnectionsPerUser:    anyIfZero(f.MaxConnectionsPerUser),
			MaxConnectionsPerAddress: anyIfZero(f.MaxConnectionsPerAddress),
			ConnectRate:              f.ConnectRate.orAny(),
			MaxPending:               anyIfZero(f.MaxPending),
			MaxPostedBytes:           anyIfZero(f.MaxPostedBytes),
		},
		InvocationRate:     f.InvocationRate.orAny(),
		UserInvocationRate: f.UserInvocationRate.orAny(),
		ByteRate:           f.ByteRate.orAny(),
		UserByteRate:       f.UserByteRate.orAny(),
		MaxGroups:          anyIfZero(f.MaxGroups),
	}
}

func anyIfZero(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (r rateFlag) orAny() transport.Rate {
	if r.PerSecond == 0 {
		return transport.Rate{PerSecond: -1}
	}
	return r.Rate
}

// leastByteRate keeps what the reader waits for within a minute or so: meanwhile it does
// not notice that a client has left.
const leastByteRate = 1000

// wrong reports what makes no sense.
func (f *limitFlags) wrong(say say) {
	for _, limit := range []struct {
		flag  string
		value int
	}{
		{"max-connections", f.MaxConnections}, {"max-connections-per-user", f.MaxConnectionsPerUser},
		{"max-connections-per-address", f.MaxConnectionsPerAddress}, {"max-pending", f.MaxPending},
		{"max-posted-bytes", f.MaxPostedBytes}, {"max-groups", f.MaxGroups}, {"max-streams", f.MaxStreams},
	} {
		if limit.value < 0 {
			say("--%s=%d: a number above zero, or 0 for no limit", limit.flag, limit.value)
		}
	}
	if n := f.MaxPostedBytes; n > 0 && n < 1<<20 {
		say("--max-posted-bytes=%d: at least 1048576, for each body that is read takes 32 KiB, or 0 for no limit", n)
	}
	for _, r := range []struct {
		flag string
		rate rateFlag
	}{{"byte-rate", f.ByteRate}, {"user-byte-rate", f.UserByteRate}} {
		if per := r.rate.PerSecond; per > 0 && per < leastByteRate {
			say("--%s=%v: at least %d bytes a second, or 0 for no limit", r.flag, per, leastByteRate)
		}
	}
}
