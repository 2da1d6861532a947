// Package proc reads what Linux tells about running processes: how much of the
// processor and of memory they use, and who listens on a port.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// root is where /proc is mounted.
const root = "/proc"

// Resolution is the unit of processor time: the kernel counts it exactly, but
// tells it in hundredths of a second on every architecture.
const Resolution = 10 * time.Millisecond

// CPU is the processor time that the processes have used so far, in the
// kernel and outside it.
func CPU(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		data, err := os.ReadFile(file(pid, "stat"))
		if err != nil {
			return 0, gone(pid, err)
		}
		used, err := parseStat(data)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file(pid, "stat"), err)
		}
		sum += used
	}
	return sum, nil
}

// Resident is how much memory the processes occupy, in bytes. What several of
// them share counts for each.
func Resident(pids ...int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		bytes, err := resident(pid)
		if err != nil {
			return 0, err
		}
		sum += bytes
	}
	return sum, nil
}

// resident asks for an exact count, which may be forbidden, and else for the
// one that the kernel keeps, which is off by some pages for each processor.
func resident(pid int) (int64, error) {
	if data, err := os.ReadFile(file(pid, "smaps_rollup")); err == nil {
		if n, err := parseKilobytes(data, "Rss:"); err == nil {
			return n, nil
		}
	}
	data, err := os.ReadFile(file(pid, "status"))
	if err != nil {
		return 0, gone(pid, err)
	}
	n, err := parseKilobytes(data, "VmRSS:")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file(pid, "status"), err)
	}
	return n, nil
}

// OpenFiles is how many files, and so connections, a process may have open.
func OpenFiles(pid int) (int, error) {
	data, err := os.ReadFile(file(pid, "limits"))
	if err != nil {
		return 0, gone(pid, err)
	}
	return parseLimit(data)
}

// Files is how many files a process has open, and so connections.
func Files(pid int) (int, error) {
	open, err := os.ReadDir(file(pid, "fd"))
	if err != nil {
		return 0, gone(pid, err)
	}
	return len(open), nil
}

// LocalPorts is how many connections this machine can have to one address and
// port.
func LocalPorts() (int, error) {
	data, err := os.ReadFile(filepath.Join(root, "sys/net/ipv4/ip_local_port_range"))
	if err != nil {
		return 0, err
	}
	var first, last int
	if _, err := fmt.Sscan(string(data), &first, &last); err != nil {
		return 0, fmt.Errorf("ip_local_port_range says %q: %w", data, err)
	}
	return last - first + 1, nil
}

func file(pid int, name string) string { return filepath.Join(root, strconv.Itoa(pid), name) }

func gone(pid int, err error) error {
	return fmt.Errorf("read about process %d (does it run, and on this machine?): %w", pid, err)
}

// parseStat finds utime and stime, fields 14 and 15, behind the name in
// parentheses, which may hold anything.
func parseStat(data []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(data, ')')
	fields := strings.Fields(string(data[end+1:]))
	const utime, stime = 14 - 3, 15 - 3
	if end < 0 || len(fields) <= stime {
		return 0, fmt.Errorf("%q is not what a stat file says", data)
	}
	var ticks int64
	for _, field := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("processor time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * Resolution, nil
}

// parseKilobytes returns the value of a line "NAME  123 kB", in bytes.
func parseKilobytes(data []byte, name string) (int64, error) {
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == name && fields[2] == "kB" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("there is no line %s with kB", name)
}

// parseLimit returns the soft limit of open files.
func parseLimit(data []byte) (int, error) {
	for line := range strings.Lines(string(data)) {
		rest, found := strings.CutPrefix(line, "Max open files")
		if !found {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) > 0 && fields[0] == "unlimited" {
			return int(^uint(0) >> 1), nil
		}
		if len(fields) > 0 {
			return strconv.Atoi(fields[0])
		}
	}
	return 0, fmt.Errorf("there is no line about open files in %q", data)
}
