package scenario

import (
	"strings"
	"testing"
)

func TestAudit(t *testing.T) {
	l := newLedger(2, 2)
	for _, n := range []uint32{1, 2, 4} {
		l.take(0, 0, n)
	}
	l.take(1, 1, 9)
	faults := l.audit(func(_, stream int) uint32 { return []uint32{4, 1}[stream] })
	// Connection 0 lost number 3 of stream 0 and all of stream 1, connection 1
	// all of stream 0, and it got what was never sent.
	want := Faults{Lost: 1 + 1 + 4, Misdirected: 1}
	if faults.Lost != want.Lost || faults.Misdirected != want.Misdirected || len(faults.Examples) != 4 {
		t.Errorf("%+v", faults)
	}
	if !strings.Contains(faults.Examples[0], "connection 0 lost 1 of the 4 messages of stream 0, the first of them number 3") {
		t.Errorf("%q", faults.Examples)
	}
}

func TestExamplesAreBounded(t *testing.T) {
	l := newLedger(1, 1)
	for range 1000 {
		l.take(0, 0, 1)
	}
	if f := l.audit(func(int, int) uint32 { return 1 }); f.Doubled != 999 || len(f.Examples) != maxExamples {
		t.Errorf("%d doubled, %d examples", f.Doubled, len(f.Examples))
	}
}
