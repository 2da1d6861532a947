//go:build !unix

package peers

import (
	"errors"
	"os"
)

// freeze needs signals that are not to be had here.
func freeze(*os.Process) error { return errors.ErrUnsupported }

func thaw(*os.Process) error { return errors.ErrUnsupported }
