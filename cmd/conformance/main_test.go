package main

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"signalrd/internal/peers"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := peers.WaitTogether(32); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
