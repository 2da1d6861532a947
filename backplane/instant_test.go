package backplane

import (
	"strings"
	"testing"
	"time"
)

// A clock that is set makes no outage and hides none: times are compared by the
// monotonic clock, which a time without a reading of it is not.
func TestInstantsAreMonotonic(t *testing.T) {
	var i instant
	for _, what := range []string{"at first", "once set"} {
		if got := i.get().String(); !strings.Contains(got, " m=") {
			t.Errorf("%s: %s has no reading of the monotonic clock", what, got)
		}
		i.set(time.Now())
	}
	now := time.Now()
	i.set(now)
	if got := i.get(); got.Sub(now) != 0 || monotonic(now) <= 0 {
		t.Errorf("%v is %v", now, got)
	}
}
