//go:build !unix

package main

import "os"

// signals are none: here there are only those that end a process.
func (*operation) signals() []os.Signal { return nil }

func (*operation) obey(os.Signal) {}
