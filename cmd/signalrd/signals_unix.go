//go:build unix

package main

import (
	"os"
	"syscall"

	"github.com/go-kit/log/level"
)

// signals are those that the operator gives. A server for development ends with the
// terminal that it was started from, which SIGHUP says.
func (o *operation) signals() []os.Signal {
	if o.said.Serve.Dev {
		return []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2}
	}
	return []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}
}

func (o *operation) obey(s os.Signal) {
	switch s {
	case syscall.SIGHUP:
		o.reload()
	case syscall.SIGUSR1:
		o.logs.from("debug")
		level.Info(o.logs.Logger).Log("msg", "everything is logged, until SIGUSR2")
	case syscall.SIGUSR2:
		level.Info(o.logs.Logger).Log("msg", "logged is what was configured", "log_level", o.said.Serve.LogLevel)
		o.logs.from(o.said.Serve.LogLevel)
	}
}
