package backplane

import (
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// However often something is warned of, the log has a bounded number of lines, from
// which one can tell how often.
func TestWarningsAreLoggedInMeasure(t *testing.T) {
	l := &logs{}
	w := newWarnings(l.logger())
	for range 1000 {
		w.log(log.With(l.logger(), "hub", "Chat"), "one", "bytes", 5)
	}
	w.log(l.logger(), "two")
	w.look(time.Now())
	if text := l.String(); strings.Count(text, "msg=one") != loggedAtOnce || strings.Count(text, "msg=two") != 1 || strings.Count(text, "\n") != loggedAtOnce+1 {
		t.Errorf("the log says:\n%s", text)
	}
	w.look(time.Now().Add(2 * countEach))
	w.look(time.Now().Add(2 * countEach))
	if text := l.String(); strings.Count(text, "warning=one more=990") != 1 || strings.Count(text, "\n") != loggedAtOnce+2 {
		t.Errorf("then it says:\n%s", text)
	}
}
