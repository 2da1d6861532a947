package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Listener is the process that listens on a TCP port of this machine. Processes of
// other users can be seen by root only.
func Listener(port int) (pid int, err error) {
	sockets := make(map[string]bool)
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		data, err := os.ReadFile(filepath.Join(root, table))
		if err != nil {
			continue // a machine without IPv6
		}
		for _, inode := range listening(string(data), port) {
			sockets["socket:["+inode+"]"] = true
		}
	}
	if len(sockets) == 0 {
		return 0, fmt.Errorf("nothing listens on port %d of this machine", port)
	}
	files, err := filepath.Glob(filepath.Join(root, "[0-9]*", "fd", "*"))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && sockets[target] {
			return strconv.Atoi(strings.Split(file, "/")[2])
		}
	}
	return 0, fmt.Errorf("the process that listens on port %d belongs to somebody else", port)
}

// listening returns the inodes of the sockets that listen on port, from what a
// table of sockets says.
func listening(table string, port int) (inodes []string) {
	const address, state, inode, listen = 1, 3, 9, "0A"
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) > inode && fields[state] == listen && strings.HasSuffix(fields[address], fmt.Sprintf(":%04X", port)) {
			inodes = append(inodes, fields[inode])
		}
	}
	return inodes
}
