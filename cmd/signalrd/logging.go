package main

import (
	"io"
	"strings"
	"sync/atomic"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// logFlags say what is logged, and how.
type logFlags struct {
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"What is logged: debug, info, warn or error; SIGUSR1 has a running server log everything, SIGUSR2 this again (default: ${default})."`
	LogFormat string `enum:"logfmt,json" default:"logfmt" help:"How it is logged: logfmt or json, one line each (default: ${default})."`
}

// logging is the log, whose level can be changed while it is in use.
type logging struct {
	Logger log.Logger
	filter log.SwapLogger
	all    log.Logger // behind the filter
	debug  atomic.Bool
}

func (f *logFlags) begin(out io.Writer) *logging {
	out = log.NewSyncWriter(out)
	all := log.NewLogfmtLogger(out)
	if f.LogFormat == "json" {
		all = log.NewJSONLogger(out)
	}
	l := &logging{all: all}
	l.from(f.LogLevel)
	l.Logger = log.With(&l.filter, "ts", log.DefaultTimestampUTC)
	return l
}

// from has the log begin with the lowest level that is of interest.
func (l *logging) from(lowest string) {
	l.debug.Store(lowest == "debug")
	l.filter.Swap(level.NewFilter(l.all, level.Allow(level.ParseDefault(lowest, level.InfoValue()))))
}

// httpLog takes what net/http has to say. Handshakes that fail are of interest to
// those who look for a fault: everybody can make them fail, and as many as they like.
type httpLog struct{ to log.Logger }

func (l httpLog) Write(p []byte) (int, error) {
	text := strings.TrimSuffix(string(p), "\n")
	to := level.Warn(l.to)
	if strings.HasPrefix(text, "http: TLS handshake error") {
		to = level.Debug(l.to)
	}
	return len(p), to.Log("part", "http", "msg", text)
}
