package overrun

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
)

func TestCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		logger := log.NewLogfmtLogger(&lines)
		c := New("connection refused", "max-connections")
		for range 1000 {
			c.Note(logger, 5, "user", "Ale")
		}
		time.Sleep(quiet)
		c.Note(logger, 5, "user", "Bo")
		if n := c.Count(); n != 1001 {
			t.Errorf("%d times, want 1001", n)
		}
		want := `level=warn msg="connection refused" limit=max-connections at=5 times=1 user=Ale
level=warn msg="connection refused" limit=max-connections at=5 times=1001 user=Bo
`
		if got := lines.String(); got != want {
			t.Errorf("logged\n%swant\n%s", got, want)
		}
	})
}
