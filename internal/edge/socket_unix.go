//go:build unix

package edge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenUnix makes a socket in the file system. One that nobody listens on any
// more is replaced; it is never another's that goes, nor a file of another kind.
func listenUnix(path string, owned Ownership) (net.Listener, error) {
	unlock, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// On Linux the socket has its mode before it has its name: nobody else can
	// connect in between. Elsewhere that is not to be had.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), uint32(owned.Mode)) })
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, advise(err)
	}
	err = os.Chmod(path, owned.Mode) // what the umask has taken
	if err == nil && (owned.UID >= 0 || owned.GID >= 0) {
		err = os.Chown(path, owned.UID, owned.GID)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("%w (to give a socket to others takes root, or membership in their group)", err)
	}
	return l, nil
}

// lockFolder waits until nobody else is looking at the sockets in a folder.
func lockFolder(path string) (unlock func(), err error) {
	folder, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no folder %s: make it, or say --listen=unix:PATH for another", path)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		folder.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { folder.Close() }, nil // with it goes the lock
}

// removeStale makes room for a socket, if nobody needs what is there.
func removeStale(path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket; remove it, or say another path")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return errors.New("somebody listens there already; stop that server, or say another path")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("find out whether somebody listens there: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove a socket that nobody listens on: %w", err)
	}
	return nil
}
