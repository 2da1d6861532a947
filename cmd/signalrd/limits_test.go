package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"signalrd/hubs"
	"signalrd/hubs/transport"
)

// served is what serving is told by flags.
func served(t *testing.T, flags ...string) (*config, error) {
	t.Helper()
	a, err := parse(flags, &streams{out: t.Output(), err: t.Output()})
	return &a.Serve, err
}

// The flags' defaults are those of the hub, and 0 means no limit.
func TestLimitFlags(t *testing.T) {
	flags, err := served(t)
	if err != nil {
		t.Fatal(err)
	}
	none := transport.Rate{PerSecond: -1}
	want := hubs.Limits{
		Limits: transport.Limits{
			MaxConnections: 200_000, MaxConnectionsPerUser: 10_000, MaxConnectionsPerAddress: -1,
			ConnectRate: transport.Rate{PerSecond: 5000, Burst: 10_000}, MaxPending: 20_000, MaxPostedBytes: 256 << 20,
		},
		InvocationRate: none, UserInvocationRate: none, ByteRate: none, UserByteRate: none, MaxGroups: 10_000,
	}
	if got := flags.limits(); got != want {
		t.Errorf("without flags: %+v", got)
	}
	flags, err = served(t, "--max-connections=0", "--max-connections-per-user=0", "--max-connections-per-address=7", "--connect-rate=0", "--max-pending=0",
		"--max-posted-bytes=0", "--max-groups=0", "--invocation-rate=2.5", "--user-invocation-rate=10:100", "--byte-rate=1000", "--user-byte-rate=0")
	if err != nil {
		t.Fatal(err)
	}
	want = hubs.Limits{
		Limits: transport.Limits{
			MaxConnections: -1, MaxConnectionsPerUser: -1, MaxConnectionsPerAddress: 7, ConnectRate: none, MaxPending: -1, MaxPostedBytes: -1,
		},
		InvocationRate: transport.Rate{PerSecond: 2.5}, UserInvocationRate: transport.Rate{PerSecond: 10, Burst: 100},
		ByteRate: transport.Rate{PerSecond: 1000}, UserByteRate: none, MaxGroups: -1,
	}
	if got := flags.limits(); got != want {
		t.Errorf("with flags: %+v", got)
	}
}

func TestLimitFlagsThatMakeNoSense(t *testing.T) {
	for _, test := range []struct{ flag, says string }{
		{"--connect-rate=fast", `"fast" is no rate: say how many a second`},
		{"--connect-rate=-1", "is no rate"},
		{"--connect-rate=NaN", "is no rate"},
		{"--invocation-rate=10:", "how many at once is a whole number above zero"},
		{"--invocation-rate=10:0", "how many at once is a whole number above zero"},
		{"--invocation-rate=0:5", "behind a rate above zero"},
		{"--max-connections=-1", "--max-connections=-1: a number above zero, or 0 for no limit"},
		{"--max-posted-bytes=1000", "--max-posted-bytes=1000: at least 1048576"},
		{"--byte-rate=10", "--byte-rate=10: at least 1000 bytes a second"},
		{"--user-byte-rate=999.5", "--user-byte-rate=999.5: at least 1000 bytes a second"},
		{"--drain-delay=-1s", "--drain-delay=-1s: a time such as 10s, or 0s for none"},
		{"--drain-window=-1s", "--drain-window=-1s: a time such as 10s, or 0s for none"},
		{"--drain-grace=0s", "--drain-grace=0s: a time above zero"},
		{"--shutdown-timeout=0s", "--shutdown-timeout=0s: a time above zero"},
	} {
		flags, err := served(t, test.flag)
		said := fmt.Sprint(err)
		say := func(format string, args ...any) { said = fmt.Sprintf(format, args...) }
		if err == nil {
			flags.limitFlags.wrong(say)
			flags.drainFlags.wrong(say)
		}
		if !strings.Contains(said, test.says) {
			t.Errorf("%s: %s", test.flag, said)
		}
	}
}

// In the file they are the same, and everything that is wrong is said at once.
func TestLimitsInAFile(t *testing.T) {
	const alone = "backplane: local\norigins: [none]\nauth: anonymous\n"
	well := file(t, "well.yaml", alone+"connect-rate: 100:500\ninvocation-rate: 2.5\nbyte-rate: 10000\nmax-groups: 5\ndrain-window: 10s\ndrop-oldest: [Price, Cursor]\n")
	c, err := served(t, "--config="+well)
	if err != nil {
		t.Fatal(err)
	}
	got := c.limits()
	if want := (transport.Rate{PerSecond: 100, Burst: 500}); got.ConnectRate != want || got.InvocationRate.PerSecond != 2.5 || got.ByteRate.PerSecond != 10_000 || got.MaxGroups != 5 {
		t.Errorf("%+v", got)
	}
	if got := c.window(false); got != 10*time.Second || strings.Join(c.DropOldest, " ") != "Price Cursor" {
		t.Errorf("window %v, drop %q", got, c.DropOldest)
	}
	wrong := file(t, "wrong.yaml", alone+"connect-rate: fast\nuser-invocation-rate: 0:5\nuser-byte-rate: 10\nmax-groups: many\nmax-pending: -1\ndrain-delay: soon\ndrain-grace: 0s\n")
	code, _, said := outcome(t, "", "check", "--config="+wrong, "--max-streams=-1")
	if code != exitUsage {
		t.Errorf("code %d", code)
	}
	for _, text := range []string{
		wrong + ":4: connect-rate: \"fast\" is no rate", wrong + ":5: user-invocation-rate: ", "--user-byte-rate=10: ", wrong + ":7: max-groups: ",
		"--max-pending=-1: ", wrong + ":9: drain-delay: ", "--drain-grace=0s: ", "--max-streams=-1: ",
	} {
		if !strings.Contains(said, text) {
			t.Errorf("it does not say %q:\n%s", text, said)
		}
	}
}

func TestDrainWindow(t *testing.T) {
	for _, test := range []struct {
		args []string
		dev  bool
		want time.Duration
	}{
		{nil, false, 3 * time.Second},
		{nil, true, 0},
		{[]string{"--drain-window=7s"}, true, 7 * time.Second},
		{[]string{"--drain-window=0s"}, false, 0},
	} {
		flags, err := served(t, test.args...)
		if got := flags.window(test.dev); err != nil || got != test.want {
			t.Errorf("%q, --dev %v: %v, %v", test.args, test.dev, got, err)
		}
	}
}
