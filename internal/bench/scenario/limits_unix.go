//go:build unix

package scenario

import (
	"math"

	"golang.org/x/sys/unix"
)

// openFiles is how many files this program may have open. Go has raised it as far
// as it may.
func openFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt // it will show
	}
	return int(min(uint64(limit.Cur), math.MaxInt))
}
