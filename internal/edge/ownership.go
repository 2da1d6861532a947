package edge

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
)

// Ownership says who may connect to a Unix socket.
type Ownership struct {
	Mode fs.FileMode // who may write may connect
	UID  int         // below 0: as it comes
	GID  int         // below 0: as it comes
}

// ParseOwnership takes a mode in octal and an owner: USER, USER:GROUP or :GROUP, by
// name or number; empty for whoever runs the process.
func ParseOwnership(mode, owner string) (Ownership, error) {
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || fs.FileMode(bits)&^fs.ModePerm != 0 {
		return Ownership{}, fmt.Errorf("mode %q: say it in octal, such as 660", mode)
	}
	o := Ownership{fs.FileMode(bits), -1, -1}
	name, group, _ := strings.Cut(owner, ":")
	if name != "" {
		if o.UID, err = lookUp(name, func(name string) (string, error) {
			found, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return found.Uid, nil
		}); err != nil {
			return Ownership{}, fmt.Errorf("owner %q: there is no user %q on this machine", owner, name)
		}
	}
	if group != "" {
		if o.GID, err = lookUp(group, func(name string) (string, error) {
			found, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return found.Gid, nil
		}); err != nil {
			return Ownership{}, fmt.Errorf("owner %q: there is no group %q on this machine", owner, group)
		}
	}
	return o, nil
}

// lookUp is the number of somebody who is named, or numbered.
func lookUp(name string, find func(name string) (string, error)) (int, error) {
	if number, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(number), nil
	}
	id, err := find(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}
